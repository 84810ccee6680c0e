//! What is wrong with a command line.
use clap::error::{ContextKind, ErrorKind};

/// What is wrong with a command line, in one sentence.
pub(super) fn misuse(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string);
    let option = context(ContextKind::InvalidArg).unwrap_or_default();
    // "--warning <RANGE>"
    let option = option.split_whitespace().next().unwrap_or_default();
    let value = without_password(&context(ContextKind::InvalidValue).unwrap_or_default());
    match (error.kind(), std::error::Error::source(error)) {
        (ErrorKind::ValueValidation, Some(reason)) => {
            let value = if value.is_empty() { "(empty)".to_owned() } else { value };
            format!("cannot read {option} {value}: {reason}")
        }
        (ErrorKind::InvalidValue, _) if value.is_empty() => format!("{option} needs a value"),
        (ErrorKind::InvalidValue, _) => {
            let known = context(ContextKind::ValidValue).unwrap_or_default();
            format!("cannot read {option} {value}: not one of {known}")
        }
        (ErrorKind::MissingRequiredArgument, _) => {
            // Clap does not say what needs it.
            format!("this needs {option}")
        }
        (ErrorKind::UnknownArgument, _) if option.starts_with('-') => {
            format!("there is no option {option}")
        }
        (ErrorKind::UnknownArgument, _) => format!("unexpected argument {option}"),
        (ErrorKind::ArgumentConflict, _) => {
            let prior = context(ContextKind::PriorArg).unwrap_or_default();
            let prior = prior.split_whitespace().next().unwrap_or_default();
            if let Some(command) = context(ContextKind::InvalidSubcommand) {
                return format!("{prior} goes after {command}");
            }
            format!("{option} cannot be used with {prior}")
        }
        _ => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or("the command line is not understood");
            line.trim_start_matches("error: ").replace(['\'', '"', '<', '>'], "")
        }
    }
}

/// `value` without what stands before the host of a URL: people put passwords
/// there.
fn without_password(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://...@{place}"),
        _ => value.to_owned(),
    }
}
