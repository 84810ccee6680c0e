//! On captured input: nothing here depends on the machine that runs it.

mod bad_input;
pub mod fixtures;
mod detection;
mod dialects;
#[cfg(feature = "ssh")]
mod executables;
mod golden;
mod json;
mod log;
mod log_report;
mod munin;
mod list_files;
mod state;
mod fast_path;
