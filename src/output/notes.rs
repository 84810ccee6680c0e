//! Sentences for the notes and details of a run.
use chrono::DateTime;

use crate::{
    analysis::{
        note::{Note, SourceDetail, UnlistedConnections, UnlistedReason},
        protection::{ProtectedPeer, ProtectionReason},
    },
    model::{kernel_counters::FlowTableSize, network::Network},
    parse::{Dialect, TableKind, capture::CaptureNote},
};

use super::{
    report::{MailDetail, PassedOn, Report},
    text,
};

/// Returns a note as a sentence.
#[must_use]
pub fn note_text(note: &Note) -> String {
    match note {
        Note::UnverifiedServers(names) => {
            format!("Host key not verified (`--host-key` ignore): {}.", names.join(", "))
        }
        Note::VanishedNamespaces(names) => namespaces_text(
            names,
            "was removed before it was sampled",
            "were removed before they were sampled",
        ),
        Note::ForeignNamespaces { count, owners } => foreign_namespaces_text(*count, owners),
        Note::StaleNamespaceNames(names) => namespaces_text(
            names,
            "has a file in /run/netns, but is not mounted there for this process",
            "have files in /run/netns, but are not mounted there for this process",
        ),
        Note::StateFileQuarantined { defect, renamed_to } => format!(
            "The state file was damaged ({defect}) and renamed to {}; this is a first sample.",
            renamed_to.display()
        ),
        Note::HiddenNamespaces { count } => hidden_namespaces_text(*count),
        Note::MostExcludedByDefault { excluded, total, networks } => format!(
            "{excluded} of {total} connections are excluded by default ({}); use \
             `--no-default-excludes` to count them.",
            networks.iter().map(Network::to_string).collect::<Vec<_>>().join(", ")
        ),
        Note::NotLogged(peers) => not_logged_text(peers),
        Note::UnlistedConnections(unlisted) => unlisted_text(unlisted),
        Note::FlowTableFull { size, namespace } => {
            let FlowTableSize { count, max } = size;
            let place = namespaces_suffix(namespace.as_slice());
            format!(
                "The connection tracking table is full ({count} of {max} flows{place}): the \
                 kernel drops new connections. See net.netfilter.nf_conntrack_max."
            )
        }
    }
}

/// Returns a sentence about connections that no table shows.
fn unlisted_text(unlisted: &UnlistedConnections) -> String {
    let UnlistedConnections { reason, count, namespaces } = unlisted;
    let place = namespaces_suffix(namespaces);
    match reason {
        UnlistedReason::SynCookies => format!(
            "Since the previous sample, the kernel has answered {} with SYN cookies{place}: a \
             socket table does not list them.",
            text::pluralize(*count, "connection request", "connection requests")
        ),
        UnlistedReason::ListenOverflow => format!(
            "Since the previous sample, the kernel has dropped a connection {} because an accept \
             queue was full{place}.",
            text::pluralize(*count, "time", "times")
        ),
        UnlistedReason::FlowDrop => format!(
            "Since the previous sample, connection tracking has dropped {}{place}.",
            text::pluralize(*count, "packet", "packets")
        ),
    }
}

/// Returns the network namespaces that a note is about, to follow another text.
fn namespaces_suffix(namespaces: &[String]) -> String {
    match namespaces {
        [] => String::new(),
        [name] => format!(", in network namespace {name}"),
        [name, others @ ..] => {
            format!(", in network namespace {name} and {} more", others.len())
        }
    }
}

/// Maximum number of peers that a note names.
const MAX_NAMED_PEERS: usize = 3;

fn not_logged_text(peers: &[ProtectedPeer]) -> String {
    let named = peers.iter().take(MAX_NAMED_PEERS);
    let mut reasons: Vec<_> = named.map(protected_peer_text).collect();
    if peers.len() > MAX_NAMED_PEERS {
        reasons.push(format!("{} more", peers.len() - MAX_NAMED_PEERS));
    }
    format!("Over the limit, but not logged: {}.", reasons.join("; "))
}

/// Returns a peer that was not logged, and the reason.
pub(super) fn protected_peer_text(ProtectedPeer { network, reason }: &ProtectedPeer) -> String {
    match reason {
        ProtectionReason::NeverLog(protected) if protected == network => {
            format!("{network} (`--never-log`)")
        }
        ProtectionReason::NeverLog(protected) => format!("{network} (`--never-log` {protected})"),
        ProtectionReason::Excluded(excluded) => {
            format!("{network} (contains {excluded}, which is excluded)")
        }
        ProtectionReason::LocalAddress(address) => {
            format!("{network} (contains {address}, an address of this host)")
        }
        ProtectionReason::UnknownLocalAddresses => {
            format!("{network} (the addresses of this host are unknown, and may be in it)")
        }
    }
}

/// Returns the details of a run, one line each: sources, state file, previous samples,
/// skipped connections, mail.
pub(super) fn detail_lines(report: &Report) -> Vec<String> {
    let mut lines: Vec<_> = report.observation.details.iter().map(source_detail_text).collect();
    if let Some(path) = &report.state_file {
        lines.push(format!("State file: {}", path.display()));
    }
    lines.extend(text::previous_sample_lines(&report.views));
    lines.extend(text::skipped_lines(&report.observation.skipped));
    lines.extend(report.mail.as_ref().map(mail_text));
    lines.extend(report.passed_on.as_ref().map(passed_on_text));
    lines
}

