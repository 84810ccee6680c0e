//! Tests of the executables, in four directories: recorded input (`cli`), real programs and
//! the real kernel (`interop`), faults and hostile peers (`faults`), and checks of the
//! repository (`repo`).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::incompatible_msrv,
    reason = "tests may panic, act as the environment of the program, and need a newer Rust"
)]

mod cli;
mod faults;
mod repo;
mod interop;
mod support;
