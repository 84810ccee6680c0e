//! What a program of the suite is called, given and told, and which one it is.
//!
//! A package may ship one executable and links to it: the name that it is
//! called by decides, whatever it was built as.
use std::{
    any::Any,
    ffi::{OsStr, OsString},
    io::IsTerminal,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    model::{secret::Secret, verdict::Status},
    sys::{process, signals, stdio, terminal},
};

use super::{check_topip, munin_topip, remote::Reach, topip_log};

/// The programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applet {
    /// `check_topip`, for Nagios and Icinga.
    Check,
    /// `munin_topip`, for Munin.
    Munin,
    /// `topip_log`, for cron and people.
    Log,
}

impl Applet {
    /// The program that is meant by `name`; `None` where it could be any, as
    /// after somebody renamed it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
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

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check_topip",
            Self::Munin => "munin_topip",
            Self::Log => "topip_log",
        }
    }
}

/// The variable that may have the password for servers.
pub(in crate::cli) const PASSWORD: &str = "TOPIP_PASSWORD";

/// All that a program is given from outside.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The name that it is called by, without folders.
    pub name: String,
    /// The arguments after that.
    pub args: Vec<OsString>,
    /// The environment, but for the password.
    pub env: Vec<(OsString, OsString)>,
    /// The password that the environment has.
    pub password: Option<Secret>,
    /// When it began, since 1970-01-01 UTC.
    pub now: Duration,
    /// The same moment, by a clock that nobody sets.
    pub started: Instant,
    /// Whether a person is at the other end of standard input.
    pub has_terminal: bool,
    /// Whether one reads standard error.
    pub shows_errors: bool,
    /// How wide the terminal is that shows standard output, if any does.
    pub columns: Option<u16>,
    /// What this executable has to reach beyond this machine, if it has.
    pub(in crate::cli) reach: Option<Reach>,
}

impl Invocation {
    /// This process's own.
    #[expect(clippy::disallowed_methods, reason = "this is where they become values")]
    fn of_this_process(reach: Option<Reach>) -> Self {
        let name = called();
        let args = std::env::args_os().skip(1);
        let (now, started) = moment();
        // No copy of it is to be where it is not wiped.
        let (secret, env): (Vec<_>, Vec<_>) =
            std::env::vars_os().partition(|(name, _)| name == PASSWORD);
        let secrets: Vec<_> = secret.into_iter().map(|(_, text)| Secret::of(text)).collect();
        let password = secrets.into_iter().next().filter(|it| !it.reveal().is_empty());
        let has_terminal = std::io::stdin().is_terminal();
        let shows_errors = std::io::stderr().is_terminal();
        let columns = terminal::columns();
        let args = args.collect();
        Self { name, args, env, password, now, started, has_terminal, shows_errors, columns, reach }
    }

    /// A variable of the environment, where it is set to anything.
    pub(in crate::cli) fn variable(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.env.iter().find(|(key, _)| key == name)?;
        Some(&**value).filter(|value| !value.is_empty())
    }
}

/// What a program answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Answer {
    /// For standard output.
    pub(in crate::cli) output: String,
    /// For standard error.
    pub(in crate::cli) complaint: String,
    /// 0 to 3.
    pub(in crate::cli) exit_code: u8,
    /// Until when somebody may be waited for to take it.
    pub(in crate::cli) until: Option<Instant>,
}

/// Why a program came to no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Failure {
    /// What failed, on what, and why; on one line.
    pub(in crate::cli) problem: String,
    /// What else there is to say, and what to do.
    pub(in crate::cli) more: Vec<String>,
    /// Whether it is that the time was up.
    pub(in crate::cli) is_late: bool,
}

impl Failure {
    pub(in crate::cli) fn new(problem: &str, more: Vec<String>) -> Self {
        Self { problem: problem.to_owned(), more, is_late: false }
    }

    /// A panic is a mistake in topip.
    pub(in crate::cli) fn internal(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        let more = "This is a mistake in topip. Please report it with the command line.".to_owned();
        Self::new(&format!("internal error: {text}"), vec![more])
    }

    /// Whoever may start it would read and write, by its options, whatever its
    /// owner may.
    fn set_uid() -> Self {
        let more = "Take the bit from its file (chmod ug-s), and start it as that user: by sudo, \
                    or as a service of that user.";
        Self::new("cannot run set-uid or set-gid", vec![more.to_owned()])
    }
}

