//! What is remembered from one run to the next, and what becomes of it when
//! the state file is not what it should be.
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::support::{CHECK, Ran, Room, crowd, listing, run, skip};

const WARNING: &str =
    "1 TOPIP WARNING - 203.0.113.7 has 152 connections, over 131.36 (5 x stddev 26.27)";
const CRITICAL: &str = "2 TOPIP CRITICAL - 203.0.113.7 has 152 connections, over 131.36 (5 x stddev 26.27) in 2 samples";

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152)])
}

fn check(room: &Room, args: &[&str]) -> Ran {
    room.judge(flood(), &[&["--state-file", "state"], args].concat())
}

/// A state file of so many seconds ago.
fn state(age: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let when = now.checked_add_signed(-age).unwrap();
    format!(
        "(version: 1, program: \"topip\", when: {when}, servers: [\"input\"], \
         maxip: Some(\"203.0.113.7\"), connections: 17, row: 1)\n"
    )
}

fn leftovers(room: &Room) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(room.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "listing")
        .collect();
    names.sort();
    names
}

#[test]
fn the_same_address_twice_is_critical() {
    let room = Room::new();
    assert_eq!(check(&room, &[]).answer(), WARNING);
    assert_eq!(check(&room, &[]).answer(), CRITICAL);
    assert_eq!(leftovers(&room), ["state", "state.lock"]);
}

#[test]
fn another_address_on_top_or_none_breaks_the_row() {
    let room = Room::new();
    let other = crowd(31, &[("203.0.113.8", 152)]);
    for between in [other, listing(&[]), listing(&[("127.0.0.1", 300)])] {
        check(&room, &[]);
        room.judge(between, &["--state-file", "state"]);
        assert_eq!(check(&room, &[]).answer(), WARNING);
    }
}

/// Who was on top before is remembered, and those that have been on top last.
#[test]
fn first_on_top_is_told() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let room = Room::new();
    // A file as the first version wrote it, and one with who was on top.
    for (tops, told) in [
        (String::new(), ""),
        (
            format!("tops: [(ip: \"203.0.113.7\", first: {0}, last: {0})]", now - 7260),
            "; first on top 2 h ago",
        ),
        (format!("tops: [(ip: \"203.0.113.7\", first: {0}, last: {0})]", now + 60), ""),
        ("tops: [(ip: \"203.0.113.7\")]".to_owned(), ""),
    ] {
        room.write("state", state(60).replace("row: 1", &format!("row: 1, {tops}")));
        let ran = check(&room, &["-v"]);
        let line =
            format!("203.0.113.7 152 connections on port 443 (152); ESTABLISHED (152){told}");
        assert!(ran.stdout.lines().any(|it| it == line), "{}", ran.stdout);
        let kept = fs::read_to_string(room.path("state")).unwrap();
        assert_eq!(kept.matches("ip: \"203.0.113.7\"").count(), 1, "{kept}");
    }
    for host in 1..=40 {
        room.judge(listing(&[(&format!("192.0.2.{host}"), 9)]), &["--state-file", "state"]);
    }
    let kept = fs::read_to_string(room.path("state")).unwrap();
    assert_eq!(kept.matches("ip: \"").count(), 20, "{kept}");
    assert!(kept.contains("ip: \"192.0.2.40\"") && !kept.contains("203.0.113.7"), "{kept}");
}

/// Each way to tell peers apart has a row of its own.
#[test]
fn networks_have_their_own_row() {
    let room = Room::new();
    let fleet = |n: usize, port: usize| {
        let hosts: Vec<_> =
            (0..100).map(|host| format!("203.0.113.{}", (host + n) % 256)).collect();
        let more: Vec<_> = hosts.iter().map(|host| (host.as_str(), port)).collect();
        crowd(31, &more)
    };
    let args = ["--state-file", "state", "--prefix4", "32,24", "--stddev", "1"];
    let answers: Vec<_> = [(0, 2), (7, 2), (14, 2)]
        .map(|(n, port)| room.judge(fleet(n, port), &args).answer())
        .into_iter()
        .collect();
    // The address on top is another one each time; 203.0.113.0/24 stays.
    let network = "203.0.113.0/24 (100 addresses) has 200 connections, over";
    assert!(answers[0].starts_with(&format!("1 TOPIP WARNING - {network}")), "{answers:?}");
    assert!(answers[1].starts_with(&format!("2 TOPIP CRITICAL - {network}")), "{answers:?}");
    assert!(answers[2].ends_with(" in 3 samples"), "{answers:?}");
}

