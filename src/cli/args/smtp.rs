//! Options for alert mails.
use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Args;

use crate::{
    cli::{duration::duration, percent, server_name::ServerName},
    notify::mail::{LocalName, MailAddress, TlsMode},
};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Notifications")]
pub(in crate::cli) struct MailArgs {
    /// Mail alerts from the first address to others
    ///
    /// An alert is an address that is CRITICAL by its limit, not by -w or -c.
    #[arg(short, long, value_name = "FROM,TO", allow_hyphen_values = true)]
    pub(in crate::cli) alert: Option<MailAddresses>,
    // rustdoc would read the brackets of this help as links, so it is not a doc comment.
    #[arg(
        long,
        value_name = "URL",
        default_value = "smtp://localhost:25",
        requires = "alert",
        hide_default_value = true,
        help = "Send mails by this URL (localhost by default)",
        long_help = "\
Send mails by this URL [default: smtp://localhost:25]

smtp://[USER@]HOST[:PORT]:  to this mail server
smtps://[USER@]HOST[:PORT]: the same, with TLS from the first byte
sendmail:[PATH]:            with a program such as /usr/sbin/sendmail

?tls=HOW after an SMTP URL sets the encryption: required, unverified,
offered or none. ?helo=NAME sets the name of this host."
    )]
    pub(in crate::cli) smtp: MailServer,
    /// Read the password for --smtp from this file
    ///
    /// It is the password of USER in the URL. The rules of --password-file apply to
    /// this file.
    #[arg(long, value_name = "FILE", requires = "alert")]
    pub(in crate::cli) smtp_password_file: Option<PathBuf>,
    /// Mail again after this time
    ///
    /// Mail about the same address again only after this time. With 0, each sample with
    /// an alert sends a mail.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1h",
        value_parser = duration,
        allow_hyphen_values = true,
        requires = "alert"
    )]
    pub(in crate::cli) remind: Duration,
    /// Also mail when an alert ends
    ///
    /// An alert ends when the address is no longer over the limit.
    #[arg(long, requires = "alert")]
    pub(in crate::cli) recovery: bool,
}

/// Returns the options that are valid only with `--alert`, such as `--smtp`.
pub(in crate::cli) fn options_with_alert() -> Vec<String> {
    let command = MailArgs::augment_args(clap::Command::new("mail"));
    let options = command.get_arguments().filter(|arg| arg.get_id() != "alert");
    options.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
}

/// Sender and recipients of alert mails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct MailAddresses {
    pub(in crate::cli) from: MailAddress,
    pub(in crate::cli) to: Vec<MailAddress>,
}

impl FromStr for MailAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut addresses = text.split(',').map(mail_address).collect::<Result<Vec<_>, _>>()?;
        if addresses.len() < 2 {
            return Err("no recipient; write FROM,TO[,TO...]".to_owned());
        }
        let from = addresses.remove(0);
        Ok(Self { from, to: addresses })
    }
}

fn mail_address(text: &str) -> Result<MailAddress, String> {
    let text = text.trim();
    text.parse().map_err(|error| match text {
        "" => "an address is missing".to_owned(),
        _ => format!("{text} is {error}"),
    })
}

/// Mail server as given with `--smtp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum MailServer {
    /// SMTP server.
    Smtp {
        /// Host, port and login name.
        name: ServerName,
        /// Default port, encryption and the name of this host.
        options: SmtpOptions,
    },
    /// Absolute path of a program with the interface of sendmail.
    Sendmail(PathBuf),
}

/// Scheme and query of an SMTP URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct SmtpOptions {
    /// Default port of the scheme.
    pub(in crate::cli) port: u16,
    /// Encryption; `None` for a default that depends on server and login.
    pub(in crate::cli) tls: Option<TlsMode>,
    /// `true` if certificates are not verified.
    pub(in crate::cli) accept_any_certificate: bool,
    /// Name of this host for the server; `None` for its fully qualified name.
    pub(in crate::cli) helo: Option<LocalName>,
}

impl FromStr for MailServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sendmail:") {
            let path = if path.is_empty() { "/usr/sbin/sendmail" } else { path };
            // A program found through $PATH could be a different one for each user.
            return if path.starts_with('/') {
                Ok(Self::Sendmail(path.into()))
            } else {
                Err("not an absolute path; write sendmail:/usr/sbin/sendmail".to_owned())
            };
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(url_usage)?;
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let options = SmtpOptions::from_url_parts(scheme, query)?;
        let mut name: ServerName = authority.parse()?;
        name.user = name.user.map(|user| decoded_user(&user)).transpose()?;
        Ok(Self::Smtp { name, options })
    }
}

/// Returns the user of a URL with percent escapes decoded; `@` and `?` must be escaped.
fn decoded_user(user: &str) -> Result<String, String> {
    percent::decode(user).map_err(|error| format!("not a user: {error}"))
}

impl SmtpOptions {
    fn from_url_parts(scheme: &str, query: Option<&str>) -> Result<Self, String> {
        let (port, tls) = match scheme {
            "smtp" => (25, None),
            "smtps" => (465, Some(TlsMode::Implicit)),
            _ => return Err(url_usage()),
        };
        let mut options = Self { port, tls, accept_any_certificate: false, helo: None };
        let mut keys = Vec::new();
        for field in query.iter().flat_map(|query| query.split('&')) {
            let (key, value) = field.split_once('=').ok_or(QUERY_USAGE)?;
            if keys.contains(&key) {
                return Err(format!("{key}= is given twice"));
            }
            options.set(key, value)?;
            keys.push(key);
        }
        Ok(options)
    }

