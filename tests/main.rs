//! The tests that see topip from outside: on captured input, and against the
//! real programs that it works with.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test may fail, and is the world"
)]

mod captures;
