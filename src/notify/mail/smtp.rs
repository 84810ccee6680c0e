//! The SMTP session.
use std::{
    fmt::Display,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use lettre::transport::smtp::{
    authentication::{DEFAULT_MECHANISMS, Mechanism},
    commands::{Data, Ehlo, Mail, Quit, Rcpt, Starttls},
    extension::{ClientId, Extension, ServerInfo},
    response::{Response, Severity},
};
use native_tls::TlsStream;

use super::{
    Delivery, Envelope, LocalName, MailAddress, MailError, SmtpLogin, SmtpServer, TlsMode,
    bounded_stream::BoundedStream,
    local_name,
    message::{self, Draft},
    progress::{MailProgress, MailStage},
    reply::{reply_codes, reply_excerpt},
    sasl, tls,
};

/// Extra time after the deadline in which the session thread can report the step that
/// timed out.
const REPORT_MARGIN: Duration = Duration::from_millis(100);
/// Maximum wait for the reply to QUIT: the server has accepted the mail already.
const QUIT_TIMEOUT: Duration = Duration::from_millis(300);
/// Line that ends a mail.
const FINAL_DOT: &[u8] = b".\r\n";
/// Maximum size of a reply.
const MAX_REPLY_BYTES: usize = 64 * 1024;
/// Maximum number of challenges during authentication.
const MAX_CHALLENGES: usize = 3;

/// A message, with its envelope and the name of this host.
pub(super) struct OutgoingMail<'a> {
    /// Sender and recipients.
    pub(super) envelope: &'a Envelope,
    /// Bytes of the message.
    pub(super) message: &'a [u8],
    /// Argument of EHLO.
    pub(super) local_name: &'a LocalName,
}

/// Sends a message to its recipients through `server`. Gives up at `deadline`.
///
/// The session runs on its own thread because name resolution has no timeout. If
/// resolution hangs, the thread is left running and ends with the process.
pub(super) fn send(
    server: &SmtpServer,
    draft: Draft,
    deadline: Instant,
) -> Result<Delivery, MailError> {
    let (sender, receiver) = mpsc::channel();
    let progress = MailProgress::new("during name resolution");
    let worker = {
        let (server, progress) = (server.clone(), progress.clone());
        move || {
            let outcome = connect_and_send(&server, &draft, &progress, deadline);
            // The receiver is gone after a timeout.
            let _ = sender.send(outcome);
        }
    };
    thread::Builder::new().spawn(worker).map_err(MailError::Thread)?;
    let timeout = (deadline + REPORT_MARGIN).saturating_duration_since(Instant::now());
    match receiver.recv_timeout(timeout) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Disconnected) => Err(MailError::Internal),
        Err(RecvTimeoutError::Timeout) => late_outcome(server, &progress),
    }
}

fn connect_and_send(
    server: &SmtpServer,
    draft: &Draft,
    progress: &MailProgress,
    deadline: Instant,
) -> Result<Delivery, MailError> {
    let name = server.helo.clone().or_else(|| local_name::qualified_name(deadline));
    let stream = connect(server, progress, deadline)?;
    let local_name = &match name {
        Some(name) => name,
        None => local_address(server, &stream)?.into(),
    };
    let message = &message::compose(draft, local_name)?;
    let mail = OutgoingMail { envelope: &draft.envelope, message, local_name };
    run_session((server, stream), &mail, progress, deadline)
}

fn local_address(server: &SmtpServer, stream: &BoundedStream) -> Result<IpAddr, MailError> {
    stream
        .local_address()
        .map_err(|source| MailError::Connect { server: server.to_string(), source })
}

/// Returns the outcome for a session that has not reported one in time.
fn late_outcome(server: &SmtpServer, progress: &MailProgress) -> Result<Delivery, MailError> {
    let (step, stage) = progress.cancel();
    let timed_out = MailError::TimedOut { server: server.to_string(), step };
    match stage {
        MailStage::Accepted(delivery) => Ok(delivery),
        MailStage::Complete => Err(unconfirmed(timed_out)),
        MailStage::Incomplete | MailStage::Canceled => Err(timed_out),
    }
}

