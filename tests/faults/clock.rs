//! Clocks that jump: nothing that lies in the future is believed, nothing is in
//! a row that is not, and no age is what it cannot be. The clock that is set is
//! libfaketime's, in front of the one of the system.
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::support::{CHECK, Ran, Room, crowd, faketime, skip};

use super::invariants::{Running, kept};

/// Where the library is that shows another time; `None` where it is not.
fn library() -> Option<String> {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    let library = libraries.find(|library| library.exists());
    if library.is_none() {
        skip("faketime");
    }
    faketime::clear();
    library.map(|library| library.to_str().unwrap().to_owned())
}

fn command(room: &Room, library: &str, args: &[&str]) -> Command {
    let mut command = room.command(&[&["--state-file", "state", "-v"], args].concat());
    // The time that passes is another clock's, and nobody sets that.
    command.env("LD_PRELOAD", library).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[track_caller]
fn sane(ran: &Ran) {
    for word in ran.stdout.split_whitespace() {
        // No age is below zero, or 2^64 less a few seconds.
        let is_sane = |number: f64| (0.0..1e11).contains(&number);
        assert!(word.parse().map_or(true, is_sane), "{word}: {ran:?}");
    }
}

/// A sample is of the row where the one before it is at most an hour older, by
/// the clock that there was at either; and of none where it is not.
#[test]
fn a_clock_that_jumps_back_and_forth_makes_no_row() {
    const YEAR: i64 = 365 * 86400;
    let Some(library) = library() else { return };
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let jumps = [
        0,
        600,
        0,
        0,
        1200,
        -1200,
        -1100,
        7200,
        7300,
        0,
        -7200,
        0,
        300,
        YEAR,
        0,
        -YEAR,
        -YEAR,
        80 * YEAR,
        0,
        -55 * YEAR,
        0,
        2 * YEAR,
        2 * YEAR,
        0,
        0,
    ];
    let mut previous: Option<(i64, u32)> = None;
    for jump in jumps {
        let ran = {
            let mut command = command(&room, &library, &["--input", "listing"]);
            command.env("FAKETIME", format!("{jump:+}s"));
            Running::start(&mut command).end()
        };
        kept(CHECK, &room, &ran, 10);
        sane(&ran);
        let row = match previous {
            Some((before, row)) if (0..3500).contains(&(jump - before)) => row + 1,
            _ => 1,
        };
        let in_row = format!(" in {row} samples");
        let status = if row > 1 { "CRITICAL" } else { "WARNING" };
        let line = ran.line();
        assert!(line.starts_with(&format!("TOPIP {status} - ")), "{previous:?} {jump}: {ran:?}");
        assert_eq!(line.ends_with(&in_row), row > 1, "{previous:?} {jump}: {line}");
        let is_told = ran.stdout.contains(" in the future, and does not count.");
        assert_eq!(is_told, previous.is_some_and(|(before, _)| before > jump), "{ran:?}");
        previous = Some((jump, row));
    }
}

/// The clock is set while a run looks: the sample is of the time that it would
/// have been, and the next one is not misled.
#[test]
fn a_clock_that_is_set_while_a_run_looks() {
    let Some(library) = library() else { return };
    for (jump, is_future) in [("-10000s", true), ("+10000s", false)] {
        let room = Room::new();
        let clock = room.write("clock", "+0s");
        let listing = crowd(31, &[("203.0.113.7", 152)]);
        let look = |then: &str| {
            let mut command = command(&room, &library, &["--input", "-"]);
            command.env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
            let mut running = Running::start(command.stdin(Stdio::piped()));
            let mut stdin = running.child.stdin.take().unwrap();
            stdin.write_all(listing.as_bytes()).unwrap();
            // All of that has been read, but it may go on.
            super::invariants::until(|| rustix::io::ioctl_fionread(&stdin).unwrap() == 0);
            fs::write(&clock, then).unwrap();
            drop(stdin);
            let ran = running.end();
            kept(CHECK, &room, &ran, 10);
            sane(&ran);
            ran
        };
        assert_eq!(look(jump).code, Some(1));
        let state = fs::read_to_string(room.path("state")).unwrap();
        let (_, when) = state.split_once("when: ").unwrap();
        let when: i64 = when.split(',').next().unwrap().parse().unwrap();
        assert!((now() - 30..=now()).contains(&when), "{state}");
        let ran = look(jump);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(ran.stdout.contains("in the future"), is_future, "{ran:?}");
    }
}
