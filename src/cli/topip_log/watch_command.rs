//! `topip_log watch`: who has the connections now, again and again.
use std::{
    path::Path,
    sync::mpsc::{self, SyncSender},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cli::{
        Answer, Applet, Failure, Invocation,
        args::WatchArgs,
        config::{self, Asked, Listed},
        target_config,
    },
    output::{self, Watched},
    run::{Glance, Target, Watcher, chain},
    sys::{
        local_time,
        signals::{Signals, Told},
        stdio, terminal,
    },
};

use super::{COULD_NOT, USAGE, failed};

/// How many addresses are named at the most: no screen has more rows.
const MOST_ROWS: usize = 500;

/// How long the last picture is waited for, and the terminal given back: nobody
/// may be reading.
const LAST_MOMENT: Duration = Duration::from_millis(150);

/// What is shown.
enum Event {
    /// A sample, or why there is none.
    Seen(Box<Watched>),
    /// The same again: the terminal has another size.
    Resized,
    /// No more.
    Stop,
}

/// How a watch comes to its end: told to, or as it may.
type Ending = Option<Result<(), (Failure, u8)>>;

pub(super) fn answer(args: WatchArgs, invocation: &Invocation) -> Answer {
    // Nobody is asked for a password: it would be asked for every time.
    let invocation = &Invocation { has_terminal: false, ..invocation.clone() };
    match start(args, invocation).and_then(|watch| watch.end()) {
        Ok(()) => {
            Answer { output: String::new(), complaint: String::new(), exit_code: 0, until: None }
        }
        Err((failure, exit_code)) => Answer { exit_code, ..failed(&failure) },
    }
}

/// What goes on on other threads.
struct Watch {
    events: SyncSender<Event>,
    endings: mpsc::Receiver<Ending>,
}

impl Watch {
    /// Waits until it is told to stop, or nobody reads any more.
    fn end(&self) -> Result<(), (Failure, u8)> {
        // As long as there is a watch, somebody can end it.
        if let Some(shown) = self.endings.recv().unwrap_or_default() {
            return shown;
        }
        // Where the last picture is stuck, this one is not waited for either.
        let _ = self.events.try_send(Event::Stop);
        let _ = self.endings.recv_timeout(LAST_MOMENT);
        Ok(())
    }
}

/// Starts the looking, the showing, and the waiting for signals, each on a
/// thread: who does not read what is shown must be able to stop it.
fn start(args: WatchArgs, invocation: &Invocation) -> Result<Watch, (Failure, u8)> {
    let could_not = |problem: String| (Failure::new(&problem, Vec::new()), COULD_NOT);
    let WatchArgs { interval, sample, .. } = args;
    if sample.look.input.as_deref() == Some(Path::new("-")) {
        let more = "It can be read once. Name a file that is written anew.".to_owned();
        return Err((Failure::new("cannot watch standard input", vec![more]), USAGE));
    }
    let patience = target_config::timeout(&sample, invocation).after;
    let asked = Asked { applet: Applet::Log, listed: Listed::Some, alerting: None, hint: false };
    let mut check = config::check(sample, asked, invocation).map_err(|failure| (failure, USAGE))?;
    check.listed = check.judged.unwrap_or(MOST_ROWS);
    let names = Target::names(&check.targets).join(", ");
    let title = format!("topip_log watch: {names}, every {} s", interval.as_secs());
    let signals =
        Signals::all().map_err(|error| could_not(format!("cannot wait for signals: {error}")))?;
    // What nobody reads is not kept: the looking waits for the showing.
    let (events, shown) = mpsc::sync_channel(1);
    let (ends, endings) = mpsc::channel();
    let look = {
        let (events, invocation) = (events.clone(), invocation.clone());
        let watcher = Watcher::new(check, patience);
        move || look(watcher, &title, interval, &invocation, &events)
    };
    let show = {
        let (picture, ends) = (picture(invocation), ends.clone());
        move || {
            let outcome = show(&shown, &picture);
            picture.end();
            // Nobody waits any more: it was told to stop.
            let _ = ends.send(Some(outcome));
        }
    };
    let wait = {
        let events = events.clone();
        move || {
            // A signal that cannot be waited for would leave no way to stop.
            while signals.next() == Ok(Told::Resized) {
                // The next picture has the new size, too.
                let _ = events.try_send(Event::Resized);
            }
            // As above.
            let _ = ends.send(None);
        }
    };
    let works: [Box<dyn FnOnce() + Send>; 3] = [Box::new(look), Box::new(show), Box::new(wait)];
    for work in works {
        let started = thread::Builder::new().spawn(work);
        started.map_err(|error| could_not(format!("cannot start a thread: {error}")))?;
    }
    Ok(Watch { events, endings })
}

