//! Disks that are full, shut, broken or gone, and what stands where a file
//! should: the verdict is given, the old record stays, and it is said why.
use std::{
    fs::{self, File},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Command, Stdio},
};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::support::{CHECK, LOG, Ran, Room, crowd, run, skip};

use super::invariants::{Running, kept, until};

const WARNING: &str =
    "1 TOPIP WARNING - 203.0.113.7 has 152 connections, over 131.36 (5 x stddev 26.27)";
const CRITICAL: &str = "2 TOPIP CRITICAL - 203.0.113.7 has 152 connections, over 131.36 (5 x stddev 26.27) in 2 samples";

/// A room with a listing that alerts, and a folder for a disk.
fn room() -> Room {
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    fs::create_dir(room.path("disk")).unwrap();
    room
}

fn check(room: &Room) -> Ran {
    let ran = room.check(&["--input", "listing", "--state-file", "disk/state"]);
    kept(CHECK, room, &ran, 10);
    ran
}

fn log(room: &Room) -> Ran {
    let args = ["--input", "listing", "--consecutive", "1", "--log", "disk/log"];
    let ran = room.log(&args);
    kept(LOG, room, &ran, 10);
    ran
}

#[track_caller]
fn told(ran: &Ran, answer: &str, problem: &str) {
    assert_eq!(ran.answer(), answer, "{ran:?}");
    assert_eq!(ran.stdout.lines().nth(1), Some(problem), "{ran:?}");
}

#[track_caller]
fn complained(ran: &Ran, problem: &str) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.stderr.lines().next(), Some(&*format!("topip_log: {problem}")), "{ran:?}");
}

/// A file system that is mounted on the folder for it.
struct Disk<'a> {
    room: &'a Room,
    at: &'a str,
}

impl<'a> Disk<'a> {
    /// Mounts it, where that is allowed.
    fn mount(room: &'a Room, args: &[&str]) -> Option<Self> {
        let mount = Command::new("mount").args(args).arg(room.path("disk")).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self { room, at: "disk" }),
            output => {
                skip(&format!("the right to mount ({output:?})"));
                None
            }
        }
    }

    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        let path = self.room.path(self.at);
        let status = Command::new("mount").args(["-o", &options]).arg(path).status();
        assert!(status.unwrap().success(), "{option}");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Whoever has just been there may still be about to leave.
        until(|| {
            let mut umount = Command::new("umount");
            let output = umount.arg("-q").arg(self.room.path(self.at)).output();
            output.unwrap().status.success()
        });
    }
}

/// Whether there is still what there was: the next sample is the second one.
#[track_caller]
fn is_as_before(room: &Room) {
    assert_eq!(check(room).answer(), CRITICAL);
    let text = fs::read_to_string(room.path("disk/log")).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(log(room).code, Some(0));
}

#[test]
fn a_disk_that_may_not_be_written() {
    let room = room();
    let Some(disk) = Disk::mount(&room, &["-t", "tmpfs", "none"]) else { return };
    assert_eq!(check(&room).answer(), WARNING);
    assert_eq!(log(&room).code, Some(0));
    disk.remount("ro");
    told(
        &check(&room),
        WARNING,
        "Cannot lock the state file disk/state: Read-only file system (os error 30).",
    );
    complained(&log(&room), "cannot open the log disk/log: Read-only file system (os error 30)");
    disk.remount("rw");
    is_as_before(&room);
}

