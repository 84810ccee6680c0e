//! A letter in the form of a mail.
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

use crate::output::Letter;

use super::{Address, Envelope, MailError, host_name};

/// Tells programs that answer mail by themselves not to (RFC 3834).
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

/// The bytes of a mail, with CRLF at the end of each line, and in ASCII.
pub(super) fn message(
    envelope: &Envelope,
    letter: &Letter,
    when: u64,
) -> Result<Vec<u8>, MailError> {
    let failed = |problem: String| MailError::Form { problem };
    let mailbox = |address: &Address| {
        let address = address.0.parse().map_err(|_| failed(format!("{address} is no address")))?;
        Ok(Mailbox::new(None, address))
    };
    let mut message = Message::builder()
        .from(mailbox(&envelope.from)?)
        .subject(letter.subject.clone())
        .date(UNIX_EPOCH + Duration::from_secs(when))
        .message_id(Some(message_id(when)))
        .header(AutoSubmitted)
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN);
    for address in &envelope.to {
        message = message.to(mailbox(address)?);
    }
    let message = message.body(letter.body.clone()).map_err(|error| failed(error.to_string()))?;
    Ok(message.formatted())
}

/// A name for a mail that no other has.
fn message_id(when: u64) -> String {
    // The standard library's seed for hashing is the system's randomness.
    let random = RandomState::new().build_hasher().finish();
    format!("<topip.{when}.{random:016x}@{}>", own_domain())
}

/// What this machine calls itself, as a domain: a name is any text to the
/// kernel, and this one stands in commands and heads of mail.
pub(super) fn own_domain() -> String {
    let is_known = |letter: &char| letter.is_ascii_alphanumeric() || "-.".contains(*letter);
    let domain: String = host_name().chars().filter(is_known).take(255).collect();
    let domain = domain.trim_matches(['-', '.']);
    if domain.is_empty() { "localhost".to_owned() } else { domain.to_owned() }
}
