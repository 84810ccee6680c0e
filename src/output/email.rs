//! The emails that are sent when an alert starts, continues and ends.
use std::collections::BTreeSet;

use crate::{
    analysis::{
        history::{MailHistory, PendingMail},
        note::Note,
        view::View,
    },
    model::{peer_id::PeerId, sanitize},
};

use super::{
    namespaces, notes,
    report::{DEFAULT_LISTED_PEERS, Report, Verbosity},
    text,
};

/// Maximum length of a line in bytes. A mail server may encode longer lines, which makes
/// the email unreadable in a mailbox file, also for grep(1).
const MAX_LINE_BYTES: usize = 74;
/// Maximum length of a paragraph in bytes, before it is folded.
const MAX_TEXT_BYTES: usize = 900;
/// Maximum length of a subject in bytes: with the name of the header, it fits on one line.
/// RFC 5322, section 2.1.1, recommends at most 78 bytes, and lettre folds at 76.
const MAX_SUBJECT_BYTES: usize = 76 - "Subject: ".len();
/// Maximum length of the host name in a subject in bytes, which leaves space for the peers.
const MAX_SUBJECT_HOST_BYTES: usize = 36;
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

/// Returns the email about the alerts of a sample on `host`.
#[must_use]
pub fn alert_email(report: &Report, mail: &PendingMail, host: &str) -> Email {
    let alerting_view = report.alerting_peers().map(|(view, _)| view).next();
    let view = alerting_view.unwrap_or_else(|| report.worst_view());
    Email {
        // The subject begins like that of topip.py, because existing mail filters match it.
        subject: subject("ALERT", host, &mail.alerts),
        body: body(
            vec![verdict_text(report, view)],
            [
                section("Alerts", alert_lines(report)),
                recovered_section(&mail.recovered),
                statistics_section(view),
                section("Trigger", text::explain_limits(report, view)),
                top_section(report, view),
                section("Servers", text::server_lines(report).collect()),
                section(
                    "Network namespaces",
                    namespaces::namespace_lines(report, Verbosity::Terse),
                ),
                previous_sample_section(view),
                not_logged_section(report),
                problems_section(report),
            ],
            host,
        ),
    }
}

/// Returns the email about peers that are no longer over the limit.
#[must_use]
pub fn recovery_email(
    report: &Report,
    mail: &PendingMail,
    mail_history: &MailHistory,
    host: &str,
) -> Email {
    let view = report.worst_view();
    let recovered: BTreeSet<_> = mail.recovered.iter().collect();
    let mut sent_alerts = Vec::new();
    for sent in mail_history.0.iter().filter(|sent| recovered.contains(&sent.id)) {
        let ago = view.sample.timestamp.saturating_sub(sent.timestamp);
        sent_alerts.push(format!("{}, {ago} s ago", sent.id));
    }
    let heading = match view.sample.n_over {
        0 => "No peer is over the limit now.".to_owned(),
        n_over => format!(
            "{} still over the limit.",
            text::pluralize(n_over as u64, "peer is", "peers are")
        ),
    };
    Email {
        subject: subject("RECOVERY", host, &mail.recovered),
        body: body(
            vec![heading, verdict_text(report, view)],
            [
                section(
                    "No longer over the limit, last mailed",
                    shortened(sent_alerts.into_iter()),
                ),
                statistics_section(view),
                top_section(report, view),
            ],
            host,
        ),
    }
}

/// Returns a line for each peer that the alert is about; empty for a single peer, which the
/// verdict names.
fn alert_lines(report: &Report) -> Vec<String> {
    let lines: Vec<_> = report
        .alerting_peers()
        .map(|(view, peer)| text::peer_line(report, peer, &view.sample, Verbosity::Terse))
        .collect();
    if lines.len() > 1 { shortened(lines.into_iter()) } else { Vec::new() }
}

fn recovered_section(recovered: &[PeerId]) -> Option<Vec<String>> {
    section("No longer over the limit", shortened(recovered.iter().map(PeerId::to_string)))
}

/// Returns at most [`MAX_LISTED_PEERS`] lines, and the number of omitted lines.
fn shortened(lines: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let n_left_out = lines.len().saturating_sub(MAX_LISTED_PEERS);
    let mut lines: Vec<_> = lines.take(MAX_LISTED_PEERS).collect();
    if n_left_out > 0 {
        lines.push(format!("{n_left_out} more"));
    }
    lines
}

