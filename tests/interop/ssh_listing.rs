//! Listings of a server: with every login shell, by every available command, within all
//! limits, and from several servers at once.
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use super::kernel::{address_lines, connect, in_namespace};
use crate::{
    cli::truncated::two_clients,
    support::{
        CHECK, CommandResult, TestDir, crowd, run, skip,
        sshd::{
            Account, Server, SshFixture, assert_endless_output_unknown, create_key, is_possible,
        },
    },
};

/// Connections to the server, some from addresses that no other test uses.
struct Clients {
    _streams: Vec<(TcpStream, TcpStream)>,
}

impl Clients {
    fn new(counts: &[(&str, usize)]) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let to: SocketAddr =
            format!("192.0.2.10:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let mut streams = Vec::new();
        for (from, n) in counts {
            for _ in 0..*n {
                let client = connect(from.parse().unwrap(), to);
                streams.push((client, listener.accept().unwrap().0));
            }
        }
        Self { _streams: streams }
    }
}

/// Runs `test` in a namespace with its own server and clients.
pub fn with_clients(test: impl FnOnce(&mut SshFixture) + Send + 'static) {
    if !is_possible() {
        return;
    }
    in_namespace(|| {
        let _clients = Clients::new(&[("203.0.113.7", 9), ("198.51.100.7", 4)]);
        test(&mut SshFixture::new("/bin/sh", "ListenAddress 0.0.0.0"));
    });
}

pub const OUTSIDE_ARGS: [&str; 3] = ["-x", "127.0.0.0/8", "-vv"];

/// Asserts that nine and four connections are counted, by a command whose name begins with
/// this text.
#[track_caller]
pub fn assert_sees_clients(result: &CommandResult, command: &str) {
    assert!(result.stdout.contains("\n203.0.113.7 9 connections on port "), "{}", result.stdout);
    assert!(result.stdout.contains("\n198.51.100.7 4 connections on port "), "{}", result.stdout);
    assert!(result.stdout.contains(&format!("; ran {command}")), "{command}: {}", result.stdout);
    assert!(matches!(result.code, Some(0..=2)), "{}", result.stdout);
}

#[test]
fn every_login_shell_works() {
    with_clients(|fixture| {
        for shell in ["/bin/sh", "/bin/bash", "/bin/tcsh", "/usr/bin/fish", "/bin/dash"] {
            if fs::metadata(shell).is_err() {
                skip(shell);
                continue;
            }
            let account = Account::new(&fixture.dir, shell);
            account.authorize(&fixture.key, "");
            // Output of shell start files is not part of the listing.
            for file in [".bashrc", ".profile", ".cshrc", ".tcshrc"] {
                fs::write(
                    account.home.join(file),
                    "echo ESTAB 0 0 192.0.2.10:1 203.0.113.99:1\necho Welcome\n",
                )
                .unwrap();
            }
            let fish = account.home.join(".config/fish");
            fs::create_dir_all(&fish).unwrap();
            fs::write(fish.join("config.fish"), "echo Welcome to fish\n").unwrap();
            account.chown_home();
            let own = std::mem::replace(&mut fixture.account, account);
            let result = fixture.check_by_key(&OUTSIDE_ARGS);
            assert_sees_clients(&result, "ss -tan (Linux)");
            assert!(!result.stdout.contains("203.0.113.99"), "{shell}: {}", result.stdout);
            fixture.account = own;
        }
        // After the maximum length of a banner, the search for the listing stops.
        let account = Account::new(&fixture.dir, "/bin/bash");
        account.authorize(&fixture.key, "");
        fs::write(account.home.join(".bashrc"), "yes 'a long banner' | head -c 100000\n").unwrap();
        account.chown_home();
        fixture.account = account;
        let result = fixture.check_by_key(&[]);
        assert!(
            result
                .code_and_status()
                .contains("the login shell prints more than 64 KiB before the listing"),
            "{}",
            result.stdout
        );
        let account = Account::new(&fixture.dir, "/usr/sbin/nologin");
        account.authorize(&fixture.key, "");
        fixture.account = account;
        let result = fixture.check_by_key(&[]);
        assert!(result.code_and_status().starts_with("3 TOPIP UNKNOWN - "), "{}", result.stdout);
        assert!(
            result.code_and_status().contains("This account is currently not available"),
            "{}",
            result.stdout
        );
    });
}

