//! Real Nagios and NRPE, with the packaged files.
use std::{fs, net::Ipv4Addr};

use crate::support::{
    crowd,
    daemon::{free_port, run_ok, wait_for_server},
    monitoring::{
        Daemon, daemon_command, is_possible, nagios_test_dir, packaged_config, packaging_path,
        wait_until,
    },
    nagios::{NAGIOS, Nagios},
    run,
};

const NRPE: &str = "/usr/sbin/nrpe";
const CHECK_NRPE: &str = "/usr/lib/nagios/plugins/check_nrpe";

/// Returns a listing with a listening socket.
fn with_listener(listing: &str) -> String {
    format!("{listing}tcp 0 0 0.0.0.0:443 0.0.0.0:* LISTEN\n")
}

#[test]
fn nagios_status_matches_check_output() {
    if !is_possible(&[NAGIOS]) {
        return;
    }
    let nagios = Nagios::start("");
    let flood = with_listener(&crowd(30, &[("203.0.113.7", 152)]));
    let quiet = with_listener(&crowd(30, &[("203.0.113.7", 3)]));
    let torn = format!("{quiet}tcp 0 0 192.0.2.10:443\n");
    // The second flood is a hard CRITICAL at once: two attempts are two samples.
    for (listing, code, state_type) in
        [(&flood, "1", "0"), (&flood, "2", "1"), (&quiet, "0", "1"), (&torn, "3", "0")]
    {
        nagios.dir.write("listing", listing);
        let service = nagios.check();
        let direct = nagios.run_check();
        let (line, long) = direct.stdout.split_once('\n').unwrap();
        let (text, perfdata) = line.split_once('|').unwrap();
        assert_eq!(service["current_state"], code, "{service:?}");
        assert_eq!(direct.code.unwrap().to_string(), code);
        // Nagios replaces semicolons by colons there.
        assert_eq!(service["plugin_output"].trim_end(), text.trim_end().replace(';', ":"));
        assert_eq!(service["long_plugin_output"].replace("\\n", "\n").trim_end(), long.trim_end());
        assert_eq!(service["performance_data"], perfdata.trim());
        assert_eq!(service["state_type"], state_type, "{service:?}");
    }
    let handler_output = wait_until("the event handler", || nagios.handler_output());
    assert_eq!(
        handler_output,
        "-t topip_handler -- 203.0.113.7 has too many connections to localhost\n"
    );
}

#[test]
fn event_handler_obeys_never_log() {
    if !is_possible(&[NAGIOS]) {
        return;
    }
    let nagios = Nagios::start("--never-log 203.0.113.0/24");
    nagios.dir.write("listing", with_listener(&crowd(30, &[("203.0.113.7", 152)])));
    nagios.check();
    nagios.check();
    let handler_output = wait_until("the event handler", || nagios.handler_output());
    assert_eq!(
        handler_output,
        "-t topip_handler -- 203.0.113.7 has too many connections to localhost, but is protected\n"
    );
}

/// The handler reads the note that the check writes.
#[test]
fn event_handler_finds_protected_addresses() {
    let dir = crate::support::TestDir::new();
    let handler_output = dir.path("said");
    dir.write("logger", format!("#!/bin/sh\necho \"$4\" >>{}\n", handler_output.display()));
    run_ok("chmod", &["755", dir.path("logger").to_str().unwrap()]);
    let path = format!("{}:/usr/bin:/bin", dir.path(".").display());
    let offenders = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"];
    for (n_offenders, never_log, is_protected) in [
        (1, "203.0.113.1", true),
        (1, "203.0.113.2", false),
        (1, "203.0.113.0/24", true),
        (3, "203.0.113.3", false),
        (3, "203.0.113.3,203.0.113.1", true),
        (3, "203.0.113.0/24", true),
        // Of more than three, only three are named.
        (5, "203.0.113.0/24", true),
    ] {
        // The first one is named in the status line.
        let mut peers: Vec<_> = offenders[..n_offenders].iter().map(|&it| (it, 152)).collect();
        peers[0].1 = 200;
        let args = ["--limit", "100", "--consecutive", "1", "--never-log", never_log];
        let output = dir.check_listing(crowd(31, &peers), &args).stdout;
        let (line, long) = output.split_once('\n').unwrap();
        let escaped = long.replace('\n', "\\n");
        // Icinga passes all lines as one argument, Nagios two arguments.
        for arguments in [&[&*output][..], &[line, long], &[line, &escaped]] {
            let _ = fs::remove_file(&handler_output);
            let mut handler = daemon_command(packaging_path("nagios/topip_handler"));
            handler.env("PATH", &path).args(["CRITICAL", "HARD", "web1"]).args(arguments);
            let result = run(&mut handler);
            assert_eq!((result.stderr.as_str(), result.code), ("", Some(0)), "{output}");
            let text = fs::read_to_string(&handler_output).unwrap();
            assert!(text.starts_with("203.0.113.1 has too many connections"), "{text}");
            assert_eq!(text.ends_with(", but is protected\n"), is_protected, "{arguments:?}");
        }
    }
}