/// Runs the whole session on an open connection.
pub(super) fn run_session(
    (server, stream): (&SmtpServer, BoundedStream),
    mail: &OutgoingMail<'_>,
    progress: &MailProgress,
    deadline: Instant,
) -> Result<Delivery, MailError> {
    let stream = match server.tls {
        TlsMode::Implicit => {
            progress.set_step(tls::STEP);
            SmtpStream::Tls(tls::encrypt(server, stream, deadline)?)
        }
        TlsMode::None | TlsMode::Opportunistic | TlsMode::Required => SmtpStream::Plain(stream),
    };
    let mut session = SmtpSession::new(server, stream, progress, deadline);
    progress.set_step("after connecting");
    session.expect_reply("after connecting", Severity::PositiveCompletion)?;
    let mut server_info = session.ehlo(mail.local_name)?;
    let offers_start_tls = server_info.supports_feature(Extension::StartTls);
    match server.tls {
        TlsMode::Required if !offers_start_tls => {
            return Err(MailError::NoStartTls { server: server.to_string() });
        }
        TlsMode::Required | TlsMode::Opportunistic if offers_start_tls => {
            session = session.start_tls()?;
            server_info = session.ehlo(mail.local_name)?;
        }
        _ => {}
    }
    if let Some(login) = &server.login {
        session.log_in(&server_info, login)?;
    }
    let outcome = session.send_message(mail);
    if let Ok(delivery) = &outcome {
        progress.accept(delivery.clone());
    }
    session.quit();
    outcome
}

fn connect(
    server: &SmtpServer,
    progress: &MailProgress,
    deadline: Instant,
) -> Result<BoundedStream, MailError> {
    let addresses: Vec<SocketAddr> = (server.host.as_str(), server.port)
        .to_socket_addrs()
        .map_err(|source| MailError::Resolve { host: server.host.clone(), source })?
        .collect();
    let step = "during connection setup";
    progress.set_step(step);
    BoundedStream::connect(&addresses, deadline).map_err(|source| match source.kind() {
        io::ErrorKind::TimedOut => {
            MailError::TimedOut { server: server.to_string(), step: step.to_owned() }
        }
        _ => MailError::Connect { server: server.to_string(), source },
    })
}

enum SmtpStream {
    Plain(BoundedStream),
    Tls(TlsStream<BoundedStream>),
}

impl SmtpStream {
    fn bounded_stream(&mut self) -> &mut BoundedStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut(),
        }
    }
}

impl Read for SmtpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

/// SMTP session with a server.
struct SmtpSession<'a> {
    server: &'a SmtpServer,
    stream: BufReader<SmtpStream>,
    progress: &'a MailProgress,
    deadline: Instant,
    /// True if replies may be quoted in messages. False during authentication: some
    /// servers quote the password when they refuse it.
    is_quotable: bool,
}

impl<'a> SmtpSession<'a> {
    fn new(
        server: &'a SmtpServer,
        stream: SmtpStream,
        progress: &'a MailProgress,
        deadline: Instant,
    ) -> Self {
        Self { server, stream: BufReader::new(stream), progress, deadline, is_quotable: true }
    }

    fn ehlo(&mut self, local_name: &LocalName) -> Result<ServerInfo, MailError> {
        // lettre writes a domain unchanged, so an address literal can be passed as one.
        let name = ClientId::Domain(local_name.to_string());
        let reply =
            self.send_command("after EHLO", Ehlo::new(name), Severity::PositiveCompletion)?;
        ServerInfo::from_response(&reply).map_err(|_| self.unexpected_reply("after EHLO", &reply))
    }

    fn start_tls(mut self) -> Result<Self, MailError> {
        self.send_command("after STARTTLS", Starttls, Severity::PositiveCompletion)?;
        // Data received in clear text must not be treated as encrypted data.
        if !self.stream.buffer().is_empty() {
            let problem = "more data in clear text".to_owned();
            return Err(self.protocol_error("after STARTTLS", problem));
        }
        let Self { server, stream, progress, deadline, .. } = self;
        progress.set_step(tls::STEP);
        let stream = match stream.into_inner() {
            SmtpStream::Plain(stream) => SmtpStream::Tls(tls::encrypt(server, stream, deadline)?),
            encrypted @ SmtpStream::Tls(_) => encrypted,
        };
        Ok(Self::new(server, stream, progress, deadline))
    }

