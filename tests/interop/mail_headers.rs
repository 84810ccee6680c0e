//! The bytes of a mail on the wire and for sendmail: line lengths, and the name of this host.
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::kernel::in_namespace;
use crate::support::{
    CHECK, CommandResult, TestDir, crowd, daemon::start_server, postfix::Postfix, run, skip,
};

/// Maximum length of a header line without its line end (RFC 5322, section 2.1.1).
const MAX_LINE_BYTES: usize = 78;
/// Maximum length of any line of a mail.
const MAX_BODY_LINE_BYTES: usize = 998;
const OFFENDERS: [&str; 3] =
    ["203.0.113.7", "203.0.113.8", "2001:db8:1111:2222:3333:4444:5555:6666"];
const ADDRESSES: &str = "topip@example.com,ops@example.com";

/// An SMTP server that takes every mail and records what it receives.
struct Recorder {
    port: u16,
    received: Arc<Mutex<String>>,
}

impl Recorder {
    fn start() -> Self {
        let received = Arc::new(Mutex::new(String::new()));
        let record = Arc::clone(&received);
        let port = start_server(move |stream| {
            let _ = serve(stream, &record);
        });
        Self { port, received }
    }

    fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Returns what was received since the last call.
    fn received(&self) -> String {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, record: &Mutex<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 x ESMTP\r\n")?;
    let mut in_message = false;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        record.lock().unwrap().push_str(&line);
        in_message = (in_message || line == "DATA\r\n") && line != ".\r\n";
        match &*line {
            "DATA\r\n" => stream.write_all(b"354 x\r\n")?,
            _ if !in_message => stream.write_all(b"250 x\r\n")?,
            _ => {}
        }
        line.clear();
    }
    Ok(())
}

/// Writes a program that stores the mails it gets in the file `mails`.
fn storing_program(dir: &TestDir) -> String {
    let program = dir.write("sendmail", "#!/bin/sh\nexec cat >mails\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!("sendmail:{}", program.display())
}

/// Returns the arguments of a check on a file of this name, with three offenders.
fn args(dir: &TestDir, name: &str, addresses: &str, url: &str) -> Vec<String> {
    let offenders = OFFENDERS.map(|address| (address, 152));
    dir.write(name, crowd(31, &offenders));
    let input = ["--input", name, "--consecutive", "1", "--limit", "100"];
    let mail = ["-a", addresses, "--smtp", url, "--remind", "0", "--state-file", "state"];
    input.into_iter().chain(mail).map(str::to_owned).collect()
}

#[track_caller]
fn assert_sent(result: &CommandResult) {
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(!result.stdout.contains("Mail not sent"), "{result:?}");
}

/// Returns the header of a mail, with its lines as they are.
fn header(mail: &str) -> &str {
    let mail = mail.split_once("DATA\r\n").map_or(mail, |(_, message)| message);
    let end = if mail.contains("\r\n\r\n") { "\r\n\r\n" } else { "\n\n" };
    mail.split_once(end).unwrap().0
}

/// Returns the value of a header field without line breaks.
fn field(mail: &str, name: &str) -> String {
    let unfolded = header(mail).replace("\r\n", "\n").replace("\n ", " ");
    let start = format!("{name}: ");
    let line = unfolded.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name}: {mail}")).trim().to_owned()
}

#[track_caller]
fn assert_line_lengths(mail: &str) {
    for line in header(mail).lines() {
        assert!(line.len() <= MAX_LINE_BYTES, "{} bytes: {line}", line.len());
    }
    for line in mail.lines() {
        assert!(line.len() <= MAX_BODY_LINE_BYTES, "{} bytes: {line}", line.len());
    }
}

#[test]
fn header_with_sixty_recipients_is_folded() {
    let recorder = Recorder::start();
    let dir = TestDir::new();
    let recipients: Vec<_> =
        (0..60).map(|n| format!("operator{n}@department.example.com")).collect();
    let addresses = format!("topip@example.com,{}", recipients.join(","));
    // The subject is folded as well: RFC 2047 makes this name longer.
    let name = "ü".repeat(30);

    assert_sent(&dir.check(&args(&dir, &name, &addresses, &recorder.url())));
    let wire = recorder.received();
    assert_line_lengths(&wire);
    assert_eq!(field(&wire, "To"), recipients.join(", "));
    assert_eq!(wire.matches("\r\nRCPT TO:<").count(), 60);
    assert!(!wire.replace("\r\n", "").contains('\n'), "{wire}");

    assert_sent(&dir.check(&args(&dir, &name, &addresses, &storing_program(&dir))));
    let mail = fs::read_to_string(dir.path("mails")).unwrap();
    assert_line_lengths(&mail);
    assert_eq!(field(&mail, "To"), recipients.join(", "));
    assert!(!mail.contains('\r'), "{mail}");
}

