//! Servers that require more than one credential, or reject a login for a reason other than a
//! wrong credential.
use std::{
    fs,
    io::Read,
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use super::ssh_login::{assert_logged_in, assert_refused};
use crate::support::{
    daemon::run_ok,
    run,
    sshd::{Agent, Server, SshFixture, create_key, is_possible},
};

const PASSWORD: &str = "corr3ct-horse";
const PAM: &str = "UsePAM yes\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes";

/// Creates a server with these AuthenticationMethods, and a second key that it accepts.
fn fixture(methods: &str) -> SshFixture {
    let fixture = SshFixture::new("/bin/bash", &format!("{PAM}\nAuthenticationMethods {methods}"));
    fixture.account.set_password(PASSWORD);
    let second = create_key(&fixture.dir, "second", &["-t", "ed25519"]);
    fixture.account.authorize(&second, "");
    create_key(&fixture.dir, "stranger", &["-t", "ed25519"]);
    fixture
}

#[test]
fn every_pair_of_methods_logs_in() {
    if !is_possible() {
        return;
    }
    for (methods, last) in [
        ("publickey,password", "password"),
        ("publickey,keyboard-interactive", "keyboard-interactive"),
        ("publickey,publickey", "key second"),
        ("password,publickey", "key id"),
        ("password,keyboard-interactive", "keyboard-interactive"),
        ("keyboard-interactive,publickey", "key id"),
        ("keyboard-interactive,password", "password"),
        ("publickey,password publickey,keyboard-interactive", "password"),
        ("password,publickey keyboard-interactive,publickey", "key id"),
        ("publickey,publickey,password", "password"),
    ] {
        let fixture = fixture(methods);
        let result = fixture.check(&["-i", "id", "-i", "second", "-p", PASSWORD, "-vv"]);
        assert_logged_in(&result, last);
        // A wrong key before the right one, within the tries that the server allows.
        let result =
            fixture.check(&["-i", "stranger", "-i", "id", "-i", "second", "-p", PASSWORD, "-vv"]);
        assert_logged_in(&result, last);
    }
}

/// An account without a password needs no credential.
#[test]
fn server_that_wants_no_credential_logs_in() {
    if !is_possible() {
        return;
    }
    let options = "PasswordAuthentication yes\nPermitEmptyPasswords yes";
    let fixture = SshFixture::new("/bin/bash", options);
    run_ok("usermod", &["-p", "", &fixture.account.name]);
    assert_logged_in(&fixture.check(&["-vv"]), "no credential (the server requires none)");
    assert_logged_in(&fixture.check_by_key(&["-vv"]), "no credential (the server requires none)");
}

#[test]
fn missing_second_credential_is_named() {
    if !is_possible() {
        return;
    }
    const WITH_ID: [&str; 2] = ["-i", "id"];
    const WITH_PASSWORD: [&str; 2] = ["-p", PASSWORD];
    const ADD_PASSWORD: &str = "Name the file of the password with --password-file.";
    let try_with_ssh = |fixture: &SshFixture, options: &str| {
        format!(
            "Try, as the user that runs the check: ssh {options}-o \
             UserKnownHostsFile=known_hosts -p {} {}@127.0.0.1 true",
            fixture.server.port, fixture.account.name
        )
    };
    for (methods, args, reason, hint) in [
        (
            "publickey,password",
            &WITH_ID[..],
            "the key was accepted; the server also wants a password",
            Ok(ADD_PASSWORD),
        ),
        (
            "publickey,password publickey,keyboard-interactive",
            &WITH_ID,
            "the key was accepted; the server also wants a password or keyboard-interactive",
            Ok(ADD_PASSWORD),
        ),
        (
            "publickey,publickey",
            &WITH_ID,
            "the key was accepted; the server also wants another key",
            Err("-o BatchMode=yes -i id "),
        ),
        (
            "publickey,password",
            &["-i", "id", "-p", "wrong"],
            "the key was accepted; the server also wants a password, but the password was refused",
            Err("-i id "),
        ),
        (
            "password,publickey",
            &WITH_PASSWORD,
            "the password was accepted; the server also wants a key",
            Err("-o PubkeyAuthentication=no "),
        ),
        (
            "keyboard-interactive,publickey",
            &["-p", PASSWORD, "-i", "stranger"],
            "the password was accepted; the server also wants a key, but the key was not accepted",
            Err("-i stranger "),
        ),
        (
            "password",
            &["-p", "wrong"],
            "the password was refused",
            Err("-o PubkeyAuthentication=no "),
        ),
        (
            "publickey",
            &["-p", PASSWORD, "-i", "stranger"],
            "the key was not accepted, the server does not accept a password (publickey)",
            Err("-o BatchMode=yes -i stranger "),
        ),
    ] {
        let fixture = fixture(methods);
        let result = fixture.check(args);
        assert_refused(&result, &fixture, reason);
        let hint = hint.map_or_else(|options| try_with_ssh(&fixture, options), str::to_owned);
        assert_eq!(result.stdout.lines().nth(1), Some(&*hint), "{methods}: {}", result.stdout);
    }
}

/// The command of a hint fails for the same reason.
#[test]
fn hinted_command_shows_the_failure() {
    if !is_possible() {
        return;
    }
    let fixture = fixture("publickey");
    let result = fixture.check(&["-i", "stranger"]);
    let hint = result.stdout.lines().nth(1).unwrap();
    let command = hint.strip_prefix("Try, as the user that runs the check: ").unwrap();
    let ssh = Command::new("sh")
        .args(["-c", command])
        .current_dir(fixture.dir.path("."))
        .env("SSH_AUTH_SOCK", "")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&ssh.stderr).into_owned();
    assert!(stderr.contains("Permission denied (publickey)"), "{command}: {stderr}");
}

