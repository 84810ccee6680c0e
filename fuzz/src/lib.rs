//! What holds whatever a stranger writes: one module for each way in.
//!
//! Each `check` is given bytes and fails where a promise is broken. README.md
//! has the list of them. The modules that reach the library by its public
//! interface alone are also part of the program's own tests, which replay what
//! was found.
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
