//! Output of every format, with untrusted text in it.
use std::{borrow::Cow, net::SocketAddr, time::Duration};

use chrono::{DateTime, Utc};
use topip::{
    alert_log::{
        entry::{Alert, LineFormat, LogEntry},
        group_alert::GroupAlert,
        parse::{LogLineParser, is_other_record},
    },
    analysis::{
        filter::{Filter, Selection},
        history::{History, MailHistory, PeerOver, PendingMail, PreviousSample, SentAlert},
        label::Label,
        note::{FailedSource, Note, SourceDetail},
        observation::Observation,
        operator::Operator,
        rule::{JudgeConfig, Rule},
        sample::{Sample, SampleSize},
        tally::{AddressGroups, Aggregation, Counts, PrefixLengths, Streak, Tally},
        view::judge_sample,
    },
    model::{
        connection::{Connection, TcpState},
        kernel_counters::{KernelCounters, NamespaceCounters},
        peer_id::{GroupBy, PeerId},
        problem::Problem,
        protocol::Protocol,
        sanitize,
        verdict::Status,
    },
    output::{
        self, Email, MailDetail, PassedOn, Report, Verbosity, WatchFrame,
        munin::{Graphs, JUDGED_FIELD, Threshold, ThresholdBound, ThresholdLevel},
    },
    parse::{Dialect, ParseStats, TableKind, capture::CaptureNote},
};

/// Structured input from bytes: numbers from the bytes before the first NUL, and texts from the
/// bytes between the other NULs.
struct Input<'a> {
    numbers: std::iter::Cycle<std::iter::Copied<std::slice::Iter<'a, u8>>>,
    texts: Vec<Cow<'a, str>>,
    next_text: usize,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut pieces = bytes.split(|&byte| byte == 0);
        let numbers = pieces.next().filter(|it| !it.is_empty()).unwrap_or(b"\x01");
        let mut texts: Vec<_> = pieces.map(String::from_utf8_lossy).collect();
        texts.push("a\0b".into());
        Self { numbers: numbers.iter().copied().cycle(), texts, next_text: 0 }
    }

    fn number(&mut self) -> u8 {
        self.numbers.next().expect("the cycle is not empty")
    }

    fn text(&mut self) -> String {
        self.next_text += 1;
        self.texts[(self.next_text - 1) % self.texts.len()].to_string()
    }
}

/// Checks that untrusted text in names, labels, banners and errors does not break the
/// format of the output for Nagios, Munin, JSON, terminals, mail and the alert log.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let report = generate_report(&mut input);
    for verbosity in (0..4).map(Verbosity::from_count) {
        assert_nagios(&output::render_nagios(&report, verbosity), Some(report.status()));
        assert_json(&output::render_json(&report, verbosity));
    }
    let problem = Problem::with_hints(input.text(), vec![input.text(), input.text()]);
    assert_nagios(&output::render_nagios_failure(Status::Unknown, &problem), None);
    assert_json(&output::render_json_failure(Status::Unknown, &problem));
    assert_metrics(&output::render_openmetrics(&report, 20));
    assert_metrics(&output::render_openmetrics_failure(Status::Unknown));
    assert_checkmk(&output::render_checkmk(&report));
    assert_checkmk(&output::render_checkmk_failure(Status::Unknown, &problem));
    assert_munin(&report, &problem);
    assert_emails(&mut input, &report);
    assert_log_lines(&mut input, &report);
    assert_screen(report, &problem.message);
    let printable = sanitize::printable(&problem.message);
    assert!(!printable.contains(is_unprintable), "{printable:?}");
}

