//! Watchdog: ends a run at its time limit or on a signal, wherever the run blocks.
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
    model::problem::{Hints, Problem},
    output::Report,
    run::{self, Progress, Stage},
    sys::{
        child_process, process,
        signals::{self, Interruption, TerminationSignal},
        terminal,
    },
};

use super::{
    applet::{Applet, failure_output, internal_error},
    args::{SampleArgs, Timeout},
    config::{self, RunOptions},
    invocation::Invocation,
    program_output::{ProgramOutput, write_output},
    target_config,
};

/// Extra time, after a timeout or a signal, for a run that is saving its state file, so
/// that the run can finish.
const GRACE_PERIOD: Duration = Duration::from_millis(300);
/// Capacity of a pipe: shorter output does not block (pipe(7)).
const PIPE_CAPACITY_BYTES: usize = 64 * 1024;
/// Time that a reader of the output may need per MiB on a busy host.
const READ_TIME_PER_MIB: Duration = Duration::from_millis(20);

/// Reason that a run has no report.
#[derive(Clone, Debug)]
pub(super) enum RunFailure {
    /// The time limit was reached.
    TimedOut(Problem),
    /// Anything else.
    Failed(Problem),
}

impl From<Problem> for RunFailure {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl RunFailure {
    /// Returns the problem to show.
    pub(super) fn into_problem(self) -> Problem {
        match self {
            Self::TimedOut(problem) | Self::Failed(problem) => problem,
        }
    }
}

/// Returns the time by which the output must be written.
pub(super) fn write_deadline(timeout: Timeout, invocation: &Invocation) -> Instant {
    invocation.started + timeout.after + GRACE_PERIOD
}

/// Runs the check and renders its report with `render`, which the time limit includes:
/// rendering a million addresses takes time. On a timeout or a signal, this process
/// exits with the output of `on_timeout`.
///
/// # Errors
///
/// Returns an error if the run has no verdict.
pub(super) fn run_with_timeout<T>(
    args: SampleArgs,
    options: RunOptions,
    invocation: &Invocation,
    render: impl FnOnce(Report) -> T,
    on_timeout: impl FnOnce(RunFailure) -> ProgramOutput + Send + 'static,
) -> Result<T, RunFailure> {
    // Call execve before starting the watchdog thread: execve ends the other threads,
    // and a signal that the watchdog has consumed would be lost. Before execve, the
    // watchdog could also write output of its own.
    if needs_remote_support(&args, &options) {
        invocation.require_remote_support()?;
    }
    let Timeout { after, .. } = target_config::timeout(&args, invocation);
    let progress = Arc::new(Progress::default());
    let files = FilesToRead::new(&args, &options);
    let watchdog = Watchdog {
        applet: options.applet,
        deadline: Some(invocation.started + after),
        progress: Arc::clone(&progress),
        on_timeout: move |interruption, stage| {
            on_timeout(run_failure(interruption, after, &files.activity(stage)))
        },
    };
    watchdog.run(|| run(args, options, invocation, &progress).map(render))
}

/// Runs `work` without a time limit. On a termination signal, this process exits with
/// the output of `on_signal`.
///
/// # Errors
///
/// Returns an error if the watchdog thread cannot be started, or if `work` panics.
pub(super) fn run_until_signal<T>(
    applet: Applet,
    activity: &'static str,
    work: impl FnOnce() -> T,
    on_signal: impl FnOnce(Problem) -> ProgramOutput + Send + 'static,
) -> Result<T, Problem> {
    let watchdog = Watchdog {
        applet,
        deadline: None,
        progress: Arc::new(Progress::default()),
        on_timeout: move |interruption, _| {
            on_signal(run_failure(interruption, Duration::ZERO, activity).into_problem())
        },
    };
    watchdog.run(|| Ok(work())).map_err(RunFailure::into_problem)
}

/// Returns `true` if the run needs SSH or mail.
fn needs_remote_support(args: &SampleArgs, options: &RunOptions) -> bool {
    let has_servers = args.selection.hostname.iter().any(|server| !server.is_local());
    let needs_ssh = has_servers && args.ssh.rsh.is_none();
    let needs_mail = options.notify.as_ref().is_some_and(|it| it.mail.alert.is_some());
    cfg!(feature = "ssh") && needs_ssh || cfg!(feature = "mail") && needs_mail
}

/// Ends this process on a timeout or a signal, with the output of `on_timeout`.
///
/// The work stays on the calling thread, whose memory is mapped already, and a second
/// thread waits; most runs end before it wakes up. The thread that finishes first
/// writes the output; the other one writes nothing.
struct Watchdog<G> {
    applet: Applet,
    deadline: Option<Instant>,
    progress: Arc<Progress>,
    on_timeout: G,
}

impl<G> Watchdog<G>
where
    G: FnOnce(Interruption, Stage) -> ProgramOutput + Send + 'static,
{
    /// Runs `work` on this thread and watches it from another one.
    fn run<T>(self, work: impl FnOnce() -> Result<T, RunFailure>) -> Result<T, RunFailure> {
        let is_claimed = Arc::new(AtomicBool::new(false));
        let watchdog_claim = Arc::clone(&is_claimed);
        spawn_thread(move || self.watch(&watchdog_claim))?;
        let outcome = panic::catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|panic: Box<dyn Any + Send>| Err(internal_error(&*panic).into()));
        while is_claimed.swap(true, Ordering::AcqRel) {
            // The watchdog writes the output and ends the process.
            thread::park();
        }
        terminal::restore();
        outcome
    }