#[test]
fn event_handler_accepts_only_addresses() {
    let dir = crate::support::TestDir::new();
    let handler_output = dir.path("said");
    dir.write("logger", format!("#!/bin/sh\necho \"$4\" >>{}\n", handler_output.display()));
    run_ok("chmod", &["755", dir.path("logger").to_str().unwrap()]);
    let path = format!("{}:/usr/bin:/bin", dir.path(".").display());
    for (state, kind, output, address) in [
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 203.0.113.7 has 9", "203.0.113.7"),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 2001:db8::7 (office) has 9", "2001:db8::7"),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 203.0.113.0/24 (41 addresses)", "203.0.113.0/24"),
        ("CRITICAL", "SOFT", "TOPIP CRITICAL - 203.0.113.7 has 9", ""),
        ("WARNING", "HARD", "TOPIP WARNING - 203.0.113.7 has 9", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - no connections", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - cafe has 9", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 2001:db8:aaaa:bbb... (cut off) may have 9", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - $(id) has 9", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 203.0.113.7;id has 9", ""),
        ("CRITICAL", "HARD", "x\nTOPIP CRITICAL - 203.0.113.7 has 9", ""),
        ("CRITICAL", "HARD", "(No output on stdout)", ""),
    ] {
        let _ = fs::remove_file(&handler_output);
        let mut handler = daemon_command(packaging_path("nagios/topip_handler"));
        let result = run(handler.env("PATH", &path).args([state, kind, "web1", output]));
        assert_eq!((result.stderr.as_str(), result.code), ("", Some(0)), "{output}");
        let handler_output = fs::read_to_string(&handler_output).unwrap_or_default();
        let named = handler_output.split(" has too many connections to web1").next().unwrap();
        assert_eq!(named.trim(), address, "{output}");
    }
}

#[test]
fn nrpe_returns_complete_output() {
    if !is_possible(&[NRPE, CHECK_NRPE]) {
        return;
    }
    let dir = nagios_test_dir(&["state"]);
    let port = free_port();
    // NRPE does not pass environment variables on.
    let check = dir.path("check_topip").display().to_string();
    let with_state = format!("env MP_STATE_PATH={} {check}", dir.path("state").display());
    let commands = packaged_config("nrpe/topip.cfg", &dir).replace(&check, &with_state);
    let names: Vec<_> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("command[")?.split(']').next())
        .collect();
    let config = dir.write(
        "nrpe.cfg",
        format!(
            "server_address=127.0.0.1\nserver_port={port}\nnrpe_user=nagios\nnrpe_group=nagios\n\
             allowed_hosts=127.0.0.1\ndont_blame_nrpe=0\ncommand_timeout=20\npid_file={}\n\
             command[rsh]={with_state} --rsh \"false 'a b'\" -H web1\n\
             command[long]={with_state} --input {}\n{commands}",
            dir.path("pid").display(),
            dir.write("listing", crowd(40, &[("2001:db8::7", 152)])).display(),
        ),
    );
    let mut command = daemon_command(NRPE);
    command.arg("-c").arg(config).arg("-f");
    let _nrpe = Daemon::start(command);
    let run_check_nrpe = |name: &str, more: &[&str]| {
        let mut command = daemon_command(CHECK_NRPE);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string(), "-c", name]).args(more);
        run(&mut command)
    };
    wait_for_server((Ipv4Addr::LOCALHOST, port).into());
    let long = run_check_nrpe("long", &[]);
    assert_eq!(long.code, Some(1), "{}", long.stdout);
    let first = long.stdout.lines().next().unwrap();
    assert!(first.starts_with("TOPIP WARNING - 2001:db8::7 has 152 connections"), "{first}");
    assert!(first.ends_with("connections=192;;;0 over=1;;;0"), "{first}");
    assert_eq!(long.stdout.lines().count(), 12, "{}", long.stdout);

    // The packaged commands sample this host, with any connections.
    assert_eq!(names, ["check_topip", "check_topip_web", "check_topip_mail"]);
    for name in names {
        let result = run_check_nrpe(name, &[]);
        assert!(result.stdout.starts_with("TOPIP "), "{name}: {}", result.stdout);
        assert!(result.code.is_some_and(|code| code < 3), "{name}: {}", result.stdout);
    }
    let rsh = run_check_nrpe("rsh", &[]);
    let expected = "TOPIP UNKNOWN - web1: false: ended with exit status 1\n";
    assert!(rsh.stdout.starts_with(expected), "{rsh:?}");
    // NRPE rejects arguments.
    let result = run_check_nrpe("check_topip", &["-a", "-w 1"]);
    assert_eq!(result.code, Some(3), "{}", result.stdout);
}
