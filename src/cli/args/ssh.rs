//! Options for SSH.
use std::path::PathBuf;

use clap::Args;

use crate::{
    model::secret::Secret,
    source::{HostKeyPolicy, RemoteShell},
};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "SSH")]
pub(in crate::cli) struct SshArgs {
    /// Log in as this user [default: the current one]
    #[arg(short, long, value_name = "USER")]
    pub(in crate::cli) username: Option<String>,
    /// Password; anybody can see it in the process list: use a file
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        conflicts_with = "password_file"
    )]
    pub(in crate::cli) password: Option<Secret>,
    /// File with the password, or set TOPIP_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// Private key, or public key of one in the agent
    /// [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa, and the agent]
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) identity: Vec<PathBuf>,
    /// File with the passphrase of the private key
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
    /// Known host keys [default: the user's files, then the system's]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) known_hosts: Option<PathBuf>,
    /// What to do with a host key that is not known
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    pub(in crate::cli) host_key: HostKeyPolicy,
    /// Reach servers by this SSH client instead of the built-in one, as in ssh -J
    /// bastion
    #[arg(
        long,
        value_name = "COMMAND",
        allow_hyphen_values = true,
        conflicts_with_all = [
            "password",
            "password_file",
            "identity",
            "passphrase_file",
            "known_hosts",
            "host_key",
        ]
    )]
    pub(in crate::cli) rsh: Option<RemoteShell>,
    /// Run this there instead of the built-in choice
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(in crate::cli) command: Option<String>,
}
