//! Logins to a real sshd and a real dropbear, by every method.
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Stdio},
};

use crate::interop::kernel::in_namespace;
use crate::support::{
    CHECK, CommandResult, copy_program,
    daemon::run_ok,
    run,
    sshd::{Account, Agent, Server, SshFixture, create_key, is_possible},
};

/// Asserts that the check has a verdict, after a login by `method`.
#[track_caller]
pub fn assert_logged_in(result: &CommandResult, method: &str) {
    assert!(
        result.stdout.contains(&format!(" by {method}; ran ")),
        "no {method}: {}",
        result.stdout
    );
    assert!(matches!(result.code, Some(0..=2)), "{}", result.stdout);
    assert_eq!(result.stderr, "");
}

/// Asserts that the login fails for this reason.
#[track_caller]
pub fn assert_refused(result: &CommandResult, fixture: &SshFixture, reason: &str) {
    let expected = format!(
        "3 TOPIP UNKNOWN - cannot log in to {} as {}: {reason}",
        fixture.server.name(),
        fixture.account.name
    );
    assert_eq!(result.code_and_status(), expected, "{}", result.stdout);
}

#[test]
fn every_key_type_logs_in() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    let kinds: [(&str, &[&str]); 7] = [
        ("ed25519", &["-t", "ed25519"]),
        ("ecdsa", &["-t", "ecdsa"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa_pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
        ("locked", &["-t", "ed25519", "-N", "a phrase"]),
        ("locked_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "a phrase"]),
    ];
    for (name, args) in kinds {
        let path = create_key(&fixture.dir, name, args);
        fixture.account.authorize(&path, "");
        let secret = fixture.dir.write("phrase", "a phrase\n");
        fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
        let result = fixture.check(&["-i", name, "--passphrase-file", "phrase", "-vv"]);
        assert_logged_in(&result, &format!("key {name}"));
        // libssh2 does not need the public key file.
        fs::remove_file(path.with_added_extension("pub")).unwrap();
        assert_logged_in(
            &fixture.check(&["-i", name, "--passphrase-file", "phrase", "-vv"]),
            &format!("key {name}"),
        );
    }
    for name in ["locked", "locked_pem"] {
        assert_refused(
            &fixture.check(&["-i", name]),
            &fixture,
            &format!("{name} is encrypted, and no passphrase is available"),
        );
        let wrong = fixture.dir.write("wrong", "another phrase\n");
        fs::set_permissions(wrong, fs::Permissions::from_mode(0o600)).unwrap();
        assert_refused(
            &fixture.check(&["-i", name, "--passphrase-file", "wrong"]),
            &fixture,
            &format!("{name} cannot be used: its passphrase is wrong"),
        );
    }
    create_key(&fixture.dir, "stranger", &["-t", "ed25519"]);
    create_key(&fixture.dir, "stranger2", &["-t", "ed25519"]);
    assert_refused(&fixture.check(&["-i", "stranger"]), &fixture, "the key was not accepted");
    assert_refused(
        &fixture.check(&["-i", "stranger", "-i", "stranger2"]),
        &fixture,
        "none of the 2 keys was accepted",
    );
    assert_logged_in(&fixture.check(&["-i", "stranger", "-i", "ed25519", "-vv"]), "key ed25519");
}

#[test]
fn unusable_key_files_are_rejected() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    let cannot = |args: &[&str], reason: &str| {
        assert_eq!(
            fixture.check(args).code_and_status(),
            format!(
                "3 TOPIP UNKNOWN - cannot log in to {}: cannot use the key {reason}",
                fixture.server.name()
            )
        );
    };
    cannot(&["-i", "missing"], "missing: No such file or directory (os error 2)");
    fixture.dir.write("words", "hello\n");
    fs::set_permissions(fixture.dir.path("words"), fs::Permissions::from_mode(0o600)).unwrap();
    cannot(&["-i", "words"], "words: it is not a private key");
    fs::set_permissions(fixture.dir.path("id"), fs::Permissions::from_mode(0o644)).unwrap();
    cannot(&["-i", "id"], "id: others may read it");
}

#[test]
fn passwords_from_all_sources_are_never_shown() {
    if !is_possible() {
        return;
    }
    const PASSWORD: &str = "corr3ct-horse";
    let fixture = SshFixture::new("/bin/bash", "PasswordAuthentication yes");
    fixture.account.set_password(PASSWORD);
    let file = fixture.dir.write("password", format!("{PASSWORD}\n"));
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let mut all = String::new();
    let mut check = |command: &mut Command, expected: &str| {
        let result = run(command);
        all += &result.stdout;
        if expected.is_empty() {
            assert_logged_in(&result, "password");
        } else {
            assert!(result.code_and_status().contains(expected), "{}", result.stdout);
        }
    };
    mode(0o600);
    check(&mut fixture.command(&["--password-file", "password", "-vvv"]), "");
    check(fixture.command(&["-vvv"]).env("TOPIP_PASSWORD", PASSWORD), "");
    check(&mut fixture.command(&["-p", PASSWORD, "-vvv"]), "");
    check(&mut fixture.command(&["-p", "wrong-one", "-vvv"]), ": the password was refused");
    check(&mut fixture.command(&["-vvv"]), ": no key or password is available");
    mode(0o644);
    check(
        &mut fixture.command(&["--password-file", "password"]),
        "3 TOPIP UNKNOWN - cannot use password: others may read it",
    );
    mode(0o640);
    check(
        &mut fixture.command(&["--password-file", "password"]),
        "3 TOPIP UNKNOWN - cannot use password: others may read it",
    );
    check(
        &mut fixture.command(&["--password-file", "missing"]),
        "3 TOPIP UNKNOWN - cannot read missing: No such file",
    );
    let state = fs::read_to_string(fixture.dir.path(&fixture.state_file())).unwrap();
    for secret in [PASSWORD, "wrong-one"] {
        assert!(!all.contains(secret) && !state.contains(secret), "{secret} is shown");
    }
}

/// `ps` shows the password until the check overwrites it.
#[test]
fn command_line_password_is_wiped() {
    if !is_possible() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("x@{}", listener.local_addr().unwrap());
    let mut check = Command::new(CHECK)
        .args(["-H", &address, "--password=s3cret-word", "-t", "5"])
        .env("MP_STATE_PATH", "/nonexistent")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The check has overwritten it, and waits for the server.
    let _peer = listener.accept().unwrap();
    let command_line = fs::read_to_string(format!("/proc/{}/cmdline", check.id())).unwrap();
    check.kill().unwrap();
    check.wait().unwrap();
    assert!(command_line.contains("--password=xxxxxxxxxxx\0"), "{command_line}");
}

#[test]
fn keyboard_interactive_logs_in() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new(
        "/bin/bash",
        "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\nPubkeyAuthentication no",
    );
    fixture.account.set_password("corr3ct-horse");
    assert_logged_in(&fixture.check(&["-p", "corr3ct-horse", "-vv"]), "keyboard-interactive");
    assert_refused(
        &fixture.check(&["-p", "wrong", "-t", "20"]),
        &fixture,
        "the password was refused",
    );
}

