//! Servers on the SSH port that do not speak SSH, or are hostile.
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    resource_usage::run_with_peak_memory,
    status_line::{assert_clean, assert_in_time, assert_unknown},
};
use crate::support::{
    CHECK, CommandResult, TestDir, crowd,
    daemon::{start_server, wait_for_close},
    run, skip,
    sshd::{SshFixture, assert_endless_output_unknown, is_possible},
    test_file,
};

/// Timeout of a run.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum address space of a run, including threads and libraries, in KiB.
const MAX_MEMORY_KIB: u32 = 400_000;
/// Timeout of a run that is flooded. Floods end earlier, by the limit of their bytes.
const FLOOD_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum peak memory of a run that is flooded, in KiB.
const MAX_FLOODED_KIB: u64 = 32 * 1024;

const BANNER: &[u8] = b"SSH-2.0-x\r\n";

/// Returns the check of a server on this port, with a password.
fn check_command(dir: &TestDir, user: &str, port: u16, timeout: Duration) -> Command {
    let script = format!("ulimit -v {MAX_MEMORY_KIB}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, CHECK, "-H", &format!("{user}@127.0.0.1:{port}"), "-p", "word"])
        .args(["--host-key", "ignore", "--state-file", "state"])
        .args(["-t", &timeout.as_secs().to_string()])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(dir.path("."))
        .stdin(Stdio::null());
    command
}

/// Runs the check of a server on this port, with a password that it never receives.
fn check(dir: &TestDir, port: u16) -> CommandResult {
    run(&mut check_command(dir, "x", port, TIMEOUT))
}

/// Asserts that the output is a valid UNKNOWN, in time, and contains `reason`.
#[track_caller]
fn assert_server_unknown(reason: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) {
    let result = check_unknown(serve);
    assert!(result.status_line().contains(reason), "{reason}: {result:?}");
}

/// Asserts that the output is a valid UNKNOWN, in time. Depending on the order of events, the
/// reported reason is the bytes that the server sent or the missing reply.
#[track_caller]
fn assert_no_key_exchange(serve: impl Fn(TcpStream) + Send + Sync + 'static) {
    let result = check_unknown(serve);
    let silence = " gave no answer in 2 s (while exchanging keys)";
    let line = result.status_line();
    assert!(line.contains(PROTOCOL_ERROR) || line.contains(silence), "{result:?}");
}

/// Checks a server, and asserts that the output is a valid UNKNOWN, in time.
#[track_caller]
fn check_unknown(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> CommandResult {
    let dir = TestDir::new();
    let result = check(&dir, start_server(serve));
    assert_unknown(&result, "127.0.0.1");
    assert_in_time(&result, TIMEOUT);
    assert_empty(&dir);
    result
}

#[track_caller]
fn assert_empty(dir: &TestDir) {
    let leftovers: Vec<_> = fs::read_dir(dir.path(".")).unwrap().collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

/// Asserts that a flood gives a valid UNKNOWN that contains `reason`, in time and in little
/// memory. `flood` describes it.
#[track_caller]
fn assert_flood_unknown(flood: &str, user: &str, port: u16, reason: &str) {
    let dir = TestDir::new();
    let mut command = check_command(&dir, user, port, FLOOD_TIMEOUT);
    let (result, peak_kib) = run_with_peak_memory(&mut command);
    eprintln!("{flood}: {peak_kib} KiB, {:?}", result.elapsed);
    assert_unknown(&result, "127.0.0.1");
    assert_in_time(&result, FLOOD_TIMEOUT);
    assert!(result.status_line().contains(reason), "{flood}: {reason}: {result:?}");
    assert!(peak_kib <= MAX_FLOODED_KIB, "{flood}: {peak_kib} KiB");
    assert_empty(&dir);
}

/// Sends the bytes and keeps the connection open.
fn send_and_hold(bytes: Vec<u8>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream| {
        let _ = stream.write_all(&bytes);
        wait_for_close(stream);
    }
}

/// Sends the bytes and closes the connection.
fn send_and_close(bytes: Vec<u8>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream| {
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        wait_for_close(stream);
    }
}

/// Sends the first bytes once, and the block forever.
fn send_forever(first: Vec<u8>, block: Vec<u8>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    let block = block.repeat(64 * 1024 / block.len() + 1);
    move |mut stream| {
        let _ = stream.write_all(&first);
        // Read what the client sends, so that it does not block.
        let mut other = stream.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while other.read(&mut buffer).is_ok_and(|n| n > 0) {}
        });
        while stream.write_all(&block).is_ok() {}
    }
}

/// Returns an unencrypted packet (RFC 4253, section 6).
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8 + 4;
    let length = u32::try_from(payload.len() + padding + 1).unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// Returns an unencrypted packet without padding. The RFC forbids it; libssh2 needs the most
/// memory for it, compared with its length.
fn unpadded_packet(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[0], payload].concat()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Returns SSH_MSG_KEXINIT with these ten lists.
fn kexinit(lists: [&str; 10]) -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend([7; 16]);
    lists.iter().for_each(|list| payload.extend(string(list.as_bytes())));
    payload.extend([0; 5]);
    packet(&payload)
}

