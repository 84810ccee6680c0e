//! The listing of a server: by any shell, by each command that may be there,
//! within any limit, and from several at once.
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use super::kernel::{addresses, connect, in_namespace};
use crate::support::{
    CHECK, Ran, Room, run, skip,
    sshd::{Account, Server, World, is_possible, key},
};

/// Connections to listen for: some from outside, which no other test makes.
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

/// In a namespace with a server and clients of its own.
fn with_clients(test: impl FnOnce(&mut World) + Send + 'static) {
    if !is_possible() {
        return;
    }
    in_namespace(|| {
        let _clients = Clients::new(&[("203.0.113.7", 9), ("198.51.100.7", 4)]);
        test(&mut World::new("/bin/sh", "ListenAddress 0.0.0.0"));
    });
}

const OUTSIDE: [&str; 3] = ["-x", "127.0.0.0/8", "-vv"];

/// Nine and four connections are seen, by a command whose name begins so.
#[track_caller]
fn sees_them(ran: &Ran, command: &str) {
    assert!(ran.stdout.contains("\n203.0.113.7 9 connections on port "), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n198.51.100.7 4 connections on port "), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("; ran {command}")), "{command}: {}", ran.stdout);
    assert!(matches!(ran.code, Some(0..=2)), "{}", ran.stdout);
}

#[test]
fn the_login_shell_does_not_matter() {
    with_clients(|world| {
        for shell in ["/bin/sh", "/bin/bash", "/bin/tcsh", "/usr/bin/fish", "/bin/dash"] {
            if fs::metadata(shell).is_err() {
                skip(shell);
                continue;
            }
            let account = Account::new(&world.room, shell);
            account.authorize(&world.key, "");
            // What start files print is no part of a listing.
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
            account.own();
            let own = std::mem::replace(&mut world.account, account);
            let ran = world.check_by_key(&OUTSIDE);
            sees_them(&ran, "ss -tan (Linux)");
            assert!(!ran.stdout.contains("203.0.113.99"), "{shell}: {}", ran.stdout);
            world.account = own;
        }
        // More than a banner may be: the listing is not looked for behind it.
        let account = Account::new(&world.room, "/bin/bash");
        account.authorize(&world.key, "");
        fs::write(account.home.join(".bashrc"), "yes 'a long banner' | head -c 100000\n").unwrap();
        account.own();
        world.account = account;
        let ran = world.check_by_key(&[]);
        assert!(
            ran.answer().contains("its shell prints more than 64 KiB before the listing"),
            "{}",
            ran.stdout
        );
        let account = Account::new(&world.room, "/usr/sbin/nologin");
        account.authorize(&world.key, "");
        world.account = account;
        let ran = world.check_by_key(&[]);
        assert!(ran.answer().starts_with("3 TOPIP UNKNOWN - "), "{}", ran.stdout);
        assert!(ran.answer().contains("This account is currently not available"), "{}", ran.stdout);
    });
}

/// Each way where those before it are not there.
#[test]
fn the_first_command_that_is_there_is_run() {
    with_clients(|world| {
        let over = world.room.path("over");
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
            ("rm /usr/bin/uname", "ss -tan (unknown)"),
            // It prints its heading and fails.
            (
                "printf '#!/bin/sh\\necho State Recv-Q Send-Q Local Address:Port Peer Address:Port; exit 1\\n' >/usr/bin/ss",
                "ss -tan (Linux)",
            ),
        ] {
            let script = format!(
                "rm -rf {over}/up {over}/work; mkdir {over}/up {over}/work; {mount}; {hide}"
            );
            let keys = world.server.host_keys.clone();
            world.server = Server::openssh_with(&world.room, keys, "", Some(&script));
            world.room.write("known_hosts", world.server.known("127.0.0.1"));
            sees_them(&world.check_by_key(&OUTSIDE), expected);
        }
        let hide = format!(
            "rm -rf {over}/up {over}/work; mkdir {over}/up {over}/work; {mount}; rm /usr/bin/ss /usr/bin/cat /usr/bin/netstat"
        );
        let keys = world.server.host_keys.clone();
        world.server = Server::openssh_with(&world.room, keys, "", Some(&hide));
        world.room.write("known_hosts", world.server.known("127.0.0.1"));
        let ran = world.check_by_key(&[]);
        let start = "3 TOPIP UNKNOWN - 127.0.0.1 gave no listing: none of these worked: ss -tan, \
                     cat /proc/net/tcp, netstat -natW, netstat -nat, netstat -an (";
        assert!(ran.answer().starts_with(start), "{}", ran.stdout);
    });
}

