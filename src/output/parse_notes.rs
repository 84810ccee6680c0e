//! What there is to say about how a listing was read.
use crate::{
    analysis::filter::LeftOut,
    parse::{Dialect, Problem, Reading, Subject},
};

use super::{report::Trouble, text};

/// What was looked at, and as what it was read.
#[must_use]
pub fn looked_at(source: &str, reading: &Reading) -> String {
    let dialects: Vec<_> =
        reading.dialects.iter().map(|dialect: &Dialect| dialect.name()).collect();
    let mut text = format!("Looked at: {source}");
    match reading.dialects[..] {
        [] => text += ", which has headings only",
        // The kernel's own words need no interpreter.
        [Dialect::InetDiag | Dialect::Ctnetlink] => {}
        _ => text = format!("{text}, read as {}", dialects.join(", ")),
    }
    if reading.other > 0 {
        let rows = text::count(reading.other, "row", "rows");
        let others = match reading.subject() {
            Subject::Flows => "flows",
            Subject::Sockets | Subject::Both => "sockets",
        };
        text = format!("{text}; {rows} of other {others}");
    }
    text
}

/// The trouble with rows that could not be read.
#[must_use]
pub fn unreadable(reading: &Reading) -> Option<Trouble> {
    let first = reading.first_unreadable.as_ref()?;
    let problem = match reading.unreadable {
        1 => format!("cannot read 1 row, {first}"),
        n => format!("cannot read {n} rows, first {first}"),
    };
    let advice = match first.problem {
        Problem::Endpoint => {
            "Addresses and ports must be numbers: netstat and ss need -n.".to_owned()
        }
        _ => "The rows that could be read were counted.".to_owned(),
    };
    Some(Trouble { problem, advice: Some(advice) })
}

/// The trouble with addresses that may be cut off.
#[must_use]
pub fn cut(reading: &Reading) -> Option<Trouble> {
    let line = reading.first_cut?;
    let rows = match reading.cut {
        1 => format!("the address in line {line} may be cut off"),
        n => format!("{n} addresses may be cut off, first in line {line}"),
    };
    let flag = match reading.dialects.contains(&Dialect::Bsd) {
        true => "-W (FreeBSD), -l (macOS) or -v (OpenBSD, NetBSD)",
        false => "-W",
    };
    let advice = Some(format!("List wide, with netstat {flag}: a cut address can be another one."));
    Some(Trouble { problem: rows, advice })
}

/// The trouble with addresses that could be read backwards.
#[must_use]
pub fn assumed(reading: &Reading) -> Option<Trouble> {
    let byte_order = reading.assumed?;
    Some(Trouble {
        problem: format!(
            "the addresses of /proc show no byte order, and were taken for {byte_order}"
        ),
        advice: Some("List the sockets of that machine with ss -tan instead.".to_owned()),
    })
}

/// The trouble with states that are asked for and not told.
#[must_use]
pub fn untold(left_out: &LeftOut) -> Option<Trouble> {
    let n = left_out.untold_state;
    (n > 0).then(|| Trouble {
        problem: format!(
            "the listing does not tell the TCP state of {}",
            text::count(n, "connection", "connections")
        ),
        advice: Some("List with ss -tan, without a filter by state.".to_owned()),
    })
}
