//! TLS for connections to SMTP servers, with the system's OpenSSL.
use std::{io, time::Instant};

use native_tls::{HandshakeError, TlsConnector, TlsStream};

use super::{MailError, SmtpServer, bounded_stream::BoundedStream};

/// Step of the session, in messages.
pub(super) const STEP: &str = "during the TLS handshake";

/// Negotiates TLS on `stream`. Verifies that the peer is `server`, unless any
/// certificate is accepted.
pub(super) fn encrypt(
    server: &SmtpServer,
    stream: BoundedStream,
    deadline: Instant,
) -> Result<TlsStream<BoundedStream>, MailError> {
    let connector = TlsConnector::builder()
        .danger_accept_invalid_certs(server.accept_any_certificate)
        .danger_accept_invalid_hostnames(server.accept_any_certificate)
        .build()
        .map_err(|error| tls_error(server, deadline, error_reason(&error)))?;
    connector.connect(&server.host, stream).map_err(|error| {
        let problem = match error {
            HandshakeError::Failure(error) => error_reason(&error),
            // The stream blocks until the deadline, so `WouldBlock` is not expected.
            HandshakeError::WouldBlock(_) => io::ErrorKind::WouldBlock.to_string(),
        };
        tls_error(server, deadline, problem)
    })
}

fn tls_error(server: &SmtpServer, deadline: Instant, problem: String) -> MailError {
    let server = server.to_string();
    if Instant::now() >= deadline {
        MailError::TimedOut { server, step: STEP.to_owned() }
    } else {
        MailError::Tls { server, problem }
    }
}

/// Returns the reason of an OpenSSL error without the position in OpenSSL's source:
/// `error:0A000086:SSL routines:f:certificate verify failed:../x.c:1889: (expired)`.
fn error_reason(error: &native_tls::Error) -> String {
    openssl_reason(&error.to_string())
}

fn openssl_reason(text: &str) -> String {
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
    fn source_position_is_omitted() {
        let check = |text, expected| assert_eq!(openssl_reason(text), expected);
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
