//! Settings files of `--extra-opts`.
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use snapbox::{Assert, Data};

use crate::support::{CHECK, CommandResult, TestDir, crowd, listing, run, skip, test_file};

/// Settings that the runs of a golden file share.
const SETTINGS: &str = "\
# Settings of a site.
; Another comment.
[site]
exclude = 198.51.100.0/28
label = 203.0.113.0/24=office # not a comment
inbound = no
verbose = 1

[check_topip]
limit = 20
warning = 100
critical = connections=5000
smtp = smtp://mail.example.com
log-format = json

[json]
output = json

[other plugin]
anything
";

/// Returns a test directory with a listing and a settings file.
fn test_dir(settings: impl AsRef<[u8]>) -> TestDir {
    let dir = TestDir::new();
    dir.write("listing", crowd(30, &[("203.0.113.7", 15)]));
    dir.write("topip.ini", settings);
    dir
}

fn check(dir: &TestDir, args: &str) -> CommandResult {
    let args: Vec<_> = args.split_whitespace().collect();
    dir.check(&[&["--input", "listing", "--state-file", "state"][..], &args].concat())
}

#[track_caller]
fn assert_status(settings: &str, args: &str, expected: &str) {
    let result = check(&test_dir(settings), args);
    assert_eq!(result.code_and_status(), expected, "{settings}");
    assert_eq!(result.stderr, "");
}

/// Asserts the message for a section [check_topip] with these lines, which begin in line 2.
#[track_caller]
fn assert_rejected(lines: &str, message: &str) {
    let settings = format!("[check_topip]\n{lines}\n");
    assert_status(&settings, "--extra-opts=@topip.ini", &format!("3 TOPIP UNKNOWN - {message}"));
}

#[test]
fn output_with_settings_is_golden() {
    let dir = test_dir(SETTINGS);
    dir.write("bad.ini", "[check_topip]\nfloor = x\n[site]\nfloor = 5\nexcludes = 192.0.2.7\n");
    let mut output = format!("$ cat topip.ini\n{SETTINGS}");
    for args in [
        "--extra-opts=@topip.ini",
        "--extra-opts=site@topip.ini",
        "--extra-opts=site@topip.ini --extra-opts=@topip.ini",
        "--extra-opts=@topip.ini --rule stddev -w 10",
        "--extra-opts=@bad.ini",
        "--extra-opts=site@bad.ini --output json",
        "--extra-opts=web@topip.ini",
        "--extra-opts=@none.ini",
    ] {
        let result = check(&dir, args);
        assert_eq!(result.stderr, "");
        output += &format!("$ check_topip --input listing --state-file state {args}\n");
        output += &format!("{}[{}]\n", result.stdout, result.code.unwrap());
        let _ = fs::remove_file(dir.path("state"));
    }
    let golden = test_file("golden/extra-opts.txt");
    let assert = Assert::new().action_env("SNAPSHOTS");
    assert.eq(output, Data::read_from(&golden, None));
}

#[test]
fn command_line_replaces_settings() {
    let limit = "[check_topip]\nlimit = 20\n";
    for (args, expected) in [
        ("", "limit 20 (fixed)"),
        ("--limit 30", "limit 30 (fixed)"),
        ("--rule stddev --floor 17", "limit 17"),
    ] {
        let args = format!("{args} --extra-opts=@topip.ini");
        let expected = format!("0 TOPIP OK - 203.0.113.7 has 15 connections, {expected}");
        assert_status(limit, &args, &expected);
    }
    // A range is replaced by one for the same metric only.
    let ranges = "[check_topip]\nlimit = 50\nwarning = 5\nwarning = addresses=7\n";
    for (args, expected) in [
        ("", ["max=15;5;;0", "addresses=31;7;;0"]),
        ("-w 14", ["max=15;14;;0", "addresses=31;7;;0"]),
        ("-w addresses=8 -c 90", ["max=15;5;90;0", "addresses=31;8;;0"]),
    ] {
        let result = check(&test_dir(ranges), &format!("--extra-opts=@topip.ini {args}"));
        for metric in expected {
            assert!(result.stdout.contains(&format!(" {metric} ")), "{}", result.stdout);
        }
    }
}

#[test]
fn lists_of_exceptions_add_up_and_others_are_replaced() {
    let settings = "[check_topip]\nexclude = 203.0.113.7\nport = 80\nprefix4 = 24\n";
    let result = check(
        &test_dir(settings),
        "-x 198.51.100.7 --port 443 --prefix4 32 -vv --extra-opts @topip.ini",
    );
    for expected in ["Excluded 203.0.113.7: 15\n", "Excluded 198.51.100.7: 1\n"] {
        assert!(result.stdout.contains(expected), "{}", result.stdout);
    }
    assert!(!result.stdout.contains("/24"), "{}", result.stdout);
    assert!(result.stdout.contains("\n29 connections from 29 addresses"), "{}", result.stdout);
}

