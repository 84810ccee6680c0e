//! `munin_topip` on captured input: whole answers, and the values of the check.
use std::{fs, os::unix::process::CommandExt, process::Command};

use snapbox::{Assert, Data};

use crate::support::{MUNIN, Ran, Room, crowd, file, listing, munin::value, run};

use super::fixtures::listings;

/// The plugin by the name of a link, as the node runs it in that room.
fn ask(room: &Room, link: &str, verb: &str, env: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(MUNIN);
    command
        .arg0(room.path(link))
        .args(verb.split_whitespace())
        .env_clear()
        .env("MUNIN_PLUGSTATE", room.path("state"))
        .env("MUNIN_STATEFILE", room.path(&format!("state/{link}-127.0.0.1")))
        .envs(env.iter().copied())
        .current_dir(room.path("."));
    run(&mut command)
}

const BOTH: [(&str, &str); 2] = [("MUNIN_CAP_MULTIGRAPH", "1"), ("MUNIN_CAP_DIRTYCONFIG", "1")];
const INPUT: (&str, &str) = ("input", "listing");

/// By which link, what is asked, and the variables.
type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Asks one thing after the other, all of them of one listing.
#[track_caller]
fn check(name: &str, listing: &str, runs: &[Asked]) {
    let room = Room::new();
    room.write("listing", listing);
    let mut seen = String::new();
    for (link, verb, env) in runs {
        let ran = ask(&room, link, verb, env);
        let variables: String =
            env.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        seen += &format!("{}\n{}", format!("$ {variables}{link} {verb}").trim_end(), ran.stdout);
        seen += &ran.stderr.lines().map(|line| format!("! {line}\n")).collect::<String>();
        seen += &format!("[{}]\n", ran.code.unwrap());
    }
    let golden = file("golden").join(format!("{name}.txt"));
    Assert::new().action_env("SNAPSHOTS").eq(seen, Data::read_from(&golden, None));
}

#[test]
fn what_is_drawn() {
    let multigraph = &BOTH[..1];
    check(
        "munin-config",
        "",
        &[
            ("topip", "config", &[]),
            ("ssh_www.example.com_topip", "config multigraph", multigraph),
            ("topip_web1", "config", &[("warning", "100"), ("connections_max_critical", "10:500")]),
        ],
    );
}

#[test]
fn what_the_values_are() {
    let flood = crowd(30, &[("203.0.113.7", 152)]);
    let limit = [("warning", "limit"), ("critical", "limit")];
    check(
        "munin-values",
        &flood,
        &[
            ("topip", "", &[INPUT]),
            ("topip", "fetch", &[INPUT, BOTH[0]]),
            ("topip_web1", "config", &[INPUT, BOTH[0], BOTH[1], limit[0], limit[1]]),
            ("topip_web1", "config", &[INPUT, BOTH[0], BOTH[1], limit[0], limit[1]]),
            ("topip", "", &[INPUT, ("exclude", "203.0.113.0/24,198.51.100.0/24")]),
            ("topip", "", &[INPUT, ("prefix4", "24"), ("label", "198.51.100.0/24=the crowd")]),
        ],
    );
}

#[test]
fn what_cannot_be_seen() {
    let cut = crowd(3, &[]) + "tcp 0 0 192.0.2.10:443 203.0.113.300:1 ESTABLISHED\n";
    let missing = ("input", "missing");
    check(
        "munin-unknown",
        &cut,
        &[
            ("topip", "", &[INPUT]),
            ("topip", "config", &[INPUT, BOTH[0], BOTH[1], ("warning", "limit")]),
            ("topip", "", &[missing, BOTH[0]]),
            ("topip", "config", &[missing, BOTH[1]]),
        ],
    );
}

#[test]
fn variables_that_mean_nothing() {
    check(
        "munin-variables",
        "",
        &[
            ("topip", "", &[("top", "many")]),
            ("topip", "config", &[("top", "many"), ("warning", "100")]),
            ("topip", "", &[("inbound", "perhaps")]),
            ("topip", "", &[("4", "yes"), ("6", "yes")]),
            ("topip", "", &[("rule", "magic")]),
            ("topip", "", &[INPUT, ("source", "proc")]),
            ("topip", "", &[("input", "-")]),
            ("topip", "", &[INPUT, ("prefix4", "24,32")]),
            ("topip", "", &[("connections_avg_warning", "limit")]),
            ("topip", "", &[("critical", "~:50")]),
            ("topip", "", &[("warning", "9:5")]),
            ("topip_web:x", "", &[]),
            ("topip_\u{e9}", "", &[]),
            ("topip_\u{e9}", "config", &[]),
            ("topip_\u{e9}", "", &[("hostname", "web1")]),
            ("topip", "--top 10", &[]),
            ("topip", "suggest", &[]),
            ("topip_", "suggest", &[("hostname", "web1,root@web2:22,localhost")]),
        ],
    );
}

