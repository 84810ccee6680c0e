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
    #[error("it cannot be put into the form of a mail: {problem}")]
    Compose {
        /// Error message of lettre.
        problem: String,
    },
    /// The host name cannot be resolved.
    #[error("cannot find {host}")]
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
    #[error("{server} gave no answer in time, {step}")]
    TimedOut {
        /// Server, as `host:port`, or path of the program.
        server: String,
        /// Step that timed out.
        step: String,
    },
    /// The connection to the server was lost.
    #[error("lost the connection to {server}, {step}")]
    ConnectionLost {
        /// Server, as `host:port`.
        server: String,
        /// Step during which the connection was lost.
        step: String,
        /// Error of the system.
        source: io::Error,
    },
    /// The server violates the SMTP protocol.
    #[error("{server} talks no SMTP, {step}: {problem}")]
    Protocol {
        /// Server, as `host:port`.
        server: String,
        /// SMTP step that failed.
        step: String,
        /// Violation, or the unexpected reply.
        problem: String,
    },
    /// The server refused a command.
    #[error("{server} refused it, {step}: {reply}")]
    Refused {
        /// Server, as `host:port`.
        server: String,
        /// Refused step.
        step: String,
        /// Reply of the server.
        reply: String,
    },
    /// The server does not offer STARTTLS, which is required.
    #[error("{server} offers no STARTTLS")]
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
        /// Exit code, or the signal that killed the program.
        code: String,
        /// Beginning of its standard error output.
        output: String,
    },
    /// The whole message was sent, but no reply states whether the server accepted
    /// it.
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
            Self::NotBuilt => "Build it with the feature mail, which is on by default.",
            Self::Compose { .. } | Self::Internal => {
                "This is a mistake in topip. Please report it."
            }
            Self::Resolve { .. } => "Is the name in `--smtp` right?",
            Self::Connect { .. } => "Is the server of `--smtp` running, and does it listen there?",
            Self::TimedOut { .. } => {
                "Is the server of `--smtp` slow? A local one takes mail at once."
            }
            Self::ConnectionLost { .. } => "See the log of the mail server.",
            Self::Protocol { .. } => {
                "Is it the right port? smtps:// is for 465, smtp:// for 25 and 587."
            }
            Self::Refused { reply, .. } if reply.starts_with("530") => {
                "Name a user in `--smtp`, and give `--smtp-password-file`."
            }
            Self::Refused { reply, .. } if reply.starts_with("535") => {
                "Are the user in `--smtp` and the password in `--smtp-password-file` right?"
            }
            Self::Refused { step, reply, .. } if is_about_name(step, reply) => {
                "Name this host as the server knows it: `--smtp` smtp://HOST?helo=NAME"
            }
            Self::Refused { .. } => "See the log of the mail server.",
            Self::Unconfirmed(_) => "The log of the mail server tells whether it has taken it.",
            Self::NoStartTls { .. } => {
                "Use smtps://, or ?tls=none where nobody listens in between."
            }
            Self::Tls { .. } => {
                "Use the port for it, and the name that its certificate has, and make its authority \
                 known to this system; or see `--smtp` in check_topip(1)."
            }
            Self::NoAuthMechanism { .. } => {
                "Does it want TLS for that? See `--smtp` in check_topip(1)."
            }
            Self::RunProgram { .. } => "Name another program: `--smtp` sendmail:PATH.",
            Self::ProgramFailed { .. } => "See the log of the mail server.",
            Self::Thread(_) => "Allow the user that runs the check more processes.",
        };
        hint.to_owned()
    }
}

/// Returns whether a server refused the name of this host. Most servers wait for the
/// recipients before they refuse it.
fn is_about_name(step: &str, reply: &str) -> bool {
    let reply = reply.to_ascii_lowercase();
    step == "told EHLO" && reply.starts_with('5')
        || reply.contains("helo")
        || reply.contains("ehlo")
}
