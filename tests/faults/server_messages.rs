//! Messages of servers: banners, errors and refusals.
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    process::Command,
    thread,
};

use crate::support::{CHECK, TestDir, crowd, run, skip};

use super::output_integrity::{HOSTILE_TEXTS, assert_nagios, assert_printable, combined};

/// Refusals at each step of a mail session.
#[test]
fn mail_server_replies_do_not_change_output() {
    for hostile_text in HOSTILE_TEXTS {
        let on_a_line = |it: &u8| !b"\r\n".contains(it);
        let words: Vec<u8> = hostile_text.iter().copied().filter(on_a_line).collect();
        for refused_command in ["", "EHLO", "MAIL", "RCPT", "DATA"] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let words = words.clone();
            let server = thread::spawn(move || {
                let (mut peer, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(peer.try_clone().unwrap());
                let mut command = String::new();
                loop {
                    let is_refused = command.starts_with(refused_command)
                        && (refused_command.is_empty() == command.is_empty());
                    let code: &[u8] = if is_refused {
                        b"550 "
                    } else if command.starts_with("DATA") {
                        b"354 "
                    } else if command.is_empty() {
                        b"220 "
                    } else {
                        b"250 "
                    };
                    if peer.write_all(&[code, &words, b"\r\n"].concat()).is_err() {
                        return;
                    }
                    command.clear();
                    if !reader.read_line(&mut command).is_ok_and(|n| n > 0) {
                        return;
                    }
                }
            });
            let dir = TestDir::new();
            dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
            let url = format!("smtp://127.0.0.1:{port}");
            let result = dir.check(&[
                "--input",
                "listing",
                "--consecutive",
                "1",
                "-vvv",
                "-a",
                "topip@example.com,ops@example.com",
                "--smtp",
                &url,
            ]);
            let context = format!("{refused_command} {:?}", String::from_utf8_lossy(hostile_text));
            assert_nagios(&result, &context);
            assert_eq!(result.code, Some(2), "{context}");
            assert!(
                result.stdout.lines().nth(1).unwrap().starts_with("Mail not sent: "),
                "{context}: {}",
                result.stdout
            );
            server.join().unwrap();
        }
    }
}

/// Standard error of a sendmail program.
#[test]
fn sendmail_errors_do_not_change_output() {
    for hostile_text in HOSTILE_TEXTS {
        let dir = TestDir::new();
        dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
        dir.write("words", hostile_text);
        let program = dir.write("program", "#!/bin/sh\ncat >/dev/null\ncat words >&2\nexit 75\n");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let url = format!("sendmail:{}", program.display());
        let mut command =
            dir.command(&["--input", "listing", "--consecutive", "1", "-vvv", "--smtp", &url]);
        command.args(["-a", "topip@example.com,ops@example.com"]).env("PATH", "/usr/bin:/bin");
        let result = run(&mut command);
        let context = format!("{:?}", String::from_utf8_lossy(hostile_text));
        assert_nagios(&result, &context);
        assert!(result.stdout.contains("\nMail not sent: "), "{context}: {}", result.stdout);
    }
}

