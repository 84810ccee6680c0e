//! Real daemons take what is logged to syslog and to the journal. Each runs
//! where no other process sees its socket: on a `/dev` or `/run` of its own.
use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command, time::Duration};

use crate::support::{CHECK, LOG, Ran, Room, crowd, run, skip};

/// Devices that daemons want, and a way to wait for a socket.
const DEVICES: &str = "
    mount -t tmpfs none /dev || exit 9
    mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9; mknod -m 666 /dev/kmsg c 1 11
    wait_for() { n=0; until [ -S \"$1\" ] || [ $n -gt 200 ]; do sleep 0.05; n=$((n + 1)); done; }
    ended() { kill \"$1\"; wait \"$1\"; }
";

/// Logs an alert while a daemon runs that `script` starts and ends, in a mount
/// namespace of their own. The script has the program as `$@`.
fn alert(room: &Room, script: &str, args: &[&str]) -> Option<Ran> {
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let script = format!("{DEVICES}{script}");
    let shell = ["-m", "sh", "-c", &script, "sh", LOG, "--input", "listing", "--consecutive", "1"];
    let mut command = room.program("unshare", &[&shell, args].concat());
    let ran = run(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
    if ran.code == Some(9) || ran.stderr.contains("unshare") {
        skip(&format!("the right to mount ({})", ran.stderr.trim()));
        return None;
    }
    Some(ran)
}

fn has(program: &str) -> bool {
    let found = Command::new("which").arg(program).output().is_ok_and(|it| it.status.success());
    if !found && !Path::new(program).exists() {
        skip(program);
        return false;
    }
    true
}

fn filter_finds(log: &Path) {
    let filter =
        Path::new(crate::support::HOME).join("packaging/fail2ban/filter.d/topip-syslog.conf");
    if has("fail2ban-regex") {
        let ran = run(Command::new("fail2ban-regex").args(["-o", "ip"]).arg(log).arg(filter));
        assert_eq!(ran.stdout, "203.0.113.7\n");
    }
}

#[test]
fn busybox_syslogd_takes_it() {
    let room = Room::new();
    let script = "busybox syslogd -n -O messages & daemon=$!; wait_for /dev/log; \"$@\"; code=$?
        until grep -q connections messages; do sleep 0.05; done; ended $daemon; exit $code";
    if !has("busybox") {
        return;
    }
    let Some(ran) = alert(&room, script, &["--log", "syslog"]) else { return };
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let messages = fs::read_to_string(room.path("messages")).unwrap();
    let line = messages.lines().find(|line| line.contains("connections")).unwrap();
    assert!(line.contains(" daemon.warn topip["), "{line}");
    assert!(line.ends_with("]: 152 connections from 203.0.113.7 on input"), "{line}");
    filter_finds(&room.path("messages"));
}

#[test]
fn rsyslog_takes_it() {
    let room = Room::new();
    let messages = room.path("messages").display().to_string();
    let config = format!(
        "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"/dev/log\")\n\
         *.* action(type=\"omfile\" file=\"{messages}\")\n"
    );
    room.write("config", config);
    let script = "rsyslogd -n -f \"$PWD/config\" -i \"$PWD/pid\" & daemon=$!; wait_for /dev/log
        \"$@\" && \"$@\" --log-format json; code=$?
        until grep -q samples messages; do sleep 0.05; done; ended $daemon; exit $code";
    if !has("rsyslogd") {
        return;
    }
    let Some(ran) = alert(&room, script, &["--log", "syslog"]) else { return };
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = fs::read_to_string(room.path("messages")).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" topip[")).collect();
    assert!(lines[0].ends_with("]: 152 connections from 203.0.113.7 on input"), "{text}");
    let (_, json) = lines[1].split_once("]: ").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["ports"][0]["connections"], 152);
    filter_finds(&room.path("messages"));
}

#[test]
fn the_journal_takes_it_with_its_fields() {
    let room = Room::new();
    let journald = "/lib/systemd/systemd-journald";
    if !has(journald) {
        return;
    }
    let script = "mount -t tmpfs none /run; mkdir -p /run/log/journal /run/systemd/journal
        systemd=/lib/systemd/systemd-journald; $systemd & daemon=$!
        wait_for /run/systemd/journal/socket; \"$@\"; code=$?; journalctl --sync
        journalctl -D /run/log/journal -t topip -o json >found
        journalctl -D /run/log/journal TOPIP_ADDRESS=203.0.113.7 -o cat >by-address
        ended $daemon; exit $code";
    let Some(ran) = alert(&room, script, &["--log", "journald"]) else { return };
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found = fs::read_to_string(room.path("found")).unwrap();
    let entry: serde_json::Value = serde_json::from_str(found.trim()).unwrap();
    for (field, value) in [
        ("MESSAGE", "152 connections from 203.0.113.7 on input"),
        ("PRIORITY", "4"),
        ("TOPIP_ADDRESS", "203.0.113.7"),
        ("TOPIP_CONNECTIONS", "152"),
        ("TOPIP_LIMIT", "131.36"),
        ("TOPIP_SAMPLES", "1"),
        ("TOPIP_PORTS", "443:152"),
        ("TOPIP_STATES", "ESTABLISHED:152"),
        ("TOPIP_SERVER", "input"),
    ] {
        assert_eq!(entry[field], value, "{found}");
    }
    let by_address = fs::read_to_string(room.path("by-address")).unwrap();
    assert_eq!(by_address, "152 connections from 203.0.113.7 on input\n");
}

#[test]
fn where_nobody_listens_it_is_said() {
    for (log, told) in [
        (
            "syslog",
            "topip_log: cannot reach syslog at /dev/log: No such file or directory (os error 2)\n\
             Does a syslog daemon run here? ls -l /dev/log; else log to a file.\n",
        ),
        (
            "journald",
            "topip_log: cannot reach the journal at /run/systemd/journal/socket: \
             No such file or directory (os error 2)\n\
             Does systemd-journald run here? If not, log to a file or to syslog.\n",
        ),
    ] {
        let room = Room::new();
        let script = "mount -t tmpfs none /run; \"$@\"";
        let Some(ran) = alert(&room, script, &["--log", log]) else { return };
        assert_eq!((ran.code, &*ran.stderr), (Some(1), told));
    }
}

/// Daemons that listen, and take nothing: two alerts are late by no more than
/// one, and by no more than there is time for. The verdict stays.
#[test]
fn a_daemon_that_hangs_does_not_hang_the_check() {
    for (log, place) in [("syslog", "/dev/log"), ("journald", "/run/systemd/journal/socket")] {
        let room = Room::new();
        let _daemon = stuck(&room);
        let fleet: Vec<_> = (1..=80).map(|host| format!("198.51.100.{host}")).collect();
        let mut peers: Vec<_> = fleet.iter().map(|it| (it.as_str(), 5)).collect();
        peers.push(("203.0.113.7", 152));
        room.write("listing", crowd(31, &peers));
        let script = format!(
            "mount -t tmpfs none /dev && mount -t tmpfs none /run || exit 9
            mkdir -p /run/systemd/journal; ln -s \"$PWD/stuck\" {place}; exec \"$@\""
        );
        let args = ["--input", "listing", "--consecutive", "1", "--stddev", "1"];
        let more = ["--prefix4", "32,24", "--floor", "1", "--log", log, "-t"];
        let record = |program, seconds| {
            let shell = ["-m", "sh", "-c", &script, "sh", program];
            let mut command = room.program("unshare", &shell);
            command.args(args).args(more).arg(seconds);
            run(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
        };
        let ran = record(LOG, "5");
        if ran.code == Some(9) || ran.stderr.contains("unshare") {
            return skip(&format!("the right to mount ({})", ran.stderr.trim()));
        }
        assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), 2), "{ran:?}");
        assert_eq!(ran.stderr.matches("topip_log: cannot write to ").count(), 1, "{ran:?}");
        assert!(ran.took < Duration::from_millis(1700), "{:?}", ran.took);
        let ran = record(CHECK, "1");
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stdout.contains("Cannot write to "), "{ran:?}");
    }
}

/// A socket in `room` that has all it can take.
fn stuck(room: &Room) -> UnixDatagram {
    let daemon = UnixDatagram::bind(room.path("stuck")).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    sender.connect(room.path("stuck")).unwrap();
    while sender.send(b"full").is_ok() {}
    daemon
}
