//! Mail configuration from command-line options.
use std::time::{Duration, Instant};

use crate::{
    model::network::is_loopback_host,
    model::problem::Problem,
    notify::mail::{self, Envelope, SmtpLogin, SmtpServer, TlsMode, Transport},
    run::{MailConfig, Target},
    source::Source,
    sys::process,
};

use super::{
    args::{MailAddresses, MailArgs, MailServer},
    invocation::Invocation,
    server_name::ServerName,
    target_config,
};

/// Returns the part of the time limit that is reserved for sending mail. The same time is
/// reserved for the alert program.
pub(super) fn reserved_time(timeout: Duration) -> Duration {
    (timeout / 3).min(Duration::from_secs(3))
}

/// Returns the mail configuration, or `None` without `--alert`.
///
/// # Errors
///
/// Returns an error if mail support is missing, or if the login is incomplete.
pub(super) fn build(
    args: &MailArgs,
    targets: &[Target],
    deadline: Instant,
    invocation: &Invocation,
) -> Result<Option<MailConfig>, Problem> {
    let Some(MailAddresses { from, to }) = args.alert.clone() else {
        return Ok(None);
    };
    if cfg!(not(feature = "mail")) {
        let hints =
            vec!["Build topip with the feature mail, which is enabled by default.".to_owned()];
        return Err(Problem::with_hints("this topip was built without mail", hints));
    }
    let send_mail = invocation.require_remote_support()?.send_mail;
    Ok(Some(MailConfig {
        envelope: Envelope { from, to },
        transport: transport(args)?,
        host: host_names(targets),
        remind_after: args.remind,
        notify_recovery: args.recovery,
        deadline,
        send_mail,
    }))
}

fn transport(args: &MailArgs) -> Result<Transport, Problem> {
    let (name, options) = match &args.smtp {
        MailServer::Smtp { name, options } => (name, options),
        MailServer::Sendmail(_) if args.smtp_password_file.is_some() => {
            let message = "`--smtp-password-file` cannot be used with sendmail";
            let hint = "Leave out `--smtp-password-file`.".to_owned();
            return Err(Problem::with_hints(message, vec![hint]));
        }
        MailServer::Sendmail(path) => return Ok(Transport::Sendmail(path.clone())),
    };
    let login = login(name, args)?;
    Ok(Transport::Smtp(SmtpServer {
        tls: default_tls(options.tls, name),
        accept_any_certificate: options.accept_any_certificate,
        host: name.host.clone(),
        port: name.port.unwrap_or(options.port),
        login,
        helo: options.helo.clone(),
    }))
}

/// Returns the encryption of the connection, from the URL or by default.
///
/// A password is sent without encryption only with `tls=none`. The server on this host
/// is used without TLS by default: the connection does not leave the host, and the
/// server's certificate is usually self-signed.
fn default_tls(requested: Option<TlsMode>, name: &ServerName) -> TlsMode {
    match (requested, &name.user, is_loopback_host(&name.host)) {
        (None | Some(TlsMode::Opportunistic), Some(_), _) => TlsMode::Required,
        (Some(tls), ..) => tls,
        (None, None, true) => TlsMode::None,
        (None, None, false) => TlsMode::Opportunistic,
    }
}

fn login(name: &ServerName, args: &MailArgs) -> Result<Option<SmtpLogin>, Problem> {
    match (&name.user, &args.smtp_password_file) {
        (None, None) => Ok(None),
        (Some(user), Some(path)) => {
            // If this fails, a core dump may contain the password.
            let _ = process::disable_dumping();
            let password = target_config::read_secret(path)?;
            Ok(Some(SmtpLogin { user: user.clone(), password }))
        }
        (Some(user), None) => {
            let message = format!(
                "cannot log in to the mail server {} as {user}: no password is given",
                name.host
            );
            Err(Problem::with_hints(&message, vec!["Give `--smtp-password-file`.".to_owned()]))
        }
        (None, Some(_)) => {
            let message = "`--smtp-password-file` needs a user in `--smtp`";
            let hint = "Give the user in the URL: `--smtp` smtp://USER@HOST".to_owned();
            Err(Problem::with_hints(message, vec![hint]))
        }
    }
}

/// Returns the names of the targets for a mail. This host appears by its host name,
/// because "localhost" would be ambiguous in a mailbox.
fn host_names(targets: &[Target]) -> String {
    let mut names: Vec<_> = targets
        .iter()
        .map(|target| match &target.sources[..] {
            [Source::File(path)] => path.display().to_string(),
            [Source::Stdin] => format!("standard input of {}", mail::host_name()),
            [source] if source.is_remote() => target.name.clone(),
            _ => mail::host_name(),
        })
        .collect();
    names.sort();
    names.join(", ")
}
