//! Options of settings files (`--extra-opts`), inserted before those of the command line.
//!
//! As in monitoring-plugins, a setting works like an option earlier on the command line. In
//! addition, a later option replaces the earlier options that contradict it, and settings
//! are not checked for options without effect, because several checks share a file.
use std::{ffi::OsString, path::PathBuf, sync::mpsc};

use clap::{ArgMatches, Command};

use crate::{
    model::{
        problem::{Hints, Problem},
        secret::Secret,
        verdict::Status,
    },
    storage::settings_file::{self, SettingsFileError, SettingsSection},
    sys::signals,
};

use super::{
    applet::Applet,
    args::{ProgramArgs, SettingsLocation, Timeout, options_with_alert},
    given_options::{self, GivenOptions},
    invocation::Invocation,
    target_config::DEFAULT_TIMEOUT,
    watchdog::{self, RunFailure},
};

mod file_option;
mod option_key;

use file_option::{FileOption, OptionValue, file_options};
use option_key::OptionKey;

/// Option that selects a section.
const FLAG: &str = "--extra-opts";
/// Default settings file.
const DEFAULT_FILE: &str = "/etc/topip/topip.ini";
/// Names of settings files in the directories of `$NAGIOS_CONFIG_PATH`; the last two are
/// those of nagios-plugins.
const FILE_NAMES: [&str; 3] = ["topip.ini", "plugins.ini", "nagios-plugins.ini"];

/// Failure to parse a command line and its settings.
#[derive(Debug)]
pub(super) struct ParseFailure {
    pub(super) error: ParseError,
    /// Options that were read before the failure; the output format is taken from them.
    pub(super) words: Vec<OsString>,
}

/// Reason for a [`ParseFailure`].
#[derive(Debug)]
pub(super) enum ParseError {
    /// The command line is wrong, or requests the help.
    Usage(Box<clap::Error>),
    /// The settings cannot be used.
    Settings(Problem),
    /// A signal or the time limit interrupted the reading of the settings.
    Interrupted(RunFailure, Status),
}

impl From<clap::Error> for ParseError {
    fn from(error: clap::Error) -> Self {
        Self::Usage(Box::new(error))
    }
}

/// Parses the command line of a program and the settings that it selects. Also returns the
/// options that are given on the command line itself.
///
/// # Errors
///
/// Returns an error if the command line or a setting is wrong, or if a file cannot be used.
pub(super) fn parse<T: ProgramArgs>(
    applet: Applet,
    invocation: &Invocation,
) -> Result<(T, GivenOptions), ParseFailure> {
    let is_flag = |word: &OsString| word.as_encoded_bytes().starts_with(FLAG.as_bytes());
    let mut words = Vec::new();
    let parsed = if invocation.args.iter().any(is_flag) {
        parse_with_settings(applet, invocation, &mut words)
    } else {
        let line = program_line(applet, &invocation.args);
        given_options::parse(&mut T::command(), line).map_err(ParseError::from)
    };
    parsed.map_err(|error| {
        words.extend(invocation.args.iter().cloned());
        ParseFailure { error, words }
    })
}

fn program_line(applet: Applet, words: &[OsString]) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(applet.name())).chain(words.iter().cloned())
}

/// Parses the command line with the settings. The output formats in the settings are added
/// to `formats` as words.
fn parse_with_settings<T: ProgramArgs>(
    applet: Applet,
    invocation: &Invocation,
    formats: &mut Vec<OsString>,
) -> Result<(T, GivenOptions), ParseError> {
    let words = &invocation.args;
    // An option may be valid only with a setting, as --smtp with `alert`.
    let mut lenient = T::command().ignore_errors(true);
    let matches = lenient.try_get_matches_from_mut(program_line(applet, words))?;
    let mut strict = T::command();
    let Some(line) = CommandLine::new(&lenient, &matches, words) else {
        return Ok(given_options::parse(&mut strict, program_line(applet, words))?);
    };
    let sections = read_sections(applet, &line, invocation)?;
    formats.extend(sections.iter().flat_map(output_formats));
    let mut sources = Vec::new();
    for section in &sections {
        let options = file_options(section, line.command, |option| {
            let line = program_line(applet, line.subcommand).chain([option]);
            strict.try_get_matches_from_mut(line).map(drop)
        });
        sources.push(options.map_err(|error| ParseError::Settings(error.to_problem()))?);
    }
    let given = GivenOptions::new(line.matches);
    let later_keys = OptionKey::of_command_line(&given, line.matches);
    let (arguments, password) = split(effective_options(line.command, sources, later_keys));
    let words = [line.subcommand, &arguments, line.options].concat();
    let (mut args, _) = given_options::parse::<T>(&mut strict, program_line(applet, &words))?;
    if let (Some(sample), Some(password)) = (args.sample_mut(), password) {
        sample.ssh.password = Some(password);
    }
    Ok((args, given))
}

