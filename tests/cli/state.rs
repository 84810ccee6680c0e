//! State that is kept between runs, and errors of the state file.
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::support::{CHECK, CommandResult, TestDir, crowd, listing, run, skip};

const WARNING: &str = "1 TOPIP WARNING - 203.0.113.7 has 152 connections, over 28.7 (lognormal)";
const CRITICAL: &str =
    "2 TOPIP CRITICAL - 203.0.113.7 has 152 connections, over 28.7 (lognormal) in 2 samples";

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152)])
}

fn check(dir: &TestDir, args: &[&str]) -> CommandResult {
    dir.check_listing(flood(), &[&["--state-file", "state"], args].concat())
}

/// Returns a state file that is `age` seconds old.
fn state_text(age: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let when = now.checked_add_signed(-age).unwrap();
    format!(
        "(version: 1, program: \"topip\", timestamp: {when}, servers: [\"input\"], views: [\
         (top_address: Some(\"203.0.113.7\"), connections: 17, over: [\
         (ip: \"203.0.113.7\", connections: 17, consecutive: 1, since: {when})])])\n"
    )
}

fn directory_entries(dir: &TestDir) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "listing")
        .collect();
    names.sort();
    names
}

#[test]
fn same_address_twice_is_critical() {
    let dir = TestDir::new();
    assert_eq!(check(&dir, &[]).code_and_status(), WARNING);
    assert_eq!(check(&dir, &[]).code_and_status(), CRITICAL);
    assert_eq!(directory_entries(&dir), ["state", "state.lock"]);
}

#[test]
fn different_top_address_resets_consecutive() {
    let dir = TestDir::new();
    let other = crowd(31, &[("203.0.113.8", 152)]);
    for between in [other, listing(&[]), listing(&[("127.0.0.1", 300)])] {
        check(&dir, &[]);
        dir.check_listing(between, &["--state-file", "state"]);
        assert_eq!(check(&dir, &[]).code_and_status(), WARNING);
    }
}

/// The state file has the recent top addresses and the times since which they are on top.
#[test]
fn first_on_top_time_is_reported() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let dir = TestDir::new();
    // Files without recent_top, as an administrator may have edited them, and with it.
    for (tops, first_on_top) in [
        (String::new(), ""),
        (
            format!("recent_top: [(ip: \"203.0.113.7\", first: {0}, last: {0})]", now - 7260),
            "; first on top 2 h ago",
        ),
        (format!("recent_top: [(ip: \"203.0.113.7\", first: {0}, last: {0})]", now + 60), ""),
        ("recent_top: [(ip: \"203.0.113.7\")]".to_owned(), ""),
    ] {
        let text = state_text(7260).replace("over: [", &format!("{tops}, over: ["));
        dir.write("state", text.replace("17, ,", "17,"));
        let result = check(&dir, &["-v", "--max-age", "1d"]);
        let line = format!(
            "203.0.113.7 152 connections on port 443 (152); ESTABLISHED (152){first_on_top}; \
             over the limit in 2 samples, for 2 h; 83 % of all connections"
        );
        assert!(result.stdout.lines().any(|it| it == line), "{}", result.stdout);
        let kept = fs::read_to_string(dir.path("state")).unwrap();
        // Over the limit, and on top.
        assert_eq!(kept.matches("ip: \"203.0.113.7\"").count(), 2, "{kept}");
    }
    for host in 1..=40 {
        dir.check_listing(listing(&[(&format!("192.0.2.{host}"), 9)]), &["--state-file", "state"]);
    }
    let kept = fs::read_to_string(dir.path("state")).unwrap();
    assert_eq!(kept.matches("ip: \"").count(), 20, "{kept}");
    assert!(kept.contains("ip: \"192.0.2.40\"") && !kept.contains("203.0.113.7"), "{kept}");
}

/// Each prefix length has its own consecutive count.
#[test]
fn each_prefix_length_has_own_history() {
    let dir = TestDir::new();
    let fleet = |n: usize, port: usize| {
        let hosts: Vec<_> =
            (0..100).map(|host| format!("203.0.113.{}", (host + n) % 256)).collect();
        let more: Vec<_> = hosts.iter().map(|host| (host.as_str(), port)).collect();
        crowd(31, &more)
    };
    let args = ["--state-file", "state", "--prefix4", "32,24", "--stddev", "1"];
    let answers: Vec<_> = [(0, 2), (7, 2), (14, 2)]
        .map(|(n, port)| dir.check_listing(fleet(n, port), &args).code_and_status())
        .into_iter()
        .collect();
    // The top address differs each time; 203.0.113.0/24 stays.
    let network = "203.0.113.0/24 (100 addresses) has 200 connections, over";
    assert!(answers[0].starts_with(&format!("1 TOPIP WARNING - {network}")), "{answers:?}");
    assert!(answers[1].starts_with(&format!("2 TOPIP CRITICAL - {network}")), "{answers:?}");
    assert!(answers[2].ends_with(" in 3 samples"), "{answers:?}");
}