/// On a terminal, the password is prompted for, and the input is not echoed.
#[test]
fn password_prompt_on_terminal_does_not_echo() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "PasswordAuthentication yes");
    fixture.account.set_password("corr3ct-horse");
    create_key(&fixture.dir, "locked", &["-t", "ed25519", "-N", "a phrase"]);
    fixture.account.authorize(&fixture.dir.path("locked"), "");
    let (name, server) = (&fixture.account.name, fixture.server.name());
    let password = format!("Password of {name} on {server}: ");
    for (options, typed_text, question, method) in [
        ("", "corr3ct-horse\n", password, "password"),
        ("-i locked", "a phrase\n", "Passphrase of locked: ".to_owned(), "key locked"),
    ] {
        let line = format!(
            "{CHECK} -s {}@{} --known-hosts known_hosts --state-file state -vv -t 20 {options}",
            fixture.account.name,
            fixture.server.address()
        );
        // script(1) provides a terminal.
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("SSH_AUTH_SOCK", "")
            .current_dir(fixture.dir.path("."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut terminal_output = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&terminal_output).contains(&question) {
            assert_eq!(
                output.read(&mut byte).unwrap(),
                1,
                "{}",
                String::from_utf8_lossy(&terminal_output)
            );
            terminal_output.push(byte[0]);
        }
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(typed_text.as_bytes()).unwrap();
        output.read_to_end(&mut terminal_output).unwrap();
        drop(stdin);
        child.wait().unwrap();
        let terminal_output = String::from_utf8_lossy(&terminal_output);
        assert!(terminal_output.contains(&format!(" by {method}; ran ")), "{terminal_output}");
        assert!(!terminal_output.contains(typed_text.trim()), "{terminal_output}");
    }
}

