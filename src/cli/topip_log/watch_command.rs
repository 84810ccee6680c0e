//! `topip_log watch`: shows the busiest addresses continuously.
use std::{
    path::Path,
    sync::mpsc::{self, SyncSender},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cli::{
        Applet, Invocation,
        args::WatchArgs,
        config::{self, ListLimit, RunOptions},
        program_output::ProgramOutput,
        target_config,
    },
    model::problem::Problem,
    model::problem::error_chain,
    output::{self, WatchFrame},
    run::{Target, WatchSession, WatchUpdate},
    sys::{
        local_time,
        signals::{self, SignalEvent, SignalWaiter},
        stdio, terminal,
    },
};

use super::{EXIT_FAILURE, EXIT_USAGE, failure_output};

/// Maximum number of listed addresses; a screen has fewer rows.
const MAX_ROWS: usize = 500;

/// Maximum time to write the last frame and to restore the terminal: the reader of
/// standard output may be blocked.
const MAX_SHUTDOWN_TIME: Duration = Duration::from_millis(150);

/// Event for the display thread.
enum DisplayEvent {
    /// New frame: a sample, or the error instead.
    Sampled(Box<WatchFrame>),
    /// New size of the terminal; the latest frame is shown again.
    Resized,
    /// Restore the terminal and stop the process until the shell continues it.
    Suspend,
    /// End of the display.
    Stop,
}

/// Reason for the end of a watch: `None` for a signal or a key, or the result of the display
/// thread.
type WatchOutcome = Option<Result<(), (Problem, u8)>>;

/// Shows samples until a signal, or until the reader closes standard output.
pub(super) fn run(args: WatchArgs, invocation: &Invocation) -> ProgramOutput {
    // A prompt for a password would appear for every sample.
    let invocation = &Invocation { interactive: false, ..invocation.clone() };
    match start(args, invocation).and_then(|threads| threads.wait()) {
        Ok(()) => ProgramOutput::default(),
        Err((failure, exit_code)) => ProgramOutput { exit_code, ..failure_output(&failure) },
    }
}

/// Channels of the threads of a watch.
struct WatchThreads {
    events: SyncSender<DisplayEvent>,
    outcomes: mpsc::Receiver<WatchOutcome>,
}

impl WatchThreads {
    /// Waits for a signal, a key, or the end of the display. Restores the terminal.
    fn wait(&self) -> Result<(), (Problem, u8)> {
        let outcome = self.wait_for_end();
        terminal::restore();
        outcome
    }

    fn wait_for_end(&self) -> Result<(), (Problem, u8)> {
        // The signal thread keeps the channel open until it has sent an outcome.
        if let Some(outcome) = self.outcomes.recv().unwrap_or_default() {
            return outcome;
        }
        // If the display thread is blocked in a write, do not wait for it.
        let _ = self.events.try_send(DisplayEvent::Stop);
        let _ = self.outcomes.recv_timeout(MAX_SHUTDOWN_TIME);
        Ok(())
    }
}

