//! Output on a pseudoterminal.
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::fd::OwnedFd,
    process::Stdio,
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use snapbox::{Assert, Data};

use crate::support::{LOG, TestDir, crowd, test_file};

/// Opens a pseudoterminal of this size, and returns both ends.
fn open_terminal(columns: u16, rows: u16) -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = OpenOptions::new().read(true).write(true).open(name).unwrap();
    (master, slave.into())
}

/// Runs topip_log on a terminal with `columns` columns, and returns the text that it has
/// written.
fn run_on_terminal(dir: &TestDir, args: &[&str], columns: u16, locale: &str) -> String {
    let (master, slave) = open_terminal(columns, 24);
    let mut command = dir.program(LOG, args);
    command.env("TZ", "UTC").env("LANG", locale);
    command.stdout(Stdio::from(slave.try_clone().unwrap())).stderr(Stdio::from(slave));
    let reader = thread::spawn(move || {
        let mut screen_output = Vec::new();
        // Reading fails when the other end is closed.
        let _ = File::from(master).read_to_end(&mut screen_output);
        screen_output
    });
    let mut child = command.spawn().unwrap();
    // The command keeps the other end open as well.
    drop(command);
    assert!(child.wait().unwrap().success());
    String::from_utf8(reader.join().unwrap()).unwrap().replace("\r\n", "\n")
}

#[test]
fn report_with_bars_is_golden() {
    let dir = TestDir::new();
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
    dir.write("log", log);
    let mut screen_output = String::new();
    for (columns, locale) in [(100, "en_US.UTF-8"), (90, "C"), (70, "C.UTF-8"), (0, "C.UTF-8")] {
        screen_output += &format!("== {columns} columns, {locale}\n");
        screen_output += &run_on_terminal(&dir, &["report", "--log", "log"], columns, locale);
    }
    let golden = test_file("golden/log-screen.txt");
    Assert::new().action_env("SNAPSHOTS").eq(screen_output, Data::read_from(&golden, None));
}

#[test]
fn progress_bar_is_removed_after_report() {
    let dir = TestDir::new();
    let line = "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7\n";
    fs::write(dir.path("log"), line.repeat(2_000_000)).unwrap();
    let screen_output = run_on_terminal(&dir, &["report", "--log", "log"], 90, "C");
    let (bar, table) = screen_output.rsplit_once('\r').expect("the output has a progress bar");
    assert!(bar.starts_with("\r[") && bar.contains(" % of 114 MiB\x1b[K"), "{bar}");
    assert!(table.starts_with("\x1b[K ALERTS"), "{table}");
    // Without a terminal, there is no progress bar.
    let result = dir.run_log(&["report", "--log", "log"]);
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
}

/// Returns the frames that were drawn, with inverse rows marked.
fn frames(written: &str) -> Vec<String> {
    let frame = |text: &str| {
        let text = text.replace("\x1b[7m", ">").replace("\x1b[0m", "<").replace("\x1b[K", "");
        text.split("\x1b[J").next().unwrap().replace("\r\n", "\n")
    };
    written.split("\x1b[?25l\x1b[H").skip(1).map(frame).collect()
}