/// PAM requires a new password. The check never answers with the old one, and a session after
/// another login method does not run a command.
#[test]
fn expired_password_is_reported() {
    if !is_possible() {
        return;
    }
    for (methods, args, start) in [
        ("keyboard-interactive", &["-p", PASSWORD][..], "cannot log in to"),
        ("password", &["-p", PASSWORD], "cannot run a command on"),
        ("publickey", &["-i", "id"], "cannot run a command on"),
        ("publickey,keyboard-interactive", &["-i", "id", "-p", PASSWORD], "cannot log in to"),
    ] {
        let fixture = fixture(methods);
        run_ok("chage", &["-d", "0", &fixture.account.name]);
        let shadow = fs::read_to_string("/etc/shadow").unwrap();
        let result = fixture.check(args);
        let (name, user) = (fixture.server.name(), &fixture.account.name);
        let start = format!("3 TOPIP UNKNOWN - {start} {name} as {user}: ");
        let line = result.code_and_status();
        assert!(line.starts_with(&start), "{methods}: {line}");
        assert!(line.contains("the password has expired ("), "{methods}: {line}");
        let hint = result.stdout.lines().nth(1).unwrap();
        assert!(hint.starts_with("Log in and change the password: ssh "), "{methods}: {hint}");
        assert!(hint.ends_with(&format!(" {user}@127.0.0.1")), "{methods}: {hint}");
        // The password is the same as before.
        let password_of = |shadow: &str| {
            let line = shadow.lines().find(|line| line.starts_with(&format!("{user}:")));
            line.unwrap().to_owned()
        };
        let after = fs::read_to_string("/etc/shadow").unwrap();
        assert_eq!(password_of(&after), password_of(&shadow), "{methods}");
    }
}

#[test]
fn too_many_tries_are_reported() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", &format!("{PAM}\nMaxAuthTries 6"));
    let agent = Agent::new(&fixture.dir);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        agent.add(&create_key(&fixture.dir, name, &["-t", "ed25519"]));
    }
    let reason = "the server closed the connection after 6 keys (Too many authentication failures)";
    let result = run(fixture.command(&[]).env("SSH_AUTH_SOCK", &agent.socket));
    assert_refused(&result, &fixture, reason);
    assert!(
        result.stdout.contains("\nName the key of this server with --identity; "),
        "{result:?}"
    );

    let fixture = SshFixture::new("/bin/bash", &format!("{PAM}\nMaxAuthTries 1"));
    fixture.account.set_password(PASSWORD);
    let reason =
        "the server closed the connection after the password (Too many authentication failures)";
    assert_refused(&fixture.check(&["-p", "wrong"]), &fixture, reason);
    create_key(&fixture.dir, "stranger", &["-t", "ed25519"]);
    let reason =
        "the server closed the connection after the key (Too many authentication failures)";
    assert_refused(&fixture.check(&["-i", "stranger", "-p", PASSWORD]), &fixture, reason);
}

/// The request for the methods that follow is a try, too.
#[test]
fn two_methods_with_one_try_are_reported() {
    if !is_possible() {
        return;
    }
    let fixture = fixture("publickey,password\nMaxAuthTries 1");
    let reason = "the key was accepted, but the server closed the connection (Too many authentication failures)";
    assert_refused(&fixture.check(&["-i", "id", "-p", PASSWORD]), &fixture, reason);
}

/// Dropbear closes the connection without a message.
#[test]
fn dropbear_with_two_factors_and_few_tries_is_reported() {
    if !is_possible() {
        return;
    }
    let mut fixture = SshFixture::new("/bin/bash", "");
    fixture.account.set_password(PASSWORD);
    fixture.server = Server::dropbear(&fixture.dir, &["-t", "-T", "3"]);
    let ignore = ["--host-key", "ignore"];
    let result = fixture.check_by_key(&[&["-p", PASSWORD, "-vv"], &ignore[..]].concat());
    assert_logged_in(&result, "password");
    assert_refused(
        &fixture.check_by_key(&ignore),
        &fixture,
        "the key was accepted; the server also wants a password",
    );
    fixture.server = Server::dropbear(&fixture.dir, &["-T", "1"]);
    let result = fixture.check(&["-p", "wrong", "--host-key", "ignore"]);
    assert_refused(&result, &fixture, "the server closed the connection after the password");
}