/// The file size limit (setrlimit(2), `RLIMIT_FSIZE`) does not kill the check.
#[test]
fn file_size_limit_on_state_file_is_reported() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let line = format!("ulimit -f 0; exec {CHECK} --input listing --state-file state");
    let mut command = Command::new("sh");
    let result = run(command.args(["-c", &line]).env_clear().current_dir(dir.path(".")));
    assert_eq!(result.code_and_status(), WARNING);
    assert!(
        result.stdout.contains("Cannot write the state file state: File too large"),
        "{result:?}"
    );
}

/// A previous sample with other prefix lengths is ignored.
#[test]
fn different_prefix_lengths_have_no_previous_sample() {
    let dir = TestDir::new();
    let flood = crowd(31, &[("203.0.113.7", 152)]);
    let answer = |prefixes: &str| {
        let args = ["--state-file", "state", "--stddev", "1", "--prefix4", prefixes];
        dir.check_listing(&flood, &args).code.unwrap()
    };
    let codes = ["32", "32", "32,24", "32,24", "24", "32", "32"].map(answer);
    // The record of addresses lasts until a run with only /24 replaces it.
    assert_eq!(codes, [1, 2, 2, 2, 2, 1, 2]);
}

/// Only samples with the address over the limit count, even if another address is on top.
#[test]
fn consecutive_counts_samples_over_the_limit() {
    let dir = TestDir::new();
    let quiet = listing(&[("203.0.113.7", 2), ("198.51.100.7", 1)]);
    assert_eq!(dir.check_listing(quiet, &["--state-file", "state"]).code, Some(0));
    assert_eq!(check(&dir, &[]).code_and_status(), WARNING);
    assert_eq!(check(&dir, &[]).code_and_status(), CRITICAL);
    let turns = |top, other| {
        let listing = crowd(60, &[("203.0.113.7", top), ("203.0.113.8", other)]);
        dir.check_listing(listing, &["--state-file", "turns", "--stddev", "4"]).code_and_status()
    };
    let samples = [turns(300, 310), turns(310, 300), turns(300, 310)];
    let expected = [
        "1 TOPIP WARNING - 203.0.113.8 has 310 connections, over 214.88 (4 x stddev 53.72); \
         1 more over",
        "2 TOPIP CRITICAL - 203.0.113.7 has 310 connections, over 214.88 (4 x stddev 53.72) \
         in 2 samples; 1 more over",
        "2 TOPIP CRITICAL - 203.0.113.8 has 310 connections, over 214.88 (4 x stddev 53.72) \
         in 3 samples; 1 more over",
    ];
    assert_eq!(samples, expected);
}

/// A file of an earlier format has no peers over the limit.
#[test]
fn state_file_without_peers_over_is_read() {
    let dir = TestDir::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    dir.write(
        "state",
        format!(
            "(version: 1, timestamp: {now}, servers: [\"input\"], views: [\
             (top_address: Some(\"203.0.113.7\"), connections: 152, consecutive: 7)])"
        ),
    );
    let result = check(&dir, &["-vv"]);
    assert_eq!(result.code_and_status(), WARNING);
    assert!(result.stdout.contains("203.0.113.7 on top with 152\n"), "{}", result.stdout);
    assert_eq!(check(&dir, &[]).code_and_status(), CRITICAL);
}

