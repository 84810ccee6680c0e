//! Options that are set outside of the command line: their names and values.
use std::ffi::OsStr;

use clap::Arg;

/// Returns the long names of an option, without hyphens. For an option without long names,
/// returns its letter.
pub(super) fn long_names(arg: &Arg) -> Vec<String> {
    let aliases = arg.get_all_aliases().unwrap_or_default();
    let longs: Vec<_> = arg.get_long().into_iter().chain(aliases).map(str::to_owned).collect();
    match arg.get_short() {
        Some(letter) if longs.is_empty() => vec![letter.to_string()],
        _ => longs,
    }
}

/// Returns an option as on a command line, such as `--exclude-file` or `-4`.
pub(super) fn option_flag(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, letter) => format!("-{}", letter.expect("an option has a name")),
    }
}

/// Returns the value of a flag, or `None` if it is neither yes nor no.
pub(super) fn parse_bool(value: &OsStr) -> Option<bool> {
    match value.to_str()?.trim().to_ascii_lowercase().as_str() {
        "yes" | "1" | "true" | "on" => Some(true),
        "no" | "0" | "false" | "off" => Some(false),
        _ => None,
    }
}
