//! Encodes an email.
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, UNIX_EPOCH},
};

use lettre::{
    Message,
    message::{
        Mailbox,
        header::{ContentType, Header, HeaderName, HeaderValue, MIME_VERSION_1_0},
    },
};

use crate::output::Email;

use super::{Envelope, MailAddress, MailError, host_name};

/// Header that keeps automatic responders from answering (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Returns the bytes of the message, in ASCII with CRLF line endings.
///
/// # Errors
///
/// Returns an error if lettre rejects an address or the text.
pub(super) fn compose(
    envelope: &Envelope,
    email: &Email,
    timestamp: u64,
) -> Result<Vec<u8>, MailError> {
    let mut message = Message::builder()
        .from(mailbox(&envelope.from)?)
        .subject(email.subject.clone())
        .date(UNIX_EPOCH + Duration::from_secs(timestamp))
        .message_id(Some(message_id(timestamp)))
        .header(AutoSubmitted)
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN);
    for address in &envelope.to {
        message = message.to(mailbox(address)?);
    }
    let message = message
        .body(email.body.clone())
        .map_err(|error| MailError::Compose { problem: error.to_string() })?;
    Ok(message.formatted())
}

fn mailbox(address: &MailAddress) -> Result<Mailbox, MailError> {
    match address.0.parse() {
        Ok(address) => Ok(Mailbox::new(None, address)),
        Err(_) => Err(MailError::Compose { problem: format!("{address} is no address") }),
    }
}

/// Returns a unique message ID.
fn message_id(timestamp: u64) -> String {
    // The seed of `RandomState` comes from the system's random number generator.
    let random = RandomState::new().build_hasher().finish();
    format!("<topip.{timestamp}.{random:016x}@{}>", local_domain())
}

/// Returns the host name reduced to the characters of a domain: the kernel accepts
/// any text as a host name, but this one is used in SMTP commands and mail headers.
pub(super) fn local_domain() -> String {
    let domain: String = host_name()
        .chars()
        .filter(|&character| character.is_ascii_alphanumeric() || "-.".contains(character))
        .take(255)
        .collect();
    let domain = domain.trim_matches(['-', '.']);
    if domain.is_empty() { "localhost".to_owned() } else { domain.to_owned() }
}
