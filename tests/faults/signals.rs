//! Signals, to a run that is held fast in a stage: it says what ended it, and
//! leaves nothing behind.
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, mknodat},
    process::Signal,
};

use crate::support::{CHECK, LOG, MUNIN, Ran, Room, crowd, run};

use super::invariants::{Running, kept, left_nothing, until};

/// What whoever wants a run to end may send.
const ENDING: [(Signal, &str); 5] = [
    (Signal::TERM, "SIGTERM"),
    (Signal::INT, "SIGINT"),
    (Signal::HUP, "SIGHUP"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ALARM, "SIGALRM"),
];

const WHO: &str = "Who ended it? If it was the monitoring, put --timeout below what that allows.\n";
/// How long what has begun to be written is waited for, in whole seconds.
const AT_ONCE: u64 = 0;

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152)])
}

/// Puts a pipe with a name where `path` is.
fn pipe(room: &Room, name: &str) {
    mknodat(CWD, room.path(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// Waits until somebody reads that pipe; gives the end that is written to.
fn reader_of(room: &Room, name: &str) -> File {
    let mut opened = None;
    until(|| {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        opened = OpenOptions::new().write(true).custom_flags(flags).open(room.path(name)).ok();
        opened.is_some()
    });
    opened.unwrap()
}

/// A program, and options by which it looks at a pipe.
fn looking(room: &Room, program: &str) -> Command {
    match program {
        MUNIN => {
            let mut command = room.program(MUNIN, &["fetch"]);
            command.env("input", "pipe");
            command
        }
        _ => room.program(program, &["--input", "pipe", "--state-file", "state"]),
    }
}

fn complaint(program: &str, doing: &str, signal: &str) -> Ran {
    let problem = format!("ended by {signal} while {doing}\n{WHO}");
    let ran = |stdout: &str, stderr: String, code| Ran {
        stdout: stdout.to_owned(),
        stderr,
        code: Some(code),
        took: Duration::ZERO,
    };
    match program {
        CHECK => ran(&format!("TOPIP UNKNOWN - {problem}"), String::new(), 3),
        LOG => ran("", format!("topip_log: {problem}"), 1),
        _ => ran(
            &format!(
                "connections_max.value U\n\
                 connections_max.extinfo ended by {signal} while {doing}\n\
                 connections_avg.value U\nconnections_stddev.value U\n\
                 connections_limit.value U\n"
            ),
            problem.replace("--timeout", "env.timeout"),
            1,
        ),
    }
}

#[track_caller]
fn same(ran: &Ran, expected: &Ran) {
    assert_eq!(
        (&*ran.stdout, &*ran.stderr, ran.code),
        (&*expected.stdout, &*expected.stderr, expected.code)
    );
}

/// Before there is a sample, nothing is kept, and nobody is told.
#[test]
fn a_run_that_is_ended_while_it_looks_says_so() {
    thread::scope(|scope| {
        for program in [CHECK, MUNIN, LOG] {
            for (signal, name) in ENDING {
                scope.spawn(move || {
                    let room = Room::new();
                    pipe(&room, "pipe");
                    let mut running = Running::start(&mut looking(&room, program));
                    let _writer = reader_of(&room, "pipe");
                    running.tell(signal);
                    let ran = running.end();
                    same(&ran, &complaint(program, "reading pipe", name));
                    kept(program, &room, &ran, AT_ONCE);
                    assert!(!room.path("state").exists());
                });
            }
        }
    });
}

/// Ends runs that wait for the file `held`, and asks `after` what they leave.
fn ended_while(doing: &str, held: &str, args: &[&str], after: fn(&Room)) {
    thread::scope(|scope| {
        for program in [CHECK, LOG] {
            for (signal, name) in ENDING {
                scope.spawn(move || {
                    let room = Room::new();
                    room.write("pipe", flood());
                    let lock = File::create(room.path(held)).unwrap();
                    lock.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
                    lock.lock().unwrap();
                    let mut running = Running::start(looking(&room, program).args(args));
                    until(|| running.has_open(&room.path(held)));
                    running.tell(signal);
                    let ran = running.end();
                    same(&ran, &complaint(program, doing, name));
                    kept(program, &room, &ran, AT_ONCE);
                    after(&room);
                });
            }
        }
    });
}

#[test]
fn a_run_that_is_ended_while_it_waits_for_the_state_says_so() {
    ended_while("waiting for the state file", "state.lock", &[], |room| {
        assert!(!room.path("state").exists());
    });
}

/// What was seen is on record by then, and the log is as it was.
#[test]
fn a_run_that_is_ended_while_it_tells_says_so() {
    ended_while("telling of an alert", "log", &["--consecutive", "1", "--log", "log"], |room| {
        assert_eq!(fs::read_to_string(room.path("log")).unwrap(), "");
        let state = fs::read_to_string(room.path("state")).unwrap();
        assert!(state.contains("row: 1"), "{state}");
    });
}

/// Nobody reads what it says, so that there is nobody to tell: it is just gone.
#[test]
fn a_run_that_is_ended_while_nobody_reads_is_gone() {
    let addresses: Vec<_> = (0..3000).map(|n| format!("198.51.{}.{}", n / 250, n % 250)).collect();
    let counts: Vec<_> = addresses.iter().map(|address| (address.as_str(), 1)).collect();
    let listing = crate::support::listing(&counts);
    thread::scope(|scope| {
        for (program, undelivered) in [(CHECK, 3), (LOG, 1)] {
            for (signal, _) in ENDING {
                let listing = &listing;
                scope.spawn(move || {
                    let room = Room::new();
                    room.write("pipe", listing);
                    let mut running = Running::start(looking(&room, program).arg("-vvv"));
                    let stdout = running.child.stdout.as_ref().unwrap();
                    // All that fits.
                    until(|| rustix::io::ioctl_fionread(stdout).unwrap() >= 65536);
                    running.tell(signal);
                    let reader = running.child.stdout.take();
                    let ran = running.end();
                    drop(reader);
                    assert_eq!(ran.code, Some(undelivered));
                    assert!(ran.took.as_millis() < 1500, "{:?}", ran.took);
                    left_nothing(&room);
                });
            }
        }
    });
}

/// A reader that goes away has what it wanted, and others send the signal for
/// it by hand; `nohup` asks not to be told of a terminal that is gone.
#[test]
fn signals_that_are_to_be_ignored_are() {
    for (ignored, signal) in [("PIPE", Signal::PIPE), ("HUP", Signal::HUP), ("INT", Signal::INT)] {
        let room = Room::new();
        pipe(&room, "pipe");
        let script = format!("trap '' {ignored}; exec \"$0\" \"$@\"");
        let args = ["-c", &script, CHECK, "--input", "pipe", "--state-file", "state"];
        let mut running = Running::start(&mut room.program("sh", &args));
        let mut writer = reader_of(&room, "pipe");
        running.tell(signal);
        // Longer than it takes to be looked for.
        let until = Instant::now() + Duration::from_millis(200);
        while Instant::now() < until {
            assert!(running.child.try_wait().unwrap().is_none(), "{ignored}");
            thread::sleep(Duration::from_millis(10));
        }
        writer.write_all(flood().as_bytes()).unwrap();
        drop(writer);
        let ran = running.end();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        kept(CHECK, &room, &ran, 10);
    }
}

/// Who is told to end has nobody told by a program that goes on without it.
#[cfg(feature = "mail")]
#[test]
fn a_program_that_is_given_a_mail_ends_with_the_run() {
    let room = Room::new();
    room.write("pipe", flood());
    let script =
        "#!/bin/sh\ngrep SigBlk /proc/self/status >held\necho $$ >started\nsleep 60 & wait\n";
    let program = room.write("sendmail", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = looking(&room, CHECK);
    let smtp = format!("sendmail:{}", program.display());
    command.args(["--consecutive", "1", "-a", "topip@web1.example,ops@web1.example"]);
    command.args(["--smtp", &smtp]).env("PATH", "/usr/bin:/bin");
    let mut running = Running::start(&mut command);
    until(|| fs::read_to_string(room.path("started")).is_ok_and(|it| it.ends_with('\n')));
    running.tell(Signal::TERM);
    let ran = running.end();
    same(&ran, &complaint(CHECK, "telling of an alert", "SIGTERM"));
    kept(CHECK, &room, &ran, AT_ONCE);
    // What is held back here is not held back there.
    let held = fs::read_to_string(room.path("held")).unwrap();
    assert_eq!(held, "SigBlk:\t0000000000000000\n");
    // It is not on record as mailed, and so it is still due.
    let state = fs::read_to_string(room.path("state")).unwrap();
    assert!(state.contains("row: 1") && !state.contains("mailed: [("), "{state}");
}

/// A watch ends as it should even where nobody reads what it shows.
#[test]
fn a_watch_that_nobody_reads_can_be_ended() {
    for (signal, _) in ENDING {
        let room = Room::new();
        room.write("listing", flood());
        let args = ["watch", "1", "--input", "listing"];
        let mut command = room.program(LOG, &args);
        let (reader, mut writer) = std::io::pipe().unwrap();
        // All that fits.
        writer.write_all(&[b'\n'; 65536]).unwrap();
        let mut running = Running::of(command.stdout(writer).spawn().unwrap());
        until(|| waits_in(&running.child, "pipe_write"));
        running.tell(signal);
        let ran = running.end();
        drop(reader);
        assert_eq!(ran.code, Some(0));
        assert!(ran.took < Duration::from_secs(2), "{ran:?}");
        left_nothing(&room);
    }
}

/// Whether a thread of a process waits in that place of the kernel.
fn waits_in(child: &std::process::Child, place: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let mut places =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("wchan")).ok());
    places.any(|it| it.contains(place))
}

#[test]
fn a_report_can_be_ended() {
    let room = Room::new();
    pipe(&room, "pipe");
    for (signal, name) in ENDING {
        let args = ["report", "--log", "-"];
        let mut command = room.program(LOG, &args);
        let mut running = Running::start(command.stdin(Stdio::piped()));
        let mut stdin = running.child.stdin.take().unwrap();
        // It has read the one, and waits for the next.
        stdin.write_all(b"Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7\n").unwrap();
        until(|| rustix::io::ioctl_fionread(&stdin).unwrap() == 0);
        running.tell(signal);
        let ran = running.end();
        drop(stdin);
        same(&ran, &complaint(LOG, "reading the log", name));
        kept(LOG, &room, &ran, AT_ONCE);
    }
}

/// Most runs are over before they look for a signal.
#[test]
fn a_signal_at_any_moment_leaves_a_whole_answer_or_none() {
    let room = Room::new();
    room.write("listing", flood());
    let args = ["--input", "listing", "--state-file", "state"];
    let mut answers = 0;
    let took = run(&mut room.command(&args)).took.as_micros() as u64;
    let mut dice = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    for _ in 0..200 {
        let mut running = Running::start(&mut room.command(&args));
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_micros((dice >> 33) % took);
        thread::sleep(moment);
        running.tell(Signal::TERM);
        let ran = running.end();
        // Before it was a topip at all, the system ended it.
        if ran.code.is_some() {
            answers += 1;
            kept(CHECK, &room, &ran, 10);
        }
    }
    assert!(answers > 0, "200 runs, and none came to its first line");
}

/// Whoever is asked for a password, and would rather not, has his terminal back
/// as it was: it echoes.
#[cfg(feature = "ssh")]
#[test]
fn a_person_who_interrupts_has_his_terminal_back() {
    use crate::support::sshd::{World, is_possible};
    use std::io::Read;

    if !is_possible() {
        return;
    }
    let world = World::new("/bin/sh", "PasswordAuthentication yes");
    let question = format!("Password of {} on 127.0.0.1: ", world.account.name);
    for name in ["SIGINT", "SIGTERM", "SIGHUP"] {
        let line = format!(
            "stty -a >before; sh -c 'echo $$ >pid; exec \"$0\" \"$@\"' {CHECK} -s {}@{} \
             --known-hosts known_hosts --state-file state -t 20; echo \"exit code $?\"; \
             stty -a >after",
            world.account.name,
            world.server.address()
        );
        // script(1) gives it a terminal.
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("SSH_AUTH_SOCK", "").env("SHELL", "/bin/sh");
        command.current_dir(world.room.path(".")).stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        let mut output = running.child.stdout.take().unwrap();
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !String::from_utf8_lossy(&seen).contains(&question) {
            assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        let mut stdin = running.child.stdin.take().unwrap();
        let pid = fs::read_to_string(world.room.path("pid")).unwrap();
        if name == "SIGINT" {
            // Ctrl-C. Who asks for a password takes it for a letter, and sends
            // the signal. Until he does, it ends the shell around him, too.
            until(|| takes_letters(pid.trim()));
            stdin.write_all(b"\x03").unwrap();
        } else {
            let status = Command::new("kill").args(["-s", &name[3..], pid.trim()]).status();
            assert!(status.unwrap().success());
        }
        output.read_to_end(&mut seen).unwrap();
        running.end();
        let seen = String::from_utf8_lossy(&seen);
        let told = format!("TOPIP UNKNOWN - ended by {name} while reading the socket table\r\n");
        assert!(seen.contains(&told) && seen.ends_with("exit code 3\r\n"), "{seen}");
        let settings = |name| fs::read_to_string(world.room.path(name)).unwrap();
        assert_eq!(settings("after"), settings("before"));
        assert!(settings("before").contains(" echo "), "{}", settings("before"));
    }
}

/// Who asks nobody anything leaves the terminal alone: whoever sets it from the
/// background is stopped.
#[test]
fn a_run_in_the_background_of_a_terminal_goes_on() {
    let room = Room::new();
    room.write("listing", crate::support::listing(&[("203.0.113.7", 2)]));
    room.write("log", "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7\n");
    let check = format!("{CHECK} --input listing --state-file state --no-default-excludes");
    for (program, code) in [(check, 0), (format!("{LOG} report --log log"), 0)] {
        let line = format!("set -m; {program} >answer & wait $!; echo \"exit code $?\"");
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "20", "script", "-qec", &line, "/dev/null"]);
        let ran =
            run(command.env("SHELL", "/bin/sh").current_dir(room.path(".")).stdin(Stdio::piped()));
        assert!(ran.stdout.contains(&format!("exit code {code}\r\n")), "{ran:?}");
        assert!(fs::read_to_string(room.path("answer")).unwrap().contains("203.0.113.7"));
    }
}

/// Whether the terminal of a process makes no signal of a letter.
#[cfg(feature = "ssh")]
fn takes_letters(pid: &str) -> bool {
    let stty = Command::new("stty").arg("-a").arg("-F").arg(format!("/proc/{pid}/fd/0")).output();
    String::from_utf8(stty.unwrap().stdout).unwrap().contains("-isig")
}