fn generate_report(input: &mut Input<'_>) -> Report {
    let mut tally = Tally::default();
    let mut filter = Filter::new(Selection {
        excludes: vec!["192.168.0.0/16".parse().expect("a network")],
        ..Selection::default()
    });
    for _ in 0..input.number() % 32 {
        let connection = random_connection(input);
        for _ in 0..=input.number() % 16 {
            if filter.accepts(&connection) {
                tally.add(&connection);
            }
        }
    }
    let mut counted = tally.finish();
    let group_by = [GroupBy::Asn, GroupBy::Country][usize::from(input.number() % 2)];
    counted.set_groups(group_by, random_groups(input, &counted, group_by));
    let rule = random_rule(input);
    let timestamp = 1_196_290_834;
    let judged = (input.number() % 2 == 1).then(|| usize::from(input.number()).max(2));
    let views = (0..=input.number() % 4).map(|nth| {
        let (v4, v6) = (input.number() % 33, input.number() % 129);
        let lengths = PrefixLengths { v4, v6, min_members: u64::from(input.number()) };
        let aggregation = match nth {
            0 => Aggregation::PER_ADDRESS,
            1 => Aggregation::Group(group_by),
            _ => Aggregation::Prefix(lengths),
        };
        let size = SampleSize { max_judged: judged, max_listed: 20 };
        let sample = Sample::new(&counted, timestamp, aggregation, size, &rule);
        let previous = PreviousSample {
            timestamp: u64::from(input.number()) * 10_000_000,
            aggregation,
            top_address: sample.top_address().cloned(),
            connections: 7,
            over: random_peers_over(input, &sample),
            recent_top: Vec::new(),
        };
        let history = History { previous: input.number().is_multiple_of(2).then_some(previous) };
        let (mut view, _) = judge_sample(sample, history, &rule.for_view(usize::from(nth)));
        for peer in &mut view.sample.top {
            let network = peer.id.network();
            let label = network.and_then(|network| Label::new(network, &input.text()));
            peer.label = label.map(|label| label.name);
            peer.first_on_top = Some(u64::from(input.number()) * 10_000_000);
        }
        view
    });
    let views = views.collect();
    Report {
        views,
        tcp_states: counted.tcp_states(),
        observation: random_observation(input, filter),
        protocol: [Protocol::Tcp, Protocol::Udp, Protocol::All][usize::from(input.number() % 3)],
        is_inbound: input.number().is_multiple_of(2),
        judge_config: rule,
        n_judged: judged,
        problems: random_problems(input),
        notes: vec![Note::StateFileQuarantined {
            defect: input.text(),
            renamed_to: input.text().into(),
        }],
        state_file: Some(input.text().into()),
        alerts: Vec::new(),
        group_alerts: Vec::new(),
        n_omitted_alerts: 0,
        omitted_alerts: None,
        mail: Some(MailDetail::Sent {
            subject: input.text(),
            to: vec![input.text()],
            route: input.text(),
        }),
        passed_on: Some(PassedOn { program: input.text().into(), n_alerts: 3 }),
    }
}

/// Returns groups with names of a network database.
fn random_groups(input: &mut Input<'_>, counts: &Counts, by: GroupBy) -> AddressGroups {
    let mut groups = AddressGroups::default();
    for _ in counts.complete_addresses() {
        let asn = Some(u32::from(input.number() % 4));
        let operator = Operator::new(asn, Some(&input.text()), Some(&input.text()));
        let group = operator.group(by);
        let number = group.map(|(group, common)| groups.number_of(group, common));
        groups.push(number);
    }
    groups
}

fn random_peers_over(input: &mut Input<'_>, sample: &Sample) -> Vec<PeerOver> {
    let mut peers_over = Vec::new();
    for peer in &sample.top {
        let streak = Streak {
            consecutive: u32::from(input.number()) << 24,
            since: u64::from(input.number()) * 10_000_000,
        };
        peers_over.push(PeerOver { id: peer.id.clone(), connections: 7, streak });
    }
    peers_over
}

fn random_observation(input: &mut Input<'_>, filter: Filter) -> Observation {
    let is_flow_table = input.number().is_multiple_of(2);
    let dialect = if is_flow_table { Dialect::Ctnetlink } else { Dialect::InetDiag };
    let failed = FailedSource { source: input.text(), error: input.text() };
    let login = CaptureNote::SshLogin {
        server: input.text(),
        user: input.text(),
        method: input.text(),
        command: input.text(),
    };
    let read = SourceDetail::Read {
        source: input.text(),
        dialects: vec![Dialect::Ss],
        n_other: 2,
        table_kind: TableKind::Sockets,
    };
    Observation {
        skipped: filter.into_skipped(),
        parse_stats: ParseStats { dialects: vec![dialect], ..ParseStats::default() },
        servers: (0..input.number() % 3).map(|_| (server_name(&input.text()), 7)).collect(),
        problems: random_problems(input),
        unreliable: input.number().is_multiple_of(4),
        kernel_counters: vec![NamespaceCounters {
            inode: 1,
            name: Some(input.text()),
            counters: KernelCounters::default(),
            increase: None,
            flow_table: None,
        }],
        notes: vec![
            Note::UnverifiedServers(vec![input.text()]),
            Note::VanishedNamespaces(vec![input.text(), input.text()]),
        ],
        details: vec![SourceDetail::Failed(failed), read, SourceDetail::Capture(login)],
        ..Observation::default()
    }
}

