//! Configuration of a run from command-line options and environment.
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    analysis::{
        filter::{DEFAULT_EXCLUDES, IpFamily, Selection},
        history::MAX_PREFIX_VIEWS,
        rule::{JudgeConfig, Rule},
        tally::{Aggregation, PrefixLengths},
    },
    model::problem::Problem,
    model::{
        connection::TcpStates, metric::MetricRange, network::Network, peer_id::GroupBy,
        protocol::Protocol,
    },
    output::{DEFAULT_LISTED_PEERS, Verbosity},
    run::{CheckConfig, LogConfig, NotifyConfig, ProgramConfig, Target},
    storage::state_file::StateLocation,
};

use super::{
    applet::Applet,
    args::{NotifyArgs, RuleName, SampleArgs, SelectionArgs, SourceKind, ThresholdArgs},
    invocation::Invocation,
    mail_config, target_config,
};

/// Part of the time limit that is reserved for judging, notifications and output.
pub(super) const REPORT_TIME: Duration = Duration::from_millis(500);

/// Limit for the number of addresses in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListLimit {
    /// Busiest addresses only.
    Top,
    /// This number of the busiest addresses.
    Number(usize),
    /// All addresses.
    Unlimited,
}

impl ListLimit {
    /// Returns the limit for output of this verbosity.
    pub(super) fn for_verbosity(verbosity: Verbosity) -> Self {
        if verbosity >= Verbosity::Everything { Self::Unlimited } else { Self::Top }
    }
}

/// Settings that a program adds to the options in [`SampleArgs`].
#[derive(Clone, Debug)]
pub(super) struct RunOptions {
    /// Program that runs.
    pub(super) applet: Applet,
    /// Limit for the number of addresses in the output.
    pub(super) list_limit: ListLimit,
    /// Notification options; `None` if the program sends no notifications.
    pub(super) notify: Option<NotifyArgs>,
    /// `true` to count the connections in each TCP state for the report.
    pub(super) count_tcp_states: bool,
    /// `true` to report network namespaces whose connections are not in the host's own
    /// table.
    pub(super) report_hidden_namespaces: bool,
}

/// Returns the configuration of a run.
///
/// # Errors
///
/// Returns an error if the options cannot be used together, or if a secret or an
/// executable that the run needs is not available.
pub(super) fn check_config(
    args: SampleArgs,
    RunOptions { applet, list_limit, notify, count_tcp_states, report_hidden_namespaces }: RunOptions,
    invocation: &Invocation,
) -> Result<CheckConfig, Problem> {
    let timeout = target_config::timeout(&args, invocation);
    require_possible_states(&args.selection)?;
    let tcp_states = tcp_states(&args.selection);
    let targets = target_config::targets(&args, invocation, timeout, tcp_states)?;
    let state_location = state_location(&args, applet, invocation, &targets);
    let deadline = invocation.started + timeout.after;
    let deadline = earlier(deadline, REPORT_TIME);
    let reserved_time = mail_config::reserved_time(timeout.after);
    let alerts = match notify {
        Some(args) => alerts(args, &targets, (deadline, reserved_time), invocation)?,
        None => NotifyConfig::default(),
    };
    let SampleArgs { selection, thresholds, .. } = args;
    let max_judged = thresholds.top.filter(|&top| top > 1);
    let aggregations = aggregations(&selection)?;
    let mut excludes = selection.exclude;
    let mut default_excludes = Vec::new();
    // With --only, the default exclusions do not apply.
    if !selection.no_default_excludes && selection.only.is_empty() {
        default_excludes = DEFAULT_EXCLUDES.map(default_exclude).to_vec();
        default_excludes.retain(|network| !excludes.contains(network));
        excludes.extend(&default_excludes);
    }
    if applet == Applet::Munin {
        // munin-node would log the note about these networks at every sample.
        default_excludes.clear();
    }
    for ranges in [&thresholds.warning, &thresholds.critical] {
        require_distinct_metrics(ranges)?;
    }
    let (rule, other_rule) = rules(&thresholds);
    Ok(CheckConfig {
        servers: Target::sorted_names(&targets),
        targets,
        selection: Selection {
            family: match (selection.ipv4_only, selection.ipv6_only) {
                (true, _) => Some(IpFamily::V4),
                (_, true) => Some(IpFamily::V6),
                _ => None,
            },
            only: selection.only,
            excludes,
            ports: selection.port,
            protocol: selection.protocol,
            tcp_states,
            inbound_only: selection.inbound,
        },
        default_excludes,
        exclude_files: selection.exclude_file,
        labels: selection.label,
        label_files: selection.label_file,
        network_dbs: selection.network_db,
        aggregations,
        n_judged: max_judged,
        n_listed: match list_limit {
            ListLimit::Unlimited => usize::MAX,
            ListLimit::Number(number) => number,
            ListLimit::Top => max_judged.unwrap_or(DEFAULT_LISTED_PEERS),
        },
        judge_config: JudgeConfig {
            rule,
            other_rule,
            floor: thresholds.floor,
            consecutive: thresholds.consecutive,
            max_age: Some(thresholds.max_age).filter(|age| !age.is_zero()),
            warning: thresholds.warning,
            critical: thresholds.critical,
        },
        state_location,
        count_tcp_states,
        report_hidden_namespaces,
        deadline: sampling_deadline(&alerts, deadline, reserved_time),
        notify: alerts,
    })
}

