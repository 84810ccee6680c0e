//! Real faults and hostile peers: broken resources, signals, other local users, servers and
//! untrusted input. The tables of SECURITY.md name these tests.
//!
//! If a fault can happen in thousands of places, each run tests a sample of them;
//! `FAULTS=all` tests all.

mod alert_program;
mod status_line;
mod churn;
mod clock;
mod closed_fds;
mod service_sandbox;
mod crash;
mod disk;
#[cfg(all(feature = "ssh", feature = "mail"))]
mod downgrade;
#[cfg(feature = "ssh")]
mod many_servers;
mod fuzz_findings;
#[cfg(feature = "ssh")]
mod known_hosts;
mod limits;
#[cfg(feature = "mail")]
mod mail_cut;
#[cfg(feature = "mail")]
mod mail_stranger;
mod name_servers;
mod environment;
mod overlap;
mod untrusted_files;
mod invariants;
pub mod random_sockets;
mod rsh_client;
#[cfg(all(feature = "ssh", feature = "mail"))]
mod secrets;
mod set_uid;
pub mod output_integrity;
mod signals;
#[cfg(all(feature = "ssh", feature = "mail"))]
mod soak;
#[cfg(all(feature = "ssh", feature = "mail"))]
mod server_messages;
#[cfg(feature = "ssh")]
mod ssh_cut;
#[cfg(feature = "ssh")]
mod ssh_stranger;
mod child_processes;
#[cfg(feature = "ssh")]
mod resource_usage;

/// Returns whether all places are tested instead of a sample.
fn is_exhaustive() -> bool {
    std::env::var_os("FAULTS").is_some_and(|it| it == "all")
}
