//! Takes a sample from the first usable source.
use rustix::io::Errno;

use crate::{
    analysis::{
        filter::{DuplicateDetector, Filter},
        note::{FailedSource, SourceDetail},
        observation::Observation,
        tally::Tally,
    },
    model::{
        connection::Connection,
        problem::{Hints, error_chain},
    },
    parse::{self, Dialect, ParseError, ParseStats, TableKind, capture::Capture},
    source::{Activity, Source, SourceError},
};

use super::{run_error::Error, session_connection::SessionDetector};

/// Maximum number of attempts at a source that fails temporarily, for example a dump
/// interrupted by the kernel.
const MAX_ATTEMPTS: u32 = 3;

/// Reads the first source that does not fail.
///
/// # Errors
///
/// Returns an error if all sources fail.
pub(super) fn sample_sources(
    sources: &[Source],
    filter: &Filter,
    activity: &Activity,
) -> Result<Observation, Error> {
    let mut failures: Vec<(&Source, Error)> = Vec::new();
    for source in sources {
        for attempt in 1..=MAX_ATTEMPTS {
            match read_source(source, filter, activity) {
                Ok(mut observation) => {
                    let failed = failed_sources(&failures).into_iter().map(SourceDetail::Failed);
                    observation.details.splice(0..0, failed);
                    return Ok(observation);
                }
                // No other source can enter the namespace.
                Err(error @ Error::Source(SourceError::Netns(_))) => return Err(error),
                Err(Error::Source(error)) if error.is_optional_source() && sources.len() > 1 => {
                    break;
                }
                Err(error) => {
                    let is_retried = is_temporary(&error) && attempt < MAX_ATTEMPTS;
                    failures.push((source, error));
                    if !is_retried {
                        break;
                    }
                }
            }
        }
    }
    let (_, last) = failures.pop().expect("there is a source");
    if sources.len() == 1 && failures.is_empty() {
        return Err(last);
    }
    Err(all_sources_failed(sources, &failures, last))
}

fn failed_sources(failures: &[(&Source, Error)]) -> Vec<FailedSource> {
    let failed = failures.iter().map(|(source, error)| FailedSource {
        source: source.to_string(),
        error: error_chain(error),
    });
    failed.collect()
}

fn all_sources_failed(sources: &[Source], earlier: &[(&Source, Error)], last: Error) -> Error {
    let last_hints = last.to_problem().hints;
    let mut flow_hints = Vec::new();
    for (source, error) in earlier {
        if source.table_kind() == Some(TableKind::Flows) {
            flow_hints.extend(error.to_problem().hints);
        }
    }
    flow_hints.retain(|hint| !last_hints.contains(hint));
    flow_hints.dedup();
    Error::AllSourcesFailed {
        table_kind: sources.iter().find_map(Source::table_kind).unwrap_or_default(),
        last: Box::new(last),
        earlier: failed_sources(earlier),
        flow_hints,
    }
}

