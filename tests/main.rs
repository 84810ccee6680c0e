//! Tests of the executables, in four directories: recorded input (`cli`), real programs and
//! the real kernel (`interop`), faults and hostile peers (`faults`), and checks of the
//! repository (`repo`).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests may panic, and act as the environment of the program"
)]

mod cli;
mod faults;
mod repo;
mod interop;
mod support;