#[test]
fn later_section_replaces_earlier_one() {
    let settings = "[a]\nlimit = 20\n[b]\nfloor = 40\n";
    assert_status(
        settings,
        "--extra-opts=a@topip.ini --extra-opts=b@topip.ini",
        "0 TOPIP OK - 203.0.113.7 has 15 connections, limit 40",
    );
    assert_status(
        settings,
        "--extra-opts=b@topip.ini --extra-opts=a@topip.ini",
        "0 TOPIP OK - 203.0.113.7 has 15 connections, limit 20 (fixed)",
    );
}

#[test]
fn setting_without_effect_is_accepted() {
    let settings = "[check_topip]\nlimit = 20\nidentity = key\nnever-log = 192.0.2.7\n\
                    recovery = yes\nremind = 2h\nprefix-members = 3\nhost-key = accept-new\n";
    let ok = "0 TOPIP OK - 203.0.113.7 has 15 connections, limit 20 (fixed)";
    assert_status(settings, "--extra-opts=@topip.ini", ok);
    // On the command line, an option without effect is an error.
    assert_status(
        settings,
        "--extra-opts=@topip.ini --identity key",
        "3 TOPIP UNKNOWN - --identity has no effect because no server is checked over SSH; \
         see --hostname",
    );
    // A setting can give effect to an option of the command line, and vice versa.
    assert_status(
        "[check_topip]\nlog = log\nlimit = 20",
        "--never-log 192.0.2.7 --extra-opts=@topip.ini",
        ok,
    );
    let alert = "[check_topip]\nalert = a@example.com,b@example.com\nlimit = 20";
    assert_status(alert, "--recovery --extra-opts=@topip.ini", ok);
    assert_status(settings, "--alert a@example.com,b@example.com --extra-opts=@topip.ini", ok);
}

#[test]
fn wrong_settings_are_rejected_with_their_line() {
    assert_rejected("\n# x\nfoo = 1", "topip.ini line 4: unknown key foo");
    for key in ["--floor", "help", "version", "extra-opts", "Floor", "interval", "since", "ww"] {
        assert_rejected(&format!("{key} = 1"), &format!("topip.ini line 2: unknown key {key}"));
    }
    for (line, problem) in [
        ("floor = x", "cannot read --floor x: not a number of connections, 0 or more"),
        ("floor =", "cannot read --floor (empty): not a number of connections, 0 or more"),
        ("rule = best", "cannot read --rule best: not one of auto, stddev, lognormal"),
        ("inbound = maybe", "cannot read --inbound maybe: neither yes nor no"),
        ("verbose = 4", "cannot read --verbose 4: not a number from 0 to 3"),
        ("stdev = x", "cannot read --stddev x: not a number above 0, such as 5 or 2.5"),
        (
            "hostname = root:secret@",
            "cannot read --hostname ...@: not a server; write [USER@]HOST[:PORT], with IPv6 in brackets",
        ),
        (
            "smtp = smtp://me:secret@mail",
            "cannot read --smtp smtp://...@mail: not a server: it must not contain a password",
        ),
        ("password = secret", "other users can read this password"),
        ("floor", "not KEY = VALUE"),
        ("label = \x1b[31m", "it has a control character, or is not UTF-8"),
        ("4 =\n6 = yes", "-6 cannot be used with -4 in line 2"),
        ("rule = auto\nw = 5\nlimit = 5", "--limit cannot be used with --rule in line 2"),
        ("w = 5\nc = 6\nwarning = max=7", "--warning already has a range for max in line 2"),
    ] {
        let number = line.lines().count() + 1;
        assert_rejected(line, &format!("topip.ini line {number}: {problem}"));
    }
}

#[test]
fn every_flag_and_letter_is_a_key() {
    let settings = "[check_topip]\nn = 5\nx = 203.0.113.7\n4 = on\nno-default-excludes =\n\
                    inbound = off\nv = 0\nfloor = 17\n";
    let expected = "0 TOPIP OK - 198.51.100.1 has 1 connection, limit 28.28";
    assert_status(settings, "--extra-opts=@topip.ini", expected);
}

