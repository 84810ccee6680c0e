//! Assertions about every check output.
use std::time::Duration;

use crate::support::CommandResult;

/// Maximum delay after the timeout: half a second is guaranteed, the rest is for a machine
/// that runs other tests.
pub const MAX_DELAY: Duration = Duration::from_millis(500 + 3000);

/// Asserts that the output is one valid status line, optionally with more lines, and that
/// the exit code matches the status.
#[track_caller]
pub fn assert_clean(result: &CommandResult) {
    assert_eq!(result.stderr, "", "{result:?}");
    let statuses = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
    let status = result.code.and_then(|code| statuses.get(usize::try_from(code).ok()?));
    let status = status.unwrap_or_else(|| panic!("not a plugin exit code: {result:?}"));
    let (line, more) =
        result.stdout.split_once('\n').unwrap_or_else(|| panic!("no line: {result:?}"));
    assert!(line.starts_with(&format!("TOPIP {status} - ")), "{result:?}");
    assert!(line.len() < 1000, "{} bytes: {result:?}", line.len());
    let (message, perfdata) = line.split_once(" | ").unwrap_or((line, ""));
    for text in [message, perfdata, more] {
        let is_foreign = |letter: char| letter == '|' || letter.is_control() && letter != '\n';
        assert!(!text.contains(is_foreign), "{result:?}");
    }
}

/// Asserts that the output is a valid UNKNOWN that names `host`.
#[cfg(feature = "ssh")]
#[track_caller]
pub fn assert_unknown(result: &CommandResult, host: &str) {
    assert_clean(result);
    assert_eq!(result.code, Some(3), "{result:?}");
    assert!(result.status_line().contains(host), "{result:?}");
}

/// Asserts that the run ended within `limit`, its `--timeout`.
#[track_caller]
pub fn assert_in_time(result: &CommandResult, limit: Duration) {
    assert!(result.elapsed < limit + MAX_DELAY, "{result:?}");
}
