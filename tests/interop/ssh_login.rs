//! Logging in, to a real sshd and a real dropbear, by each way that there is.
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Stdio},
};

use crate::support::{
    CHECK, Ran, copy_of, run,
    sshd::{Account, Server, World, is_possible, key},
};

/// The check came to a verdict, having logged in by `way`.
#[track_caller]
fn logged_in(ran: &Ran, way: &str) {
    assert!(ran.stdout.contains(&format!(" by {way}; ran ")), "no {way}: {}", ran.stdout);
    assert!(matches!(ran.code, Some(0..=2)), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[track_caller]
fn refused(ran: &Ran, world: &World, why: &str) {
    let expected =
        format!("3 TOPIP UNKNOWN - cannot log in to 127.0.0.1 as {}: {why}", world.account.name);
    assert_eq!(ran.answer(), expected, "{}", ran.stdout);
}

#[test]
fn keys_of_every_kind() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "");
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
        let path = key(&world.room, name, args);
        world.account.authorize(&path, "");
        let secret = world.room.write("phrase", "a phrase\n");
        fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
        let ran = world.check(&["-i", name, "--passphrase-file", "phrase", "-vv"]);
        logged_in(&ran, &format!("key {name}"));
        // libssh2 can do without the public half.
        fs::remove_file(path.with_added_extension("pub")).unwrap();
        logged_in(
            &world.check(&["-i", name, "--passphrase-file", "phrase", "-vv"]),
            &format!("key {name}"),
        );
    }
    for (name, why) in [
        ("locked", "cannot be used: its passphrase is wrong"),
        ("locked_pem", "was not accepted, or its passphrase is wrong"),
    ] {
        refused(
            &world.check(&["-i", name]),
            &world,
            &format!("{name} is encrypted, and there is no passphrase"),
        );
        let wrong = world.room.write("wrong", "another phrase\n");
        fs::set_permissions(wrong, fs::Permissions::from_mode(0o600)).unwrap();
        refused(
            &world.check(&["-i", name, "--passphrase-file", "wrong"]),
            &world,
            &format!("{name} {why}"),
        );
    }
    key(&world.room, "stranger", &["-t", "ed25519"]);
    key(&world.room, "stranger2", &["-t", "ed25519"]);
    refused(&world.check(&["-i", "stranger"]), &world, "the key was not accepted");
    refused(
        &world.check(&["-i", "stranger", "-i", "stranger2"]),
        &world,
        "none of the 2 keys was accepted",
    );
    logged_in(&world.check(&["-i", "stranger", "-i", "ed25519", "-vv"]), "key ed25519");
}

#[test]
fn keys_that_are_none() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "");
    let cannot = |args: &[&str], why: &str| {
        assert_eq!(
            world.check(args).answer(),
            format!("3 TOPIP UNKNOWN - cannot log in to 127.0.0.1: cannot use the key {why}")
        );
    };
    cannot(&["-i", "missing"], "missing: No such file or directory (os error 2)");
    world.room.write("words", "hello\n");
    fs::set_permissions(world.room.path("words"), fs::Permissions::from_mode(0o600)).unwrap();
    cannot(&["-i", "words"], "words: it is no private key");
    fs::set_permissions(world.room.path("id"), fs::Permissions::from_mode(0o644)).unwrap();
    cannot(&["-i", "id"], "id: others may read it");
}