/// Each command is run if those before it are missing.
#[test]
fn first_available_command_is_run() {
    with_clients(|fixture| {
        let over = fixture.dir.path("over");
        fs::create_dir_all(over.join("up")).unwrap();
        fs::create_dir_all(over.join("work")).unwrap();
        let over = over.to_str().unwrap();
        let mount = format!(
            "mount -t overlay overlay -o lowerdir=/usr/bin,upperdir={over}/up,workdir={over}/work /usr/bin || exit 1"
        );
        for (hide, expected) in [
            ("", "ss -tan (Linux)"),
            ("rm /usr/bin/ss", "cat /proc/net/tcp (Linux)"),
            ("rm /usr/bin/ss /usr/bin/cat", "netstat -natW (Linux)"),
            (
                "rm /usr/bin/ss /usr/bin/cat; cp /usr/bin/busybox /usr/bin/netstat",
                "netstat -nat (Linux)",
            ),
            ("rm /usr/bin/uname", "ss -tan (Linux)"),
            ("mount -t tmpfs tmpfs /proc/sys", "ss -tan (Linux)"),
            ("rm /usr/bin/uname; mount -t tmpfs tmpfs /proc/sys", "ss -tan (unknown)"),
            // The command prints its heading and fails.
            (
                "printf '#!/bin/sh\\necho State Recv-Q Send-Q Local Address:Port Peer Address:Port; exit 1\\n' >/usr/bin/ss",
                "ss -tan (Linux)",
            ),
        ] {
            let script = format!(
                "rm -rf {over}/up {over}/work; mkdir {over}/up {over}/work; {mount}; {hide}"
            );
            let keys = fixture.server.host_keys.clone();
            fixture.server = Server::openssh_with(&fixture.dir, keys, "", Some(&script));
            fixture.dir.write("known_hosts", fixture.server.known_hosts_lines("127.0.0.1"));
            assert_sees_clients(&fixture.check_by_key(&OUTSIDE_ARGS), expected);
        }
        let hide = format!(
            "rm -rf {over}/up {over}/work; mkdir {over}/up {over}/work; {mount}; rm /usr/bin/ss /usr/bin/cat /usr/bin/netstat"
        );
        let keys = fixture.server.host_keys.clone();
        fixture.server = Server::openssh_with(&fixture.dir, keys, "", Some(&hide));
        fixture.dir.write("known_hosts", fixture.server.known_hosts_lines("127.0.0.1"));
        let result = fixture.check_by_key(&[]);
        let start = format!(
            "3 TOPIP UNKNOWN - {} gave no listing: none of these commands worked: ss -tan, \
             cat /proc/net/tcp, netstat -natW, netstat -nat, netstat -an (",
            fixture.server.name()
        );
        assert!(result.code_and_status().starts_with(&start), "{}", result.stdout);
    });
}

