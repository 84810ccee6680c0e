//! Why a mail was not sent, and what to do about it.
use std::{io, path::PathBuf};

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// This program cannot send any.
    #[error("this topip was built without mail")]
    NotBuilt,
    /// What it says is no mail.
    #[error("it cannot be put into the form of a mail: {problem}")]
    Form {
        /// The library's words.
        problem: String,
    },
    /// The server's name has no address.
    #[error("cannot find {host}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// None of the server's addresses takes a connection.
    #[error("cannot connect to {server}")]
    Connect {
        /// The server.
        server: String,
        /// What the system said.
        source: io::Error,
    },
    /// The time was up.
    #[error("{server} gave no answer in time, {doing}")]
    Late {
        /// The server, or the program.
        server: String,
        /// What was going on.
        doing: String,
    },
    /// The connection broke.
    #[error("lost the connection to {server}, {doing}")]
    Lost {
        /// The server.
        server: String,
        /// What was going on.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server says what is no answer.
    #[error("{server} talks no SMTP, {doing}: {problem}")]
    Unintelligible {
        /// The server.
        server: String,
        /// What was going on.
        doing: String,
        /// What is wrong with it, or what it said.
        problem: String,
    },
    /// The server says no.
    #[error("{server} refused it, {doing}: {reply}")]
    Refused {
        /// The server.
        server: String,
        /// What it was told.
        doing: String,
        /// Its answer.
        reply: String,
    },
    /// The server has no STARTTLS, and that is asked for.
    #[error("{server} offers no STARTTLS")]
    NoTls {
        /// The server.
        server: String,
    },
    /// The connection cannot be encrypted, or not to whom it should be.
    #[error("cannot encrypt the connection to {server}: {problem}")]
    Tls {
        /// The server.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// The server has no way to log in that is known here.
    #[error("{server} offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoLogin {
        /// The server.
        server: String,
    },
    /// The program cannot be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program says no.
    #[error("{} ended with {code}{}", program.display(), in_parentheses(output))]
    Ended {
        /// The program.
        program: PathBuf,
        /// Its exit code, or the signal that ended it.
        code: String,
        /// What it printed.
        output: String,
    },
    /// The server had all of it, and then no answer came that says whether it
    /// has taken it.
    #[error(transparent)]
    Unconfirmed(Box<Self>),
    /// A mistake in topip.
    #[error("internal error")]
    Internal,
    /// No thread could be had for it.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

fn in_parentheses(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

impl MailError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        let advice = match self {
            Self::NotBuilt => "Build it with the feature mail, which is on by default.",
            Self::Form { .. } | Self::Internal => "This is a mistake in topip. Please report it.",
            Self::Resolve { .. } => "Is the name in --smtp right?",
            Self::Connect { .. } => "Is the server of --smtp running, and does it listen there?",
            Self::Late { .. } => "Is the server of --smtp slow? A local one takes mail at once.",
            Self::Lost { .. } => "See the log of the mail server.",
            Self::Unintelligible { .. } => {
                "Is it the right port? smtps:// is for 465, smtp:// for 25 and 587."
            }
            Self::Refused { reply, .. } if reply.starts_with("530") => {
                "Name a user in --smtp, and give --smtp-password-file."
            }
            Self::Refused { reply, .. } if reply.starts_with("535") => {
                "Are the user in --smtp and the password in --smtp-password-file right?"
            }
            Self::Refused { .. } => "See the log of the mail server.",
            Self::Unconfirmed(_) => "The log of the mail server tells whether it has taken it.",
            Self::NoTls { .. } => "Use smtps://, or ?tls=none where nobody listens in between.",
            Self::Tls { .. } => {
                "Use the port for it, and the name that its certificate has, and make its authority \
                 known to this system; or see --smtp in check_topip(1)."
            }
            Self::NoLogin { .. } => "Does it want TLS for that? See --smtp in check_topip(1).",
            Self::Run { .. } => "Name another program: --smtp sendmail:PATH.",
            Self::Ended { .. } => "See the log of the mail server.",
            Self::Thread(_) => "Allow the user that runs the check more processes.",
        };
        advice.to_owned()
    }
}