#[test]
fn old_or_future_sample_is_ignored() {
    let dir = TestDir::new();
    // In a slow run, an old sample is older, and a sample in the future is nearer.
    let too_old = Some((3700..3800, "old, over --max-age"));
    let in_future = Some((1..101, "in the future"));
    for (age, args, expected, explanation) in [
        (60, &["-v"][..], CRITICAL, None),
        (3500, &["-v"], CRITICAL, None),
        (3700, &["-v"], WARNING, too_old),
        (3700, &["--max-age", "2h", "-v"], CRITICAL, None),
        (1_000_000, &["--max-age", "0", "-v"], CRITICAL, None),
        (-100, &["-v"], WARNING, in_future.clone()),
        (-100, &["--max-age", "0", "-v"], WARNING, in_future),
    ] {
        dir.write("state", state_text(age));
        let result = check(&dir, args);
        assert_eq!(result.code_and_status(), expected, "{age}");
        let found = result.stdout.lines().find(|line| line.ends_with(", and was ignored."));
        assert_eq!(found.is_some(), explanation.is_some(), "{age}: {}", result.stdout);
        if let (Some(line), Some((seconds, reason))) = (found, explanation) {
            let found = line.split(' ').find_map(|word| word.parse::<u32>().ok()).unwrap();
            let expected = format!("The previous sample is {found} s {reason}, and was ignored.");
            assert_eq!(line, expected);
            assert!(seconds.contains(&found), "{age}: {line}");
        }
    }
}

#[test]
fn damaged_state_file_is_quarantined() {
    let whole = state_text(60);
    for (damaged, problem) in [
        ("", "it is empty"),
        (&whole[..whole.len() / 2], "1:"),
        ("\0\0\0\0", "1:1"),
        ("(version: 1, timestamp: -5)", "1:"),
        ("(version: 1, views: [(top_address: Some(\"web1|x\"))])", "1:"),
        ("(version: 1, views: (top_address: None))", "1:"),
        ("hello", "1:1"),
        ("()", "1:2"),
        ("(timestamp: 5, servers: [\"local\"])", "1:"),
        (&whole.replace("version: 1, ", ""), "1:"),
    ] {
        let dir = TestDir::new();
        dir.write("state", damaged);
        let result = check(&dir, &[]);
        assert_eq!(result.code_and_status(), WARNING);
        let note = result.stdout.lines().nth(1).unwrap();
        assert!(note.starts_with(&format!("The state file was damaged ({problem}")), "{note}");
        assert!(note.ends_with("and renamed to state.bad; this is a first sample."), "{note}");
        assert_eq!(fs::read_to_string(dir.path("state.bad")).unwrap(), damaged);
        assert_eq!(check(&dir, &[]).code_and_status(), CRITICAL);
    }
}

/// The layout of topip-state(5), one record per view.
#[test]
fn state_file_lists_views() {
    let dir = TestDir::new();
    let args = ["--state-file", "state", "--prefix4", "32,24", "--prefix6", "64"];
    let args = [&args[..], &["--stddev", "1", "--floor", "1"]].concat();
    dir.check_listing(listing(&[("203.0.113.7", 9), ("2001:db8::7", 2)]), &args);
    let written = fs::read_to_string(dir.path("state")).unwrap();
    let timestamp = written.lines().find_map(|line| line.strip_prefix("    timestamp: ")).unwrap();
    let expected = r#"(
    version: 1,
    program: "topip VERSION",
    timestamp: NOW,
    servers: [
        "input",
    ],
    views: [
        (
            prefix4: 32,
            prefix6: 64,
            top_address: Some("203.0.113.7"),
            connections: 9,
            over: [
                (ip: "203.0.113.7", connections: 9, consecutive: 1, since: NOW),
            ],
            recent_top: [
                (ip: "203.0.113.7", first: NOW, last: NOW),
            ],
        ),
        (
            prefix4: 24,
            prefix6: 64,
            top_address: Some("203.0.113.0/24"),
            connections: 9,
            over: [
                (ip: "203.0.113.0/24", connections: 9, consecutive: 1, since: NOW),
            ],
            recent_top: [
                (ip: "203.0.113.0/24", first: NOW, last: NOW),
            ],
        ),
    ],
    sent_mails: [],
    kernel_counters: [],
)
"#;
    let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(written, expected.replace("NOW", timestamp.trim_end_matches(',')));
}

/// A file without views, such as one with a layout from before the first release, is treated
/// neither as a previous sample nor as damaged.
#[test]
fn state_file_without_views_is_first_sample() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for fields in [
        "",
        ", views: []",
        ", prefix4: 32, prefix6: 128, top_address: Some(\"203.0.113.7\"), connections: 152, \
         consecutive: 5, recent_top: [(ip: \"203.0.113.7\", first: 1, last: 1)], \
         other_prefixes: [(prefix4: 24)], sent_mails: []",
    ] {
        let dir = TestDir::new();
        let text = format!("(version: 1, timestamp: {now}, servers: [\"input\"]{fields})");
        dir.write("state", text);
        let result = check(&dir, &["-v"]);
        assert_eq!(result.code_and_status(), WARNING, "{fields}");
        assert!(!result.stdout.contains("tate file"), "{}", result.stdout);
        assert!(!result.stdout.contains("first on top"), "{}", result.stdout);
        assert_eq!(check(&dir, &[]).code_and_status(), CRITICAL, "{fields}");
        assert_eq!(directory_entries(&dir), ["state", "state.lock"]);
    }
}

