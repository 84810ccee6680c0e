//! Whom an alert is mailed to: from options to an order.
use std::time::{Duration, Instant};

use crate::{
    model::network::is_this_host,
    notify::mail::{self, Envelope, Login, Server, Tls, Transport},
    run::{MailOrder, Target},
    source::Source,
    sys::process,
};

use super::{
    applet::{Failure, Invocation},
    args::{Correspondents, MailArgs, MailServer},
    server_name::ServerName,
    target_config,
};

/// How much of the time the servers that are looked at leave to a mail.
pub(super) fn reserve(timeout: Duration) -> Duration {
    (timeout / 3).min(Duration::from_secs(3))
}

/// What the options want mailed, if anything.
pub(super) fn order(
    args: &MailArgs,
    targets: &[Target],
    deadline: Instant,
    invocation: &Invocation,
) -> Result<Option<MailOrder>, Failure> {
    let Some(Correspondents { from, to }) = args.alert.clone() else {
        return Ok(None);
    };
    if cfg!(not(feature = "mail")) {
        let more = vec!["Build it with the feature mail, which is on by default.".to_owned()];
        return Err(Failure::new("this topip was built without mail", more));
    }
    let post = invocation.reach()?.post;
    Ok(Some(MailOrder {
        envelope: Envelope { from, to },
        transport: transport(args)?,
        host: hosts(targets),
        remind: args.remind,
        recovery: args.recovery,
        deadline,
        post,
    }))
}

fn transport(args: &MailArgs) -> Result<Transport, Failure> {
    let (name, way) = match &args.smtp {
        MailServer::Smtp { name, way } => (name, way),
        MailServer::Sendmail(_) if args.smtp_password_file.is_some() => {
            let problem = "there is nobody to log in with --smtp-password-file";
            return Err(Failure::new(problem, vec!["Leave it out with sendmail.".to_owned()]));
        }
        MailServer::Sendmail(path) => return Ok(Transport::Sendmail(path.clone())),
    };
    let login = login(name, args)?;
    Ok(Transport::Smtp(Server {
        tls: fit(way.tls, name),
        trusts_any: way.trusts_any,
        host: name.host.clone(),
        port: name.port.unwrap_or(way.port),
        login,
    }))
}

/// How the connection is encrypted, where `asked` for or not.
///
/// A password goes nowhere in clear unless that is said. To this machine's own
/// server nobody listens in between, and the certificate that it offers is
/// mostly one that it made itself.
fn fit(asked: Option<Tls>, name: &ServerName) -> Tls {
    match (asked, &name.user, is_this_host(&name.host)) {
        (None | Some(Tls::Offered), Some(_), _) => Tls::Required,
        (Some(tls), ..) => tls,
        (None, None, true) => Tls::None,
        (None, None, false) => Tls::Offered,
    }
}

fn login(name: &ServerName, args: &MailArgs) -> Result<Option<Login>, Failure> {
    match (&name.user, &args.smtp_password_file) {
        (None, None) => Ok(None),
        (Some(user), Some(file)) => {
            // Where it fails, a core dump may have the password.
            let _ = process::hide_memory();
            let password = target_config::secret(file)?;
            Ok(Some(Login { user: user.clone(), password }))
        }
        (Some(user), None) => {
            let problem = format!("there is no password to log in to {} as {user}", name.host);
            Err(Failure::new(&problem, vec!["Give --smtp-password-file.".to_owned()]))
        }
        (None, Some(_)) => {
            let problem = "there is nobody to log in with --smtp-password-file";
            let more = "Name a user: --smtp smtp://USER@HOST".to_owned();
            Err(Failure::new(problem, vec![more]))
        }
    }
}

/// What is looked at, by names that mean something in a mailbox: "localhost" is
/// every machine.
fn hosts(targets: &[Target]) -> String {
    let mut names: Vec<_> = targets
        .iter()
        .map(|target| match &target.sources[..] {
            [Source::File(path)] => path.display().to_string(),
            [Source::StandardInput] => format!("standard input of {}", mail::host_name()),
            [Source::Ssh(_)] => target.name.clone(),
            _ => mail::host_name(),
        })
        .collect();
    names.sort();
    names.join(", ")
}