fn source_detail_text(detail: &SourceDetail) -> String {
    match detail {
        SourceDetail::Read { source, dialects, n_other, table_kind } => {
            source_text(source, dialects, (*n_other, *table_kind))
        }
        SourceDetail::Failed(failed) => failed.to_string(),
        SourceDetail::Capture(CaptureNote::SshLogin { server, user, method, command }) => {
            format!("{server}: logged in as {user} by {method}; ran {command}")
        }
        SourceDetail::Capture(CaptureNote::SshSession { server, algorithms, timings }) => {
            format!("{server}: {algorithms}; {timings}")
        }
        SourceDetail::Capture(CaptureNote::RemoteShell { server, program, command }) => {
            format!("{server}: reached by {program}; ran {command}")
        }
        SourceDetail::Capture(CaptureNote::FlowTableSize { count, max }) => {
            format!("The kernel tracks {count} flows, of at most {max}.")
        }
        SourceDetail::NetworkDb { path, database_type, build_time } => {
            let build_time = i64::try_from(*build_time).unwrap_or(i64::MAX);
            let built = DateTime::from_timestamp(build_time, 0)
                .map_or_else(String::new, |time| time.format(", built %Y-%m-%d").to_string());
            format!("Network database: {}, {database_type}{built}", path.display())
        }
        SourceDetail::UnknownLocalAddresses { source } => format!(
            "{source} does not show the addresses of its host: flows that the host opened are \
             counted as well."
        ),
    }
}

/// Returns a source with the dialects that it was parsed as.
fn source_text(source: &str, dialects: &[Dialect], other_rows: (u64, TableKind)) -> String {
    let mut line = format!("Source: {source}");
    match dialects {
        [] => line += ", which has only headings",
        // These have a single format, so it is not shown.
        [Dialect::InetDiag | Dialect::BpfWalk | Dialect::Ctnetlink] => {}
        [Dialect::BpfWalk, Dialect::InetDiag] => line += "; listening sockets: netlink",
        _ => {
            let names: Vec<_> = dialects.iter().map(|dialect| dialect.name()).collect();
            line = format!("{line}, read as {}", names.join(", "));
        }
    }
    let (n_other, table_kind) = other_rows;
    if n_other > 0 {
        let rows = text::pluralize(n_other, "row", "rows");
        let other_kind = match table_kind {
            TableKind::Flows => "flows",
            TableKind::Sockets | TableKind::Counts | TableKind::Mixed => "sockets",
        };
        line = format!("{line}; {rows} of other {other_kind}");
    }
    line
}

fn mail_text(detail: &MailDetail) -> String {
    match detail {
        MailDetail::SentByOtherRun => "Mail: already sent by another run.".to_owned(),
        MailDetail::RecentlySent { id, seconds_ago, remind_after } => format!(
            "Mail: sent {seconds_ago} s ago about {id}; sent again after {}",
            text::format_duration(remind_after.as_secs())
        ),
        MailDetail::Sent { subject, to, route } => {
            format!("Mail: {subject} sent to {} by {route}", to.join(", "))
        }
    }
}

fn passed_on_text(PassedOn { program, n_alerts }: &PassedOn) -> String {
    let n_alerts = u64::try_from(*n_alerts).unwrap_or(u64::MAX);
    let alerts = text::pluralize(n_alerts, "alert", "alerts");
    format!("Passed on: {alerts} to {}", program.display())
}

fn namespaces_text(names: &[String], singular: &str, plural: &str) -> String {
    match names {
        [name] => format!("Network namespace {name} {singular}."),
        [name, ..] => format!("{} network namespaces {plural}, {name} first.", names.len()),
        [] => String::new(),
    }
}

/// Returns a sentence about the namespaces of unprivileged users, which are not counted,
/// with the option that counts them.
fn foreign_namespaces_text(count: usize, owners: &[u32]) -> String {
    /// Maximum number of user IDs that are listed: one user can have thousands.
    const MAX_LISTED_OWNERS: usize = 4;
    let (namespaces, are) = match count {
        1 => ("1 network namespace".to_owned(), "is"),
        _ => (format!("{count} network namespaces"), "are"),
    };
    let listed: Vec<_> =
        owners.iter().take(MAX_LISTED_OWNERS).map(|uid| format!("user:{uid}")).collect();
    let more = if owners.len() > listed.len() { ", and others" } else { "" };
    format!(
        "{namespaces} of unprivileged users ({}{more}) {are} not counted: a user can fake \
         connections there. `--netns` all,{} counts those of a user that you trust.",
        listed.join(", "),
        listed.first().map_or("user:NAME", String::as_str)
    )
}

/// Returns a sentence about sockets in other namespaces, which are not counted, with
/// the options that count them. With `count` 0, other namespaces exist, but none was
/// found to hold sockets.
fn hidden_namespaces_text(count: usize) -> String {
    let others = match count {
        0 => "has other network namespaces, whose connections are not counted".to_owned(),
        1 => "another network namespace has sockets that are not counted".to_owned(),
        n => format!("{n} other network namespaces have sockets that are not counted"),
    };
    format!(
        "This host forwards packets and {others}, for example those of containers. See `--netns` \
         all and `--source` conntrack, and Containers, routers, balancers in check_topip(1)."
    )
}
