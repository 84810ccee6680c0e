//! Host keys, judged as OpenSSH judges them: each case is put to both.
use std::{fs, process::Command};

use crate::support::{
    Ran, Room,
    daemon::do_run,
    sshd::{Server, World, is_possible, key},
};

/// What OpenSSH's own client says of the same file: whether it went in.
fn openssh_goes_in(world: &World) -> bool {
    let output = Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
        .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "UserKnownHostsFile=known_hosts"])
        .args(["-o", "UpdateHostKeys=no", "-o", "IdentitiesOnly=yes", "-i", "id"])
        .args(["-p", &world.server.port.to_string()])
        .arg(format!("{}@127.0.0.1", world.account.name))
        .arg("true")
        .current_dir(world.room.path("."))
        .output()
        .expect("OpenSSH's client is installed");
    output.status.success()
}

/// Both come to the same of `known_hosts`, and ours says why.
#[track_caller]
fn check(world: &World, known_hosts: &str, expected: Result<(), &str>) {
    world.room.write("known_hosts", known_hosts);
    assert_eq!(openssh_goes_in(world), expected.is_ok(), "OpenSSH of {known_hosts}");
    let ran = world.check_by_key(&[]);
    match expected {
        Ok(()) => assert!(matches!(ran.code, Some(0..=2)), "{known_hosts}: {}", ran.stdout),
        Err(why) => {
            let answer = format!("3 TOPIP UNKNOWN - cannot log in to 127.0.0.1: {why}");
            assert!(ran.answer().starts_with(&answer), "{known_hosts}: {}", ran.stdout);
        }
    }
}

#[test]
fn known_hosts_as_openssh_reads_it() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "");
    let port = world.server.port;
    let right = world.server.known("127.0.0.1");
    let blob = right.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    key(&world.room, "other", &["-t", "ed25519"]);
    let other = fs::read_to_string(world.room.path("other.pub")).unwrap();
    let other = other.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let unknown = Err("its ED25519 host key SHA256:");
    let changed = |line: u32| format!("host key does not match known_hosts line {line}");

    check(&world, &right, Ok(()));
    check(&world, "", unknown);
    check(&world, &format!("[127.0.0.1]:{port} {other}\n"), Err(&changed(1)));
    check(&world, &format!("# a comment\n\n[127.0.0.1]:{port} {other}\n"), Err(&changed(3)));
    // Spelled otherwise.
    check(&world, &right.trim_end().replace(' ', "\t"), Ok(()));
    check(&world, &right.replace('\n', "\r\n"), Ok(()));
    check(&world, &format!("web1,[127.0.0.1]:{port},web2 {blob} a comment"), Ok(()));
    // Without the port: good enough where nothing is said with it.
    check(&world, &format!("127.0.0.1 {blob}\n"), Ok(()));
    check(&world, &format!("127.0.0.1 {other}\n"), unknown);
    check(&world, &format!("[127.0.0.1]:{port} {other}\n127.0.0.1 {blob}\n"), Err(&changed(1)));
    // Patterns.
    check(&world, &format!("[127.0.0.*]:{port} {blob}\n"), Ok(()));
    check(&world, &format!("127.0.0.? {blob}\n"), Ok(()));
    check(&world, &format!("*,!127.0.0.1,![127.0.0.1]:{port} {blob}\n"), unknown);
    // One of several keys of the same type.
    check(&world, &format!("[127.0.0.1]:{port} {other}\n{right}"), Ok(()));
    // Revoked.
    check(
        &world,
        &format!("{right}@revoked [127.0.0.1]:{port} {blob}\n"),
        Err("its host key is revoked by known_hosts line 2"),
    );
    check(&world, &format!("{right}@revoked * {other}\n"), Ok(()));
    check(
        &world,
        &format!("@revoked * {blob}\n"),
        Err("its host key is revoked by known_hosts line 1"),
    );
    // Lines that cannot be read do not hide the others.
    check(
        &world,
        &format!("badline\n[x ssh-rsa\n127.0.0.1 1024 35 123\n@cert-authority * {other}\n{right}"),
        Ok(()),
    );
    // Hashed names.
    world.room.write("known_hosts", &right);
    do_run("ssh-keygen", &["-q", "-H", "-f", world.room.path("known_hosts").to_str().unwrap()]);
    let hashed = fs::read_to_string(world.room.path("known_hosts")).unwrap();
    assert!(hashed.starts_with("|1|"));
    check(&world, &hashed, Ok(()));
    check(&world, &hashed.replace(&blob, &other), Err(&changed(1)));
    check(&world, &(hashed.replacen("|1|", "|1|A", 1) + &right), Ok(()));
}