#[test]
fn a_command_of_ones_own_and_a_forced_one() {
    with_clients(|world| {
        sees_them(
            &world.check_by_key(&[&OUTSIDE[..], &["--command", "netstat -ntW"]].concat()),
            "netstat -ntW",
        );
        let ran = world.check_by_key(&["--command", "kill -9 $$"]);
        assert!(ran.answer().contains("it was ended by SIGKILL"), "{}", ran.stdout);
        let ran = world.check_by_key(&["--command", "ss -tan; exit 7"]);
        assert!(ran.answer().contains("it ended with 7"), "{}", ran.stdout);
        let ran = world.check_by_key(&["--command", "no-such-command-here"]);
        assert!(ran.answer().contains("no-such-command-here: not found"), "{}", ran.stdout);
        // The key lets in for that one command only.
        let forced = key(&world.room, "forced", &["-t", "ed25519"]);
        world.account.authorize(&forced, "command=\"ss -tan\",restrict");
        let ran = world.check(&[&OUTSIDE[..], &["-i", "forced"]].concat());
        sees_them(&ran, "what the server runs for this key");
        // Nobody waits for an input that does not come.
        sees_them(
            &world.check_by_key(&[&OUTSIDE[..], &["--command", "cat; ss -tan"]].concat()),
            "cat; ss",
        );
        // Who reaches a server by TCP is in its table.
        let ran = world.check_by_key(&["--command", "ss -tan | head -1"]);
        assert!(
            ran.answer().ends_with("listed sockets, but not that of this session"),
            "{}",
            ran.stdout
        );
        let ran = world.check_by_key(&["--command", "ss -tln"]);
        assert!(
            ran.answer().ends_with("listed sockets, but not that of this session"),
            "{}",
            ran.stdout
        );
        // Much on standard error stops nothing.
        let noise = "yes noise | head -c 5000000 >&2; ss -tan; yes noise | head -c 5000000 >&2";
        sees_them(
            &world.check_by_key(&[&OUTSIDE[..], &["--command", noise]].concat()),
            "yes noise",
        );
    });
}

#[test]
fn the_same_sockets_by_ssh_and_by_netlink() {
    with_clients(|world| {
        let here = world.room.check(&["-vvv", "--no-default-excludes", "-x", "127.0.0.0/8"]);
        for command in [
            &[][..],
            &["--command", "cat /proc/net/tcp /proc/net/tcp6"],
            &["--command", "netstat -natW"],
        ] {
            let there = world.check_by_key(&[&["-vvv", "-x", "127.0.0.0/8"], command].concat());
            assert_eq!(addresses(&there.stdout), addresses(&here.stdout), "{command:?}");
        }
        // The session itself is not among them; sshd and the check are the same host here.
        for command in [&["-vvv"][..], &["-vvv", "--command", "ss -tan"]] {
            let all = world.check_by_key(command);
            let ours = addresses(&all.stdout).into_iter().find(|it| it.starts_with("127.0.0.1 "));
            let established = ours.is_some_and(|line| line.contains("ESTABLISHED"));
            assert!(!established, "{}", all.stdout);
        }
    });
}

#[test]
fn several_servers_are_added_up() {
    with_clients(|world| {
        let port = world.server.port;
        world.room.write("known_hosts", world.server.known("127.0.0.*"));
        let name = &world.account.name;
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
                .env("MP_STATE_PATH", world.room.path("."))
                .current_dir(world.room.path("."));
            run(&mut command)
        };
        let two = check(&servers[..2].join(","), &[]);
        assert!(two.stdout.contains("\n203.0.113.7 18 connections on port "), "{}", two.stdout);
        assert!(
            two.stdout.contains(&format!("\n[127.0.0.2]:{port}: 13 connections\n")),
            "{}",
            two.stdout
        );
        // The same twice is one; this machine is another.
        let twice = check(&servers[0], &["-H", &servers[0], "-H", "localhost"]);
        assert!(twice.stdout.contains("\n203.0.113.7 18 connections on port "), "{}", twice.stdout);
        assert!(twice.stdout.contains("\nlocalhost: 13 connections\n"), "{}", twice.stdout);

        let fifty = check(&servers.join(","), &[]);
        assert!(
            fifty.stdout.contains("\n203.0.113.7 450 connections on port "),
            "{}",
            fifty.stdout
        );

        // One that fails: the verdict on the rest, and no OK.
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let some = check(&format!("{},{dead}", servers[0]), &["--floor", "1000"]);
        let problem = format!(
            "3 TOPIP UNKNOWN - cannot connect to 127.0.0.1, {dead}: Connection refused (os error 111); "
        );
        assert!(some.answer().starts_with(&problem), "{}", some.stdout);
        assert!(
            some.answer().ends_with("203.0.113.7 has 9 connections, limit 1000"),
            "{}",
            some.stdout
        );
        let none = check(&format!("{dead},x@{dead}"), &[]);
        assert!(
            none.answer().starts_with("3 TOPIP UNKNOWN - cannot connect to 127.0.0.1"),
            "{}",
            none.stdout
        );
    });
}

