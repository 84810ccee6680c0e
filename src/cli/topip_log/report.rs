//! `topip_log report`: whom the alerts of a log are about.
use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    alert_log::{parse, stats::Grouping},
    cli::{
        Answer, Failure, Invocation,
        args::{Moment, Output, ReportArgs},
    },
    output::{self, Picture, Trouble},
    run::{self, Review, Reviewed},
    sys::{local_time, stdio},
};

use super::{COULD_NOT, USAGE, failed};

/// How many offenders a table has where nobody asked for more.
const LISTED: usize = 10;
/// How long a review may take before it says how far it is, and how often then.
const PATIENCE: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn answer(args: &ReportArgs, invocation: &Invocation) -> Answer {
    let review = match review(args, invocation) {
        Ok(review) => review,
        Err(failure) => return Answer { exit_code: USAGE, ..failed(&failure) },
    };
    let mut bar = Bar { shown: None, next: invocation.started + PATIENCE };
    let reviewed = run::review(&review, &local_time::zone(), &mut |read, total| {
        if invocation.shows_errors {
            bar.show(read, total);
        }
    });
    bar.wipe();
    Answer {
        output: output(args, &reviewed, invocation),
        complaint: complaint(&reviewed),
        exit_code: if reviewed.troubles.is_empty() { 0 } else { COULD_NOT },
        until: None,
    }
}

fn review(args: &ReportArgs, invocation: &Invocation) -> Result<Review, Failure> {
    if let Some(daemon) = args.log.iter().find(|log| is_daemon(log)) {
        let more = vec![
            "If it was logged as JSON: journalctl -t topip -o cat | topip_log report --log -"
                .to_owned(),
        ];
        let daemon = daemon.display();
        let problem = format!("{daemon} is a daemon; a file of that name is ./{daemon}");
        return Err(Failure::new(&problem, more));
    }
    let seconds = |moment| seconds(moment, invocation.now);
    let (since, until) =
        (args.since.map(seconds).transpose()?, args.until.map(seconds).transpose()?);
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        let more = vec!["--since has to be the earlier one.".to_owned()];
        return Err(Failure::new("there is no time from --since to --until", more));
    }
    let grouping = Grouping { bits4: args.prefix4, bits6: args.prefix6 };
    Ok(Review { logs: args.log.clone(), since, until, grouping })
}

/// Whether `record` would take that for a daemon.
fn is_daemon(log: &Path) -> bool {
    ["syslog", "journald"].iter().any(|daemon| log == Path::new(daemon))
}

/// A moment in seconds since 1970-01-01 UTC; the first of two, where the clocks
/// show it twice.
fn seconds(moment: Moment, now: Duration) -> Result<i64, Failure> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match moment {
        Moment::Ago(ago) => Ok(now.saturating_sub_unsigned(ago.as_secs())),
        Moment::Exact(exact) => Ok(exact.timestamp()),
        Moment::Local(local) => {
            let found = parse::moments(&local_time::zone(), &local);
            found.map(|(first, _)| first.timestamp()).ok_or_else(|| {
                let more = vec!["The clocks leap over it: name an hour later.".to_owned()];
                Failure::new(&format!("there is no {local} here"), more)
            })
        }
    }
}

fn output(args: &ReportArgs, reviewed: &Reviewed, invocation: &Invocation) -> String {
    let offenders = &reviewed.offenders;
    let unasked = if args.output == Output::Text { LISTED } else { usize::MAX };
    let top = args.top.map_or(unasked, |top| if top == 0 { usize::MAX } else { top });
    // A table of nothing, where nothing could be read, would look like an answer.
    if args.output == Output::Text && offenders.is_empty() && !reviewed.troubles.is_empty() {
        return String::new();
    }
    match args.output {
        Output::Text => {
            output::offenders_as_text(offenders, top, picture(invocation), local_time::at)
        }
        Output::Json => output::offenders_as_json(offenders, reviewed.damaged, top, local_time::at),
        Output::Csv => output::offenders_as_csv(offenders, top, local_time::at),
    }
}

fn picture(invocation: &Invocation) -> Picture {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = names.iter().find_map(|name| invocation.variable(name));
    let locale = locale.map(|it| it.to_string_lossy().to_lowercase().replace('-', ""));
    let has_blocks = locale.is_some_and(|locale| locale.contains("utf8"));
    Picture { columns: invocation.columns, has_blocks }
}

fn complaint(reviewed: &Reviewed) -> String {
    let mut complaint: String = reviewed
        .troubles
        .iter()
        .map(|Trouble { problem, advice }| {
            output::complaint(problem, &advice.iter().cloned().collect::<Vec<_>>())
        })
        .collect();
    let Reviewed { damaged, damages, .. } = reviewed;
    if *damaged > 0 {
        let more = *damaged - damages.len() as u64;
        let rest = (more > 0).then(|| format!("... and {more} more"));
        let lines: Vec<_> = damages.iter().cloned().chain(rest).collect();
        let lines_are = if *damaged == 1 { "1 line is" } else { &format!("{damaged} lines are") };
        complaint +=
            &output::complaint(&format!("{lines_are} no alert, and did not count:"), &lines);
    }
    complaint
}

/// How far a review is, on a line of its own that is written over.
struct Bar {
    shown: Option<String>,
    next: Instant,
}

impl Bar {
    fn show(&mut self, read: u64, total: Option<u64>) {
        const MIB: u64 = 1024 * 1024;
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let mib = read / MIB;
        let text = match total.filter(|&total| total > 0) {
            None => format!("{mib} MiB read"),
            Some(total) => {
                let percent = (u128::from(read) * 100 / u128::from(total)).min(100);
                let done = usize::try_from(percent / 4).expect("at most 25");
                format!("[{:<25}] {percent:3} % of {} MiB", "#".repeat(done), total / MIB)
            }
        };
        // What cannot be shown is not worth ending for.
        let _ = stdio::to_standard_error(&format!("\r{text}\x1b[K"));
        self.shown = Some(text);
    }

    fn wipe(self) {
        if self.shown.is_some() {
            let _ = stdio::to_standard_error("\r\x1b[K");
        }
    }
}