#[test]
fn unusable_state_file_is_unknown() {
    #[track_caller]
    fn assert_unknown(dir: &TestDir, problem: &str) {
        // The verdict stays: a state file error does not hide it.
        let result = check(dir, &[]);
        assert_eq!(result.code_and_status(), WARNING);
        let line = result.stdout.lines().nth(1).unwrap();
        assert_eq!(line, problem);
        let quiet = dir.check_listing(listing(&[("203.0.113.7", 2)]), &["--state-file", "state"]);
        let problem = problem[..1].to_lowercase() + problem[1..].trim_end_matches('.');
        assert_eq!(
            quiet.code_and_status(),
            format!("3 TOPIP UNKNOWN - {problem}; 203.0.113.7 has 2 connections, limit 43.8")
        );
    }

    let dir = TestDir::new();
    let newer = dir.write("state", "(version: 2, samples: {\"192.0.2.1\": [1]})");
    assert_unknown(&dir, "The state file state has version 2, and this topip supports 1.");
    assert!(fs::read_to_string(newer).unwrap().contains("version: 2"), "it was overwritten");

    let dir = TestDir::new();
    dir.write("state", state_text(60).replace("input", "web1"));
    assert_unknown(&dir, "The state file state belongs to a check of web1.");

    let dir = TestDir::new();
    fs::create_dir(dir.path("state")).unwrap();
    assert_unknown(&dir, "Cannot trust state: it is not a regular file.");

    let dir = TestDir::new();
    let text = state_text(60);
    dir.write("elsewhere", &text);
    symlink("elsewhere", dir.path("state")).unwrap();
    assert_unknown(&dir, "Cannot read the state file state: it is a symbolic link.");
    assert_eq!(fs::read_to_string(dir.path("elsewhere")).unwrap(), text);

    let dir = TestDir::new();
    symlink("elsewhere", dir.path("state.lock")).unwrap();
    assert_unknown(&dir, "Cannot lock the state file state: it is a symbolic link.");
    assert!(!dir.path("elsewhere").exists());

    let dir = TestDir::new();
    let state_text = dir.write("state", state_text(60));
    fs::set_permissions(&state_text, fs::Permissions::from_mode(0o666)).unwrap();
    assert_unknown(&dir, "Cannot trust state: others may write to it.");
}

#[test]
fn damaged_state_file_that_cannot_be_renamed_is_unknown() {
    let dir = TestDir::new();
    dir.write("state", "hello");
    fs::create_dir(dir.path("state.bad")).unwrap();
    let result = dir.check_listing(listing(&[("203.0.113.7", 2)]), &["--state-file", "state"]);
    assert_eq!(
        result.code_and_status(),
        "3 TOPIP UNKNOWN - cannot rename the damaged state file state (1:1-1:6: Expected struct State but found hello): \
         Is a directory (os error 21); 203.0.113.7 has 2 connections, limit 43.8"
    );
}

/// A sample without a readable row is not an empty sample.
#[test]
fn unreadable_sample_is_not_saved() {
    let dir = TestDir::new();
    assert_eq!(check(&dir, &[]).code_and_status(), WARNING);
    let blind = flood().replace("192.0.2.10:443", "web1:https");
    let result = dir.check_listing(blind, &["--state-file", "state"]);
    assert!(
        result.status_line().starts_with("TOPIP UNKNOWN - cannot read 183 rows"),
        "{}",
        result.stdout
    );
    assert_eq!(check(&dir, &[]).code_and_status(), CRITICAL);
}

#[test]
fn state_directory_may_be_a_symlink() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("directory")).unwrap();
    symlink("directory", dir.path("link")).unwrap();
    let result = dir.check_listing(flood(), &["--state-file", "link/state"]);
    assert_eq!(result.code_and_status(), WARNING);
    assert!(!result.stdout.contains("annot"), "{}", result.stdout);
}