#[test]
fn long_addresses_and_names_are_folded() {
    let recorder = Recorder::start();
    let dir = TestDir::new();
    let long = |user: &str| format!("{user}@{}.example.com", "a".repeat(55));
    let addresses = [long("sender"), long("first"), long("second")].join(",");
    let name = ["a".repeat(40), "b".repeat(40)].join(" ");
    let helo = ["web1", &"c".repeat(60), "example.com"].join(".");
    let url = format!("{}?helo={helo}", recorder.url());
    assert_sent(&dir.check(&args(&dir, &name, &addresses, &url)));
    let wire = recorder.received();
    for line in header(&wire).lines().filter(|line| line.len() > MAX_LINE_BYTES) {
        // A word cannot be folded.
        assert!(line.starts_with(' ') && !line.trim().contains(' '), "{line}");
    }
    assert_eq!(field(&wire, "To"), [long("first"), long("second")].join(", "));
    assert!(field(&wire, "Message-ID").ends_with(&format!("@{helo}>")), "{wire}");
}

#[test]
fn subject_names_offenders() {
    let recorder = Recorder::start();
    let dir = TestDir::new();
    assert_sent(&dir.check(&args(&dir, "web1", ADDRESSES, &recorder.url())));
    let wire = recorder.received();
    let subject = "Subject: ALERT on web1: 203.0.113.7, 203.0.113.8, 1 more\r\n";
    assert!(wire.contains(subject), "{wire}");
}

/// Runs the check on a host with this name and this `/etc/hosts`.
fn check_on_host(dir: &TestDir, name: &str, hosts: impl AsRef<[u8]>, url: &str) -> CommandResult {
    let hosts = dir.write("hosts", hosts);
    let script =
        "hostname \"$1\" && mount --bind \"$2\" /etc/hosts || exit 99; shift 2; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-u", "-m", "sh", "-c", script, "sh", name])
        .arg(hosts)
        .arg(CHECK)
        .args(args(dir, "listing", ADDRESSES, url))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(dir.path("."));
    run(&mut command)
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("root, for a namespace with its own host name");
    }
    is_root
}

/// Asserts that EHLO and the Message-ID have this name.
#[track_caller]
fn assert_named(wire: &str, name: &str) {
    assert!(wire.starts_with(&format!("EHLO {name}\r\n")), "{wire}");
    let message_id = field(wire, "Message-ID");
    assert!(message_id.ends_with(&format!("@{name}>")), "{message_id}");
}

#[test]
fn host_has_its_qualified_name_or_an_address() {
    if !is_root() {
        return;
    }
    let recorder = Recorder::start();
    let dir = TestDir::new();
    let check = |name: &str, hosts: &[u8], expected: &str| {
        assert_sent(&check_on_host(&dir, name, hosts, &recorder.url()));
        assert_named(&recorder.received(), expected);
    };
    check("web1", b"127.0.0.1 localhost\n127.0.1.1 web1.example.com web1\n", "web1.example.com");
    check("web1", b"192.0.2.10 web1.example.com. web1\n", "web1.example.com");
    check("web1", b"127.0.0.1 localhost web1\n", "[127.0.0.1]");
    // The resolver knows no qualified name.
    check("web1.example.com", b"127.0.0.1 localhost web1.example.com\n", "web1.example.com");
    check("192.0.2.1", b"127.0.0.1 localhost\n", "[127.0.0.1]");
    for hostile in [&b"web1>.example.com"[..], b"w\xe9b1.example.com", b"[192.0.2.1].example.com"] {
        let hosts = [b"127.0.1.1 ", hostile, b" web1\n"].concat();
        check("web1", &hosts, "[127.0.0.1]");
    }
    // The option goes before the name that was found.
    let url = format!("{}?tls=none&helo=relay.example.com", recorder.url());
    assert_sent(&check_on_host(&dir, "web1", "127.0.1.1 web1.example.com web1\n", &url));
    assert_named(&recorder.received(), "relay.example.com");

    let program = storing_program(&dir);
    assert_sent(&check_on_host(&dir, "web1", "127.0.1.1 web1.example.com web1\n", &program));
    let message_id = field(&fs::read_to_string(dir.path("mails")).unwrap(), "Message-ID");
    assert!(message_id.ends_with("@web1.example.com>"), "{message_id}");
    assert_sent(&check_on_host(&dir, "web1", "127.0.0.1 localhost web1\n", &program));
    let message_id = field(&fs::read_to_string(dir.path("mails")).unwrap(), "Message-ID");
    assert!(message_id.contains("@[") && message_id.ends_with("]>"), "{message_id}");
}