const USUAL_ALGORITHMS: [&str; 10] = [
    "curve25519-sha256",
    "ssh-ed25519",
    "aes256-ctr",
    "aes256-ctr",
    "hmac-sha2-256",
    "hmac-sha2-256",
    "none",
    "none",
    "",
    "",
];

/// Returns SSH_MSG_DISCONNECT.
fn disconnect(words: &[u8]) -> Vec<u8> {
    packet(&[&[1, 0, 0, 0, 2][..], &string(words), &string(b"")].concat())
}

/// Returns one packet of each kind that libssh2 ignores or keeps, with its name.
fn flood_packets() -> Vec<(&'static str, Vec<u8>)> {
    let text = string(&[b'x'; 1000]);
    let debug = [&[4, 1][..], &string(b"\x1b[31mx|y"), &string(b"")].concat();
    vec![
        ("SSH_MSG_IGNORE", packet(&[&[2][..], &text].concat())),
        ("SSH_MSG_DEBUG", packet(&debug)),
        ("unknown, unpadded", unpadded_packet(&[200])),
        ("unknown, small", packet(&[200])),
        ("unknown, large", packet(&[200; 30_000])),
        ("SSH_MSG_NEWKEYS", unpadded_packet(&[21])),
        ("SSH_MSG_USERAUTH_SUCCESS", unpadded_packet(&[52])),
        ("SSH_MSG_USERAUTH_BANNER", packet(&[&[53][..], &text, &string(b"")].concat())),
        ("SSH_MSG_GLOBAL_REQUEST", packet(&[&[80][..], &string(b"x"), &[1]].concat())),
        ("SSH_MSG_CHANNEL_OPEN", packet(&[&[90][..], &string(b"x11"), &[0; 12]].concat())),
        ("SSH_MSG_CHANNEL_WINDOW_ADJUST", packet(&[93, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("SSH_MSG_CHANNEL_DATA", packet(&[&[94, 0, 0, 0, 0][..], &text].concat())),
        ("SSH_MSG_CHANNEL_EXTENDED_DATA", packet(&[&[95][..], &[0; 8], &text].concat())),
        ("SSH_MSG_CHANNEL_SUCCESS", packet(&[99, 0, 0, 0, 0])),
    ]
}

fn after_banner(bytes: &[u8]) -> Vec<u8> {
    [BANNER, bytes].concat()
}

const PROTOCOL_ERROR: &str = "cannot establish an SSH session with [127.0.0.1]:";

#[test]
fn non_ssh_server_is_unknown() {
    thread::scope(|scope| {
        for bytes in [
            &b""[..],
            b"SSH",
            b"SSH-1.5-x\r\n",
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            b"220 mail.test ESMTP \x1b[2J|x=1;2\r\n",
            b"\0\0\0\0\0\0\0\0\r\n",
            b"\xff\xfe\xfd\r\n\r\n\r\n",
            b"SSH-2.0-\x1b]0;evil\x07|x=1\r\n",
            b"not yet\r\nSSH-2.0-x\r\n",
        ] {
            scope.spawn(|| assert_no_key_exchange(send_and_close(bytes.to_vec())));
            scope.spawn(|| assert_no_key_exchange(send_and_hold(bytes.to_vec())));
        }
    });
}

/// The text that a server sends instead of its identification is quoted as the reason
/// (RFC 4253, section 4.2), but not the text before that.
#[test]
fn refusal_in_place_of_identification_is_quoted() {
    for (sent, reason) in [
        (&b"Not allowed at this time\r\n"[..], "the server answered Not allowed at this time"),
        (b"Exceeded MaxStartups\r\n", "the server answered Exceeded MaxStartups"),
        (
            b"\r\nHTTP/1.1 400 Bad Request\r\nServer: x\r\n",
            "the server answered HTTP/1.1 400 Bad Request",
        ),
        (b"\x1b[31mno|x=1\n", "the server answered ?[31mno?x=1"),
        (b"hello\r\nSSH-2.0-x\r\n", "the server closed the connection"),
        (b"", "the server closed the connection"),
    ] {
        let result = check_unknown(send_and_close(sent.to_vec()));
        assert!(result.status_line().contains(reason), "{reason}: {result:?}");
    }
    let long = check_unknown(send_and_close(vec![b'a'; 5000]));
    let expected = format!(": the server answered {}", "a".repeat(120));
    assert!(long.status_line().ends_with(&expected), "{long:?}");
}

/// A timeout for each read would start again with every byte.
#[test]
fn dripping_banner_times_out() {
    assert_server_unknown("gave no answer in 2 s (while exchanging keys)", |mut stream| {
        for byte in b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7 and so on and so on\r\n".iter().cycle()
        {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
}

/// Gigabytes neither use memory nor exceed the timeout.
#[test]
fn flooding_server_is_unknown_in_time() {
    let garbage: Vec<u8> =
        (0..65_521_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let too_much = "the server sent more than 256 KiB before the end of the login";
    let kexinit = kexinit(USUAL_ALGORITHMS);
    let mut floods = vec![
        ("lines".to_owned(), vec![], b"a line that is not a banner\r\n".to_vec(), too_much),
        ("line".to_owned(), vec![], b"a".to_vec(), too_much),
        ("newlines".to_owned(), vec![], b"\n".to_vec(), too_much),
        ("zeros".to_owned(), vec![], vec![0], PROTOCOL_ERROR),
        ("garbage".to_owned(), vec![], garbage.clone(), PROTOCOL_ERROR),
        ("zeros after the banner".to_owned(), BANNER.to_vec(), vec![0], PROTOCOL_ERROR),
        ("0xff after the banner".to_owned(), BANNER.to_vec(), vec![0xff], PROTOCOL_ERROR),
        ("garbage after the banner".to_owned(), BANNER.to_vec(), garbage, PROTOCOL_ERROR),
        ("banners".to_owned(), BANNER.to_vec(), BANNER.to_vec(), PROTOCOL_ERROR),
        ("SSH_MSG_KEXINIT".to_owned(), BANNER.to_vec(), kexinit.clone(), too_much),
    ];
    for (name, packet) in flood_packets() {
        floods.push((format!("{name} first"), BANNER.to_vec(), packet.clone(), too_much));
        let name = format!("{name} during the key exchange");
        floods.push((name, after_banner(&kexinit), packet, too_much));
    }
    for some in floods.chunks(6) {
        thread::scope(|scope| {
            for (name, first, block, reason) in some {
                let port = start_server(send_forever(first.clone(), block.clone()));
                scope.spawn(move || assert_flood_unknown(name, "x", port, reason));
            }
        });
    }
}

/// SSH server that accepts every password and then floods, until it is dropped.
struct FloodingSshServer {
    child: Child,
    port: u16,
}

impl FloodingSshServer {
    /// Starts the server. Returns `None` if Paramiko is not installed.
    fn start() -> Option<Self> {
        let mut child = Command::new("/usr/bin/python3")
            .arg(test_file("support/flooding_ssh_server.py"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().ok()?;
        Some(Self { child, port })
    }
}

impl Drop for FloodingSshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// Encrypted floods, before the end of the login and after it.
#[test]
fn flooding_server_with_login_is_unknown_in_time() {
    let Some(server) = FloodingSshServer::start() else {
        return skip("python3-paramiko");
    };
    let limits = [
        ("login", "the server sent more than 256 KiB before the end of the login"),
        ("command", "the server sent more than 3 MiB that are not output of the command"),
        ("output", "the server sent more than 3 MiB that are not output of the command"),
    ];
    let mut floods = Vec::new();
    for (stage, reason) in limits {
        for packet in
            ["ignore", "debug", "unknown-small", "unknown-large", "global", "global-reply"]
                .into_iter()
                .chain(["data", "error", "adjust", "open", "success", "banner"])
        {
            floods.push((format!("{stage}.{packet}"), reason));
        }
    }
    floods.push(("command.stream".to_owned(), limits[1].1));
    floods.push(("command.empty".to_owned(), limits[1].1));
    floods.push(("command.zero".to_owned(), "cannot run a command on [127.0.0.1]:"));
    // Python encrypts on one core.
    for some in floods.chunks(2) {
        thread::scope(|scope| {
            for (user, reason) in some {
                scope.spawn(|| assert_flood_unknown(user, user, server.port, reason));
            }
        });
    }
}

/// Runs a check on the server with a user name that selects what the server does.
fn check_scripted_server(server: &FloodingSshServer, user: &str) -> CommandResult {
    let dir = TestDir::new();
    dir.write("password", "secret\n");
    fs::set_permissions(dir.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let host = format!("{user}@127.0.0.1:{}", server.port);
    let result = dir.check(&[
        "-H",
        &host,
        "--host-key",
        "ignore",
        "--password-file",
        "password",
        "-t",
        "60",
        "--rule",
        "stddev",
        "--command",
        "list",
    ]);
    assert_clean(&result);
    result
}

/// RFC 4252, section 8: the server wants another password first. In keyboard-interactive,
/// only the question shows that.
#[test]
fn expired_passwords_and_other_questions_are_reported() {
    let Some(server) = FloodingSshServer::start() else {
        return skip("python3-paramiko");
    };
    for (user, reason) in [
        ("expired.x", "the password has expired"),
        ("question.New password", "the password has expired (New password)"),
        ("question.Code|x=1", "the server asked for more than a password (Code?x=1)"),
        ("question.Password", "the password was refused"),
    ] {
        let result = check_scripted_server(&server, user);
        assert_eq!(result.code, Some(3), "{user}: {result:?}");
        assert!(result.status_line().contains(reason), "{user}: {result:?}");
        assert!(!result.stdout.contains("secret"), "{user}: {result:?}");
        let is_expired = reason.contains("expired");
        let has_hint = result.stdout.contains("\nLog in and change the password: ssh ");
        assert_eq!(has_hint, is_expired, "{user}: {result:?}");
    }
}

/// A channel that ends without an exit status has exit status 0 in libssh2.
#[test]
fn listing_without_exit_status_is_unknown() {
    let Some(server) = FloodingSshServer::start() else {
        return skip("python3-paramiko");
    };
    for user in ["half.6", "signal.6", "half.0"] {
        let result = check_scripted_server(&server, user);
        assert_eq!(result.code, Some(3), "{user}: {result:?}");
        let reason = "the output ended early, without an exit status";
        assert!(result.status_line().contains(reason), "{user}: {result:?}");
    }
    let result = check_scripted_server(&server, "rows.6");
    assert_eq!(result.code_and_status(), "0 TOPIP OK - 203.0.113.7 has 6 connections, limit 10");
}

/// The headers of the packets are longer than the rows, and do not count as a flood.
#[test]
fn listing_with_one_packet_per_row_is_read() {
    const ROWS: usize = 120_000;
    let Some(server) = FloodingSshServer::start() else {
        return skip("python3-paramiko");
    };
    let result = check_scripted_server(&server, &format!("rows.{ROWS}"));
    assert!(result.stdout.contains(&format!(" connections={ROWS};")), "{result:?}");
}

#[test]
fn login_methods_that_are_not_text_are_unknown() {
    let Some(server) = FloodingSshServer::start() else {
        return skip("python3-paramiko");
    };
    let result = check_scripted_server(&server, "methods.0");
    assert_eq!(result.code, Some(3), "{result:?}");
    assert!(result.status_line().contains("its list of login methods is no text"), "{result:?}");
}

#[test]
fn malformed_packets_are_unknown() {
    let many = vec!["x@example.com"; 2400].join(",");
    let mut cut = kexinit(USUAL_ALGORITHMS);
    // The first list claims to be longer than its packet.
    cut[22..26].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    let mut all = cut.clone();
    all[22..26].copy_from_slice(&[0xff; 4]);
    let with_length = |length: u32| [&length.to_be_bytes()[..], &[4; 64]].concat();
    let all = [
        with_length(u32::MAX),
        with_length(i32::MAX as u32),
        with_length(0),
        with_length(1),
        with_length(5),
        with_length(35_000),
        with_length(40_001),
        [&12_u32.to_be_bytes()[..], &[255; 64]].concat(),
        packet(&[]),
        packet(&[20]),
        packet(&[31; 200]),
        packet(&[255; 200]),
        kexinit([""; 10]),
        kexinit(["x"; 10]),
        kexinit([&many, &many[..10], "", "", "", "", "", "", "", ""]),
        cut,
        all,
        [kexinit(USUAL_ALGORITHMS), packet(&[31; 200])].concat(),
        [kexinit(USUAL_ALGORITHMS), packet(&[&[31][..], &string(&[0xff; 4000])].concat())].concat(),
        [
            kexinit(USUAL_ALGORITHMS),
            packet(&[&[31][..], &string(b""), &string(b""), &string(b"")].concat()),
        ]
        .concat(),
        [kexinit(USUAL_ALGORITHMS), packet(&[21])].concat(),
        [kexinit(USUAL_ALGORITHMS), packet(&[52])].concat(),
        [kexinit(USUAL_ALGORITHMS), disconnect(b"")].concat(),
    ];
    // Each takes two seconds; all at once would overload two cores.
    for some in all.chunks(8) {
        thread::scope(|scope| {
            for bytes in some {
                let bytes = after_banner(bytes);
                let then_closed = bytes.clone();
                scope.spawn(|| assert_no_key_exchange(send_and_hold(bytes)));
                scope.spawn(|| assert_no_key_exchange(send_and_close(then_closed)));
            }
        });
    }
}

/// The error differs from that of a closed connection.
#[test]
fn missing_common_algorithm_is_reported() {
    let server_with = |lists| after_banner(&kexinit(lists));
    let none = "the server supports none of the accepted key exchange or host key algorithms";
    assert_server_unknown(none, send_and_hold(server_with(["x"; 10])));
    assert_server_unknown(
        "the server closed the connection, perhaps because it supports",
        send_and_close(BANNER.to_vec()),
    );
    for (lists, algorithm_kind) in [(2..4, "cipher"), (4..6, "MAC")] {
        let mut lacking = USUAL_ALGORITHMS;
        lacking[lists].fill("x");
        let message = format!("the server supports none of the accepted {algorithm_kind}s");
        assert_server_unknown(&message, send_and_hold(server_with(lacking)));
        assert_server_unknown(&message, send_and_close(server_with(lacking)));
    }
}

/// Text of an unauthenticated server is not shown.
#[test]
fn disconnect_message_is_not_shown() {
    for words in
        [&b"\x1b]0;evil\x07 a|b=1;2 $(id) `id` <b>\n\nTOPIP OK - fine"[..], &[0xff; 300], b"\0"]
    {
        assert_server_unknown(PROTOCOL_ERROR, send_and_close(after_banner(&disconnect(words))));
        assert_server_unknown(
            PROTOCOL_ERROR,
            send_and_close(after_banner(&[kexinit(USUAL_ALGORITHMS), disconnect(words)].concat())),
        );
    }
}

/// Failures of the remote command after a login.
#[test]
fn failing_remote_commands_are_unknown() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "");
    let dir = &fixture.dir;
    fs::write(fixture.account.home.join("listing"), crowd(6, &[("203.0.113.7", 9)])).unwrap();
    fixture.account.chown_home();
    let check = |command: &str| {
        let script = format!("ulimit -v {MAX_MEMORY_KIB}; exec \"$0\" \"$@\"");
        let server = format!("{}@{}", fixture.account.name, fixture.server.address());
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &script, CHECK, "-H", &server, "-i", "id", "--known-hosts", "known_hosts"])
            .args(["--state-file", "state", "-t", "3", "--command", command])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(dir.path("."));
        let result = run(&mut limited);
        assert_clean(&result);
        assert_in_time(&result, Duration::from_secs(3));
        result
    };
    let is_unknown_for = |command: &str, reason: &str| {
        let result = check(command);
        assert_unknown(&result, "127.0.0.1");
        assert!(result.status_line().contains(reason), "{command}: {result:?}");
        assert!(!dir.path("state").exists(), "{command}: {result:?}");
    };
    // A listing is not used if its command failed.
    for (ending, reason) in [
        ("exit 255", "the command ended with exit status 255"),
        ("exit 127", "the command ended with exit status 127"),
        ("exit 1", "the command ended with exit status 1"),
        ("kill -9 $$", "the command ended with SIGKILL"),
        ("kill -15 $$", "the command ended with SIGTERM"),
        ("exec sleep 20", "gave no answer in 3 s"),
        ("exec >&-; exec sleep 20", "gave no answer in 3 s"),
    ] {
        is_unknown_for(&format!("cat listing; {ending}"), reason);
    }
    // The last line follows three megabytes on standard error.
    is_unknown_for(
        "yes noise | head -c 3000000 >&2; printf 'no |x=1 \\033[2J\\n' >&2; exit 1",
        "the command ended with exit status 1 (no ?x=1 ?[2J)",
    );
    is_unknown_for(
        "head -c 3000000 /dev/urandom >&2; exit 1",
        "the command ended with exit status 1",
    );
    // The parser can reject this number of bytes within 3 s on a busy machine.
    is_unknown_for("head -c 300000 /dev/urandom", "not a recognized socket listing");
    for endless in [
        "cat listing; yes >&2",
        "while cat listing; do :; done",
        "printf 'tcp 0 0 192.0.2.10:443 '; exec cat /dev/zero",
    ] {
        let result = check(endless);
        assert_unknown(&result, "127.0.0.1");
        assert_endless_output_unknown(endless, &result);
        assert!(!dir.path("state").exists(), "{endless}: {result:?}");
    }
    let result = check("printf 'tcp 0 0 192.0.2.10:443 203.0.113.7:1 ESTAB|\\033[2JLISHED\\n'");
    assert!(
        result.code_and_status().starts_with(
            "3 TOPIP UNKNOWN - cannot read 1 row, line 1: unknown TCP state: ESTAB??[2JLISHED; "
        ),
        "{result:?}"
    );
    assert_eq!(
        check("cat listing").code_and_status(),
        "0 TOPIP OK - 203.0.113.7 has 9 connections, limit 21.85"
    );
}
