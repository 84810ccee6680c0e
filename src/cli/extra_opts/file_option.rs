//! Settings as options.
use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, Command, error::ErrorKind};

use crate::{
    cli::{
        applet::Applet,
        args,
        option_value::{long_names, option_flag, parse_bool},
        usage,
    },
    model::{metric::Metric, problem::Hints, sanitize, secret::Secret},
    storage::settings_file::{Setting, SettingsSection},
};

use super::option_key::OptionKey;

/// Options that are not settings.
const NOT_SETTINGS: [&str; 3] = ["extra_opts", "help", "version"];
/// Maximum length of a mistake's description in bytes. The description quotes a value of
/// the file.
const MAX_REASON_BYTES: usize = 300;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} line {line}: {mistake}", path.display())]
pub(super) struct SettingError {
    path: PathBuf,
    line: usize,
    mistake: Mistake,
}

#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error("unknown key {0}")]
    UnknownKey(String),
    /// The reason is a usage error of the command line.
    #[error("{0}")]
    Value(String),
    #[error("`{flag}` cannot be used with `{other}` in line {other_line}")]
    Conflict { flag: String, other: String, other_line: usize },
    #[error("`{flag}` already has a range for {} in line {other_line}", metric.name())]
    SecondRange { flag: String, metric: Metric, other_line: usize },
    #[error("other users can read this password")]
    ReadablePassword,
}

impl Hints for SettingError {
    fn hints(&self) -> Vec<String> {
        let hint = match self.mistake {
            Mistake::UnknownKey(_) => {
                "A key is an option without its hyphens; see SETTINGS FILE in check_topip(1)."
                    .to_owned()
            }
            Mistake::Value(_) => "See check_topip(1).".to_owned(),
            Mistake::Conflict { .. } | Mistake::SecondRange { .. } => {
                "Leave out one of them, or put them into separate sections.".to_owned()
            }
            Mistake::ReadablePassword => format!("chmod 600 {}", self.path.display()),
        };
        vec![hint]
    }
}

/// Setting as an option.
#[derive(Debug)]
pub(super) struct FileOption {
    line: usize,
    pub(super) key: OptionKey,
    /// Option as on a command line, without its value.
    pub(super) flag: String,
    pub(super) value: OptionValue,
}

#[derive(Debug)]
pub(super) enum OptionValue {
    /// Option with its value as a word of a command line.
    Argument(OsString),
    /// Password, which is not copied into words, because words are not wiped from memory.
    Password(Secret),
    /// Flag that is off.
    Off,
}

/// Returns the settings of a section for which `command` has an option. Settings of the other
/// programs of the suite are skipped. `parse` parses one option.
///
/// # Errors
///
/// Returns an error if a setting is wrong, or if two settings cannot be used together.
pub(super) fn file_options(
    section: &SettingsSection,
    command: &Command,
    mut parse: impl FnMut(OsString) -> Result<(), clap::Error>,
) -> Result<Vec<FileOption>, SettingError> {
    let mut options = Vec::new();
    for setting in &section.settings {
        let error = |mistake| setting_error(section, setting.line, mistake);
        let Some(arg) = find_option(command, &setting.key) else {
            if is_known(&setting.key) {
                continue;
            }
            return Err(error(Mistake::UnknownKey(setting.key.chars().take(40).collect())));
        };
        let value = option_value(section, setting, arg).map_err(error)?;
        if let OptionValue::Argument(argument) = &value {
            check_value(parse(argument.clone())).map_err(error)?;
        }
        let key = OptionKey::new(arg.get_id().as_str(), setting.value.reveal());
        options.push(FileOption { line: setting.line, key, flag: option_flag(arg), value });
    }
    check_conflicts(section, &options, command)?;
    Ok(options)
}

fn setting_error(section: &SettingsSection, line: usize, mistake: Mistake) -> SettingError {
    SettingError { path: section.path.clone(), line, mistake }
}

