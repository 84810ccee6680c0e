//! Under fire: faults that are made to happen for real, and those who mean it ill,
//! be they other users of the host, servers, or whoever writes what is read.
//! SECURITY.md has what is promised of each, in tables.
//!
//! Where a fault may come at any of thousands of places, a sample of them is
//! tried each time, and all of them where `HOSTILE=all` is set.

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
mod random_sockets;
#[cfg(all(feature = "ssh", feature = "mail"))]
mod secrets;
mod set_uid;
mod output_integrity;
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

/// Whether all places are to be tried.
fn is_whole() -> bool {
    std::env::var_os("HOSTILE").is_some_and(|it| it == "all")
}
