//! Messages for usage errors.
use clap::error::{ContextKind, ErrorKind};

/// Returns a usage error as one line.
pub(super) fn describe(error: &clap::Error) -> String {
    let option = context_text(error, ContextKind::InvalidArg).unwrap_or_default();
    // clap gives the option with its value name: "--warning <RANGE>".
    let option = &marked(&option);
    let value =
        redact_password(&context_text(error, ContextKind::InvalidValue).unwrap_or_default());
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
            // The context of this error does not contain the option that requires it.
            format!("this needs {option}")
        }
        (ErrorKind::UnknownArgument, _) if option.starts_with('`') => {
            format!("there is no option {option}")
        }
        (ErrorKind::UnknownArgument, _) => format!("unexpected argument {option}"),
        (ErrorKind::ArgumentConflict, _) => {
            let other_option = context_text(error, ContextKind::PriorArg).unwrap_or_default();
            let other_option = marked(&other_option);
            if let Some(command) = context_text(error, ContextKind::InvalidSubcommand) {
                return format!("{other_option} goes after {command}");
            }
            format!("{option} cannot be used with {other_option}")
        }
        _ => {
            let rendered = error.render().to_string();
            let line = rendered.lines().next().unwrap_or("the command line is not understood");
            line.trim_start_matches("error: ").replace(['\'', '"', '<', '>'], "")
        }
    }
}

fn context_text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    error.get(kind).map(ToString::to_string)
}

/// Returns the option of clap's context, marked for the outputs, without its value name.
fn marked(option: &str) -> String {
    let option = option.split_whitespace().next().unwrap_or_default();
    if option.starts_with('-') { format!("`{option}`") } else { option.to_owned() }
}

/// Returns `value` without the user part of a URL, which may contain a password.
fn redact_password(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://...@{host}"),
        _ => value.to_owned(),
    }
}