/// Command line that selects settings.
struct CommandLine<'a> {
    /// Command or subcommand that has the options.
    command: &'a Command,
    matches: &'a ArgMatches,
    locations: Vec<SettingsLocation>,
    /// Word of the subcommand; empty without a subcommand.
    subcommand: &'a [OsString],
    /// Words after it.
    options: &'a [OsString],
}

impl<'a> CommandLine<'a> {
    /// Returns `None` if the command line selects no settings, or has options before its
    /// subcommand, which is a usage error.
    fn new(command: &'a Command, matches: &'a ArgMatches, words: &'a [OsString]) -> Option<Self> {
        let (command, matches, n_before) = match matches.subcommand() {
            Some((name, matches)) if words.first().is_some_and(|word| word == name) => {
                (command.find_subcommand(name)?, matches, 1)
            }
            Some(_) => return None,
            None => (command, matches, 0),
        };
        let locations = matches.try_get_many::<SettingsLocation>("extra_opts").ok()??;
        let (subcommand, options) = words.split_at(n_before);
        let locations = locations.cloned().collect();
        Some(Self { command, matches, locations, subcommand, options })
    }
}

fn output_formats(section: &SettingsSection) -> Vec<OsString> {
    let formats = section.settings.iter().filter(|setting| setting.key == "output");
    formats.map(|setting| format!("--output={}", setting.value.reveal()).into()).collect()
}

/// Reads the sections on another thread: a network file system may not answer, and signals
/// are blocked.
fn read_sections(
    applet: Applet,
    line: &CommandLine<'_>,
    invocation: &Invocation,
) -> Result<Vec<SettingsSection>, ParseError> {
    let default_timeout = Timeout { after: DEFAULT_TIMEOUT, status: Status::Unknown };
    let timeout = line.matches.get_one::<Timeout>("timeout").copied().unwrap_or(default_timeout);
    let places: Vec<_> = line.locations.iter().map(|it| place(it, applet, invocation)).collect();
    let activity = activity(&places);
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        let sections = places.iter().map(|(files, section)| settings_file::read(files, section));
        // The receiver is gone after a timeout.
        let _ = sender.send(sections.collect::<Result<Vec<_>, SettingsFileError>>());
    };
    watchdog::spawn_thread(work).map_err(ParseError::Settings)?;
    match signals::receive(&receiver, Some(invocation.started + timeout.after)) {
        Ok(sections) => sections.map_err(|error| ParseError::Settings(error.to_problem())),
        Err(interruption) => {
            let failure = watchdog::run_failure(interruption, timeout.after, &activity);
            Err(ParseError::Interrupted(failure, timeout.status))
        }
    }
}

/// Candidate files, of which the first existing one is read, and the name of the section.
type Place = (Vec<PathBuf>, String);

fn place(location: &SettingsLocation, applet: Applet, invocation: &Invocation) -> Place {
    let files = match &location.file {
        Some(file) => vec![file.clone()],
        None => default_files(invocation),
    };
    (files, location.section.clone().unwrap_or_else(|| applet.name().to_owned()))
}

/// Returns the activity of reading these files, for messages.
fn activity(places: &[Place]) -> String {
    let mut files: Vec<_> = places.iter().flat_map(|(files, _)| files).collect();
    files.dedup();
    let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    format!("reading the settings in {}", names.join(" or "))
}

/// Returns the paths of the default settings file, in the order in which they are tried.
fn default_files(invocation: &Invocation) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        invocation.env_var("MP_CONFIG_FILE").map(PathBuf::from).into_iter().collect();
    let directories = invocation.env_var("NAGIOS_CONFIG_PATH").unwrap_or_default();
    for directory in std::env::split_paths(directories).filter(|it| !it.as_os_str().is_empty()) {
        files.extend(FILE_NAMES.map(|name| directory.join(name)));
    }
    files.push(PathBuf::from(DEFAULT_FILE));
    files
}

/// Returns the options of all sections, except those that later sections or the command
/// line replace, and except the mail options if no alert mail is requested.
fn effective_options(
    command: &Command,
    sources: Vec<Vec<FileOption>>,
    mut later_keys: Vec<OptionKey>,
) -> Vec<FileOption> {
    let mut options = Vec::new();
    for mut source in sources.into_iter().rev() {
        source.retain(|option| !later_keys.iter().any(|it| it.replaces(&option.key, command)));
        for option in &source {
            if !later_keys.contains(&option.key) {
                later_keys.push(option.key.clone());
            }
        }
        source.append(&mut options);
        options = source;
    }
    if later_keys.iter().all(|key| key.id != "alert") {
        let mail_options = options_with_alert();
        options.retain(|option| !mail_options.contains(&option.flag));
    }
    options
}

/// Returns the words of the options, and the last password.
fn split(options: Vec<FileOption>) -> (Vec<OsString>, Option<Secret>) {
    let (mut arguments, mut password) = (Vec::new(), None);
    for FileOption { value, .. } in options {
        match value {
            OptionValue::Argument(argument) => arguments.push(argument),
            OptionValue::Password(secret) => password = Some(secret),
            OptionValue::Off => {}
        }
    }
    (arguments, password)
}
