//! Servers that are sampled by an external SSH client, with one command each.
//!
//! The client is a program such as OpenSSH's `ssh`. It finds the server, verifies the
//! host key and logs in, by its own configuration. The command on the server and the
//! reader of its output are those of the built-in client.
use std::{
    ffi::OsStr,
    io, iter,
    path::Path,
    str::FromStr,
    time::{Duration, Instant},
};

use crate::parse::capture::{Capture, CaptureNote};

use super::{
    activity::Activity,
    remote_listing::{ListingRequest, RemoteListing},
    source_error::SourceError,
};
use client_output::ClientOutput;

mod client_output;

/// Options for every client, before the server. They disable the terminal, X11, the agent,
/// prompts, banners, forwardings and other commands that the client's configuration
/// requests. A client must ignore options that it does not know, as dropbear's client does.
const CLIENT_OPTIONS: [&str; 11] = [
    "-T",
    "-x",
    "-a",
    "-o",
    "BatchMode=yes",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "ClearAllForwardings=yes",
    "-o",
    "RemoteCommand=none",
];

/// Command line of an SSH client, without the server: at least one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteShell(Vec<String>);

/// The text is not the command line of an SSH client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteShellError {
    /// A quotation is not closed, or the text ends with a backslash.
    #[error("a quote is not closed")]
    OpenQuote,
    /// The text has no words.
    #[error("not a command; write one such as ssh -J bastion")]
    Empty,
}

impl FromStr for RemoteShell {
    type Err = RemoteShellError;

    /// Splits the text into words as a shell does, without expansions.
    fn from_str(text: &str) -> Result<Self, RemoteShellError> {
        let words = shlex::split(text).ok_or(RemoteShellError::OpenQuote)?;
        if words.first().is_none_or(String::is_empty) {
            return Err(RemoteShellError::Empty);
        }
        Ok(Self(words))
    }
}

impl RemoteShell {
    /// Returns the words, at least one.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Returns the file name of the program, for messages.
    fn program_name(&self) -> String {
        let name = Path::new(&self.0[0]).file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// SSH server that an external client reaches.
#[derive(Clone, Debug)]
pub struct RshServer {
    /// Name or address, without brackets, or an alias that the client knows.
    pub host: String,
    /// TCP port; `None` if the client decides.
    pub port: Option<u16>,
    /// Login name on the server; `None` if the client decides.
    pub user: Option<String>,
    /// The client.
    pub client: RemoteShell,
    /// The command that lists its connections.
    pub request: ListingRequest,
    /// Time limit for the whole sample.
    pub timeout: Duration,
}

/// Failure to get a listing from a server by an external client.
#[derive(Debug, thiserror::Error)]
pub enum RshError {
    /// The client cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// Program as given.
        program: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The client failed before the server has printed anything.
    #[error("{host}: {program}: {reason}")]
    Client {
        /// The server.
        host: String,
        /// File name of the client.
        program: String,
        /// Last lines of its standard error, or its exit status.
        reason: String,
        /// Command that reproduces the failure.
        command_line: String,
    },
    /// The command ran but printed no listing.
    #[error("{host} gave no listing: {problem}")]
    NoListing {
        /// The server.
        host: String,
        /// Description of the output.
        problem: String,
        /// Hint on how to get a listing.
        hint: String,
    },
}

impl RshError {
    /// Returns a hint on how to fix the problem.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Start { program, .. } if program.contains('/') => {
                format!("Check that it exists and that this user can run it: ls -l {program}")
            }
            Self::Start { program, .. } => {
                format!("Check that it is in PATH, or name its path: `--rsh` /usr/bin/{program}")
            }
            Self::Client { command_line, .. } => {
                format!("Try, as the user that runs the check: {command_line}")
            }
            Self::NoListing { hint, .. } => hint.clone(),
        }
    }
}

impl RshServer {
    /// Starts the client and waits for the first line of the listing. The capture reads
    /// the output as it arrives.
    pub(super) fn open(&self, activity: &Activity) -> Result<Vec<Capture>, SourceError> {
        let program = self.client.program_name();
        activity.set(format!("waiting for {program}"));
        let mut listing = RemoteListing::new(self.start_client()?);
        let start = match listing.read_start(&self.request, None) {
            Ok(start) => start,
            Err(problem) => return Err(self.failure(&listing.into_output(), &problem).into()),
        };
        activity.set(format!("running {}", start.command));
        let (server, command) = (self.name(), start.command.clone());
        let notes = vec![CaptureNote::RemoteShell { server, program, command }];
        Ok(vec![start.into_capture(listing, self.name(), notes)])
    }