/// A limit of what files may have (setrlimit(2), `RLIMIT_FSIZE`) ends no check.
#[test]
fn a_file_that_may_not_grow_is_said() {
    let room = Room::new();
    room.write("listing", flood());
    let line = format!("ulimit -f 0; exec {CHECK} --input listing --state-file state");
    let mut command = Command::new("sh");
    let ran = run(command.args(["-c", &line]).env_clear().current_dir(room.path(".")));
    assert_eq!(ran.answer(), WARNING);
    assert!(ran.stdout.contains("Cannot write the state file state: File too large"), "{ran:?}");
}

/// What was on top by other lengths says nothing about these.
#[test]
fn other_networks_have_no_earlier_sample() {
    let room = Room::new();
    let flood = crowd(31, &[("203.0.113.7", 152)]);
    let answer = |prefixes: &str| {
        let args = ["--state-file", "state", "--stddev", "1", "--prefix4", prefixes];
        room.judge(&flood, &args).code.unwrap()
    };
    let codes = ["32", "32", "32,24", "32,24", "24", "32", "32"].map(answer);
    // Of the addresses, there is a record until the 24 alone replaces it.
    assert_eq!(codes, [1, 2, 2, 2, 2, 1, 2]);
}

#[test]
fn counts_do_not_matter_to_the_row() {
    let room = Room::new();
    let quiet = listing(&[("203.0.113.7", 2), ("198.51.100.7", 1)]);
    assert_eq!(room.judge(quiet, &["--state-file", "state"]).code, Some(0));
    assert_eq!(check(&room, &[]).answer(), CRITICAL);
}

#[test]
fn an_old_or_future_sample_is_none() {
    let room = Room::new();
    for (age, args, expected, word) in [
        (60, &["-v"][..], CRITICAL, ""),
        (3500, &["-v"], CRITICAL, ""),
        (3700, &["-v"], WARNING, "s old, over --max-age, and does not count."),
        (3700, &["--max-age", "2h", "-v"], CRITICAL, ""),
        (1_000_000, &["--max-age", "0", "-v"], CRITICAL, ""),
        (-100, &["-v"], WARNING, "s in the future, and does not count."),
        (-100, &["--max-age", "0", "-v"], WARNING, "s in the future, and does not count."),
    ] {
        room.write("state", state(age));
        let ran = check(&room, args);
        assert_eq!(ran.answer(), expected, "{age}");
        assert!(ran.stdout.contains(word), "{}", ran.stdout);
    }
}

#[test]
fn a_damaged_state_is_kept_aside_and_counts_as_none() {
    let whole = state(60);
    for (damaged, problem) in [
        ("", "it is empty"),
        (&whole[..whole.len() / 2], "1:"),
        ("\0\0\0\0", "1:1"),
        ("(version: 1, when: -5)", "1:"),
        ("(version: 1, maxip: Some(\"web1|x\"))", "1:"),
        ("hello", "1:1"),
        ("()", "1:2"),
        ("(when: 5, servers: [\"local\"])", "1:"),
        (&whole.replace("version: 1, ", ""), "1:"),
    ] {
        let room = Room::new();
        room.write("state", damaged);
        let ran = check(&room, &[]);
        assert_eq!(ran.answer(), WARNING);
        let note = ran.stdout.lines().nth(1).unwrap();
        assert!(note.starts_with(&format!("The state file was damaged ({problem}")), "{note}");
        assert!(note.ends_with("is kept as state.bad; this is a first sample."), "{note}");
        assert_eq!(fs::read_to_string(room.path("state.bad")).unwrap(), damaged);
        assert_eq!(check(&room, &[]).answer(), CRITICAL);
    }
}

