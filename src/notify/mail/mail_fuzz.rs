//! Doors for the fuzzer: a mail as it is sent, and a dialogue with a server that
//! says what it likes.
#![expect(clippy::disallowed_types, reason = "a pair of sockets stands for a connection")]
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::{model::secret::Secret, output::Letter};

use super::{
    Address, Delivered, Envelope, Login, MailError, Server, Tls, bounded_stream::Wire, message,
    reply, smtp,
};

fn envelope() -> Envelope {
    let address = |text: &str| Address(text.to_owned());
    let to = vec![address("ops@example.com"), address("root@example.com")];
    Envelope { from: address("topip@example.com"), to }
}

/// The bytes of a mail.
///
/// # Panics
///
/// Where it cannot be put into its form.
#[must_use]
pub fn message(letter: &Letter) -> Vec<u8> {
    message::message(&envelope(), letter, 1_196_290_834).expect("it has a form")
}

/// What comes of a dialogue with a server that has said all of `answers` before
/// it is asked, and what it was told.
///
/// # Panics
///
/// Where there are no sockets to be had.
pub fn dialogue(answers: &[u8], password: Option<&str>) -> (Result<Delivered, MailError>, Vec<u8>) {
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.expect("there are sockets");
    let mut theirs = TcpStream::from(theirs);
    theirs.write_all(answers).expect("a socket has room for it");
    theirs.shutdown(Shutdown::Write).expect("it is connected");
    let login = |password: &str| Login {
        user: "monitor".to_owned(),
        password: Secret::new(password.to_owned()),
    };
    let server = Server {
        host: "mail.example.com".to_owned(),
        port: 25,
        // What comes before TLS is what a stranger can say.
        tls: Tls::None,
        trusts_any: false,
        login: password.map(login),
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    let wire = Wire::new(TcpStream::from(ours), deadline);
    let outcome =
        smtp::converse((&server, wire), &envelope(), b"Subject: x\r\n\r\n.\r\n", deadline);
    let mut told = Vec::new();
    theirs.read_to_end(&mut told).expect("it was closed");
    (outcome, told)
}

/// What is told of an answer where it may have the password in it, and where
/// not.
#[must_use]
pub fn told(text: &str) -> (String, String) {
    (reply::codes(text), reply::beginning(text))
}