fn default_exclude(text: &str) -> Network {
    text.parse().expect("a default exclude is a network")
}

/// Returns the configuration of the notifications. The mail is sent first, and must end
/// before the time that is reserved for the program.
fn alerts(
    args: NotifyArgs,
    targets: &[Target],
    (deadline, reserved_time): (Instant, Duration),
    invocation: &Invocation,
) -> Result<NotifyConfig, Problem> {
    let NotifyArgs { log, log_format, never_log, mail, exec } = args;
    let log = log.map(|sink| LogConfig { sink, format: log_format });
    let mail_deadline = if exec.is_some() { earlier(deadline, reserved_time) } else { deadline };
    let mail = mail_config::build(&mail, targets, mail_deadline, invocation)?;
    let program = exec.map(|path| ProgramConfig { path, deadline });
    Ok(NotifyConfig { log, never_log, mail, program })
}

/// Returns the deadline for sampling. An unresponsive server must not use up the time for
/// the mail and the program.
fn sampling_deadline(alerts: &NotifyConfig, deadline: Instant, reserved_time: Duration) -> Instant {
    let mut deadline = deadline;
    for is_configured in [alerts.mail.is_some(), alerts.program.is_some()] {
        if is_configured {
            deadline = earlier(deadline, reserved_time);
        }
    }
    deadline
}

fn earlier(instant: Instant, by: Duration) -> Instant {
    instant.checked_sub(by).unwrap_or(instant)
}

/// Returns the TCP states whose connections are counted.
pub(super) fn tcp_states(args: &SelectionArgs) -> TcpStates {
    let included = match args.tcp_states[..] {
        [] => args.protocol.states(),
        _ => TcpStates::new(&args.tcp_states),
    };
    included.without(TcpStates::new(&args.exclude_tcp_states))
}

/// Checks that connections of the selected protocols can have each of the given states.
///
/// # Errors
///
/// Returns an error if no connection of these protocols can have one of the states.
fn require_possible_states(args: &SelectionArgs) -> Result<(), Problem> {
    let SelectionArgs { protocol, tcp_states, exclude_tcp_states, .. } = args;
    for (option, states) in [("`--state`", tcp_states), ("`--exclude-state`", exclude_tcp_states)] {
        let impossible = states.iter().find(|&&state| !protocol.states().contains(state));
        if let Some(state) = impossible {
            let (name, others) =
                if protocol.includes_udp() { ("tcp", "flow") } else { ("udp", "connection") };
            let message = format!(
                "{option} {} has no effect: no {others} of `--protocol` {} has that state",
                state.name(),
                protocol.name()
            );
            let hint =
                format!("{} is a state of {name}; `--protocol` all counts both.", state.name());
            return Err(Problem::new(message, hint));
        }
    }
    Ok(())
}

