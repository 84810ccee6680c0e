//! The dialogue with a mail server.
use std::{
    fmt::Display,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, ToSocketAddrs},
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
    Address, Delivered, Envelope, Login, MailError, Server, Tls,
    bounded_stream::Wire,
    message::own_domain,
    reply::{beginning, codes},
    sasl, tls,
};

/// How long a dialogue that is out of time may take to say so itself, with what
/// it was at.
const MARGIN: Duration = Duration::from_millis(100);
/// How long the server's goodbye is waited for: the mail is its already.
const GOODBYE: Duration = Duration::from_millis(300);
/// How long an answer may be.
const LONGEST_ANSWER: usize = 64 * 1024;
/// How many things a server may ask who logs in.
const QUESTIONS: usize = 3;

/// Sends `message` to the recipients by way of `server`, until `deadline`.
///
/// It has a thread of its own, because nothing bounds the search for an address:
/// that is left behind then, and ends with the process.
pub(super) fn send(
    server: &Server,
    envelope: &Envelope,
    message: Vec<u8>,
    deadline: Instant,
) -> Result<Delivered, MailError> {
    let (sender, outcomes) = mpsc::channel();
    let worker = {
        let (server, envelope) = (server.clone(), envelope.clone());
        move || {
            let outcome = connect(&server, deadline)
                .and_then(|wire| converse((&server, wire), &envelope, &message, deadline));
            // Nobody waits any more: the time was up.
            let _ = sender.send(outcome);
        }
    };
    thread::Builder::new().spawn(worker).map_err(MailError::Thread)?;
    let left = (deadline + MARGIN).saturating_duration_since(Instant::now());
    outcomes.recv_timeout(left).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Disconnected => MailError::Internal,
            RecvTimeoutError::Timeout => MailError::Late {
                server: server.to_string(),
                doing: "while its address was looked for".to_owned(),
            },
        })
    })
}

/// All that is said to a server, and what comes of it.
pub(super) fn converse(
    (server, wire): (&Server, Wire),
    envelope: &Envelope,
    message: &[u8],
    deadline: Instant,
) -> Result<Delivered, MailError> {
    let stream = match server.tls {
        Tls::Wrapped => Stream::Tls(tls::encrypt(server, wire, deadline)?),
        Tls::None | Tls::Offered | Tls::Required => Stream::Clear(wire),
    };
    let mut session = Session::new(server, stream, deadline);
    session.answer("on being connected", Severity::PositiveCompletion)?;
    let mut info = session.hello()?;
    let is_offered = info.supports_feature(Extension::StartTls);
    match server.tls {
        Tls::Required if !is_offered => {
            return Err(MailError::NoTls { server: server.to_string() });
        }
        Tls::Required | Tls::Offered if is_offered => {
            session = session.encrypted()?;
            info = session.hello()?;
        }
        _ => {}
    }
    if let Some(login) = &server.login {
        session.log_in(&info, login)?;
    }
    let outcome = session.mail(envelope, message);
    session.goodbye();
    outcome
}

fn connect(server: &Server, deadline: Instant) -> Result<Wire, MailError> {
    let addresses: Vec<SocketAddr> = (server.host.as_str(), server.port)
        .to_socket_addrs()
        .map_err(|source| MailError::Resolve { host: server.host.clone(), source })?
        .collect();
    Wire::connect(&addresses, deadline).map_err(|source| match source.kind() {
        io::ErrorKind::TimedOut => MailError::Late {
            server: server.to_string(),
            doing: "while it was connected to".to_owned(),
        },
        _ => MailError::Connect { server: server.to_string(), source },
    })
}

enum Stream {
    Clear(Wire),
    Tls(TlsStream<Wire>),
}

