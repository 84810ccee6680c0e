//! What a person sees: on a pseudoterminal.
use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::fd::OwnedFd,
    process::Stdio,
    thread,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use snapbox::{Assert, Data};

use crate::support::{LOG, Room, file};

/// Runs the log with what `to` shows of it on a terminal of so many columns;
/// gives what was written to that.
fn screen(room: &Room, args: &[&str], columns: u16, locale: &str) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave: OwnedFd = OpenOptions::new().read(true).write(true).open(name).unwrap().into();
    let mut command = room.program(LOG, args);
    command.env("TZ", "UTC").env("LANG", locale);
    command.stdout(Stdio::from(slave.try_clone().unwrap())).stderr(Stdio::from(slave));
    let reader = thread::spawn(move || {
        let mut seen = Vec::new();
        // The end of a terminal is an error.
        let _ = File::from(master).read_to_end(&mut seen);
        seen
    });
    let mut child = command.spawn().unwrap();
    // It has the terminal's other end open too.
    drop(command);
    assert!(child.wait().unwrap().success());
    String::from_utf8(reader.join().unwrap()).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_report_with_bars() {
    let room = Room::new();
    let mut log = String::new();
    for (n, (address, peak)) in
        [("203.0.113.7", 480), ("203.0.113.8", 152), ("198.51.100.20", 40), ("2001:db8::7", 11)]
            .iter()
            .enumerate()
    {
        for minute in 0..(40 >> n) {
            log += &format!(
                "2026-11-{}T10:{minute:02}:00Z - {} connections from {address}\n",
                n + 10,
                peak - minute / 10
            );
        }
    }
    room.write("log", log);
    let mut seen = String::new();
    for (columns, locale) in [(100, "en_US.UTF-8"), (80, "C"), (70, "C.UTF-8"), (0, "C.UTF-8")] {
        seen += &format!("== {columns} columns, {locale}\n");
        seen += &screen(&room, &["report", "--log", "log"], columns, locale);
    }
    let golden = file("golden/log-screen.txt");
    Assert::new().action_env("SNAPSHOTS").eq(seen, Data::read_from(&golden, None));
}

#[test]
fn a_long_log_says_how_far_it_is_and_leaves_nothing_behind() {
    let room = Room::new();
    let line = "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7\n";
    fs::write(room.path("log"), line.repeat(2_000_000)).unwrap();
    let seen = screen(&room, &["report", "--log", "log"], 80, "C");
    let (bar, table) = seen.rsplit_once('\r').expect("a bar");
    assert!(bar.starts_with("\r[") && bar.contains(" % of 114 MiB\x1b[K"), "{bar}");
    assert!(table.starts_with("\x1b[K ALERTS"), "{table}");
    // Where nobody looks, there is none.
    let ran = room.log(&["report", "--log", "log"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
}
