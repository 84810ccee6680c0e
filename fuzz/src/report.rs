//! What is told, where strangers have written the texts in it.
use std::{borrow::Cow, net::SocketAddr, time::Duration};

use chrono::DateTime;
use topip::{
    alert_log::{
        entry::{Alert, Format},
        parse::Clock,
    },
    analysis::{
        filter::{Filter, Selection},
        history::{History, Mailed, Mails, Previous, Sample},
        label::Label,
        rule::{self, Rule, Trigger},
        tally::{Grain, Tally},
    },
    model::{
        connection::{Connection, TcpState},
        network::Network,
        sanitize,
        verdict::Status,
    },
    output::{
        self, Letter, Report, Trouble, Verbosity, View, Watched,
        munin::{At, Graphs, JUDGED, Level, Threshold},
    },
    parse::Subject,
};

/// What was made of the bytes: numbers from those before the first NUL, texts
/// from what is between others.
struct Dice<'a> {
    numbers: std::iter::Cycle<std::iter::Copied<std::slice::Iter<'a, u8>>>,
    texts: Vec<Cow<'a, str>>,
    next_text: usize,
}

impl<'a> Dice<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut pieces = bytes.split(|&byte| byte == 0);
        let numbers = pieces.next().filter(|it| !it.is_empty()).unwrap_or(b"\x01");
        let mut texts: Vec<_> = pieces.map(String::from_utf8_lossy).collect();
        texts.push("a\0b".into());
        Self { numbers: numbers.iter().copied().cycle(), texts, next_text: 0 }
    }

    fn number(&mut self) -> u8 {
        self.numbers.next().expect("there is one")
    }

    fn text(&mut self) -> String {
        self.next_text += 1;
        self.texts[(self.next_text - 1) % self.texts.len()].to_string()
    }
}

/// Whatever stands in a name, a label, a banner or an answer, a report keeps its
/// form: for Nagios, Munin, programs, a terminal, a mailbox and a log.
pub fn check(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let report = made(&mut dice);
    for verbosity in (0..4).map(Verbosity::from_count) {
        nagios(&output::nagios(&report, verbosity), Some(report.status()));
        json(&output::json(&report, verbosity));
    }
    let problem = dice.text();
    let more = [dice.text(), dice.text()];
    nagios(&output::failure(Status::Unknown, &problem, &more), None);
    json(&output::json_failure(Status::Unknown, &problem, &more));
    munin(&report, &problem);
    screen(report.clone(), &problem);
    mails(&mut dice, &report);
    log(&mut dice, &report);
    let shown = sanitize::shown(&problem);
    assert!(!shown.contains(is_unseemly), "{shown:?}");
}

fn made(dice: &mut Dice<'_>) -> Report {
    let mut tally = Tally::default();
    let mut filter = Filter::new(Selection {
        excludes: vec!["192.168.0.0/16".parse().expect("a network")],
        ..Selection::default()
    });
    for _ in 0..dice.number() % 32 {
        let connection = connection(dice);
        for _ in 0..=dice.number() % 16 {
            if filter.counts(&connection) {
                tally.add(&connection);
            }
        }
    }
    let counted = tally.finish();
    let rule = rule(dice);
    let when = 1_196_290_834;
    let judged = (dice.number() % 2 == 1).then(|| usize::from(dice.number()).max(2));
    let views = (0..=dice.number() % 4).map(|nth| {
        let (v4, v6) = (dice.number() % 33, dice.number() % 129);
        let grain = Grain { v4, v6, members: u64::from(dice.number()) };
        let grain = if nth == 0 { Grain::ADDRESSES } else { grain };
        let mut sample = Sample::of(&counted, when, grain, judged, 20);
        for peer in &mut sample.top {
            peer.label = Label::new(peer.network, &dice.text()).map(|label| label.name);
            peer.first_on_top = Some(u64::from(dice.number()) * 10_000_000);
        }
        let previous = Previous {
            when: u64::from(dice.number()) * 10_000_000,
            grain,
            on_top: sample.on_top(),
            connections: 7,
            row: u32::from(dice.number()) << 24,
            tops: Vec::new(),
        };
        let history = History { previous: dice.number().is_multiple_of(2).then_some(previous) };
        let verdict = rule::judge(&sample, &history, &rule.of_view(usize::from(nth)));
        View { sample, verdict, earlier: history.previous }
    });
    let views = views.collect();
    let trouble = |dice: &mut Dice<'_>| Trouble { problem: dice.text(), advice: Some(dice.text()) };
    Report {
        views,
        left_out: filter.left_out(),
        subject: if dice.number().is_multiple_of(2) { Subject::Sockets } else { Subject::Flows },
        is_inbound: dice.number().is_multiple_of(2),
        rule,
        judged,
        troubles: (0..dice.number() % 3).map(|_| trouble(dice)).collect(),
        is_whole: dice.number().is_multiple_of(2),
        is_doubtful: dice.number().is_multiple_of(4),
        notes: (0..dice.number() % 3).map(|_| dice.text()).collect(),
        details: (0..dice.number() % 3).map(|_| dice.text()).collect(),
        shares: (0..dice.number() % 3).map(|_| (name(&dice.text()), 7)).collect(),
        namespaces: Vec::new(),
        alerts: Vec::new(),
    }
}

