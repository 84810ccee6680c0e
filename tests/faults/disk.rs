//! Disks that are full, read-only, broken or removed, and special files in place of regular
//! ones: the verdict is given, the old state is kept, and the error is reported.
use std::{
    fs::{self, File},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Command, Stdio},
};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::support::{CHECK, CommandResult, LOG, TestDir, crowd, run, skip};

use super::invariants::{RunningCommand, assert_invariants, wait_until};

const WARNING: &str = "1 TOPIP WARNING - 203.0.113.7 has 152 connections, over 28.7 (lognormal)";
const CRITICAL: &str =
    "2 TOPIP CRITICAL - 203.0.113.7 has 152 connections, over 28.7 (lognormal) in 2 samples";

/// Creates a test directory with a listing that alerts and a mount point.
fn test_dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    fs::create_dir(dir.path("disk")).unwrap();
    dir
}

fn check(dir: &TestDir) -> CommandResult {
    let result = dir.check(&["--input", "listing", "--state-file", "disk/state"]);
    assert_invariants(CHECK, dir, &result, 10);
    result
}

fn log(dir: &TestDir) -> CommandResult {
    let args = ["--input", "listing", "--consecutive", "1", "--log", "disk/log"];
    let result = dir.run_log(&args);
    assert_invariants(LOG, dir, &result, 10);
    result
}

#[track_caller]
fn assert_reported(result: &CommandResult, answer: &str, problem: &str) {
    assert_eq!(result.code_and_status(), answer, "{result:?}");
    assert_eq!(result.stdout.lines().nth(1), Some(problem), "{result:?}");
}

#[track_caller]
fn assert_log_error(result: &CommandResult, problem: &str) {
    assert_eq!(result.code, Some(1), "{result:?}");
    assert_eq!(result.stderr.lines().next(), Some(&*format!("topip_log: {problem}")), "{result:?}");
}

/// A file system that is mounted on the mount point.
struct Disk<'a> {
    dir: &'a TestDir,
    mount_point: &'a str,
}

impl<'a> Disk<'a> {
    /// Mounts the file system, if permitted.
    fn mount(dir: &'a TestDir, args: &[&str]) -> Option<Self> {
        let mount = Command::new("mount").args(args).arg(dir.path("disk")).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self { dir, mount_point: "disk" }),
            output => {
                skip(&format!("permission to mount ({output:?})"));
                None
            }
        }
    }

    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        let path = self.dir.path(self.mount_point);
        let status = Command::new("mount").args(["-o", &options]).arg(path).status();
        assert!(status.unwrap().success(), "{option}");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // A process that has just ended may still keep the mount busy.
        wait_until(|| {
            let mut umount = Command::new("umount");
            let output = umount.arg("-q").arg(self.dir.path(self.mount_point)).output();
            output.unwrap().status.success()
        });
    }
}

/// Asserts that the old state and log are kept: the next sample is the second one.
#[track_caller]
fn assert_unchanged(dir: &TestDir) {
    assert_eq!(check(dir).code_and_status(), CRITICAL);
    let text = fs::read_to_string(dir.path("disk/log")).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(log(dir).code, Some(0));
}

#[test]
fn read_only_disk_is_reported() {
    let dir = test_dir();
    let Some(disk) = Disk::mount(&dir, &["-t", "tmpfs", "none"]) else { return };
    assert_eq!(check(&dir).code_and_status(), WARNING);
    assert_eq!(log(&dir).code, Some(0));
    disk.remount("ro");
    assert_reported(
        &check(&dir),
        WARNING,
        "Cannot lock the state file disk/state: Read-only file system (os error 30).",
    );
    assert_log_error(
        &log(&dir),
        "cannot open the log disk/log: Read-only file system (os error 30)",
    );
    disk.remount("rw");
    assert_unchanged(&dir);
}

#[test]
fn disk_without_inodes_is_reported() {
    let dir = test_dir();
    // Inodes for the directory, the state file, its lock, the log, and one more.
    let Some(disk) = Disk::mount(&dir, &["-t", "tmpfs", "-o", "nr_inodes=5", "none"]) else {
        return;
    };
    assert_eq!(check(&dir).code_and_status(), WARNING);
    assert_eq!(log(&dir).code, Some(0));
    File::create(dir.path("disk/filler")).unwrap();
    assert_reported(
        &check(&dir),
        CRITICAL,
        "Cannot write the state file disk/state: No space left on device (os error 28).",
    );
    fs::remove_file(dir.path("disk/filler")).unwrap();
    assert_unchanged(&dir);
    for name in ["state", "state.lock", "log"] {
        fs::remove_file(dir.path("disk").join(name)).unwrap();
    }
    for name in ["a", "b", "c", "d"] {
        File::create(dir.path("disk").join(name)).unwrap();
    }
    assert_reported(
        &check(&dir),
        WARNING,
        "Cannot lock the state file disk/state: No space left on device (os error 28).",
    );
    assert_log_error(
        &log(&dir),
        "cannot open the log disk/log: No space left on device (os error 28)",
    );
    drop(disk);
}