fn random_problems(input: &mut Input<'_>) -> Vec<Problem> {
    (0..input.number() % 3).map(|_| Problem::new(input.text(), input.text())).collect()
}

/// Returns a valid server name, without a user.
fn server_name(text: &str) -> String {
    let name: String =
        text.chars().filter(|&it| it.is_alphanumeric() || "-._:%".contains(it)).collect();
    // A name that begins with a hyphen would be an option.
    let name = name.trim_start_matches('-');
    if name.is_empty() { "web1".to_owned() } else { name.to_owned() }
}

fn random_connection(input: &mut Input<'_>) -> Connection {
    let (a, b, state) = (input.number(), input.number(), input.number());
    let peer = match a % 3 {
        0 => [203, 0, 113, b].into(),
        1 => std::net::Ipv6Addr::from_bits(u128::MAX / 3 - u128::from(b)).into(),
        _ => [192, 168 + b % 2, a, b].into(),
    };
    Connection {
        local: SocketAddr::new([192, 0, 2, 1].into(), u16::from(a) * 257),
        peer: SocketAddr::new(peer, 50_000),
        tcp_state: TcpState::from_number(state % 13),
        peer_truncated: None,
        count: None,
        is_local_truncated: false,
    }
}

fn random_rule(input: &mut Input<'_>) -> JudgeConfig {
    let number = f64::from(input.number()) / 7.0;
    let stddev = Rule::Stddev(10_f64.powf(number / 3.0));
    let false_alarm_rate = number / 37.0 + 0.001;
    let lognormal = Rule::Lognormal { false_alarm_rate };
    let auto = Rule::Auto { multiplier: number + 1.0, false_alarm_rate };
    let (trigger, beside) = match input.number() % 4 {
        3 => (Rule::Fixed(number), auto),
        0 => (stddev, auto),
        1 => (lognormal, auto),
        _ => (auto, stddev),
    };
    let ranges = |input: &mut Input<'_>| input.text().parse().into_iter().collect();
    JudgeConfig {
        rule: trigger,
        other_rule: beside,
        floor: f64::from(input.number()),
        consecutive: u32::from(input.number() % 4 + 1),
        max_age: input.number().is_multiple_of(2).then_some(Duration::from_secs(3600)),
        warning: ranges(input),
        critical: ranges(input),
    }
}

/// Returns whether a terminal, Nagios or a shell could interpret the character: control and
/// direction characters, and other characters that are neither alphanumeric nor printable
/// ASCII.
fn is_unprintable(letter: char) -> bool {
    !(letter.is_ascii_graphic() || letter == ' ' || letter.is_alphanumeric())
}

fn assert_nagios(answer: &str, judged: Option<Status>) {
    let body = answer.strip_suffix('\n').expect("output ends with a line feed");
    let first = body.lines().next().expect("output has a status line");
    let status = judged.unwrap_or(Status::Unknown);
    assert!(first.starts_with(&format!("TOPIP {status} - ")), "{answer}");
    assert!(first.len() < 1000, "{} bytes: {answer}", first.len());
    let n_bars = usize::from(judged.is_some());
    assert_eq!(answer.matches('|').count(), n_bars, "{answer}");
    assert_eq!(first.matches('|').count(), n_bars, "perfdata once, on the first line: {answer}");
    for line in body.split('\n') {
        let is_forbidden = |it| is_unprintable(it) || "<>$&\"'`".contains(it);
        assert!(!line.contains(is_forbidden), "{line:?}");
        assert!(line.len() <= 1000, "{line:?}");
    }
    if let Some((_, perfdata)) = first.split_once(" | ") {
        perfdata.split(' ').for_each(assert_metric);
        assert!(perfdata.starts_with("max="), "{perfdata}");
    }
}