/// What may be called a server on a command line, but for its user.
fn name(text: &str) -> String {
    let name: String =
        text.chars().filter(|&it| it.is_alphanumeric() || "-._:%".contains(it)).collect();
    // What begins with a hyphen is an option to somebody.
    let name = name.trim_start_matches('-');
    if name.is_empty() { "web1".to_owned() } else { name.to_owned() }
}

fn connection(dice: &mut Dice<'_>) -> Connection {
    let (a, b, state) = (dice.number(), dice.number(), dice.number());
    let peer = match a % 3 {
        0 => [203, 0, 113, b].into(),
        1 => std::net::Ipv6Addr::from_bits(u128::MAX / 3 - u128::from(b)).into(),
        _ => [192, 168 + b % 2, a, b].into(),
    };
    Connection {
        local: SocketAddr::new([192, 0, 2, 1].into(), u16::from(a) * 257),
        peer: SocketAddr::new(peer, 50_000),
        tcp_state: TcpState::from_number(state % 13),
        peer_cut: None,
    }
}

fn rule(dice: &mut Dice<'_>) -> Rule {
    let number = f64::from(dice.number()) / 7.0;
    let stddev = Trigger::Stddev(10_f64.powf(number / 3.0));
    let lognormal = Trigger::Lognormal { false_alarm_rate: number / 37.0 + 0.001 };
    let (trigger, beside) = match dice.number() % 2 {
        0 => (stddev, lognormal),
        _ => (lognormal, stddev),
    };
    let range = |dice: &mut Dice<'_>| dice.text().parse().ok();
    Rule {
        trigger,
        beside,
        floor: f64::from(dice.number()),
        consecutive: u32::from(dice.number() % 4 + 1),
        max_age: dice.number().is_multiple_of(2).then_some(Duration::from_secs(3600)),
        warning: range(dice),
        critical: range(dice),
    }
}

/// What a terminal, Nagios or a shell would take for its own: control and
/// direction marks, and anything else that is neither letter nor digit nor
/// ASCII.
fn is_unseemly(letter: char) -> bool {
    !(letter.is_ascii_graphic() || letter == ' ' || letter.is_alphanumeric())
}

fn nagios(answer: &str, judged: Option<Status>) {
    let body = answer.strip_suffix('\n').expect("it ends in a line end");
    let first = body.lines().next().expect("there is a status line");
    let status = judged.unwrap_or(Status::Unknown);
    assert!(first.starts_with(&format!("TOPIP {status} - ")), "{answer}");
    assert!(first.len() < 1000, "{} bytes: {answer}", first.len());
    let n_bars = usize::from(judged.is_some());
    assert_eq!(answer.matches('|').count(), n_bars, "{answer}");
    assert_eq!(first.matches('|').count(), n_bars, "perfdata once, on the first line: {answer}");
    for line in body.split('\n') {
        let is_bad = |it| is_unseemly(it) || "<>$&\"'`".contains(it);
        assert!(!line.contains(is_bad), "{line:?}");
        assert!(line.len() <= 1000, "{line:?}");
    }
    if let Some((_, perfdata)) = first.split_once(" | ") {
        perfdata.split(' ').for_each(metric);
        assert!(perfdata.starts_with("max="), "{perfdata}");
    }
}