    fn log_in(&mut self, server_info: &ServerInfo, login: &SmtpLogin) -> Result<(), MailError> {
        let server = self.server.to_string();
        let mechanism = server_info
            .get_auth_mechanism(DEFAULT_MECHANISMS)
            .ok_or(MailError::NoAuthMechanism { server })?;
        // The command contains the password, and replies may quote it, so report only
        // their codes.
        let step = format!("after AUTH {mechanism}");
        self.is_quotable = false;
        let outcome = self.authenticate(&step, mechanism, login);
        self.is_quotable = true;
        outcome
    }

    /// Sends user name and password, in as many steps as the server requests.
    fn authenticate(
        &mut self,
        step: &str,
        mechanism: Mechanism,
        login: &SmtpLogin,
    ) -> Result<(), MailError> {
        let mut command = sasl::initial_command(mechanism, login);
        for _ in 0..MAX_CHALLENGES {
            self.write(step, &command)?;
            let reply = self.positive_reply(step)?;
            if reply.code().severity == Severity::PositiveCompletion {
                return Ok(());
            }
            let challenge = reply.first_word().unwrap_or_default();
            command = sasl::challenge_response(mechanism, login, challenge)
                .ok_or_else(|| self.unexpected_reply(step, &reply))?;
        }
        Err(self.protocol_error(
            step,
            "the server asks for more than a user name and a password".to_owned(),
        ))
    }

