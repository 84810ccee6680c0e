//! The mails that go out when an alert begins, goes on, and is over.
use crate::{analysis::history::Mails, model::sanitize};

use super::{
    namespaces,
    report::{LISTED, Report, Verbosity, View},
    text,
};

/// How long a line is: longer ones would be encoded on their way, so that
/// neither people nor grep(1) could read the mail as it lies in its file.
const WIDTH: usize = 74;
/// How long a text and a subject may be.
const LONGEST_LINE: usize = 900;
const LONGEST_SUBJECT: usize = 200;
/// How many addresses a mail may list: the answer of `-vvv` has them all.
const MOST_LISTED: usize = 50;

/// What a mail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// On one line.
    pub subject: String,
    /// Lines that each end in a line end.
    pub body: String,
}

/// The mail of an alert on `host`, which `view` is about.
#[must_use]
pub fn alert(report: &Report, view: &View, host: &str) -> Letter {
    Letter {
        // As topip.py had it: filters of twenty years go by this.
        subject: subject("ALERT", host),
        body: body(
            vec![verdict(report, view)],
            [
                statistics(view),
                section("Trigger", text::explanation(report, view)),
                top(report, view),
                section("Servers", report.shares.iter().map(text::share).collect()),
                section("Network namespaces", namespaces::shares(report, Verbosity::Terse)),
                earlier(view),
                troubles(report),
            ],
            host,
        ),
    }
}

/// The mail that closes the alerts that were mailed.
#[must_use]
pub fn recovery(report: &Report, mails: &Mails, host: &str) -> Letter {
    let view = report.worst();
    let told = mails.0.iter().map(|mailed| {
        let ago = view.sample.when.saturating_sub(mailed.when);
        format!("{}, {ago} s ago", mailed.network)
    });
    Letter {
        subject: subject("RECOVERY", host),
        body: body(
            vec!["Nobody is over the limit any more.".to_owned(), verdict(report, view)],
            [section("Last mails about", told.collect()), statistics(view), top(report, view)],
            host,
        ),
    }
}

fn verdict(report: &Report, view: &View) -> String {
    folded(&format!("{}.", text::verdict(report, view)), "")
}

fn subject(word: &str, host: &str) -> String {
    sanitize::beginning(&sanitize::line(&format!("{word} on {host}")), LONGEST_SUBJECT)
}

/// Sections with a line between them, and a signature.
fn body<const N: usize>(
    opening: Vec<String>,
    sections: [Option<Vec<String>>; N],
    host: &str,
) -> String {
    let signature = vec![
        // A program that shows mail takes what follows for no text of it.
        "-- ".to_owned(),
        folded(&format!("topip {} on {host}", env!("CARGO_PKG_VERSION")), ""),
    ];
    let parts: Vec<_> = std::iter::once(opening)
        .chain(sections.into_iter().flatten())
        .chain([signature])
        .map(|lines| lines.join("\n"))
        .collect();
    parts.join("\n\n") + "\n"
}

/// A heading with lines below it, unless there are none.
fn section(heading: &str, lines: Vec<String>) -> Option<Vec<String>> {
    if lines.is_empty() {
        return None;
    }
    let lines = lines.iter().map(|line| folded(line, "  "));
    Some(std::iter::once(format!("{heading}:")).chain(lines).collect())
}

/// `text` behind `indent`, on as many lines as it takes.
fn folded(text: &str, indent: &str) -> String {
    let text = sanitize::beginning(&sanitize::line(text), LONGEST_LINE);
    let mut lines = vec![indent.to_owned()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one from the start");
        let is_empty = line.trim().is_empty();
        if !is_empty && line.len() + 1 + word.len() > WIDTH {
            lines.push(format!("{indent}  {word}"));
        } else {
            line.push_str(if is_empty { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn statistics(view: &View) -> Option<Vec<String>> {
    let (sample, summary) = (&view.sample, &view.sample.summary);
    let lines = [
        ("limit", text::decimal(view.verdict.limit.connections)),
        ("max", summary.max.to_string()),
        ("avg", text::decimal(summary.avg)),
        ("stddev", text::decimal(summary.stddev)),
        ("med", summary.med.to_string()),
        ("min", summary.min.to_string()),
        ("addresses", sample.addresses.to_string()),
        ("connections", sample.connections.to_string()),
    ];
    let lines = lines.map(|(name, figure)| format!("  {name:<12}{figure}"));
    Some(std::iter::once("Statistics:".to_owned()).chain(lines).collect())
}

fn top(report: &Report, view: &View) -> Option<Vec<String>> {
    let sample = &view.sample;
    let listed = report.judged.unwrap_or(LISTED).min(MOST_LISTED).min(sample.top.len());
    let peers = sample.top.iter().take(listed);
    let lines = peers.map(|peer| text::peer(peer, sample.when)).collect();
    let heading = text::heading(sample, listed);
    section(heading.trim_end_matches(':'), lines)
}

fn earlier(view: &View) -> Option<Vec<String>> {
    let line = text::before(view).unwrap_or_else(|| "none".to_owned());
    section("Previous sample", vec![line])
}

fn troubles(report: &Report) -> Option<Vec<String>> {
    let lines = report.troubles.iter().map(|trouble| trouble.problem.clone());
    section("What could not be seen or kept", lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_words() {
        let words = ["word"; 30].join(" ");
        let found = folded(&words, "  ");
        assert!(found.lines().all(|line| line.len() <= WIDTH), "{found}");
        assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), words);
        assert_eq!(folded("a\nb", ""), "a b");
        let long = "a".repeat(2 * WIDTH);
        assert_eq!(folded(&format!("{long} b"), ""), format!("{long}\n  b"));
    }

    #[test]
    fn a_host_has_no_say_in_the_head_of_a_mail() {
        let found = subject("ALERT", "web1\r\nBcc: all@example.com\r\n\r\n<b>");
        assert_eq!(found, "ALERT on web1 Bcc: all@example.com ?b?");
        assert_eq!(subject("ALERT", &"a".repeat(1000)).len(), LONGEST_SUBJECT);
    }
}
