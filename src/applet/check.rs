//! `check_topip`: from its options to an answer in time.
use std::{
    any::Any,
    ffi::OsString,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use clap::{
    Parser,
    error::{ContextKind, ErrorKind},
};

use crate::{
    connection::TcpStates,
    filter::{DEFAULT_EXCLUDES, IpFamily, Network, Selection},
    range::Range,
    report::{self, LISTED, Verbosity},
    rule::{Rule, Trigger},
    run::{self, Check, Progress, Stage, Target},
    state_file::Place,
    terminal::Settings,
    verdict::Status,
};

use super::{
    Answer, Applet, Invocation,
    args::{CheckArgs, RuleName, Timeout},
    internal_error, target,
};

/// How long a run that is about to write its state file may take beyond its
/// time, so that it leaves nothing half done.
const GRACE: Duration = Duration::from_millis(300);

/// Checks as it is asked to.
pub(super) fn answer(invocation: Invocation) -> Answer {
    let program = OsString::from(Applet::Check.name());
    let args = std::iter::once(program).chain(invocation.args.iter().cloned());
    match CheckArgs::try_parse_from(args) {
        Ok(args) => in_time(args, invocation),
        Err(error) => usage(&error),
    }
}

/// Help and the version, and what is wrong with a command line.
///
/// The guidelines want 3 for all of them: clap's own 2 would be CRITICAL.
fn usage(error: &clap::Error) -> Answer {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Answer {
            output: error.render().to_string(),
            complaint: String::new(),
            exit_code: Status::Unknown.exit_code(),
            until: None,
        };
    }
    let more = ["See check_topip --help, or check_topip(1).".to_owned()];
    Answer::failure(Status::Unknown, &misuse(error), &more)
}

/// What is wrong with a command line, in one sentence.
fn misuse(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string);
    let option = context(ContextKind::InvalidArg).unwrap_or_default();
    // "--warning <RANGE>"
    let option = option.split_whitespace().next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    match (error.kind(), std::error::Error::source(error)) {
        (ErrorKind::ValueValidation, Some(reason)) => {
            let value = if value.is_empty() { "(empty)".to_owned() } else { value };
            format!("cannot read {option} {value}: {reason}")
        }
        (ErrorKind::InvalidValue, _) if value.is_empty() => format!("{option} needs a value"),
        (ErrorKind::InvalidValue, _) => {
            let known = context(ContextKind::ValidValue).unwrap_or_default();
            format!("cannot read {option} {value}: not one of {known}")
        }
        (ErrorKind::UnknownArgument, _) if option.starts_with('-') => {
            format!("there is no option {option}")
        }
        (ErrorKind::UnknownArgument, _) => format!("unexpected argument {option}"),
        _ => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or("the command line is not understood");
            line.trim_start_matches("error: ").replace(['\'', '"', '<', '>'], "")
        }
    }
}

/// Runs on a thread of its own and waits for it, for as long as it is given:
/// whatever it hangs in, the answer is there in time.
fn in_time(args: CheckArgs, invocation: Invocation) -> Answer {
    let timeout = target::timeout(&args, &invocation);
    let Timeout { after, status } = timeout;
    let terminal = Settings::now();
    let progress = Arc::new(Progress::default());
    let (sender, answers) = mpsc::channel();
    let started = invocation.started;
    let input = args.input.clone();
    let worker = {
        let progress = Arc::clone(&progress);
        move || {
            let answer = panic::catch_unwind(AssertUnwindSafe(|| {
                run(args, &invocation, timeout, &progress)
            }))
            .unwrap_or_else(|panic: Box<dyn Any + Send>| internal_error(&*panic));
            // Nobody waits any more: the time was up.
            let _ = sender.send(answer);
        }
    };
    if let Err(error) = thread::Builder::new().spawn(worker) {
        return Answer::failure(Status::Unknown, &format!("cannot start a thread: {error}"), &[]);
    }
    let left = after.saturating_sub(started.elapsed());
    let answer = match answers.recv_timeout(left) {
        Err(RecvTimeoutError::Timeout) if progress.stage() >= Stage::Remembering => {
            answers.recv_timeout(GRACE)
        }
        answer => answer,
    };
    let answer = answer.unwrap_or_else(|_| {
        let doing = match (progress.stage(), input) {
            (Stage::Sampling, Some(path)) => format!("reading {}", path.display()),
            (stage, _) => stage.doing().to_owned(),
        };
        let problem = format!("no answer within {} s, while {doing}", after.as_secs());
        let more =
            ["Give it more time with --timeout, below what the monitoring allows.".to_owned()];
        Answer::failure(status, &problem, &more)
    });
    drop(terminal);
    Answer { until: Some(started + after + GRACE), ..answer }
}

fn run(args: CheckArgs, invocation: &Invocation, timeout: Timeout, progress: &Progress) -> Answer {
    let verbosity = Verbosity::from_count(args.verbose);
    let check = match check(args, invocation, timeout) {
        Ok(check) => check,
        Err(answer) => return answer,
    };
    // Cut to seconds once: the sum of two that are cut may be a second early,
    // and the sample of a run just before would lie in the future.
    let now = || (invocation.now + invocation.started.elapsed()).as_secs();
    match run::check(check, now, progress) {
        Ok(report) => Answer {
            output: report::nagios(&report, verbosity),
            complaint: String::new(),
            exit_code: report.status().exit_code(),
            until: None,
        },
        Err(error) => {
            let is_late = matches!(error, run::Error::NoAnswer { .. });
            let status = if is_late { timeout.status } else { Status::Unknown };
            Answer::failure(status, &run::chain(&error), &error.more())
        }
    }
}