/// Asserts that a metric is `label=value[;warn[;crit[;min]]]`, in plain decimal numbers.
fn assert_metric(metric: &str) {
    let (label, numbers) = metric.split_once('=').unwrap_or_else(|| panic!("{metric}"));
    assert!(label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_'), "{metric}");
    let fields: Vec<_> = numbers.split(';').collect();
    assert!(fields.len() <= 4, "{metric}");
    let is_decimal = |it: u8| it.is_ascii_digit() || b"-.".contains(&it);
    assert!(!fields[0].is_empty() && fields[0].bytes().all(is_decimal), "{metric}");
    let is_range = |it: u8| is_decimal(it) || b"~:@".contains(&it);
    assert!(fields[1..].iter().all(|it| it.bytes().all(is_range)), "{metric}");
}

fn assert_json(answer: &str) {
    let line = answer.strip_suffix('\n').expect("output ends with a line feed");
    assert!(!line.contains(char::is_control), "{line:?}");
    let object: serde_json::Value = serde_json::from_str(line).expect("output is JSON");
    for field in ["schema", "program", "status", "exit_code", "message"] {
        assert!(object.get(field).is_some(), "{field} is missing: {line}");
    }
    let message = object["message"].as_str().expect("a text");
    assert!(!message.contains(is_unprintable) && !message.contains('|'), "{message:?}");
}

/// Asserts that each line is a comment or one sample: a name, labels in quotes, and a number.
fn assert_metrics(text: &str) {
    let lines = text.strip_suffix("# EOF\n").expect("the end is marked");
    for line in lines.lines().filter(|line| !line.starts_with("# ")) {
        assert!(line.starts_with("topip_") && !line.contains(is_unprintable), "{line:?}");
        let (name, value) = line.rsplit_once(' ').expect("a line has a value");
        assert!(value.parse::<f64>().is_ok(), "{line:?}");
        let (_, labels) = name.split_once('{').unwrap_or((name, ""));
        // Outside of quotes, there are names, commas and the closing brace.
        let unescaped = labels.replace("\\\\", "").replace("\\\"", "");
        let outside: String = unescaped.split('"').step_by(2).collect();
        let is_syntax = |c: char| c.is_ascii_alphanumeric() || "_=,}".contains(c);
        assert!(outside.chars().all(is_syntax), "{line:?}");
        assert_eq!(unescaped.matches('"').count(), 2 * outside.matches('=').count(), "{line:?}");
    }
}

/// Asserts that each line has a status, a service in quotes, metrics without blanks, and a
/// text.
fn assert_checkmk(text: &str) {
    let line = text.strip_suffix('\n').expect("output ends with a line feed");
    assert!(!line.contains(is_unprintable) && !line.contains('\\'), "{line:?}");
    let parts: Vec<_> = line.splitn(3, '"').collect();
    let [status, service, rest] = parts[..] else { panic!("{line:?}") };
    assert!(["0 ", "1 ", "2 ", "3 "].contains(&status), "{line:?}");
    assert!(service.starts_with("TOPIP") && rest.starts_with(' '), "{line:?}");
    let metrics = rest[1..].split(' ').next().expect("a text has a first word");
    assert!(metrics == "-" || metrics.starts_with("max="), "{line:?}");
}

fn assert_munin(report: &Report, problem: &Problem) {
    let mut graphs = Graphs {
        name: "topip".to_owned(),
        is_multigraph: true,
        groups: vec![GroupBy::Asn, GroupBy::Country, GroupBy::Label],
        ..Graphs::default()
    };
    for level in ThresholdLevel::ALL {
        graphs.thresholds.push(Threshold {
            field: JUDGED_FIELD,
            level,
            bound: ThresholdBound::Limit,
        });
    }
    let is_whole = Graphs::config(&graphs, None);
    for outcome in [Ok(report), Err(problem)] {
        let (config, fetch) = (graphs.config(Some(outcome)), graphs.fetch(outcome));
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
            let is_forbidden =
                |it: char| it != '\n' && (is_unprintable(it) || "#\\|<>$`".contains(it));
            assert!(!text.contains(is_forbidden), "{text:?}");
        }
    }
    let n_lines = 1 + problem.hints.len();
    assert_eq!(output::munin::render_munin_problem(problem).lines().count(), n_lines);
}