#[test]
fn usage_error_has_the_output_format_of_the_settings() {
    for (args, message) in [
        ("--extra-opts=json@topip.ini --floor x", "cannot read --floor x: "),
        ("--extra-opts=json@topip.ini --typo", "unknown option --typo"),
        ("--extra-opts=bad@topip.ini", "topip.ini line 5: unknown key foo"),
        ("--output json --extra-opts=none@topip.ini", "topip.ini has no section [none]"),
    ] {
        let result =
            check(&test_dir("[json]\noutput = json\n[bad]\noutput = json\nfoo = 1\n"), args);
        assert_eq!(result.code, Some(3), "{args}");
        let json: serde_json::Value = serde_json::from_str(&result.stdout).expect(args);
        assert!(json["message"].as_str().unwrap().starts_with(message), "{json}");
    }
}

#[test]
fn state_file_is_that_of_the_same_options() {
    let dir = test_dir("[check_topip]\nfloor = 20\nexclude = 192.0.2.7\n");
    let mut lines = Vec::new();
    for args in [
        "--floor 20 -x 192.0.2.7",
        "--extra-opts=@topip.ini",
        "--extra-opts=@topip.ini --floor 20",
        "--extra-opts=@topip.ini --floor 21",
    ] {
        let args = ["--input", "listing", "-vv"].into_iter().chain(args.split(' '));
        let output = dir.check(&args.collect::<Vec<_>>()).stdout;
        let line = output.lines().find(|line| line.starts_with("State file: "));
        lines.push(line.expect(&output).to_owned());
    }
    assert_eq!((&lines[1], &lines[2]), (&lines[0], &lines[0]));
    assert_ne!(lines[3], lines[0]);
}

#[test]
fn default_file_is_searched() {
    let dir = test_dir("");
    let settings = |limit: u32| format!("[check_topip]\nlimit = {limit}\n");
    for (name, limit) in
        [("b/plugins.ini", 21), ("c/topip.ini", 22), ("c/plugins.ini", 23), ("d.ini", 24)]
    {
        let _ = fs::create_dir(dir.path(name).parent().unwrap());
        dir.write(name, settings(limit));
    }
    let check = |variables: &[(&str, &str)], args: &[&str]| {
        let args = [&["--input", "listing", "--extra-opts"], args].concat();
        run(dir.command(&args).envs(variables.iter().copied())).code_and_status()
    };
    let ok =
        |limit: u32| format!("0 TOPIP OK - 203.0.113.7 has 15 connections, limit {limit} (fixed)");
    assert_eq!(check(&[("NAGIOS_CONFIG_PATH", ":a:b:c")], &[]), ok(21));
    assert_eq!(check(&[("NAGIOS_CONFIG_PATH", "c:b")], &["-4"]), ok(22));
    assert_eq!(check(&[("NAGIOS_CONFIG_PATH", "c"), ("MP_CONFIG_FILE", "d.ini")], &[]), ok(24));
    if !Path::new("/etc/topip/topip.ini").exists() {
        let missing = "3 TOPIP UNKNOWN - cannot find a settings file at ";
        assert_eq!(check(&[], &[]), format!("{missing}/etc/topip/topip.ini"));
        assert_eq!(
            check(&[("NAGIOS_CONFIG_PATH", "/a")], &[]),
            format!(
                "{missing}/a/topip.ini or /a/plugins.ini or /a/nagios-plugins.ini or /etc/topip/topip.ini"
            )
        );
    }
}