/// A server with several keys is asked for the one that is known.
#[test]
fn the_known_type_is_asked_for() {
    if !is_possible() {
        return;
    }
    let mut world = World::new("/bin/bash", "");
    let kinds: [&[&str]; 3] = [&["-t", "ed25519"], &["-t", "ecdsa"], &["-t", "rsa", "-b", "3072"]];
    let keys =
        kinds.iter().enumerate().map(|(n, args)| key(&world.room, &format!("host{n}"), args));
    world.server = Server::openssh_with(&world.room, keys.collect(), "", None);
    let all = world.server.known("127.0.0.1");
    for line in all.lines() {
        check(&world, &format!("{line}\n"), Ok(()));
    }
    let ran = world.check_by_key(&["-vv"]);
    assert!(ran.stdout.contains(" rsa-sha2-512 "), "{}", ran.stdout);
    check(&world, &all, Ok(()));
}

/// A host certificate is not asked for: nobody here could check it.
#[test]
fn a_host_certificate_does_not_get_in_the_way() {
    if !is_possible() {
        return;
    }
    let mut world = World::new("/bin/bash", "");
    let authority = key(&world.room, "authority", &["-t", "ed25519"]);
    let host = key(&world.room, "host", &["-t", "ed25519"]);
    let public = host.with_added_extension("pub");
    do_run(
        "ssh-keygen",
        &[
            "-q",
            "-s",
            authority.to_str().unwrap(),
            "-h",
            "-I",
            "web1",
            "-n",
            "127.0.0.1",
            public.to_str().unwrap(),
        ],
    );
    let certificate = format!("HostCertificate {}-cert.pub", host.display());
    world.server = Server::openssh_with(&world.room, vec![host], &certificate, None);
    check(&world, &world.server.known("127.0.0.1"), Ok(()));
}

#[test]
fn new_keys_are_written_down_once() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "");
    let accept = |args: &[&str]| {
        let new = ["--host-key", "accept-new", "--known-hosts", "new/hosts"];
        world.check_by_key(&[&new[..], args].concat())
    };
    let file = world.room.path("new/hosts");
    let went_in = |ran: &Ran| assert!(matches!(ran.code, Some(0..=2)), "{}", ran.stdout);
    went_in(&accept(&[]));
    assert_eq!(fs::read_to_string(&file).unwrap(), world.server.known("127.0.0.1"));
    went_in(&accept(&[]));
    assert_eq!(fs::read_to_string(&file).unwrap(), world.server.known("127.0.0.1"));
    // Behind a last line without an end.
    fs::write(&file, "# mine").unwrap();
    went_in(&accept(&[]));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("# mine\n{}", world.server.known("127.0.0.1"))
    );
    // A key that has changed is not new.
    key(&world.room, "other", &["-t", "ed25519"]);
    let other = fs::read_to_string(world.room.path("other.pub")).unwrap();
    fs::write(&file, format!("[127.0.0.1]:{} {other}", world.server.port)).unwrap();
    let ran = accept(&[]);
    assert!(ran.answer().contains(": host key does not match new/hosts line 1"), "{}", ran.stdout);
    // Nor is one of another type, where one is known.
    key(&world.room, "rsa", &["-t", "rsa", "-b", "2048"]);
    let rsa = fs::read_to_string(world.room.path("rsa.pub")).unwrap();
    fs::write(&file, format!("[127.0.0.1]:{} {rsa}", world.server.port)).unwrap();
    assert!(accept(&[]).answer().contains(": host key does not match new/hosts line 1"));
    went_in(&world.check_by_key(&["--host-key", "ignore", "--known-hosts", "new/hosts"]));
}

/// To the wrong server no password is sent.
#[test]
fn a_changed_key_gets_no_credential() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "PasswordAuthentication yes");
    key(&world.room, "other", &["-t", "ed25519"]);
    let other = fs::read_to_string(world.room.path("other.pub")).unwrap();
    world.room.write("known_hosts", format!("[127.0.0.1]:{} {other}", world.server.port));
    let ran = world.check_by_key(&["-p", "corr3ct-horse"]);
    assert!(
        ran.answer().ends_with(": host key does not match known_hosts line 1"),
        "{}",
        ran.stdout
    );
    let log = fs::read_to_string(world.room.path(&format!("log_{}", world.server.port))).unwrap();
    for word in ["Failed", "Accepted", "Postponed", "userauth"] {
        assert!(!log.contains(word), "{log}");
    }
    let _: &Room = &world.room;
}