/// `label=value[;warn[;crit[;min]]]`, in plain decimals.
fn metric(metric: &str) {
    let (label, numbers) = metric.split_once('=').unwrap_or_else(|| panic!("{metric}"));
    assert!(label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_'), "{metric}");
    let fields: Vec<_> = numbers.split(';').collect();
    assert!(fields.len() <= 4, "{metric}");
    let is_plain = |it: u8| it.is_ascii_digit() || b"-.".contains(&it);
    assert!(!fields[0].is_empty() && fields[0].bytes().all(is_plain), "{metric}");
    let is_range = |it: u8| is_plain(it) || b"~:@".contains(&it);
    assert!(fields[1..].iter().all(|it| it.bytes().all(is_range)), "{metric}");
}

fn json(answer: &str) {
    let line = answer.strip_suffix('\n').expect("it ends in a line end");
    assert!(!line.contains(char::is_control), "{line:?}");
    let object: serde_json::Value = serde_json::from_str(line).expect("it is an object");
    for field in ["schema", "program", "status", "exit_code", "message"] {
        assert!(object.get(field).is_some(), "{field} is missing: {line}");
    }
    let message = object["message"].as_str().expect("a text");
    assert!(!message.contains(is_unseemly) && !message.contains('|'), "{message:?}");
}

fn munin(report: &Report, problem: &str) {
    let mut graphs = Graphs { name: "topip".to_owned(), is_multigraph: true, ..Graphs::default() };
    for level in Level::ALL {
        graphs.thresholds.push(Threshold { field: JUDGED, level, at: At::Limit });
    }
    let is_whole = Graphs::config(&graphs, None);
    for seen in [Ok(report), Err(problem)] {
        let (config, fetch) = (graphs.config(Some(seen)), graphs.fetch(seen));
        let keys = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split(' ').next().unwrap_or("").to_owned()).collect()
        };
        let mut names = keys(&config);
        names.retain(|it| !is_value(it));
        assert_eq!(names, keys(&is_whole), "{config}");
        for line in fetch.lines() {
            let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{fetch}"));
            assert!(name == "multigraph" || is_value(name), "{line:?}");
            let is_number = value.bytes().all(|it| it.is_ascii_digit() || it == b'.');
            assert!(!name.ends_with(".value") || value == "U" || is_number, "{line:?}");
        }
        for text in [&config, &fetch] {
            let is_bad = |it: char| it != '\n' && (is_unseemly(it) || "#\\|<>$`".contains(it));
            assert!(!text.contains(is_bad), "{text:?}");
        }
    }
    let lines = [problem.to_owned()];
    assert_eq!(output::munin::complaint(&lines).lines().count(), 1);
}

fn is_value(name: &str) -> bool {
    [".value", ".extinfo", ".warning", ".critical"].iter().any(|it| name.ends_with(it))
}

fn screen(report: Report, problem: &str) {
    for seen in [Ok((report, Some(vec![3, -3]))), Err(problem.to_owned())] {
        let watched = Watched { seen, time: "23:40:34".to_owned(), title: "every 2 s".to_owned() };
        let rows = output::screen(&watched, 80, 24);
        assert!(rows.len() <= 24);
        let texts = rows.iter().map(|row| row.text.clone()).chain([output::line(&watched)]);
        for text in texts {
            assert!(!text.contains(is_unseemly), "{text:?}");
        }
        assert!(rows.iter().all(|row| row.text.chars().count() <= 80));
    }
}

fn mails(dice: &mut Dice<'_>, report: &Report) {
    let host = dice.text();
    let network = "203.0.113.7".parse::<Network>().expect("a network");
    let mails = Mails(vec![Mailed { network, when: u64::from(dice.number()) }]);
    let alerts = report.views.iter().map(|view| output::alert(report, view, &host));
    for letter in alerts.chain([output::recovery(report, &mails, &host)]) {
        let Letter { subject, body } = &letter;
        assert!(subject.len() <= 200 && !subject.contains(is_unseemly), "{subject:?}");
        assert!(body.ends_with('\n'));
        for line in body.lines() {
            assert!(line.len() < 998 && !line.contains(is_unseemly), "{line:?}");
            assert!(line != ".", "a dot alone ends a mail");
        }
        head(&letter);
    }
}

/// The head of a mail has its lines, each once, and no other.
#[cfg(fuzzing)]
fn head(letter: &Letter) {
    let bytes = topip::notify::mail::mail_fuzz::message(letter);
    let text = String::from_utf8(bytes).expect("a mail is in ASCII");
    assert!(text.is_ascii());
    let (head, _) = text.split_once("\r\n\r\n").expect("a head ends in an empty line");
    let names = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    let names: Vec<_> = names.map(|line| line.split(':').next().unwrap_or(line)).collect();
    let mut known = [
        "From",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
        "To",
        "Content-Transfer-Encoding",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    known.sort_unstable();
    assert_eq!(sorted, known, "{head}");
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n']) && line.len() <= 998, "{line:?}");
    }
}

#[cfg(not(fuzzing))]
fn head(_: &Letter) {}

fn log(dice: &mut Dice<'_>, report: &Report) {
    let when = DateTime::parse_from_rfc3339("2007-11-28T23:40:34-05:00").expect("a time");
    let servers: Vec<_> = (0..dice.number() % 3).map(|_| dice.text()).collect();
    // What begins with a hyphen is an option, and no server is called that.
    let servers = servers.iter().map(|name| name.trim_start_matches('-').to_owned());
    let servers: Vec<_> = servers.filter(|name| !name.is_empty()).collect();
    for peer in report.views.iter().filter_map(|view| view.sample.top.first()) {
        let alert = Alert::new(when, peer, &servers, (28.1, 2));
        for format in [Format::Classic, Format::Rfc3339, Format::Json] {
            let line = alert.line(format);
            assert!(!line.contains(char::is_control), "{line:?}");
            let entry = Clock::new(*when.offset()).parse(&line);
            assert_eq!(entry.as_ref(), Ok(&alert.entry), "{line:?}");
        }
    }
}
