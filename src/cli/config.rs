//! What the options ask for: from a command line to a run.
use std::{
    cmp::Reverse,
    ops::RangeInclusive,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    analysis::{
        filter::{DEFAULT_EXCLUDES, IpFamily, Selection},
        rule::{Rule, Trigger},
        tally::Grain,
    },
    model::{connection::TcpStates, network::Network, range::Range},
    output::{LISTED, Verbosity},
    run::{Alerts, Check, Log, Target},
    storage::state_file::Place,
};

use super::{
    applet::{Applet, Failure, Invocation},
    args::{AlertArgs, How, LookArgs, RuleName, SampleArgs},
    mail_config, target_config,
};

/// How many addresses there is something to say about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// The top ones.
    Some,
    /// Every one.
    All,
}

impl Listed {
    /// Those that an answer of this verbosity may name.
    pub(super) fn by(verbosity: Verbosity) -> Self {
        if verbosity >= Verbosity::Everything { Self::All } else { Self::Some }
    }
}

/// What a program asks for beside what the options of the sample do.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Which program.
    pub(super) applet: Applet,
    /// How many addresses it may name.
    pub(super) listed: Listed,
    /// Who is told of an alert, where the program tells anybody.
    pub(super) alerting: Option<AlertArgs>,
    /// Whether it is to be said where the host's own table may not show all.
    pub(super) hint: bool,
}

/// What the options ask for.
pub(super) fn check(
    args: SampleArgs,
    Asked { applet, listed, alerting, hint }: Asked,
    invocation: &Invocation,
) -> Result<Check, Failure> {
    let timeout = target_config::timeout(&args, invocation);
    let tcp_states = tcp_states(&args.look);
    let targets = target_config::targets(&args, invocation, timeout, tcp_states)?;
    let state = place(&args, applet, invocation, &targets);
    // Some time is left for the rest.
    let deadline = invocation.started + timeout.after;
    let deadline = deadline.checked_sub(Duration::from_millis(500)).unwrap_or(deadline);
    let alerts = match alerting {
        Some(args) => alerts(args, &targets, deadline, invocation)?,
        None => Alerts::default(),
    };
    let SampleArgs { look, judging, .. } = args;
    let judged = judging.top.filter(|&top| top > 1);
    let grains = grains(&look)?;
    let mut excludes = look.exclude;
    if !look.no_default_excludes {
        let network = |text: &str| text.parse::<Network>().expect("it is a network");
        excludes.extend(DEFAULT_EXCLUDES.map(network));
    }
    let stddev = Trigger::Stddev(judging.stddev);
    let lognormal = Trigger::Lognormal { false_alarm_rate: judging.false_alarm_rate };
    let (trigger, beside) = match judging.rule {
        RuleName::Stddev => (stddev, lognormal),
        RuleName::Lognormal => (lognormal, stddev),
    };
    Ok(Check {
        targets,
        selection: Selection {
            family: match (look.four, look.six) {
                (true, _) => Some(IpFamily::V4),
                (_, true) => Some(IpFamily::V6),
                _ => None,
            },
            excludes,
            ports: look.port,
            tcp_states,
            inbound: look.inbound,
        },
        exclude_files: look.exclude_file,
        labels: look.label,
        label_files: look.label_file,
        grains,
        judged,
        listed: match listed {
            Listed::All => usize::MAX,
            Listed::Some => judged.unwrap_or(LISTED),
        },
        rule: Rule {
            trigger,
            beside,
            floor: judging.floor,
            consecutive: judging.consecutive,
            max_age: Some(judging.max_age).filter(|age| !age.is_zero()),
            warning: judging.warning,
            critical: judging.critical,
        },
        state,
        hint,
        deadline: match alerts.mail {
            // A server that is dead must not take the time for the mail.
            Some(_) => {
                deadline.checked_sub(mail_config::reserve(timeout.after)).unwrap_or(deadline)
            }
            None => deadline,
        },
        alerts,
    })
}

/// Who is told of an alert.
fn alerts(
    args: AlertArgs,
    targets: &[Target],
    deadline: Instant,
    invocation: &Invocation,
) -> Result<Alerts, Failure> {
    let AlertArgs { log, log_format, mail } = args;
    let format = log_format.into();
    let log = log.map(|sink| Log { sink, format });
    Ok(Alerts { log, mail: mail_config::order(&mail, targets, deadline, invocation)? })
}

/// The states that count.
pub(super) fn tcp_states(args: &LookArgs) -> TcpStates {
    let some = match args.state[..] {
        [] => TcpStates::CONNECTED,
        _ => TcpStates::of(&args.state),
    };
    some.without(TcpStates::of(&args.exclude_state))
}

/// Each length once, the longest first.
fn lengths(given: &[u8]) -> Vec<u8> {
    let mut lengths = given.to_vec();
    lengths.sort_unstable_by_key(|&length| Reverse(length));
    lengths.dedup();
    lengths
}

/// How many ways to tell peers apart are judged in one run: each has a field of
/// perfdata.
const MOST_GRAINS: usize = 4;

/// What is one peer. The lengths of both families are paired from the longest
/// on, and the list that ends first goes on with its last.
///
/// # Errors
///
/// Where there are more than a status line has room for.
fn grains(look: &LookArgs) -> Result<Vec<Grain>, Failure> {
    let (v4, v6) = (lengths(&look.prefix4), lengths(&look.prefix6));
    let nth = |lengths: &[u8], n: usize| lengths[n.min(lengths.len() - 1)];
    let n_grains = v4.len().max(v6.len());
    if n_grains > MOST_GRAINS {
        let problem = format!("--prefix4 and --prefix6 take at most {MOST_GRAINS} lengths");
        let more = "Each has a field of the performance data.".to_owned();
        return Err(Failure::new(&problem, vec![more]));
    }
    let grains = (0..n_grains).map(|n| Grain {
        v4: nth(&v4, n),
        v6: nth(&v6, n),
        members: look.prefix_members,
    });
    Ok(grains.collect())
}