/// btrfs has quotas without additional kernel modules.
#[test]
fn disk_quota_is_reported() {
    let dir = test_dir();
    let image = dir.write("image", "");
    File::options().write(true).open(&image).unwrap().set_len(120 << 20).unwrap();
    let image = image.to_str().unwrap();
    let run_ok = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(dir.path(".")).output();
        assert!(
            output.as_ref().is_ok_and(|it| it.status.success()),
            "{program} {args:?}: {output:?}"
        );
    };
    run_ok("mkfs.btrfs", &["-q", image]);
    let Some(mut whole_disk) = Disk::mount(&dir, &["-o", "loop", image]) else { return };
    run_ok("btrfs", &["quota", "enable", "disk"]);
    run_ok("btrfs", &["subvolume", "create", "disk/part"]);
    run_ok("mkdir", &["whole"]);
    run_ok("mount", &["--move", "disk", "whole"]);
    // Mount only the subvolume with the quota on `disk`.
    whole_disk.mount_point = "whole";
    let subvolume = dir.path("whole/part");
    let disk = Disk::mount(&dir, &["--bind", subvolume.to_str().unwrap()]).unwrap();
    assert_eq!(check(&dir).code_and_status(), WARNING);
    assert_eq!(log(&dir).code, Some(0));
    run_ok("sync", &["-f", "disk"]);
    // The limit is below the current usage.
    let id = "0/256";
    run_ok("btrfs", &["qgroup", "limit", "4k", id, "whole"]);
    assert_reported(
        &check(&dir),
        CRITICAL,
        "Cannot write the state file disk/state: Disk quota exceeded (os error 122).",
    );
    run_ok("btrfs", &["qgroup", "limit", "none", id, "whole"]);
    assert_unchanged(&dir);
    drop(disk);
    drop(whole_disk);
}

#[test]
fn file_size_limit_on_log_is_reported() {
    let dir = test_dir();
    let line = "ulimit -f 0; exec \"$0\" --input listing --consecutive 1 --log log";
    let result = run(&mut dir.program("sh", &["-c", line, LOG]));
    assert_invariants(LOG, &dir, &result, 10);
    let problem = "topip_log: cannot write the log log: File too large (os error 27)\n";
    assert!(result.stderr.contains(problem), "{result:?}");
    // The alert is printed anyway.
    assert!(
        result.stdout.ends_with(" - 152 connections from 203.0.113.7 on input\n"),
        "{result:?}"
    );
    assert_eq!(fs::read_to_string(dir.path("log")).unwrap(), "");
}

/// Runs a program with EIO injected into one system call on a file, or on the disk's
/// directory for calls that use a name in it (only the call with this number).
fn run_with_io_error(
    dir: &TestDir,
    file: &str,
    call: &str,
    program: &str,
    args: &[&str],
) -> Option<CommandResult> {
    let directory = fs::canonicalize(dir.path("disk")).unwrap();
    let file = if file.is_empty() { directory } else { directory.join(file) };
    let (call, when) = call.split_once('#').unwrap_or((call, "1+"));
    let inject = format!("inject={call}:error=EIO:when={when}");
    let mut strace = dir.program("strace", &["-f", "-qqq", "-o", "/dev/null", "-P"]);
    strace.arg(file).args(["-e", &inject, program]).args(args).env("PATH", "/usr/bin:/bin");
    if Command::new("strace").arg("-V").output().is_err() {
        skip("strace");
        return None;
    }
    Some(run(&mut strace))
}

