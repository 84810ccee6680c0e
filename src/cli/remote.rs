//! SSH and mail, which only the executable `topip-remote` links.
//!
//! Loading OpenSSL takes longer than sampling this host. Therefore only `topip-remote`
//! links it, and the other executables `execve` it when a run needs SSH or mail. It
//! gets the same arguments and environment and starts from the beginning: at that
//! point, the run has not sampled, read or prompted for anything.
use std::ffi::OsStr;

use crate::{
    model::problem::Problem,
    notify::mail,
    source::{self, ConnectFn},
    sys::exec,
};

use super::invocation::{Invocation, PASSWORD_ENV};

/// File name of the executable with SSH and mail.
const REMOTE_EXECUTABLE: &str = "topip-remote";

/// Functions for SSH and mail. Each executable passes them to
/// [`main`](super::applet::main) or not, so that the linker leaves OpenSSL out of
/// executables that do not name them.
#[derive(Clone, Copy, Debug)]
pub struct RemoteSupport {
    /// Function that connects to a server by SSH.
    pub(super) connect: ConnectFn,
    /// Function that sends a mail.
    pub(super) send_mail: mail::SendMail,
}

impl RemoteSupport {
    /// SSH and mail. An executable that names this constant links OpenSSL.
    pub const ALL: Self = Self { connect: source::connect, send_mail: mail::send };
}

impl Invocation {
    /// Returns SSH and mail if this executable links them. Otherwise, this process
    /// executes `topip-remote`, and the function does not return.
    ///
    /// # Errors
    ///
    /// Returns an error if `topip-remote` cannot be executed.
    pub(super) fn require_remote_support(&self) -> Result<RemoteSupport, Problem> {
        match self.remote_support {
            Some(remote_support) => Ok(remote_support),
            None => Err(self.exec_remote()),
        }
    }

    /// Replaces this process with `topip-remote`; returns only if that fails.
    fn exec_remote(&self) -> Problem {
        let executable = match exec::sibling_executable(REMOTE_EXECUTABLE) {
            Ok(executable) => executable,
            Err(error) => {
                return Problem::new(
                    format!("cannot find {REMOTE_EXECUTABLE}: {error}"),
                    "Check that /proc is mounted.",
                );
            }
        };
        let path = executable.display();
        if self.env_var(exec::EXEC_GUARD_ENV).is_some() {
            return Problem::new(
                format!("cannot use {path}: it does not contain SSH and mail"),
                "Reinstall topip.",
            );
        }
        let env = self.env.iter().map(|(name, value)| (&**name, &**value));
        let password =
            self.password.iter().map(|it| (OsStr::new(PASSWORD_ENV), OsStr::new(it.reveal())));
        let error = exec::replace_process(&executable, &self.name, &self.args, env.chain(password));
        Problem::new(
            format!("cannot execute {path}, which is needed for SSH and mail: {error}"),
            "It must be in the directory of this program: reinstall topip, or copy both files.",
        )
    }
}
