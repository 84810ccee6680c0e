//! Tests with real peers: the kernel's sockets, the tools that list them, and the daemons
//! that run the check.

mod bpf;
mod conntrack;
mod conntrack_udp;
mod fail2ban;
mod icinga;
pub mod kernel;
mod kernel_counters;
mod logrotate;
#[cfg(feature = "mail")]
mod mail;
#[cfg(feature = "mail")]
mod mail_headers;
#[cfg(feature = "mail")]
mod mail_stranger;
mod munin_master;
mod munin_node;
mod nagios;
mod netns;
mod prometheus;
mod reverse_names;
pub mod sandbox;
#[cfg(feature = "ssh")]
mod rsh;
mod terminal;
#[cfg(feature = "ssh")]
mod ssh_conntrack;
#[cfg(feature = "ssh")]
mod ssh_host_key;
#[cfg(feature = "ssh")]
mod ssh_listing;
#[cfg(feature = "ssh")]
mod ssh_login;
#[cfg(feature = "ssh")]
mod ssh_methods;
mod sudoers;
mod syslog;
