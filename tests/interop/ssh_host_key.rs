//! Host keys are verified as OpenSSH verifies them: each case is tested with both.
use std::{fs, process::Command};

use crate::support::{
    CommandResult,
    daemon::run_ok,
    sshd::{Server, SshFixture, create_key, is_possible},
};

/// Returns whether OpenSSH's own client logs in with the same file.
fn openssh_accepts(fixture: &SshFixture) -> bool {
    let output = Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
        .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "UserKnownHostsFile=known_hosts"])
        .args(["-o", "UpdateHostKeys=no", "-o", "IdentitiesOnly=yes", "-i", "id"])
        .args(["-p", &fixture.server.port.to_string()])
        .arg(format!("{}@127.0.0.1", fixture.account.name))
        .arg("true")
        .current_dir(fixture.dir.path("."))
        .output()
        .expect("OpenSSH's client is installed");
    output.status.success()
}

/// Asserts that OpenSSH and check_topip decide the same on `known_hosts`, and that check_topip
/// reports the reason.
#[track_caller]
fn assert_both_agree(fixture: &SshFixture, known_hosts: &str, expected: Result<(), &str>) {
    fixture.dir.write("known_hosts", known_hosts);
    assert_eq!(openssh_accepts(fixture), expected.is_ok(), "OpenSSH of {known_hosts}");
    let result = fixture.check_by_key(&[]);
    match expected {
        Ok(()) => assert!(matches!(result.code, Some(0..=2)), "{known_hosts}: {}", result.stdout),
        Err(reason) => {
            let name = fixture.server.name();
            let answer = format!("3 TOPIP UNKNOWN - cannot log in to {name}: {reason}");
            assert!(
                result.code_and_status().starts_with(&answer),
                "{known_hosts}: {}",
                result.stdout
            );
        }
    }
}

#[test]
fn known_hosts_matches_openssh() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    let port = fixture.server.port;
    let right = fixture.server.known_hosts_lines("127.0.0.1");
    let blob = right.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    create_key(&fixture.dir, "other", &["-t", "ed25519"]);
    let other = fs::read_to_string(fixture.dir.path("other.pub")).unwrap();
    let other = other.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let unknown = Err("its ED25519 host key SHA256:");
    let changed = |line: u32| format!("host key does not match known_hosts line {line}");

    assert_both_agree(&fixture, &right, Ok(()));
    assert_both_agree(&fixture, "", unknown);
    assert_both_agree(&fixture, &format!("[127.0.0.1]:{port} {other}\n"), Err(&changed(1)));
    assert_both_agree(
        &fixture,
        &format!("# a comment\n\n[127.0.0.1]:{port} {other}\n"),
        Err(&changed(3)),
    );
    // Other spellings.
    assert_both_agree(&fixture, &right.trim_end().replace(' ', "\t"), Ok(()));
    assert_both_agree(&fixture, &right.replace('\n', "\r\n"), Ok(()));
    assert_both_agree(&fixture, &format!("web1,[127.0.0.1]:{port},web2 {blob} a comment"), Ok(()));
    // Without the port: used if there is no entry with the port.
    assert_both_agree(&fixture, &format!("127.0.0.1 {blob}\n"), Ok(()));
    assert_both_agree(&fixture, &format!("127.0.0.1 {other}\n"), unknown);
    assert_both_agree(
        &fixture,
        &format!("[127.0.0.1]:{port} {other}\n127.0.0.1 {blob}\n"),
        Err(&changed(1)),
    );
    // Patterns.
    assert_both_agree(&fixture, &format!("[127.0.0.*]:{port} {blob}\n"), Ok(()));
    assert_both_agree(&fixture, &format!("127.0.0.? {blob}\n"), Ok(()));
    assert_both_agree(&fixture, &format!("*,!127.0.0.1,![127.0.0.1]:{port} {blob}\n"), unknown);
    // One of several keys of the same type.
    assert_both_agree(&fixture, &format!("[127.0.0.1]:{port} {other}\n{right}"), Ok(()));
    // Revoked keys.
    assert_both_agree(
        &fixture,
        &format!("{right}@revoked [127.0.0.1]:{port} {blob}\n"),
        Err("its host key is revoked by known_hosts line 2"),
    );
    assert_both_agree(&fixture, &format!("{right}@revoked * {other}\n"), Ok(()));
    assert_both_agree(
        &fixture,
        &format!("@revoked * {blob}\n"),
        Err("its host key is revoked by known_hosts line 1"),
    );
    // Malformed lines do not hide the others.
    assert_both_agree(
        &fixture,
        &format!("badline\n[x ssh-rsa\n127.0.0.1 1024 35 123\n@cert-authority * {other}\n{right}"),
        Ok(()),
    );
    // Hashed names.
    fixture.dir.write("known_hosts", &right);
    run_ok("ssh-keygen", &["-q", "-H", "-f", fixture.dir.path("known_hosts").to_str().unwrap()]);
    let hashed = fs::read_to_string(fixture.dir.path("known_hosts")).unwrap();
    assert!(hashed.starts_with("|1|"));
    assert_both_agree(&fixture, &hashed, Ok(()));
    assert_both_agree(&fixture, &hashed.replace(&blob, &other), Err(&changed(1)));
    assert_both_agree(&fixture, &(hashed.replacen("|1|", "|1|A", 1) + &right), Ok(()));
}

