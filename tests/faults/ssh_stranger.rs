//! Who answers at the port of SSH, and is no SSH server, or a hostile one.
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::status_line::{is_clean, is_in_time, is_unknown};
use crate::support::{
    CHECK, Ran, Room, crowd,
    daemon::{server, stall},
    run,
    sshd::{World, is_possible},
};

/// How long such a run may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much memory a run may ask for, threads and libraries included, in KiB.
const MEMORY: u32 = 400_000;

const BANNER: &[u8] = b"SSH-2.0-x\r\n";

/// The check of the server at that port, by a key that nobody reads.
fn check(room: &Room, port: u16) -> Ran {
    let script = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, CHECK, "-H", &format!("x@127.0.0.1:{port}"), "-p", "word"])
        .args(["--host-key", "ignore", "--state-file", "state", "-t", "2"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(room.path("."))
        .stdin(Stdio::null());
    run(&mut command)
}

/// The answer is a clean UNKNOWN, in time, and says `why`.
#[track_caller]
fn unknown(why: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) {
    let room = Room::new();
    let ran = check(&room, server(serve));
    is_unknown(&ran, "127.0.0.1");
    is_in_time(&ran, PATIENCE);
    assert!(ran.line().contains(why), "{why}: {ran:?}");
    let left: Vec<_> = fs::read_dir(room.path(".")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Says that, and nothing more.
fn saying(bytes: Vec<u8>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream| {
        let _ = stream.write_all(&bytes);
        stall(stream);
    }
}

/// Says that, and closes.
fn leaving(bytes: Vec<u8>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream| {
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stall(stream);
    }
}

/// Says the first once, and the second for ever.
fn flooding(first: Vec<u8>, block: Vec<u8>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    let block = block.repeat(64 * 1024 / block.len() + 1);
    move |mut stream| {
        let _ = stream.write_all(&first);
        // What the other end says must not keep it from listening.
        let mut other = stream.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while other.read(&mut buffer).is_ok_and(|n| n > 0) {}
        });
        while stream.write_all(&block).is_ok() {}
    }
}

/// A packet in clear (RFC 4253, section 6).
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8 + 4;
    let length = u32::try_from(payload.len() + padding + 1).unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// SSH_MSG_KEXINIT with these ten lists.
fn offer(lists: [&str; 10]) -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend([7; 16]);
    lists.iter().for_each(|list| payload.extend(string(list.as_bytes())));
    payload.extend([0; 5]);
    packet(&payload)
}

const USUAL: [&str; 10] = [
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

/// SSH_MSG_DISCONNECT.
fn goodbye(words: &[u8]) -> Vec<u8> {
    packet(&[&[1, 0, 0, 0, 2][..], &string(words), &string(b"")].concat())
}

/// SSH_MSG_IGNORE and SSH_MSG_DEBUG.
fn chatter() -> Vec<u8> {
    let debug = [&[4, 1][..], &string(b"\x1b[31mx|y"), &string(b"")].concat();
    [packet(&[&[2][..], &string(&[b'x'; 1000])].concat()), packet(&debug)].concat()
}

fn after_banner(bytes: &[u8]) -> Vec<u8> {
    [BANNER, bytes].concat()
}

const TALKS: &str = "cannot talk SSH with 127.0.0.1: ";

#[test]
fn one_that_is_none() {
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
            scope.spawn(|| unknown("", leaving(bytes.to_vec())));
            scope.spawn(|| unknown("", saying(bytes.to_vec())));
        }
    });
}