/// What the options ask for.
fn check(args: CheckArgs, invocation: &Invocation, timeout: Timeout) -> Result<Check, Answer> {
    let judged = args.top.filter(|&top| top > 1);
    let verbosity = Verbosity::from_count(args.verbose);
    let tcp_states = tcp_states(&args);
    let targets = target::targets(&args, invocation, timeout, tcp_states)?;
    let state = place(&args, invocation, &targets);
    let mut excludes = args.exclude;
    if !args.no_default_excludes {
        let network = |text: &str| text.parse::<Network>().expect("it is a network");
        excludes.extend(DEFAULT_EXCLUDES.map(network));
    }
    let deadline = invocation.started + timeout.after;
    let stddev = Trigger::Stddev(args.stddev);
    let lognormal = Trigger::Lognormal { false_alarm_rate: args.false_alarm_rate };
    let (trigger, beside) = match args.rule {
        RuleName::Stddev => (stddev, lognormal),
        RuleName::Lognormal => (lognormal, stddev),
    };
    Ok(Check {
        targets,
        selection: Selection {
            family: match (args.four, args.six) {
                (true, _) => Some(IpFamily::V4),
                (_, true) => Some(IpFamily::V6),
                _ => None,
            },
            excludes,
            ports: args.port,
            tcp_states,
            inbound: args.inbound,
        },
        exclude_files: args.exclude_file,
        judged,
        listed: match verbosity {
            Verbosity::Everything => usize::MAX,
            _ => judged.unwrap_or(LISTED),
        },
        rule: Rule {
            trigger,
            beside,
            floor: args.floor,
            consecutive: args.consecutive,
            max_age: Some(args.max_age).filter(|age| !age.is_zero()),
            warning: args.warning,
            critical: args.critical,
        },
        state,
        // Some time is left for the rest.
        deadline: deadline.checked_sub(Duration::from_millis(500)).unwrap_or(deadline),
    })
}

/// The states that count.
fn tcp_states(args: &CheckArgs) -> TcpStates {
    let some = match args.state[..] {
        [] => TcpStates::CONNECTED,
        _ => TcpStates::of(&args.state),
    };
    some.without(TcpStates::of(&args.exclude_state))
}

/// Where the state file is: where it is asked for, or where the plugin
/// guidelines, the package or the user's home have a place for it.
fn place(args: &CheckArgs, invocation: &Invocation, targets: &[Target]) -> Place {
    if let Some(path) = &args.state_file {
        return Place::File(path.clone());
    }
    let folder = |name: &str| invocation.variable(name).map(PathBuf::from);
    // A relative one would depend on where the check happens to be run.
    let absolute = |name: &str| folder(name).filter(|folder| folder.is_absolute());
    let asked_for = folder("MP_STATE_PATH").or_else(|| folder("NAGIOS_PLUGIN_STATE_DIRECTORY"));
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let (shared, own) = match asked_for {
        Some(folder) => (None, Some(folder)),
        None => {
            let own = absolute("XDG_STATE_HOME").or_else(home).map(|state| state.join("topip"));
            (Some(PathBuf::from("/var/lib/topip")), own)
        }
    };
    let applet = Applet::Check.name();
    let servers = Target::names(targets).join("+");
    let servers: String = servers.chars().map(file_letter).take(64).collect();
    let name = format!("{applet}-{servers}-{:016x}.ron", fnv1a(&selection(args, targets)));
    Place::Below { shared, own, name }
}

/// A letter of a server's name, in a file's.
fn file_letter(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || "-.+".contains(letter) { letter } else { '_' }
}

/// What makes a check another one: what it looks at, and how it judges that.
/// Two services that share a sample would each find the other's a moment ago,
/// and call that twice on end.
fn selection(args: &CheckArgs, targets: &[Target]) -> String {
    let input = args.input.as_ref().map(|path| path.display().to_string());
    let mut excludes: Vec<_> = args.exclude.iter().map(ToString::to_string).collect();
    excludes.sort();
    let looks_at = format!(
        "{input:?} {:?} {:?} {:?} {} {} {} {} {excludes:?} {:?} {}",
        Target::names(targets),
        args.command,
        args.port,
        tcp_states(args).bits(),
        args.inbound,
        args.four,
        args.six,
        args.exclude_file,
        args.no_default_excludes
    );
    let range = |range: Option<Range>| range.map(|range| range.to_string());
    let judges = format!(
        "{:?} {:?} {} {} {} {} {:?} {:?} {:?}",
        args.top.filter(|&top| top > 1),
        args.rule,
        args.stddev,
        args.false_alarm_rate,
        args.floor,
        args.consecutive,
        args.max_age,
        range(args.warning),
        range(args.critical)
    );
    format!("{looks_at} {judges}")
}

/// FNV-1a with 64 bits (draft-eastlake-fnv): the same in every version and on
/// every machine, which the hashes of the standard library are not. Nothing
/// here is chosen by a stranger.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_was_published() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }
}