#[test]
fn what_a_state_file_may_not_be() {
    #[track_caller]
    fn unknown(room: &Room, problem: &str) {
        // The verdict stands: what was seen beats what could not be kept.
        let ran = check(room, &[]);
        assert_eq!(ran.answer(), WARNING);
        let line = ran.stdout.lines().nth(1).unwrap();
        assert_eq!(line, problem);
        let quiet = room.judge(listing(&[("203.0.113.7", 2)]), &["--state-file", "state"]);
        let problem = problem[..1].to_lowercase() + problem[1..].trim_end_matches('.');
        assert_eq!(
            quiet.answer(),
            format!("3 TOPIP UNKNOWN - {problem}; 203.0.113.7 has 2 connections, limit 10")
        );
    }

    let room = Room::new();
    let newer = room.write("state", "(version: 2, samples: {\"192.0.2.1\": [1]})");
    unknown(&room, "The state file state is of version 2, and this topip knows 1.");
    assert!(fs::read_to_string(newer).unwrap().contains("version: 2"), "it was written over");

    let room = Room::new();
    room.write("state", state(60).replace("input", "web1"));
    unknown(&room, "The state file state is that of a check of web1.");

    let room = Room::new();
    fs::create_dir(room.path("state")).unwrap();
    unknown(&room, "Cannot trust state: it is not a regular file.");

    let room = Room::new();
    let text = state(60);
    room.write("elsewhere", &text);
    symlink("elsewhere", room.path("state")).unwrap();
    unknown(&room, "Cannot read the state file state: it is a symbolic link.");
    assert_eq!(fs::read_to_string(room.path("elsewhere")).unwrap(), text);

    let room = Room::new();
    symlink("elsewhere", room.path("state.lock")).unwrap();
    unknown(&room, "Cannot lock the state file state: it is a symbolic link.");
    assert!(!room.path("elsewhere").exists());

    let room = Room::new();
    let state = room.write("state", state(60));
    fs::set_permissions(&state, fs::Permissions::from_mode(0o666)).unwrap();
    unknown(&room, "Cannot trust state: others may write to it.");
}

#[test]
fn a_damaged_state_that_stays_is_unknown() {
    let room = Room::new();
    room.write("state", "hello");
    fs::create_dir(room.path("state.bad")).unwrap();
    let ran = room.judge(listing(&[("203.0.113.7", 2)]), &["--state-file", "state"]);
    assert_eq!(
        ran.answer(),
        "3 TOPIP UNKNOWN - the state file state is damaged (1:1-1:6: Expected struct State but found hello) \
         and cannot be put aside: Is a directory (os error 21); 203.0.113.7 has 2 connections, limit 10"
    );
}

/// To see nothing because of what could not be read is not to see nobody.
#[test]
fn a_blind_sample_is_not_remembered() {
    let room = Room::new();
    assert_eq!(check(&room, &[]).answer(), WARNING);
    let blind = flood().replace("ESTABLISHED", "ESTABL");
    let ran = room.judge(blind, &["--state-file", "state"]);
    assert!(ran.line().starts_with("TOPIP UNKNOWN - cannot read 183 rows"), "{}", ran.stdout);
    assert_eq!(check(&room, &[]).answer(), CRITICAL);
}

#[test]
fn a_folder_by_a_link_is_a_folder() {
    let room = Room::new();
    fs::create_dir(room.path("folder")).unwrap();
    symlink("folder", room.path("link")).unwrap();
    let ran = room.judge(flood(), &["--state-file", "link/state"]);
    assert_eq!(ran.answer(), WARNING);
    assert!(!ran.stdout.contains("annot"), "{}", ran.stdout);
}

