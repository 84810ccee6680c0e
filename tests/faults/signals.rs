//! Signals to a run that is blocked in a stage: it reports the signal and leaves nothing
//! behind.
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

use crate::support::{CHECK, CommandResult, LOG, MUNIN, TestDir, crowd, run};

use super::invariants::{RunningCommand, assert_invariants, assert_no_leftovers, wait_until};

/// Signals that end a run.
const TERMINATION_SIGNALS: [(Signal, &str); 5] = [
    (Signal::TERM, "SIGTERM"),
    (Signal::INT, "SIGINT"),
    (Signal::HUP, "SIGHUP"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ALARM, "SIGALRM"),
];

const HINT: &str = "If the monitoring system ended the run, set --timeout below its timeout.\n";
/// Timeout for the invariants: a signal ends a run immediately.
const NO_TIMEOUT: u64 = 0;

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152)])
}

/// Creates a FIFO.
fn create_fifo(dir: &TestDir, name: &str) {
    mknodat(CWD, dir.path(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// Waits until a process reads the FIFO, and returns its write end.
fn open_when_read(dir: &TestDir, name: &str) -> File {
    let mut opened = None;
    wait_until(|| {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        opened = OpenOptions::new().write(true).custom_flags(flags).open(dir.path(name)).ok();
        opened.is_some()
    });
    opened.unwrap()
}

/// Returns a command that samples a FIFO.
fn sampling_command(dir: &TestDir, program: &str) -> Command {
    match program {
        MUNIN => {
            let mut command = dir.program(MUNIN, &["fetch"]);
            command.env("input", "pipe");
            command
        }
        _ => dir.program(program, &["--input", "pipe", "--state-file", "state"]),
    }
}

fn expected_output(program: &str, activity: &str, signal: &str) -> CommandResult {
    let problem = format!("ended by {signal} while {activity}\n{HINT}");
    let result = |stdout: &str, stderr: String, code| CommandResult {
        stdout: stdout.to_owned(),
        stderr,
        code: Some(code),
        elapsed: Duration::ZERO,
    };
    match program {
        CHECK => result(&format!("TOPIP UNKNOWN - {problem}"), String::new(), 3),
        LOG => result("", format!("topip_log: {problem}"), 1),
        _ => result(
            &format!(
                "connections_max.value U\n\
                 connections_max.extinfo ended by {signal} while {activity}\n\
                 connections_avg.value U\nconnections_stddev.value U\n\
                 connections_limit.value U\n"
            ),
            problem.replace("--timeout", "env.timeout"),
            1,
        ),
    }
}

#[track_caller]
fn assert_same_output(result: &CommandResult, expected: &CommandResult) {
    assert_eq!(
        (&*result.stdout, &*result.stderr, result.code),
        (&*expected.stdout, &*expected.stderr, expected.code)
    );
}

/// Without a sample, nothing is saved and no alert is sent.
#[test]
fn signal_while_sampling_is_reported() {
    thread::scope(|scope| {
        for program in [CHECK, MUNIN, LOG] {
            for (signal, name) in TERMINATION_SIGNALS {
                scope.spawn(move || {
                    let dir = TestDir::new();
                    create_fifo(&dir, "pipe");
                    let mut running = RunningCommand::start(&mut sampling_command(&dir, program));
                    let _writer = open_when_read(&dir, "pipe");
                    running.send_signal(signal);
                    let result = running.wait();
                    assert_same_output(&result, &expected_output(program, "reading pipe", name));
                    assert_invariants(program, &dir, &result, NO_TIMEOUT);
                    assert!(!dir.path("state").exists());
                });
            }
        }
    });
}

/// Ends runs that wait for the lock of `locked_file`, and calls `after` on their directory.
fn signal_while_locked(activity: &str, locked_file: &str, args: &[&str], after: fn(&TestDir)) {
    thread::scope(|scope| {
        for program in [CHECK, LOG] {
            for (signal, name) in TERMINATION_SIGNALS {
                scope.spawn(move || {
                    let dir = TestDir::new();
                    dir.write("pipe", flood());
                    let lock = File::create(dir.path(locked_file)).unwrap();
                    lock.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
                    lock.lock().unwrap();
                    let mut running =
                        RunningCommand::start(sampling_command(&dir, program).args(args));
                    wait_until(|| running.has_open(&dir.path(locked_file)));
                    running.send_signal(signal);
                    let result = running.wait();
                    assert_same_output(&result, &expected_output(program, activity, name));
                    assert_invariants(program, &dir, &result, NO_TIMEOUT);
                    after(&dir);
                });
            }
        }
    });
}

#[test]
fn signal_while_waiting_for_state_is_reported() {
    signal_while_locked("waiting for the state file", "state.lock", &[], |dir| {
        assert!(!dir.path("state").exists());
    });
}

/// The sample is saved and logged by then; the mail waits for the lock of another run.
#[test]
fn signal_while_notifying_is_reported() {
    signal_while_locked(
        "sending notifications",
        "state.mail.lock",
        &["--consecutive", "1", "--log", "log", "-a", "topip@web1.example,ops@web1.example"],
        |dir| {
            assert_eq!(fs::read_to_string(dir.path("log")).unwrap().lines().count(), 1);
            let state = fs::read_to_string(dir.path("state")).unwrap();
            assert!(state.contains("consecutive: 1"), "{state}");
        },
    );
}

/// Nothing reads the output, so the run ends without a message.
#[test]
fn signal_with_unread_output_ends_the_run() {
    let addresses: Vec<_> = (0..3000).map(|n| format!("198.51.{}.{}", n / 250, n % 250)).collect();
    let counts: Vec<_> = addresses.iter().map(|address| (address.as_str(), 1)).collect();
    let listing = crate::support::listing(&counts);
    thread::scope(|scope| {
        for (program, exit_code) in [(CHECK, 3), (LOG, 1)] {
            for (signal, _) in TERMINATION_SIGNALS {
                let listing = &listing;
                scope.spawn(move || {
                    let dir = TestDir::new();
                    dir.write("pipe", listing);
                    let mut running =
                        RunningCommand::start(sampling_command(&dir, program).arg("-vvv"));
                    let stdout = running.child.stdout.as_ref().unwrap();
                    // Wait until the pipe is full.
                    wait_until(|| rustix::io::ioctl_fionread(stdout).unwrap() >= 65536);
                    running.send_signal(signal);
                    let reader = running.child.stdout.take();
                    let result = running.wait();
                    drop(reader);
                    assert_eq!(result.code, Some(exit_code));
                    assert!(result.elapsed.as_millis() < 1500, "{:?}", result.elapsed);
                    assert_no_leftovers(&dir);
                });
            }
        }
    });
}

/// Signals that the parent process ignores stay ignored: SIGPIPE, SIGHUP (`nohup`) and SIGINT.
#[test]
fn ignored_signals_stay_ignored() {
    for (ignored, signal) in [("PIPE", Signal::PIPE), ("HUP", Signal::HUP), ("INT", Signal::INT)] {
        let dir = TestDir::new();
        create_fifo(&dir, "pipe");
        let script = format!("trap '' {ignored}; exec \"$0\" \"$@\"");
        let args = ["-c", &script, CHECK, "--input", "pipe", "--state-file", "state"];
        let mut running = RunningCommand::start(&mut dir.program("sh", &args));
        let mut writer = open_when_read(&dir, "pipe");
        running.send_signal(signal);
        // Longer than a run takes to react to a signal.
        let deadline = Instant::now() + Duration::from_millis(200);
        while Instant::now() < deadline {
            assert!(running.child.try_wait().unwrap().is_none(), "{ignored}");
            thread::sleep(Duration::from_millis(10));
        }
        writer.write_all(flood().as_bytes()).unwrap();
        drop(writer);
        let result = running.wait();
        assert_eq!(result.code, Some(1), "{result:?}");
        assert_invariants(CHECK, &dir, &result, 10);
    }
}

/// A sendmail process must not deliver a mail after the run has ended.
#[cfg(feature = "mail")]
#[test]
fn sendmail_ends_with_the_run() {
    let dir = TestDir::new();
    dir.write("pipe", flood());
    let script =
        "#!/bin/sh\ngrep SigBlk /proc/self/status >held\necho $$ >started\nsleep 60 & wait\n";
    let program = dir.write("sendmail", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = sampling_command(&dir, CHECK);
    let smtp = format!("sendmail:{}", program.display());
    command.args(["--consecutive", "1", "-a", "topip@web1.example,ops@web1.example"]);
    command.args(["--smtp", &smtp]).env("PATH", "/usr/bin:/bin");
    let mut running = RunningCommand::start(&mut command);
    wait_until(|| fs::read_to_string(dir.path("started")).is_ok_and(|it| it.ends_with('\n')));
    running.send_signal(Signal::TERM);
    let result = running.wait();
    assert_same_output(&result, &expected_output(CHECK, "sending notifications", "SIGTERM"));
    assert_invariants(CHECK, &dir, &result, NO_TIMEOUT);
    // Signals that are blocked in the run are not blocked in sendmail.
    let blocked_signals = fs::read_to_string(dir.path("held")).unwrap();
    assert_eq!(blocked_signals, "SigBlk:\t0000000000000000\n");
    // The mail is not recorded as sent, so it is still due.
    let state = fs::read_to_string(dir.path("state")).unwrap();
    assert!(state.contains("consecutive: 1") && !state.contains("sent_mails: [("), "{state}");
}

/// A watch ends by a signal even if nothing reads its output.
#[test]
fn unread_watch_ends_on_signal() {
    for (signal, _) in TERMINATION_SIGNALS {
        let dir = TestDir::new();
        dir.write("listing", flood());
        let args = ["watch", "1", "--input", "listing"];
        let mut command = dir.program(LOG, &args);
        let (reader, mut writer) = std::io::pipe().unwrap();
        // Fill the pipe.
        writer.write_all(&[b'\n'; 65536]).unwrap();
        let mut running = RunningCommand::from_child(command.stdout(writer).spawn().unwrap());
        wait_until(|| waits_in(&running.child, "pipe_write"));
        running.send_signal(signal);
        let result = running.wait();
        drop(reader);
        assert_eq!(result.code, Some(0));
        assert!(result.elapsed < Duration::from_secs(2), "{result:?}");
        assert_no_leftovers(&dir);
    }
}

/// Returns whether a thread of a process waits in this kernel function.
fn waits_in(child: &std::process::Child, wait_channel: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let mut wait_channels =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("wchan")).ok());
    wait_channels.any(|it| it.contains(wait_channel))
}

#[test]
fn waiting_report_ends_on_signal() {
    let dir = TestDir::new();
    create_fifo(&dir, "pipe");
    for (signal, name) in TERMINATION_SIGNALS {
        let args = ["report", "--log", "-"];
        let mut command = dir.program(LOG, &args);
        let mut running = RunningCommand::start(command.stdin(Stdio::piped()));
        let mut stdin = running.child.stdin.take().unwrap();
        // It has read the first line and waits for the next.
        stdin.write_all(b"Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7\n").unwrap();
        wait_until(|| rustix::io::ioctl_fionread(&stdin).unwrap() == 0);
        running.send_signal(signal);
        let result = running.wait();
        drop(stdin);
        assert_same_output(&result, &expected_output(LOG, "reading the log", name));
        assert_invariants(LOG, &dir, &result, NO_TIMEOUT);
    }
}

/// Most runs end before they check for a signal.
#[test]
fn signal_at_any_moment_leaves_complete_output_or_none() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let args = ["--input", "listing", "--state-file", "state"];
    let mut answers = 0;
    let elapsed = run(&mut dir.command(&args)).elapsed.as_micros() as u64;
    let mut dice = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    for _ in 0..200 {
        let mut running = RunningCommand::start(&mut dir.command(&args));
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_micros((dice >> 33) % elapsed);
        thread::sleep(moment);
        running.send_signal(Signal::TERM);
        let result = running.wait();
        // The signal may arrive before main, and its default action ends the process.
        if result.code.is_some() {
            answers += 1;
            assert_invariants(CHECK, &dir, &result, 10);
        }
    }
    assert!(answers > 0, "none of 200 runs wrote output");
}

/// After an interrupted password prompt, the terminal echoes again.
#[cfg(feature = "ssh")]
#[test]
fn interrupted_password_prompt_restores_terminal() {
    use crate::support::sshd::{SshFixture, is_possible};
    use std::io::Read;

    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "PasswordAuthentication yes");
    let (name, address) = (&fixture.account.name, fixture.server.address());
    let (host, port) = address.split_once(':').unwrap();
    let question = format!("Password of {name} on [{host}]:{port}: ");
    for name in ["SIGINT", "SIGTERM", "SIGHUP"] {
        let line = format!(
            "stty -a >before; sh -c 'echo $$ >pid; exec \"$0\" \"$@\"' {CHECK} -s {}@{} \
             --known-hosts known_hosts --state-file state -t 20; echo \"exit code $?\"; \
             stty -a >after",
            fixture.account.name,
            fixture.server.address()
        );
        // script(1) provides a terminal.
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("SSH_AUTH_SOCK", "").env("SHELL", "/bin/sh");
        command.current_dir(fixture.dir.path(".")).stdin(Stdio::piped());
        let mut running = RunningCommand::start(&mut command);
        let mut output = running.child.stdout.take().unwrap();
        let (mut terminal_output, mut byte) = (Vec::new(), [0]);
        while !String::from_utf8_lossy(&terminal_output).contains(&question) {
            assert_eq!(
                output.read(&mut byte).unwrap(),
                1,
                "{}",
                String::from_utf8_lossy(&terminal_output)
            );
            terminal_output.push(byte[0]);
        }
        let mut stdin = running.child.stdin.take().unwrap();
        let pid = fs::read_to_string(fixture.dir.path("pid")).unwrap();
        if name == "SIGINT" {
            // Ctrl-C. The password prompt reads it as a character and raises the signal.
            // Before that, it would also end the surrounding shell.
            wait_until(|| is_raw_terminal(pid.trim()));
            stdin.write_all(b"\x03").unwrap();
        } else {
            let status = Command::new("kill").args(["-s", &name[3..], pid.trim()]).status();
            assert!(status.unwrap().success());
        }
        output.read_to_end(&mut terminal_output).unwrap();
        running.wait();
        let terminal_output = String::from_utf8_lossy(&terminal_output);
        let message = format!("TOPIP UNKNOWN - ended by {name} while reading the socket table\r\n");
        assert!(
            terminal_output.contains(&message) && terminal_output.ends_with("exit code 3\r\n"),
            "{terminal_output}"
        );
        let settings = |name| fs::read_to_string(fixture.dir.path(name)).unwrap();
        assert_eq!(settings("after"), settings("before"));
        assert!(settings("before").contains(" echo "), "{}", settings("before"));
    }
}

