//! Against the real thing: the kernel's sockets, and the tools that list them.

mod fail2ban;
mod kernel;
mod logrotate;
#[cfg(feature = "mail")]
mod mail;
#[cfg(feature = "mail")]
mod mail_stranger;
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