#[test]
fn disk_io_errors_are_reported() {
    let dir = test_dir();
    let state = fs::canonicalize(dir.path("disk")).unwrap().join("state");
    let state = state.to_str().unwrap();
    assert_eq!(check(&dir).code_and_status(), WARNING);
    assert_eq!(log(&dir).code, Some(0));
    let args = ["--input", "listing", "--state-file", state];
    for (file, call, answer, action) in [
        ("", "?open,openat#3", CRITICAL, "write"),
        ("state.new", "fchmod", CRITICAL, "write"),
        ("state.new", "write", CRITICAL, "write"),
        ("state.new", "fsync", CRITICAL, "write"),
        ("", "?rename,?renameat,renameat2", CRITICAL, "write"),
        ("state", "read", WARNING, "read"),
        ("", "?open,openat#2", WARNING, "read"),
        ("", "?open,openat#1", WARNING, "lock"),
        ("state.lock", "flock", WARNING, "lock"),
    ] {
        let before = fs::read_to_string(state).unwrap();
        let Some(result) = run_with_io_error(&dir, file, call, CHECK, &args) else { return };
        assert_invariants(CHECK, &dir, &result, 10);
        let problem =
            format!("Cannot {action} the state file {state}: Input/output error (os error 5).");
        assert_eq!(result.stdout.lines().nth(1), Some(&*problem), "{file} {call}: {result:?}");
        assert_eq!(result.code_and_status(), answer, "{file} {call}");
        assert_eq!(fs::read_to_string(state).unwrap(), before, "{file} {call}");
    }
    let path = fs::canonicalize(dir.path("disk")).unwrap().join("log");
    let path = path.to_str().unwrap();
    let args = ["--input", "listing", "--consecutive", "1", "--log", path];
    for (file, call, action) in
        [("", "?open,openat#1", "open"), ("log", "pread64", "read"), ("log", "write", "write")]
    {
        let Some(result) = run_with_io_error(&dir, file, call, LOG, &args) else { return };
        assert_invariants(LOG, &dir, &result, 10);
        assert_log_error(
            &result,
            &format!("cannot {action} the log {path}: Input/output error (os error 5)"),
        );
    }
    assert_unchanged(&dir);
}

/// The directory exists at the start of the run and is removed before it is used.
#[test]
fn directory_removed_during_run_is_reported() {
    let dir = test_dir();
    let args = ["--input", "-", "--state-file", "disk/state"];
    let mut running = RunningCommand::start(dir.command(&args).stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    fs::remove_dir(dir.path("disk")).unwrap();
    std::io::Write::write_all(&mut stdin, &fs::read(dir.path("listing")).unwrap()).unwrap();
    drop(stdin);
    let result = running.wait();
    assert_invariants(CHECK, &dir, &result, 10);
    let gone = "Cannot lock the state file disk/state: No such file or directory (os error 2).";
    assert_reported(&result, WARNING, gone);

    fs::create_dir(dir.path("disk")).unwrap();
    let lock = File::create(dir.path("disk/state.lock")).unwrap();
    lock.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
    lock.lock().unwrap();
    let args = ["--input", "listing", "--state-file", "disk/state"];
    let running = RunningCommand::start(&mut dir.command(&args));
    wait_until(|| running.has_open(&dir.path("disk/state.lock")));
    fs::remove_dir_all(dir.path("disk")).unwrap();
    drop(lock);
    let result = running.wait();
    assert_invariants(CHECK, &dir, &result, 10);
    assert_reported(&result, WARNING, gone);
}

/// Special files are left unchanged, and opening them does not block.
#[test]
fn special_files_in_place_of_files_are_rejected() {
    for (name, kind) in
        [("pipe", "pipe"), ("null", "device"), ("socket", "socket"), ("directory", "directory")]
    {
        let dir = test_dir();
        let make = |path: &str| {
            let path = dir.path(path);
            let mode = Mode::from_raw_mode(0o600);
            match name {
                "pipe" => mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap(),
                "null" => {
                    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 3)).unwrap();
                }
                "socket" => drop(UnixListener::bind(path).unwrap()),
                _ => fs::create_dir(path).unwrap(),
            }
        };
        make("disk/state");
        make("disk/log");
        let result = check(&dir);
        let problem = match name {
            "socket" => {
                "Cannot read the state file disk/state: No such device or address (os error 6)."
            }
            _ => "Cannot trust disk/state: it is not a regular file.",
        };
        assert_reported(&result, WARNING, problem);
        let kind = if kind == "directory" { "a directory" } else { "not a regular file" };
        assert_log_error(&log(&dir), &format!("cannot write the log disk/log: it is {kind}"));
        // The same in place of the lock.
        let dir = super::disk::test_dir();
        let make = |path: &str| {
            mknodat(CWD, dir.path(path), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        };
        make("disk/state.lock").unwrap();
        assert_reported(
            &check(&dir),
            WARNING,
            "Cannot trust disk/state.lock: it is not a regular file.",
        );
    }
}