    /// Returns the name of the server: `web1`, or `[web1]:2222` with a port.
    #[must_use]
    pub fn name(&self) -> String {
        match self.port {
            None => self.host.clone(),
            Some(port) => format!("[{}]:{port}", self.host),
        }
    }

    fn start_client(&self) -> Result<ClientOutput, RshError> {
        let deadline = Instant::now() + self.timeout;
        let words = self.client_words(&CLIENT_OPTIONS);
        let words = words.iter().map(String::as_str).chain([self.request.command_line()]);
        let words: Vec<_> = words.map(OsStr::new).collect();
        ClientOutput::start(&words, deadline)
            .map_err(|source| RshError::Start { program: self.client.0[0].clone(), source })
    }

    /// Returns the command line up to the server. The words of `--rsh` come first: a
    /// client uses the first of two values of an option.
    fn client_words(&self, options: &[&str]) -> Vec<String> {
        let mut words = self.client.0.clone();
        words.extend(options.iter().copied().map(str::to_owned));
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(user) = &self.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        words.extend(["--".to_owned(), self.host.clone()]);
        words
    }

    /// Returns the error of a client that has not given a listing.
    fn failure(&self, output: &ClientOutput, problem: &io::Error) -> RshError {
        let host = self.name();
        let Some(reason) = output.client_failure() else {
            let hint = self.request.no_listing_hint(self.user.as_deref());
            return RshError::NoListing { host, problem: problem.to_string(), hint };
        };
        let program = self.client.program_name();
        // OpenSSH begins some of its messages with its name.
        let prefix = format!("{program}: ");
        let reason = reason.strip_prefix(&prefix).unwrap_or(&reason).to_owned();
        let words = self.client_words(&["-o", "BatchMode=yes"]);
        RshError::Client { host, program, reason, command_line: shell_line(&words) }
    }
}

/// Returns these words and `true` as a command line for a shell. Special characters are
/// quoted by backslashes, because a status line cannot have quotation marks.
fn shell_line(words: &[String]) -> String {
    let is_plain = |ch: char| ch.is_alphanumeric() || "%+,-./:=@_".contains(ch);
    let quote = |ch| iter::repeat_n('\\', usize::from(!is_plain(ch))).chain([ch]);
    let words = words.iter().map(|word| word.chars().flat_map(quote).collect::<String>());
    words.chain(["true".to_owned()]).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use crate::{model::protocol::Protocol, parse::TableKind};

    use super::*;

    fn server(client: &str, user: Option<&str>, port: Option<u16>) -> RshServer {
        RshServer {
            host: "web1".to_owned(),
            port,
            user: user.map(str::to_owned),
            client: client.parse().expect("it is a command"),
            request: ListingRequest {
                table_kind: TableKind::Sockets,
                protocol: Protocol::Tcp,
                command: None,
            },
            timeout: Duration::from_secs(10),
        }
    }

    #[test]
    fn words_are_split_like_a_shell_without_expansions() {
        let words = |text: &str| text.parse::<RemoteShell>().map(|shell| shell.0);
        let expected = ["ssh", "-F", "a b", "-J", "x$HOME;`id`", "*"].map(str::to_owned).to_vec();
        assert_eq!(words(" ssh -F 'a b'  -J \"x\\$HOME;\"'`id`' * "), Ok(expected));
        for open in ["ssh 'a", "ssh \"a", "ssh a\\"] {
            assert_eq!(words(open), Err(RemoteShellError::OpenQuote), "{open}");
        }
        for empty in ["", "  ", "# ssh", "'' ssh"] {
            assert_eq!(words(empty), Err(RemoteShellError::Empty), "{empty}");
        }
    }

    #[test]
    fn suggested_command_line_is_quoted_for_a_shell() {
        let words = server("ssh -F 'a b'", Some("x;y"), None).client_words(&[]);
        assert_eq!(shell_line(&words), r"ssh -F a\ b -l x\;y -- web1 true");
        assert_eq!(shlex::split(&shell_line(&words)).expect("it is quoted").len(), 8);
    }

    #[test]
    fn user_and_port_are_given_only_if_named() {
        let words = |user, port| {
            server("ssh -J bastion", user, port).client_words(&CLIENT_OPTIONS).join(" ")
        };
        let options = "ssh -J bastion -T -x -a -o BatchMode=yes -o LogLevel=ERROR \
                       -o ClearAllForwardings=yes -o RemoteCommand=none";
        assert_eq!(words(None, None), format!("{options} -- web1"));
        // A value that begins with a hyphen is the value of the option before it.
        assert_eq!(words(Some("-oX=y"), Some(22)), format!("{options} -p 22 -l -oX=y -- web1"));
        assert_eq!(server("ssh", None, None).name(), "web1");
        assert_eq!(server("ssh", None, Some(22)).name(), "[web1]:22");
    }
}