#[test]
fn custom_and_forced_commands_are_run() {
    with_clients(|fixture| {
        assert_sees_clients(
            &fixture.check_by_key(&[&OUTSIDE_ARGS[..], &["--command", "netstat -ntW"]].concat()),
            "netstat -ntW",
        );
        let result = fixture.check_by_key(&["--command", "kill -9 $$"]);
        assert!(
            result.code_and_status().contains("the command ended with SIGKILL"),
            "{}",
            result.stdout
        );
        let result = fixture.check_by_key(&["--command", "ss -tan; exit 7"]);
        assert!(
            result.code_and_status().contains("the command ended with exit status 7"),
            "{}",
            result.stdout
        );
        let result = fixture.check_by_key(&["--command", "no-such-command-here"]);
        assert!(
            result.code_and_status().contains("no-such-command-here: not found"),
            "{}",
            result.stdout
        );
        // The key is restricted to that command.
        let forced = create_key(&fixture.dir, "forced", &["-t", "ed25519"]);
        fixture.account.authorize(&forced, "command=\"ss -tan\",restrict");
        let result = fixture.check(&[&OUTSIDE_ARGS[..], &["-i", "forced"]].concat());
        assert_sees_clients(&result, "the forced command of the server");
        // Standard input is empty, so that a command does not wait for it.
        assert_sees_clients(
            &fixture.check_by_key(&[&OUTSIDE_ARGS[..], &["--command", "cat; ss -tan"]].concat()),
            "cat; ss",
        );
        // The listing must contain the connection of the session.
        let result = fixture.check_by_key(&["--command", "ss -tan | head -1"]);
        assert!(
            result
                .code_and_status()
                .ends_with("the socket listing lacks the connection of this session"),
            "{}",
            result.stdout
        );
        let result = fixture.check_by_key(&["--command", "ss -tln"]);
        assert!(
            result.code_and_status().ends_with(" lists listening sockets only"),
            "{}",
            result.stdout
        );
        // Much output on standard error does not block the session.
        let noise = "yes noise | head -c 5000000 >&2; ss -tan; yes noise | head -c 5000000 >&2";
        assert_sees_clients(
            &fixture.check_by_key(&[&OUTSIDE_ARGS[..], &["--command", noise]].concat()),
            "yes noise",
        );
    });
}

#[test]
fn ssh_listing_matches_netlink() {
    with_clients(|fixture| {
        let local_result =
            fixture.dir.check(&["-vvv", "--no-default-excludes", "-x", "127.0.0.0/8"]);
        for command in [
            &[][..],
            &["--command", "cat /proc/net/tcp /proc/net/tcp6"],
            &["--command", "netstat -natW"],
        ] {
            let remote_result =
                fixture.check_by_key(&[&["-vvv", "-x", "127.0.0.0/8"], command].concat());
            assert_eq!(
                address_lines(&remote_result.stdout),
                address_lines(&local_result.stdout),
                "{command:?}"
            );
        }
        // The connection of the session is not counted; here sshd and the check are on the
        // same host.
        for command in [&["-vvv"][..], &["-vvv", "--command", "ss -tan"]] {
            let all = fixture.check_by_key(command);
            let local_line =
                address_lines(&all.stdout).into_iter().find(|it| it.starts_with("127.0.0.1 "));
            let established = local_line.is_some_and(|line| line.contains("ESTABLISHED"));
            assert!(!established, "{}", all.stdout);
        }
    });
}