/// This moment by both clocks, the one that people set and the one that nobody does.
///
/// On a host that has no time to spare, a process may wait for seconds between two
/// looks. Every later time of the run would be off by that, and its sample in the
/// future of those that other runs take meanwhile.
#[expect(clippy::disallowed_methods, reason = "this is where time becomes a value")]
fn moment() -> (Duration, Instant) {
    const AT_ONCE: Duration = Duration::from_micros(100);
    let look = || {
        let started = Instant::now();
        // Before 1970 a clock is so wrong that 0 is as good.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (started.elapsed(), (now, started))
    };
    let mut looks = std::iter::repeat_with(look).take(10);
    let first = looks.next().expect("ten are some");
    if first.0 < AT_ONCE {
        return first.1;
    }
    looks.chain([first]).min_by_key(|&(apart, _)| apart).expect("one is there").1
}

/// What this process is called, without folders.
#[expect(clippy::disallowed_methods, reason = "the program that it is depends on that")]
fn called() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Runs this process as the program that its name says, or as `built_as`. Without a
/// `reach` of its own, it goes on as `topip-remote` where it needs one.
#[must_use]
pub fn main(built_as: Applet, reach: Option<Reach>) -> ExitCode {
    // What a panic has to say goes into the answer, not to standard error.
    panic::set_hook(Box::new(|_| {}));
    let applet = Applet::by_name(&called()).unwrap_or(built_as);
    // Options and environment are those of somebody with fewer rights.
    if process::has_borrowed_rights() {
        return deliver(panicked(applet, &Failure::set_uid()), applet).into();
    }
    let invocation = Invocation::of_this_process(reach);
    // Where that cannot be had, they end this process, and nothing else is amiss.
    let _ = signals::hold();
    let answer = panic::catch_unwind(AssertUnwindSafe(|| answer(applet, &invocation)))
        .unwrap_or_else(|panic| panicked(applet, &Failure::internal(&*panic)));
    deliver(answer, applet).into()
}

fn answer(applet: Applet, invocation: &Invocation) -> Answer {
    match applet {
        Applet::Check => check_topip::answer(invocation),
        Applet::Munin => munin_topip::answer(invocation),
        Applet::Log => topip_log::answer(invocation),
    }
}

/// The answer to a mistake in topip.
pub(in crate::cli) fn panicked(applet: Applet, failure: &Failure) -> Answer {
    match applet {
        Applet::Check => check_topip::panicked(failure),
        Applet::Munin => munin_topip::panicked(failure),
        Applet::Log => topip_log::failed(failure),
    }
}

/// How long somebody who reads is waited for, however late it is.
const LAST_MOMENT: Duration = Duration::from_millis(150);

/// Gives an answer, and the exit code that goes with it. One that cannot be given is
/// no OK; nor is one that nobody takes.
///
/// A pipe that is full is waited for on another thread, which ends with the
/// process: when the time is up, or a signal says so. Where there is room, that
/// thread would be a tenth of what a run takes.
pub(in crate::cli) fn deliver(answer: Answer, applet: Applet) -> u8 {
    let Answer { output, complaint, exit_code, until } = answer;
    // Silence takes no reader.
    if output.is_empty() && complaint.is_empty() {
        return exit_code;
    }
    let has_room = stdio::has_room_for(&output, &complaint);
    // Who has come to an answer at the last moment needs another one to give it.
    let until = until.map(|until| until.max(Instant::now() + LAST_MOMENT));
    let write = Arc::new(move || {
        stdio::to_standard_output(&output)
            .and_then(|()| stdio::to_standard_error(&complaint))
            .is_ok()
    });
    let is_delivered = if has_room { write() } else { written(&write, until) };
    match applet {
        _ if is_delivered => exit_code,
        Applet::Check | Applet::Munin => Status::Unknown.exit_code(),
        Applet::Log => topip_log::COULD_NOT,
    }
}

/// Whether somebody took what is written, until then.
fn written(write: &Arc<impl Fn() -> bool + Send + Sync + 'static>, until: Option<Instant>) -> bool {
    let (sender, delivered) = mpsc::channel();
    let writer = Arc::clone(write);
    let writer = thread::Builder::new().spawn(move || {
        // Nobody listens any more: the time was up.
        let _ = sender.send(writer());
    });
    match writer {
        Ok(_) => signals::receive(&delivered, until).unwrap_or(false),
        // Somebody will take it, most likely, and nobody else can wait for him.
        Err(_) => write(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        let by_name = |name| Applet::by_name(name).map(Applet::name);
        for name in ["check_topip", "check_topip_web", "check_x"] {
            assert_eq!(by_name(name), Some("check_topip"));
        }
        for name in ["topip_log", "topip_log.old", "topip_log_web"] {
            assert_eq!(by_name(name), Some("topip_log"));
        }
        for name in ["munin_topip", "topip", "topip_", "topip_web1", "ssh_web1.example_topip"] {
            assert_eq!(by_name(name), Some("munin_topip"));
        }
        for name in ["", "foo", "ssh_web1", "topip.old", "mycheck"] {
            assert_eq!(by_name(name), None);
        }
    }
}