/// Where the state file is: where it is asked for, or where the plugin
/// guidelines, the package or the user's home have a place for it.
fn place(args: &SampleArgs, applet: Applet, invocation: &Invocation, targets: &[Target]) -> Place {
    if let Some(path) = &args.judging.state_file {
        return Place::File(path.clone());
    }
    let folder = |name: &str| invocation.variable(name).map(PathBuf::from);
    // A relative one would depend on where the check happens to be run.
    let absolute = |name: &str| folder(name).filter(|folder| folder.is_absolute());
    let asked_for = folder("MP_STATE_PATH").or_else(|| folder("NAGIOS_PLUGIN_STATE_DIRECTORY"));
    let asked_for = asked_for.or_else(|| match applet {
        Applet::Munin => folder("MUNIN_PLUGSTATE"),
        Applet::Check | Applet::Log => None,
    });
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let (shared, own) = match asked_for {
        Some(folder) => (None, Some(folder)),
        None => {
            let own = absolute("XDG_STATE_HOME").or_else(home).map(|state| state.join("topip"));
            (Some(PathBuf::from("/var/lib/topip")), own)
        }
    };
    let servers = Target::names(targets).join("+");
    let servers: String = servers.chars().map(file_letter).take(64).collect();
    let mut selection = selection(args, targets);
    if let Some(asker) = asker(applet, invocation) {
        selection = format!("{selection}client={}\n", asker.escape_default());
    }
    let name = format!("{}-{servers}-{:016x}.ron", applet.name(), fnv1a(&selection));
    Place::Below { shared, own, name }
}

/// Which master asks, and by which link: munin-node names a file after both.
/// Each has a row of its own, as has who runs munin-run, or one's samples would
/// be further ones on end to another.
fn asker(applet: Applet, invocation: &Invocation) -> Option<String> {
    let file = invocation.variable("MUNIN_STATEFILE").filter(|_| applet == Applet::Munin)?;
    Some(file.to_string_lossy().into_owned())
}

/// A letter of a server's name, in a file's.
fn file_letter(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || "-.+".contains(letter) { letter } else { '_' }
}

/// The options that make two checks different: what is sampled, and how it is judged.
///
/// Two services that share a state file would each take the other's sample for their
/// own previous one. Every part is an explicit string, since a state file is found by
/// the hash of the whole: renaming a type must not lose a history. An option that is
/// not given adds nothing, so that a new option keeps the names of existing files.
fn selection(args: &SampleArgs, targets: &[Target]) -> String {
    let SampleArgs { look, login, judging, .. } = args;
    let list = |items: Vec<String>| items.join(",");
    let sorted = |mut items: Vec<String>| {
        items.sort();
        list(items)
    };
    let flag = |is_set: bool| if is_set { "yes".to_owned() } else { String::new() };
    let paths = |paths: &[PathBuf]| paths.iter().map(|it| it.display().to_string()).collect();
    let numbers = |lengths: Vec<u8>| lengths.iter().map(ToString::to_string).collect();
    let range = |range: Option<Range>| range.map(|range| range.to_string()).unwrap_or_default();
    let port = |ports: &RangeInclusive<u16>| format!("{}-{}", ports.start(), ports.end());
    let parts = [
        ("input", look.input.as_ref().map(|it| it.display().to_string()).unwrap_or_default()),
        ("servers", list(Target::names(targets))),
        ("command", login.command.clone().unwrap_or_default()),
        ("port", list(look.port.iter().map(port).collect())),
        ("tcp_states", format!("{:x}", tcp_states(look).bits())),
        ("inbound", flag(look.inbound)),
        ("ipv4_only", flag(look.four)),
        ("ipv6_only", flag(look.six)),
        ("exclude", sorted(look.exclude.iter().map(ToString::to_string).collect())),
        ("exclude_file", list(paths(&look.exclude_file))),
        ("no_default_excludes", flag(look.no_default_excludes)),
        ("prefix4", list(numbers(lengths(&look.prefix4)))),
        ("prefix6", list(numbers(lengths(&look.prefix6)))),
        ("prefix_members", look.prefix_members.to_string()),
        ("top", judging.top.filter(|&top| top > 1).map(|it| it.to_string()).unwrap_or_default()),
        ("rule", rule_key(judging.rule).to_owned()),
        ("stddev", judging.stddev.to_string()),
        ("false_alarm_rate", judging.false_alarm_rate.to_string()),
        ("floor", judging.floor.to_string()),
        ("consecutive", judging.consecutive.to_string()),
        ("max_age", judging.max_age.as_secs().to_string()),
        ("warning", range(judging.warning)),
        ("critical", range(judging.critical)),
        // Another table is another check; another way to the same table is not.
        ("conntrack", flag(look.source == How::Conntrack)),
        ("netns", list(netns(look))),
    ];
    let given = parts.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name}={}\n", value.escape_default())).collect()
}

fn rule_key(rule: RuleName) -> &'static str {
    match rule {
        RuleName::Stddev => "stddev",
        RuleName::Lognormal => "lognormal",
    }
}

/// The network namespaces that are asked for, each once and in any order. What
/// there is of them comes and goes.
fn netns(look: &LookArgs) -> Vec<String> {
    let mut asked: Vec<_> = look.netns.iter().map(ToString::to_string).collect();
    asked.sort();
    asked.dedup();
    asked
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