fn is_value(name: &str) -> bool {
    [".value", ".extinfo", ".warning", ".critical"].iter().any(|it| name.ends_with(it))
}

fn assert_screen(report: Report, problem: &str) {
    for outcome in [Ok((report, Some(vec![3, -3]))), Err(problem.to_owned())] {
        let frame = WatchFrame {
            result: outcome,
            time: "23:40:34".to_owned(),
            title: "every 2 s".to_owned(),
        };
        let rows = output::render_watch_screen(&frame, 80, 24);
        assert!(rows.len() <= 24);
        let texts =
            rows.iter().map(|row| row.text.clone()).chain([output::render_watch_line(&frame)]);
        for text in texts {
            assert!(!text.contains(is_unprintable), "{text:?}");
        }
        assert!(rows.iter().all(|row| row.text.chars().count() <= 80));
    }
}

fn assert_emails(input: &mut Input<'_>, report: &Report) {
    let host = input.text();
    let ids = ["203.0.113.7".to_owned(), format!("asn:{}", input.text())];
    let ids = ids.map(|id| id.parse::<PeerId>().expect("a peer"));
    let timestamp = u64::from(input.number());
    let mails = MailHistory(ids.clone().map(|id| SentAlert { id, timestamp }).to_vec());
    let pending = PendingMail { alerts: ids.to_vec(), recovered: ids.to_vec() };
    for email in [
        output::alert_email(report, &pending, &host),
        output::recovery_email(report, &pending, &mails, &host),
    ] {
        let Email { subject, body } = &email;
        assert!(subject.len() <= 200 && !subject.contains(is_unprintable), "{subject:?}");
        assert!(body.ends_with('\n'));
        for line in body.lines() {
            assert!(line.len() < 998 && !line.contains(is_unprintable), "{line:?}");
            assert!(line != ".", "a dot alone ends a mail");
        }
        assert_email_header(&email);
    }
}

/// Asserts that the header of an email has exactly the expected fields, each once.
#[cfg(fuzzing)]
fn assert_email_header(email: &Email) {
    let bytes = topip::notify::mail::mail_fuzz::encoded_message(email);
    let text = String::from_utf8(bytes).expect("a mail is ASCII");
    assert!(text.is_ascii());
    let (head, _) = text.split_once("\r\n\r\n").expect("the header ends with an empty line");
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
fn assert_email_header(_: &Email) {}

fn assert_log_lines(input: &mut Input<'_>, report: &Report) {
    let timestamp = DateTime::parse_from_rfc3339("2007-11-28T23:40:34-05:00").expect("a time");
    let servers: Vec<_> = (0..input.number() % 3).map(|_| input.text()).collect();
    // A name that begins with a hyphen would be an option, so no server has such a name.
    let servers = servers.iter().map(|name| name.trim_start_matches('-').to_owned());
    let servers: Vec<_> = servers.filter(|name| !name.is_empty()).collect();
    for peer in report.views.iter().filter_map(|view| view.sample.top.first()) {
        let formats = [LineFormat::Classic, LineFormat::Rfc3339, LineFormat::Json];
        let network = match &peer.id {
            PeerId::Network(network) => *network,
            PeerId::Group(group) => {
                let members = report.views[0].sample.peers_over();
                let alert = GroupAlert::new(timestamp, (group, peer, 28.1), members, &servers);
                for line in formats.map(|format| alert.line(format)) {
                    assert!(!line.contains(char::is_control), "{line:?}");
                    assert!(is_other_record(&line), "{line:?}");
                    assert!(LogLineParser::new(Utc).parse(&line).is_err(), "{line:?}");
                }
                continue;
            }
        };
        let entry = LogEntry::new(timestamp, network, peer.connections, &servers);
        let alert = Alert::new(entry, peer, (28.1, 2));
        for format in formats {
            let line = alert.line(format);
            assert!(!line.contains(char::is_control), "{line:?}");
            let entry = LogLineParser::new(*timestamp.offset()).parse(&line);
            assert_eq!(entry.as_ref(), Ok(&alert.entry), "{line:?}");
        }
    }
}