/// A limit for each reading would begin anew with every byte.
#[test]
fn one_whose_banner_drips() {
    unknown("gave no answer in 2 s (while agreeing on keys)", |mut stream| {
        for byte in b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7 and so on and so on\r\n".iter().cycle()
        {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
}

/// Gigabytes must not end up in memory, nor take longer than they may.
#[test]
fn one_that_floods() {
    let garbage: Vec<u8> =
        (0..65_521_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    thread::scope(|scope| {
        for (first, block) in [
            (vec![], b"a line that is no banner\r\n".to_vec()),
            (vec![], b"a".to_vec()),
            (vec![], vec![0]),
            (vec![], garbage.clone()),
            (BANNER.to_vec(), vec![0]),
            (BANNER.to_vec(), vec![0xff]),
            (BANNER.to_vec(), garbage),
            (BANNER.to_vec(), BANNER.to_vec()),
            (BANNER.to_vec(), chatter()),
            (BANNER.to_vec(), offer(USUAL)),
            (after_banner(&offer(USUAL)), chatter()),
        ] {
            scope.spawn(|| unknown("", flooding(first, block)));
        }
    });
}

#[test]
fn one_whose_packets_lie() {
    let many = vec!["x@example.com"; 2400].join(",");
    let mut cut = offer(USUAL);
    // The first list says that it is longer than its packet.
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
        offer([""; 10]),
        offer(["x"; 10]),
        offer([&many, &many[..10], "", "", "", "", "", "", "", ""]),
        cut,
        all,
        [offer(USUAL), packet(&[31; 200])].concat(),
        [offer(USUAL), packet(&[&[31][..], &string(&[0xff; 4000])].concat())].concat(),
        [offer(USUAL), packet(&[&[31][..], &string(b""), &string(b""), &string(b"")].concat())]
            .concat(),
        [offer(USUAL), packet(&[21])].concat(),
        [offer(USUAL), packet(&[52])].concat(),
        [offer(USUAL), goodbye(b"")].concat(),
    ];
    // Each takes its two seconds; all at once would take more than two cores have.
    for some in all.chunks(8) {
        thread::scope(|scope| {
            for bytes in some {
                let bytes = after_banner(bytes);
                let then_closed = bytes.clone();
                scope.spawn(|| unknown("", saying(bytes)));
                scope.spawn(|| unknown("", leaving(then_closed)));
            }
        });
    }
}

/// What is told of it is not what is told of one that goes away.
#[test]
fn one_that_knows_other_algorithms() {
    let knowing = |lists| after_banner(&offer(lists));
    let none = "there is no key exchange or host key that both sides know";
    unknown(none, saying(knowing(["x"; 10])));
    unknown("it closed the connection, maybe for want of a", leaving(BANNER.to_vec()));
    for (lists, what) in [(2..4, "cipher"), (4..6, "MAC")] {
        let mut lacking = USUAL;
        lacking[lists].fill("x");
        let told = format!("there is no {what} that both sides know");
        unknown(&told, saying(knowing(lacking)));
        unknown(&told, leaving(knowing(lacking)));
    }
}

/// The words of a stranger are not on the screen before anybody has logged in.
#[test]
fn one_whose_goodbye_has_escapes() {
    for words in
        [&b"\x1b]0;evil\x07 a|b=1;2 $(id) `id` <b>\n\nTOPIP OK - fine"[..], &[0xff; 300], b"\0"]
    {
        unknown(TALKS, leaving(after_banner(&goodbye(words))));
        unknown(TALKS, leaving(after_banner(&[offer(USUAL), goodbye(words)].concat())));
    }
}

/// What a key or a login does on the far side, at the worst.
#[test]
fn a_real_one_that_misbehaves() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/sh", "");
    let room = &world.room;
    fs::write(world.account.home.join("listing"), crowd(6, &[("203.0.113.7", 9)])).unwrap();
    world.account.own();
    let check = |command: &str| {
        let script = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
        let server = format!("{}@{}", world.account.name, world.server.address());
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &script, CHECK, "-H", &server, "-i", "id", "--known-hosts", "known_hosts"])
            .args(["--state-file", "state", "-t", "3", "--command", command])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(room.path("."));
        let ran = run(&mut limited);
        is_clean(&ran);
        is_in_time(&ran, Duration::from_secs(3));
        ran
    };
    let is_unknown_for = |command: &str, why: &str| {
        let ran = check(command);
        is_unknown(&ran, "127.0.0.1");
        assert!(ran.line().contains(why), "{command}: {ran:?}");
        assert!(!room.path("state").exists(), "{command}: {ran:?}");
    };
    // A listing is worth nothing where its command says that it failed.
    for (how, why) in [
        ("exit 255", "it ended with 255"),
        ("exit 127", "it ended with 127"),
        ("exit 1", "it ended with 1"),
        ("kill -9 $$", "it was ended by SIGKILL"),
        ("kill -15 $$", "it was ended by SIGTERM"),
        ("exec sleep 20", "gave no answer in 3 s"),
        ("exec >&-; exec sleep 20", "gave no answer in 3 s"),
    ] {
        is_unknown_for(&format!("cat listing; {how}"), why);
    }
    // Three megabytes of complaints, and then a last one of a line and more.
    is_unknown_for(
        "yes noise | head -c 3000000 >&2; printf 'no |x=1 \\033[2J\\n' >&2; exit 1",
        "it ended with 1 (no ?x=1 ?[2J)",
    );
    is_unknown_for("head -c 3000000 /dev/urandom >&2; exit 1", "it ended with 1");
    is_unknown_for("head -c 3000000 /dev/urandom", "");
    is_unknown_for("cat listing; yes >&2", "");
    is_unknown_for("while cat listing; do :; done", "");
    is_unknown_for("printf 'tcp 0 0 192.0.2.10:443 '; exec cat /dev/zero", "");
    let ran = check("printf 'tcp 0 0 192.0.2.10:443 203.0.113.7:1 ESTAB|\\033[2JLISHED\\n'");
    assert!(
        ran.answer().starts_with(
            "3 TOPIP UNKNOWN - cannot read 1 row, line 1: unknown TCP state: ESTAB??[2JLISHED; "
        ),
        "{ran:?}"
    );
    assert_eq!(
        check("cat listing").answer(),
        "0 TOPIP OK - 203.0.113.7 has 9 connections, limit 14"
    );
}