/// Returns each prefix length once, longest first.
fn distinct_lengths(given: &[u8]) -> Vec<u8> {
    let mut lengths = given.to_vec();
    lengths.sort_unstable_by_key(|&length| Reverse(length));
    lengths.dedup();
    lengths
}

/// Returns the rule in use, and the other rule, whose limit is only reported. For
/// `lognormal` and `stddev`, the other rule is `auto`: its limit is never above that of
/// `lognormal`.
fn rules(thresholds: &ThresholdArgs) -> (Rule, Rule) {
    let false_alarm_rate = thresholds.false_alarm_rate;
    let multiplier = thresholds.multiplier();
    let auto = Rule::Auto { multiplier, false_alarm_rate };
    if let Some(limit) = thresholds.limit {
        return (Rule::Fixed(limit), auto);
    }
    match thresholds.rule_name() {
        RuleName::Auto => (auto, Rule::Stddev(multiplier)),
        RuleName::Stddev => (Rule::Stddev(multiplier), auto),
        RuleName::Lognormal => (Rule::Lognormal { false_alarm_rate }, auto),
    }
}

/// Returns the aggregations: pairs of prefix lengths for IPv4 and IPv6, longest first, then
/// groups. The last length of the shorter list is repeated.
///
/// # Errors
///
/// Returns an error if there are more than [`MAX_PREFIX_VIEWS`] pairs, or if the option
/// that defines the groups is missing.
fn aggregations(selection: &SelectionArgs) -> Result<Vec<Aggregation>, Problem> {
    let (v4, v6) = (distinct_lengths(&selection.prefix4), distinct_lengths(&selection.prefix6));
    let n_aggregations = v4.len().max(v6.len());
    if n_aggregations > MAX_PREFIX_VIEWS {
        let message =
            format!("`--prefix4` and `--prefix6` take at most {MAX_PREFIX_VIEWS} lengths");
        let hint = "Each length adds a field to the performance data.".to_owned();
        return Err(Problem::with_hints(&message, vec![hint]));
    }
    let prefix_lengths = (0..n_aggregations).map(|n| PrefixLengths {
        v4: v4[n.min(v4.len() - 1)],
        v6: v6[n.min(v6.len() - 1)],
        min_members: selection.prefix_members,
    });
    let groups = distinct_groups(selection);
    for by in &groups {
        require_group_source(*by, selection)?;
    }
    let groups = groups.into_iter().map(Aggregation::Group);
    Ok(prefix_lengths.map(Aggregation::Prefix).chain(groups).collect())
}

/// Returns each property of the groups once, sorted.
fn distinct_groups(selection: &SelectionArgs) -> BTreeSet<GroupBy> {
    selection.group_by.iter().copied().collect()
}

/// Returns the values of the options that assign addresses to groups; empty without groups.
fn group_source(selection: &SelectionArgs) -> String {
    let groups = distinct_groups(selection);
    let mut sources = Vec::new();
    if groups.contains(&GroupBy::Label) {
        sources.extend(selection.label.iter().map(|it| format!("{}={}", it.network, it.name)));
        sources.extend(selection.label_file.iter().map(|it| it.display().to_string()));
    }
    if groups.contains(&GroupBy::Asn) || groups.contains(&GroupBy::Country) {
        sources.extend(selection.network_db.iter().map(|it| it.display().to_string()));
    }
    sources.join("\n")
}

/// Checks that the option that assigns addresses to groups is given.
fn require_group_source(by: GroupBy, selection: &SelectionArgs) -> Result<(), Problem> {
    let (needed, hint, is_given) = match by {
        GroupBy::Asn | GroupBy::Country => (
            "`--network-db`",
            "Name a file such as GeoLite2-ASN.mmdb.",
            !selection.network_db.is_empty(),
        ),
        GroupBy::Label => (
            "`--label` or `--label-file`",
            "A group consists of all networks with the same name.",
            !(selection.label.is_empty() && selection.label_file.is_empty()),
        ),
    };
    if is_given {
        return Ok(());
    }
    Err(Problem::new(format!("`--group-by` {} needs {needed}", by.name()), hint))
}

