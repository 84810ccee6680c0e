//! `munin_topip` on recorded input: golden outputs, and values that match the check.
use std::{fs, os::unix::process::CommandExt, process::Command};

use snapbox::{Assert, Data};

use crate::support::{CommandResult, MUNIN, TestDir, crowd, listing, munin::value, run, test_file};

use super::fixtures::listings;

/// Runs the plugin under the name of a link, as munin-node does.
fn run_plugin(dir: &TestDir, link: &str, verb: &str, env: &[(&str, &str)]) -> CommandResult {
    let mut command = Command::new(MUNIN);
    command
        .arg0(dir.path(link))
        .args(verb.split_whitespace())
        .env_clear()
        .env("MUNIN_PLUGSTATE", dir.path("state"))
        .env("MUNIN_STATEFILE", dir.path(&format!("state/{link}-127.0.0.1")))
        .envs(env.iter().copied())
        .current_dir(dir.path("."));
    run(&mut command)
}

const CAPABILITIES: [(&str, &str); 2] =
    [("MUNIN_CAP_MULTIGRAPH", "1"), ("MUNIN_CAP_DIRTYCONFIG", "1")];
const INPUT: (&str, &str) = ("input", "listing");

/// Link name, argument and environment variables of one call.
type MuninCall<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Runs calls one after the other on the same listing, and compares the output with a
/// golden file.
#[track_caller]
fn assert_golden(name: &str, listing: &str, runs: &[MuninCall]) {
    let dir = TestDir::new();
    dir.write("listing", listing);
    let mut output = String::new();
    for (link, verb, env) in runs {
        let result = run_plugin(&dir, link, verb, env);
        let variables: String =
            env.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        output +=
            &format!("{}\n{}", format!("$ {variables}{link} {verb}").trim_end(), result.stdout);
        output += &result.stderr.lines().map(|line| format!("! {line}\n")).collect::<String>();
        output += &format!("[{}]\n", result.code.unwrap());
    }
    let golden = test_file("golden").join(format!("{name}.txt"));
    Assert::new().action_env("SNAPSHOTS").eq(output, Data::read_from(&golden, None));
}

#[test]
fn config_output_is_golden() {
    let multigraph = &CAPABILITIES[..1];
    assert_golden(
        "munin-config",
        "",
        &[
            ("topip", "config", &[]),
            ("topip", "config", &[("source", "conntrack"), ("protocol", "udp")]),
            (
                "topip",
                "config multigraph",
                &[("source", "conntrack"), ("protocol", "all"), ("MUNIN_CAP_MULTIGRAPH", "1")],
            ),
            ("ssh_www.example.com_topip", "config multigraph", multigraph),
            ("topip_web1", "config", &[("warning", "100"), ("connections_max_critical", "10:500")]),
        ],
    );
}

#[test]
fn values_output_is_golden() {
    let flood = crowd(30, &[("203.0.113.7", 152)]);
    let limit = [("warning", "limit"), ("critical", "limit")];
    assert_golden(
        "munin-values",
        &flood,
        &[
            ("topip", "", &[INPUT]),
            ("topip", "fetch", &[INPUT, CAPABILITIES[0]]),
            (
                "topip_web1",
                "config",
                &[INPUT, CAPABILITIES[0], CAPABILITIES[1], limit[0], limit[1]],
            ),
            (
                "topip_web1",
                "config",
                &[INPUT, CAPABILITIES[0], CAPABILITIES[1], limit[0], limit[1]],
            ),
            ("topip", "", &[INPUT, ("exclude", "203.0.113.0/24,198.51.100.0/24")]),
            ("topip", "", &[INPUT, ("prefix4", "24"), ("label", "198.51.100.0/24=the crowd")]),
        ],
    );
}

#[test]
fn unknown_values_output_is_golden() {
    let cut = crowd(3, &[]) + "tcp 0 0 192.0.2.10:443 203.0.113.300:1 ESTABLISHED\n";
    let missing = ("input", "missing");
    assert_golden(
        "munin-unknown",
        &cut,
        &[
            ("topip", "", &[INPUT]),
            ("topip", "config", &[INPUT, CAPABILITIES[0], CAPABILITIES[1], ("warning", "limit")]),
            ("topip", "", &[missing, CAPABILITIES[0]]),
            ("topip", "config", &[missing, CAPABILITIES[1]]),
        ],
    );
}

#[test]
fn malformed_variables_output_is_golden() {
    assert_golden(
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
fn boolean_variables_accept_yes_and_no() {
    let dir = TestDir::new();
    dir.write("listing", listing(&[("192.168.0.7", 3), ("203.0.113.7", 1)]));
    for (value, max) in [("yes", "3"), ("1", "3"), ("True", "3"), ("no", "1"), ("0", "1")] {
        let result = run_plugin(&dir, "topip", "", &[INPUT, ("no_default_excludes", value)]);
        assert_eq!(self::value(&result.stdout, "connections_max"), max, "{value}");
    }
}

/// Environment variables of other plugins and daemons are ignored.
#[test]
fn unrelated_variables_are_ignored() {
    let dir = TestDir::new();
    dir.write("listing", crowd(3, &[]));
    let others = [("TOP", "x"), ("PORT", "x"), ("excludes", "x"), ("http_proxy", "x"), ("_", "x")];
    let result = run_plugin(&dir, "topip", "", &[&[INPUT][..], &others].concat());
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""));
}

#[test]
fn help_and_version_exit_with_0() {
    let dir = TestDir::new();
    let help = run_plugin(&dir, "munin_topip", "--help", &[]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("plugin-conf.d"), "{}", help.stdout);
    let version = run_plugin(&dir, "munin_topip", "-V", &[]);
    assert_eq!(version.stdout, concat!("munin_topip ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// With `munin-run --pidebug`, the plugin prints its source and state file.
#[test]
fn debug_mode_prints_source_and_state_file() {
    let dir = TestDir::new();
    dir.write("listing", crowd(3, &[]));
    let result = run_plugin(&dir, "topip", "", &[INPUT, ("MUNIN_DEBUG", "1")]);
    assert!(result.stderr.starts_with("# Source: listing, read as netstat\n# State file: "));
    assert!(result.stderr.lines().all(|line| line.starts_with("# ")), "{}", result.stderr);
}

/// On every fixture, the values match those of the check.
#[test]
fn munin_values_match_check() {
    for path in listings() {
        let dir = TestDir::new();
        let path = path.to_str().unwrap();
        let check = dir.check(&["--input", path, "--no-default-excludes"]);
        let settings = [("input", path), ("no_default_excludes", "yes"), CAPABILITIES[0]];
        let munin = run_plugin(&dir, "topip", "", &settings);
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
        // A partly read listing has a verdict, but no values.
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

/// An unwritable state file does not prevent values.
#[test]
fn unwritable_state_file_still_gives_values() {
    let dir = TestDir::new();
    dir.write("listing", crowd(3, &[]));
    dir.write("state", "a file where the directory is to be");
    let result = run_plugin(&dir, "topip", "", &[INPUT]);
    assert_eq!(value(&result.stdout, "connections_max"), "1");
    assert!(result.stderr.starts_with("cannot create the directory "), "{}", result.stderr);
    assert_eq!(result.code, Some(0));
    assert!(fs::read(dir.path("state")).is_ok());
}