#[test]
fn several_servers_are_added_up() {
    with_clients(|fixture| {
        let port = fixture.server.port;
        fixture.dir.write("known_hosts", fixture.server.known_hosts_lines("127.0.0.*"));
        let name = &fixture.account.name;
        let servers: Vec<_> = (1..=50).map(|host| format!("127.0.0.{host}:{port}")).collect();
        let check = |servers: &str, args: &[&str]| {
            let mut command = Command::new(CHECK);
            command
                .args([
                    "-s",
                    servers,
                    "-u",
                    name,
                    "-i",
                    "id",
                    "--known-hosts",
                    "known_hosts",
                    "-t",
                    "60",
                ])
                .args(["--no-default-excludes", "-x", "127.0.0.0/8,192.0.2.10", "-v"])
                .args(args)
                .env_clear()
                .env("MP_STATE_PATH", fixture.dir.path("."))
                .current_dir(fixture.dir.path("."));
            run(&mut command)
        };
        let two = check(&servers[..2].join(","), &[]);
        assert!(two.stdout.contains("\n203.0.113.7 18 connections on port "), "{}", two.stdout);
        assert!(
            two.stdout.contains(&format!("\n[127.0.0.2]:{port}: 13 connections\n")),
            "{}",
            two.stdout
        );
        // The same server twice counts once; localhost is another server.
        let twice = check(&servers[0], &["-H", &servers[0], "-H", "localhost"]);
        assert!(twice.stdout.contains("\n203.0.113.7 18 connections on port "), "{}", twice.stdout);
        assert!(twice.stdout.contains("\nlocalhost: 13 connections\n"), "{}", twice.stdout);

        let fifty = check(&servers.join(","), &[]);
        assert!(
            fifty.stdout.contains("\n203.0.113.7 450 connections on port "),
            "{}",
            fifty.stdout
        );

        // If one server fails, there is a verdict on the others, but the status is not OK.
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let some = check(&format!("{},{dead}", servers[0]), &["--floor", "1000"]);
        let problem = format!(
            "3 TOPIP UNKNOWN - cannot connect to [127.0.0.1]:{}, 127.0.0.1: Connection refused \
             (os error 111); ",
            dead.port()
        );
        assert!(some.code_and_status().starts_with(&problem), "{}", some.stdout);
        assert!(
            some.code_and_status().ends_with("203.0.113.7 has 9 connections, limit 1000"),
            "{}",
            some.stdout
        );
        let none = check(&format!("{dead},x@{dead}"), &[]);
        assert!(
            none.code_and_status().starts_with("3 TOPIP UNKNOWN - cannot connect to [127.0.0.1]:"),
            "{}",
            none.stdout
        );
    });
}

/// Starts a proxy that forwards `bytes` bytes of the server and then fails as specified.
fn proxy(to: SocketAddr, bytes: usize, failure: Failure) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(to).unwrap();
        let mut up = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut up.0, &mut up.1);
            let _ = up.1.shutdown(Shutdown::Write);
        });
        let (mut client, mut server) = (client, server);
        let mut remaining = bytes;
        let mut buffer = [0; 1024];
        while remaining > 0 {
            let want = remaining.min(buffer.len());
            match server.read(&mut buffer[..want]) {
                Ok(length @ 1..) if client.write_all(&buffer[..length]).is_ok() => {
                    remaining -= length
                }
                _ => return,
            }
        }
        match failure {
            Failure::Close => drop(client),
            Failure::Stall => thread::sleep(Duration::from_secs(10)),
            Failure::Drip => {
                while let Ok(1) = server.read(&mut buffer[..1]) {
                    if client.write_all(&buffer[..1]).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(30));
                }
            }
        }
    });
    address
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    Close,
    Stall,
    Drip,
}

#[test]
fn stalled_or_closed_session_is_unknown_in_time() {
    with_clients(|fixture| {
        let to: SocketAddr = fixture.server.address().parse().unwrap();
        // The session fails after the TCP handshake, after the banner, in the key exchange, in
        // the login, or in the listing.
        let runs = thread::scope(|scope| {
            let fixture = &*fixture;
            let mut runs = Vec::new();
            for bytes in [0, 10, 60, 700, 1500, 2500, 3200, 4000] {
                for failure in [Failure::Close, Failure::Stall, Failure::Drip] {
                    runs.push(scope.spawn(move || {
                        let at = proxy(to, bytes, failure);
                        let mut command =
                            fixture.command(&["-i", "id", "--host-key", "ignore", "-t", "3"]);
                        // Servers add up, so the failing one must be the only one.
                        let server = format!("{}@{at}", fixture.account.name);
                        let state = format!("state{bytes}{failure:?}");
                        command = {
                            let mut bare = Command::new(CHECK);
                            bare.args([
                                "-s",
                                &server,
                                "-i",
                                "id",
                                "--host-key",
                                "ignore",
                                "-t",
                                "3",
                                "--state-file",
                                &state,
                            ])
                            .env_clear()
                            .current_dir(command.get_current_dir().unwrap());
                            bare
                        };
                        (bytes, failure, run(&mut command))
                    }));
                }
            }
            runs.into_iter().map(|run_handle| run_handle.join().unwrap()).collect::<Vec<_>>()
        });
        for (bytes, failure, result) in runs {
            let context = format!(
                "{bytes} bytes, then {failure:?}: {} in {:?}",
                result.stdout, result.elapsed
            );
            assert!(result.elapsed < Duration::from_millis(3500), "{context}");
            assert_eq!(result.code, Some(3), "{context}");
            assert!(result.status_line().starts_with("TOPIP UNKNOWN - "), "{context}");
            assert!(result.status_line().contains("127.0.0.1"), "{context}");
            assert!(result.stdout.lines().count() > 1, "no advice: {context}");
        }
    });
}