fn verdict_text(report: &Report, view: &View) -> String {
    fold(&format!("{}.", text::verdict_text(report, view)), "")
}

/// Returns a subject that names as many of the peers as fit.
fn subject(word: &str, host: &str, peers: &[PeerId]) -> String {
    let host = sanitize::truncate(&sanitize::single_line(host), MAX_SUBJECT_HOST_BYTES);
    let beginning = format!("{word} on {host}");
    let with_list = |n_named| format!("{beginning}: {}", peer_list(peers, n_named));
    let max_named = peers.len().min(MAX_SUBJECT_BYTES);
    let mut subjects = (0..=max_named).rev().map(with_list);
    subjects.find(|subject| subject.len() <= MAX_SUBJECT_BYTES).unwrap_or(beginning)
}

/// Returns the first `n_named` peers and the number of the others.
fn peer_list(peers: &[PeerId], n_named: usize) -> String {
    let mut items: Vec<_> = peers[..n_named].iter().map(PeerId::to_string).collect();
    match peers.len() - n_named {
        0 => {}
        n_others if n_named == 0 => items.push(text::pluralize(n_others as u64, "peer", "peers")),
        n_others => items.push(format!("{n_others} more")),
    }
    items.join(", ")
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

/// Returns a heading with `lines` below it; `None` without lines.
fn section(heading: &str, lines: Vec<String>) -> Option<Vec<String>> {
    if lines.is_empty() {
        return None;
    }
    let lines = lines.iter().map(|line| fold(line, "  "));
    Some(std::iter::once(format!("{heading}:")).chain(lines).collect())
}

/// Folds `text` to lines of at most [`MAX_LINE_BYTES`] bytes, indented by
/// `indent`. A longer word is not broken.
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
        ("limit", text::decimal(sample.limit.connections)),
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
    let lines = peers.map(|peer| text::peer_line(report, peer, sample, Verbosity::Terse)).collect();
    let heading = text::peer_list_heading(report, sample, n_listed);
    section(heading.trim_end_matches(':'), lines)
}

fn previous_sample_section(view: &View) -> Option<Vec<String>> {
    let line = text::previous_sample(view).unwrap_or_else(|| "none".to_owned());
    section("Previous sample", vec![line])
}

fn not_logged_section(report: &Report) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for note in report.notes() {
        if let Note::NotLogged(peers) = note {
            let texts = peers.iter().map(notes::protected_peer_text);
            lines.extend(texts.map(|text| text::options_as_flags(&text)));
        }
    }
    section("Not logged", shortened(lines.into_iter()))
}

fn problems_section(report: &Report) -> Option<Vec<String>> {
    let lines = report.problems().map(|problem| text::options_as_flags(&problem.message));
    section("Problems", lines.collect())
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
        let peer = "203.0.113.7".parse().unwrap();
        let subject_line = subject("ALERT", "web1\r\nBcc: all@example.com\r\n\r\n<b>", &[peer]);
        assert_eq!(subject_line, "ALERT on web1 Bcc: all@example.com ?b?: 203.0.113.7");
    }

    #[test]
    fn subject_names_peers_that_fit() {
        let check = |host: &str, peers: &[&str], expected: &str| {
            let peers: Vec<_> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
            let subject = subject("ALERT", host, &peers);
            assert_eq!(subject, expected);
            assert!("Subject: ".len() + subject.len() <= 78, "{subject}");
        };
        let [a, b, c] = ["203.0.113.7", "203.0.113.8", "203.0.113.0/24"];
        let longest = "2001:db8:1111:2222:3333:4444:5555:6666";
        check("web1", &[a], "ALERT on web1: 203.0.113.7");
        check("web1", &[a, b], "ALERT on web1: 203.0.113.7, 203.0.113.8");
        check("web1", &[a, longest, b, c], "ALERT on web1: 203.0.113.7, 3 more");
        check("web1", &[longest], &format!("ALERT on web1: {longest}"));
        let host = "a".repeat(1000);
        let shortened = "a".repeat(33);
        check(&host, &[a], &format!("ALERT on {shortened}...: 203.0.113.7"));
        check(&host, &[longest], &format!("ALERT on {shortened}...: 1 peer"));
        check(&host, &[longest, a], &format!("ALERT on {shortened}...: 2 peers"));
        let many: Vec<_> = (0..=255).map(|host| format!("203.0.113.{host}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let expected = "ALERT on web1: 203.0.113.0, 203.0.113.1, 203.0.113.2, 253 more";
        check("web1", &many, expected);
    }
}
