//! Servers that offer only broken algorithms, and checks that are disabled by options.
use std::process::{Command, Stdio};

use crate::support::sshd::{SshFixture, is_possible};
use crate::support::{
    TestDir, crowd,
    daemon::{free_port, wait_for_server},
    run,
};

#[test]
fn broken_algorithms_are_refused() {
    if !is_possible() {
        return;
    }
    const NO_CIPHER: &[&str] = &["the server supports none of the accepted ciphers"];
    const NO_MAC: &[&str] = &["the server supports none of the accepted MACs"];
    // The server may notice it first, and closes the connection without a reason.
    const NO_KEY_EXCHANGE: &[&str] = &[
        "the server supports none of the accepted key exchange or host key algorithms",
        "the server closed the connection, perhaps because it supports none of the accepted key \
         exchange algorithms",
    ];
    for (options, message) in [
        ("Ciphers 3des-cbc", NO_CIPHER),
        ("Ciphers aes128-cbc,aes256-cbc", NO_CIPHER),
        ("Ciphers aes128-ctr\nMACs hmac-md5,hmac-md5-96", NO_MAC),
        ("Ciphers aes128-ctr\nMACs hmac-sha1", NO_MAC),
        ("KexAlgorithms diffie-hellman-group1-sha1", NO_KEY_EXCHANGE),
        ("KexAlgorithms diffie-hellman-group14-sha1", NO_KEY_EXCHANGE),
    ] {
        let fixture = SshFixture::new("/bin/sh", options);
        let result = fixture.check_by_key(&[]);
        let answer = result.code_and_status();
        let name = fixture.server.name();
        let prefix = format!("3 TOPIP UNKNOWN - cannot establish an SSH session with {name}: ");
        let reason = answer.strip_prefix(&*prefix);
        assert!(reason.is_some_and(|reason| message.contains(&reason)), "{options}: {answer}");
    }
    // The weakest algorithms that are accepted.
    let fixture = SshFixture::new("/bin/sh", "Ciphers aes128-ctr\nMACs hmac-sha2-256");
    let result = fixture.check_by_key(&[]);
    assert!(matches!(result.code, Some(0..=2)), "{}", result.stdout);
}

#[test]
fn ignored_host_key_is_reported() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "");
    let message = format!(
        "\nHost key not verified (--host-key ignore): [127.0.0.1]:{}.\n",
        fixture.server.port
    );
    for (policy, is_reported) in [("strict", false), ("ignore", true)] {
        let result = fixture.check_by_key(&["--host-key", policy]);
        assert!(matches!(result.code, Some(0..=2)), "{}", result.stdout);
        assert_eq!(result.stdout.contains(&message), is_reported, "{}", result.stdout);
    }
}

/// Obsolete TLS is refused even if the system's OpenSSL configuration allows it.
#[test]
fn obsolete_tls_is_refused() {
    let dir = TestDir::new();
    let lax_config = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n\
               MinProtocol = TLSv1\nCipherString = DEFAULT@SECLEVEL=0\n";
    let lax_config = dir.write("openssl.cnf", lax_config);
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(dir.path(".")).env("OPENSSL_CONF", &lax_config);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
    let certificate = openssl(&args).args(["-keyout", "key.pem", "-out", "cert.pem"]).status();
    assert!(certificate.is_ok_and(|certificate| certificate.success()));
    for (version, is_taken) in [("-tls1_1", false), ("-tls1_2", true)] {
        let address = format!("127.0.0.1:{}", free_port());
        let args =
            ["s_server", "-accept", &address, "-key", "key.pem", "-cert", "cert.pem", version];
        let mut server = openssl(&args).spawn().unwrap();
        wait_for_server(address.parse().unwrap());
        let url = format!("smtps://{address}?tls=unverified");
        let args = ["--input", "listing", "--consecutive", "1", "-t", "3", "--smtp", &url];
        let mut command = dir.command(&args);
        command.args(["-a", "topip@example.com,ops@example.com"]).env("OPENSSL_CONF", &lax_config);
        let result = run(&mut command);
        server.kill().unwrap();
        server.wait().unwrap();
        let message = result.stdout.lines().nth(1).unwrap();
        assert_eq!(
            message.contains("cannot encrypt the connection"),
            !is_taken,
            "{version}: {message}"
        );
    }
}
