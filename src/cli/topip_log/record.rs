//! `topip_log record`: a line in the log, where there is an alert.
use std::path::PathBuf;

use crate::{
    cli::{
        Answer, Applet, Failure, Invocation,
        args::{AlertArgs, DEFAULT_LOG, RecordArgs},
        config::{Asked, Listed},
        target_config, watchdog,
    },
    output::{self, Report, Verbosity},
    run::Sink,
};

use super::{COULD_NOT, failed};

pub(super) fn answer(args: RecordArgs, invocation: &Invocation) -> Answer {
    let RecordArgs { sample, alerting, verbose, .. } = args;
    let verbosity = Verbosity::from_count(verbose);
    let listed = Listed::by(verbosity);
    let until = Some(watchdog::until(target_config::timeout(&sample, invocation), invocation));
    let format = alerting.log_format.into();
    // It is there to log, wherever.
    let log = alerting.log.unwrap_or_else(|| Sink::File(PathBuf::from(DEFAULT_LOG)));
    let alerting = AlertArgs { log: Some(log), ..alerting };
    let hint = verbosity >= Verbosity::Addresses;
    let asked = Asked { applet: Applet::Log, listed, alerting: Some(alerting), hint };
    let tell = move |report: Report| {
        // Cron mails what is said, so that nothing is but what there is.
        let lines = report.alerts.iter().map(|alert| alert.line(format) + "\n");
        let output = match verbosity {
            Verbosity::Terse => lines.collect(),
            _ => output::nagios(&report, verbosity),
        };
        Answer { output, ..told(&report) }
    };
    let give_up = move |failure: Failure| Answer { until, ..failed(&failure) };
    match watchdog::told(sample, asked, invocation, tell, give_up) {
        Err(failure) => give_up(failure),
        Ok(answer) => Answer { until, ..answer },
    }
}

/// The troubles of a run, which is done where there are none.
fn told(report: &Report) -> Answer {
    let complaints = report.troubles.iter().map(|trouble| {
        let advice: Vec<_> = trouble.advice.iter().cloned().collect();
        output::complaint(&trouble.problem, &advice)
    });
    Answer {
        output: String::new(),
        complaint: complaints.collect(),
        exit_code: if report.troubles.is_empty() { 0 } else { COULD_NOT },
        until: None,
    }
}
