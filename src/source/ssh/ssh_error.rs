//! Messages for errors of libssh2 and of servers.
use std::io;

use rustix::io::Errno;

use super::{SshError, SshServer};
use crate::{model::sanitize, source::remote_listing::MAX_QUOTED_CHARS};

/// Returns text of a server as it is quoted in messages: one line of limited length.
pub(super) fn quoted(text: &str) -> String {
    sanitize::single_line(text).chars().take(MAX_QUOTED_CHARS).collect()
}

/// Returns the message for an error. Replaces the messages of libssh2 that contain
/// only a number or are unclear; libssh2.h lists the codes.
pub(super) fn describe_error(error: &ssh2::Error) -> String {
    let message = match error.code() {
        ssh2::ErrorCode::Session(-5) => {
            "the server supports none of the accepted key exchange or host key algorithms"
        }
        ssh2::ErrorCode::Session(-8) => "the key exchange failed",
        ssh2::ErrorCode::Session(-9) => "the server gave no answer in time",
        ssh2::ErrorCode::Session(-13) => "the server closed the connection",
        ssh2::ErrorCode::Session(-43) => {
            "the server closed the connection, or is not an SSH server"
        }
        ssh2::ErrorCode::Session(-2) => "the server sent no SSH banner",
        _ => return error.message().to_owned(),
    };
    message.to_owned()
}

/// Returns true if the limit on open files of this process or of the system is the cause:
/// the file may exist, and must not count as missing.
pub(super) fn is_open_files_limit(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Text that OpenSSH prints instead of the command's output if the password must be
/// changed first.
const EXPIRED_PASSWORD: &str = "Password change required but no TTY available";

/// Returns the error for a listing that has not begun.
pub(super) fn listing_error(server: &SshServer, error: &io::Error) -> SshError {
    let (host, problem) = (server.name(), error.to_string());
    if error.kind() == io::ErrorKind::ConnectionAborted {
        SshError::Disconnected { host, problem }
    } else if problem.contains(EXPIRED_PASSWORD) {
        let user = server.user.clone();
        let problem = format!("the password has expired ({EXPIRED_PASSWORD})");
        SshError::PasswordExpired { host, user, problem }
    } else {
        SshError::NoListing { host, problem }
    }
}