/// A peer between the check and sshd, that lets so many bytes of the server
/// through and then does as it is told.
fn proxy(to: SocketAddr, bytes: usize, then: Then) -> SocketAddr {
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
        let mut left = bytes;
        let mut buffer = [0; 1024];
        while left > 0 {
            let want = left.min(buffer.len());
            match server.read(&mut buffer[..want]) {
                Ok(length @ 1..) if client.write_all(&buffer[..length]).is_ok() => left -= length,
                _ => return,
            }
        }
        match then {
            Then::Close => drop(client),
            Then::Stall => thread::sleep(Duration::from_secs(10)),
            Then::Drip => {
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
enum Then {
    Close,
    Stall,
    Drip,
}

#[test]
fn a_peer_that_stalls_or_goes_away_is_unknown_in_time() {
    with_clients(|world| {
        let to: SocketAddr = world.server.address().parse().unwrap();
        // After TCP, after the banner, in the key exchange, in the login, in the listing.
        let waits = thread::scope(|scope| {
            let world = &*world;
            let mut waits = Vec::new();
            for bytes in [0, 10, 60, 700, 1500, 2500, 3200, 4000] {
                for then in [Then::Close, Then::Stall, Then::Drip] {
                    waits.push(scope.spawn(move || {
                        let at = proxy(to, bytes, then);
                        let mut command =
                            world.command(&["-i", "id", "--host-key", "ignore", "-t", "3"]);
                        // The last one named wins nothing: servers add up. So it is named alone.
                        let server = format!("{}@{at}", world.account.name);
                        let state = format!("state{bytes}{then:?}");
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
                        (bytes, then, run(&mut command))
                    }));
                }
            }
            waits.into_iter().map(|wait| wait.join().unwrap()).collect::<Vec<_>>()
        });
        for (bytes, then, ran) in waits {
            let told = format!("{bytes} bytes, then {then:?}: {} in {:?}", ran.stdout, ran.took);
            assert!(ran.took < Duration::from_millis(3500), "{told}");
            assert_eq!(ran.code, Some(3), "{told}");
            assert!(ran.line().starts_with("TOPIP UNKNOWN - "), "{told}");
            assert!(ran.line().contains("127.0.0.1"), "{told}");
            assert!(ran.stdout.lines().count() > 1, "no advice: {told}");
        }
    });
}

#[test]
fn the_status_of_a_time_that_is_up_is_as_asked_for() {
    if !is_possible() {
        return;
    }
    let room = Room::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("x@{}", silent.local_addr().unwrap());
    let ran = room.check(&["-H", &server, "-t", "1:critical", "--host-key", "ignore"]);
    assert_eq!(
        ran.answer(),
        "2 TOPIP CRITICAL - [127.0.0.1]:PORT gave no answer in 1 s (while agreeing on keys)"
            .replace("PORT", &silent.local_addr().unwrap().port().to_string())
    );
    assert!(ran.took < Duration::from_millis(1500), "{:?}", ran.took);
}

#[test]
fn a_flood_takes_no_memory_and_no_longer_than_it_may() {
    with_clients(|world| {
        for (command, why) in [
            ("yes", "yes"),
            ("cat /dev/zero", ""),
            ("cat /dev/zero >&2", ""),
            (
                "echo State Recv-Q Send-Q Local Address:Port Peer Address:Port; yes ESTAB 0 0 192.0.2.10:443 203.0.113.7:1",
                "",
            ),
            (
                "sleep 20 & echo State Recv-Q Send-Q Local Address:Port Peer Address:Port",
                "gave no answer",
            ),
        ] {
            let ran = world.check_by_key(&["-t", "3", "--command", command]);
            assert!(ran.took < Duration::from_millis(3600), "{command}: {:?}", ran.took);
            assert_eq!(ran.code, Some(3), "{command}: {}", ran.stdout);
            assert!(ran.stdout.contains(why), "{command}: {}", ran.stdout);
        }
    });
}

/// A name server that never answers, in a mount namespace of the test's own.
#[test]
fn a_name_that_is_never_found() {
    if !is_possible() {
        return;
    }
    in_namespace(|| {
        let room = Room::new();
        let _silent = UdpSocket::bind("203.0.113.53:53").unwrap();
        let file = room.write("resolv.conf", "nameserver 203.0.113.53\noptions timeout:30\n");
        let script = format!(
            "mount --bind {} /etc/resolv.conf || exit 99; exec {CHECK} -H web1.example.com -u x -t 2 --state-file {}",
            file.display(),
            room.path("state").display()
        );
        let ran = run(Command::new("unshare").args(["-m", "sh", "-c", &script]));
        assert_eq!(
            ran.answer(),
            "3 TOPIP UNKNOWN - web1.example.com gave no answer in 2 s (while finding its address)",
            "{}",
            ran.stderr
        );
        assert!(ran.took < Duration::from_millis(2500), "{:?}", ran.took);
    });
}

#[test]
fn hosts_that_are_none() {
    let room = Room::new();
    let check = |host: &str| room.check(&["-H", host, "-u", "x"]).answer();
    for host in ["-oProxyCommand=id", "web1;id", "", "a b", "web1:99999"] {
        assert!(check(host).starts_with("3 TOPIP UNKNOWN - "), "{host}");
    }
    assert!(check("localhost").starts_with("0 ") || check("::1").contains("connection"));
}
