//! The tests that see topip from outside: on captured input, and against the
//! real programs that it works with.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod captures;
