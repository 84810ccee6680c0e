//! A run that is over in time, whatever it hangs in, and when it is told to end.
use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    notify::mail,
    output::Report,
    run::{self, Progress, Stage},
    sys::{
        process,
        signals::{self, Ending, Interruption},
        terminal,
    },
};

use super::{
    applet::{Answer, Applet, Failure, Invocation, deliver, panicked},
    args::{SampleArgs, Timeout},
    config::{self, Asked},
    target_config,
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
/// words by `tell`. A million addresses take their time to be told, too. When the
/// time is up, or a signal says so, this process ends with the answer that
/// `give_up` makes of that.
///
/// # Errors
///
/// Where there is no verdict.
pub(super) fn told<T>(
    args: SampleArgs,
    asked: Asked,
    invocation: &Invocation,
    tell: impl FnOnce(Report) -> T,
    give_up: impl FnOnce(Failure) -> Answer + Send + 'static,
) -> Result<T, Failure> {
    // To go on as another program is for one thread alone: who watches would be gone
    // with a signal that he has taken, or come to an answer beside it.
    if reaches_out(&args, &asked) {
        invocation.reach()?;
    }
    let Timeout { after, .. } = target_config::timeout(&args, invocation);
    let progress = Arc::new(Progress::default());
    let input = args.look.input.clone();
    let limit = Limit {
        applet: asked.applet,
        until: Some(invocation.started + after),
        progress: Arc::clone(&progress),
        give_up: move |why, stage| give_up(interrupted(why, after, &doing(stage, input))),
    };
    limit.keep(|| run(args, asked, invocation, &progress).map(tell))
}

/// Does `work`, until a signal says that this process is to end: with the answer
/// that `give_up` makes of that.
///
/// # Errors
///
/// Where nobody could look for signals meanwhile.
pub(super) fn unless_ended<T>(
    applet: Applet,
    doing: &'static str,
    work: impl FnOnce() -> T,
    give_up: impl FnOnce(Failure) -> Answer + Send + 'static,
) -> Result<T, Failure> {
    let progress = Arc::new(Progress::default());
    let give_up = move |why, _| give_up(interrupted(why, Duration::ZERO, doing));
    Limit { applet, until: None, progress, give_up }.keep(|| Ok(work()))
}

/// Whether a run has to do with other machines.
fn reaches_out(args: &SampleArgs, asked: &Asked) -> bool {
    let logs_in = args.look.hostname.iter().any(|server| !server.is_here());
    let mails = asked.alerting.as_ref().is_some_and(|it| it.mail.alert.is_some());
    cfg!(feature = "ssh") && logs_in || cfg!(feature = "mail") && mails
}

/// What ends this process before its work is done, and with which answer.
///
/// The work stays on the thread that it is on, whose memory is there already, and
/// another one waits beside it: for as long as most runs take, it does not wake up
/// once. Whoever comes first to an answer has the turn to give it, and the other
/// one gives none.
struct Limit<G> {
    applet: Applet,
    until: Option<Instant>,
    progress: Arc<Progress>,
    give_up: G,
}

impl<G> Limit<G>
where
    G: FnOnce(Interruption, Stage) -> Answer + Send + 'static,
{
    fn keep<T>(self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let is_taken = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&is_taken);
        start(move || self.watch(&watched))?;
        let outcome = panic::catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|panic: Box<dyn Any + Send>| Err(Failure::internal(&*panic)));
        while is_taken.swap(true, Ordering::AcqRel) {
            // It ends with the process.
            thread::park();
        }
        terminal::restore();
        outcome
    }

    fn watch(self, is_taken: &AtomicBool) {
        let Some(why) = signals::interruption(is_taken, self.until) else { return };
        let is_over = !self.progress.leave()
            && signals::interruption(is_taken, Some(Instant::now() + GRACE)).is_none();
        if is_over || is_taken.swap(true, Ordering::AcqRel) {
            // Whoever gives the answer now is to hear of it.
            why.pass_on();
            return;
        }
        // The other thread waits for ever: this one must not end without the process.
        let applet = self.applet;
        let exit_code = panic::catch_unwind(AssertUnwindSafe(|| self.end(why)))
            .unwrap_or_else(|panic| deliver(panicked(applet, &Failure::internal(&*panic)), applet));
        // The other one may have come to a question meanwhile.
        terminal::restore();
        process::end(exit_code);
    }

    fn end(self, why: Interruption) -> u8 {
        let stage = self.progress.stage();
        self.progress.stop();
        terminal::restore();
        // What has been started for a mail ends with who has started it.
        mail::end();
        let answer = (self.give_up)(why, stage);
        let until = match why {
            Interruption::Late => answer.until,
            // Who is told to end does not wait for a reader.
            Interruption::Told(_) => None,
        };
        deliver(Answer { until: until.or_else(|| Some(Instant::now())), ..answer }, self.applet)
    }
}

fn start(watch: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = thread::Builder::new().spawn(watch);
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
    let check = config::check(args, asked, invocation)?;
    // Cut to seconds once: the sum of two that are cut may be a second early,
    // and the sample of a run just before would lie in the future.
    let now = || (invocation.now + invocation.started.elapsed()).as_secs();
    run::check(check, now, progress).map_err(|error| Failure {
        is_late: matches!(error, run::Error::NoAnswer { .. }),
        ..Failure::new(&run::chain(&error), error.more())
    })
}
