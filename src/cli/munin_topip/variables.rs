//! What plugin-conf.d asks for: from variables of the environment to options.
//!
//! munin-node makes a variable `top` of `env.top 10`. The names are those of the
//! long options, in lower case; whatever else the environment has is none of
//! ours, because sections such as `[*]` set variables for all plugins.
use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, CommandFactory, Parser};

use crate::{
    cli::{Failure, Invocation, args::SampleArgs, usage},
    output::munin::{At, JUDGED, Level, Threshold, fields},
};

// The options as clap reads them. (Documented for clap, it would be a help.)
#[derive(Debug, Parser)]
#[command(
    no_binary_name = true,
    args_override_self = true,
    disable_help_flag = true,
    disable_version_flag = true
)]
struct MuninArgs {
    #[command(flatten)]
    sample: SampleArgs,
}

/// What the environment asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) args: SampleArgs,
    pub(super) thresholds: Vec<Threshold>,
}

/// Reads the environment.
///
/// # Errors
///
/// Where a variable that means something does not mean anything.
pub(super) fn read(invocation: &Invocation) -> Result<Wanted, Failure> {
    let args = options()
        .iter()
        .flat_map(|arg| names(arg).into_iter().map(move |name| (arg, name)))
        .filter_map(|(arg, name)| Some((arg, invocation.variable(&name)?, name)))
        .filter_map(|(arg, value, name)| word(arg, &name, value).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let parsed = MuninArgs::try_parse_from(args).map_err(|error| wrong(&usage::misuse(&error)))?;
    let look = &parsed.sample.look;
    if look.prefix4.len() > 1 || look.prefix6.len() > 1 {
        return Err(wrong(
            "env.prefix4 and env.prefix6 take one length each: a graph is about one",
        ));
    }
    Ok(Wanted { args: parsed.sample, thresholds: thresholds(invocation)? })
}

/// The options that a variable may stand for. Those of the ranges do not: Munin
/// has its own, and alerts by itself.
fn options() -> Vec<Arg> {
    let command = MuninArgs::command();
    let is_range = |arg: &Arg| Level::ALL.iter().any(|level| arg.get_id() == level.name());
    command.get_arguments().filter(|arg| !is_range(arg)).cloned().collect()
}

/// What the variables of an option are called: `exclude_file`, and `4`.
fn names(arg: &Arg) -> Vec<String> {
    let aliases = arg.get_all_aliases().unwrap_or_default();
    let longs: Vec<_> =
        arg.get_long().into_iter().chain(aliases).map(|long| long.replace('-', "_")).collect();
    match arg.get_short() {
        Some(letter) if longs.is_empty() => vec![letter.to_string()],
        _ => longs,
    }
}

fn flag(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, letter) => format!("-{}", letter.expect("an option has a name")),
    }
}

/// A variable as a word of a command line; none for a flag that is off.
fn word(arg: &Arg, name: &str, value: &OsStr) -> Result<Option<OsString>, Failure> {
    let flag = flag(arg);
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        let is_on = yes_or_no(value).ok_or_else(|| {
            let value = value.to_string_lossy();
            wrong(&format!("cannot read env.{name} {value}: neither yes nor no"))
        })?;
        return Ok(is_on.then(|| flag.into()));
    }
    if name == "input" && value == "-" {
        return Err(wrong("cannot read env.input -: munin-node has no listing for its plugins"));
    }
    let mut word = OsString::from(flag + "=");
    word.push(value);
    Ok(Some(word))
}

fn yes_or_no(value: &OsStr) -> Option<bool> {
    match value.to_str()?.trim().to_ascii_lowercase().as_str() {
        "yes" | "1" | "true" | "on" => Some(true),
        "no" | "0" | "false" | "off" => Some(false),
        _ => None,
    }
}

fn thresholds(invocation: &Invocation) -> Result<Vec<Threshold>, Failure> {
    let mut thresholds = Vec::new();
    for field in fields() {
        for level in Level::ALL {
            let set = threshold_names(field, level).into_iter();
            let set = set.filter_map(|name| Some((invocation.variable(&name)?, name))).next();
            if let Some((value, name)) = set {
                let at = at(field, &value.to_string_lossy()).map_err(|reason| {
                    let value = value.to_string_lossy();
                    wrong(&format!("cannot read env.{name} {value}: {reason}"))
                })?;
                thresholds.push(Threshold { field, level, at });
            }
        }
    }
    Ok(thresholds)
}

/// The variables for a field's threshold, the first of which counts.
fn threshold_names(field: &str, level: Level) -> Vec<String> {
    let all = (field == JUDGED).then(|| level.name().to_owned());
    std::iter::once(format!("{field}_{}", level.name())).chain(all).collect()
}

/// `limit`, or a range as munin-limits reads it: `MAX`, `MIN:MAX`, `MIN:`, `:MAX`.
fn at(field: &str, text: &str) -> Result<At, String> {
    let text = text.trim();
    match text {
        "limit" if field == JUDGED => return Ok(At::Limit),
        "limit" => return Err(format!("the limit is one of {JUDGED} alone")),
        _ => {}
    }
    let (min, max) = text.split_once(':').unwrap_or(("", text));
    let number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        text.parse::<f64>().ok().filter(|_| is_decimal)
    };
    let bound = |text: &str| if text.is_empty() { Some(None) } else { number(text).map(Some) };
    match (bound(min), bound(max)) {
        (Some(Some(min)), Some(Some(max))) if min > max => {
            Err("its beginning is above its end".to_owned())
        }
        (Some(min), Some(max)) if min.is_some() || max.is_some() => Ok(At::Range(text.to_owned())),
        _ => Err("not a range of Munin, such as 150, 10:150 or :150, and not limit".to_owned()),
    }
}

fn wrong(problem: &str) -> Failure {
    let more = "Set it in plugin-conf.d, then restart munin-node; see munin_topip(1).".to_owned();
    Failure::new(&as_variables(problem), vec![more])
}

/// A text that names options, with the variables instead.
pub(super) fn as_variables(text: &str) -> String {
    let known: Vec<_> = options()
        .iter()
        .filter_map(|arg| Some((flag(arg), names(arg).into_iter().next()?)))
        .collect();
    let words = text.split(' ').map(|word| {
        // A sentence may end with it.
        let bare = word.trim_end_matches(['.', ',', ';', ':']);
        match known.iter().find(|(flag, _)| flag == bare) {
            Some((_, name)) => format!("env.{name}{}", &word[bare.len()..]),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Every variable that means something, for the manual.
#[must_use]
pub fn munin_variables() -> Vec<String> {
    let options = options();
    let thresholds =
        fields().flat_map(|field| Level::ALL.map(|level| threshold_names(field, level))).flatten();
    options.iter().flat_map(names).chain(thresholds).collect()
}
