//! Sends a letter: to a mail server by SMTP, or by this machine's `sendmail`.
//!
//! What a mail is made of, and the words of SMTP, are lettre's. The dialogue is
//! here, since lettre's own waits anew for each piece that comes, keeps a line
//! that never ends in memory, goes on with what was sent in clear before TLS,
//! and gives up on all recipients for one that is refused.
use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
    time::Instant,
};

use crate::{model::secret::Secret, output::Letter};

mod mail_error;
#[cfg(all(fuzzing, feature = "mail"))]
pub mod mail_fuzz;
#[cfg(feature = "mail")]
mod sasl;
#[cfg(feature = "mail")]
mod message;
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

pub use mail_error::MailError;

/// From whom a mail is, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender, who also gets what cannot be delivered.
    pub from: Address,
    /// The recipients; one at least.
    pub to: Vec<Address>,
}

/// An address for mail, such as `ops@example.com`, in ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no address for mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address for mail, such as ops@example.com, in ASCII")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (user, domain) = text.rsplit_once('@').ok_or(AddressError)?;
        // A quoted user may have blanks and more. Nobody has one, and not every
        // server reads them alike.
        let is_plain =
            |letter: u8| letter.is_ascii_graphic() && !b"<>()[],;:\\\"".contains(&letter);
        let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_domain =
            literal.is_some_and(is_literal) || (!domain.is_empty() && domain.bytes().all(is_plain));
        let is_user = !user.is_empty() && !user.starts_with('-') && user.bytes().all(is_plain);
        // The library is built without tables of Unicode, and must not be asked
        // for what would need them.
        #[cfg(feature = "mail")]
        let is_known = || text.parse::<lettre::Address>().is_ok();
        #[cfg(not(feature = "mail"))]
        let is_known = || true;
        let fits = is_user && is_domain && text.is_ascii() && is_known();
        fits.then(|| Self(text.to_owned())).ok_or(AddressError)
    }
}

/// Whether it stands in brackets where a domain could (RFC 5321, section 4.1.3).
fn is_literal(text: &str) -> bool {
    match text.strip_prefix("IPv6:") {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<Ipv4Addr>().is_ok(),
    }
}

/// How a mail leaves this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By SMTP.
    Smtp(Server),
    /// By a program that takes a mail as `sendmail` does.
    Sendmail(PathBuf),
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// Whether any certificate will do.
    pub trusts_any: bool,
    /// Who logs in, if anybody.
    pub login: Option<Login>,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// By STARTTLS, where the server offers it.
    Offered,
    /// By STARTTLS, or there is no mail.
    Required,
    /// From the first byte.
    Wrapped,
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

impl fmt::Display for Server {
    /// `mail.example.com:25`, `[2001:db8::25]:25`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What became of a mail that went out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// How it went.
    pub how: String,
    /// The recipients that were refused beside others that were not: who, and
    /// the server's words.
    pub refused: Vec<(String, String)>,
}

/// Sends a letter: a value, so that an executable in which nobody gives one links
/// nothing of TLS.
pub type Post = fn(&Transport, &Envelope, &Letter, u64, Instant) -> Result<Delivered, MailError>;

/// Sends `letter`, written `when` seconds after 1970-01-01 UTC. Whoever names this
/// function links OpenSSL.
///
/// # Errors
///
/// Where nobody gets it, or that is not known before `deadline`.
#[cfg(feature = "mail")]
pub fn send(
    transport: &Transport,
    envelope: &Envelope,
    letter: &Letter,
    when: u64,
    deadline: Instant,
) -> Result<Delivered, MailError> {
    let bytes = message::message(envelope, letter, when)?;
    match transport {
        Transport::Smtp(server) => smtp::send(server, envelope, bytes, deadline),
        Transport::Sendmail(program) => sendmail::send(program, envelope, &bytes, deadline),
    }
}

/// Sends nothing: this topip was built without mail.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "mail"))]
pub fn send(
    _transport: &Transport,
    _envelope: &Envelope,
    _letter: &Letter,
    _when: u64,
    _deadline: Instant,
) -> Result<Delivered, MailError> {
    Err(MailError::NotBuilt)
}

/// Ends the program that a mail is being given to, if there is one: whoever waits
/// for it is about to end.
pub fn end() {
    #[cfg(feature = "mail")]
    sendmail::end_for_good();
}

/// What this machine calls itself.
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
    fn addresses() {
        for text in ["ops@example.com", "a.b+c@mail.example.com", "root@localhost", "x@[192.0.2.1]"]
        {
            assert_eq!(text.parse(), Ok(Address(text.to_owned())));
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
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text:?}");
        }
    }
}