    /// Waits for a timeout, a signal or the end of the work.
    fn watch(self, is_claimed: &AtomicBool) {
        let Some(interruption) = signals::wait_until_finished(is_claimed, self.deadline) else {
            return;
        };
        let is_finished = !self.progress.try_abandon()
            && signals::wait_until_finished(is_claimed, Some(Instant::now() + GRACE_PERIOD))
                .is_none();
        if is_finished || is_claimed.swap(true, Ordering::AcqRel) {
            // The other thread writes the output and must see the signal.
            interruption.reraise();
            return;
        }
        // The other thread waits forever: this one must end the process, even if it panics.
        let applet = self.applet;
        let exit_code =
            panic::catch_unwind(AssertUnwindSafe(|| self.write_interruption(interruption)))
                .unwrap_or_else(|panic| {
                    write_output(failure_output(applet, &internal_error(&*panic)), applet)
                });
        // Meanwhile, the other thread may have started a prompt, which disables echo.
        terminal::restore();
        process::exit(exit_code);
    }

    /// Writes the output for an interruption and returns the exit code.
    fn write_interruption(self, interruption: Interruption) -> u8 {
        let stage = self.progress.stage();
        self.progress.abandon();
        terminal::restore();
        // An SSH client or sendmail must not outlive the program that started it.
        child_process::kill_all_and_forbid();
        let output = (self.on_timeout)(interruption, stage);
        let write_deadline = match interruption {
            Interruption::TimedOut => output.write_deadline,
            // After a signal, do not wait for the reader.
            Interruption::Signaled(_) => None,
        };
        write_output(
            ProgramOutput {
                write_deadline: write_deadline.or_else(|| Some(Instant::now())),
                ..output
            },
            self.applet,
        )
    }
}

/// Starts a thread.
pub(super) fn spawn_thread(work: impl FnOnce() + Send + 'static) -> Result<(), Problem> {
    let spawned = thread::Builder::new().spawn(work);
    spawned.map(drop).map_err(|error| {
        Problem::new(
            format!("cannot start a thread: {error}"),
            "Check the limits of this user: processes (ulimit -u) and memory (ulimit -v).",
        )
    })
}

/// Returns `true` if the reader can read `n_bytes` of output before the timeout.
pub(super) fn has_time_to_read(n_bytes: usize, timeout: Timeout, invocation: &Invocation) -> bool {
    let read_time = READ_TIME_PER_MIB * u32::try_from(n_bytes >> 20).unwrap_or(u32::MAX);
    n_bytes <= PIPE_CAPACITY_BYTES || invocation.started.elapsed() + read_time <= timeout.after
}