#[test]
fn topip_log_reads_its_own_section() {
    let dir = test_dir("[topip_log]\nlog = own.log\nlimit = 7\nconsecutive = 1\noutput = json\n");
    let args = |command: &[&str], section: &str| {
        let args = [command, &["--input", "listing", section]].concat();
        dir.run_log(&args)
    };
    for command in [&[][..], &["record"]] {
        let result = args(command, "--extra-opts=@topip.ini");
        assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{}", result.stdout);
        assert!(
            result.stdout.ends_with(" - 15 connections from 203.0.113.7 on input\n"),
            "{}",
            result.stdout
        );
    }
    let log = fs::read_to_string(dir.path("own.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
    for (command, section, expected) in [
        ("record", "--extra-opts=x@topip.ini", "topip.ini has no section [x]"),
        ("watch", "--extra-opts=x@topip.ini", "topip.ini has no section [x]"),
        ("report", "--extra-opts=@topip.ini", "unknown option --input"),
    ] {
        let result = args(&[command], section);
        assert_eq!(result.code, Some(2));
        assert!(
            result.stderr.starts_with(&format!("topip_log: {expected}\n")),
            "{}",
            result.stderr
        );
    }
    let result = dir.run_log(&["--extra-opts", "watch"]);
    assert!(
        result.stderr.contains("cannot read --extra-opts watch: a command comes before"),
        "{}",
        result.stderr
    );
}

#[test]
fn settings_that_others_may_write_are_rejected() {
    let dir = test_dir("[check_topip]\n");
    for mode in [0o664, 0o646, 0o622] {
        fs::set_permissions(dir.path("topip.ini"), fs::Permissions::from_mode(mode)).unwrap();
        let result = check(&dir, "--extra-opts=@topip.ini");
        let expected =
            "3 TOPIP UNKNOWN - cannot trust the settings in topip.ini: others may write to it";
        assert_eq!(result.code_and_status(), expected);
    }
    assert!(Command::new("mkfifo").arg(dir.path("pipe")).status().unwrap().success());
    for name in ["pipe", ".", "/dev/zero"] {
        let result = check(&dir, &format!("--extra-opts=@{name}"));
        let expected = format!(
            "3 TOPIP UNKNOWN - cannot trust the settings in {name}: it is not a regular file"
        );
        assert_eq!(result.code_and_status(), expected);
        assert!(result.elapsed < Duration::from_secs(5));
    }
}

#[test]
fn hostile_content_is_bounded() {
    let too_long = "cannot read the settings in topip.ini: it is longer than 1 MiB";
    assert_rejected(&"x".repeat(10 << 20), too_long);
    assert_rejected(
        &"x=1\n".repeat(1001),
        "topip.ini line 1002: more than 1000 settings in a section",
    );
    assert_rejected("floor = 1\0", "topip.ini line 2: it has a control character, or is not UTF-8");
    assert_rejected("a|b$(x)\u{202e} = 1", "topip.ini line 2: unknown key a?b?(x)?");
    let long = "x".repeat(900_000);
    for lines in [format!("{long} = 1"), format!("floor = {long}"), format!("label = {long}")] {
        let dir = test_dir(format!("[check_topip]\n{lines}\n[topip_log]\n{lines}\n"));
        let result = check(&dir, "--extra-opts=@topip.ini");
        assert_eq!(result.code, Some(3));
        assert!(result.stdout.len() < 1000, "{}", result.stdout);
        let result = dir.run_log(&["--extra-opts=@topip.ini"]);
        assert!(result.code == Some(2) && result.stderr.len() < 1000, "{}", result.stderr);
    }
    // Windows writes a byte order mark and CR LF.
    let windows = "\u{feff}[check_topip]\r\nlimit = 20\r\n";
    let ok = "0 TOPIP OK - 203.0.113.7 has 15 connections, limit 20 (fixed)";
    assert_status(windows, "--extra-opts=@topip.ini", ok);
    let dir = test_dir(b"[check_topip]\nlimit = 20\nlabel = 192.0.2.7=B\xfcro\n");
    let result = check(&dir, "--extra-opts=@topip.ini");
    assert_eq!(
        result.code_and_status(),
        "3 TOPIP UNKNOWN - topip.ini line 3: it has a control character, or is not UTF-8"
    );
}

/// A thousand settings take less than a second.
#[test]
fn full_section_is_read_in_time() {
    let lines: String = (0..1000).map(|n| format!("x = 10.0.{}.{}\n", n / 256, n % 256)).collect();
    let dir = test_dir(format!("[check_topip]\n{lines}"));
    dir.write("listing", listing(&[("10.0.3.7", 5)]));
    let result = check(&dir, "--extra-opts=@topip.ini -t 5");
    assert_eq!(result.code_and_status(), "0 TOPIP OK - no connections counted (5 excluded)");
}

/// A file system that does not answer: strace delays the call that opens the file.
#[test]
fn settings_are_read_within_the_time_limit() {
    let dir = test_dir("[check_topip]\n");
    let inject = "inject=openat:delay_enter=3000000";
    let strace = ["-f", "-qq", "-o", "/dev/null", "-P", "topip.ini", "-e", inject];
    let check = [CHECK, "--input", "listing", "--extra-opts=@topip.ini", "-t"];
    let run = |command: &[&str]| {
        let mut strace = dir.program("strace", &[&strace, command].concat());
        run(strace.env("PATH", "/usr/bin:/bin")).code_and_status()
    };
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace");
    }
    assert_eq!(
        run(&[&check[..], &["1:critical"]].concat()),
        "2 TOPIP CRITICAL - no answer within 1 s, while reading the settings in topip.ini"
    );
    // timeout(1) reports its own exit code.
    assert_eq!(
        run(&[&["timeout", "-s", "TERM", "1"][..], &check, &["9"]].concat()),
        "124 TOPIP UNKNOWN - ended by SIGTERM while reading the settings in topip.ini"
    );
}
