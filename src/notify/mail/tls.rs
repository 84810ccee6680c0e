//! Encrypts a connection to a mail server, by the system's OpenSSL.
use std::{io, time::Instant};

use native_tls::{HandshakeError, TlsConnector, TlsStream};

use super::{MailError, Server, bounded_stream::Wire};

/// Encrypts `wire`; makes sure that `server` is at its other end, unless any
/// certificate will do.
pub(super) fn encrypt(
    server: &Server,
    wire: Wire,
    deadline: Instant,
) -> Result<TlsStream<Wire>, MailError> {
    let failed = |problem: String| match Instant::now() >= deadline {
        true => MailError::Late {
            server: server.to_string(),
            doing: "while the connection was encrypted".to_owned(),
        },
        false => MailError::Tls { server: server.to_string(), problem },
    };
    let connector = TlsConnector::builder()
        .danger_accept_invalid_certs(server.trusts_any)
        .danger_accept_invalid_hostnames(server.trusts_any)
        .build()
        .map_err(|error| failed(problem(&error)))?;
    connector.connect(&server.host, wire).map_err(|error| match error {
        HandshakeError::Failure(error) => failed(problem(&error)),
        // The wire waits as long as there is time.
        HandshakeError::WouldBlock(_) => failed(io::ErrorKind::WouldBlock.to_string()),
    })
}

/// What is wrong, without the place in OpenSSL's source:
/// `error:0A000086:SSL routines:f:certificate verify failed:../x.c:1889: (expired)`.
fn problem(error: &native_tls::Error) -> String {
    words(&error.to_string())
}

fn words(text: &str) -> String {
    let mut fields = text.split(':');
    match (fields.next(), fields.nth(3)) {
        (Some("error"), Some(reason)) => match text.rsplit_once(": (") {
            Some((_, detail)) => format!("{reason} ({detail}"),
            None => reason.to_owned(),
        },
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_the_source_is_left_out() {
        let check = |text, expected| assert_eq!(words(text), expected);
        check(
            "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify \
             failed:../ssl/statem/statem_clnt.c:1889: (self-signed certificate)",
            "certificate verify failed (self-signed certificate)",
        );
        check(
            "error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl/x.c:354:",
            "wrong version number",
        );
        check("unexpected EOF", "unexpected EOF");
    }
}
