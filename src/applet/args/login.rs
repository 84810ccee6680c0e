//! Options: how servers are reached.
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::secret::Secret;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "How servers are reached")]
pub(in crate::applet) struct LoginArgs {
    /// Log in as this user [default: the current one]
    #[arg(short, long, value_name = "USER")]
    pub(in crate::applet) username: Option<String>,
    /// Password; anybody can see it in the process list: use a file
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        conflicts_with = "password_file"
    )]
    pub(in crate::applet) password: Option<Secret>,
    /// File with the password, or set TOPIP_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub(in crate::applet) password_file: Option<PathBuf>,
    /// Private key [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa, and the agent]
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::applet) identity: Vec<PathBuf>,
    /// File with the passphrase of the private key
    #[arg(long, value_name = "FILE")]
    pub(in crate::applet) passphrase_file: Option<PathBuf>,
    /// Known host keys [default: the user's files, then the system's]
    #[arg(long, value_name = "FILE")]
    pub(in crate::applet) known_hosts: Option<PathBuf>,
    /// What to do with a host key that is not known
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    pub(in crate::applet) host_key: HostKey,
    /// Run this there instead of the built-in choice
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(in crate::applet) command: Option<String>,
}

/// What to do with a host key that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::applet) enum HostKey {
    /// Refuse it.
    #[default]
    #[value(help = None)]
    Strict,
    /// Take it, and write it down.
    #[value(help = None)]
    AcceptNew,
    /// Take any.
    #[value(help = None)]
    Ignore,
}