/// Starts the threads for sampling, display and signals. Signals have a thread of their
/// own, so that they work while the display is blocked in a write.
fn start(args: WatchArgs, invocation: &Invocation) -> Result<WatchThreads, (Problem, u8)> {
    let WatchArgs { interval, sample, .. } = args;
    if sample.selection.input.as_deref() == Some(Path::new("-")) {
        let hint = "It can be read only once. Name a file that is rewritten regularly.".to_owned();
        return Err((Problem::with_hints("cannot watch standard input", vec![hint]), EXIT_USAGE));
    }
    let timeout = target_config::timeout(&sample, invocation).after;
    let options = RunOptions {
        applet: Applet::Log,
        list_limit: ListLimit::Top,
        notify: None,
        count_tcp_states: false,
        report_hidden_namespaces: false,
    };
    let mut check_config = config::check_config(sample, options, invocation)
        .map_err(|failure| (failure, EXIT_USAGE))?;
    check_config.n_listed = check_config.n_judged.unwrap_or(MAX_ROWS);
    let names = Target::sorted_names(&check_config.targets).join(", ");
    let title = format!("topip_log watch: {names}, every {} s", interval.as_secs());
    let signals = SignalWaiter::new()
        .map_err(|error| runtime_failure(&format!("cannot wait for signals: {error}")))?;
    // A channel of one event: sampling waits while the display is blocked.
    let (events, received_events) = mpsc::sync_channel(1);
    let (outcome_sender, outcomes) = mpsc::channel();
    let sample_work = {
        let (events, invocation) = (events.clone(), invocation.clone());
        let session = WatchSession::new(check_config, timeout);
        move || sample_repeatedly(session, &title, interval, &invocation, &events)
    };
    let display_work = {
        let (display_mode, outcome_sender) = (display_mode(invocation), outcome_sender.clone());
        move || {
            let outcome = display_events(&received_events, &display_mode);
            display_mode.restore_terminal();
            // The receiver is gone after a signal.
            let _ = outcome_sender.send(Some(outcome));
        }
    };
    let signal_work = {
        let (events, outcome_sender) = (events.clone(), outcome_sender.clone());
        move || {
            handle_signals(signals, &events);
            // The receiver is gone if the display has ended.
            let _ = outcome_sender.send(None);
        }
    };
    let mut all_work: Vec<Box<dyn FnOnce() + Send>> =
        vec![Box::new(sample_work), Box::new(display_work), Box::new(signal_work)];
    if matches!(display_mode(invocation), DisplayMode::Screen) && terminal::enter_key_mode() {
        all_work.push(Box::new(move || {
            if wait_for_quit_key() {
                let _ = outcome_sender.send(None);
            }
        }));
    }
    for work in all_work {
        let spawned = thread::Builder::new().spawn(work);
        spawned.map_err(|error| runtime_failure(&format!("cannot start a thread: {error}")))?;
    }
    Ok(WatchThreads { events, outcomes })
}

/// Passes signals on to the display until one ends the watch.
fn handle_signals(signals: SignalWaiter, events: &SyncSender<DisplayEvent>) {
    loop {
        match signals.wait() {
            // If the channel is full, the queued event is rendered in the new size anyway.
            Ok(SignalEvent::Resized) => drop(events.try_send(DisplayEvent::Resized)),
            Ok(SignalEvent::Suspend) => suspend(events),
            // An error ends the watch, because no other signal could end it.
            Ok(SignalEvent::Stop) | Err(_) => return,
        }
    }
}

