//! Messages for usage errors.
use clap::error::{ContextKind, ErrorKind};

use super::args;

/// Returns a usage error as one line.
pub(super) fn describe(error: &clap::Error) -> String {
    let option = context_text(error, ContextKind::InvalidArg).unwrap_or_default();
    // clap gives the option with its value name: "--warning <RANGE>".
    let option = &marked(&option);
    let value = context_text(error, ContextKind::InvalidValue).unwrap_or_default();
    let value = redact_password(option, &value);
    match (error.kind(), std::error::Error::source(error)) {
        (ErrorKind::ValueValidation, Some(reason)) => {
            let value = if value.is_empty() { "(empty)".to_owned() } else { value };
            format!("cannot read {option} {value}: {reason}")
        }
        (ErrorKind::InvalidValue, _) if value.is_empty() => format!("{option} needs a value"),
        (ErrorKind::InvalidValue, _) => {
            let valid_values = context_text(error, ContextKind::ValidValue).unwrap_or_default();
            format!("cannot read {option} {value}: not one of {valid_values}")
        }
        (ErrorKind::MissingRequiredArgument, _) => {
            format!("{} needs {option}", mail_option(error))
        }
        (ErrorKind::UnknownArgument, _) if option.starts_with('`') => {
            let similar = context_text(error, ContextKind::SuggestedArg).unwrap_or_default();
            if similar.is_empty() {
                return format!("unknown option {option}");
            }
            format!("unknown option {option}; a similar option is {}", marked(&similar))
        }
        (ErrorKind::UnknownArgument, _) => {
            format!("unexpected argument {}", redact_server(option))
        }
        (ErrorKind::ArgumentConflict, _) => {
            let other_option = context_text(error, ContextKind::PriorArg).unwrap_or_default();
            let other_option = marked(&other_option);
            if let Some(command) = context_text(error, ContextKind::InvalidSubcommand) {
                return format!("{other_option} must be given after {command}");
            }
            format!("{option} cannot be used with {other_option}")
        }
        _ => {
            let rendered = error.render().to_string();
            let line = rendered.lines().next().unwrap_or("cannot parse the command line");
            line.trim_start_matches("error: ").replace(['\'', '"', '<', '>'], "")
        }
    }
}

/// Returns the first given option that is valid only with `--alert`. clap's error contains
/// the missing option, and the given options in its usage line.
fn mail_option(error: &clap::Error) -> String {
    let usage = context_text(error, ContextKind::Usage).unwrap_or_default();
    let mail_options = args::options_with_alert();
    let given = usage.split(' ').find(|&word| mail_options.iter().any(|option| option == word));
    marked(given.unwrap_or("this option"))
}

fn context_text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    error.get(kind).map(ToString::to_string)
}

/// Returns the option of clap's context, marked for the outputs, without its value name.
fn marked(option: &str) -> String {
    let option = option.split_whitespace().next().unwrap_or_default();
    // An argument without an option is in brackets: [SECONDS].
    let option = option.trim_matches(['[', ']']);
    if option.starts_with('-') { format!("`{option}`") } else { option.to_owned() }
}

/// Returns the value of an option, with a possible password redacted.
fn redact_password(option: &str, value: &str) -> String {
    match option {
        "`--smtp`" => redact_url(value),
        "`--hostname`" => redact_server(value),
        _ => value.to_owned(),
    }
}

/// Returns a URL without its user part.
fn redact_url(url: &str) -> String {
    let (scheme, authority) = url.split_at(url.find("://").map_or(0, |at| at + "://".len()));
    match authority.rsplit_once('@') {
        Some((_, host)) if !scheme.is_empty() => format!("{scheme}...@{host}"),
        _ if scheme.is_empty() => redact_server(url),
        _ => url.to_owned(),
    }
}

/// Returns a server without the user part if that part contains a password, as in
/// `USER:PASSWORD@HOST`. A comma in the password separates servers, and leaves
/// `USER:PASSWORD`.
pub(super) fn redact_server(server: &str) -> String {
    if let Some((user, host)) = server.rsplit_once('@') {
        return if user.contains(':') { format!("...@{host}") } else { server.to_owned() };
    }
    match server.split_once(':') {
        Some((user, rest)) if !rest.is_empty() && !is_port_or_address(rest) => {
            format!("{user}:...")
        }
        _ => server.to_owned(),
    }
}

/// Returns `true` for the text after the first colon of `HOST:PORT` or of an IPv6 address.
fn is_port_or_address(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) || text.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_redacted() {
        for (server, expected) in [
            ("root:secret@web1", "...@web1"),
            ("root:sec@ret@web1:22", "...@web1:22"),
            ("root:sec", "root:..."),
            ("ret@web1", "ret@web1"),
            ("web1:65536", "web1:65536"),
            ("web1:", "web1:"),
            ("fe80::1%eth0", "fe80::1%eth0"),
        ] {
            assert_eq!(redact_server(server), expected);
        }
        for (url, expected) in [
            ("smtp://me:secret@mail", "smtp://...@mail"),
            ("smtp://me@mail:x", "smtp://...@mail:x"),
            ("me:secret@mail", "...@mail"),
            ("localhost", "localhost"),
            ("smtp://mail:ssh", "smtp://mail:ssh"),
        ] {
            assert_eq!(redact_url(url), expected);
        }
    }
}