/// A run without a prompt does not change terminal settings: that would stop a background
/// process.
#[test]
fn background_run_is_not_stopped_by_terminal() {
    let dir = TestDir::new();
    dir.write("listing", crate::support::listing(&[("203.0.113.7", 2)]));
    dir.write("log", "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7\n");
    let check = format!("{CHECK} --input listing --state-file state --no-default-excludes");
    for (program, code) in [(check, 0), (format!("{LOG} report --log log"), 0)] {
        let line = format!("set -m; {program} >answer & wait $!; echo \"exit code $?\"");
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "20", "script", "-qec", &line, "/dev/null"]);
        let result =
            run(command.env("SHELL", "/bin/sh").current_dir(dir.path(".")).stdin(Stdio::piped()));
        assert!(result.stdout.contains(&format!("exit code {code}\r\n")), "{result:?}");
        assert!(fs::read_to_string(dir.path("answer")).unwrap().contains("203.0.113.7"));
    }
}

/// Returns whether the terminal of a process does not generate signals.
#[cfg(feature = "ssh")]
fn is_raw_terminal(pid: &str) -> bool {
    let stty = Command::new("stty").arg("-a").arg("-F").arg(format!("/proc/{pid}/fd/0")).output();
    String::from_utf8(stty.unwrap().stdout).unwrap().contains("-isig")
}
