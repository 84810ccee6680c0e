//! The tests that see topip from outside, in four rooms: on captured input,
//! against the real programs and kernel that it works with, under fire, and on
//! the house itself.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may fail, and is the world"
)]

mod cli;
mod faults;
mod repo;
mod interop;
mod support;