/// Returns the location of the state file: the path of `--state-file`, or a directory
/// from the environment, of the package, or in the user's home directory.
fn state_location(
    args: &SampleArgs,
    applet: Applet,
    invocation: &Invocation,
    targets: &[Target],
) -> StateLocation {
    if let Some(path) = &args.thresholds.state_file {
        return StateLocation::File(path.clone());
    }
    let (shared_dir, user_dir) = match explicit_state_dir(applet, invocation) {
        Some(dir) => (None, Some(dir)),
        None => (Some(PathBuf::from("/var/lib/topip")), user_state_dir(invocation)),
    };
    let servers = Target::sorted_names(targets).join("+");
    let servers: String = servers.chars().map(file_name_char).take(64).collect();
    let mut key = state_key(args, targets);
    if let Some(client) = munin_client(applet, invocation) {
        key = format!("{key}client={}\n", client.escape_default());
    }
    let name = format!("{}-{servers}-{:016x}.ron", applet.name(), fnv1a(&key));
    StateLocation::InUserDirectory { shared_dir, user_dir, name }
}

/// Returns the directory from the variables of the plugin guidelines or of munin-node.
fn explicit_state_dir(applet: Applet, invocation: &Invocation) -> Option<PathBuf> {
    let mut variables = vec!["MP_STATE_PATH", "NAGIOS_PLUGIN_STATE_DIRECTORY"];
    if applet == Applet::Munin {
        variables.push("MUNIN_PLUGSTATE");
    }
    variables.into_iter().find_map(|name| invocation.env_var(name)).map(PathBuf::from)
}

/// Returns the directory for state in the user's home (XDG Base Directory
/// Specification). A relative path would depend on the working directory of the check.
fn user_state_dir(invocation: &Invocation) -> Option<PathBuf> {
    let absolute_path =
        |name| invocation.env_var(name).map(Path::new).filter(|path| path.is_absolute());
    if let Some(dir) = absolute_path("XDG_STATE_HOME") {
        return Some(dir.join("topip"));
    }
    Some(absolute_path("HOME")?.join(".local/state/topip"))
}

/// Returns an identifier of the Munin master and the plugin link: munin-node names its
/// own state file after both.
///
/// Each client, including munin-run, has a state file of its own; otherwise the samples
/// of one client would be consecutive samples for another client. `None` if munin-node has
/// not set the variable, and for other programs.
fn munin_client(applet: Applet, invocation: &Invocation) -> Option<String> {
    if applet != Applet::Munin {
        return None;
    }
    Some(invocation.env_var("MUNIN_STATEFILE")?.to_string_lossy().into_owned())
}

/// Returns a character of a server's name for use in a file name.
fn file_name_char(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || "-.+".contains(letter) { letter } else { '_' }
}