#[test]
fn a_disk_that_has_no_room_for_another_file() {
    let room = room();
    // The folder itself, the state file, its lock, the log, and one more.
    let Some(disk) = Disk::mount(&room, &["-t", "tmpfs", "-o", "nr_inodes=5", "none"]) else {
        return;
    };
    assert_eq!(check(&room).answer(), WARNING);
    assert_eq!(log(&room).code, Some(0));
    File::create(room.path("disk/filler")).unwrap();
    told(
        &check(&room),
        CRITICAL,
        "Cannot write the state file disk/state: No space left on device (os error 28).",
    );
    fs::remove_file(room.path("disk/filler")).unwrap();
    is_as_before(&room);
    for name in ["state", "state.lock", "log"] {
        fs::remove_file(room.path("disk").join(name)).unwrap();
    }
    for name in ["a", "b", "c", "d"] {
        File::create(room.path("disk").join(name)).unwrap();
    }
    told(
        &check(&room),
        WARNING,
        "Cannot lock the state file disk/state: No space left on device (os error 28).",
    );
    complained(&log(&room), "cannot open the log disk/log: No space left on device (os error 28)");
    drop(disk);
}

/// By btrfs, whose quotas need nothing of the kernel that is not in any.
#[test]
fn a_disk_on_which_one_may_have_so_much() {
    let room = room();
    let image = room.write("image", "");
    File::options().write(true).open(&image).unwrap().set_len(120 << 20).unwrap();
    let image = image.to_str().unwrap();
    let do_run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(room.path(".")).output();
        assert!(
            output.as_ref().is_ok_and(|it| it.status.success()),
            "{program} {args:?}: {output:?}"
        );
    };
    do_run("mkfs.btrfs", &["-q", image]);
    let Some(mut whole) = Disk::mount(&room, &["-o", "loop", image]) else { return };
    do_run("btrfs", &["quota", "enable", "disk"]);
    do_run("btrfs", &["subvolume", "create", "disk/part"]);
    do_run("mkdir", &["whole"]);
    do_run("mount", &["--move", "disk", "whole"]);
    // Mounted once more, where only what is to be limited is seen.
    whole.at = "whole";
    let part = room.path("whole/part");
    let disk = Disk::mount(&room, &["--bind", part.to_str().unwrap()]).unwrap();
    assert_eq!(check(&room).answer(), WARNING);
    assert_eq!(log(&room).code, Some(0));
    do_run("sync", &["-f", "disk"]);
    // Less than is there.
    let id = "0/256";
    do_run("btrfs", &["qgroup", "limit", "4k", id, "whole"]);
    told(
        &check(&room),
        CRITICAL,
        "Cannot write the state file disk/state: Disk quota exceeded (os error 122).",
    );
    do_run("btrfs", &["qgroup", "limit", "none", id, "whole"]);
    is_as_before(&room);
    drop(disk);
    drop(whole);
}

#[test]
fn a_log_that_may_not_grow_is_said() {
    let room = room();
    let line = "ulimit -f 0; exec \"$0\" --input listing --consecutive 1 --log log";
    let ran = run(&mut room.program("sh", &["-c", line, LOG]));
    kept(LOG, &room, &ran, 10);
    let problem = "topip_log: cannot write the log log: File too large (os error 27)\n";
    assert!(ran.stderr.contains(problem), "{ran:?}");
    // Printed all the same.
    assert!(ran.stdout.ends_with(" - 152 connections from 203.0.113.7 on input\n"), "{ran:?}");
    assert_eq!(fs::read_to_string(room.path("log")).unwrap(), "");
}

/// Runs a program whose calls on one file fail with EIO; or on the folder, for what is
/// called by a name in it, the one of that number.
fn broken(room: &Room, file: &str, call: &str, program: &str, args: &[&str]) -> Option<Ran> {
    let folder = fs::canonicalize(room.path("disk")).unwrap();
    let file = if file.is_empty() { folder } else { folder.join(file) };
    let (call, when) = call.split_once('#').unwrap_or((call, "1+"));
    let inject = format!("inject={call}:error=EIO:when={when}");
    let mut strace = room.program("strace", &["-f", "-qqq", "-o", "/dev/null", "-P"]);
    strace.arg(file).args(["-e", &inject, program]).args(args).env("PATH", "/usr/bin:/bin");
    if Command::new("strace").arg("-V").output().is_err() {
        skip("strace");
        return None;
    }
    Some(run(&mut strace))
}

