//! Sends an email: to an SMTP server, or through the local `sendmail` program.
//!
//! The message format and the SMTP commands come from lettre. The SMTP session is
//! implemented here because lettre's own transport applies its timeout to each read
//! instead of the whole session, has no limit on the length of a line, keeps data
//! that was received in clear text before STARTTLS, and fails for all recipients if
//! one is refused.
use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
    time::Instant,
};

use crate::{model::secret::Secret, output::Email};

#[cfg(feature = "mail")]
use message::Draft;

mod local_name;
mod mail_error;
#[cfg(all(fuzzing, feature = "mail"))]
pub mod mail_fuzz;
#[cfg(feature = "mail")]
mod sasl;
#[cfg(feature = "mail")]
mod message;
#[cfg(feature = "mail")]
mod progress;
#[cfg(feature = "mail")]
mod reply;
#[cfg(feature = "mail")]
mod sendmail;
#[cfg(feature = "mail")]
mod smtp;
#[cfg(feature = "mail")]
mod tls;
#[cfg(feature = "mail")]
mod bounded_stream;

pub use local_name::LocalName;
pub use mail_error::MailError;

/// Sender and recipients of an email.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Sender, which also receives bounces.
    pub from: MailAddress,
    /// Recipients; at least one.
    pub to: Vec<MailAddress>,
}

/// Email address such as `ops@example.com`, in ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress(String);

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a supported email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an email address in ASCII, such as ops@example.com")]
pub struct MailAddressError;

impl FromStr for MailAddress {
    type Err = MailAddressError;

    fn from_str(text: &str) -> Result<Self, MailAddressError> {
        let (user, domain) = text.rsplit_once('@').ok_or(MailAddressError)?;
        let address_literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_domain = address_literal.is_some_and(is_address_literal)
            || (!domain.is_empty() && domain.bytes().all(is_plain_byte));
        let is_user = !user.is_empty() && !user.starts_with('-') && user.bytes().all(is_plain_byte);
        // lettre is built without Unicode tables, so it must only be given ASCII
        // text. An address that lettre rejects could not be sent to later.
        if is_user && is_domain && text.is_ascii() && is_accepted_by_lettre(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MailAddressError)
        }
    }
}

/// Returns whether an address may contain `byte` without quotes. A quoted local part
/// may contain blanks and more. It is practically unused, and servers parse it
/// differently.
fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"<>()[],;:\\\"".contains(&byte)
}

#[cfg(feature = "mail")]
fn is_accepted_by_lettre(text: &str) -> bool {
    text.parse::<lettre::Address>().is_ok()
}

#[cfg(not(feature = "mail"))]
fn is_accepted_by_lettre(_text: &str) -> bool {
    true
}

/// Returns whether `text`, taken from within brackets, is a valid address literal
/// (RFC 5321, section 4.1.3).
fn is_address_literal(text: &str) -> bool {
    match text.strip_prefix("IPv6:") {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Transport of an email.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// An SMTP server.
    Smtp(SmtpServer),
    /// Path of a program with the interface of `sendmail`.
    Sendmail(PathBuf),
}

/// An SMTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Encryption of the connection.
    pub tls: TlsMode,
    /// Accept any certificate, without verification.
    pub accept_any_certificate: bool,
    /// User name and password; `None` to send without login.
    pub login: Option<SmtpLogin>,
    /// Name of this host for the server; `None` for its fully qualified name.
    pub helo: Option<LocalName>,
}

/// Encryption of a connection to an SMTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// No encryption.
    None,
    /// STARTTLS if the server offers it.
    Opportunistic,
    /// STARTTLS; no mail is sent if the server does not offer it.
    Required,
    /// TLS from the first byte (implicit TLS, RFC 8314).
    Implicit,
}

/// User name and password for SMTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpLogin {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

impl fmt::Display for SmtpServer {
    /// `mail.example.com:25`, `[2001:db8::25]:25`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Result of an email that was accepted for at least one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Server, encryption and user, or the program, for the report.
    pub route: String,
    /// Refused recipients, each with the reply of the server.
    pub refused: Vec<(String, String)>,
}

/// Type of [`send`]. Passing the function as a value keeps TLS out of executables
/// that never name it.
pub type SendMail = fn(&Transport, &Envelope, &Email, u64, Instant) -> Result<Delivery, MailError>;

/// Sends `email` with the date `timestamp`, in seconds since 1970-01-01 UTC. An
/// executable that references this function links OpenSSL.
///
/// # Errors
///
/// Returns an error if the email is not accepted for any recipient, or if the result is
/// not known before `deadline`.
#[cfg(feature = "mail")]
pub fn send(
    transport: &Transport,
    envelope: &Envelope,
    email: &Email,
    timestamp: u64,
    deadline: Instant,
) -> Result<Delivery, MailError> {
    let draft = Draft { envelope: envelope.clone(), email: email.clone(), timestamp };
    match transport {
        Transport::Smtp(server) => smtp::send(server, draft, deadline),
        Transport::Sendmail(program) => sendmail::send(program, &draft, deadline),
    }
}

/// Stands in for mail support in a build without the `mail` feature.
///
/// # Errors
///
/// Always returns [`MailError::NotBuilt`].
#[cfg(not(feature = "mail"))]
pub fn send(
    _transport: &Transport,
    _envelope: &Envelope,
    _email: &Email,
    _timestamp: u64,
    _deadline: Instant,
) -> Result<Delivery, MailError> {
    Err(MailError::NotBuilt)
}

/// Returns the host name of this machine.
#[must_use]
pub fn host_name() -> String {
    #[cfg(feature = "mail")]
    {
        let name = rustix::system::uname();
        name.nodename().to_string_lossy().into_owned()
    }
    #[cfg(not(feature = "mail"))]
    "localhost".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_addresses_are_rejected() {
        for text in ["ops@example.com", "a.b+c@mail.example.com", "root@localhost", "x@[192.0.2.1]"]
        {
            assert_eq!(text.parse(), Ok(MailAddress(text.to_owned())));
        }
        for text in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "a b@example.com",
            "ops@example.com\r\nBcc: x@example.com",
            "<ops@example.com>",
            "-oQ/tmp@example.com",
            "\"a\"@example.com",
            "öps@example.com",
            "ops@exämple.com",
            "a@b@example.com",
            "x@[192.;;;;0.2.1]",
            "x@[192.0.2.1>",
            "x@[mail]",
        ] {
            assert_eq!(text.parse::<MailAddress>(), Err(MailAddressError), "{text:?}");
        }
    }
}
