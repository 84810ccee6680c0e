//! A whole log, in gzip or not, and what is told of it.
use chrono::{DateTime, FixedOffset, Utc};
use topip::{
    alert_log::stats::Grouping,
    output::{self, Picture},
    run::{Review, Reviewed, review},
};

use super::room;

/// Each line of a log that is not blank is an alert or damaged, and whatever
/// stands in it, tables stay tables.
pub fn check(bytes: &[u8]) {
    let log = room::file("topip.log", bytes);
    let groupings = [(None, None), (Some(24), Some(64))];
    for (bits4, bits6) in groupings {
        let order = Review {
            logs: vec![log.clone()],
            since: None,
            until: None,
            grouping: Grouping { bits4, bits6 },
        };
        let reviewed = review(&order, &Utc, &mut |_, _| {});
        adds_up(&reviewed, bytes);
        told(&reviewed);
    }
}

fn adds_up(reviewed: &Reviewed, bytes: &[u8]) {
    let Reviewed { offenders, damaged, damages, troubles } = reviewed;
    let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
    assert!(troubles.is_empty() || is_gzip, "{troubles:?}");
    assert_eq!(damages.len() as u64, (*damaged).min(10));
    if !is_gzip {
        let lines = bytes.split(|&byte| byte == b'\n');
        // A line of a return alone is blank; at the end it lacks its line end.
        let is_return = bytes == b"\r" || bytes.ends_with(b"\n\r");
        let n_lines = lines.filter(|line| !matches!(line, [] | [b'\r'])).count();
        let n_lines = n_lines as u64 + u64::from(is_return);
        assert_eq!(offenders.alerts() + damaged, n_lines);
    }
    assert!(offenders.len() as u64 <= offenders.alerts());
}

fn told(reviewed: &Reviewed) {
    let local = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default().into();
    let local = |seconds: i64| -> DateTime<FixedOffset> { local(seconds) };
    let offenders = &reviewed.offenders;
    let picture = Picture { columns: Some(80), has_blocks: true };
    let text = output::offenders_as_text(offenders, 10, picture, local);
    let is_plain = |text: &str| text.lines().all(|line| !line.contains(char::is_control));
    assert!(is_plain(&text), "{text:?}");
    assert!(text.lines().count() <= 12, "{text:?}");
    let table = output::offenders_as_csv(offenders, usize::MAX, local);
    assert_eq!(table.lines().count(), offenders.len() + 1, "{table:?}");
    for line in table.lines() {
        let cells: Vec<_> = line.split(',').collect();
        assert_eq!(cells.len(), 6, "{line:?}");
        let is_formula = |cell: &&str| cell.starts_with(['=', '+', '@', '\t', '\r']);
        assert!(!cells.iter().any(is_formula), "{line:?}");
        assert!(is_plain(line) && !line.contains('"'), "{line:?}");
    }
    let object = output::offenders_as_json(offenders, reviewed.damaged, 10, local);
    assert!(is_plain(&object), "{object:?}");
    let complaint = output::complaint("cannot read", &reviewed.damages);
    assert!(is_plain(&complaint), "{complaint:?}");
    assert_eq!(complaint.lines().count(), 1 + reviewed.damages.len(), "{complaint:?}");
}
