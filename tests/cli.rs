//! Tests on recorded input. They do not depend on the machine that runs them.

mod bad_input;
pub mod fixtures;
mod detection;
mod counts;
mod dialects;
#[cfg(feature = "ssh")]
mod executables;
mod extra_opts;
mod golden;
mod json;
mod log;
pub mod log_page;
mod log_report;
mod munin;
mod partial_listings;
mod list_files;
mod groups;
mod network_db;
mod state;
mod read_sizes;
pub mod truncated;