#[test]
fn timeout_status_is_configurable() {
    if !is_possible() {
        return;
    }
    let dir = TestDir::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("x@{}", silent.local_addr().unwrap());
    let result = dir.check(&["-H", &server, "-t", "1:critical", "--host-key", "ignore"]);
    assert_eq!(
        result.code_and_status(),
        "2 TOPIP CRITICAL - [127.0.0.1]:PORT gave no answer in 1 s (while exchanging keys)"
            .replace("PORT", &silent.local_addr().unwrap().port().to_string())
    );
    assert!(result.elapsed < Duration::from_millis(1500), "{:?}", result.elapsed);
}

#[test]
fn flooding_server_uses_bounded_memory_and_time() {
    with_clients(|fixture| {
        for command in [
            "yes",
            "cat /dev/zero",
            "cat /dev/zero >&2",
            "echo State Recv-Q Send-Q Local Address:Port Peer Address:Port; yes ESTAB 0 0 192.0.2.10:443 203.0.113.7:1",
            "sleep 20 & echo State Recv-Q Send-Q Local Address:Port Peer Address:Port",
        ] {
            let result = fixture.check_by_key(&["-t", "3", "--command", command]);
            assert!(
                result.elapsed < Duration::from_millis(3600),
                "{command}: {:?}",
                result.elapsed
            );
            assert_eq!(result.code, Some(3), "{command}: {}", result.stdout);
            assert_endless_output_unknown(command, &result);
        }
    });
}

/// Addresses that netstat has truncated on a server are shown, and never blamed.
#[test]
fn truncated_addresses_of_a_server_are_not_blamed() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "");
    fs::write(fixture.account.home.join("listing"), two_clients()).unwrap();
    fixture.account.chown_home();
    for _ in 0..2 {
        let args = ["--command", "cat listing", "--consecutive", "1", "--log", "log"];
        let result = fixture.check_by_key(&args);
        assert_eq!(result.code, Some(3), "{result:?}");
        let line = result.status_line();
        assert!(line.contains("400 addresses may be cut off, first in line 33; "), "{line}");
        assert!(line.contains("2001:db8:aaaa:bbb... (cut off) may have 400"), "{line}");
        assert!(!fixture.dir.path("log").exists(), "{result:?}");
    }
}

/// A name server that never replies, in a mount namespace.
#[test]
fn unanswered_name_lookup_is_unknown() {
    if !is_possible() {
        return;
    }
    in_namespace(|| {
        let dir = TestDir::new();
        let _silent = UdpSocket::bind("203.0.113.53:53").unwrap();
        let file = dir.write("resolv.conf", "nameserver 203.0.113.53\noptions timeout:30\n");
        let script = format!(
            "mount --bind {} /etc/resolv.conf || exit 99; exec {CHECK} -H web1.example.com -u x -t 2 --state-file {}",
            file.display(),
            dir.path("state").display()
        );
        let result = run(Command::new("unshare").args(["-m", "sh", "-c", &script]));
        assert_eq!(
            result.code_and_status(),
            "3 TOPIP UNKNOWN - web1.example.com gave no answer in 2 s (while finding its address)",
            "{}",
            result.stderr
        );
        assert!(result.elapsed < Duration::from_millis(2500), "{:?}", result.elapsed);
    });
}

