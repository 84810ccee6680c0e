//! Invariants of everything that reads untrusted input: one module for each fuzz target.
//!
//! Each `check` takes bytes and panics if an invariant is broken. README.md lists the
//! invariants. The modules that use only the public interface of the library are also part
//! of the program's tests, which replay the findings.
pub mod bpf_walk;
pub mod inet_diag;
pub mod known_hosts;
pub mod listing;
pub mod log_line;
pub mod log_reader;
pub mod passwords;
pub mod remote_listing;
pub mod report;
mod room;
pub mod smtp;
pub mod state_file;
pub mod values;
