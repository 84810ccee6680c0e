//! Under real Nagios and NRPE, with the files of the package.
use std::{fs, net::Ipv4Addr};

use crate::support::{
    crowd,
    daemon::{do_run, free_port, wait_for},
    monitoring::{Daemon, bare, is_possible, packaging, room_of_nagios, shipped, until},
    nagios::{NAGIOS, Nagios},
    run,
};

const NRPE: &str = "/usr/sbin/nrpe";
const CHECK_NRPE: &str = "/usr/lib/nagios/plugins/check_nrpe";

/// A listing that shows what is listened on.
fn with_listener(listing: &str) -> String {
    format!("{listing}tcp 0 0 0.0.0.0:443 0.0.0.0:* LISTEN\n")
}

#[test]
fn nagios_knows_what_the_check_says() {
    if !is_possible(&[NAGIOS]) {
        return;
    }
    let nagios = Nagios::start();
    let flood = with_listener(&crowd(30, &[("203.0.113.7", 152)]));
    let quiet = with_listener(&crowd(30, &[("203.0.113.7", 3)]));
    let torn = format!("{quiet}tcp 0 0 192.0.2.10:443\n");
    // The second flood is a hard CRITICAL at once: two attempts, two samples.
    for (listing, code, state_type) in
        [(&flood, "1", "0"), (&flood, "2", "1"), (&quiet, "0", "1"), (&torn, "3", "0")]
    {
        nagios.room.write("listing", listing);
        let service = nagios.check();
        let ours = nagios.ours();
        let (line, long) = ours.stdout.split_once('\n').unwrap();
        let (text, perfdata) = line.split_once('|').unwrap();
        assert_eq!(service["current_state"], code, "{service:?}");
        assert_eq!(ours.code.unwrap().to_string(), code);
        // Nagios makes semicolons colons there.
        assert_eq!(service["plugin_output"].trim_end(), text.trim_end().replace(';', ":"));
        assert_eq!(service["long_plugin_output"].replace("\\n", "\n").trim_end(), long.trim_end());
        assert_eq!(service["performance_data"], perfdata.trim());
        assert_eq!(service["state_type"], state_type, "{service:?}");
    }
    let said = until("the event handler", || nagios.said());
    assert_eq!(said, "-t topip_handler -- 203.0.113.7 has too many connections to localhost\n");
}

#[test]
fn the_handler_believes_nothing_but_an_address() {
    let room = crate::support::Room::new();
    let said = room.path("said");
    room.write("logger", format!("#!/bin/sh\necho \"$4\" >>{}\n", said.display()));
    do_run("chmod", &["755", room.path("logger").to_str().unwrap()]);
    let path = format!("{}:/usr/bin:/bin", room.path(".").display());
    for (state, kind, output, address) in [
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 203.0.113.7 has 9", "203.0.113.7"),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 2001:db8::7 (office) has 9", "2001:db8::7"),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 203.0.113.0/24 (41 addresses)", "203.0.113.0/24"),
        ("CRITICAL", "SOFT", "TOPIP CRITICAL - 203.0.113.7 has 9", ""),
        ("WARNING", "HARD", "TOPIP WARNING - 203.0.113.7 has 9", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - no connections", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - cafe has 9", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - $(id) has 9", ""),
        ("CRITICAL", "HARD", "TOPIP CRITICAL - 203.0.113.7;id has 9", ""),
        ("CRITICAL", "HARD", "x\nTOPIP CRITICAL - 203.0.113.7 has 9", ""),
        ("CRITICAL", "HARD", "(No output on stdout)", ""),
    ] {
        let _ = fs::remove_file(&said);
        let mut handler = bare(packaging("nagios/topip_handler"));
        let ran = run(handler.env("PATH", &path).args([state, kind, "web1", output]));
        assert_eq!((ran.stderr.as_str(), ran.code), ("", Some(0)), "{output}");
        let said = fs::read_to_string(&said).unwrap_or_default();
        let named = said.split(" has too many connections to web1").next().unwrap();
        assert_eq!(named.trim(), address, "{output}");
    }
}

#[test]
fn nrpe_hands_the_whole_answer_over() {
    if !is_possible(&[NRPE, CHECK_NRPE]) {
        return;
    }
    let room = room_of_nagios(&["state"]);
    let port = free_port();
    // NRPE hands no environment on.
    let check = room.path("check_topip").display().to_string();
    let with_state = format!("env MP_STATE_PATH={} {check}", room.path("state").display());
    let commands = shipped("nrpe/topip.cfg", &room).replace(&check, &with_state);
    let names: Vec<_> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("command[")?.split(']').next())
        .collect();
    let config = room.write(
        "nrpe.cfg",
        format!(
            "server_address=127.0.0.1\nserver_port={port}\nnrpe_user=nagios\nnrpe_group=nagios\n\
             allowed_hosts=127.0.0.1\ndont_blame_nrpe=0\ncommand_timeout=20\npid_file={}\n\
             command[long]={with_state} --input {}\n{commands}",
            room.path("pid").display(),
            room.write("listing", crowd(40, &[("2001:db8::7", 152)])).display(),
        ),
    );
    let mut command = bare(NRPE);
    command.arg("-c").arg(config).arg("-f");
    let _nrpe = Daemon::start(command);
    let ask = |name: &str, more: &[&str]| {
        let mut command = bare(CHECK_NRPE);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string(), "-c", name]).args(more);
        run(&mut command)
    };
    wait_for((Ipv4Addr::LOCALHOST, port).into());
    let long = ask("long", &[]);
    assert_eq!(long.code, Some(1), "{}", long.stdout);
    let first = long.stdout.lines().next().unwrap();
    assert!(first.starts_with("TOPIP WARNING - 2001:db8::7 has 152 connections"), "{first}");
    assert!(first.ends_with("connections=192;;;0"), "{first}");
    assert_eq!(long.stdout.lines().count(), 12, "{}", long.stdout);

    // Those that are shipped look at this host, whatever it is doing.
    assert_eq!(names, ["check_topip", "check_topip_web", "check_topip_mail"]);
    for name in names {
        let ran = ask(name, &[]);
        assert!(ran.stdout.starts_with("TOPIP "), "{name}: {}", ran.stdout);
        assert!(ran.code.is_some_and(|code| code < 3), "{name}: {}", ran.stdout);
    }
    // An argument is more than NRPE takes.
    let ran = ask("check_topip", &["-a", "-w 1"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
}