/// Returns the failure for output that is too long to be written in time.
pub(super) fn output_too_long(n_bytes: usize, timeout: Timeout) -> RunFailure {
    let (size, after) = (n_bytes >> 20, timeout.after.as_secs());
    RunFailure::TimedOut(Problem::new(
        format!("no answer within {after} s: writing {size} MiB of output takes too long"),
        "Increase `--timeout`, or reduce the output: fewer -v, or `--prefix6` 64.",
    ))
}

/// Files that a run reads. Each may be a pipe that no process writes to.
struct FilesToRead {
    secrets: Vec<PathBuf>,
    network_dbs: Vec<PathBuf>,
    network_lists: Vec<PathBuf>,
    input: Vec<PathBuf>,
}

impl FilesToRead {
    fn new(args: &SampleArgs, options: &RunOptions) -> Self {
        let SampleArgs { selection, ssh, .. } = args;
        let mail = options.notify.as_ref().map(|notify| &notify.mail);
        let secrets = [&ssh.password_file, &ssh.passphrase_file].into_iter();
        let secrets = secrets.chain(mail.map(|mail| &mail.smtp_password_file)).flatten();
        let network_lists = selection.exclude_file.iter().chain(&selection.label_file);
        Self {
            secrets: secrets.cloned().collect(),
            network_dbs: selection.network_db.clone(),
            network_lists: network_lists.cloned().collect(),
            input: selection.input.iter().cloned().collect(),
        }
    }

    /// Returns the activity of a stage, for messages.
    fn activity(&self, stage: Stage) -> String {
        let (object, files) = match stage {
            Stage::Secrets => ("the secret in ", &self.secrets),
            Stage::NetworkDbs => ("the network database ", &self.network_dbs),
            Stage::NetworkLists => ("the list of networks in ", &self.network_lists),
            Stage::Sampling => ("", &self.input),
            stage => return stage.description().to_owned(),
        };
        if files.is_empty() {
            return stage.description().to_owned();
        }
        let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
        format!("reading {object}{}", names.join(" or "))
    }
}

pub(super) fn run_failure(
    interruption: Interruption,
    after: Duration,
    activity: &str,
) -> RunFailure {
    match interruption {
        Interruption::TimedOut => RunFailure::TimedOut(Problem::new(
            format!("no answer within {} s, while {activity}", after.as_secs()),
            "Increase `--timeout`, but keep it below the timeout of the monitoring system.",
        )),
        Interruption::Signaled(signal) => RunFailure::Failed(signal_problem(signal, activity)),
    }
}

fn signal_problem(signal: TerminationSignal, activity: &str) -> Problem {
    let hint = if signal.is_cpu_limit() {
        "Allow more CPU time: ulimit -t, or LimitCPU= of the systemd unit."
    } else {
        "If the monitoring system ended the run, set `--timeout` below its timeout."
    };
    Problem::new(format!("ended by {signal} while {activity}"), hint)
}

/// Configures and runs the check.
fn run(
    args: SampleArgs,
    options: RunOptions,
    invocation: &Invocation,
    progress: &Progress,
) -> Result<Report, RunFailure> {
    let check_config = config::check_config(args, options, invocation)?;
    run::check(check_config, || unix_seconds(invocation), progress).map_err(|error| match error {
        run::Error::TimedOut { .. } => RunFailure::TimedOut(error.to_problem()),
        error => RunFailure::Failed(error.to_problem()),
    })
}

/// Returns the current time in seconds since 1970-01-01 UTC.
fn unix_seconds(invocation: &Invocation) -> u64 {
    // Truncate to seconds only once: a sum of two truncated values can be a second too
    // early, and the sample of a run just before would then be in the future.
    (invocation.now + invocation.started.elapsed()).as_secs()
}
