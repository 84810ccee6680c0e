//! Fuzz hooks: message encoding, and an SMTP session with a hostile server.
#![expect(clippy::disallowed_types, reason = "a socket pair replaces the connection")]
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::{model::secret::Secret, output::Email};

use super::{
    Delivery, Envelope, LocalName, MailAddress, MailError, SmtpLogin, SmtpServer, TlsMode,
    bounded_stream::BoundedStream, message, progress::MailProgress, reply, smtp,
};

fn envelope() -> Envelope {
    let [from, ops, root] = ["topip@example.com", "ops@example.com", "root@example.com"]
        .map(|text| MailAddress(text.to_owned()));
    Envelope { from, to: vec![ops, root] }
}

fn local_name() -> LocalName {
    "web1.example.com".parse().expect("a domain name")
}

/// Returns the bytes of a message.
///
/// # Panics
///
/// Panics if the email cannot be encoded.
#[must_use]
pub fn encoded_message(email: &Email) -> Vec<u8> {
    let draft =
        message::Draft { envelope: envelope(), email: email.clone(), timestamp: 1_196_290_834 };
    message::compose(&draft, &local_name()).expect("the email can be encoded")
}

/// Runs an SMTP session with a server that has sent all of `replies` in advance.
/// Returns the result and the bytes that the server received.
///
/// # Panics
///
/// Panics if no socket pair can be created.
pub fn session(replies: &[u8], password: Option<&str>) -> (Result<Delivery, MailError>, Vec<u8>) {
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (client_end, server_end) = pair.expect("a socket pair can be created");
    let mut server_end = TcpStream::from(server_end);
    server_end.write_all(replies).expect("the socket buffer holds the replies");
    server_end.shutdown(Shutdown::Write).expect("the socket pair is connected");
    let server = SmtpServer {
        host: "mail.example.com".to_owned(),
        port: 25,
        // An attacker controls what is received before TLS.
        tls: TlsMode::None,
        accept_any_certificate: false,
        login: password.map(|password| SmtpLogin {
            user: "monitor".to_owned(),
            password: Secret::new(password.to_owned()),
        }),
        helo: None,
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    let stream = BoundedStream::new(TcpStream::from(client_end), deadline);
    let progress = MailProgress::new("after connecting");
    let mail = smtp::OutgoingMail {
        envelope: &envelope(),
        message: b"Subject: x\r\n\r\n.\r\n",
        local_name: &local_name(),
    };
    let outcome = smtp::run_session((&server, stream), &mail, &progress, deadline);
    let mut received = Vec::new();
    // A client that leaves replies unread resets the connection, after the bytes that it sent.
    match server_end.read_to_end(&mut received) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => {}
    }
    (outcome, received)
}

/// Returns both excerpts of a reply: the one for replies that may contain the
/// password, and the one for all others.
#[must_use]
pub fn reply_excerpts(text: &str) -> (String, String) {
    (reply::reply_codes(text), reply::reply_excerpt(text))
}