fn find_option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    let mut settings = options.filter(|arg| NOT_SETTINGS.iter().all(|name| arg.get_id() != name));
    settings.find(|arg| {
        let letters = arg.get_short_and_visible_aliases().unwrap_or_default();
        long_names(arg).iter().any(|name| name == key)
            || letters.iter().any(|letter| key.chars().eq([*letter]))
    })
}

/// Returns whether a program of the suite has an option of this name.
fn is_known(key: &str) -> bool {
    let mut commands = [Applet::Check, Applet::Log].into_iter().filter_map(args::command);
    commands.any(|command| find_option(&command, key).is_some())
}

fn option_value(
    section: &SettingsSection,
    setting: &Setting,
    arg: &Arg,
) -> Result<OptionValue, Mistake> {
    match arg.get_id().as_str() {
        "password" if section.is_private => Ok(OptionValue::Password(setting.value.clone())),
        "password" => Err(Mistake::ReadablePassword),
        _ => {
            let (flag, value) = (option_flag(arg), setting.value.reveal());
            argument(arg, value).map_err(|problem| {
                Mistake::Value(shortened(&format!("cannot read `{flag}` {value}: {problem}")))
            })
        }
    }
}

/// Returns a setting as a word of a command line, or the problem with its value.
fn argument(arg: &Arg, value: &str) -> Result<OptionValue, &'static str> {
    let flag = option_flag(arg);
    let takes_no_value = arg.get_num_args().is_some_and(|it| it.min_values() == 0);
    let argument = match (arg.get_action(), value, arg.get_short()) {
        (ArgAction::SetTrue | ArgAction::Count, "", _) => flag,
        (ArgAction::SetTrue, ..) => match parse_bool(value.as_ref()) {
            Some(true) => flag,
            Some(false) => return Ok(OptionValue::Off),
            None => return Err("neither yes nor no"),
        },
        (ArgAction::Count, "0", _) => return Ok(OptionValue::Off),
        (ArgAction::Count, "1", Some(letter)) => format!("-{letter}"),
        (ArgAction::Count, "2", Some(letter)) => format!("-{letter}{letter}"),
        (ArgAction::Count, "3", Some(letter)) => format!("-{letter}{letter}{letter}"),
        (ArgAction::Count, ..) => return Err("not a number from 0 to 3"),
        (_, "", _) if takes_no_value => flag,
        _ => format!("{flag}={value}"),
    };
    Ok(OptionValue::Argument(argument.into()))
}

/// Returns the mistake in an option that clap has parsed without the other options.
fn check_value(parsed: Result<(), clap::Error>) -> Result<(), Mistake> {
    match parsed {
        // The required option may be another setting, or on the command line.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => Ok(()),
        Err(error) => Err(Mistake::Value(shortened(&usage::describe(&error)))),
        Ok(()) => Ok(()),
    }
}

fn shortened(reason: &str) -> String {
    sanitize::truncate(reason, MAX_REASON_BYTES)
}

/// Checks that the settings of a section can be used together.
///
/// # Errors
///
/// Returns an error if two settings contradict each other.
fn check_conflicts(
    section: &SettingsSection,
    options: &[FileOption],
    command: &Command,
) -> Result<(), SettingError> {
    let mut distinct: Vec<&FileOption> = Vec::new();
    for option in options {
        let flag = option.flag.clone();
        let error = |mistake| Err(setting_error(section, option.line, mistake));
        if let Some(other) = distinct.iter().find(|it| it.key == option.key) {
            let Some(metric) = option.key.metric else { continue };
            return error(Mistake::SecondRange { flag, metric, other_line: other.line });
        }
        if let Some(other) = distinct.iter().find(|it| it.key.excludes(&option.key, command)) {
            let (other, other_line) = (other.flag.clone(), other.line);
            return error(Mistake::Conflict { flag, other, other_line });
        }
        distinct.push(option);
    }
    Ok(())
}