#[test]
fn state_file_mode_ignores_umask() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let mut command = std::process::Command::new("sh");
    let script = "umask 777; exec \"$0\" --input listing --state-file state";
    run(command.args(["-c", script, crate::support::CHECK]).current_dir(dir.path(".")));
    for (name, mode) in [("state", 0o640), ("state.lock", 0o600)] {
        assert_eq!(fs::metadata(dir.path(name)).unwrap().mode() & 0o777, mode, "{name}");
    }
}

#[test]
fn missing_state_directory_is_reported() {
    let dir = TestDir::new();
    let result = dir.check_listing(flood(), &["--state-file", "missing/state"]);
    assert_eq!(result.code_and_status(), WARNING);
    assert_eq!(
        result.stdout.lines().nth(1).unwrap(),
        "Cannot lock the state file missing/state: No such file or directory (os error 2)."
    );
}

#[test]
fn full_disk_keeps_previous_state() {
    let dir = TestDir::new();
    let disk = dir.path("disk");
    fs::create_dir(&disk).unwrap();
    let disk = disk.to_str().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8k,mode=700", "topip-test", disk])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("permission to mount a small disk");
    }
    check_with_disk_state(&dir, WARNING);
    let before = fs::read_to_string(dir.path("disk/state")).unwrap();
    // Fill the rest of the disk.
    let _ = fs::write(dir.path("disk/filler"), vec![0; 8192]);
    let result = dir.check_listing(flood(), &["--state-file", "disk/state"]);
    let after = fs::read_to_string(dir.path("disk/state")).unwrap();
    let files = fs::read_dir(dir.path("disk")).unwrap().count();
    let unmounted = std::process::Command::new("umount").arg(disk).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(result.code_and_status(), CRITICAL);
    assert!(
        result.stdout.contains(
            "\nCannot write the state file disk/state: No space left on device (os error 28).\n"
        ),
        "{}",
        result.stdout
    );
    assert_eq!(after, before);
    assert_eq!(files, 3, "state, its lock and the filler");
}

#[track_caller]
fn check_with_disk_state(dir: &TestDir, expected: &str) {
    assert_eq!(
        dir.check_listing(flood(), &["--state-file", "disk/state"]).code_and_status(),
        expected
    );
}

#[test]
fn locked_state_file_times_out() {
    let dir = TestDir::new();
    let lock = File::create(dir.path("state.lock")).unwrap();
    fs::set_permissions(dir.path("state.lock"), fs::Permissions::from_mode(0o640)).unwrap();
    lock.lock().unwrap();
    let result = check(&dir, &["-t", "1"]);
    assert_eq!(result.code_and_status(), WARNING);
    assert_eq!(
        result.stdout.lines().nth(1).unwrap(),
        "Cannot lock the state file state: another run holds the lock."
    );
    assert!(result.elapsed.as_millis() < 1500, "{:?}", result.elapsed);
    drop(lock);
    assert_eq!(check(&dir, &["-t", "1"]).code_and_status(), WARNING);
}

#[test]
fn overlapping_runs_are_all_counted() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let args = ["--input", "listing", "--state-file", "state", "--consecutive", "1000000"];
    let runs: Vec<_> = (0..50)
        .map(|_| dir.command(&args).stdout(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    for mut run in runs {
        assert_eq!(run.wait().unwrap().code(), Some(1));
    }
    // Each run has loaded the sample before it, so the count is the number of runs.
    assert!(fs::read_to_string(dir.path("state")).unwrap().contains("consecutive: 50"));
    assert_eq!(directory_entries(&dir), ["state", "state.lock"]);
}

#[test]
fn leftovers_of_killed_run_are_removed() {
    let dir = TestDir::new();
    dir.write("state.new", "half of a");
    assert_eq!(check(&dir, &[]).code_and_status(), WARNING);
    assert_eq!(directory_entries(&dir), ["state", "state.lock"]);
}

#[test]
fn state_files_are_private_to_user() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let mut command = std::process::Command::new("sh");
    let script = "umask 0; exec \"$0\" --input listing";
    command
        .args(["-c", script, crate::support::CHECK])
        .current_dir(dir.path("."))
        .env("MP_STATE_PATH", dir.path("var"));
    assert_eq!(run(&mut command).code, Some(1));
    let user = fs::metadata(dir.path("listing")).unwrap().uid();
    let directory = dir.path("var").join(user.to_string());
    let mode = |path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(directory.clone()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        // Every user who may read a lock file can hold the lock.
        let is_lock = entry.path().extension().is_some_and(|it| it == "lock");
        assert_eq!(mode(entry.path()), if is_lock { 0o600 } else { 0o640 });
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with("check_topip-input-") && names[0].ends_with(".ron"), "{names:?}");
}

