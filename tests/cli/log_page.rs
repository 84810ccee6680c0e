//! Pages of `topip_log report --output html`.
use std::process::Command;

use regex::Regex;
use serde_json::json;
use snapbox::{Assert, Data};

use crate::support::{LOG, TestDir, run, skip, test_file};

/// The elements that a page may have.
const ELEMENTS: [&str; 26] = [
    "body", "caption", "code", "desc", "h1", "h2", "head", "html", "li", "line", "main", "meta",
    "p", "path", "small", "style", "svg", "table", "tbody", "td", "text", "th", "thead", "title",
    "tr", "ul",
];

/// Returns the names of the elements of a page in order. Panics if the page has other
/// elements, or a part that is neither a tag nor text.
#[track_caller]
pub fn elements(page: &str) -> Vec<String> {
    let tag =
        Regex::new(r#"^(/?)([a-z0-9]+)(?: [A-Za-z0-9-]+="[^"<>']*")*(/?)>([^<>"']*)$"#).unwrap();
    let rest = page.strip_prefix("<!DOCTYPE html>\n<").expect("the page is HTML");
    // The policy of the page has quotation marks.
    let rest = rest.replace("&#39;", "");
    let mut names = Vec::new();
    let mut open = Vec::new();
    for part in rest.split('<') {
        let parts = tag.captures(part).unwrap_or_else(|| panic!("{part:?} in {page}"));
        let name = parts[2].to_owned();
        assert!(ELEMENTS.contains(&&*name), "{part:?} in {page}");
        if &parts[1] == "/" {
            assert_eq!(open.pop(), Some(name), "{part:?} in {page}");
            continue;
        }
        if parts[3].is_empty() {
            open.push(name.clone());
        }
        names.push(name);
    }
    assert_eq!(open, [""; 0], "{page}");
    names
}

/// Returns a page, without the time and the version that wrote it.
fn page(dir: &TestDir, args: &[&str]) -> String {
    let mut command = dir.program(LOG, &[&["report", "--output", "html"], args].concat());
    let result = run(command.env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3"));
    assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{args:?}");
    elements(&result.stdout);
    let written = Regex::new("topip_log [^ ]+ wrote this page on [^)]+\\)").unwrap();
    written.replace(&result.stdout, "topip_log VERSION wrote this page on TIME").into_owned()
}

/// Returns a line in JSON.
fn json_line(time: &str, address: &str, connections: u64, details: (f64, u32, &str)) -> String {
    let (limit, samples, server) = details;
    let time = format!("2026-11-10T{time}:00+01:00");
    let line = json!({
        "time": time, "address": address, "connections": connections,
        "limit": limit, "samples": samples, "servers": [server],
    });
    format!("{line}\n")
}

/// Writes the log of a night: an address that returns, one without a sample in between, and
/// one on two servers, whose lines are not in JSON.
fn write_night(dir: &TestDir) {
    let mut log = String::new();
    for minute in 0..40 {
        let time = format!("02:{:02}", minute + 10);
        log += &json_line(&time, "203.0.113.7", 300 + minute * 10, (28.1, 2, "web1"));
    }
    for (samples, time) in ["03:01", "03:02", "03:15", "03:16"].iter().enumerate() {
        let details = (31.5, samples as u32 + 2, "web1");
        log += &json_line(time, "2001:db8::7", 40, details);
    }
    log += "2026-11-10T03:40:00+01:00 - 99 connections from 198.51.100.20 on web1,web2\n\
            Tue Nov 10 04:10:00 2026 - 55 connections from 198.51.100.20 on web2\n";
    dir.write("topip.log", log);
}

#[test]
fn page_is_golden() {
    let dir = TestDir::new();
    write_night(&dir);
    let period = ["--since", "2026-11-10 01:00", "--until", "2026-11-10 05:00"];
    let found = page(&dir, &[&["--log", "topip.log"][..], &period].concat());
    let golden = test_file("golden/log-page.html");
    Assert::new().action_env("SNAPSHOTS").eq(found, Data::read_from(&golden, None));
}

#[test]
fn pages_are_well_formed_xml() {
    if Command::new("xmllint").arg("--version").output().is_err() {
        return skip("xmllint");
    }
    let dir = TestDir::new();
    write_night(&dir);
    let database = test_file("fixtures/network_db").join("ipinfo.mmdb");
    let database = database.to_str().unwrap();
    for args in [
        &["--top", "1"][..],
        &["--since", "2026-11-11", "--until", "2026-11-12"],
        &["--prefix4", "8", "--prefix6", "16"],
        &["--network-db", database],
        &["--network-db", database, "--group-by", "asn"],
        &["--network-db", database, "--group-by", "country"],
    ] {
        dir.write("page.html", page(&dir, &[&["--log", "topip.log"], args].concat()));
        let result = run(Command::new("xmllint").args(["--noout"]).arg(dir.path("page.html")));
        assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{args:?}");
    }
}

/// The page loads no external resources and runs no scripts, regardless of the log's content.
#[test]
fn page_is_self_contained() {
    let dir = TestDir::new();
    write_night(&dir);
    let page = page(&dir, &["--log", "topip.log"]);
    let tags = Regex::new("<[^>]*>").unwrap();
    for word in ["href", "src=", "url(", "@import", "http-equiv=\"refresh", " on", "javascript:"] {
        let found = tags.find_iter(&page).find(|tag| tag.as_str().contains(word));
        assert_eq!(found.map(|tag| tag.as_str()), None, "{word}");
    }
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    assert!(!style.contains("url") && !style.contains("@import"), "{style}");
    assert!(page.contains("default-src &#39;none&#39;"));
}

/// The bars of a lane match the peaks of a table that is computed independently.
#[test]
fn page_describes_each_episode() {
    let dir = TestDir::new();
    write_night(&dir);
    let page = page(&dir, &["--log", "topip.log"]);
    for expected in [
        "<desc>2026-11-10 02:10 to 02:50, 40 alerts, at most 690 connections</desc>",
        "<desc>2026-11-10 03:01 to 03:03, 2 alerts, at most 40 connections; \
         2026-11-10 03:15 to 03:17, 2 alerts, at most 40 connections; \
         no sample taken 2026-11-10 03:02 to 03:15</desc>",
        "<title>198.51.100.20 on web1, web2</title>",
        "<title>198.51.100.20 on web2</title>",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    let gap = Regex::new("<path class=\"gap\" d=\"([^\"]+)\"").unwrap();
    let gaps: Vec<_> = gap.captures_iter(&page).map(|it| it[1].to_owned()).collect();
    // Columns of one minute from 02:10: 03:03 to 03:14, of all addresses and of one.
    assert_eq!(gaps, ["M53 0v50h12V0z", "M53 0v50h12V0z"]);
}

/// Addresses of a country share a time line.
#[test]
fn page_sums_alerts_by_group() {
    let dir = TestDir::new();
    write_night(&dir);
    let database = test_file("fixtures/network_db").join("ipinfo.mmdb");
    let args = ["--network-db", database.to_str().unwrap(), "--group-by", "country"];
    let page = page(&dir, &[&["--log", "topip.log"], &args[..]].concat());
    for expected in [
        "<title>DE on web1</title><desc>2026-11-10 02:10 to 02:50, 40 alerts, at most 690 \
         connections</desc>",
        "<title>AT on web1</title><desc>2026-11-10 03:01 to 03:03, 2 alerts",
        "<title>AT on web1, web2</title><desc>2026-11-10 03:40 to 03:41, 1 alert, at most 99 \
         connections</desc>",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
}

#[test]
fn unreadable_log_is_a_problem_of_the_page() {
    let dir = TestDir::new();
    let result = dir.run_log(&["report", "--output", "html", "--log", "<none>"]);
    assert_eq!(result.code, Some(1));
    elements(&result.stdout);
    assert!(result.stdout.contains("<li>cannot read the log &lt;none&gt;"), "{}", result.stdout);
    assert!(!result.stdout.contains("No alerts"), "{}", result.stdout);
    dir.write(
        "damaged",
        "<script>alert(1)</script>\n2026-11-10T02:10:00Z - 9 connections from ::1\n",
    );
    let result = dir.run_log(&["report", "--output", "html", "--log", "damaged"]);
    assert_eq!(result.code, Some(0));
    elements(&result.stdout);
    assert!(result.stdout.contains("<li>1 line is not an alert"), "{}", result.stdout);
}

/// A hundred offenders over a week, each over the limit in every column, stay below 500 KiB.
#[test]
fn page_of_a_week_is_small() {
    let dir = TestDir::new();
    let mut log = String::new();
    let start = chrono::DateTime::parse_from_rfc3339("2026-11-10T00:00:00+01:00").unwrap();
    for n in 0..7 * 48_u64 {
        let time =
            (start + chrono::TimeDelta::minutes(i64::try_from(n).unwrap() * 30)).to_rfc3339();
        for host in 0..120 {
            let connections = 30 + (n * 7919 + host * 104_729) % 9973 * (host % 9);
            let limit = 20 + (n * 31 + host) % 200;
            let samples = if host % 2 == 0 { 2 } else { n };
            // Half of the offenders are over the limit intermittently.
            if host % 2 == 0 || n % 3 > 0 {
                log += &format!(
                    "{{\"time\":\"{time}\",\"address\":\"2001:db8:1:2:3:4:5:{host:x}\",\
                     \"connections\":{connections},\"limit\":{limit},\"samples\":{samples}}}\n"
                );
            }
        }
    }
    dir.write("log", log);
    let page = page(&dir, &["--log", "log"]);
    // The totals, and the default of 100 addresses.
    assert_eq!(page.matches("preserveAspectRatio").count(), 101);
    assert!(page.len() < 500 * 1024, "{} bytes", page.len());
    assert!(page.len() > 100 * 1024, "{} bytes", page.len());
}

/// Time lines of many addresses are dropped, and the page reports that.
#[test]
fn page_of_a_huge_log_uses_bounded_memory() {
    let dir = TestDir::new();
    let mut log = String::new();
    for minute in 0..300 {
        let time = format!("2026-11-11T{:02}:{:02}:00+01:00", minute / 60, minute % 60);
        for n in 0..4000 {
            log += &format!("{time} - 9 connections from 10.0.{}.{}\n", n / 250, n % 250);
        }
        log += &format!("{time} - 15 connections from 203.0.113.7\n").repeat(3);
    }
    dir.write("log", log);
    let script = "ulimit -v 65536; exec \"$0\" \"$@\"";
    let args = ["-c", script, LOG, "report", "--log", "log", "--output", "html"];
    let result = run(dir.program("sh", &args).env("TZ", "CET-1"));
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
    let page = result.stdout;
    assert!(page.contains("1200900 alerts about 4001 addresses; these are the top 100."));
    assert!(page.contains("<desc>2026-11-11 00:00 to 05:00, 900 alerts, at most 15 connections"));
    let notes = page.matches("The log has too many addresses: ").count();
    assert!((1..100).contains(&notes), "{notes} incomplete time lines");
}
