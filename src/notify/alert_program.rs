//! Passes alerts to a program of the administrator, such as a webhook client or a
//! firewall script.
use std::{
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::fs::{Access, access};

use crate::{
    model::problem::Hints,
    sys::child_process::{ProgramEnd, RunError, run_with_input},
};

/// Failure to pass alerts to a program.
#[derive(Debug, thiserror::Error)]
pub enum AlertProgramError {
    /// The program cannot be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// Path of the program.
        program: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The program failed.
    #[error("{} ended with {code}{}", program.display(), parenthesized(output))]
    Failed {
        /// Path of the program.
        program: PathBuf,
        /// Exit status, or the signal that killed the program, as a phrase.
        code: String,
        /// Beginning of its standard error output.
        output: String,
    },
    /// The program did not end before the deadline.
    #[error("{} did not end in time and was killed{}", program.display(), unread_input(*has_read_all))]
    TimedOut {
        /// Path of the program.
        program: PathBuf,
        /// True if the program had read all of its input.
        has_read_all: bool,
    },
    /// No thread can be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

fn parenthesized(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

fn unread_input(has_read_all: bool) -> &'static str {
    if has_read_all { "" } else { ", before it had read its input" }
}

impl Hints for AlertProgramError {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Run { .. } => {
                "Name an executable file in `--exec`; a script needs a line such as #!/bin/sh."
            }
            Self::Failed { .. } => "See the log of the program, if it writes one.",
            Self::TimedOut { .. } => "Let the program do slow work in the background, or raise -t.",
            Self::Thread(_) => {
                "Raise the limit on processes (ulimit -u) of the user that runs the check."
            }
        };
        vec![hint.to_owned()]
    }
}

/// Runs `program` without arguments and with `input` as its standard input; kills the
/// program if it has not ended by `deadline`.
///
/// # Errors
///
/// Returns an error if the program does not end with exit status 0.
pub fn run(program: &Path, input: Vec<u8>, deadline: Instant) -> Result<(), AlertProgramError> {
    let program_path = program.to_owned();
    match run_with_input(&[program.as_os_str()], input, deadline) {
        Ok(ProgramEnd::Success) => Ok(()),
        Ok(ProgramEnd::Failed { code, output }) => {
            Err(AlertProgramError::Failed { program: program_path, code, output })
        }
        Ok(ProgramEnd::TimedOut { has_read_all }) => {
            Err(AlertProgramError::TimedOut { program: program_path, has_read_all })
        }
        Err(RunError::Program(source)) => {
            Err(AlertProgramError::Run { program: program_path, source })
        }
        Err(RunError::Thread(source)) => Err(AlertProgramError::Thread(source)),
    }
}

/// Tests whether this user may execute `program`, without running it.
///
/// # Errors
///
/// Returns an error if the program cannot be run.
pub fn probe(program: &Path) -> Result<(), AlertProgramError> {
    let result = access(program, Access::EXEC_OK).map_err(io::Error::from);
    let result = match result {
        // A directory has the same mode bit, as the permission to search it.
        Ok(()) if program.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        result => result,
    };
    result.map_err(|source| AlertProgramError::Run { program: program.to_owned(), source })
}
