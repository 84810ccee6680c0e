//! Against the real thing: the kernel's sockets, and the tools that list them.

mod fail2ban;
mod kernel;
mod logrotate;
mod munin_master;
mod munin_node;
mod sandbox;
mod screen;
#[cfg(feature = "ssh")]
mod ssh_host_key;
#[cfg(feature = "ssh")]
mod ssh_listing;
#[cfg(feature = "ssh")]
mod ssh_login;
mod syslog;
