//! A run that is over in time, whatever it hangs in.
use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    report::Report,
    run::{self, Progress, Stage},
    terminal::Settings,
};

use super::{
    Failure, Invocation,
    args::{SampleArgs, Timeout},
    request::{self, Asked},
    target,
};

/// How long a run that is about to write its state file may take beyond its
/// time, so that it leaves nothing half done.
const GRACE: Duration = Duration::from_millis(300);

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
/// Where there is no verdict, or none in time.
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
    thread::Builder::new()
        .spawn(worker)
        .map_err(|error| Failure::new(&format!("cannot start a thread: {error}"), Vec::new()))?;
    let left = after.saturating_sub(started.elapsed());
    let outcome = match outcomes.recv_timeout(left) {
        Err(RecvTimeoutError::Timeout) if progress.stage() >= Stage::Remembering => {
            outcomes.recv_timeout(GRACE)
        }
        outcome => outcome,
    };
    drop(terminal);
    outcome.unwrap_or_else(|_| Err(late(after, progress.stage(), input)))
}

/// Whether the time is up.
pub(super) fn is_over(timeout: Timeout, invocation: &Invocation) -> bool {
    invocation.started.elapsed() > timeout.after
}

/// Why there is no answer where there was one, too long to be given in time.
pub(super) fn too_long(timeout: Timeout) -> Failure {
    late(timeout.after, Stage::Reporting, None)
}

fn late(after: Duration, stage: Stage, input: Option<PathBuf>) -> Failure {
    let doing = match (stage, input) {
        (Stage::Sampling, Some(path)) => format!("reading {}", path.display()),
        (stage, _) => stage.doing().to_owned(),
    };
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