/// A server with several keys is asked for the known one.
#[test]
fn known_key_type_is_requested() {
    if !is_possible() {
        return;
    }
    let mut fixture = SshFixture::new("/bin/bash", "");
    let kinds: [&[&str]; 3] = [&["-t", "ed25519"], &["-t", "ecdsa"], &["-t", "rsa", "-b", "3072"]];
    let keys = kinds
        .iter()
        .enumerate()
        .map(|(n, args)| create_key(&fixture.dir, &format!("host{n}"), args));
    fixture.server = Server::openssh_with(&fixture.dir, keys.collect(), "", None);
    let all = fixture.server.known_hosts_lines("127.0.0.1");
    for line in all.lines() {
        assert_both_agree(&fixture, &format!("{line}\n"), Ok(()));
    }
    let result = fixture.check_by_key(&["-vv"]);
    assert!(result.stdout.contains(" rsa-sha2-512 "), "{}", result.stdout);
    assert_both_agree(&fixture, &all, Ok(()));
}

/// A host certificate is not requested, because it could not be verified.
#[test]
fn host_certificate_does_not_prevent_login() {
    if !is_possible() {
        return;
    }
    let mut fixture = SshFixture::new("/bin/bash", "");
    let authority = create_key(&fixture.dir, "authority", &["-t", "ed25519"]);
    let host = create_key(&fixture.dir, "host", &["-t", "ed25519"]);
    let public = host.with_added_extension("pub");
    run_ok(
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
    fixture.server = Server::openssh_with(&fixture.dir, vec![host], &certificate, None);
    assert_both_agree(&fixture, &fixture.server.known_hosts_lines("127.0.0.1"), Ok(()));
}

#[test]
fn accept_new_appends_key_once() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    let accept = |args: &[&str]| {
        let new = ["--host-key", "accept-new", "--known-hosts", "new/hosts"];
        fixture.check_by_key(&[&new[..], args].concat())
    };
    let file = fixture.dir.path("new/hosts");
    let assert_logged_in =
        |result: &CommandResult| assert!(matches!(result.code, Some(0..=2)), "{}", result.stdout);
    assert_logged_in(&accept(&[]));
    assert_eq!(fs::read_to_string(&file).unwrap(), fixture.server.known_hosts_lines("127.0.0.1"));
    assert_logged_in(&accept(&[]));
    assert_eq!(fs::read_to_string(&file).unwrap(), fixture.server.known_hosts_lines("127.0.0.1"));
    // The file ends with a line that has no line end.
    fs::write(&file, "# mine").unwrap();
    assert_logged_in(&accept(&[]));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("# mine\n{}", fixture.server.known_hosts_lines("127.0.0.1"))
    );
    // A changed key is not a new key.
    create_key(&fixture.dir, "other", &["-t", "ed25519"]);
    let other = fs::read_to_string(fixture.dir.path("other.pub")).unwrap();
    fs::write(&file, format!("[127.0.0.1]:{} {other}", fixture.server.port)).unwrap();
    let result = accept(&[]);
    assert!(
        result.code_and_status().contains(": host key does not match new/hosts line 1"),
        "{}",
        result.stdout
    );
    // A key of another type is not a new key if a key is known.
    create_key(&fixture.dir, "rsa", &["-t", "rsa", "-b", "2048"]);
    let rsa = fs::read_to_string(fixture.dir.path("rsa.pub")).unwrap();
    fs::write(&file, format!("[127.0.0.1]:{} {rsa}", fixture.server.port)).unwrap();
    assert!(accept(&[]).code_and_status().contains(": host key does not match new/hosts line 1"));
    assert_logged_in(&fixture.check_by_key(&[
        "--host-key",
        "ignore",
        "--known-hosts",
        "new/hosts",
    ]));
}

/// No password is sent to the wrong server.
#[test]
fn changed_host_key_receives_no_credentials() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "PasswordAuthentication yes");
    create_key(&fixture.dir, "other", &["-t", "ed25519"]);
    let other = fs::read_to_string(fixture.dir.path("other.pub")).unwrap();
    fixture.dir.write("known_hosts", format!("[127.0.0.1]:{} {other}", fixture.server.port));
    let result = fixture.check_by_key(&["-p", "corr3ct-horse"]);
    assert!(
        result.code_and_status().ends_with(": host key does not match known_hosts line 1"),
        "{}",
        result.stdout
    );
    let log =
        fs::read_to_string(fixture.dir.path(&format!("log_{}", fixture.server.port))).unwrap();
    assert!(log.contains("Connection from 127.0.0.1 "), "{log}");
    for word in ["Failed", "Accepted", "Postponed", "userauth"] {
        assert!(!log.contains(word), "{log}");
    }
}
