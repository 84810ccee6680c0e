//! What is promised of every answer, whatever became of the run.
use std::time::Duration;

use crate::support::Ran;

/// By how much more than its time limit a run may take: half a second is what
/// is promised, and the rest is for a machine that is busy with other tests.
pub const LATE: Duration = Duration::from_millis(500 + 3000);

/// Checks that it is one clean status line, with or without more below, and
/// that the exit code is of that status.
#[track_caller]
pub fn is_clean(ran: &Ran) {
    assert_eq!(ran.stderr, "", "{ran:?}");
    let statuses = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
    let status = ran.code.and_then(|code| statuses.get(usize::try_from(code).ok()?));
    let status = status.unwrap_or_else(|| panic!("no exit code of a plugin: {ran:?}"));
    let (line, more) = ran.stdout.split_once('\n').unwrap_or_else(|| panic!("no line: {ran:?}"));
    assert!(line.starts_with(&format!("TOPIP {status} - ")), "{ran:?}");
    assert!(line.len() < 1000, "{} bytes: {ran:?}", line.len());
    let (said, perfdata) = line.split_once(" | ").unwrap_or((line, ""));
    for text in [said, perfdata, more] {
        let is_foreign = |letter: char| letter == '|' || letter.is_control() && letter != '\n';
        assert!(!text.contains(is_foreign), "{ran:?}");
    }
}

/// Checks that it is a clean UNKNOWN that names `host`.
#[cfg(feature = "ssh")]
#[track_caller]
pub fn is_unknown(ran: &Ran, host: &str) {
    is_clean(ran);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.line().contains(host), "{ran:?}");
}

/// Checks that the answer came within `limit`, as `--timeout` has it.
#[track_caller]
pub fn is_in_time(ran: &Ran, limit: Duration) {
    assert!(ran.took < limit + LATE, "{ran:?}");
}