#[test]
fn passwords_from_everywhere_and_shown_nowhere() {
    if !is_possible() {
        return;
    }
    const PASSWORD: &str = "corr3ct-horse";
    let world = World::new("/bin/bash", "PasswordAuthentication yes");
    world.account.set_password(PASSWORD);
    let file = world.room.write("password", format!("{PASSWORD}\n"));
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let mut all = String::new();
    let mut check = |command: &mut Command, expected: &str| {
        let ran = run(command);
        all += &ran.stdout;
        if expected.is_empty() {
            logged_in(&ran, "password");
        } else {
            assert!(ran.answer().contains(expected), "{}", ran.stdout);
        }
    };
    mode(0o600);
    check(&mut world.command(&["--password-file", "password", "-vvv"]), "");
    check(world.command(&["-vvv"]).env("TOPIP_PASSWORD", PASSWORD), "");
    check(&mut world.command(&["-p", PASSWORD, "-vvv"]), "");
    check(&mut world.command(&["-p", "wrong-one", "-vvv"]), ": the password was refused");
    check(&mut world.command(&["-vvv"]), ": there is no key and no password to try");
    mode(0o644);
    check(
        &mut world.command(&["--password-file", "password"]),
        "3 TOPIP UNKNOWN - cannot use password: others may read it",
    );
    mode(0o640);
    check(
        &mut world.command(&["--password-file", "password"]),
        "3 TOPIP UNKNOWN - cannot use password: others may read it",
    );
    check(
        &mut world.command(&["--password-file", "missing"]),
        "3 TOPIP UNKNOWN - cannot read missing: No such file",
    );
    let state = fs::read_to_string(world.room.path(&world.state_file())).unwrap();
    for secret in [PASSWORD, "wrong-one"] {
        assert!(!all.contains(secret) && !state.contains(secret), "{secret} is shown");
    }
}

/// `ps` shows it from the start; the check makes that shorter.
#[test]
fn a_password_of_the_command_line_is_wiped() {
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
    // It has come so far, and will get no further.
    let _peer = listener.accept().unwrap();
    let command_line = fs::read_to_string(format!("/proc/{}/cmdline", check.id())).unwrap();
    check.kill().unwrap();
    check.wait().unwrap();
    assert!(command_line.contains("--password=xxxxxxxxxxx\0"), "{command_line}");
}

#[test]
fn keyboard_interactive() {
    if !is_possible() {
        return;
    }
    let world = World::new(
        "/bin/bash",
        "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\nPubkeyAuthentication no",
    );
    world.account.set_password("corr3ct-horse");
    logged_in(&world.check(&["-p", "corr3ct-horse", "-vv"]), "keyboard-interactive");
    refused(&world.check(&["-p", "wrong", "-t", "20"]), &world, "the password was refused");
}

/// On a terminal, a person is asked, and what is typed is not echoed.
#[test]
fn a_person_is_asked() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "PasswordAuthentication yes");
    world.account.set_password("corr3ct-horse");
    key(&world.room, "locked", &["-t", "ed25519", "-N", "a phrase"]);
    world.account.authorize(&world.room.path("locked"), "");
    let password = format!("Password of {} on 127.0.0.1: ", world.account.name);
    for (options, typed, question, way) in [
        ("", "corr3ct-horse\n", password, "password"),
        ("-i locked", "a phrase\n", "Passphrase of locked: ".to_owned(), "key locked"),
    ] {
        let line = format!(
            "{CHECK} -s {}@{} --known-hosts known_hosts --state-file state -vv -t 20 {options}",
            world.account.name,
            world.server.address()
        );
        // script(1) gives it a terminal.
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("SSH_AUTH_SOCK", "")
            .current_dir(world.room.path("."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).contains(&question) {
            assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(typed.as_bytes()).unwrap();
        output.read_to_end(&mut seen).unwrap();
        drop(stdin);
        child.wait().unwrap();
        let seen = String::from_utf8_lossy(&seen);
        assert!(seen.contains(&format!(" by {way}; ran ")), "{seen}");
        assert!(!seen.contains(typed.trim()), "{seen}");
    }
}

/// A server that asks for a key and a password gets both.
#[test]
fn two_proofs() {
    if !is_possible() {
        return;
    }
    let world = World::new(
        "/bin/bash",
        "AuthenticationMethods publickey,password\nPasswordAuthentication yes",
    );
    world.account.set_password("corr3ct-horse");
    logged_in(&world.check(&["-i", "id", "-p", "corr3ct-horse", "-vv"]), "password");
    assert_eq!(world.check(&["-i", "id", "-p", "wrong"]).code, Some(3));
    assert_eq!(world.check(&["-i", "id"]).code, Some(3));
}

struct Agent {
    child: Child,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn every_key_of_the_agent_is_tried() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "");
    let socket = world.room.path("agent");
    let child = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _agent = Agent { child };
    while !socket.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let add = |name: &str| {
        let output = Command::new("ssh-add")
            .arg(world.room.path(name))
            .env("SSH_AUTH_SOCK", &socket)
            .output();
        assert!(output.unwrap().status.success());
    };
    let with_agent = |args: &[&str]| run(world.command(args).env("SSH_AUTH_SOCK", &socket));
    for name in ["one", "two"] {
        key(&world.room, name, &["-t", "ed25519", "-C", name]);
        add(name);
    }
    refused(&with_agent(&[]), &world, "none of the 2 keys was accepted");
    key(&world.room, "three", &["-t", "ed25519", "-C", "the third"]);
    world.account.authorize(&world.room.path("three"), "");
    add("three");
    logged_in(&with_agent(&["-vv"]), "key the third of the agent");
    // A socket that nobody serves.
    let ran = run(world.command(&[]).env("SSH_AUTH_SOCK", "/nonexistent"));
    assert!(ran.answer().contains(": the agent gave no keys ("), "{}", ran.stdout);
    logged_in(
        &run(world.command(&["-i", "id", "-vv"]).env("SSH_AUTH_SOCK", "/nonexistent")),
        "key id",
    );
}

