//! Encodes an email.
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    slice,
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

use super::{Envelope, LocalName, MailAddress, MailError};

/// Maximum length of a header line in bytes, without its line end (RFC 5322, section
/// 2.1.1).
const MAX_HEADER_LINE_BYTES: usize = 78;

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

/// An email without its encoding, which needs the name of this host.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Sender and recipients.
    pub(super) envelope: Envelope,
    /// Subject and body.
    pub(super) email: Email,
    /// Time for the Date header, in seconds since 1970-01-01 UTC.
    pub(super) timestamp: u64,
}

/// Returns the bytes of the message, in ASCII with CRLF line endings.
///
/// # Errors
///
/// Returns an error if lettre rejects an address or the text.
pub(super) fn compose(draft: &Draft, local_name: &LocalName) -> Result<Vec<u8>, MailError> {
    let Draft { envelope, email, timestamp } = draft;
    let message_id = message_id(*timestamp, local_name);
    let mut message = Message::builder()
        .from(mailbox(&envelope.from)?)
        .subject(email.subject.clone())
        .date(UNIX_EPOCH + Duration::from_secs(*timestamp))
        .message_id(Some(message_id.clone()))
        .header(AutoSubmitted)
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN);
    for address in &envelope.to {
        message = message.to(mailbox(address)?);
    }
    let mut message = message
        .body(email.body.clone())
        .map_err(|error| MailError::Compose { problem: error.to_string() })?;
    // lettre writes all recipients on one line, which can be longer than a header line.
    let headers = message.headers_mut();
    headers.insert_raw(folded_header("From", slice::from_ref(&envelope.from.0)));
    headers.insert_raw(folded_header("To", &comma_separated(&envelope.to)));
    headers.insert_raw(folded_header("Message-ID", &[message_id]));
    Ok(message.formatted())
}

/// Returns the addresses, with a comma after each of them except the last.
fn comma_separated(addresses: &[MailAddress]) -> Vec<String> {
    let mut words: Vec<_> = addresses.iter().map(|address| format!("{address},")).collect();
    if let Some(last) = words.last_mut() {
        last.pop();
    }
    words
}

/// Returns a header with lines of at most [`MAX_HEADER_LINE_BYTES`] bytes. A longer word
/// has a line of its own. The words must be visible ASCII.
fn folded_header(name: &'static str, words: &[String]) -> HeaderValue {
    let mut value = String::new();
    let mut line_length = name.len() + ":".len();
    for word in words {
        if line_length + " ".len() + word.len() > MAX_HEADER_LINE_BYTES {
            value.push_str("\r\n");
            line_length = 0;
        }
        value.push(' ');
        value.push_str(word);
        line_length += " ".len() + word.len();
    }
    // lettre writes the name, a colon and a space.
    let value = value.strip_prefix(' ').unwrap_or(&value).to_owned();
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, words.join(" "), value)
}

fn mailbox(address: &MailAddress) -> Result<Mailbox, MailError> {
    match address.0.parse() {
        Ok(address) => Ok(Mailbox::new(None, address)),
        Err(_) => Err(MailError::Compose { problem: format!("{address} is not an address") }),
    }
}

/// Returns a unique message ID.
fn message_id(timestamp: u64, local_name: &LocalName) -> String {
    // The seed of `RandomState` comes from the system's random number generator.
    let random = RandomState::new().build_hasher().finish();
    format!("<topip.{timestamp}.{random:016x}@{local_name}>")
}

#[cfg(test)]
mod tests {
    use lettre::message::header::Headers;

    use super::*;

    #[test]
    fn headers_are_folded_between_words() {
        let check = |words: &[&str], expected: &str| {
            let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            let mut headers = Headers::new();
            headers.insert_raw(folded_header("To", &words));
            assert_eq!(headers.to_string(), expected);
        };
        let (short, long) = ("a".repeat(74), "a".repeat(75));
        check(&["a@b,", "c@d"], "To: a@b, c@d\r\n");
        check(&[&short, "b"], &format!("To: {short}\r\n b\r\n"));
        check(&[&long, "b"], &format!("To: \r\n {long} b\r\n"));
    }
}