#[test]
fn each_selection_has_own_state_file() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let files = || {
        fs::read_dir(dir.path("var")).map_or(0, |user| {
            user.flat_map(|user| fs::read_dir(user.unwrap().path()).unwrap()).count()
        })
    };
    let check = |args: &[&str]| {
        let mut command = dir.command(&[&["--input", "listing"], args].concat());
        run(command.env("MP_STATE_PATH", dir.path("var")))
    };
    check(&[]);
    assert_eq!(files(), 2);
    // Output options do not select another state file.
    check(&["-v", "-t", "5", "--ipv6", "-n", "0"]);
    assert_eq!(files(), 2);
    check(&["-4"]);
    check(&["-x", "192.0.2.0/24"]);
    check(&["--no-default-excludes"]);
    check(&["-w", "50"]);
    check(&["--limit", "50"]);
    assert_eq!(files(), 12);
    // A protocol other than TCP selects another file.
    check(&["--protocol", "tcp"]);
    assert_eq!(files(), 12);
    let flow = "udp 17 29 src=203.0.113.7 dst=192.0.2.1 sport=5 dport=443 src=192.0.2.1 \
                dst=203.0.113.7 sport=443 dport=5 [ASSURED] use=1\n";
    dir.write("listing", flow);
    for (protocol, expected) in [("udp", 14), ("all", 16), ("tcp", 16)] {
        check(&["--protocol", protocol]);
        assert_eq!(files(), expected, "{protocol}");
    }
}

/// The name of a state file is part of its format: a check that does not find its file
/// loses its history.
#[test]
fn state_file_names_are_stable() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let every_option = [
        "--port=443,8000-8100",
        "--state=ESTAB,SYN-RECV",
        "-x=192.0.2.0/24",
        "--exclude-file=excludes",
        "--no-default-excludes",
        "--prefix4=32,24",
        "--prefix6=64",
        "--prefix-members=3",
        "--top=20",
        "--rule=auto",
        "--stddev=4.5",
        "--false-alarm-rate=0.02",
        "--floor=12",
        "--consecutive=3",
        "--max-age=10m",
        "--warning=200",
        "--critical=@10:500",
    ];
    dir.write("excludes", "198.51.100.0/24\n");
    for (args, expected) in [
        (&[][..], "check_topip-input-d19ac2fac6bc993b.ron"),
        (&every_option[..], "check_topip-input-effb0ede1637b208.ron"),
    ] {
        let directory = format!("state-{}", args.len());
        let mut command = dir.command(&[&["--input", "listing"], args].concat());
        let result = run(command.env("MP_STATE_PATH", dir.path(&directory)));
        assert_ne!(result.code, Some(3), "{}", result.stdout);
        let user = fs::read_dir(dir.path(&directory)).unwrap().next().unwrap().unwrap().path();
        let files = fs::read_dir(user).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, [expected.to_owned(), format!("{expected}.lock")]);
    }
}

#[test]
fn state_directory_follows_environment() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let state_text = |variables: &[(&str, &str)]| {
        let mut command = dir.command(&["--input", "listing", "-vv"]);
        command.env_clear();
        for (name, directory) in variables {
            command.env(name, dir.path(directory));
        }
        let result = run(&mut command);
        let line =
            result.stdout.lines().find(|line| line.contains("tate file: ")).map(str::to_owned);
        line.unwrap_or_else(|| result.stdout.lines().nth(1).unwrap().to_owned())
    };
    let below = |line: String, directory: &str| {
        let start = format!("State file: {}/", dir.path(directory).display());
        assert!(line.starts_with(&start), "{line} {start}");
    };
    let both = [("MP_STATE_PATH", "first"), ("NAGIOS_PLUGIN_STATE_DIRECTORY", "second")];
    below(state_text(&both), "first");
    below(state_text(&both[1..]), "second");
    // A packaged topip has a shared directory; otherwise the home directory is used.
    if fs::metadata("/var/lib/topip").is_err() {
        below(state_text(&[("HOME", "home"), ("XDG_STATE_HOME", "xdg")]), "xdg/topip");
        below(state_text(&[("HOME", "home")]), "home/.local/state/topip");
    }
}