#[test]
fn malformed_host_names_are_rejected() {
    let dir = TestDir::new();
    let check = |host: &str| dir.check(&["-H", host]).code_and_status();
    for host in ["-oProxyCommand=id", "web1;id", "", "a b", "web1:99999"] {
        assert!(check(host).starts_with("3 TOPIP UNKNOWN - "), "{host}");
    }
    assert!(check("localhost").starts_with("0 ") || check("::1").contains("connection"));
}

/// `ChannelTimeout` of OpenSSH ends a session without an exit status while its command waits:
/// the rows before it may be a part.
#[test]
fn session_ended_by_channel_timeout_is_unknown() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "ChannelTimeout session:*=1s");
    fixture.dir.write("listing", crowd(31, &[("203.0.113.7", 9)]));
    let listing = fixture.dir.path("listing").display().to_string();
    let complete = fixture.check_by_key(&["--command", &format!("cat {listing}")]);
    assert!(complete.code_and_status().starts_with("0 TOPIP OK - "), "{complete:?}");
    let command = format!("cat {listing}; sleep 30");
    let cut = fixture.check_by_key(&["--command", &command, "-t", "20"]);
    assert_eq!(cut.code, Some(3), "{cut:?}");
    assert!(cut.status_line().contains("exit status"), "{cut:?}");
}

#[test]
fn million_rows_of_a_server_are_counted() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "");
    let script = "BEGIN { for (n = 0; n < 1000000; n++) printf \"ESTAB 0 0 192.0.2.1:443 \
                  10.%d.%d.%d:4%03d\\n\", n / 65536, n / 256 % 256, n % 256, n % 1000 }";
    fixture.dir.write("rows.awk", script);
    let rows = fixture.dir.path("rows.awk").display().to_string();
    let result = fixture.check_by_key(&["--command", &format!("awk -f {rows}"), "-t", "60"]);
    assert!(result.stdout.contains(" addresses=1000000;;;0 "), "{}", result.stdout);
    assert!(result.stdout.contains(" connections=1000000;;;0 "), "{}", result.stdout);
    assert_eq!(result.code, Some(0), "{}", result.stdout);
}

/// The connections of a server with two names are counted once, and the output reports that.
#[test]
fn server_named_twice_is_counted_once() {
    with_clients(|fixture| {
        let port = fixture.server.port;
        let hosts = ["127.0.0.1", "localhost"].map(|host| fixture.server.known_hosts_lines(host));
        fixture.dir.write("known_hosts", hosts.concat());
        let name = &fixture.account.name;
        let both = format!("{name}@127.0.0.1:{port},{name}@localhost:{port}");
        let args = ["-H", &both, "-i", "id", "--known-hosts", "known_hosts", "-4"];
        let args = [&args[..], &OUTSIDE_ARGS, &["--state-file", "both"]].concat();
        let result = fixture.dir.check(&args);
        assert_eq!(result.code, Some(3), "{result:?}");
        assert!(result.stdout.contains("\n203.0.113.7 9 connections on port "), "{result:?}");
        let expected = format!(
            "[localhost]:{port} is the same server as [127.0.0.1]:{port}, and is counted once: \
             both report the boot ID "
        );
        assert!(result.status_line().contains(&expected), "{result:?}");
        // Another daemon of the host is another server.
        let other = Server::openssh(&fixture.dir, "");
        let lines = fixture.server.known_hosts_lines("127.0.0.1");
        let lines = lines + &other.known_hosts_lines("127.0.0.1");
        fixture.dir.write("known_hosts", lines);
        let both = format!("{name}@127.0.0.1:{port},{name}@127.0.0.1:{}", other.port);
        let args = ["-H", &both, "-i", "id", "--known-hosts", "known_hosts", "-4"];
        let args = [&args[..], &OUTSIDE_ARGS, &["--state-file", "others"]].concat();
        let result = fixture.dir.check(&args);
        assert!(result.stdout.contains("\n203.0.113.7 18 connections on port "), "{result:?}");
        assert!(!result.stdout.contains("same server"), "{result:?}");
    });
}
