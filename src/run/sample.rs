//! Takes a sample from the first source that gives one.
use std::net::SocketAddr;

use rustix::io::Errno;

use crate::{
    analysis::{
        filter::{DuplicateDetector, Filter, Skipped},
        tally::Tally,
    },
    model::{connection::Connection, namespace::Namespace},
    output::{self, Trouble},
    parse::{self, ParseError, ParseStats, TableKind, capture::SessionConnection},
    source::{Activity, Source, SourceError},
};

use super::error::{Error, error_chain};

/// Result of reading a source.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) tally: Tally,
    pub(super) skipped: Skipped,
    pub(super) parse_stats: ParseStats,
    /// The source that was read, and the failures of the sources tried before it.
    pub(super) details: Vec<String>,
    /// Number of connections in each network namespace; empty if none were requested.
    pub(super) namespaces: Vec<(Namespace, u64)>,
    /// Failures of parts of the source.
    pub(super) problems: Vec<Trouble>,
    /// Information that does not affect the status.
    pub(super) notes: Vec<String>,
}

/// Maximum number of attempts at a source that fails temporarily, for example a dump
/// interrupted by the kernel.
const MAX_ATTEMPTS: u32 = 3;

/// Reads the first source that gives a sample.
///
/// # Errors
///
/// Returns an error if all sources fail.
pub(super) fn sample_sources(
    sources: &[Source],
    filter: &Filter,
    activity: &Activity,
) -> Result<Looked, Error> {
    let mut attempts = Vec::new();
    let mut hints = Vec::new();
    let mut last = None;
    for source in sources {
        for attempt in 1..=MAX_ATTEMPTS {
            match read_source(source, filter, activity) {
                Ok(mut observation) => {
                    attempts.push(output::describe_source(
                        &source.to_string(),
                        &observation.parse_stats,
                    ));
                    attempts.append(&mut observation.details);
                    observation.details = attempts;
                    return Ok(observation);
                }
                // No other source can enter the namespace.
                Err(error @ Error::Source(SourceError::Netns(_))) => return Err(error),
                Err(error) => {
                    attempts.push(format!("Not by {source}: {}", error_chain(&error)));
                    // Each source of tracked connections needs its own capability and
                    // kernel module, so keep the hints of all.
                    if source.table_kind() == Some(TableKind::Flows) {
                        hints.append(&mut error.hints());
                    }
                    let is_retried = is_temporary(&error) && attempt < MAX_ATTEMPTS;
                    last = Some(error);
                    if !is_retried {
                        break;
                    }
                }
            }
        }
    }
    let last = last.expect("there is a source");
    // The error of the last source is reported separately, with its hints.
    attempts.pop();
    let last_hints = last.hints();
    hints.retain(|line| !last_hints.contains(line));
    hints.dedup();
    attempts.append(&mut hints);
    if sources.len() == 1 && attempts.is_empty() {
        return Err(last);
    }
    let table_kind = sources.iter().find_map(Source::table_kind).unwrap_or_default();
    Err(Error::AllSourcesFailed { table_kind, last: Box::new(last), earlier_attempts: attempts })
}

/// Returns whether another attempt at the same source may succeed.
fn is_temporary(error: &Error) -> bool {
    match error {
        Error::Parse(ParseError::DumpInterrupted { .. } | ParseError::DumpIncomplete { .. }) => {
            true
        }
        // The kernel reports a missing buffer as one of these two errors.
        Error::Parse(ParseError::Read { source, .. } | ParseError::DumpRefused { source, .. })
        | Error::Source(
            SourceError::Netlink { source, .. } | SourceError::Refused { source, .. },
        ) => {
            matches!(
                source.raw_os_error().map(Errno::from_raw_os_error),
                Some(Errno::NOBUFS | Errno::NOMEM)
            )
        }
        _ => false,
    }
}

fn read_source(source: &Source, filter: &Filter, activity: &Activity) -> Result<Looked, Error> {
    let mut filter = filter.clone();
    let mut tally = Tally::default();
    let mut total_stats = ParseStats::default();
    let mut details = Vec::new();
    for mut capture in source.open(activity)? {
        details.append(&mut capture.notes);
        let session_connection = capture.session_connection;
        let knows_addresses = capture.local_addresses.is_some();
        if let Some(addresses) = capture.local_addresses.take() {
            filter.set_local_addresses(addresses);
        }
        let mut duplicates = matches!(source, Source::Proc).then(DuplicateDetector::default);
        let (mut n_connected, mut saw_session_connection) = (0_u64, false);
        let parse_stats = parse::read(capture, &mut |connection| {
            if duplicates.as_mut().is_some_and(|duplicates| duplicates.is_duplicate(connection)) {
                return false;
            }
            n_connected += u64::from(connection.is_connected());
            let is_session = session_connection.is_some_and(|session_connection| {
                is_session_connection(connection, session_connection)
            });
            saw_session_connection |= is_session;
            let counts = !is_session && filter.accepts(connection);
            if counts {
                tally.add(connection);
            }
            counts
        });
        let nothing_tracked = || ParseError::NothingTracked { origin: source.to_string() };
        let expects_flows = source.table_kind() == Some(TableKind::Flows);
        let parse_stats = parse_stats.map_err(|error| match error {
            ParseError::Empty { .. } if expects_flows => nothing_tracked(),
            error => error,
        })?;
        let has_sockets = parse_stats.table_kind() == TableKind::Sockets;
        // A server reached over TCP must list the session connection. Conntrack may
        // list it with other endpoints if it was forwarded.
        let is_incomplete = session_connection.is_some_and(|session_connection| {
            let must_see =
                session_connection.is_confirmed && has_sockets && parse_stats.n_truncated == 0;
            n_connected == 0 || (must_see && !saw_session_connection)
        });
        if is_incomplete && parse_stats.n_unreadable == 0 {
            let missing_connection =
                || ParseError::SessionConnectionMissing { origin: source.to_string() };
            return Err(if has_sockets { missing_connection() } else { nothing_tracked() }.into());
        }
        if expects_flows && parse_stats.table_kind() != TableKind::Flows {
            return Err(ParseError::NotAFlowTable { origin: source.to_string() }.into());
        }
        if !has_sockets && !knows_addresses {
            if filter.is_inbound_only() {
                return Err(ParseError::UnknownLocalAddresses { origin: source.to_string() }.into());
            }
            details.push(format!(
                "{source} does not tell the addresses of its host: flows that it opened count too."
            ));
        }
        total_stats.merge(parse_stats);
    }
    let outbound =
        filter.inbound_ports().map(|ports| (ports.is_empty(), tally.retain_ports(ports)));
    // A listing may omit the listening sockets, but a namespace without listening
    // sockets is normal.
    let must_have_listeners = !matches!(source, Source::InNamespace { .. });
    if let Some((true, _)) = outbound
        && total_stats.n_rows > 0
        && must_have_listeners
    {
        return Err(ParseError::NoListeners { origin: source.to_string() }.into());
    }
    let mut skipped = filter.into_skipped();
    skipped.outbound += outbound.map_or(0, |(_, n)| n);
    Ok(Looked { tally, skipped, parse_stats: total_stats, details, ..Looked::default() })
}

/// Returns whether a connection is the session connection over which the source is
/// read. Both directions are compared because the server may be the local host.
fn is_session_connection(connection: &Connection, session_connection: SessionConnection) -> bool {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let endpoints = (canonical(connection.local), canonical(connection.peer));
    endpoints == (session_connection.local, session_connection.peer)
        || endpoints == (session_connection.peer, session_connection.local)
}
