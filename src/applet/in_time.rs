//! A run that is over in time, whatever it hangs in, and when it is told to end.
use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    mail,
    report::Report,
    run::{self, Progress, Stage},
    signals::{self, Ending, Interruption},
    terminal::Settings,
};

use super::{
    Failure, Invocation,
    args::{SampleArgs, Timeout},
    request::{self, Asked},
    target,
};

/// How long a run that is about to write its state file may take beyond its
/// time, or when it is told to end, so that it leaves nothing half done.
const GRACE: Duration = Duration::from_millis(300);
/// How long it may take to read as much of an answer, where the machine has
/// other things to do.
const A_MEBIBYTE: Duration = Duration::from_millis(20);

/// Until when the answer has to be out.
pub(super) fn until(timeout: Timeout, invocation: &Invocation) -> Instant {
    invocation.started + timeout.after + GRACE
}

/// Samples and judges as the options ask for, and puts what came of it into
/// words by `tell`: on a thread of its own that is waited for as long as it is
/// given. A million addresses take their time to be told, too.
///
/// # Errors
///
/// Where there is no verdict, or none in time, or none before it was told to end.
pub(super) fn told<T: Send + 'static>(
    args: SampleArgs,
    asked: Asked,
    invocation: &Invocation,
    tell: impl FnOnce(Report) -> T + Send + 'static,
) -> Result<T, Failure> {
    let Timeout { after, .. } = target::timeout(&args, invocation);
    let terminal = Settings::now();
    let progress = Arc::new(Progress::default());
    let (sender, outcomes) = mpsc::channel();
    let started = invocation.started;
    let input = args.look.input.clone();
    let worker = {
        let progress = Arc::clone(&progress);
        let invocation = invocation.clone();
        move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
                run(args, asked, &invocation, &progress).map(tell)
            }))
            .unwrap_or_else(|panic: Box<dyn Any + Send>| Err(Failure::internal(&*panic)));
            // Nobody waits any more: the time was up.
            let _ = sender.send(outcome);
        }
    };
    start(worker)?;
    let outcome = signals::receive(&outcomes, Some(started + after)).or_else(|why| {
        if progress.leave() {
            return Err(why);
        }
        signals::receive(&outcomes, Some(Instant::now() + GRACE)).map_err(|_| why)
    });
    drop(terminal);
    outcome.unwrap_or_else(|why| {
        // What has been started for a mail ends with who has started it.
        mail::end();
        Err(interrupted(why, after, &doing(progress.stage(), input)))
    })
}

/// Does `work` on a thread of its own, until a signal says that it is to end.
///
/// # Errors
///
/// Where one did, or there is no such thread.
pub(super) fn unless_ended<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (sender, outcomes) = mpsc::channel();
    start(move || {
        let outcome = panic::catch_unwind(AssertUnwindSafe(work))
            .map_err(|panic: Box<dyn Any + Send>| Failure::internal(&*panic));
        // As above.
        let _ = sender.send(outcome);
    })?;
    signals::receive(&outcomes, None)
        .unwrap_or_else(|why| Err(interrupted(why, Duration::ZERO, doing)))
}

fn start(worker: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = thread::Builder::new().spawn(worker);
    started.map(drop).map_err(|error| {
        let more = "May this user have another process (ulimit -u), and so much more memory?";
        Failure::new(&format!("cannot start a thread: {error}"), vec![more.to_owned()])
    })
}

/// Whether there is time left for who reads an answer to take so many bytes of it.
pub(super) fn is_left_for(n_bytes: usize, timeout: Timeout, invocation: &Invocation) -> bool {
    let reading = A_MEBIBYTE * u32::try_from(n_bytes >> 20).unwrap_or(u32::MAX);
    invocation.started.elapsed() + reading <= timeout.after
}

/// Why there is no answer where there was one, too long to be given in time.
pub(super) fn too_long(n_bytes: usize, timeout: Timeout) -> Failure {
    let (size, after) = (n_bytes >> 20, timeout.after.as_secs());
    let problem =
        format!("no answer within {after} s: it has {size} MiB, which take too long to give");
    let more = "Give it more time with --timeout, or ask for less: fewer -v, or --prefix6 64.";
    Failure { is_late: true, ..Failure::new(&problem, vec![more.to_owned()]) }
}

fn doing(stage: Stage, input: Option<PathBuf>) -> String {
    match (stage, input) {
        (Stage::Sampling, Some(path)) => format!("reading {}", path.display()),
        (stage, _) => stage.doing().to_owned(),
    }
}

fn interrupted(why: Interruption, after: Duration, doing: &str) -> Failure {
    match why {
        Interruption::Late => late(after, doing),
        Interruption::Told(signal) => ended(signal, doing),
    }
}

fn ended(signal: Ending, doing: &str) -> Failure {
    let more = match signal.is_of_a_limit() {
        true => "Allow it more CPU time: ulimit -t, or LimitCPU of its unit.",
        false => "Who ended it? If it was the monitoring, put --timeout below what that allows.",
    };
    Failure::new(&format!("ended by {signal} while {doing}"), vec![more.to_owned()])
}

fn late(after: Duration, doing: &str) -> Failure {
    let more = "Give it more time with --timeout, below what the monitoring allows.".to_owned();
    Failure {
        is_late: true,
        ..Failure::new(
            &format!("no answer within {} s, while {doing}", after.as_secs()),
            vec![more],
        )
    }
}

fn run(
    args: SampleArgs,
    asked: Asked,
    invocation: &Invocation,
    progress: &Progress,
) -> Result<Report, Failure> {
    let check = request::check(args, asked, invocation)?;
    // Cut to seconds once: the sum of two that are cut may be a second early,
    // and the sample of a run just before would lie in the future.
    let now = || (invocation.now + invocation.started.elapsed()).as_secs();
    run::check(check, now, progress).map_err(|error| Failure {
        is_late: matches!(error, run::Error::NoAnswer { .. }),
        ..Failure::new(&run::chain(&error), error.more())
    })
}