/// A server that requires a key and a password gets both.
#[test]
fn key_and_password_both_required_log_in() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new(
        "/bin/bash",
        "AuthenticationMethods publickey,password\nPasswordAuthentication yes",
    );
    fixture.account.set_password("corr3ct-horse");
    assert_logged_in(&fixture.check(&["-i", "id", "-p", "corr3ct-horse", "-vv"]), "password");
    assert_eq!(fixture.check(&["-i", "id", "-p", "wrong"]).code, Some(3));
    assert_eq!(fixture.check(&["-i", "id"]).code, Some(3));
}

#[test]
fn every_agent_key_is_tried() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    let agent = Agent::new(&fixture.dir);
    let with_agent = |args: &[&str]| run(fixture.command(args).env("SSH_AUTH_SOCK", &agent.socket));
    for name in ["one", "two"] {
        create_key(&fixture.dir, name, &["-t", "ed25519", "-C", name]);
        agent.add(&fixture.dir.path(name));
    }
    assert_refused(&with_agent(&[]), &fixture, "none of the 2 keys was accepted");
    create_key(&fixture.dir, "three", &["-t", "ed25519", "-C", "the third"]);
    fixture.account.authorize(&fixture.dir.path("three"), "");
    agent.add(&fixture.dir.path("three"));
    assert_logged_in(&with_agent(&["-vv"]), "key the third of the agent");
    // A socket without an agent.
    let result = run(fixture.command(&[]).env("SSH_AUTH_SOCK", "/nonexistent"));
    assert!(result.code_and_status().contains(": the agent gave no keys ("), "{}", result.stdout);
    assert_logged_in(
        &run(fixture.command(&["-i", "id", "-vv"]).env("SSH_AUTH_SOCK", "/nonexistent")),
        "key id",
    );
}

/// The file of a public key or certificate selects a key of the agent.
#[test]
fn public_key_file_selects_agent_key() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "MaxAuthTries 3");
    let agent = Agent::new(&fixture.dir);
    let with_agent = |args: &[&str]| run(fixture.command(args).env("SSH_AUTH_SOCK", &agent.socket));
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        let key = create_key(&fixture.dir, name, &["-t", "ed25519", "-C", name]);
        agent.add(&key);
        // The public key alone is enough.
        fs::remove_file(&key).unwrap();
    }
    fixture.account.authorize(&fixture.dir.path("f"), "");
    assert_logged_in(&with_agent(&["-i", "f.pub", "-vv"]), "key f of the agent");
    let result = with_agent(&[]);
    assert_refused(
        &result,
        &fixture,
        "the server closed the connection after 3 keys (Too many authentication failures)",
    );
    assert_eq!(
        result.stdout.lines().nth(1),
        Some(
            "Name the key of this server with --identity; the file of a public key selects a key \
             of the agent."
        ),
        "{}",
        result.stdout
    );
    // The agent has an encrypted key in clear.
    let key = create_key(&fixture.dir, "locked", &["-t", "ed25519", "-C", "locked"]);
    fixture.account.authorize(&key, "");
    agent.add(&key);
    run_ok("ssh-keygen", &["-q", "-p", "-N", "a phrase", "-f", key.to_str().unwrap()]);
    assert_logged_in(&with_agent(&["-i", "locked", "-vv"]), "key locked of the agent");
    create_key(&fixture.dir, "other", &["-t", "ed25519"]);
    let result = with_agent(&["-i", "other.pub"]);
    let lacking =
        "other.pub cannot be used: it is a public key, and the agent does not have its private key";
    assert!(result.status_line().contains(lacking), "{}", result.stdout);
    assert_refused(
        &fixture.check(&["-i", "f.pub"]),
        &fixture,
        "f.pub cannot be used: it is a public key, and no agent with its private key is available",
    );
}

