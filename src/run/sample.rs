//! Takes a sample by the first way that gives one.
use std::net::SocketAddr;

use rustix::io::Errno;

use crate::{
    analysis::{
        filter::{Again, Filter, LeftOut},
        tally::Tally,
    },
    model::{connection::Connection, namespace::Namespace},
    output::{self, Trouble},
    parse::{self, ParseError, Reading, Subject, capture::OwnConnection},
    source::{Source, SourceError, Watch},
};

use super::error::{Error, chain};

/// What came of looking.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) tally: Tally,
    pub(super) left_out: LeftOut,
    pub(super) reading: Reading,
    /// By which way it was looked, and what came of those before it.
    pub(super) details: Vec<String>,
    /// What each network namespace has of it, where some were asked for.
    pub(super) namespaces: Vec<(Namespace, u64)>,
    /// What could not be seen beside it.
    pub(super) troubles: Vec<Trouble>,
    /// What is worth telling all the same.
    pub(super) notes: Vec<String>,
}

/// How often a dump that the kernel interrupted is asked for again.
const ATTEMPTS: u32 = 3;

/// Takes the first source that gives something.
pub(super) fn look(sources: &[Source], filter: &Filter, watch: &Watch) -> Result<Looked, Error> {
    let mut before = Vec::new();
    let mut advice = Vec::new();
    let mut last = None;
    for source in sources {
        for attempt in 1..=ATTEMPTS {
            match look_at(source, filter, watch) {
                Ok(mut looked) => {
                    before.push(output::looked_at(&source.to_string(), &looked.reading));
                    before.append(&mut looked.details);
                    looked.details = before;
                    return Ok(looked);
                }
                // There is no other way into a namespace.
                Err(error @ Error::Source(SourceError::Netns(_))) => return Err(error),
                Err(error) => {
                    before.push(format!("Not by {source}: {}", chain(&error)));
                    // Either way to flows takes a right and a module of its own.
                    if source.subject() == Some(Subject::Flows) {
                        advice.append(&mut error.more());
                    }
                    let again = is_passing(&error) && attempt < ATTEMPTS;
                    last = Some(error);
                    if !again {
                        break;
                    }
                }
            }
        }
    }
    let last = last.expect("there is a source");
    // The last one is told by itself, and what to do about it.
    before.pop();
    let told = last.more();
    advice.retain(|line| !told.contains(line));
    advice.dedup();
    before.append(&mut advice);
    if sources.len() == 1 && before.is_empty() {
        return Err(last);
    }
    let subject = sources.iter().find_map(Source::subject).unwrap_or_default();
    Err(Error::NoWay { subject, last: Box::new(last), before })
}

/// Whether the same source may give more the next time.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Parse(ParseError::Interrupted { .. } | ParseError::Endless { .. }) => true,
        // No memory for a buffer: the kernel's words for it are these two.
        Error::Parse(ParseError::Read { source, .. } | ParseError::Refused { source, .. })
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

fn look_at(source: &Source, filter: &Filter, watch: &Watch) -> Result<Looked, Error> {
    let mut filter = filter.clone();
    let mut tally = Tally::default();
    let mut whole = Reading::default();
    let mut details = Vec::new();
    for mut capture in source.open(watch)? {
        details.append(&mut capture.how);
        let own = capture.own;
        let knows_addresses = capture.addresses.is_some();
        if let Some(addresses) = capture.addresses.take() {
            filter.tell_flows_by(addresses);
        }
        let mut again = matches!(source, Source::Proc).then(Again::default);
        let (mut n_connected, mut saw_own) = (0_u64, false);
        let reading = parse::read(capture, &mut |connection| {
            if again.as_mut().is_some_and(|again| again.is(connection)) {
                return false;
            }
            n_connected += u64::from(connection.is_connected());
            let is_own = own.is_some_and(|own| is_own(connection, own));
            saw_own |= is_own;
            let counts = !is_own && filter.counts(connection);
            if counts {
                tally.add(connection);
            }
            counts
        });
        let nothing = || ParseError::NothingTracked { origin: source.to_string() };
        let wants_flows = source.subject() == Some(Subject::Flows);
        let reading = reading.map_err(|error| match error {
            ParseError::Empty { .. } if wants_flows => nothing(),
            error => error,
        })?;
        let of_sockets = reading.subject() == Subject::Sockets;
        // Who was reached by TCP has a connection, and knows it. Who tracks flows
        // knows it by other ends where it was sent on.
        let is_blind = own.is_some_and(|own| {
            let must_see = own.is_certain && of_sockets && reading.cut == 0;
            n_connected == 0 || (must_see && !saw_own)
        });
        if is_blind && reading.unreadable == 0 {
            let blind = || ParseError::Blind { origin: source.to_string() };
            return Err(if of_sockets { blind() } else { nothing() }.into());
        }
        if wants_flows && reading.subject() != Subject::Flows {
            return Err(ParseError::NoFlows { origin: source.to_string() }.into());
        }
        if !of_sockets && !knows_addresses {
            if filter.is_inbound() {
                return Err(ParseError::NoAddresses { origin: source.to_string() }.into());
            }
            details.push(format!(
                "{source} does not tell the addresses of its host: flows that it opened count too."
            ));
        }
        whole.add(reading);
    }
    let outbound = filter.inbound().map(|ports| (ports.is_empty(), tally.keep_ports(ports)));
    // A listing may lack what listens. A container that serves nobody is one.
    let may_lack = !matches!(source, Source::Within { .. });
    if let Some((true, _)) = outbound
        && whole.rows > 0
        && may_lack
    {
        return Err(ParseError::NoListeners { origin: source.to_string() }.into());
    }
    let mut left_out = filter.left_out();
    left_out.outbound += outbound.map_or(0, |(_, n)| n);
    Ok(Looked { tally, left_out, reading: whole, details, ..Looked::default() })
}

/// Whether a connection is the one that it is looked at by, seen from either
/// end: a server may be the very machine that looks.
fn is_own(connection: &Connection, own: OwnConnection) -> bool {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let ends = (canonical(connection.local), canonical(connection.peer));
    ends == (own.local, own.peer) || ends == (own.peer, own.local)
}