/// The local host name appears in mails and their headers.
#[test]
fn local_host_name_does_not_change_output() {
    let script = "import socket, sys, os\n\
        socket.sethostname(os.fsencode(sys.argv[1])[:64])\n\
        os.execv(sys.argv[2], sys.argv[2:])";
    for hostile_text in HOSTILE_TEXTS {
        let dir = TestDir::new();
        dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
        let program = dir.write("program", "#!/bin/sh\ncat >mail\n");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let url = format!("sendmail:{}", program.display());
        let mut command = dir.program("unshare", &["--uts", "python3", "-c", script]);
        command.arg(OsStr::from_bytes(hostile_text)).arg(CHECK);
        command.args(["--input", "-", "--consecutive", "1", "-vvv", "--smtp", &url]);
        command.args(["-a", "topip@example.com,ops@example.com"]).env("PATH", "/usr/bin:/bin");
        command.stdin(fs::File::open(dir.path("listing")).unwrap());
        let result = run(&mut command);
        if result.stdout.is_empty() {
            return skip(&format!("a UTS namespace ({})", result.stderr.trim()));
        }
        let context = format!("{:?}", String::from_utf8_lossy(hostile_text));
        assert_nagios(&result, &context);
        let mail = fs::read_to_string(dir.path("mail")).unwrap();
        assert_printable(&mail, &context);
        let (head, _) = mail.split_once("\n\n").unwrap();
        let names = head
            .lines()
            .filter(|line| !line.starts_with(' '))
            .map(|line| line.split(':').next().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "Auto-Submitted",
                "Content-Transfer-Encoding",
                "Content-Type",
                "Date",
                "From",
                "MIME-Version",
                "Message-ID",
                "Subject",
                "To"
            ],
            "{context}: {head}"
        );
    }
}

/// Server output before and after the login, on both streams, and in refusals of a user
/// name.
#[test]
fn ssh_server_output_does_not_change_output() {
    use crate::support::sshd::{SshFixture, is_possible};
    if !is_possible() {
        return;
    }
    for hostile_text in combined(6) {
        let context = format!("{:?}", String::from_utf8_lossy(&hostile_text));
        let fixture = SshFixture::new("/bin/sh", "ForceCommand . ~/.said");
        let words = fixture.account.home.join("words");
        fs::write(&words, &hostile_text).unwrap();
        for script_text in [
            "cat words >&2; exit 3",
            "cat words; exit 3",
            "cat words; cat words >&2",
            "echo; echo topip-begin `cat words`; echo topip-try x; cat words; echo topip-end 0 x",
            "echo; echo topip-begin Linux x86_64; echo topip-try `cat words`; ss -tan; echo topip-end 0 x",
            "cat words; eval \"$SSH_ORIGINAL_COMMAND\"",
        ] {
            fs::write(fixture.account.home.join(".said"), script_text).unwrap();
            fixture.account.chown_home();
            for more in [&["-vvv"][..], &["--output", "json", "-vvv"]] {
                let result = fixture.check_by_key(more);
                let context = format!("{script_text} {context} {more:?}");
                if more.contains(&"json") {
                    assert_printable(&result.stdout, &context);
                    serde_json::from_str::<serde_json::Value>(&result.stdout).unwrap();
                } else {
                    assert_nagios(&result, &context);
                }
            }
        }
        // As a user name that the server rejects.
        let mut command = Command::new(CHECK);
        let target = [
            OsStr::from_bytes(&hostile_text).as_bytes(),
            b"@",
            fixture.server.address().as_bytes(),
        ]
        .concat();
        command
            .arg("-u")
            .arg(OsStr::from_bytes(&hostile_text))
            .arg("-H")
            .arg(OsStr::from_bytes(&target));
        command
            .args(["-vvv", "-i", "id", "--host-key", "ignore"])
            .current_dir(fixture.dir.path("."));
        let result = run(&mut command);
        assert_nagios(&result, &context);
        assert_eq!(result.code, Some(3), "{context}");
    }
}

/// A server that does not send an SSH banner.
#[test]
fn non_ssh_server_is_unknown() {
    for hostile_text in HOSTILE_TEXTS {
        for before in [&b"SSH-2.0-"[..], b""] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let words = [before, hostile_text, b"\r\n"].concat();
            let server = thread::spawn(move || {
                // The client may have closed the connection already.
                let _ = listener.accept().unwrap().0.write_all(&words);
            });
            let result = TestDir::new().check(&["-H", &address, "-u", "x", "-t", "5", "-vvv"]);
            server.join().unwrap();
            let context = format!("{:?}", String::from_utf8_lossy(hostile_text));
            assert_nagios(&result, &context);
            assert_eq!(result.code, Some(3), "{context}: {}", result.stdout);
        }
    }
}