#[test]
fn the_umask_does_not_shut_out_the_next_run() {
    let room = Room::new();
    room.write("listing", flood());
    let mut command = std::process::Command::new("sh");
    let script = "umask 777; exec \"$0\" --input listing --state-file state";
    run(command.args(["-c", script, crate::support::CHECK]).current_dir(room.path(".")));
    for name in ["state", "state.lock"] {
        assert_eq!(fs::metadata(room.path(name)).unwrap().mode() & 0o777, 0o640, "{name}");
    }
}

#[test]
fn a_folder_that_is_not_there() {
    let room = Room::new();
    let ran = room.judge(flood(), &["--state-file", "missing/state"]);
    assert_eq!(ran.answer(), WARNING);
    assert_eq!(
        ran.stdout.lines().nth(1).unwrap(),
        "Cannot lock the state file missing/state: No such file or directory (os error 2)."
    );
}

#[test]
fn a_full_disk_loses_nothing() {
    let room = Room::new();
    let disk = room.path("disk");
    fs::create_dir(&disk).unwrap();
    let disk = disk.to_str().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8k,mode=700", "topip-test", disk])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("the right to mount a small disk");
    }
    check_on(&room, WARNING);
    let before = fs::read_to_string(room.path("disk/state")).unwrap();
    // Takes what room is left.
    let _ = fs::write(room.path("disk/filler"), vec![0; 8192]);
    let ran = room.judge(flood(), &["--state-file", "disk/state"]);
    let after = fs::read_to_string(room.path("disk/state")).unwrap();
    let files = fs::read_dir(room.path("disk")).unwrap().count();
    let unmounted = std::process::Command::new("umount").arg(disk).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(ran.answer(), CRITICAL);
    assert!(
        ran.stdout.contains(
            "\nCannot write the state file disk/state: No space left on device (os error 28).\n"
        ),
        "{}",
        ran.stdout
    );
    assert_eq!(after, before);
    assert_eq!(files, 3, "state, its lock and the filler");
}

#[track_caller]
fn check_on(room: &Room, expected: &str) {
    assert_eq!(room.judge(flood(), &["--state-file", "disk/state"]).answer(), expected);
}

#[test]
fn a_run_that_holds_the_state_is_waited_for_and_then_left() {
    let room = Room::new();
    let lock = File::create(room.path("state.lock")).unwrap();
    fs::set_permissions(room.path("state.lock"), fs::Permissions::from_mode(0o640)).unwrap();
    lock.lock().unwrap();
    let ran = check(&room, &["-t", "1"]);
    assert_eq!(ran.answer(), WARNING);
    assert_eq!(ran.stdout.lines().nth(1).unwrap(), "The state file state is held by another run.");
    assert!(ran.took.as_millis() < 1500, "{:?}", ran.took);
    drop(lock);
    assert_eq!(check(&room, &["-t", "1"]).answer(), WARNING);
}