#[test]
fn a_disk_that_is_broken() {
    let room = room();
    let state = fs::canonicalize(room.path("disk")).unwrap().join("state");
    let state = state.to_str().unwrap();
    assert_eq!(check(&room).answer(), WARNING);
    assert_eq!(log(&room).code, Some(0));
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
        let Some(ran) = broken(&room, file, call, CHECK, &args) else { return };
        kept(CHECK, &room, &ran, 10);
        let problem =
            format!("Cannot {action} the state file {state}: Input/output error (os error 5).");
        assert_eq!(ran.stdout.lines().nth(1), Some(&*problem), "{file} {call}: {ran:?}");
        assert_eq!(ran.answer(), answer, "{file} {call}");
        assert_eq!(fs::read_to_string(state).unwrap(), before, "{file} {call}");
    }
    let path = fs::canonicalize(room.path("disk")).unwrap().join("log");
    let path = path.to_str().unwrap();
    let args = ["--input", "listing", "--consecutive", "1", "--log", path];
    for (file, call, action) in [
        ("", "?open,openat#1", "open"),
        ("log", "flock", "lock"),
        ("log", "pread64", "read"),
        ("log", "write", "write"),
    ] {
        let Some(ran) = broken(&room, file, call, LOG, &args) else { return };
        kept(LOG, &room, &ran, 10);
        complained(
            &ran,
            &format!("cannot {action} the log {path}: Input/output error (os error 5)"),
        );
    }
    is_as_before(&room);
}

/// The folder is there when a run begins, and is not when it comes to it.
#[test]
fn a_folder_that_goes_while_a_run_looks() {
    let room = room();
    let args = ["--input", "-", "--state-file", "disk/state"];
    let mut running = Running::start(room.command(&args).stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    fs::remove_dir(room.path("disk")).unwrap();
    std::io::Write::write_all(&mut stdin, &fs::read(room.path("listing")).unwrap()).unwrap();
    drop(stdin);
    let ran = running.end();
    kept(CHECK, &room, &ran, 10);
    let gone = "Cannot lock the state file disk/state: No such file or directory (os error 2).";
    told(&ran, WARNING, gone);

    fs::create_dir(room.path("disk")).unwrap();
    let lock = File::create(room.path("disk/state.lock")).unwrap();
    lock.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
    lock.lock().unwrap();
    let args = ["--input", "listing", "--state-file", "disk/state"];
    let running = Running::start(&mut room.command(&args));
    until(|| running.has_open(&room.path("disk/state.lock")));
    fs::remove_dir_all(room.path("disk")).unwrap();
    drop(lock);
    let ran = running.end();
    kept(CHECK, &room, &ran, 10);
    told(&ran, WARNING, gone);
}

/// What is no file is left as it is, and nobody waits for its other end.
#[test]
fn what_stands_where_a_file_should() {
    for (name, what) in
        [("pipe", "pipe"), ("null", "device"), ("socket", "socket"), ("folder", "folder")]
    {
        let room = room();
        let make = |path: &str| {
            let path = room.path(path);
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
        let ran = check(&room);
        let problem = match name {
            "socket" => {
                "Cannot read the state file disk/state: No such device or address (os error 6)."
            }
            _ => "Cannot trust disk/state: it is not a regular file.",
        };
        told(&ran, WARNING, problem);
        let what = if what == "folder" { "a folder" } else { "no regular file" };
        complained(&log(&room), &format!("cannot write the log disk/log: it is {what}"));
        // So with what the lock should be.
        let room = super::disk::room();
        let make = |path: &str| {
            mknodat(CWD, room.path(path), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        };
        make("disk/state.lock").unwrap();
        told(&check(&room), WARNING, "Cannot trust disk/state.lock: it is not a regular file.");
    }
}