/// One frame per sample, in place of the one before, until Ctrl-C.
#[test]
fn watch_on_terminal_is_golden() {
    let dir = TestDir::new();
    let quiet = crowd(3, &[("203.0.113.7", 9), ("2001:db8::7", 12)]);
    let flood = crowd(30, &[("203.0.113.7", 152), ("2001:db8::7", 4)]);
    dir.write("listing", &quiet);
    let (master, slave) = open_terminal(90, 12);
    let args = "watch 1 --input listing --label 203.0.113.0/24=office --prefix6 64";
    let mut command = dir.program(LOG, &args.split(' ').collect::<Vec<_>>());
    command.env("TZ", "UTC").env("TERM", "xterm");
    command.stdout(Stdio::from(slave.try_clone().unwrap())).stderr(Stdio::from(slave));
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut master = File::from(master);
    let mut written = String::new();
    let mut read_until = |written: &mut String, n: usize, rewrite: &str| {
        let mut bytes = [0; 4096];
        while written.matches("\x1b[J").count() < n {
            let length = master.read(&mut bytes).unwrap();
            *written += str::from_utf8(&bytes[..length]).unwrap();
        }
        // Replace the listing atomically: it may be read at any time.
        fs::write(dir.path("new"), rewrite).unwrap();
        fs::rename(dir.path("new"), dir.path("listing")).unwrap();
    };
    read_until(&mut written, 2, &flood);
    read_until(&mut written, 4, "no listing");
    read_until(&mut written, 6, &quiet);
    let child_id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(child_id, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = Vec::new();
    // Reading fails when the other end is closed.
    let _ = master.read_to_end(&mut rest);
    written += str::from_utf8(&rest).unwrap();
    assert!(written.ends_with("\x1b[?25h\r\n"), "the cursor is back: {written:?}");
    let mut frames = frames(&written);
    frames.dedup_by_key(|frame| frame.split_once('\n').unwrap().1.to_owned());
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d").unwrap();
    let screen_output = frames.join("\n====\n") + "\n";
    let screen_output = time.replace_all(&screen_output, "2026-11-22T14:30:00");
    let golden = test_file("golden/watch-screen.txt");
    Assert::new().action_env("SNAPSHOTS").eq(&*screen_output, Data::read_from(&golden, None));
}

/// Reads the terminal until `text` appears.
fn read_until_text(master: &mut File, text: &str) -> String {
    let mut screen_output = String::new();
    let mut bytes = [0; 4096];
    let time_limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    while !screen_output.contains(text) {
        let mut poll_fds = [PollFd::new(master, PollFlags::IN)];
        let n_ready = poll(&mut poll_fds, Some(&time_limit)).unwrap();
        assert!(n_ready > 0, "{text:?} does not follow in {screen_output:?}");
        let length = master.read(&mut bytes).unwrap();
        screen_output += &String::from_utf8_lossy(&bytes[..length]);
    }
    screen_output
}

/// A shell suspends and continues a watch, and `q` ends it. Each time, the cursor is
/// visible and the shell's terminal settings are as before.
#[test]
fn watch_suspended_or_quit_restores_terminal() {
    let dir = TestDir::new();
    dir.write("listing", crowd(3, &[("203.0.113.7", 9)]));
    let (master, slave) = open_terminal(90, 12);
    let mut command = dir.program("setsid", &["--ctty", "bash", "--norc", "--noediting", "-i"]);
    command.env("TERM", "xterm").env("PS1", "ready> ").env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::from(slave.try_clone().unwrap()));
    command.stdout(Stdio::from(slave.try_clone().unwrap())).stderr(Stdio::from(slave));
    let mut shell = command.spawn().unwrap();
    drop(command);
    let mut master = File::from(master);
    let settings = |master: &mut File| {
        master.write_all(b"stty -a; echo settings \"end\"\n").unwrap();
        let text = read_until_text(master, "settings end");
        let start = text.find("speed").expect("stty prints the settings");
        // The next prompt may follow in the same read.
        let end = text.find("settings end").expect("the text was waited for");
        text[start..end].to_owned()
    };
    read_until_text(&mut master, "ready> ");
    let before = settings(&mut master);

    let watch = format!("{LOG} watch 60 --input listing\n");
    master.write_all(watch.as_bytes()).unwrap();
    read_until_text(&mut master, "\x1b[J");
    master.write_all(b"\x1a").unwrap();
    let suspended = read_until_text(&mut master, "Stopped");
    assert!(suspended.contains("\x1b[?25h"), "{suspended:?}");
    assert_eq!(settings(&mut master), before);

    master.write_all(b"fg\n").unwrap();
    read_until_text(&mut master, "\x1b[J");
    master.write_all(b"q").unwrap();
    let quit = read_until_text(&mut master, "ready> ");
    assert!(quit.contains("\x1b[?25h"), "{quit:?}");
    assert_eq!(settings(&mut master), before);
    master.write_all(b"exit $?\n").unwrap();
    assert_eq!(shell.wait().unwrap().code(), Some(0));
}

/// Without a terminal, there is one line per sample; it ends when the reader is gone, and
/// by signals.
#[test]
fn watch_in_pipe_prints_a_line_per_sample() {
    let dir = TestDir::new();
    dir.write("listing", crowd(3, &[("203.0.113.7", 9)]));
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut command = dir.program(LOG, &["watch", "1", "--input", "listing"]);
        let mut child = command.stdout(Stdio::piped()).env("TZ", "UTC").spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..2 {
            let line = lines.next().unwrap().unwrap();
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(time.ends_with("+00:00"), "{line}");
            let expected = "OK - 203.0.113.7 has 9 connections, limit 21.63; \
                            12 connections from 4 addresses";
            assert_eq!(rest, expected);
        }
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?}");
    }
    let mut command = dir.program(LOG, &["watch", "1s", "--input", "listing"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0), "reader is gone");
}

#[test]
fn malformed_watch_arguments_are_rejected() {
    let dir = TestDir::new();
    for (args, problem) in [
        ("watch 0", "topip_log: cannot read SECONDS 0: not a duration from 1 second to 1 day"),
        (
            "watch soon",
            "topip_log: cannot read SECONDS soon: not a duration; write 90, 90s, 10m, 2h or 7d",
        ),
        (
            "watch --prefix4 33",
            "topip_log: cannot read --prefix4 33: not a number of bits, 1 to 32",
        ),
        ("watch -l log", "topip_log: unknown option -l"),
        ("watch --input -", "topip_log: cannot watch standard input"),
    ] {
        let result = dir.run_log(&args.split(' ').collect::<Vec<_>>());
        let line = result.stderr.lines().next().unwrap_or_default();
        assert_eq!((line, result.code), (problem, Some(2)), "{args}");
        assert_eq!(result.stdout, "");
    }
}