/// Editors of Windows write CRLF and a byte order mark, and PowerShell writes UTF-16.
#[test]
fn private_keys_from_windows_log_in() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    for (name, args) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("ecdsa_pem", &["-t", "ecdsa", "-m", "PEM"]),
        ("rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa_pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
        ("locked", &["-t", "ed25519", "-N", "a phrase"]),
        ("locked_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "a phrase"]),
    ] {
        let key = create_key(&fixture.dir, name, args);
        fixture.account.authorize(&key, "");
        let text = fs::read_to_string(&key).unwrap();
        let with_crlf = text.replace('\n', "\r\n");
        let phrase = fixture.dir.write("phrase", "a phrase\n");
        fs::set_permissions(phrase, fs::Permissions::from_mode(0o600)).unwrap();
        for text in [with_crlf.clone(), format!("\u{feff}{text}"), format!("\u{feff}{with_crlf}")] {
            fs::write(&key, text).unwrap();
            let result = fixture.check(&["-i", name, "--passphrase-file", "phrase", "-vv"]);
            assert_logged_in(&result, &format!("key {name}"));
        }
        let text = format!("\u{feff}{with_crlf}");
        let utf16: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(&key, utf16).unwrap();
        let result = fixture.check(&["-i", name]);
        let reason = format!("cannot use the key {name}: it is UTF-16 text instead of ASCII");
        assert!(result.status_line().ends_with(&reason), "{}", result.stdout);
    }
}

/// A key is used even if its public key file belongs to another key.
#[test]
fn foreign_public_key_file_is_ignored() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    for args in [&["-t", "ed25519"][..], &["-t", "rsa", "-b", "2048", "-m", "PEM"]] {
        let key = create_key(&fixture.dir, "key", args);
        fixture.account.authorize(&key, "");
        create_key(&fixture.dir, "other", args);
        fs::rename(fixture.dir.path("other.pub"), fixture.dir.path("key.pub")).unwrap();
        assert_logged_in(&fixture.check(&["-i", "key", "-vv"]), "key key");
        for name in ["key", "key.pub", "other"] {
            fs::remove_file(fixture.dir.path(name)).unwrap();
        }
    }
}

/// The home directory is that of the user, independent of `$HOME`.
#[test]
fn default_files_in_home_directory_are_used() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    let home = &fixture.account.home;
    fs::copy(&fixture.key, home.join(".ssh/id_ed25519")).unwrap();
    fs::write(home.join(".ssh/known_hosts"), fixture.server.known_hosts_lines("127.0.0.1"))
        .unwrap();
    fixture.account.chown_home();
    let program = fixture.dir.path("check");
    copy_program(CHECK, &program);
    let uid = fs::metadata(home).map(|it| std::os::unix::fs::MetadataExt::uid(&it)).unwrap();
    let mut command = Command::new(program);
    command
        .args(["-H", &fixture.server.address(), "-vv", "--no-default-excludes"])
        .env_clear()
        .env("HOME", "/root")
        .env("MP_STATE_PATH", home)
        .uid(uid)
        .gid(uid);
    let result = run(&mut command);
    assert_logged_in(&result, &format!("key {}", home.join(".ssh/id_ed25519").display()));
    assert!(
        result.stdout.contains(&format!("logged in as {} by", fixture.account.name)),
        "{}",
        result.stdout
    );
    // A default key that is not used is named if the login fails.
    fs::set_permissions(home.join(".ssh/id_ed25519"), fs::Permissions::from_mode(0o644)).unwrap();
    let reason =
        format!("{} cannot be used: others may read it", home.join(".ssh/id_ed25519").display());
    assert_refused(&run(&mut command), &fixture, &reason);
    fs::set_permissions(home.join(".ssh/id_ed25519"), fs::Permissions::from_mode(0o000)).unwrap();
    let reason = format!(
        "{} cannot be used: Permission denied (os error 13)",
        home.join(".ssh/id_ed25519").display()
    );
    assert_refused(&run(&mut command), &fixture, &reason);
}