/// Returns the options that distinguish two checks: sources, selection and thresholds.
///
/// Two services that share a state file would each use the other's sample as their own
/// previous sample. Every part is an explicit string, because the hash of all parts is in
/// the name of the state file: renaming a type must not lose a history. An option that is
/// not given adds nothing, so that a new option does not change the names of existing files.
fn state_key(args: &SampleArgs, targets: &[Target]) -> String {
    let SampleArgs { selection, ssh, thresholds, .. } = args;
    let ports = selection.port.iter().map(|it| format!("{}-{}", it.start(), it.end()));
    let exclude_files = selection.exclude_file.iter().map(|it| it.display().to_string());
    let groups: Vec<_> = distinct_groups(selection).into_iter().map(GroupBy::name).collect();
    let parts = [
        ("input", selection.input.as_ref().map(|it| it.display().to_string()).unwrap_or_default()),
        ("servers", Target::sorted_names(targets).join(",")),
        ("command", ssh.command.clone().unwrap_or_default()),
        // The configuration of the client may map a server's name to another host.
        ("rsh", ssh.rsh.as_ref().map(|rsh| rsh.words().join("\0")).unwrap_or_default()),
        ("port", ports.collect::<Vec<_>>().join(",")),
        ("tcp_states", format!("{:x}", tcp_states(selection).bits())),
        ("inbound", yes_if(selection.inbound)),
        ("ipv4_only", yes_if(selection.ipv4_only)),
        ("ipv6_only", yes_if(selection.ipv6_only)),
        ("only", sorted_texts(&selection.only).join(",")),
        ("exclude", sorted_texts(&selection.exclude).join(",")),
        ("exclude_file", exclude_files.collect::<Vec<_>>().join(",")),
        ("no_default_excludes", yes_if(selection.no_default_excludes)),
        ("prefix4", texts(&distinct_lengths(&selection.prefix4)).join(",")),
        ("prefix6", texts(&distinct_lengths(&selection.prefix6)).join(",")),
        ("prefix_members", selection.prefix_members.to_string()),
        ("group_by", groups.join(",")),
        ("group_source", group_source(selection)),
        ("top", thresholds.top.filter(|&top| top > 1).map(|it| it.to_string()).unwrap_or_default()),
        ("limit", thresholds.limit.map(|limit| limit.to_string()).unwrap_or_default()),
        ("rule", rule_key(thresholds.rule_name()).to_owned()),
        ("stddev", thresholds.multiplier().to_string()),
        ("false_alarm_rate", thresholds.false_alarm_rate.to_string()),
        ("floor", thresholds.floor.to_string()),
        ("consecutive", thresholds.consecutive.to_string()),
        ("max_age", thresholds.max_age.as_secs().to_string()),
        ("warning", range_texts(&thresholds.warning)),
        ("critical", range_texts(&thresholds.critical)),
        // Connection tracking is a different table; netlink and /proc show the same one.
        ("conntrack", yes_if(selection.source == SourceKind::Conntrack)),
        ("protocol", protocol_key(selection.protocol)),
        ("netns", netns_names(selection).join(",")),
    ];
    let non_empty = parts.iter().filter(|(_, value)| !value.is_empty());
    non_empty.map(|(name, value)| format!("{name}={}\n", value.escape_default())).collect()
}

fn rule_key(rule: RuleName) -> &'static str {
    match rule {
        RuleName::Auto => "auto",
        RuleName::Stddev => "stddev",
        RuleName::Lognormal => "lognormal",
    }
}

fn protocol_key(protocol: Protocol) -> String {
    if protocol == Protocol::Tcp { String::new() } else { protocol.name().to_owned() }
}

fn yes_if(is_set: bool) -> String {
    if is_set { "yes".to_owned() } else { String::new() }
}

/// Checks that each metric has one range.
///
/// # Errors
///
/// Returns an error if a metric has two ranges of the same severity.
fn require_distinct_metrics(ranges: &[MetricRange]) -> Result<(), Problem> {
    for (index, MetricRange { metric, .. }) in ranges.iter().enumerate() {
        if ranges[..index].iter().any(|earlier| earlier.metric == *metric) {
            let message =
                format!("`--warning` and `--critical` take one range for {}", metric.name());
            return Err(Problem::new(message, "Leave out the other one."));
        }
    }
    Ok(())
}

/// Returns the ranges in the order of their metrics.
fn range_texts(ranges: &[MetricRange]) -> String {
    let mut ranges = ranges.to_vec();
    ranges.sort_by_key(|range| range.metric);
    texts(&ranges).join(",")
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn sorted_texts(values: &[impl ToString]) -> Vec<String> {
    let mut texts = texts(values);
    texts.sort();
    texts
}

/// Returns the requested network namespaces, sorted and without duplicates. The set of
/// existing namespaces is not part of the key, because it changes over time.
fn netns_names(selection: &SelectionArgs) -> Vec<String> {
    let mut names = sorted_texts(&selection.netns);
    names.dedup();
    names
}

/// Returns the 64-bit FNV-1a hash (draft-eastlake-fnv) of `text`.
///
/// Unlike the hashes of the standard library, it is the same in every version and on
/// every machine. Deliberate collisions are not a threat: the administrator chooses
/// all of the input.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_matches_published_vectors() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }
}
