//! Name servers that never answer, lie or flood, in namespaces of the test's
//! own.
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use super::status_line::{is_clean, is_in_time};
use crate::{
    interop::kernel::in_namespace,
    support::{CHECK, Ran, Room, crowd, run, skip},
};

const PATIENCE: Duration = Duration::from_secs(2);

/// What becomes of a question: the answers to it.
type Answer = fn(&[u8]) -> Vec<Vec<u8>>;

/// The header of an answer to `question` with these flags and so many records.
fn header(question: &[u8], flags: [u8; 2], n: u16) -> Vec<u8> {
    [&question[..2], &flags, &question[4..6], &n.to_be_bytes(), &[0; 4]].concat()
}

/// The name that is asked for, its type and class.
fn asked(question: &[u8]) -> &[u8] {
    let end = question[12..].iter().position(|&byte| byte == 0).unwrap() + 12;
    &question[12..end + 5]
}

const SERVERS: [(&str, Answer); 7] = [
    ("never answers", |_| vec![]),
    ("answers garbage", |_| vec![vec![0xff; 512], vec![0; 12], vec![1], vec![]]),
    ("answers somebody else", |question| {
        let mut answer = [&header(question, [0x81, 0x80], 0)[..], asked(question)].concat();
        answer[0] ^= 0x55;
        vec![answer]
    }),
    ("says that it is broken", |question| {
        vec![[&header(question, [0x81, 0x82], 0)[..], asked(question)].concat()]
    }),
    ("says that there is more by TCP", |question| {
        vec![[&header(question, [0x83, 0x80], 0)[..], asked(question)].concat()]
    }),
    ("points to itself", |question| {
        // A name that is a pointer to that very pointer, sixty times.
        let at = u16::try_from(12 + asked(question).len()).unwrap() | 0xc000;
        let record = [&at.to_be_bytes()[..], &[0, 5, 0, 1, 0, 0, 0, 9, 0, 2], &at.to_be_bytes()];
        let records = record.concat().repeat(60);
        vec![[&header(question, [0x81, 0x80], 60)[..], asked(question), &records].concat()]
    }),
    ("floods", |question| {
        let mut wrong = [&header(question, [0x81, 0x80], 900)[..], asked(question)].concat();
        wrong[1] ^= 1;
        wrong.resize(4000, 0xc0);
        vec![wrong; 2000]
    }),
];

/// A name server on port 53 of this namespace. It ends with the process.
fn serve(answer: Answer) {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            for bytes in answer(&question[..length]) {
                let _ = socket.send_to(&bytes, from);
            }
        }
    });
    // Who is told to come by TCP is let in, and left alone.
    let listener = TcpListener::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || listener.incoming().map_while(Result::ok).collect::<Vec<_>>());
}

/// The check where that is the name server.
fn check(room: &Room, args: &[&str]) -> Ran {
    let resolver = room.write("resolv.conf", "nameserver 127.0.0.1\n");
    let script = "mount --bind \"$1\" /etc/resolv.conf || exit 99; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(resolver)
        .args([CHECK, "-t", "2"])
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(room.path("."));
    let ran = run(&mut command);
    is_clean(&ran);
    is_in_time(&ran, PATIENCE);
    ran
}

fn a_server() {
    let room = Room::new();
    let ran = check(&room, &["-H", "web1.example.com", "-u", "x", "-p", "y", "--state-file", "s"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.line().contains("web1.example.com"), "{ran:?}");
}

fn a_list_of_excludes() {
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    room.write("excludes", "office.example.com\n192.0.2.0/24\nhome.example.com\n");
    let excludes = ["--exclude-file", "excludes", "--input", "listing", "--state-file", "s"];
    let ran = check(&room, &excludes);
    // Who is over the limit may be one who should not count.
    assert_eq!(ran.code, Some(3), "{ran:?}");
    for name in ["office.example.com", "home.example.com"] {
        assert!(ran.stdout.contains(&format!("annot find the address of {name}")), "{ran:?}");
    }
    room.write("listing", crowd(31, &[]));
    assert_eq!(check(&room, &excludes).code, Some(3));
}

fn a_mail_server() {
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let judging = ["--input", "listing", "--consecutive", "1", "--state-file", "s"];
    let mailing = ["-a", "topip@example.com,ops@example.com", "--smtp", "smtp://mail.example.com"];
    let ran = check(&room, &[&judging[..], &mailing].concat());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let told = ran.stdout.lines().nth(1).unwrap();
    assert!(told.starts_with("Mail not sent: "), "{told}");
    assert!(told.contains("mail.example.com"), "{told}");
    assert!(fs::read_to_string(room.path("s")).unwrap().contains("mailed: []"));
}

/// Whatever it does, the answer comes in time and says what could not be found.
#[test]
fn name_servers_that_are_none() {
    if !rustix::process::geteuid().is_root() {
        return skip("root, for namespaces with name servers of their own");
    }
    thread::scope(|scope| {
        for (what, answer) in SERVERS {
            scope.spawn(move || {
                in_namespace(move || {
                    serve(answer);
                    let uses: &[fn()] = if cfg!(all(feature = "ssh", feature = "mail")) {
                        &[a_server, a_list_of_excludes, a_mail_server]
                    } else {
                        &[a_list_of_excludes]
                    };
                    thread::scope(|scope| {
                        let runs: Vec<_> = uses.iter().map(|it| scope.spawn(it)).collect();
                        for run in runs {
                            assert!(run.join().is_ok(), "a name server that {what}");
                        }
                    });
                });
            });
        }
    });
}
