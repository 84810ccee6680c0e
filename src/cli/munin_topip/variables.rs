//! Configuration from plugin-conf.d: environment variables as options.
//!
//! munin-node turns `env.top 10` into an environment variable `top`. The names are those
//! of the long options, with `_` for `-`. Other variables are ignored, because sections
//! such as `[*]` set variables for all plugins.
use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, CommandFactory, Parser};

use crate::{
    cli::{
        Invocation,
        args::SampleArgs,
        option_value::{long_names, option_flag, parse_bool},
        usage,
    },
    model::problem::Problem,
    output::munin::{JUDGED_FIELD, Threshold, ThresholdBound, ThresholdLevel, field_names},
};

// Options as clap parses them. This is not a doc comment, because clap would print it as
// help.
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

/// Options and thresholds from the environment.
#[derive(Debug)]
pub(super) struct MuninConfig {
    pub(super) args: SampleArgs,
    pub(super) thresholds: Vec<Threshold>,
}

/// Reads the configuration from the environment.
///
/// # Errors
///
/// Returns an error if a supported variable has an invalid value.
pub(super) fn read(invocation: &Invocation) -> Result<MuninConfig, Problem> {
    let args = supported_options()
        .iter()
        .flat_map(|arg| variable_names(arg).into_iter().map(move |name| (arg, name)))
        .filter_map(|(arg, name)| Some((arg, invocation.env_var(&name)?, name)))
        .filter_map(|(arg, value, name)| command_line_argument(arg, &name, value).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let parsed = MuninArgs::try_parse_from(args)
        .map_err(|error| configuration_failure(&usage::describe(&error)))?;
    let selection = &parsed.sample.selection;
    if selection.prefix4.len() > 1 || selection.prefix6.len() > 1 {
        return Err(configuration_failure(
            "env.prefix4 and env.prefix6 take one length each: a graph shows one length",
        ));
    }
    Ok(MuninConfig { args: parsed.sample, thresholds: thresholds(invocation)? })
}

/// Returns the options that variables can set. These do not include the threshold
/// options, because Munin has thresholds and alerts of its own.
fn supported_options() -> Vec<Arg> {
    let command = MuninArgs::command();
    command.get_arguments().filter(|arg| !is_threshold(arg)).cloned().collect()
}

fn is_threshold(arg: &Arg) -> bool {
    ThresholdLevel::ALL.iter().any(|level| arg.get_id() == level.name())
}

/// Returns the names of the variables for an option, such as `exclude_file` or `4`.
fn variable_names(arg: &Arg) -> Vec<String> {
    long_names(arg).iter().map(|name| name.replace('-', "_")).collect()
}

/// Returns a variable as a command-line argument; `None` for a flag that is off.
fn command_line_argument(
    arg: &Arg,
    name: &str,
    value: &OsStr,
) -> Result<Option<OsString>, Problem> {
    let flag = option_flag(arg);
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        let is_on = parse_bool(value).ok_or_else(|| {
            let value = value.to_string_lossy();
            configuration_failure(&format!("cannot read env.{name} {value}: neither yes nor no"))
        })?;
        return Ok(if is_on { Some(flag.into()) } else { None });
    }
    if name == "input" && value == "-" {
        return Err(configuration_failure(
            "cannot read env.input -: munin-node gives its plugins no listing",
        ));
    }
    let mut argument = OsString::from(flag + "=");
    argument.push(value);
    Ok(Some(argument))
}

/// Reads the thresholds of the Munin fields.
fn thresholds(invocation: &Invocation) -> Result<Vec<Threshold>, Problem> {
    let mut thresholds = Vec::new();
    for field in field_names() {
        for level in ThresholdLevel::ALL {
            let variables = threshold_names(field, level).into_iter();
            let variables =
                variables.filter_map(|name| Some((invocation.env_var(&name)?, name))).next();
            if let Some((value, name)) = variables {
                let bound = parse_threshold(field, &value.to_string_lossy()).map_err(|reason| {
                    let value = value.to_string_lossy();
                    configuration_failure(&format!("cannot read env.{name} {value}: {reason}"))
                })?;
                thresholds.push(Threshold { field, level, bound });
            }
        }
    }
    Ok(thresholds)
}

/// Returns the variables for a field's threshold, in order of precedence.
fn threshold_names(field: &str, level: ThresholdLevel) -> Vec<String> {
    let mut names = vec![format!("{field}_{}", level.name())];
    if field == JUDGED_FIELD {
        names.push(level.name().to_owned());
    }
    names
}

/// Parses `limit`, or a range of munin-limits: `MAX`, `MIN:MAX`, `MIN:`, `:MAX`.
fn parse_threshold(field: &str, text: &str) -> Result<ThresholdBound, String> {
    let text = text.trim();
    match text {
        "limit" if field == JUDGED_FIELD => return Ok(ThresholdBound::Limit),
        "limit" => return Err(format!("only {JUDGED_FIELD} has a limit")),
        _ => {}
    }
    let (min, max) = text.split_once(':').unwrap_or(("", text));
    match (parse_bound(min), parse_bound(max)) {
        (Some(Some(min)), Some(Some(max))) if min > max => Err("MIN is above MAX".to_owned()),
        (Some(min), Some(max)) if min.is_some() || max.is_some() => {
            Ok(ThresholdBound::Range(text.to_owned()))
        }
        _ => Err("not limit, and not a range of Munin such as 150, 10:150 or :150".to_owned()),
    }
}

/// Parses one end of a range: `Some(None)` for empty text, which leaves this end open;
/// `None` if the text is not a number.
fn parse_bound(text: &str) -> Option<Option<f64>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    text.parse().ok().map(Some)
}

/// Returns the problem of a mistake in plugin-conf.d.
fn configuration_failure(message: &str) -> Problem {
    Problem::new(message, "Set it in plugin-conf.d, then restart munin-node; see munin_topip(1).")
}

/// Returns the names of all supported variables, for the manual.
#[must_use]
pub fn munin_variables() -> Vec<String> {
    let options = supported_options();
    let thresholds = field_names()
        .flat_map(|field| ThresholdLevel::ALL.map(|level| threshold_names(field, level)))
        .flatten();
    options.iter().flat_map(variable_names).chain(thresholds).collect()
}