/// Suspends the watch through the display thread, which restores the terminal first. If the
/// display thread is blocked in a write, suspends the watch on this thread.
fn suspend(events: &SyncSender<DisplayEvent>) {
    const PAUSE: Duration = Duration::from_millis(10);
    let deadline = Instant::now() + MAX_SHUTDOWN_TIME;
    while events.try_send(DisplayEvent::Suspend).is_err() {
        if Instant::now() >= deadline {
            terminal::restore();
            signals::suspend_self();
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until the user types `q`; returns `false` if keys can no longer be read.
fn wait_for_quit_key() -> bool {
    loop {
        match terminal::read_key() {
            Some(b'q' | b'Q') => return true,
            Some(_) => {}
            None => return false,
        }
    }
}

/// Returns a failure of the running program, without hints, and its exit code.
fn runtime_failure(message: &str) -> (Problem, u8) {
    (Problem::with_hints(message, Vec::new()), EXIT_FAILURE)
}

/// Takes a sample every `interval` until the display has ended.
fn sample_repeatedly(
    mut session: WatchSession,
    title: &str,
    interval: Duration,
    invocation: &Invocation,
    events: &SyncSender<DisplayEvent>,
) {
    let mut next_sample = Instant::now();
    loop {
        let now = (invocation.now + invocation.started.elapsed()).as_secs();
        let result = match session.sample(now) {
            Ok(WatchUpdate { report, changes }) => Ok((report, changes)),
            Err(error) => Err(error_chain(&error)),
        };
        let time = local_time::from_timestamp(i64::try_from(now).unwrap_or(i64::MAX)).to_rfc3339();
        let frame = WatchFrame { result, time, title: title.to_owned() };
        if events.send(DisplayEvent::Sampled(Box::new(frame))).is_err() {
            return;
        }
        // If a sample took longer than the interval, the missed samples are skipped.
        next_sample = (next_sample + interval).max(Instant::now());
        thread::sleep(next_sample.saturating_duration_since(Instant::now()));
    }
}

/// Display of the samples.
enum DisplayMode {
    /// Full screen, for terminals: each sample replaces the previous one.
    Screen,
    /// One line per sample.
    Lines,
}

/// Returns the display for standard output: lines for pipes and for terminals without
/// cursor control.
fn display_mode(invocation: &Invocation) -> DisplayMode {
    let is_dumb = invocation.env_var("TERM").is_none_or(|term| term == "dumb");
    if terminal::size().is_some() && !is_dumb { DisplayMode::Screen } else { DisplayMode::Lines }
}

impl DisplayMode {
    /// Returns the text of a frame.
    fn render(&self, frame: &WatchFrame) -> String {
        match self {
            Self::Lines => output::render_watch_line(frame) + "\n",
            Self::Screen => {
                let (width, height) = terminal::size().unwrap_or((80, 24));
                render_screen(frame, width, height)
            }
        }
    }

    /// Restores the terminal, stops this process until the shell continues it, and takes
    /// the terminal again.
    fn suspend(&self) {
        self.restore_terminal();
        terminal::restore();
        signals::suspend_self();
        if matches!(self, Self::Screen) {
            // In the background, keys belong to the shell.
            let _ = terminal::enter_key_mode();
        }
    }

    /// Shows the cursor again and moves it below the frame.
    fn restore_terminal(&self) {
        if matches!(self, Self::Screen) {
            // The program ends; a write error cannot be shown on this terminal.
            let _ = stdio::write_stdout("\x1b[?25h\n");
        }
    }
}

/// Returns a frame with control sequences (ECMA-48): hides the cursor, overwrites the
/// screen row by row, and clears the rest. Rows over the limit are in inverse video.
fn render_screen(frame: &WatchFrame, width: usize, height: usize) -> String {
    let rows = output::render_watch_screen(frame, width, height).into_iter().map(|row| {
        if row.is_over_limit {
            format!("\x1b[7m{}\x1b[0m\x1b[K", row.text)
        } else {
            format!("{}\x1b[K", row.text)
        }
    });
    let rows: Vec<_> = rows.collect();
    format!("\x1b[?25l\x1b[H{}\x1b[J", rows.join("\n"))
}

/// Shows frames until [`DisplayEvent::Stop`], or until the reader closes standard output.
fn display_events(
    events: &mpsc::Receiver<DisplayEvent>,
    display_mode: &DisplayMode,
) -> Result<(), (Problem, u8)> {
    let mut latest_frame: Option<Box<WatchFrame>> = None;
    for event in events {
        match event {
            DisplayEvent::Stop => return Ok(()),
            DisplayEvent::Resized if matches!(display_mode, DisplayMode::Lines) => continue,
            DisplayEvent::Resized => {}
            DisplayEvent::Suspend => display_mode.suspend(),
            DisplayEvent::Sampled(frame) => latest_frame = Some(frame),
        }
        let Some(frame) = &latest_frame else {
            continue;
        };
        match stdio::write_stdout_if_open(&display_mode.render(frame)) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                let message = format!("cannot write to standard output: {error}");
                return Err(runtime_failure(&message));
            }
        }
    }
    Ok(())
}
