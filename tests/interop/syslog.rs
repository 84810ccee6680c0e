//! Real daemons receive alerts by syslog and journald. Each runs with its own `/dev` or
//! `/run`, so that other processes do not see its socket.
use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command, time::Duration};

use crate::support::{CHECK, CommandResult, LOG, TestDir, crowd, run, skip};

/// Devices that the daemons need, and a function that waits for a socket.
const DEVICES: &str = "
    mount -t tmpfs none /dev || exit 9
    mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9; mknod -m 666 /dev/kmsg c 1 11
    wait_for() { n=0; until [ -S \"$1\" ] || [ $n -gt 200 ]; do sleep 0.05; n=$((n + 1)); done; }
    ended() { kill \"$1\"; wait \"$1\"; }
";

/// Logs an alert while a daemon runs that `script` starts and stops, in a mount namespace.
/// The script runs the program as `$@`.
fn alert_with_daemon(dir: &TestDir, script: &str, args: &[&str]) -> Option<CommandResult> {
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let script = format!("{DEVICES}{script}");
    let shell = ["-m", "sh", "-c", &script, "sh", LOG, "--input", "listing", "--consecutive", "1"];
    let mut command = dir.program("unshare", &[&shell, args].concat());
    let result = run(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
    if result.code == Some(9) || result.stderr.contains("unshare") {
        skip(&format!("permission to mount ({})", result.stderr.trim()));
        return None;
    }
    Some(result)
}

fn is_installed(program: &str) -> bool {
    let found = Command::new("which").arg(program).output().is_ok_and(|it| it.status.success());
    if !found && !Path::new(program).exists() {
        skip(program);
        return false;
    }
    true
}

/// Asserts that the packaged filter finds the alert; `options` select the format of the log.
fn assert_filter_matches(log: &Path, options: &str) {
    let filter = format!(
        "{}/packaging/fail2ban/filter.d/topip-syslog.conf{options}",
        crate::support::PACKAGE_DIR
    );
    if is_installed("fail2ban-regex") {
        let result = run(Command::new("fail2ban-regex").args(["-o", "ip"]).arg(log).arg(filter));
        assert_eq!(result.stdout, "203.0.113.7\n");
    }
}

#[test]
fn busybox_syslogd_receives_alerts() {
    let dir = TestDir::new();
    let script = "busybox syslogd -n -O messages & daemon=$!; wait_for /dev/log; \"$@\"; code=$?
        until grep -q connections messages; do sleep 0.05; done; ended $daemon; exit $code";
    if !is_installed("busybox") {
        return;
    }
    let Some(result) = alert_with_daemon(&dir, script, &["--log", "syslog"]) else { return };
    assert_eq!(result.code, Some(0), "{result:?}");
    let messages = fs::read_to_string(dir.path("messages")).unwrap();
    let line = messages.lines().find(|line| line.contains("connections")).unwrap();
    assert!(line.contains(" daemon.warn topip["), "{line}");
    assert!(line.ends_with("]: 152 connections from 203.0.113.7 on input"), "{line}");
    assert_filter_matches(&dir.path("messages"), "");
}

#[test]
fn rsyslog_receives_alerts() {
    let dir = TestDir::new();
    let messages = dir.path("messages").display().to_string();
    let config = format!(
        "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"/dev/log\")\n\
         *.* action(type=\"omfile\" file=\"{messages}\")\n\
         *.* action(type=\"omfile\" file=\"{messages}.rfc5424\" template=\"RSYSLOG_SyslogProtocol23Format\")\n"
    );
    dir.write("config", config);
    let script = "rsyslogd -n -f \"$PWD/config\" -i \"$PWD/pid\" & daemon=$!; wait_for /dev/log
        \"$@\" && \"$@\" --log-format json; code=$?
        until grep -q samples messages && grep -q samples messages.rfc5424; do sleep 0.05; done; ended $daemon; exit $code";
    if !is_installed("rsyslogd") {
        return;
    }
    let Some(result) = alert_with_daemon(&dir, script, &["--log", "syslog"]) else { return };
    assert_eq!(result.code, Some(0), "{result:?}");
    let text = fs::read_to_string(dir.path("messages")).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" topip[")).collect();
    assert!(lines[0].ends_with("]: 152 connections from 203.0.113.7 on input"), "{text}");
    let (_, json) = lines[1].split_once("]: ").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["ports"][0]["connections"], 152);
    assert_filter_matches(&dir.path("messages"), "");
    assert_filter_matches(&dir.path("messages.rfc5424"), "[logtype=rfc5424]");
}

/// The socket of syslog-ng's `unix-stream` is a stream. Its Debian package conflicts with
/// rsyslog, so socat listens here.
#[test]
fn syslog_on_stream_socket_receives_alerts() {
    let dir = TestDir::new();
    let script = "socat -u UNIX-LISTEN:/dev/log,fork OPEN:messages,creat,append & daemon=$!
        wait_for /dev/log; \"$@\" && \"$@\"; code=$?
        until [ \"$(tr -cd '\\000' <messages | wc -c)\" = 2 ]; do sleep 0.05; done
        ended $daemon; exit $code";
    if !is_installed("socat") {
        return;
    }
    let Some(result) = alert_with_daemon(&dir, script, &["--log", "syslog"]) else { return };
    assert_eq!(result.code, Some(0), "{result:?}");
    let text = fs::read_to_string(dir.path("messages")).unwrap();
    let messages: Vec<_> = text.split_terminator('\0').collect();
    assert_eq!(messages.len(), 2, "{text}");
    for message in messages {
        assert!(message.starts_with("<28>"), "{message}");
        assert!(message.ends_with("]: 152 connections from 203.0.113.7 on input"), "{message}");
    }
}

#[test]
fn journald_receives_alerts_with_fields() {
    let dir = TestDir::new();
    let journald = "/lib/systemd/systemd-journald";
    if !is_installed(journald) {
        return;
    }
    let script = "mount -t tmpfs none /run; mkdir -p /run/log/journal /run/systemd/journal
        systemd=/lib/systemd/systemd-journald; $systemd & daemon=$!
        wait_for /run/systemd/journal/socket; \"$@\"; code=$?; journalctl --sync
        journalctl -D /run/log/journal -t topip -o json >found
        journalctl -D /run/log/journal TOPIP_ADDRESS=203.0.113.7 -o cat >by-address
        ended $daemon; exit $code";
    let Some(result) = alert_with_daemon(&dir, script, &["--log", "journald"]) else { return };
    assert_eq!(result.code, Some(0), "{result:?}");
    let found = fs::read_to_string(dir.path("found")).unwrap();
    let entry: serde_json::Value = serde_json::from_str(found.trim()).unwrap();
    for (field, value) in [
        ("MESSAGE", "152 connections from 203.0.113.7 on input"),
        ("PRIORITY", "4"),
        ("TOPIP_ADDRESS", "203.0.113.7"),
        ("TOPIP_CONNECTIONS", "152"),
        ("TOPIP_LIMIT", "28.7"),
        ("TOPIP_SAMPLES", "1"),
        ("TOPIP_PORTS", "443:152"),
        ("TOPIP_STATES", "ESTABLISHED:152"),
        ("TOPIP_SERVER", "input"),
    ] {
        assert_eq!(entry[field], value, "{found}");
    }
    let by_address = fs::read_to_string(dir.path("by-address")).unwrap();
    assert_eq!(by_address, "152 connections from 203.0.113.7 on input\n");
}

#[test]
fn missing_daemon_is_reported() {
    for (log, expected) in [
        (
            "syslog",
            "topip_log: cannot reach syslog at /dev/log: No such file or directory (os error 2)\n\
             Check that a syslog daemon runs here (ls -l /dev/log), or log to a file.\n",
        ),
        (
            "journald",
            "topip_log: cannot reach the journal at /run/systemd/journal/socket: \
             No such file or directory (os error 2)\n\
             Check that systemd-journald runs here, or log to a file or to syslog.\n",
        ),
    ] {
        let dir = TestDir::new();
        let script = "mount -t tmpfs none /run; \"$@\"";
        let Some(result) = alert_with_daemon(&dir, script, &["--log", log]) else { return };
        assert_eq!((result.code, &*result.stderr), (Some(1), expected));
    }
}

/// A daemon that does not read its socket delays two alerts no longer than one, within the
/// timeout, and does not change the verdict.
#[test]
fn blocked_daemon_does_not_block_check() {
    for (log, socket_path) in [("syslog", "/dev/log"), ("journald", "/run/systemd/journal/socket")]
    {
        let dir = TestDir::new();
        let _daemon = full_socket(&dir);
        let fleet: Vec<_> = (1..=80).map(|host| format!("198.51.100.{host}")).collect();
        let mut peers: Vec<_> = fleet.iter().map(|it| (it.as_str(), 5)).collect();
        peers.push(("203.0.113.7", 152));
        dir.write("listing", crowd(31, &peers));
        let script = format!(
            "mount -t tmpfs none /dev && mount -t tmpfs none /run || exit 9
            mkdir -p /run/systemd/journal; ln -s \"$PWD/stuck\" {socket_path}; exec \"$@\""
        );
        let args = ["--input", "listing", "--consecutive", "1", "--stddev", "1"];
        let more = ["--prefix4", "32,24", "--floor", "1", "--log", log, "-t"];
        let record = |program, seconds| {
            let shell = ["-m", "sh", "-c", &script, "sh", program];
            let mut command = dir.program("unshare", &shell);
            command.args(args).args(more).arg(seconds);
            run(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
        };
        let result = record(LOG, "5");
        if result.code == Some(9) || result.stderr.contains("unshare") {
            return skip(&format!("permission to mount ({})", result.stderr.trim()));
        }
        assert_eq!((result.code, result.stdout.lines().count()), (Some(1), 3), "{result:?}");
        assert_eq!(result.stderr.matches("topip_log: cannot write to ").count(), 1, "{result:?}");
        assert!(result.elapsed < Duration::from_millis(1700), "{:?}", result.elapsed);
        let result = record(CHECK, "1");
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(result.stdout.contains("Cannot write to "), "{result:?}");
    }
}

/// Creates a socket in `dir` whose queue is full.
fn full_socket(dir: &TestDir) -> UnixDatagram {
    let daemon = UnixDatagram::bind(dir.path("stuck")).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    sender.connect(dir.path("stuck")).unwrap();
    while sender.send(b"full").is_ok() {}
    daemon
}
