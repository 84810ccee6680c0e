//! The emails that are sent when an alert starts, continues and ends.
use crate::{analysis::history::MailHistory, analysis::view::View, model::sanitize};

use super::{
    namespaces,
    report::{DEFAULT_LISTED_PEERS, Report, Verbosity},
    text,
};

/// Maximum length of a line in bytes. A mail server may encode longer lines, and
/// then neither people nor grep(1) can read the email in a mailbox file.
const MAX_LINE_BYTES: usize = 74;
/// Maximum length of a paragraph in bytes, before it is folded.
const MAX_TEXT_BYTES: usize = 900;
/// Maximum length of a subject in bytes.
const MAX_SUBJECT_BYTES: usize = 200;
/// Maximum number of peers in an email; the output with `-vvv` lists all.
const MAX_LISTED_PEERS: usize = 50;

/// Subject and body of an email.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// The subject, on one line.
    pub subject: String,
    /// The text; each line ends in a line end.
    pub body: String,
}

/// Returns the email about the alert of `view` on `host`.
#[must_use]
pub fn alert_email(report: &Report, view: &View, host: &str) -> Email {
    Email {
        // The subject is the same as in topip.py: existing mail filters match it.
        subject: subject("ALERT", host),
        body: body(
            vec![verdict_text(report, view)],
            [
                statistics_section(view),
                section("Trigger", text::explain_limits(report, view)),
                top_section(report, view),
                section(
                    "Servers",
                    report.observation.servers.iter().map(text::server_line).collect(),
                ),
                section(
                    "Network namespaces",
                    namespaces::namespace_lines(report, Verbosity::Terse),
                ),
                previous_sample_section(view),
                problems_section(report),
            ],
            host,
        ),
    }
}

/// Returns the email that reports the end of the alerts sent before.
#[must_use]
pub fn recovery_email(report: &Report, mail_history: &MailHistory, host: &str) -> Email {
    let view = report.worst_view();
    let sent_alerts = mail_history.0.iter().map(|sent| {
        let ago = view.sample.timestamp.saturating_sub(sent.timestamp);
        format!("{}, {ago} s ago", sent.network)
    });
    Email {
        subject: subject("RECOVERY", host),
        body: body(
            vec!["Nobody is over the limit any more.".to_owned(), verdict_text(report, view)],
            [
                section("Last mails about", sent_alerts.collect()),
                statistics_section(view),
                top_section(report, view),
            ],
            host,
        ),
    }
}

fn verdict_text(report: &Report, view: &View) -> String {
    fold(&format!("{}.", text::verdict_text(report, view)), "")
}

fn subject(word: &str, host: &str) -> String {
    sanitize::truncate(&sanitize::single_line(&format!("{word} on {host}")), MAX_SUBJECT_BYTES)
}

/// Returns the sections with blank lines between them, and a signature.
fn body<const N: usize>(
    opening: Vec<String>,
    sections: [Option<Vec<String>>; N],
    host: &str,
) -> String {
    let signature = vec![
        // Mail programs recognize this line as the start of a signature.
        "-- ".to_owned(),
        fold(&format!("topip {} on {host}", env!("CARGO_PKG_VERSION")), ""),
    ];
    let parts: Vec<_> = std::iter::once(opening)
        .chain(sections.into_iter().flatten())
        .chain([signature])
        .map(|lines| lines.join("\n"))
        .collect();
    parts.join("\n\n") + "\n"
}

/// Returns a heading with `lines` below it; `None` if there are no lines.
fn section(heading: &str, lines: Vec<String>) -> Option<Vec<String>> {
    if lines.is_empty() {
        return None;
    }
    let lines = lines.iter().map(|line| fold(line, "  "));
    Some(std::iter::once(format!("{heading}:")).chain(lines).collect())
}

/// Folds `text` to lines of at most [`MAX_LINE_BYTES`] bytes, indented by
/// `indent`. A longer word stays whole.
fn fold(text: &str, indent: &str) -> String {
    let text = sanitize::truncate(&sanitize::single_line(text), MAX_TEXT_BYTES);
    let mut lines = vec![indent.to_owned()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("the list starts with one line");
        let is_empty = line.trim().is_empty();
        if !is_empty && line.len() + 1 + word.len() > MAX_LINE_BYTES {
            lines.push(format!("{indent}  {word}"));
        } else {
            line.push_str(if is_empty { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn statistics_section(view: &View) -> Option<Vec<String>> {
    let (sample, summary) = (&view.sample, &view.sample.summary);
    let lines = [
        ("limit", text::decimal(view.verdict.limit.connections)),
        ("max", summary.max.to_string()),
        ("avg", text::decimal(summary.avg)),
        ("stddev", text::decimal(summary.stddev)),
        ("med", summary.median.to_string()),
        ("min", summary.min.to_string()),
        ("addresses", sample.addresses.to_string()),
        ("connections", sample.connections.to_string()),
    ];
    let lines = lines.map(|(name, value)| format!("  {name:<12}{value}"));
    Some(std::iter::once("Statistics:".to_owned()).chain(lines).collect())
}

fn top_section(report: &Report, view: &View) -> Option<Vec<String>> {
    let sample = &view.sample;
    let n_listed =
        report.n_judged.unwrap_or(DEFAULT_LISTED_PEERS).min(MAX_LISTED_PEERS).min(sample.top.len());
    let peers = sample.top.iter().take(n_listed);
    let lines = peers.map(|peer| text::peer_line(peer, sample.timestamp)).collect();
    let heading = text::peer_list_heading(sample, n_listed);
    section(heading.trim_end_matches(':'), lines)
}

fn previous_sample_section(view: &View) -> Option<Vec<String>> {
    let line = text::previous_sample(view).unwrap_or_else(|| "none".to_owned());
    section("Previous sample", vec![line])
}

fn problems_section(report: &Report) -> Option<Vec<String>> {
    let lines = report.problems().map(|problem| text::options_as_flags(&problem.message));
    section("What could not be seen or kept", lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_words() {
        let words = ["word"; 30].join(" ");
        let folded = fold(&words, "  ");
        assert!(folded.lines().all(|line| line.len() <= MAX_LINE_BYTES), "{folded}");
        assert_eq!(folded.split_whitespace().collect::<Vec<_>>().join(" "), words);
        assert_eq!(fold("a\nb", ""), "a b");
        let long = "a".repeat(2 * MAX_LINE_BYTES);
        assert_eq!(fold(&format!("{long} b"), ""), format!("{long}\n  b"));
    }

    #[test]
    fn host_name_cannot_inject_mail_headers() {
        let subject_line = subject("ALERT", "web1\r\nBcc: all@example.com\r\n\r\n<b>");
        assert_eq!(subject_line, "ALERT on web1 Bcc: all@example.com ?b?");
        assert_eq!(subject("ALERT", &"a".repeat(1000)).len(), MAX_SUBJECT_BYTES);
    }
}