    /// Sends the message to all recipients that are not refused.
    ///
    /// # Errors
    ///
    /// Returns an error if all recipients are refused, or if the message is not
    /// accepted.
    fn send_message(&mut self, mail: &OutgoingMail<'_>) -> Result<Delivery, MailError> {
        let OutgoingMail { envelope, message, .. } = mail;
        let completion = Severity::PositiveCompletion;
        let from = &envelope.from;
        let command = Mail::new(Some(lettre_address(from)?), Vec::new());
        self.send_command(&format!("after MAIL FROM {from}"), command, completion)?;
        let mut refused = Vec::new();
        for to in &envelope.to {
            let command = Rcpt::new(lettre_address(to)?, Vec::new());
            match self.send_command(&format!("after RCPT TO {to}"), command, completion) {
                Ok(_) => {}
                Err(MailError::Refused { reply, step, server }) => {
                    refused.push((to.to_string(), reply.clone()));
                    if refused.len() == envelope.to.len() {
                        return Err(MailError::Refused { reply, step, server });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.send_command("after DATA", Data, Severity::PositiveIntermediate)?;
        let step = "after the mail data";
        self.write(step, &dot_stuff(message))?;
        if !self.progress.complete() {
            return Err(self.io_error(step, io::ErrorKind::TimedOut.into()));
        }
        self.write(step, FINAL_DOT)?;
        self.expect_reply(step, completion).map_err(unconfirmed)?;
        Ok(Delivery { route: self.route(), refused })
    }

    fn route(&mut self) -> String {
        let encryption = match self.stream.get_mut() {
            SmtpStream::Plain(_) => "unencrypted",
            SmtpStream::Tls(_) => "encrypted",
        };
        let login = self.server.login.as_ref();
        let user = login.map_or_else(String::new, |login| format!(", as {}", login.user));
        format!("{}, {encryption}{user}", self.server)
    }

    fn quit(&mut self) {
        self.stream.get_mut().bounded_stream().shorten_deadline(QUIT_TIMEOUT);
        // The mail is delivered, so a failure of QUIT does not matter.
        let _ = self.send_command("after QUIT", Quit, Severity::PositiveCompletion);
    }

    /// Sends a command and reads its reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the reply does not have `severity`.
    fn send_command(
        &mut self,
        step: &str,
        command: impl Display,
        severity: Severity,
    ) -> Result<Response, MailError> {
        self.write(step, command.to_string().as_bytes())?;
        self.expect_reply(step, severity)
    }

    fn write(&mut self, step: &str, bytes: &[u8]) -> Result<(), MailError> {
        self.progress.set_step(step);
        // A reply received before its command would be matched with the wrong
        // command. Only 421 (service shutting down) may be sent at any time.
        let unread_bytes = self.stream.buffer();
        if !unread_bytes.is_empty() && !unread_bytes.starts_with(b"421") {
            return Err(self
                .protocol_error(step, "the reply arrived before the command was sent".to_owned()));
        }
        let result = match self.stream.get_mut() {
            SmtpStream::Plain(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            SmtpStream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        result.map_err(|error| self.io_error(step, error))
    }

    fn expect_reply(&mut self, step: &str, severity: Severity) -> Result<Response, MailError> {
        let reply = self.positive_reply(step)?;
        if reply.code().severity == severity {
            Ok(reply)
        } else {
            Err(self.unexpected_reply(step, &reply))
        }
    }

    /// Reads the next reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the reply is not positive.
    fn positive_reply(&mut self, step: &str) -> Result<Response, MailError> {
        let text = self.reply_text(step)?;
        let reply: Response =
            text.parse().map_err(|_| self.protocol_error(step, self.quote(&text)))?;
        if reply.is_positive() {
            Ok(reply)
        } else {
            Err(MailError::Refused {
                server: self.server.to_string(),
                step: step.to_owned(),
                reply: self.format_reply(&reply),
            })
        }
    }

    /// Reads the lines of the next reply. The last line has no hyphen after its code.
    fn reply_text(&mut self, step: &str) -> Result<String, MailError> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            let remaining_bytes = (MAX_REPLY_BYTES - text.len()) as u64;
            let read = self.stream.by_ref().take(remaining_bytes).read_until(b'\n', &mut line);
            read.map_err(|error| self.io_error(step, error))?;
            if !line.ends_with(b"\n") {
                return Err(if line.len() as u64 == remaining_bytes {
                    self.protocol_error(step, "the reply does not end within 64 KiB".to_owned())
                } else {
                    self.io_error(step, io::ErrorKind::UnexpectedEof.into())
                });
            }
            text += String::from_utf8_lossy(&line).trim_end();
            text += "\r\n";
            let is_continued = matches!(line[..], [a, b, c, b'-', ..]
                if [a, b, c].iter().all(u8::is_ascii_digit));
            if !is_continued {
                return Ok(text);
            }
            if text.len() >= MAX_REPLY_BYTES {
                return Err(
                    self.protocol_error(step, "the reply does not end within 64 KiB".to_owned())
                );
            }
        }
    }

    fn io_error(&self, step: &str, source: io::Error) -> MailError {
        let (server, step) = (self.server.to_string(), step.to_owned());
        match source.kind() {
            io::ErrorKind::TimedOut => MailError::TimedOut { server, step },
            // TLS wraps a timeout in an error of another kind.
            _ if Instant::now() >= self.deadline => MailError::TimedOut { server, step },
            _ => MailError::ConnectionLost { server, step, source },
        }
    }

    fn unexpected_reply(&self, step: &str, reply: &Response) -> MailError {
        self.protocol_error(step, self.format_reply(reply))
    }

    /// Formats a reply for a message, for example `550 5.1.1 no such user`.
    fn format_reply(&self, reply: &Response) -> String {
        let code = reply.code().to_string();
        let lines: Vec<_> = std::iter::once(code.as_str()).chain(reply.message()).collect();
        let text = lines.join(" ");
        if self.is_quotable { reply_excerpt(&text) } else { reply_codes(&text) }
    }

    fn quote(&self, text: &str) -> String {
        if self.is_quotable {
            reply_excerpt(text)
        } else {
            "the text is hidden because it may contain the password".to_owned()
        }
    }

    fn protocol_error(&self, step: &str, problem: String) -> MailError {
        let (server, step) = (self.server.to_string(), step.to_owned());
        MailError::Protocol { server, step, problem }
    }
}

/// Marks a timeout or a lost connection after the complete message as unconfirmed:
/// many servers accept a message first and are slow to confirm it.
fn unconfirmed(error: MailError) -> MailError {
    match error {
        MailError::TimedOut { .. } | MailError::ConnectionLost { .. } => {
            MailError::Unconfirmed(Box::new(error))
        }
        error => error,
    }
}

fn lettre_address(address: &MailAddress) -> Result<lettre::Address, MailError> {
    // The address was validated when the options were parsed.
    address.0.parse().map_err(|_| MailError::Internal)
}

/// Doubles the dot at the beginning of each line, and ends the last line.
fn dot_stuff(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len() + 5);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend(line);
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend(b"\r\n");
    }
    stuffed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_dots_are_doubled() {
        let check = |text: &str, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&dot_stuff(text.as_bytes())), expected);
        };
        check("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n");
        check("a", "a\r\n");
    }
}
