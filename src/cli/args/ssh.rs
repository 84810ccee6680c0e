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
    /// Log in as this user [default: the current user]
    ///
    /// This applies to each server that is given without a user.
    #[arg(short, long, value_name = "USER")]
    pub(in crate::cli) username: Option<String>,
    /// Log in with this password (unsafe: use a file)
    ///
    /// Do not use this option, because every user of this host can read the password
    /// in the process list. Use a key, --password-file or the environment variable
    /// TOPIP_PASSWORD.
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        conflicts_with = "password_file"
    )]
    pub(in crate::cli) password: Option<Secret>,
    /// Read the password from this file
    ///
    /// The password is the first line. The file must not be accessible to anyone else
    /// (mode 0600); a file of root may be readable by a group (0640).
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) password_file: Option<PathBuf>,
    /// Log in with this private key
    ///
    /// If the file is a public key or a certificate, the agent's key for it is used.
    /// The default is every key of the agent, then ~/.ssh/id_ed25519, id_ecdsa and
    /// id_rsa.
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) identity: Vec<PathBuf>,
    /// Read the passphrase of the key from this file
    ///
    /// The rules of --password-file apply to this file.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: Option<PathBuf>,
    /// Use the known host keys in this file only
    ///
    /// The default is ~/.ssh/known_hosts and known_hosts2, then
    /// /etc/ssh/ssh_known_hosts and ssh_known_hosts2.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) known_hosts: Option<PathBuf>,
    /// Use strict, accept-new or ignore for host keys
    ///
    /// strict:     refuse an unknown host key (default)
    /// accept-new: accept it, and add it to the known host keys
    /// ignore:     accept any key, even a changed or revoked one; the
    ///             password may then be sent to an attacker
    ///
    /// If a host key has changed, find out why. If the server was
    /// reinstalled, run ssh-keygen -R HOST as the user that runs the check,
    /// then add the new key.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "POLICY",
        hide_default_value = true,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    pub(in crate::cli) host_key: HostKeyPolicy,
    /// Use this SSH client, such as "ssh -J bastion"
    ///
    /// The client replaces the built-in one, and uses its own configuration: aliases,
    /// bastion hosts, certificates, master connections. The words are split as a shell
    /// splits them; no shell is started.
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
    /// Run this command on the server to list sockets
    ///
    /// It replaces the built-in command, which is ss, /proc/net/tcp or netstat,
    /// whichever works first. It must exit with status 0, and its standard output is
    /// read as the listing.
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(in crate::cli) command: Option<String>,
}