/// The user who runs the check has a home, whatever `$HOME` says.
#[test]
fn the_usual_names_in_the_home_folder() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "");
    let home = &world.account.home;
    fs::copy(&world.key, home.join(".ssh/id_ed25519")).unwrap();
    fs::write(home.join(".ssh/known_hosts"), world.server.known("127.0.0.1")).unwrap();
    world.account.own();
    let program = world.room.path("check");
    copy_of(CHECK, &program);
    let uid = fs::metadata(home).map(|it| std::os::unix::fs::MetadataExt::uid(&it)).unwrap();
    let mut command = Command::new(program);
    command
        .args(["-H", &world.server.address(), "-vv", "--no-default-excludes"])
        .env_clear()
        .env("HOME", "/root")
        .env("MP_STATE_PATH", home)
        .uid(uid)
        .gid(uid);
    let ran = run(&mut command);
    logged_in(&ran, &format!("key {}", home.join(".ssh/id_ed25519").display()));
    assert!(
        ran.stdout.contains(&format!("logged in as {} by", world.account.name)),
        "{}",
        ran.stdout
    );
}

#[test]
fn dropbear_lets_in_too() {
    if !is_possible() {
        return;
    }
    let mut world = World::new("/bin/bash", "");
    world.server = Server::dropbear(&world.room);
    let first =
        world.check_by_key(&["--host-key", "accept-new", "--known-hosts", "new_hosts", "-vv"]);
    logged_in(&first, "key id");
    world.account.set_password("corr3ct-horse");
    let ran = world.check(&["-p", "corr3ct-horse", "--known-hosts", "new_hosts", "-vv"]);
    logged_in(&ran, "password");
    assert!(ran.stdout.contains("ran ss -tan (Linux)"), "{}", ran.stdout);
}

#[test]
fn users_from_everywhere() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/bash", "");
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
            .current_dir(world.room.path("."));
        run(&mut command)
    };
    let (name, address) = (&world.account.name, world.server.address());
    logged_in(&at(&address, &["-u", name]), "key id");
    logged_in(&at(&format!("{name}@{address}"), &["-u", "somebody"]), "key id");
    assert!(
        at(&address, &[])
            .answer()
            .starts_with("3 TOPIP UNKNOWN - cannot log in to 127.0.0.1 as root: ")
    );
    let other = Account::new(&world.room, "/bin/bash");
    assert!(at(&address, &["-u", &other.name]).answer().ends_with(": the key was not accepted"));
}