/// Returns whether another attempt at the same source may succeed.
fn is_temporary(error: &Error) -> bool {
    match error {
        Error::Parse(ParseError::DumpInterrupted { .. } | ParseError::DumpIncomplete { .. }) => {
            true
        }
        // The kernel reports a lack of buffer space as one of these two errors.
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

/// Reads one source: parses its captures, counts the connections that the filter
/// accepts, and validates the result.
fn read_source(
    source: &Source,
    filter: &Filter,
    activity: &Activity,
) -> Result<Observation, Error> {
    let mut counter = ConnectionCounter::new(source, filter);
    let protocol = filter.protocol();
    let mut parse_stats = ParseStats::default();
    let mut details = Vec::new();
    let mut kernel_counters = Vec::new();
    let mut server_identity = None;
    for mut capture in source.open(activity)? {
        details.extend(capture.notes.drain(..).map(SourceDetail::Capture));
        kernel_counters.extend(capture.kernel_counters.take());
        server_identity = capture.server_identity.take();
        let knows_addresses = counter.set_local_addresses(&mut capture);
        // UDP flows do not include the session connection.
        let session_connection = capture.session_connection.filter(|_| protocol.includes_tcp());
        counter.session = SessionDetector::new(session_connection);
        let stats = parse::read_protocol(capture, protocol, &mut |it| counter.count(it))
            .map_err(|error| expected_flows_error(source, error))?;
        counter.tally.settle_truncated(stats.n_truncated > 0);
        counter.check_capture(source, &stats)?;
        let has_flows = matches!(stats.table_kind(), TableKind::Flows | TableKind::Mixed);
        if has_flows && !knows_addresses {
            counter.require_local_addresses(source)?;
            details.push(SourceDetail::UnknownLocalAddresses { source: source.to_string() });
        }
        parse_stats.merge(stats);
    }
    let mut observation = counter.finish(source, parse_stats)?;
    details.insert(0, read_detail(source, &observation.parse_stats));
    observation.details = details;
    observation.kernel_counters = kernel_counters;
    observation.server_identity = server_identity;
    Ok(observation)
}

fn read_detail(source: &Source, stats: &ParseStats) -> SourceDetail {
    SourceDetail::Read {
        source: source.to_string(),
        dialects: stats.dialects.clone(),
        n_other: stats.n_other,
        table_kind: stats.table_kind(),
    }
}

/// Returns the error of an empty capture. For a flow table, the error is that no flow is
/// tracked.
fn expected_flows_error(source: &Source, error: ParseError) -> ParseError {
    match error {
        ParseError::Empty { .. } if expects_flows(source) => nothing_tracked(source),
        error => error,
    }
}

fn expects_flows(source: &Source) -> bool {
    source.table_kind() == Some(TableKind::Flows)
}

fn nothing_tracked(source: &Source) -> ParseError {
    ParseError::NothingTracked { origin: source.to_string() }
}

/// Counts the connections of one source.
struct ConnectionCounter {
    filter: Filter,
    tally: Tally,
    /// Detector of rows that `/proc` repeats; `None` for other sources.
    duplicates: Option<DuplicateDetector>,
    /// Search for the session connection in the current capture.
    session: SessionDetector,
}

impl ConnectionCounter {
    fn new(source: &Source, filter: &Filter) -> Self {
        let duplicates =
            if matches!(source, Source::Proc) { Some(DuplicateDetector::default()) } else { None };
        Self {
            filter: filter.clone(),
            tally: Tally::default(),
            duplicates,
            session: SessionDetector::default(),
        }
    }

    /// Passes the host's addresses to the filter. Returns whether the capture has them.
    fn set_local_addresses(&mut self, capture: &mut Capture) -> bool {
        let Some(addresses) = capture.local_addresses.take() else {
            return false;
        };
        self.filter.set_local_addresses(addresses);
        true
    }

    /// Counts a connection unless it is a duplicate, the session connection, or not
    /// selected. Returns whether it was counted.
    fn count(&mut self, connection: &Connection) -> bool {
        let duplicates = self.duplicates.as_mut();
        if duplicates.is_some_and(|duplicates| duplicates.is_duplicate(connection)) {
            return false;
        }
        if self.session.detect(connection) || !self.filter.accepts(connection) {
            return false;
        }
        self.tally.add(connection);
        true
    }

    /// Checks that the current capture was a complete table of the expected kind.
    ///
    /// # Errors
    ///
    /// Returns an error if the capture lacks the connection over which it was read, or
    /// if it is not a flow table and the source should be one.
    fn check_capture(&self, source: &Source, stats: &ParseStats) -> Result<(), ParseError> {
        if self.session.is_incomplete(stats) && stats.n_unreadable == 0 {
            return Err(if stats.table_kind() == TableKind::Sockets {
                ParseError::SessionConnectionMissing { origin: source.to_string() }
            } else {
                nothing_tracked(source)
            });
        }
        if stats.dialects.contains(&Dialect::Counts) {
            self.check_counts(source, stats)?;
        }
        if let Some(line) = stats.repeated_table_line {
            return Err(ParseError::SeveralListings { origin: source.to_string(), line });
        }
        if expects_flows(source) && stats.table_kind() != TableKind::Flows {
            return Err(ParseError::NotAFlowTable { origin: source.to_string() });
        }
        if self.filter.protocol().includes_udp() && stats.table_kind() != TableKind::Flows {
            return Err(ParseError::NoUdpFlows { origin: source.to_string() });
        }
        Ok(())
    }

    /// Checks that counts by address are the only rows of a listing, and that the selection
    /// needs only the address.
    ///
    /// # Errors
    ///
    /// Returns an error if there are other rows, or if an option needs ports or states.
    fn check_counts(&self, source: &Source, stats: &ParseStats) -> Result<(), ParseError> {
        let origin = source.to_string();
        if stats.table_kind() != TableKind::Counts {
            return Err(ParseError::MixedCounts { origin });
        }
        match self.filter.detail_option() {
            Some(option) => Err(ParseError::CountsWithoutDetails { origin, option }),
            None => Ok(()),
        }
    }

    /// Checks that the selection works without the addresses of the host.
    ///
    /// # Errors
    ///
    /// Returns an error if inbound connections are selected: without the addresses of
    /// the host, the direction of a flow is unknown.
    fn require_local_addresses(&self, source: &Source) -> Result<(), ParseError> {
        if self.filter.is_inbound_only() {
            return Err(ParseError::UnknownLocalAddresses { origin: source.to_string() });
        }
        Ok(())
    }

    /// Returns the counts, without outbound connections if only inbound ones are selected.
    ///
    /// # Errors
    ///
    /// Returns an error if a table without listening sockets does not show which
    /// connections are inbound.
    fn finish(self, source: &Source, parse_stats: ParseStats) -> Result<Observation, ParseError> {
        let Self { filter, mut tally, .. } = self;
        let mut n_outbound = 0;
        if let Some(ports) = filter.inbound_ports() {
            // A namespace without listening sockets is normal; a listing may omit them.
            let may_lack_listeners = matches!(source, Source::InNamespace { .. });
            if ports.is_empty() && parse_stats.n_rows > 0 && !may_lack_listeners {
                return Err(ParseError::NoListeners { origin: source.to_string() });
            }
            n_outbound = tally.retain_ports(ports);
        }
        let mut skipped = filter.into_skipped();
        skipped.outbound += n_outbound;
        Ok(Observation { tally, skipped, parse_stats, ..Observation::default() })
    }
}