#[test]
fn dropbear_server_logs_in() {
    if !is_possible() {
        return;
    }
    let mut fixture = SshFixture::new("/bin/bash", "");
    fixture.server = Server::dropbear(&fixture.dir, &[]);
    let first =
        fixture.check_by_key(&["--host-key", "accept-new", "--known-hosts", "new_hosts", "-vv"]);
    assert_logged_in(&first, "key id");
    fixture.account.set_password("corr3ct-horse");
    let result = fixture.check(&["-p", "corr3ct-horse", "--known-hosts", "new_hosts", "-vv"]);
    assert_logged_in(&result, "password");
    assert!(result.stdout.contains("ran ss -tan (Linux)"), "{}", result.stdout);
}

#[test]
fn user_name_comes_from_option_or_server() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/bash", "");
    let at = |server: &str, user: &[&str]| {
        let mut command = Command::new(CHECK);
        command
            .args([
                "-H",
                server,
                "-i",
                "id",
                "--known-hosts",
                "known_hosts",
                "--state-file",
                "state",
                "-vv",
            ])
            .args(user)
            .env_clear()
            .current_dir(fixture.dir.path("."));
        run(&mut command)
    };
    let (name, address) = (&fixture.account.name, fixture.server.address());
    assert_logged_in(&at(&address, &["-u", name]), "key id");
    assert_logged_in(&at(&format!("{name}@{address}"), &["-u", "somebody"]), "key id");
    assert!(at(&address, &[]).code_and_status().starts_with(&format!(
        "3 TOPIP UNKNOWN - cannot log in to {} as root: ",
        fixture.server.name()
    )));
    let other = Account::new(&fixture.dir, "/bin/bash");
    assert!(
        at(&address, &["-u", &other.name])
            .code_and_status()
            .ends_with(": the key was not accepted")
    );
}

/// A link-local address with its zone needs no brackets.
#[test]
fn link_local_server_is_reached() {
    if is_possible() {
        in_namespace(check_link_local_server);
    }
}

fn check_link_local_server() {
    for args in [
        "link add tt0 type veth peer name tt1",
        "addr add fe80::1/64 dev tt0 nodad",
        "link set tt0 up",
        "link set tt1 up",
    ] {
        run_ok("ip", &args.split(' ').collect::<Vec<_>>());
    }
    let options = "ListenAddress 127.0.0.1\nListenAddress [fe80::1%tt0]:22";
    let fixture = SshFixture::new("/bin/bash", options);
    let known_hosts = fixture
        .server
        .known_hosts_lines("x")
        .replace(&format!("[x]:{}", fixture.server.port), "fe80::1%tt0");
    fixture.dir.write("known_hosts", known_hosts);
    for server in ["fe80::1%tt0", "fe80:0:0::1%tt0", "[fe80::1%tt0]", "[fe80::1%tt0]:22"] {
        let server = format!("{}@{server}", fixture.account.name);
        let mut command = Command::new(CHECK);
        command
            .args(["-H", &server, "-i", "id", "--known-hosts", "known_hosts", "-vv"])
            .args(["--state-file", "state", "--no-default-excludes"])
            .env_clear()
            .current_dir(fixture.dir.path("."));
        assert_logged_in(&run(&mut command), "key id");
    }
}
