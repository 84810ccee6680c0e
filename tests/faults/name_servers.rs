//! Name servers that never reply, send wrong replies or flood, in their own namespaces.
use std::{
    fs,
    net::{TcpListener, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use super::status_line::{assert_clean, assert_in_time};
use crate::{
    interop::kernel::in_namespace,
    support::{CHECK, CommandResult, LOG, TestDir, crowd, run, skip, with_name_server},
};

const TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the replies to a request.
type Respond = fn(&[u8]) -> Vec<Vec<u8>>;

/// Returns the header of a reply to `question` with these flags and `n` records.
fn header(question: &[u8], flags: [u8; 2], n: u16) -> Vec<u8> {
    [&question[..2], &flags, &question[4..6], &n.to_be_bytes(), &[0; 4]].concat()
}

/// Returns the name in the request, with type and class.
fn question_section(question: &[u8]) -> &[u8] {
    let end = question[12..].iter().position(|&byte| byte == 0).unwrap() + 12;
    &question[12..end + 5]
}

const SERVERS: [(&str, Respond); 7] = [
    ("never answers", |_| vec![]),
    ("answers garbage", |_| vec![vec![0xff; 512], vec![0; 12], vec![1], vec![]]),
    ("answers another client", |question| {
        let mut answer =
            [&header(question, [0x81, 0x80], 0)[..], question_section(question)].concat();
        answer[0] ^= 0x55;
        vec![answer]
    }),
    ("reports a server failure", |question| {
        vec![[&header(question, [0x81, 0x82], 0)[..], question_section(question)].concat()]
    }),
    ("truncates its replies", |question| {
        vec![[&header(question, [0x83, 0x80], 0)[..], question_section(question)].concat()]
    }),
    ("points to itself", |question| {
        // A name that is a compression pointer to itself, sixty times.
        let at = u16::try_from(12 + question_section(question).len()).unwrap() | 0xc000;
        let record = [&at.to_be_bytes()[..], &[0, 5, 0, 1, 0, 0, 0, 9, 0, 2], &at.to_be_bytes()];
        let records = record.concat().repeat(60);
        vec![
            [&header(question, [0x81, 0x80], 60)[..], question_section(question), &records]
                .concat(),
        ]
    }),
    ("floods", |question| {
        let mut wrong =
            [&header(question, [0x81, 0x80], 900)[..], question_section(question)].concat();
        wrong[1] ^= 1;
        wrong.resize(4000, 0xc0);
        vec![wrong; 2000]
    }),
];

/// Starts a name server on port 53 of this namespace. It runs until the process ends.
fn serve(answer: Respond) {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            for bytes in answer(&question[..length]) {
                let _ = socket.send_to(&bytes, from);
            }
        }
    });
    // Clients that switch to TCP are accepted, but get no reply.
    let listener = TcpListener::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || listener.incoming().map_while(Result::ok).collect::<Vec<_>>());
}

/// Runs the check with this name server.
fn check(dir: &TestDir, args: &[&str]) -> CommandResult {
    let resolver = dir.write("resolv.conf", "nameserver 127.0.0.1\n");
    let script = "mount --bind \"$1\" /etc/resolv.conf || exit 99; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(resolver)
        .args([CHECK, "-t", "2"])
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(dir.path("."));
    let result = run(&mut command);
    assert_clean(&result);
    assert_in_time(&result, TIMEOUT);
    result
}

fn check_server_name() {
    let dir = TestDir::new();
    let result =
        check(&dir, &["-H", "web1.example.com", "-u", "x", "-p", "y", "--state-file", "s"]);
    assert_eq!(result.code, Some(3), "{result:?}");
    assert!(result.status_line().contains("web1.example.com"), "{result:?}");
}

fn check_excluded_hosts() {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    dir.write("excludes", "office.example.com\n192.0.2.0/24\nhome.example.com\n");
    let excludes = ["--exclude-file", "excludes", "--input", "listing", "--state-file", "s"];
    let result = check(&dir, &excludes);
    // The address over the limit may be one that should be excluded.
    assert_eq!(result.code, Some(3), "{result:?}");
    for name in ["office.example.com", "home.example.com"] {
        let output = result.stdout.to_lowercase();
        assert!(output.contains(&format!("cannot find the address of {name}")), "{result:?}");
    }
    dir.write("listing", crowd(31, &[]));
    assert_eq!(check(&dir, &excludes).code, Some(3));
}

fn check_mail_server_name() {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let judging = ["--input", "listing", "--consecutive", "1", "--state-file", "s"];
    let mailing = ["-a", "topip@example.com,ops@example.com", "--smtp", "smtp://mail.example.com"];
    let result = check(&dir, &[&judging[..], &mailing].concat());
    assert_eq!(result.code, Some(2), "{result:?}");
    let line = result.stdout.lines().nth(1).unwrap();
    assert!(line.starts_with("Mail not sent: "), "{line}");
    assert!(line.contains("mail.example.com"), "{line}");
    assert!(fs::read_to_string(dir.path("s")).unwrap().contains("sent_mails: []"));
}

/// The report lists every address without its name, and reports that.
fn check_report() {
    let dir = TestDir::new();
    let line = |n| format!("2026-11-10T02:10:00Z - {} connections from 203.0.113.{n}\n", 900 - n);
    let log: String = (1..=150).map(line).collect();
    dir.write("log", log);
    for form in ["json", "html"] {
        let words = [LOG, "report", "--log", "log", "--resolve", "--top", "150", "--output", form];
        let result = run(&mut with_name_server(&dir, "", &words));
        assert_eq!(result.code, Some(0), "{result:?}");
        assert!(result.stdout.contains("203.0.113.150"), "{result:?}");
        // A reply without a name is a valid reply.
        let is_answered = result.stderr.is_empty();
        let note = "topip_log: cannot look up the name of 203.0.113.1 and 149 more: no answer in \
                    time\nTry: getent hosts 203.0.113.1\n";
        assert!(is_answered || result.stderr == note, "{result:?}");
        if form == "json" {
            let expected = if is_answered { 0 } else { 150 };
            let json: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
            assert_eq!(json["unresolved_names"], expected, "{result:?}");
        } else {
            assert_eq!(result.stdout.contains("<h2>Problems</h2>"), !is_answered, "{result:?}");
        }
        assert_in_time(&result, Duration::from_secs(10));
    }
}

/// With each broken name server, the check ends in time and reports the name.
#[test]
fn broken_name_servers_do_not_delay_output() {
    if !rustix::process::geteuid().is_root() {
        return skip("root, for namespaces with their own name servers");
    }
    thread::scope(|scope| {
        for (behavior, answer) in SERVERS {
            scope.spawn(move || {
                in_namespace(move || {
                    serve(answer);
                    let checks: &[fn()] = if cfg!(all(feature = "ssh", feature = "mail")) {
                        &[
                            check_server_name,
                            check_excluded_hosts,
                            check_mail_server_name,
                            check_report,
                        ]
                    } else {
                        &[check_excluded_hosts, check_report]
                    };
                    thread::scope(|scope| {
                        let runs: Vec<_> = checks.iter().map(|it| scope.spawn(it)).collect();
                        for run in runs {
                            assert!(run.join().is_ok(), "a name server that {behavior}");
                        }
                    });
                });
            });
        }
    });
}
