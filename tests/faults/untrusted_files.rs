//! Entries that another user planted in a world-writable directory.
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use crate::support::{
    CommandResult, TestDir, crowd, listing, run,
    stranger::{
        NOBODY, OTHER_USER, as_user, create_sticky_directory, is_possible, run_script_as,
        shared_test_dir,
    },
};

/// Descriptions of the planted entries, and the commands that create them.
pub const PLANTED_ENTRIES: [(&str, &str); 8] = [
    ("a link to a file", "ln -s ../precious $P"),
    ("a link to a missing file", "ln -s ../made $P"),
    ("a link to a system file", "ln -s /etc/hosts $P"),
    ("a hard link", "HARD"),
    ("a pipe", "mkfifo $P"),
    ("a directory", "mkdir $P"),
    ("a file", "echo mine >$P; chmod 666 $P"),
    ("an unreadable file", "echo mine >$P; chmod 0 $P"),
];

/// Creates a test directory with a directory like /tmp, and files next to it that must not
/// change.
fn create_fixture() -> TestDir {
    let dir = shared_test_dir();
    create_sticky_directory(&dir, "tmp");
    dir.write("precious", "precious\n");
    fs::set_permissions(dir.path("precious"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::create_dir(dir.path("elsewhere")).unwrap();
    dir.write("quiet", listing(&[("203.0.113.7", 1)]));
    dir.write("flood", crowd(31, &[("203.0.113.7", 152)]));
    dir
}

/// Creates an entry at `path` in tmp, as a user other than the one who runs topip.
pub fn plant_entry(dir: &TestDir, user: u32, path: &str, plant_entry: &str) {
    if plant_entry == "HARD" {
        // With protected_hardlinks, only the owner can create the hard link.
        return fs::hard_link(dir.path("precious"), dir.path("tmp").join(path)).unwrap();
    }
    run_script_as(user, &dir.path("tmp"), &plant_entry.replace("$P", path));
}

/// Returns all files outside of tmp with their metadata and content.
fn snapshot_outside(dir: &TestDir) -> Vec<String> {
    let files = ["precious", "elsewhere", "/etc/hosts"].map(|name| dir.path(name));
    let mut all: Vec<_> = files
        .iter()
        .map(|path| {
            let it = fs::symlink_metadata(path).unwrap();
            let text = if it.is_file() { fs::read(path).unwrap() } else { Vec::new() };
            format!("{path:?} {:o} {} {} {text:?}", it.mode(), it.uid(), it.gid())
        })
        .collect();
    for directory in [".", "elsewhere"] {
        let names = fs::read_dir(dir.path(directory)).unwrap();
        all.extend(names.map(|name| format!("{:?}", name.unwrap().path())));
    }
    all.sort();
    all
}

fn reset_tmp(dir: &TestDir) {
    fs::remove_dir_all(dir.path("tmp")).unwrap();
    create_sticky_directory(dir, "tmp");
}

/// Pairs of the user who runs topip and the user who plants entries.
fn user_pairs() -> [(u32, u32); 2] {
    [(0, NOBODY), (NOBODY, OTHER_USER)]
}

fn check(dir: &TestDir, user: u32, args: &[&str]) -> CommandResult {
    run(as_user(user, dir.path("check_topip"))
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(dir.path(".")))
}

#[test]
fn planted_state_file_is_neither_read_nor_changed() {
    if !is_possible() {
        return;
    }
    let dir = create_fixture();
    for (user, other_user) in user_pairs() {
        for name in ["state", "state.lock", "state.new", "state.bad"] {
            for (description, command) in PLANTED_ENTRIES {
                reset_tmp(&dir);
                plant_entry(&dir, other_user, name, command);
                if name == "state.bad" {
                    // A damaged state file is renamed to it.
                    run_script_as(user, &dir.path("tmp"), "umask 077; echo damaged >state");
                }
                let before = snapshot_outside(&dir);
                let result = check(&dir, user, &["--input", "quiet", "--state-file", "tmp/state"]);
                let context = format!("{description} at {name}, user {user}: {}", result.stdout);
                assert_eq!(snapshot_outside(&dir), before, "{context}");
                if name == "state" || name == "state.lock" {
                    assert_eq!(result.code, Some(3), "{context}");
                } else if result.code != Some(3) {
                    let state = fs::symlink_metadata(dir.path("tmp/state")).unwrap();
                    assert!(state.is_file() && state.uid() == user, "{context}");
                }
                assert!(
                    !result.stdout.contains("precious\n") && !result.stdout.contains("localhost\n"),
                    "{context}"
                );
            }
        }
    }
}

/// Planted entries in the path of a file.
#[test]
fn planted_directory_is_not_followed() {
    if !is_possible() {
        return;
    }
    let dir = create_fixture();
    for (user, other_user) in user_pairs() {
        for command in
            ["ln -s ../elsewhere way", "ln -s . way", "mkdir -m 777 way", "ln -s /nowhere way"]
        {
            reset_tmp(&dir);
            run_script_as(other_user, &dir.path("tmp"), command);
            let before = snapshot_outside(&dir);
            let path_entry = dir.path("tmp/way");
            let path_entry = path_entry.to_str().unwrap();
            let expected = "belongs to another user, and every user may write to its directory";
            let state = check(&dir, user, &["--input", "quiet", "--state-file", "tmp/way/state"]);
            assert_eq!(state.code, Some(3), "{command}: {}", state.stdout);
            assert!(state.stdout.contains(expected), "{command}: {}", state.stdout);
            let mut below = as_user(user, dir.path("check_topip"));
            below.args(["--input", "../quiet"]).current_dir(dir.path("elsewhere"));
            for directory in [path_entry.to_owned(), format!("{path_entry}/further")] {
                let result = run(below.env("MP_STATE_PATH", directory));
                assert_eq!(result.code, Some(3), "{command}: {}", result.stdout);
                assert!(result.stdout.contains(expected), "{command}: {}", result.stdout);
            }
            let log = ["--input", "flood", "--state-file", "/dev/null/x", "-l", "tmp/way/log"];
            let result = check(&dir, user, &log);
            assert!(result.stdout.contains(expected), "{command}: {}", result.stdout);
            assert_eq!(snapshot_outside(&dir), before, "{command}");
        }
        // The user's own symlink is followed.
        reset_tmp(&dir);
        run_script_as(user, &dir.path("tmp"), "mkdir there; ln -s there way");
        let result = check(&dir, user, &["--input", "quiet", "--state-file", "tmp/way/state"]);
        assert_eq!(result.code, Some(0), "{}", result.stdout);
        assert!(dir.path("tmp/there/state").exists());
    }
}

/// Settings can name a program to start.
#[test]
fn settings_of_another_user_are_not_used() {
    if !is_possible() {
        return;
    }
    let dir = create_fixture();
    dir.write("topip.ini", "[check_topip]\nlimit = 20\n");
    for (user, other_user) in user_pairs() {
        reset_tmp(&dir);
        let plant = "umask 022; echo '[check_topip]' >own.ini; ln -s own.ini link.ini";
        run_script_as(other_user, &dir.path("tmp"), plant);
        let check = |file: &str| {
            let option = format!("--extra-opts=@{file}");
            check(&dir, user, &["--input", "quiet", "--state-file", "tmp/state", &option])
        };
        for file in ["tmp/own.ini", "tmp/link.ini"] {
            let expected = format!(
                "3 TOPIP UNKNOWN - cannot trust the settings in {file}: it belongs to another user"
            );
            assert_eq!(check(file).code_and_status(), expected);
        }
        let expected = "0 TOPIP OK - 203.0.113.7 has 1 connection, limit 20 (fixed)";
        assert_eq!(check("topip.ini").code_and_status(), expected);
    }
}

#[test]
fn planted_log_is_not_written() {
    if !is_possible() {
        return;
    }
    let dir = create_fixture();
    for (user, other_user) in user_pairs() {
        for (description, command) in PLANTED_ENTRIES {
            reset_tmp(&dir);
            plant_entry(&dir, other_user, "log", command);
            let before = snapshot_outside(&dir);
            for args in [
                &["--input", "flood", "--state-file", "tmp/state", "-l", "tmp/log"][..],
                &[
                    "--input",
                    "flood",
                    "--state-file",
                    "tmp/state2",
                    "--consecutive",
                    "1",
                    "-l",
                    "tmp/log",
                ],
            ] {
                let result = check(&dir, user, args);
                let context = format!("{description}, user {user}: {}", result.stdout);
                assert_eq!(snapshot_outside(&dir), before, "{context}");
                assert!(result.stdout.contains(" the log tmp/log"), "{context}");
            }
            // Reading a FIFO would block.
            let log = dir.path("tmp/log");
            let is_file = fs::metadata(&log).is_ok_and(|it| it.is_file());
            let content = if is_file { fs::read(log).unwrap() } else { Vec::new() };
            assert!(
                !String::from_utf8_lossy(&content).contains("203.0.113.7"),
                "{description}, user {user}"
            );
        }
    }
}

/// The user's own files in such a directory are used.
#[test]
fn own_files_are_used() {
    if !is_possible() {
        return;
    }
    let dir = create_fixture();
    for (user, _) in user_pairs() {
        reset_tmp(&dir);
        let args = ["--input", "flood", "--state-file", "tmp/state", "-l", "tmp/log"];
        assert_eq!(check(&dir, user, &args).code, Some(1));
        assert_eq!(check(&dir, user, &args).code, Some(2));
        let log = fs::read_to_string(dir.path("tmp/log")).unwrap();
        assert_eq!(log.matches("203.0.113.7").count(), 1, "{log}");
        for (name, mode) in [("state", 0o640), ("state.lock", 0o600), ("log", 0o640)] {
            let it = fs::metadata(dir.path("tmp").join(name)).unwrap();
            assert_eq!((it.uid(), it.mode() & 0o7777), (user, mode), "{name}");
        }
    }
}

/// In a directory that another user owns, root does not follow entries that lead out of it.
#[test]
fn user_directory_does_not_redirect_root() {
    if !is_possible() {
        return;
    }
    let dir = create_fixture();
    let directory = dir.path("his");
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let before = snapshot_outside(&dir);
    for (name, args) in [
        ("state", ["--state-file", "his/state"]),
        ("state.lock", ["--state-file", "his/state"]),
        ("log", ["--log", "his/log"]),
    ] {
        for hard in [false, true] {
            let path = directory.join(name);
            if hard {
                fs::hard_link(dir.path("precious"), &path).unwrap();
            } else {
                run_script_as(NOBODY, &directory, &format!("ln -s ../precious {name}"));
            }
            let result = check(&dir, 0, &[&["--input", "flood"], &args[..]].concat());
            assert!(
                result.stdout.contains(&format!("his/{}", name.trim_end_matches(".lock"))),
                "{}",
                result.stdout
            );
            assert_eq!(snapshot_outside(&dir), before, "{name}: {}", result.stdout);
            fs::remove_file(path).unwrap();
            let _ = fs::remove_file(directory.join("state.lock"));
        }
    }
}

/// With `sudo -u nagios check_topip` in root's home directory, the user cannot access the
/// working directory, but can access its own files.
#[test]
fn inaccessible_working_directory_does_not_matter() {
    if !is_possible() {
        return;
    }
    let dir = create_fixture();
    let home = dir.path("home");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = as_user(NOBODY, dir.path("check_topip"));
    command.arg("--input").arg(dir.path("quiet"));
    command.arg("--state-file").arg(dir.path("tmp/state"));
    let result = run(command.current_dir(home));
    assert_eq!(result.code, Some(0), "{}", result.stdout);
    assert!(dir.path("tmp/state").exists());
}
