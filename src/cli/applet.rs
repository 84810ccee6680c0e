//! Program selection.
//!
//! A package may ship one executable and links to it: the name of the called file
//! selects the program; the build target is only the default.
use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use crate::{
    model::problem::Problem,
    sys::{child_process, process, signals},
};

use super::{
    check_topip,
    invocation::{Invocation, program_name},
    munin_topip,
    program_output::{ProgramOutput, write_output},
    remote::RemoteSupport,
    topip_log,
};

/// A program of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applet {
    /// `check_topip`, for Nagios and Icinga.
    Check,
    /// `munin_topip`, for Munin.
    Munin,
    /// `topip_log`, for cron and interactive use.
    Log,
}

impl Applet {
    /// Returns the program for a file name, or `None` if the name matches no program, for
    /// example after an administrator has renamed the file.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is_munin_link = name.starts_with("munin_")
            || name == "topip"
            || name.starts_with("topip_")
            || (name.starts_with("ssh_") && name.ends_with("_topip"));
        match name {
            _ if name.starts_with("check_") => Some(Self::Check),
            _ if name.starts_with("topip_log") => Some(Self::Log),
            _ if is_munin_link => Some(Self::Munin),
            _ => None,
        }
    }

    /// Returns the name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check_topip",
            Self::Munin => "munin_topip",
            Self::Log => "topip_log",
        }
    }
}

/// Runs the program that the name of this process selects, or else `default_applet`.
///
/// Without `remote_support`, a run that needs SSH or mail executes `topip-remote`.
#[must_use]
pub fn main(default_applet: Applet, remote_support: Option<RemoteSupport>) -> ExitCode {
    // The output reports a panic; the default hook would write to standard error.
    panic::set_hook(Box::new(|_| {}));
    let applet = Applet::from_name(&program_name()).unwrap_or(default_applet);
    // A caller with fewer privileges controls the options and the environment.
    if process::is_setid() {
        return write_output(failure_output(applet, &setid_problem()), applet).into();
    }
    let invocation = Invocation::from_current_process(remote_support);
    // If blocking fails, signals end this process by their default action.
    let _ = signals::block();
    let output = panic::catch_unwind(AssertUnwindSafe(|| run_applet(applet, &invocation)))
        .unwrap_or_else(|panic| failure_output(applet, &internal_error(&*panic)));
    // An SSH client is still running if its server gave no answer in time.
    child_process::kill_all_and_forbid();
    write_output(output, applet).into()
}

fn run_applet(applet: Applet, invocation: &Invocation) -> ProgramOutput {
    match applet {
        Applet::Check => check_topip::run(invocation),
        Applet::Munin => munin_topip::run(invocation),
        Applet::Log => topip_log::run(invocation),
    }
}

/// Returns the output of `applet` for a failure outside of its own error handling.
pub(in crate::cli) fn failure_output(applet: Applet, failure: &Problem) -> ProgramOutput {
    match applet {
        Applet::Check => check_topip::unknown_output(failure),
        Applet::Munin => munin_topip::failure_output(failure),
        Applet::Log => topip_log::failure_output(failure),
    }
}

/// Returns the problem of a panic, which is always a bug in topip.
pub(in crate::cli) fn internal_error(panic: &(dyn Any + Send)) -> Problem {
    let reason = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    Problem::new(
        format!("internal error: {reason}"),
        "This is a bug in topip. Please report it with the command line.",
    )
}

/// Returns the problem of a set-uid or set-gid executable: its options would let any
/// caller read and write the files of its owner.
fn setid_problem() -> Problem {
    Problem::new(
        "cannot run set-uid or set-gid",
        "Remove the bit from the executable (chmod ug-s), and run it as that user: with sudo, or \
         as a service of that user.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_chosen_by_name() {
        let program = |name| Applet::from_name(name).map(Applet::name);
        for name in ["check_topip", "check_topip_web", "check_x"] {
            assert_eq!(program(name), Some("check_topip"));
        }
        for name in ["topip_log", "topip_log.old", "topip_log_web"] {
            assert_eq!(program(name), Some("topip_log"));
        }
        for name in ["munin_topip", "topip", "topip_", "topip_web1", "ssh_web1.example_topip"] {
            assert_eq!(program(name), Some("munin_topip"));
        }
        for name in ["", "foo", "ssh_web1", "topip.old", "mycheck"] {
            assert_eq!(program(name), None);
        }
    }
}