    /// Applies one field of the query.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "tls" => self.set_tls(value),
            "helo" => self.set_helo(value),
            _ => Err(QUERY_USAGE.to_owned()),
        }
    }

    fn set_tls(&mut self, how: &str) -> Result<(), String> {
        let is_implicit = self.tls == Some(TlsMode::Implicit);
        self.tls = Some(match how {
            "required" | "unverified" if is_implicit => TlsMode::Implicit,
            "required" | "unverified" => TlsMode::Required,
            "offered" if !is_implicit => TlsMode::Opportunistic,
            "none" if !is_implicit => TlsMode::None,
            _ => return Err(TLS_USAGE.to_owned()),
        });
        self.accept_any_certificate = how == "unverified";
        Ok(())
    }

    fn set_helo(&mut self, name: &str) -> Result<(), String> {
        let name = percent::decode(name).map_err(|error| format!("helo=: {error}"))?;
        self.helo = Some(name.parse().map_err(|error| format!("helo={name} is {error}"))?);
        Ok(())
    }
}

const QUERY_USAGE: &str = "after the ?, write tls=HOW, helo=NAME, or both joined by an ampersand";
const TLS_USAGE: &str = "write tls=required, tls=unverified, or, for smtp, tls=offered or tls=none";

fn url_usage() -> String {
    "write smtp://[USER@]HOST[:PORT], smtps://[USER@]HOST[:PORT] or sendmail:[PATH]".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match text.parse::<MailServer>() {
            Ok(MailServer::Sendmail(path)) => path.display().to_string(),
            Ok(MailServer::Smtp { name: ServerName { user, host, port }, options }) => {
                let user = user.map_or_else(String::new, |user| format!("{user}@"));
                let port = port.unwrap_or(options.port);
                let any = if options.accept_any_certificate { " any" } else { "" };
                let helo = options.helo.map_or_else(String::new, |helo| format!(" as {helo}"));
                format!("{user}{host} {port} {:?}{any}{helo}", options.tls)
            }
            Err(error) => error,
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn valid_mail_server_urls_are_read() {
        check("smtp://localhost", "localhost 25 None");
        check("smtp://mail:587/", "mail 587 None");
        check("smtp://me@example.com@[2001:db8::25]:2525", "me@example.com@2001:db8::25 2525 None");
        check("smtp://mail?tls=none", "mail 25 Some(None)");
        check("smtp://mail?tls=required", "mail 25 Some(Required)");
        check("smtp://mail?tls=unverified", "mail 25 Some(Required) any");
        check("smtps://mail", "mail 465 Some(Implicit)");
        check("smtps://mail?tls=unverified", "mail 465 Some(Implicit) any");
        check("smtp://mail?helo=web1.example.com", "mail 25 None as web1.example.com");
        for helo in ["[192.0.2.1]", "%5B192.0.2.1%5d"] {
            check(
                &format!("smtps://mail?helo={helo}&tls=unverified"),
                "mail 465 Some(Implicit) any as [192.0.2.1]",
            );
        }
        check("smtp://me%40example.com@mail", "me@example.com@mail 25 None");
        check("smtp://a%3Fb%3a%25@mail", "a?b:%@mail 25 None");
        check("sendmail:", "/usr/sbin/sendmail");
        check("sendmail:/opt/x", "/opt/x");
    }

    #[test]
    fn malformed_mail_server_urls_are_rejected() {
        check("sendmail:x", "not an absolute path; write sendmail:/usr/sbin/sendmail");
        for text in ["", "mail", "mail:25", "http://mail", "SMTP://mail", "sendmail"] {
            check(text, &url_usage());
        }
        for query in ["", "tls", "x=1", "tls=none&", "&tls=none", "TLS=none"] {
            check(&format!("smtp://mail?{query}"), QUERY_USAGE);
        }
        for text in ["smtp://mail?tls=x", "smtp://mail?tls=", "smtps://mail?tls=none"] {
            check(text, TLS_USAGE);
        }
        check("smtp://mail?tls=none&tls=required", "tls= is given twice");
        let not_a_name =
            "not a host name such as web1.example.com, or an address such as [192.0.2.1]";
        for name in ["", "web_1", "192.0.2.1", "a b"] {
            check(&format!("smtp://mail?helo={name}"), &format!("helo={name} is {not_a_name}"));
        }
        check("smtp://mail?helo=a%0d%0aQUIT", "helo=: it contains a control character");
        check(
            "smtp://me%@mail",
            "not a user: two hexadecimal digits are missing after a %; write %25 for the % itself",
        );
        check("smtp://a%00b@mail", "not a user: it contains a control character");
        check("smtp://", "not a server; write [USER@]HOST[:PORT], with IPv6 in brackets");
        check("smtp://me:secret@mail", "not a server: it must not contain a password");
        check("smtp://mail:0", "its port is not a number from 1 to 65535");
    }

    #[test]
    fn mail_addresses_need_sender_and_recipient() {
        let check = |text: &str, expected: &str| {
            let found = match text.parse::<MailAddresses>() {
                Ok(MailAddresses { from, to }) => format!("{from} {to:?}"),
                Err(error) => error,
            };
            assert_eq!(found, expected);
        };
        check("a@b.c,d@e.f", "a@b.c [MailAddress(\"d@e.f\")]");
        check("a@b.c, d@e.f, g@h.i", "a@b.c [MailAddress(\"d@e.f\"), MailAddress(\"g@h.i\")]");
        check("a@b.c", "no recipient; write FROM,TO[,TO...]");
        check("a@b.c,", "an address is missing");
        check("a@b.c,x", "x is not an email address in ASCII, such as ops@example.com");
    }
}
