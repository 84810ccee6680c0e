//! Errors of sending email, with hints.
use std::{io, path::PathBuf};

use crate::model::problem::Hints;

/// Failure to send an email.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// topip was built without the `mail` feature.
    #[error("this topip was built without mail")]
    NotBuilt,
    /// The text cannot be encoded as an email.
    #[error("cannot encode the mail: {problem}")]
    Compose {
        /// Error message of lettre.
        problem: String,
    },
    /// The host name cannot be resolved.
    #[error("cannot find the address of {host}")]
    Resolve {
        /// Host name.
        host: String,
        /// Error of the system.
        source: io::Error,
    },
    /// No address of the server accepts a connection.
    #[error("cannot connect to {server}")]
    Connect {
        /// Server, as `host:port`.
        server: String,
        /// Error of the system.
        source: io::Error,
    },
    /// The server or program did not finish before the deadline.
    #[error("{server} gave no answer in time {step}")]
    TimedOut {
        /// Server, as `host:port`, or path of the program.
        server: String,
        /// Step that timed out: `after EHLO`.
        step: String,
    },
    /// The connection to the server was lost.
    #[error("lost the connection to {server} {step}")]
    ConnectionLost {
        /// Server, as `host:port`.
        server: String,
        /// Step during which the connection was lost.
        step: String,
        /// Error of the system.
        source: io::Error,
    },
    /// The server violates the SMTP protocol.
    #[error("{server} sent an unexpected SMTP reply {step}: {problem}")]
    Protocol {
        /// Server, as `host:port`.
        server: String,
        /// SMTP step that failed.
        step: String,
        /// Violation, or the unexpected reply.
        problem: String,
    },
    /// The server refused a command.
    #[error("{server} sent an error reply {step}: {reply}")]
    Refused {
        /// Server, as `host:port`.
        server: String,
        /// Refused step.
        step: String,
        /// Reply of the server.
        reply: String,
    },
    /// The server does not offer STARTTLS, which is required.
    #[error("{server} does not offer STARTTLS")]
    NoStartTls {
        /// Server, as `host:port`.
        server: String,
    },
    /// TLS negotiation failed, or the certificate is not valid for the server.
    #[error("cannot encrypt the connection to {server}: {problem}")]
    Tls {
        /// Server, as `host:port`.
        server: String,
        /// Error message of OpenSSL.
        problem: String,
    },
    /// The server offers no supported authentication mechanism.
    #[error("{server} offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoAuthMechanism {
        /// Server, as `host:port`.
        server: String,
    },
    /// The sendmail program cannot be run.
    #[error("cannot run {}", program.display())]
    RunProgram {
        /// Path of the program.
        program: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The sendmail program failed.
    #[error("{} ended with {code}{}", program.display(), parenthesized(output))]
    ProgramFailed {
        /// Path of the program.
        program: PathBuf,
        /// Exit status, or the signal that killed the program, as a phrase.
        code: String,
        /// Beginning of its standard error output.
        output: String,
    },
    /// The whole message was sent, but no reply states whether the server accepted it.
    #[error(transparent)]
    Unconfirmed(Box<Self>),
    /// A bug in topip.
    #[error("internal error")]
    Internal,
    /// No thread can be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

fn parenthesized(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

impl Hints for MailError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl MailError {
    /// Returns a hint on how to fix the error.
    fn hint(&self) -> String {
        let hint = match self {
            Self::NotBuilt => "Build topip with the feature mail, which is enabled by default.",
            Self::Compose { .. } | Self::Internal => "This is a bug in topip. Please report it.",
            Self::Resolve { .. } => "Check the host name in `--smtp`.",
            Self::Connect { .. } => {
                "Check that the server of `--smtp` is running and listens on this port."
            }
            Self::TimedOut { .. } => {
                "Check whether the server of `--smtp` is slow. A local mail server accepts mail at \
                 once."
            }
            Self::ConnectionLost { .. } => "See the log of the mail server.",
            Self::Protocol { .. } => {
                "Check the port: smtps:// is for port 465, smtp:// for ports 25 and 587."
            }
            Self::Refused { reply, .. } if reply.starts_with("530") => {
                "Name a user in `--smtp`, and the file of the password with \
                 `--smtp-password-file`."
            }
            Self::Refused { reply, .. } if reply.starts_with("535") => {
                "Check the user in `--smtp` and the password in `--smtp-password-file`."
            }
            Self::Refused { step, reply, .. } if is_about_name(step, reply) => {
                "Name this host as the server knows it: `--smtp` smtp://HOST?helo=NAME"
            }
            Self::Refused { .. } => "See the log of the mail server.",
            Self::Unconfirmed(_) => {
                "The log of the mail server shows whether the server accepted the mail."
            }
            Self::NoStartTls { .. } => {
                "Use smtps://, or ?tls=none if the network to the server is trusted."
            }
            Self::Tls { .. } => {
                "Use the port for TLS and the host name in the certificate of the server, and add \
                 the certificate authority to this system; or see `--smtp` in check_topip(1)."
            }
            Self::NoAuthMechanism { .. } => {
                "The server may require TLS for a login. See `--smtp` in check_topip(1)."
            }
            Self::RunProgram { .. } => "Name another program: `--smtp` sendmail:PATH.",
            Self::ProgramFailed { .. } => "See the log of the mail server.",
            Self::Thread(_) => {
                "Raise the limit on processes (ulimit -u) of the user that runs the check."
            }
        };
        hint.to_owned()
    }
}

/// Returns whether a server refused the name of this host. Most servers wait for the
/// recipients before they refuse it.
fn is_about_name(step: &str, reply: &str) -> bool {
    let reply = reply.to_ascii_lowercase();
    step == "after EHLO" && reply.starts_with('5')
        || reply.contains("helo")
        || reply.contains("ehlo")
}
