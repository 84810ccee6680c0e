//! Servers that offer only what was broken long ago, and what is not checked
//! where that is asked for.
use std::process::{Command, Stdio};

use crate::support::sshd::{World, is_possible};
use crate::support::{
    Room, crowd,
    daemon::{free_port, wait_for},
    run,
};

#[test]
fn broken_algorithms_are_refused() {
    if !is_possible() {
        return;
    }
    const NO_CIPHER: &[&str] = &["there is no cipher that both sides know"];
    const NO_MAC: &[&str] = &["there is no MAC that both sides know"];
    // The server may find that out first, and says nothing.
    const NO_KEY_EXCHANGE: &[&str] = &[
        "there is no key exchange or host key that both sides know",
        "it closed the connection, maybe for want of a key exchange that both sides know",
    ];
    for (options, told) in [
        ("Ciphers 3des-cbc", NO_CIPHER),
        ("Ciphers aes128-cbc,aes256-cbc", NO_CIPHER),
        ("Ciphers aes128-ctr\nMACs hmac-md5,hmac-md5-96", NO_MAC),
        ("Ciphers aes128-ctr\nMACs hmac-sha1", NO_MAC),
        ("KexAlgorithms diffie-hellman-group1-sha1", NO_KEY_EXCHANGE),
        ("KexAlgorithms diffie-hellman-group14-sha1", NO_KEY_EXCHANGE),
    ] {
        let world = World::new("/bin/sh", options);
        let ran = world.check_by_key(&[]);
        let answer = ran.answer();
        let why = answer.strip_prefix("3 TOPIP UNKNOWN - cannot talk SSH with 127.0.0.1: ");
        assert!(why.is_some_and(|why| told.contains(&why)), "{options}: {answer}");
    }
    // The least that is taken.
    let world = World::new("/bin/sh", "Ciphers aes128-ctr\nMACs hmac-sha2-256");
    let ran = world.check_by_key(&[]);
    assert!(matches!(ran.code, Some(0..=2)), "{}", ran.stdout);
}

#[test]
fn a_key_that_is_not_checked_is_said() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/sh", "");
    let told = format!(
        "\nWho answered as [127.0.0.1]:{} was not checked (--host-key ignore).\n",
        world.server.port
    );
    for (policy, is_told) in [("strict", false), ("ignore", true)] {
        let ran = world.check_by_key(&["--host-key", policy]);
        assert!(matches!(ran.code, Some(0..=2)), "{}", ran.stdout);
        assert_eq!(ran.stdout.contains(&told), is_told, "{}", ran.stdout);
    }
}

/// TLS of another age, which a configuration of the system may still allow.
#[test]
fn tls_of_another_age_is_refused() {
    let room = Room::new();
    let lax = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n\
               MinProtocol = TLSv1\nCipherString = DEFAULT@SECLEVEL=0\n";
    let lax = room.write("openssl.cnf", lax);
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(room.path(".")).env("OPENSSL_CONF", &lax);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
    let made = openssl(&args).args(["-keyout", "key.pem", "-out", "cert.pem"]).status();
    assert!(made.is_ok_and(|made| made.success()));
    for (version, is_taken) in [("-tls1_1", false), ("-tls1_2", true)] {
        let place = format!("127.0.0.1:{}", free_port());
        let args = ["s_server", "-accept", &place, "-key", "key.pem", "-cert", "cert.pem", version];
        let mut server = openssl(&args).spawn().unwrap();
        wait_for(place.parse().unwrap());
        let url = format!("smtps://{place}?tls=unverified");
        let args = ["--input", "listing", "--consecutive", "1", "-t", "3", "--smtp", &url];
        let mut command = room.command(&args);
        command.args(["-a", "topip@example.com,ops@example.com"]).env("OPENSSL_CONF", &lax);
        let ran = run(&mut command);
        server.kill().unwrap();
        server.wait().unwrap();
        let told = ran.stdout.lines().nth(1).unwrap();
        assert_eq!(told.contains("cannot encrypt the connection"), !is_taken, "{version}: {told}");
    }
}
