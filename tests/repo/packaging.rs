//! The examples of `packaging` are such as their programs take.
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::support::{HOME, LOG, Room, run, skip};

fn packaged(name: &str) -> String {
    fs::read_to_string(Path::new(HOME).join("packaging").join(name)).unwrap()
}

#[test]
fn systemd_takes_the_timer() {
    let room = Room::new();
    let service = packaged("systemd/topip-log.service").replace("/usr/bin/topip_log", LOG);
    let service = room.write("topip-log.service", service);
    let timer = room.write("topip-log.timer", packaged("systemd/topip-log.timer"));
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&service).arg(&timer);
    if verify.output().is_err() {
        return skip("systemd-analyze");
    }
    let ran = run(&mut verify);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
}

#[test]
fn logrotate_takes_the_rotation() {
    let room = Room::new();
    let config = room.write("topip", packaged("logrotate/topip"));
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let mut debug = Command::new("logrotate");
    debug.arg("-d").arg("-s").arg(room.path("state")).arg(&config);
    if debug.output().is_err() {
        return skip("logrotate");
    }
    let ran = run(&mut debug);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("Handling 1 logs") && !ran.stderr.contains("error"),
        "{}",
        ran.stderr
    );
}

/// crontab(5) wants five fields of time, a user, and a command that is there;
/// and the options have to be such as the program has.
#[test]
fn the_lines_for_cron_are_whole() {
    let text = packaged("cron.d/topip");
    assert!(text.ends_with('\n'), "cron does not read a last line without an end");
    let jobs: Vec<_> =
        text.lines().filter(|it| !it.starts_with('#') && it.contains(" root ")).collect();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        let fields: Vec<_> = job.split_whitespace().collect();
        assert_eq!(fields[5], "root", "{job}");
        let (guard, command) = fields[6..].split_at(if fields[6] == "test" { 5 } else { 0 });
        let guards = [&[][..], &["test", "!", "-e", "/var/log/topip.log", "||"]];
        assert!(guards.contains(&guard), "{job}");
        assert_eq!(command[0], "/usr/bin/topip_log", "{job}");
        let is_time = |it: &&str| it.bytes().all(|it| it.is_ascii_digit() || it == b'*');
        assert!(fields[..5].iter().all(is_time), "{job}");
        let ran = run(Room::new().program(LOG, &command[1..]).args(["--log", "none/log"]));
        assert!(matches!(ran.code, Some(0 | 1)), "{job}: {}", ran.stderr);
    }
}

/// What sudo allows is what NRPE and Icinga run, and the program takes it.
#[test]
fn sudo_takes_its_line_and_the_others_keep_to_it() {
    let sudoers = packaged("containers/sudoers");
    let (_, allowed) = sudoers.split_once("NOPASSWD: ").unwrap();
    let allowed = allowed.trim();
    let nrpe = packaged("containers/nrpe.cfg");
    assert!(nrpe.ends_with(&format!("]=sudo -n {allowed}\n")), "{nrpe}");
    let icinga = packaged("containers/icinga2.conf");
    let (program, args) = allowed.split_once(' ').unwrap();
    let words: Vec<_> = args.split(' ').map(|word| format!("\"{word}\"")).collect();
    let words = words.join(", ");
    assert!(icinga.contains(&format!("\"sudo\", \"-n\", PluginDir + \"/check_topip\", {words}\n")));
    assert!(program.ends_with("/check_topip"));
    let ran = Room::new().check(&args.split(' ').collect::<Vec<_>>());
    assert!(!ran.stdout.contains("check_topip --help"), "{}", ran.stdout);

    let room = Room::new();
    let file = room.write("sudoers", sudoers);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
    let mut visudo = Command::new("/usr/sbin/visudo");
    visudo.arg("-c").arg("-f").arg(&file);
    if visudo.output().is_err() {
        return skip("visudo");
    }
    let ran = run(&mut visudo);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn systemd_takes_the_unit_that_looks_into_containers() {
    let room = Room::new();
    let service = packaged("systemd/topip-log.service").replace("/usr/bin/topip_log", LOG);
    let service = room.write("topip-log.service", service);
    fs::create_dir(room.path("topip-log.service.d")).unwrap();
    let more = packaged("containers/topip-log.conf").replace("/usr/bin/topip_log", LOG);
    room.write("topip-log.service.d/containers.conf", &more);
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&service);
    if verify.output().is_err() {
        return skip("systemd-analyze");
    }
    let ran = run(&mut verify);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    let command = more.lines().filter_map(|line| line.strip_prefix("ExecStart=/")).next().unwrap();
    let ran = Room::new().log(&command.split(' ').skip(1).collect::<Vec<_>>());
    assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.stderr);
}