/// Runs the check on the host `web1`, whose name only a name server of its network namespace
/// can know.
fn check_with_name_server(dir: &TestDir, url: &str) -> CommandResult {
    let resolver = dir.write("resolv.conf", "nameserver 127.0.0.1\n");
    let script =
        "hostname web1 && mount --bind \"$1\" /etc/resolv.conf || exit 99; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-u", "-m", "sh", "-c", script, "sh"])
        .arg(resolver)
        .arg(CHECK)
        .args(args(dir, "listing", ADDRESSES, url))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(dir.path("."));
    run(&mut command)
}

/// Starts a name server in this network namespace that calls every name an alias of
/// `LABEL.example`.
fn serve_alias(label: &'static [u8]) {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let _ = socket.send_to(&alias_reply(&question[..length], label), from);
        }
    });
}

/// The name of this host is an alias of a name that an attacker has chosen.
#[test]
fn name_server_cannot_inject_smtp_commands() {
    if !is_root() {
        return;
    }
    let hostile = b"evil\r\nRCPT TO:<evil@example.com>";
    for (label, name) in [(&b"www7"[..], "www7.example"), (hostile, "[127.0.0.1]")] {
        in_namespace(move || {
            serve_alias(label);
            let recorder = Recorder::start();
            assert_sent(&check_with_name_server(&TestDir::new(), &recorder.url()));
            let wire = recorder.received();
            assert_named(&wire, name);
            assert!(!wire.contains("evil"), "{wire}");
        });
    }
}

#[test]
fn silent_name_server_leaves_time_for_the_mail() {
    if !is_root() {
        return;
    }
    in_namespace(|| {
        let _socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let recorder = Recorder::start();
        let result = check_with_name_server(&TestDir::new(), &recorder.url());
        assert_sent(&result);
        assert!(result.elapsed < Duration::from_secs(3), "{result:?}");
        assert_named(&recorder.received(), "[127.0.0.1]");
    });
}

/// Returns a reply to `question`: an alias of `LABEL.example`, and the address of that.
fn alias_reply(question: &[u8], label: &[u8]) -> Vec<u8> {
    let name_end = question[12..].iter().position(|&byte| byte == 0).unwrap() + 12;
    let question_section = &question[12..name_end + 5];
    let alias = [&[u8::try_from(label.len()).unwrap()][..], label, b"\x07example\x00"].concat();
    let alias_length = u16::try_from(alias.len()).unwrap().to_be_bytes();
    let mut reply = [&question[..2], b"\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00"].concat();
    reply.extend(question_section);
    reply.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x09");
    reply.extend(alias_length);
    reply.extend(&alias);
    reply.extend(&alias);
    reply.extend(b"\x00\x01\x00\x01\x00\x00\x00\x09\x00\x04\xc0\x00\x02\x0a");
    reply
}

/// Postfix with `reject_non_fqdn_helo_hostname` takes the mails of a host with a qualified
/// name, and of one without.
#[test]
fn strict_postfix_accepts_the_name() {
    if !is_root() {
        return;
    }
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    let url = format!("smtp://127.0.0.1:{}", postfix.clear);
    let named = "127.0.0.1 localhost\n127.0.1.1 web1.example.com web1\n";
    let unnamed = "127.0.0.1 localhost web1\n";
    assert_sent(&check_on_host(dir, "web1", named, &url));
    assert_sent(&check_on_host(dir, "web1", unnamed, &url));
    assert_sent(&check_on_host(dir, "web1", unnamed, &format!("{url}?helo=relay.example.com")));
    let mails = postfix.mails(3);
    for (mail, name) in mails.iter().zip(["web1.example.com", "[127.0.0.1]", "relay.example.com"]) {
        assert!(mail.contains(&format!("Received: from {name} (")), "{mail}");
        assert!(field(mail, "Message-ID").ends_with(&format!("@{name}>")), "{mail}");
    }
    let result = check_on_host(dir, "web1", named, &format!("{url}?helo=web1"));
    let lines: Vec<_> = result.stdout.lines().collect();
    let refused = "504 5.5.2 ?web1?: Helo command rejected: need fully-qualified hostname.";
    assert!(lines[1].starts_with("Mail not sent: 127.0.0.1:"), "{lines:?}");
    assert!(lines[1].ends_with(refused), "{lines:?}");
    let hint = "Name this host as the server knows it: --smtp smtp://HOST?helo=NAME";
    assert!(lines[2].trim().starts_with(hint), "{lines:?}");
}
