//! What servers say while they are spoken to: banners, complaints, refusals.
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    process::Command,
    thread,
};

use crate::support::{CHECK, Room, crowd, run, skip};

use super::output_integrity::{POISONS, assert_nagios, assert_tame, together};

/// Each refusal of a mail server, of the recipients and of the greeting.
#[test]
fn a_mail_servers_words_have_no_say() {
    for poison in POISONS {
        let on_a_line = |it: &u8| !b"\r\n".contains(it);
        let words: Vec<u8> = poison.iter().copied().filter(on_a_line).collect();
        for refuses_at in ["", "EHLO", "MAIL", "RCPT", "DATA"] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let words = words.clone();
            let server = thread::spawn(move || {
                let (mut peer, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(peer.try_clone().unwrap());
                let mut command = String::new();
                loop {
                    let is_refused = command.starts_with(refuses_at)
                        && (refuses_at.is_empty() == command.is_empty());
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
            let room = Room::new();
            room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
            let url = format!("smtp://127.0.0.1:{port}");
            let ran = room.check(&[
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
            let context = format!("{refuses_at} {:?}", String::from_utf8_lossy(poison));
            assert_nagios(&ran, &context);
            assert_eq!(ran.code, Some(2), "{context}");
            assert!(
                ran.stdout.lines().nth(1).unwrap().starts_with("Mail not sent: "),
                "{context}: {}",
                ran.stdout
            );
            server.join().unwrap();
        }
    }
}

/// What a program that should be sendmail complains of.
#[test]
fn what_sendmail_complains_of_has_no_say() {
    for poison in POISONS {
        let room = Room::new();
        room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
        room.write("words", poison);
        let program = room.write("program", "#!/bin/sh\ncat >/dev/null\ncat words >&2\nexit 75\n");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let url = format!("sendmail:{}", program.display());
        let mut command =
            room.command(&["--input", "listing", "--consecutive", "1", "-vvv", "--smtp", &url]);
        command.args(["-a", "topip@example.com,ops@example.com"]).env("PATH", "/usr/bin:/bin");
        let ran = run(&mut command);
        let context = format!("{:?}", String::from_utf8_lossy(poison));
        assert_nagios(&ran, &context);
        assert!(ran.stdout.contains("\nMail not sent: "), "{context}: {}", ran.stdout);
    }
}

/// What this host calls itself is in mails and their heads.
#[test]
fn the_name_of_this_host_has_no_say() {
    let script = "import socket, sys, os\n\
        socket.sethostname(os.fsencode(sys.argv[1])[:64])\n\
        os.execv(sys.argv[2], sys.argv[2:])";
    for poison in POISONS {
        let room = Room::new();
        room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
        let program = room.write("program", "#!/bin/sh\ncat >mail\n");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let url = format!("sendmail:{}", program.display());
        let mut command = room.program("unshare", &["--uts", "python3", "-c", script]);
        command.arg(OsStr::from_bytes(poison)).arg(CHECK);
        command.args(["--input", "-", "--consecutive", "1", "-vvv", "--smtp", &url]);
        command.args(["-a", "topip@example.com,ops@example.com"]).env("PATH", "/usr/bin:/bin");
        command.stdin(fs::File::open(room.path("listing")).unwrap());
        let ran = run(&mut command);
        if ran.stdout.is_empty() {
            return skip(&format!("a namespace of names ({})", ran.stderr.trim()));
        }
        let context = format!("{:?}", String::from_utf8_lossy(poison));
        assert_nagios(&ran, &context);
        let mail = fs::read_to_string(room.path("mail")).unwrap();
        assert_tame(&mail, &context);
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

/// What a server says before and after a login, on both streams, and by its name
/// for a user.
#[test]
fn a_servers_words_have_no_say() {
    use crate::support::sshd::{World, is_possible};
    if !is_possible() {
        return;
    }
    for poison in together(6) {
        let context = format!("{:?}", String::from_utf8_lossy(&poison));
        let world = World::new("/bin/sh", "ForceCommand . ~/.said");
        let words = world.account.home.join("words");
        fs::write(&words, &poison).unwrap();
        for said in [
            "cat words >&2; exit 3",
            "cat words; exit 3",
            "cat words; cat words >&2",
            "echo; echo topip-begin `cat words`; echo topip-try x; cat words; echo topip-end 0 x",
            "echo; echo topip-begin Linux x86_64; echo topip-try `cat words`; ss -tan; echo topip-end 0 x",
            "cat words; eval \"$SSH_ORIGINAL_COMMAND\"",
        ] {
            fs::write(world.account.home.join(".said"), said).unwrap();
            world.account.own();
            for more in [&["-vvv"][..], &["--output", "json", "-vvv"]] {
                let ran = world.check_by_key(more);
                let context = format!("{said} {context} {more:?}");
                if more.contains(&"json") {
                    assert_tame(&ran.stdout, &context);
                    serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap();
                } else {
                    assert_nagios(&ran, &context);
                }
            }
        }
        // As who comes, which the server complains of.
        let mut command = Command::new(CHECK);
        let who = [OsStr::from_bytes(&poison).as_bytes(), b"@", world.server.address().as_bytes()]
            .concat();
        command.arg("-u").arg(OsStr::from_bytes(&poison)).arg("-H").arg(OsStr::from_bytes(&who));
        command
            .args(["-vvv", "-i", "id", "--host-key", "ignore"])
            .current_dir(world.room.path("."));
        let ran = run(&mut command);
        assert_nagios(&ran, &context);
        assert_eq!(ran.code, Some(3), "{context}");
    }
}

/// A server that is none: what it says instead of SSH's first line.
#[test]
fn what_is_no_ssh_server_has_no_say() {
    for poison in POISONS {
        for before in [&b"SSH-2.0-"[..], b""] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let words = [before, poison, b"\r\n"].concat();
            let server = thread::spawn(move || {
                // It may be gone already.
                let _ = listener.accept().unwrap().0.write_all(&words);
            });
            let ran = Room::new().check(&["-H", &address, "-u", "x", "-t", "5", "-vvv"]);
            server.join().unwrap();
            let context = format!("{:?}", String::from_utf8_lossy(poison));
            assert_nagios(&ran, &context);
            assert_eq!(ran.code, Some(3), "{context}: {}", ran.stdout);
        }
    }
}