#[test]
fn runs_that_overlap_lose_nothing() {
    let room = Room::new();
    room.write("listing", flood());
    let args = ["--input", "listing", "--state-file", "state", "--consecutive", "1000000"];
    let runs: Vec<_> = (0..50)
        .map(|_| room.command(&args).stdout(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    for mut run in runs {
        assert_eq!(run.wait().unwrap().code(), Some(1));
    }
    // Each of them has seen the one before: the row is as long as they are many.
    assert!(fs::read_to_string(room.path("state")).unwrap().contains("row: 50"));
    assert_eq!(leftovers(&room), ["state", "state.lock"]);
}

#[test]
fn what_a_killed_run_left_behind_does_no_harm() {
    let room = Room::new();
    room.write("state.new", "half of a sta");
    assert_eq!(check(&room, &[]).answer(), WARNING);
    assert_eq!(leftovers(&room), ["state", "state.lock"]);
}

#[test]
fn the_files_are_for_their_user_only() {
    let room = Room::new();
    room.write("listing", flood());
    let mut command = std::process::Command::new("sh");
    let script = "umask 0; exec \"$0\" --input listing";
    command
        .args(["-c", script, crate::support::CHECK])
        .current_dir(room.path("."))
        .env("MP_STATE_PATH", room.path("var"));
    assert_eq!(run(&mut command).code, Some(1));
    let user = fs::metadata(room.path("listing")).unwrap().uid();
    let folder = room.path("var").join(user.to_string());
    let mode = |path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(folder.clone()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(entry.path()), 0o640);
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with("check_topip-input-") && names[0].ends_with(".ron"), "{names:?}");
}

#[test]
fn each_selection_has_its_own_state() {
    let room = Room::new();
    room.write("listing", flood());
    let files = || {
        fs::read_dir(room.path("var")).map_or(0, |user| {
            user.flat_map(|user| fs::read_dir(user.unwrap().path()).unwrap()).count()
        })
    };
    let check = |args: &[&str]| {
        let mut command = room.command(&[&["--input", "listing"], args].concat());
        run(command.env("MP_STATE_PATH", room.path("var")))
    };
    check(&[]);
    assert_eq!(files(), 2);
    // How it is told makes no other check.
    check(&["-v", "-t", "5", "--ipv6", "-n", "0"]);
    assert_eq!(files(), 2);
    check(&["-4"]);
    check(&["-x", "192.0.2.0/24"]);
    check(&["--no-default-excludes"]);
    check(&["-w", "50"]);
    assert_eq!(files(), 10);
}

/// The name of a state file is part of its format: a check that does not find its file
/// has lost its history.
#[test]
fn state_file_names_are_stable() {
    let room = Room::new();
    room.write("listing", flood());
    let every_option = [
        "--port=443,8000-8100",
        "--state=ESTAB,SYN-RECV",
        "-4",
        "-x=192.0.2.0/24",
        "--exclude-file=excludes",
        "--no-default-excludes",
        "--prefix4=32,24",
        "--prefix6=64",
        "--prefix-members=3",
        "--top=20",
        "--rule=lognormal",
        "--stddev=4.5",
        "--false-alarm-rate=0.02",
        "--floor=12",
        "--consecutive=3",
        "--max-age=10m",
        "--warning=200",
        "--critical=@10:500",
    ];
    room.write("excludes", "198.51.100.0/24\n");
    for (args, expected) in [
        (&[][..], "check_topip-input-eaecaccf1f60e473.ron"),
        (&every_option[..], "check_topip-input-e662d7dafebf510c.ron"),
    ] {
        let folder = format!("state-{}", args.len());
        let mut command = room.command(&[&["--input", "listing"], args].concat());
        let ran = run(command.env("MP_STATE_PATH", room.path(&folder)));
        assert_ne!(ran.code, Some(3), "{}", ran.stdout);
        let user = fs::read_dir(room.path(&folder)).unwrap().next().unwrap().unwrap().path();
        let files = fs::read_dir(user).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, [expected.to_owned(), format!("{expected}.lock")]);
    }
}

#[test]
fn where_the_state_goes() {
    let room = Room::new();
    room.write("listing", flood());
    let state = |variables: &[(&str, &str)]| {
        let mut command = room.command(&["--input", "listing", "-vv"]);
        command.env_clear();
        for (name, folder) in variables {
            command.env(name, room.path(folder));
        }
        let ran = run(&mut command);
        let line = ran.stdout.lines().find(|line| line.contains("tate file: ")).map(str::to_owned);
        line.unwrap_or_else(|| ran.stdout.lines().nth(1).unwrap().to_owned())
    };
    let below = |line: String, folder: &str| {
        let start = format!("State file: {}/", room.path(folder).display());
        assert!(line.starts_with(&start), "{line} {start}");
    };
    let both = [("MP_STATE_PATH", "first"), ("NAGIOS_PLUGIN_STATE_DIRECTORY", "second")];
    below(state(&both), "first");
    below(state(&both[1..]), "second");
    // A packaged topip has a folder for all; without it, the user's home.
    if fs::metadata("/var/lib/topip").is_err() {
        below(state(&[("HOME", "home"), ("XDG_STATE_HOME", "xdg")]), "xdg/topip");
        below(state(&[("HOME", "home")]), "home/.local/state/topip");
    }
}
