//! Options: whom an alert is mailed to.
use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Args;

use crate::{
    cli::{duration::duration, server_name::ServerName},
    notify::mail::{Address, Tls},
};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Who is alerted")]
pub(in crate::cli) struct MailArgs {
    /// Mail an alert (CRITICAL by the limit, not by -w or -c) from the first address to the others
    #[arg(short, long, value_name = "FROM,TO[,TO...]", allow_hyphen_values = true)]
    pub(in crate::cli) alert: Option<Correspondents>,
    // Brackets are links to rustdoc, so this is no comment.
    #[arg(
        long,
        value_name = "URL",
        default_value = "smtp://localhost:25",
        requires = "alert",
        help = "By smtp://[USER@]HOST[:PORT][?tls=HOW], smtps://... or sendmail:[PATH]"
    )]
    pub(in crate::cli) smtp: MailServer,
    /// File with the password of the USER in --smtp
    #[arg(long, value_name = "FILE", requires = "alert")]
    pub(in crate::cli) smtp_password_file: Option<PathBuf>,
    /// Mail about the same address again only after so long; 0: at every sample
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1h",
        value_parser = duration,
        allow_hyphen_values = true,
        requires = "alert"
    )]
    pub(in crate::cli) remind: Duration,
    /// Mail when it is over, too
    #[arg(long, requires = "alert")]
    pub(in crate::cli) recovery: bool,
}

/// Who writes, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Correspondents {
    pub(in crate::cli) from: Address,
    pub(in crate::cli) to: Vec<Address>,
}

impl FromStr for Correspondents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            let text = text.trim();
            text.parse::<Address>().map_err(|error| match text {
                "" => "an address is missing".to_owned(),
                _ => format!("{text} is {error}"),
            })
        };
        let mut addresses = text.split(',').map(address).collect::<Result<Vec<_>, _>>()?;
        if addresses.len() < 2 {
            return Err("there is nobody to mail to; write FROM,TO[,TO...]".to_owned());
        }
        let from = addresses.remove(0);
        Ok(Self { from, to: addresses })
    }
}

/// What takes the mail, as it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum MailServer {
    /// By SMTP.
    Smtp {
        /// Its name, and who logs in.
        name: ServerName,
        /// How it is reached.
        way: Way,
    },
    /// By a program.
    Sendmail(PathBuf),
}

/// How a mail server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Way {
    /// The port, where none is named.
    pub(in crate::cli) port: u16,
    /// How it is encrypted; nothing said of it means what is fit.
    pub(in crate::cli) tls: Option<Tls>,
    /// Whether any certificate will do.
    pub(in crate::cli) trusts_any: bool,
}

impl FromStr for MailServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sendmail:") {
            let path = if path.is_empty() { "/usr/sbin/sendmail" } else { path };
            // One that is searched for is another one for another user.
            return match path.starts_with('/') {
                true => Ok(Self::Sendmail(path.into())),
                false => Err("not a whole path; write sendmail:/usr/sbin/sendmail".to_owned()),
            };
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let way = Way::of(scheme, query)?;
        Ok(Self::Smtp { name: place.parse()?, way })
    }
}

impl Way {
    fn of(scheme: &str, query: Option<&str>) -> Result<Self, String> {
        let how = match query.map(|query| query.strip_prefix("tls=")) {
            None => None,
            Some(Some(how)) => Some(how),
            Some(None) => return Err(TLS.to_owned()),
        };
        let (tls, trusts_any) = match (scheme, how) {
            ("smtp", None) => (None, false),
            ("smtp", Some("none")) => (Some(Tls::None), false),
            ("smtp", Some("offered")) => (Some(Tls::Offered), false),
            ("smtp", Some("required")) => (Some(Tls::Required), false),
            ("smtp", Some("unverified")) => (Some(Tls::Required), true),
            ("smtps", None | Some("required")) => (Some(Tls::Wrapped), false),
            ("smtps", Some("unverified")) => (Some(Tls::Wrapped), true),
            ("smtp" | "smtps", Some(_)) => return Err(TLS.to_owned()),
            _ => return Err(form()),
        };
        Ok(Self { port: if scheme == "smtps" { 465 } else { 25 }, tls, trusts_any })
    }
}

const TLS: &str =
    "after ? goes tls=required, tls=unverified, or, for smtp, tls=offered or tls=none";

fn form() -> String {
    "write smtp://[USER@]HOST[:PORT], smtps://[USER@]HOST[:PORT] or sendmail:[PATH]".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match text.parse::<MailServer>() {
            Ok(MailServer::Sendmail(path)) => path.display().to_string(),
            Ok(MailServer::Smtp { name: ServerName { user, host, port }, way }) => {
                let user = user.map_or_else(String::new, |user| format!("{user}@"));
                let port = port.unwrap_or(way.port);
                let any = if way.trusts_any { " any" } else { "" };
                format!("{user}{host} {port} {:?}{any}", way.tls)
            }
            Err(error) => error,
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn mail_servers() {
        check("smtp://localhost", "localhost 25 None");
        check("smtp://mail:587/", "mail 587 None");
        check("smtp://me@example.com@[2001:db8::25]:2525", "me@example.com@2001:db8::25 2525 None");
        check("smtp://mail?tls=none", "mail 25 Some(None)");
        check("smtp://mail?tls=required", "mail 25 Some(Required)");
        check("smtp://mail?tls=unverified", "mail 25 Some(Required) any");
        check("smtps://mail", "mail 465 Some(Wrapped)");
        check("smtps://mail?tls=unverified", "mail 465 Some(Wrapped) any");
        check("sendmail:", "/usr/sbin/sendmail");
        check("sendmail:/opt/x", "/opt/x");
    }

    #[test]
    fn what_is_no_mail_server() {
        check("sendmail:x", "not a whole path; write sendmail:/usr/sbin/sendmail");
        for text in ["", "mail", "mail:25", "http://mail", "SMTP://mail", "sendmail"] {
            check(text, &form());
        }
        for text in
            ["smtp://mail?", "smtp://mail?tls", "smtp://mail?tls=x", "smtps://mail?tls=none"]
        {
            check(text, TLS);
        }
        check("smtp://", "not a server; write [USER@]HOST[:PORT], with IPv6 in brackets");
        check("smtp://me:secret@mail", "not a server: a password does not belong there");
        check("smtp://mail:0", "its port is not a number from 1 to 65535");
    }

    #[test]
    fn correspondents() {
        let check = |text: &str, expected: &str| {
            let found = match text.parse::<Correspondents>() {
                Ok(Correspondents { from, to }) => format!("{from} {to:?}"),
                Err(error) => error,
            };
            assert_eq!(found, expected);
        };
        check("a@b.c,d@e.f", "a@b.c [Address(\"d@e.f\")]");
        check("a@b.c, d@e.f, g@h.i", "a@b.c [Address(\"d@e.f\"), Address(\"g@h.i\")]");
        check("a@b.c", "there is nobody to mail to; write FROM,TO[,TO...]");
        check("a@b.c,", "an address is missing");
        check("a@b.c,x", "x is not an address for mail, such as ops@example.com, in ASCII");
    }
}