#[test]
fn flags_are_yes_or_no() {
    let room = Room::new();
    room.write("listing", listing(&[("192.168.0.7", 3), ("203.0.113.7", 1)]));
    for (value, max) in [("yes", "3"), ("1", "3"), ("True", "3"), ("no", "1"), ("0", "1")] {
        let ran = ask(&room, "topip", "", &[INPUT, ("no_default_excludes", value)]);
        assert_eq!(self::value(&ran.stdout, "connections_max"), max, "{value}");
    }
}

/// What other plugins and daemons have in the environment is left alone.
#[test]
fn other_variables_do_not_matter() {
    let room = Room::new();
    room.write("listing", crowd(3, &[]));
    let others = [("TOP", "x"), ("PORT", "x"), ("excludes", "x"), ("http_proxy", "x"), ("_", "x")];
    let ran = ask(&room, "topip", "", &[&[INPUT][..], &others].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn help_and_version_are_for_people() {
    let room = Room::new();
    let help = ask(&room, "munin_topip", "--help", &[]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("plugin-conf.d"), "{}", help.stdout);
    let version = ask(&room, "munin_topip", "-V", &[]);
    assert_eq!(version.stdout, concat!("munin_topip ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// By `munin-run --pidebug`, one sees how it was done.
#[test]
fn debugging_tells_how_it_was_done() {
    let room = Room::new();
    room.write("listing", crowd(3, &[]));
    let ran = ask(&room, "topip", "", &[INPUT, ("MUNIN_DEBUG", "1")]);
    assert!(ran.stderr.starts_with("# Looked at: listing, read as netstat\n# State file: "));
    assert!(ran.stderr.lines().all(|line| line.starts_with("# ")), "{}", ran.stderr);
}

/// On every listing that there is, the values are those of the check.
#[test]
fn the_values_are_those_of_the_check() {
    for path in listings() {
        let room = Room::new();
        let path = path.to_str().unwrap();
        let check = room.check(&["--input", path, "--no-default-excludes"]);
        let settings = [("input", path), ("no_default_excludes", "yes"), BOTH[0]];
        let munin = ask(&room, "topip", "", &settings);
        let Some((_, perfdata)) = check.stdout.lines().next().unwrap().split_once(" | ") else {
            assert_eq!(munin.code, Some(1), "{path}");
            continue;
        };
        let figure = |label: &str| {
            let start = format!("{label}=");
            let figure = perfdata.split(' ').find_map(|it| it.strip_prefix(start.as_str()));
            figure.unwrap().split(';').map(str::to_owned).collect::<Vec<_>>()
        };
        let max = figure("max");
        // Of part of a listing there is a verdict, and no value.
        let is_whole = check.code != Some(3) && !check.stdout.contains("cut off");
        assert_eq!(munin.code, Some(if is_whole { 0 } else { 1 }), "{path}: {}", munin.stderr);
        for (field, expected) in [
            ("connections_max", &max[0]),
            ("connections_limit", &max[1]),
            ("connections_avg", &figure("avg")[0]),
            ("connections_stddev", &figure("stddev")[0]),
            ("connections", &figure("connections")[0]),
            ("addresses", &figure("addresses")[0]),
        ] {
            let expected = if is_whole { expected } else { "U" };
            assert_eq!(value(&munin.stdout, field), expected, "{path}: {field}");
        }
    }
}

/// A file that cannot be kept is no reason to draw nothing.
#[test]
fn without_a_state_file_there_are_values() {
    let room = Room::new();
    room.write("listing", crowd(3, &[]));
    room.write("state", "a file where the folder is to be");
    let ran = ask(&room, "topip", "", &[INPUT]);
    assert_eq!(value(&ran.stdout, "connections_max"), "1");
    assert!(ran.stderr.starts_with("cannot make the folder "), "{}", ran.stderr);
    assert_eq!(ran.code, Some(0));
    assert!(fs::read(room.path("state")).is_ok());
}