/// Looks every `interval`, as long as somebody listens.
fn look(
    mut watcher: Watcher,
    title: &str,
    interval: Duration,
    invocation: &Invocation,
    events: &SyncSender<Event>,
) {
    let mut next = Instant::now();
    loop {
        let now = (invocation.now + invocation.started.elapsed()).as_secs();
        let seen = match watcher.look(now) {
            Ok(Glance { report, changes }) => Ok((report, changes)),
            Err(error) => Err(chain(&error)),
        };
        let time = local_time::at(i64::try_from(now).unwrap_or(i64::MAX)).to_rfc3339();
        let watched = Watched { seen, time, title: title.to_owned() };
        if events.send(Event::Seen(Box::new(watched))).is_err() {
            return;
        }
        // What took longer than that is not caught up with.
        next = (next + interval).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// How the samples are shown.
enum Picture {
    /// On a terminal, each in place of the one before.
    Screen,
    /// A line each.
    Lines,
}

/// A terminal that cannot move its cursor gets lines, as a pipe does.
fn picture(invocation: &Invocation) -> Picture {
    let is_dumb = invocation.variable("TERM").is_none_or(|term| term == "dumb");
    if terminal::size().is_some() && !is_dumb { Picture::Screen } else { Picture::Lines }
}

impl Picture {
    /// The sample, as it is written.
    fn of(&self, watched: &Watched) -> String {
        match self {
            Self::Lines => output::line(watched) + "\n",
            Self::Screen => {
                let (width, height) = terminal::size().unwrap_or((80, 24));
                drawn(watched, width, height)
            }
        }
    }

    /// Gives the terminal back.
    fn end(&self) {
        if matches!(self, Self::Screen) {
            // There is nobody to tell.
            let _ = stdio::to_standard_output("\x1b[?25h\n");
        }
    }
}

/// The screen with what moves a cursor (ECMA-48): home, no cursor; each row, in
/// inverse where somebody is over the limit, and nothing behind it; nothing
/// below.
fn drawn(watched: &Watched, width: usize, height: usize) -> String {
    let rows = output::screen(watched, width, height).into_iter().map(|row| match row.is_over {
        true => format!("\x1b[7m{}\x1b[0m\x1b[K", row.text),
        false => format!("{}\x1b[K", row.text),
    });
    let rows: Vec<_> = rows.collect();
    format!("\x1b[?25l\x1b[H{}\x1b[J", rows.join("\n"))
}

/// Shows what comes until there is no more, or nobody reads any more.
fn show(events: &mpsc::Receiver<Event>, picture: &Picture) -> Result<(), (Failure, u8)> {
    let mut latest: Option<Box<Watched>> = None;
    for event in events {
        match event {
            Event::Stop => return Ok(()),
            Event::Resized if matches!(picture, Picture::Lines) => continue,
            Event::Resized => {}
            Event::Seen(watched) => latest = Some(watched),
        }
        let Some(watched) = &latest else {
            continue;
        };
        match stdio::to_reader(&picture.of(watched)) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                let problem = format!("cannot write to standard output: {error}");
                return Err((Failure::new(&problem, Vec::new()), COULD_NOT));
            }
        }
    }
    Ok(())
}