/// A certificate authority signs keys of each type; no key is in authorized_keys.
#[test]
fn certificates_log_in() {
    if !is_possible() {
        return;
    }
    let mut fixture = SshFixture::new("/bin/bash", "");
    let authority = create_key(&fixture.dir, "authority", &["-t", "ed25519"]);
    fs::remove_file(fixture.account.home.join(".ssh/authorized_keys")).unwrap();
    let keys = fixture.server.host_keys.clone();
    let options = format!("TrustedUserCAKeys {}.pub", authority.display());
    fixture.server = Server::openssh_with(&fixture.dir, keys, &options, None);
    fixture.dir.write("known_hosts", fixture.server.known_hosts_lines("127.0.0.1"));
    let sign = |key: &str, authority: &str, principal: &str| {
        let (authority, key) = (fixture.dir.path(authority), fixture.dir.path(key));
        let key = key.with_added_extension("pub");
        let (authority, key) = (authority.to_str().unwrap(), key.to_str().unwrap());
        run_ok("ssh-keygen", &["-q", "-s", authority, "-I", "x", "-n", principal, key]);
    };
    let user = fixture.account.name.clone();
    let agent = Agent::new(&fixture.dir);
    for (name, args) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa", &["-t", "ecdsa"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
    ] {
        create_key(&fixture.dir, name, args);
        assert_refused(&fixture.check(&["-i", name]), &fixture, "the key was not accepted");
        sign(name, "authority", &user);
        let result = fixture.check(&["-i", name, "-vv"]);
        assert_logged_in(&result, &format!("key {name} with its certificate"));
        agent.add(&fixture.dir.path(name));
        let certificate = format!("{name}-cert.pub");
        let mut command = fixture.command(&["-i", &certificate, "-vv"]);
        let result = run(command.env("SSH_AUTH_SOCK", &agent.socket));
        assert!(result.stdout.contains(" of the agent; ran "), "{name}: {}", result.stdout);
    }
    // For another user, of another authority, and for another key.
    create_key(&fixture.dir, "stranger", &["-t", "ed25519"]);
    let rejected = "the key was not accepted, the certificate stranger-cert.pub was not accepted";
    for (authority, principal) in [("authority", "somebody"), ("ed25519", &*user)] {
        sign("stranger", authority, principal);
        assert_refused(&fixture.check(&["-i", "stranger"]), &fixture, rejected);
    }
    fs::copy(fixture.dir.path("ed25519-cert.pub"), fixture.dir.path("stranger-cert.pub")).unwrap();
    assert_refused(
        &fixture.check(&["-i", "stranger"]),
        &fixture,
        "the key was not accepted, stranger-cert.pub cannot be used: it is not a certificate for \
         this key",
    );
}

#[test]
fn refusal_before_the_login_is_quoted() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "MaxStartups 1");
    let _waiting = waiting_connection(&fixture.server);
    let result = fixture.check_by_key(&[]);
    let expected = format!(
        "3 TOPIP UNKNOWN - cannot establish an SSH session with {}: the server answered Exceeded MaxStartups",
        fixture.server.name()
    );
    assert_eq!(result.code_and_status(), expected, "{}", result.stdout);
}

/// Returns a connection that waits for its login. The server may refuse some before, while
/// it still counts a closed one.
fn waiting_connection(server: &Server) -> TcpStream {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < Duration::from_secs(20), "the server refuses all connections");
        let mut connection = TcpStream::connect(server.address()).unwrap();
        let mut start = [0; 4];
        connection.read_exact(&mut start).unwrap();
        if start == *b"SSH-" {
            return connection;
        }
    }
}

/// If a server disconnects before the listing, the disconnect is reported as the reason.
#[test]
fn disconnect_before_the_listing_is_reported() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "");
    let name = fixture.server.name();
    // The parent of the shell is the daemon of the session.
    let kill = "kill -9 $PPID; sleep 10";
    let result = fixture.check_by_key(&["--command", &format!("cat /proc/net/tcp; {kill}")]);
    let expected =
        format!("3 TOPIP UNKNOWN - cannot read {name}: the server closed the connection");
    assert_eq!(result.code_and_status(), expected, "{}", result.stdout);
    for command in [kill.to_owned(), format!("echo x; {kill}")] {
        let fixture = SshFixture::new("/bin/sh", &format!("ForceCommand {command}"));
        let result = fixture.check_by_key(&[]);
        let expected = format!(
            "3 TOPIP UNKNOWN - cannot read the listing of {}: the server closed the connection",
            fixture.server.name()
        );
        assert_eq!(result.code_and_status(), expected, "{command}: {}", result.stdout);
    }
}