impl Stream {
    fn wire(&mut self) -> &mut Wire {
        match self {
            Self::Clear(wire) => wire,
            Self::Tls(stream) => stream.get_mut(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(wire) => wire.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

/// A connection and who is at its other end.
struct Session<'a> {
    server: &'a Server,
    stream: BufReader<Stream>,
    deadline: Instant,
    /// Whether what it says may be told. It may not while it is given the
    /// password, which some quote when they refuse it.
    is_quotable: bool,
}

impl<'a> Session<'a> {
    fn new(server: &'a Server, stream: Stream, deadline: Instant) -> Self {
        Self { server, stream: BufReader::new(stream), deadline, is_quotable: true }
    }

    fn hello(&mut self) -> Result<ServerInfo, MailError> {
        let name = ClientId::Domain(own_domain());
        let answer = self.tell("told EHLO", Ehlo::new(name), Severity::PositiveCompletion)?;
        ServerInfo::from_response(&answer).map_err(|_| self.unintelligible("told EHLO", &answer))
    }

    fn encrypted(mut self) -> Result<Self, MailError> {
        self.tell("told STARTTLS", Starttls, Severity::PositiveCompletion)?;
        // What came in clear must not be taken for what comes encrypted.
        if !self.stream.buffer().is_empty() {
            let problem = "it said more in clear".to_owned();
            return Err(self.no_smtp("told STARTTLS", problem));
        }
        let Self { server, stream, deadline, .. } = self;
        let stream = match stream.into_inner() {
            Stream::Clear(wire) => Stream::Tls(tls::encrypt(server, wire, deadline)?),
            encrypted @ Stream::Tls(_) => encrypted,
        };
        Ok(Self::new(server, stream, deadline))
    }

    fn log_in(&mut self, info: &ServerInfo, login: &Login) -> Result<(), MailError> {
        let server = self.server.to_string();
        let mechanism =
            info.get_auth_mechanism(DEFAULT_MECHANISMS).ok_or(MailError::NoLogin { server })?;
        // The command has the password in it, and so may the answers: of these
        // no more is told than the codes.
        let doing = format!("told AUTH {mechanism}");
        self.is_quotable = false;
        let outcome = self.prove(&doing, mechanism, login);
        self.is_quotable = true;
        outcome
    }

    /// Gives name and password, in as many steps as the server asks for.
    fn prove(&mut self, doing: &str, mechanism: Mechanism, login: &Login) -> Result<(), MailError> {
        let mut command = sasl::first(mechanism, login);
        for _ in 0..QUESTIONS {
            self.say(doing, &command)?;
            let answer = self.positive(doing)?;
            if answer.code().severity == Severity::PositiveCompletion {
                return Ok(());
            }
            let question = answer.first_word().unwrap_or_default();
            command = sasl::next(mechanism, login, question)
                .ok_or_else(|| self.unintelligible(doing, &answer))?;
        }
        Err(self.no_smtp(doing, "it asks for more than a name and a password".to_owned()))
    }

    /// Sends the mail to all who are not refused, if there is one.
    fn mail(&mut self, envelope: &Envelope, message: &[u8]) -> Result<Delivered, MailError> {
        let completion = Severity::PositiveCompletion;
        let from = &envelope.from;
        let command = Mail::new(Some(known(from)?), Vec::new());
        self.tell(&format!("told MAIL FROM {from}"), command, completion)?;
        let mut refused = Vec::new();
        for to in &envelope.to {
            let command = Rcpt::new(known(to)?, Vec::new());
            match self.tell(&format!("told RCPT TO {to}"), command, completion) {
                Ok(_) => {}
                Err(MailError::Refused { reply, doing, server }) => {
                    refused.push((to.to_string(), reply.clone()));
                    if refused.len() == envelope.to.len() {
                        return Err(MailError::Refused { reply, doing, server });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.tell("told DATA", Data, Severity::PositiveIntermediate)?;
        self.say("given the mail", &dotted(message))?;
        self.answer("given the mail", completion).map_err(unconfirmed)?;
        Ok(Delivered { how: self.how(), refused })
    }

    fn how(&mut self) -> String {
        let how = match self.stream.get_mut() {
            Stream::Clear(_) => "in clear",
            Stream::Tls(_) => "encrypted",
        };
        let login = self.server.login.as_ref();
        let user = login.map_or_else(String::new, |login| format!(", as {}", login.user));
        format!("{}, {how}{user}", self.server)
    }

    fn goodbye(&mut self) {
        self.stream.get_mut().wire().hurry(GOODBYE);
        // What there was to say has been said.
        let _ = self.tell("told QUIT", Quit, Severity::PositiveCompletion);
    }

    /// Gives a command, and takes the answer, if it is of this kind.
    fn tell(
        &mut self,
        doing: &str,
        command: impl Display,
        severity: Severity,
    ) -> Result<Response, MailError> {
        self.say(doing, command.to_string().as_bytes())?;
        self.answer(doing, severity)
    }

    fn say(&mut self, doing: &str, bytes: &[u8]) -> Result<(), MailError> {
        // An answer to what has not been said yet would be taken for the one to
        // it. A server that shuts down may say so at any time.
        let early = self.stream.buffer();
        if !early.is_empty() && !early.starts_with(b"421") {
            return Err(self.no_smtp(doing, "it had answered before".to_owned()));
        }
        let said = match self.stream.get_mut() {
            Stream::Clear(wire) => wire.write_all(bytes).and_then(|()| wire.flush()),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        said.map_err(|error| self.broken(doing, error))
    }

    fn answer(&mut self, doing: &str, severity: Severity) -> Result<Response, MailError> {
        let answer = self.positive(doing)?;
        match answer.code().severity == severity {
            true => Ok(answer),
            false => Err(self.unintelligible(doing, &answer)),
        }
    }

    /// The next answer, if it is no refusal.
    fn positive(&mut self, doing: &str) -> Result<Response, MailError> {
        let text = self.text(doing)?;
        let answer: Response = text.parse().map_err(|_| self.no_smtp(doing, self.quoted(&text)))?;
        match answer.is_positive() {
            true => Ok(answer),
            false => Err(MailError::Refused {
                server: self.server.to_string(),
                doing: doing.to_owned(),
                reply: self.told(&answer),
            }),
        }
    }

    /// The lines of the next answer, the last of which has no hyphen behind
    /// its code.
    fn text(&mut self, doing: &str) -> Result<String, MailError> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            let room = (LONGEST_ANSWER - text.len()) as u64;
            let read = self.stream.by_ref().take(room).read_until(b'\n', &mut line);
            read.map_err(|error| self.broken(doing, error))?;
            if !line.ends_with(b"\n") {
                return Err(match line.len() as u64 == room {
                    true => self.no_smtp(doing, "its answer does not end".to_owned()),
                    false => self.broken(doing, io::ErrorKind::UnexpectedEof.into()),
                });
            }
            text += String::from_utf8_lossy(&line).trim_end();
            text += "\r\n";
            let goes_on = matches!(line[..], [a, b, c, b'-', ..]
                if [a, b, c].iter().all(u8::is_ascii_digit));
            if !goes_on {
                return Ok(text);
            }
            if text.len() >= LONGEST_ANSWER {
                return Err(self.no_smtp(doing, "its answer does not end".to_owned()));
            }
        }
    }

    fn broken(&self, doing: &str, source: io::Error) -> MailError {
        let (server, doing) = (self.server.to_string(), doing.to_owned());
        match source.kind() {
            io::ErrorKind::TimedOut => MailError::Late { server, doing },
            // An error of TLS wraps it in words of its own.
            _ if Instant::now() >= self.deadline => MailError::Late { server, doing },
            _ => MailError::Lost { server, doing, source },
        }
    }

    fn unintelligible(&self, doing: &str, answer: &Response) -> MailError {
        self.no_smtp(doing, self.told(answer))
    }

    /// `550 5.1.1 no such user`
    fn told(&self, answer: &Response) -> String {
        let code = answer.code().to_string();
        let lines: Vec<_> = std::iter::once(code.as_str()).chain(answer.message()).collect();
        let text = lines.join(" ");
        if self.is_quotable { beginning(&text) } else { codes(&text) }
    }

    fn quoted(&self, text: &str) -> String {
        match self.is_quotable {
            true => beginning(text),
            false => "its words may have the password in them".to_owned(),
        }
    }

    fn no_smtp(&self, doing: &str, problem: String) -> MailError {
        let (server, doing) = (self.server.to_string(), doing.to_owned());
        MailError::Unintelligible { server, doing, problem }
    }
}

/// What it means that there is no answer to a mail, all of which was given: many
/// a server takes it first and is slow to say so.
fn unconfirmed(error: MailError) -> MailError {
    match error {
        MailError::Late { .. } | MailError::Lost { .. } => MailError::Unconfirmed(Box::new(error)),
        answered => answered,
    }
}

fn known(address: &Address) -> Result<lettre::Address, MailError> {
    // It was looked at when the options were read.
    address.0.parse().map_err(|_| MailError::Internal)
}

/// The mail as it is sent: a line of a dot alone is its end, so that a dot at
/// the beginning of any other line is doubled.
fn dotted(message: &[u8]) -> Vec<u8> {
    let mut dotted = Vec::with_capacity(message.len() + 5);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            dotted.push(b'.');
        }
        dotted.extend(line);
    }
    if !dotted.ends_with(b"\r\n") {
        dotted.extend(b"\r\n");
    }
    dotted.extend(b".\r\n");
    dotted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_mail_is_its_end() {
        let check = |text: &str, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&dotted(text.as_bytes())), expected);
        };
        check("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n.\r\n");
        check("a", "a\r\n.\r\n");
    }
}
