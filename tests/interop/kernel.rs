//! Real connections, in a network namespace of the test's own: netlink, /proc,
//! `ss` and `netstat` give one tally, which is the one that was made.
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
    process::{Resource, Rlimit, setrlimit},
};

use crate::support::{CHECK, Room, copy_of, listens_at, run, skip};

/// Runs `test` on a thread that is in a new network namespace, with loopback
/// up, and all documentation addresses its own.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            return skip(&format!("the right to make a network namespace ({error})"));
        }
        for args in [
            "link set lo up",
            "addr add 192.0.2.10/24 dev lo",
            "addr add 198.51.100.1/24 dev lo",
            "addr add 203.0.113.1/24 dev lo",
            "addr add 2001:db8::10/128 dev lo nodad",
            "-6 route add local 2001:db8:1::/48 dev lo",
        ] {
            let status = Command::new("ip").args(args.split(' ')).status();
            assert!(status.expect("iproute2 is installed").success(), "ip {args}");
        }
        // Lets a client take any address of that network as its own.
        fs::write("/proc/thread-self/net/../../../sys/net/ipv6/ip_nonlocal_bind", "1")
            .or_else(|_| fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1"))
            .unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Connections and what is known of them.
#[derive(Default)]
struct World {
    /// The peers as this host sees them, both ends being on it.
    peers: BTreeMap<IpAddr, u64>,
    streams: Vec<TcpStream>,
    listeners: Vec<TcpListener>,
    children: Vec<Child>,
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

pub fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    let started = Instant::now();
    loop {
        match rustix::net::connect(&socket, &to) {
            Ok(()) => return TcpStream::from(socket),
            // Soon after a namespace is made, its routes of IPv6 may be gone for a
            // moment.
            Err(Errno::NETUNREACH) if started.elapsed() < Duration::from_secs(10) => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{from} to {to}: {error}"),
        }
    }
}

impl World {
    /// A connection and both its ends: the client's and the server's.
    fn connection(
        &mut self,
        from: IpAddr,
        listener: &TcpListener,
        to: SocketAddr,
    ) -> (TcpStream, TcpStream) {
        let client = connect(from, to);
        let (server, _) = listener.accept().unwrap();
        *self.peers.entry(from).or_default() += 1;
        *self.peers.entry(to.ip()).or_default() += 1;
        (client, server)
    }

    /// Hundreds of addresses of each kind, with one to seven connections each;
    /// every so many of them in a state of its own.
    fn populate(&mut self) {
        let v4: SocketAddr = "192.0.2.10:443".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::10]:8080".parse().unwrap();
        let both: SocketAddr = "192.0.2.10:80".parse().unwrap();
        type AddressOf = fn(u8) -> IpAddr;
        let kinds: [(TcpListener, SocketAddr, AddressOf); 3] = [
            (TcpListener::bind(v4).unwrap(), v4, |host| Ipv4Addr::new(203, 0, 113, host).into()),
            (TcpListener::bind(v6).unwrap(), v6, |host| {
                Ipv6Addr::new(0x2001, 0xdb8, 1, host.into(), 0x1234, 0x5678, 0x9abc, 1).into()
            }),
            // A socket for both families shows these clients as ::ffff:198.51.100.1.
            (TcpListener::bind("[::]:80").unwrap(), both, |host| {
                Ipv4Addr::new(198, 51, 100, host).into()
            }),
        ];
        for (listener, to, address) in &kinds {
            for host in 1..=250 {
                // The one that is closed comes last: another one of its address may be
                // given its port, and would take the place of the one that waits.
                for n in (0..=host % 7).rev() {
                    let (client, server) = self.connection(address(host), listener, *to);
                    match (host % 10, n) {
                        // The server closes first, and waits; the client is gone.
                        (3, 0) => {
                            drop(server);
                            drop(client);
                            *self.peers.get_mut(&to.ip()).unwrap() -= 1;
                        }
                        // The client has closed, the server does not mind.
                        (5, 0) => {
                            client.shutdown(std::net::Shutdown::Write).unwrap();
                            self.streams.extend([client, server]);
                        }
                        _ => self.streams.extend([client, server]),
                    }
                }
            }
        }
        self.listeners.extend(kinds.map(|(listener, ..)| listener));
        self.half_open();
    }

    /// A listener that takes a connection only once data comes keeps it in
    /// SYN_RECV; its client believes that it is connected.
    fn half_open(&mut self) {
        let server: SocketAddr = "192.0.2.10:25".parse().unwrap();
        let socat = Command::new("socat")
            .args(["TCP4-LISTEN:25,bind=192.0.2.10,fork,defer-accept=120,backlog=100", "/dev/null"])
            .spawn()
            .expect("socat is installed");
        self.children.push(socat);
        listens_at(25);
        for host in 240..=249 {
            let from = IpAddr::from([203, 0, 113, host]);
            self.streams.push(connect(from, server));
            *self.peers.entry(from).or_default() += 1;
            *self.peers.entry(server.ip()).or_default() += 1;
        }
    }
}

/// The lines that tell of an address, and the number that each begins with.
pub fn addresses(answer: &str) -> Vec<String> {
    let lines = answer.lines().skip(1).filter(|line| line.contains(" on port"));
    lines.map(str::to_owned).collect()
}

fn listing_of(tool: &str) -> Vec<u8> {
    let mut words = tool.split(' ');
    let output =
        Command::new(words.next().unwrap()).args(words).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{tool}");
    output.stdout
}

#[test]
fn every_way_of_looking_gives_the_same_tally() {
    // Thousands of connections, two ends each.
    let limit = Rlimit { current: Some(16384), maximum: Some(16384) };
    if setrlimit(Resource::Nofile, limit).is_err() {
        return skip("the right to open 16384 files");
    }
    in_namespace(|| {
        let mut world = World::default();
        world.populate();
        let n_connections: u64 = world.peers.values().sum();
        assert!(n_connections > 5000 && world.peers.len() > 700);

        let room = Room::new();
        let options = ["--no-default-excludes", "-vvv", "--state-file", "state"];
        let by = |source| room.check(&[&options[..], &["--source", source]].concat()).stdout;
        let from = |tool: &str| room.judge(listing_of(tool), &options).stdout;
        let netlink = by("netlink");
        let seen = addresses(&netlink);

        let counts = seen.iter().map(|line| {
            let mut words = line.split(' ');
            let address: IpAddr = words.next().unwrap().parse().unwrap();
            (address, words.next().unwrap().parse::<u64>().unwrap())
        });
        assert_eq!(counts.collect::<BTreeMap<_, _>>(), world.peers);
        for state in ["ESTABLISHED", "TIME_WAIT", "SYN_RECV", "CLOSE_WAIT", "FIN_WAIT2"] {
            assert!(netlink.contains(&format!("{state} (")), "no {state}");
        }
        assert!(netlink.contains("\nLooked at: netlink (sock_diag)\n"));

        let proc = by("proc");
        assert_eq!(addresses(&proc), seen);
        assert!(
            proc.contains("\nLooked at: /proc/self/net/tcp and tcp6, read as /proc/net/tcp\n"),
            "{proc}"
        );
        for tool in [
            "ss -tan",
            "ss -Htan",
            "ss -tanpoei",
            "netstat -ntW",
            "netstat -natpW",
            "busybox netstat -nt",
        ] {
            assert_eq!(addresses(&from(tool)), seen, "{tool}");
        }
        // ss leaves these two out unless it is asked for all.
        let without = |line: &&String| !line.contains("TIME_WAIT") && !line.contains("SYN_RECV");
        let fewer = addresses(&from("ss -tn"));
        let whole: Vec<_> = seen.iter().filter(without).cloned().collect();
        assert!(whole.iter().all(|line| fewer.contains(line)));
        let half_open = |line: &&String| line.contains("TIME_WAIT") || line.contains("SYN_RECV");
        assert!(!fewer.iter().any(|line| half_open(&line)));

        // net-tools without -W cuts the long addresses, and that shows: what was
        // seen is a warning all the same, and no more than that is known.
        let narrow = listing_of("netstat -nt");
        let cut = room.judge(&narrow, &["--state-file", "cut"]).stdout;
        assert!(cut.contains(" addresses may be cut off, first in line "), "{cut}");
        let high = ["--floor", "100000", "--state-file", "high"];
        assert!(room.judge(&narrow, &high).line().starts_with("TOPIP UNKNOWN - "));
        let v4 = room.judge(&narrow, &[&high[..], &["-4"]].concat());
        assert!(v4.line().starts_with("TOPIP OK - 192.0.2.10 has "), "{}", v4.line());

        what_is_selected_is_the_same_everywhere(&room);
        an_ordinary_user_sees_the_same(&room, &seen);
    });
}

/// By the kernel, by the parser, and by the filters of `ss`.
fn what_is_selected_is_the_same_everywhere(room: &Room) {
    let options = ["--no-default-excludes", "-vvv", "--state-file", "selected"];
    for (selection, ss) in [
        (&["--port", "443"][..], "ss -tan sport = 443"),
        (&["--port", "25-80,443"], "ss -tan sport >= 25 and sport <= 80 or sport = 443"),
        (
            &["--port", "443,25,8000-8100"],
            "ss -tan sport >= 8000 and sport <= 8100 or sport = 25 or sport = 443",
        ),
        (
            &["--port", "8080,1-79", "--state", "SYN_RECV,CLOSE_WAIT"],
            "ss -tan state syn-recv state close-wait ( sport = 8080 or sport <= 79 )",
        ),
        (&["--state", "time_wait"], "ss -tan state time-wait"),
        (&["--state", "SYN_RECV,CLOSE_WAIT"], "ss -tan state syn-recv state close-wait"),
        (&["--exclude-state", "established"], "ss -tan exclude established"),
        (&["--port", "80", "--state", "established"], "ss -tan state established sport = 80"),
    ] {
        let by = |source| {
            let args = [&options[..], selection, &["--source", source]].concat();
            addresses(&room.check(&args).stdout)
        };
        let seen = by("netlink");
        assert!(!seen.is_empty(), "{selection:?}");
        assert_eq!(by("proc"), seen, "{selection:?}");
        // ss leaves the state out where it is asked for one.
        let without_states = |line: String| line.split("; ").next().unwrap().to_owned();
        let ss: Vec<_> = addresses(&room.judge(listing_of(ss), &options).stdout)
            .into_iter()
            .map(without_states)
            .collect();
        let seen: Vec<_> = seen.into_iter().map(without_states).collect();
        assert_eq!(ss, seen, "{selection:?}");
    }
    // Networks: one after the other, ss counts what is in each.
    let networks = ["--prefix4", "24", "--prefix6", "64"];
    let by = |source| {
        let args = [&options[..], &networks, &["--source", source]].concat();
        addresses(&room.check(&args).stdout)
    };
    let seen = by("netlink");
    assert_eq!(by("proc"), seen);
    let n_networks = seen.iter().filter(|line| line.contains("/24 (250 addresses) ")).count();
    assert_eq!(n_networks, 2, "{seen:?}");
    assert!(seen.len() > 200, "{seen:?}");
    // Each takes ss a moment.
    for line in seen.iter().take(8) {
        let network = line.split(' ').next().unwrap();
        let rows = listing_of(&format!("ss -Htan dst {network}"));
        let n = rows.iter().filter(|&&byte| byte == b'\n').count();
        assert!(line.contains(&format!(") {n} connections ")), "{n} in {line}");
    }
    // Clients are on this host too: what they have opened does not count.
    let inbound = |source| {
        let args = [&options[..], &["--inbound", "-x", "::1", "--source", source]].concat();
        room.check(&args).stdout
    };
    let at_ports = |source| {
        let args = ["--inbound", "--port", "25,8000-8100", "--source", source];
        room.check(&[&options[..], &args].concat()).stdout
    };
    let some = addresses(&at_ports("netlink"));
    assert!(some.iter().any(|line| line.starts_with("2001:db8:1:")), "{some:?}");
    assert_eq!(addresses(&at_ports("proc")), some);
    let seen = inbound("netlink");
    assert_eq!(addresses(&inbound("proc")), addresses(&seen));
    assert!(!addresses(&seen).iter().any(|line| line.starts_with("192.0.2.10 ")), "{seen}");
    assert!(addresses(&seen).iter().any(|line| line.starts_with("203.0.113.244 8 ")), "{seen}");
}

fn an_ordinary_user_sees_the_same(room: &Room, seen: &[String]) {
    const NOBODY: u32 = 65534;
    // Where the tests are built, nobody else may be let in.
    let program = room.path("check_topip");
    copy_of(CHECK, &program);
    fs::set_permissions(room.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(program);
    command
        .args(["--source", "netlink", "--no-default-excludes", "-vvv"])
        .env_clear()
        .env("MP_STATE_PATH", room.path("nobody"))
        .uid(NOBODY)
        .gid(NOBODY);
    assert_eq!(addresses(&run(&mut command).stdout), seen);
}

#[test]
fn an_idle_host_is_idle() {
    in_namespace(|| {
        let room = Room::new();
        for source in ["auto", "netlink", "proc"] {
            let ran = room.check(&["--source", source]);
            assert_eq!(ran.answer(), "0 TOPIP OK - no connections worth looking at", "{source}");
        }
    });
}

/// Sockets come and go by the thousand while the table is read: nothing of that
/// is a reason to fail, or to forget those that stay.
#[test]
fn a_dump_in_a_storm_is_still_a_dump() {
    in_namespace(|| {
        let server: SocketAddr = "192.0.2.10:443".parse().unwrap();
        let listener = TcpListener::bind(server).unwrap();
        let staying: Vec<_> = (0..100)
            .map(|_| (connect([203, 0, 113, 7].into(), server), listener.accept().unwrap()))
            .collect();
        let storm = TcpListener::bind("192.0.2.10:80").unwrap();
        let until = Instant::now() + Duration::from_secs(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                while Instant::now() < until {
                    let client =
                        connect([198, 51, 100, 7].into(), "192.0.2.10:80".parse().unwrap());
                    let (mut server, _) = storm.accept().unwrap();
                    // A reset leaves nothing behind, and so room for more.
                    let _ = server.write_all(b"x");
                    drop(client);
                }
            });
            let room = Room::new();
            while Instant::now() < until {
                let ran = room.check(&["-vvv", "-x", "192.0.2.10"]);
                let line = addresses(&ran.stdout)
                    .into_iter()
                    .find(|line| line.starts_with("203.0.113.7 "));
                assert!(
                    line.is_some_and(|line| line.contains(" 100 connections ")),
                    "{}",
                    ran.stdout
                );
            }
        });
        drop(staying);
    });
}

#[test]
fn a_check_starts_no_program_and_leaves_none() {
    in_namespace(|| {
        let room = Room::new();
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-e", "trace=execve,fork,vfork,connect", "-o"])
            .arg(room.path("trace"))
            .arg(CHECK)
            .env("MP_STATE_PATH", room.path("."))
            .stdout(Stdio::null());
        if strace.status().is_err() {
            return skip("strace");
        }
        let trace = fs::read_to_string(room.path("trace")).unwrap();
        assert_eq!(trace.matches("execve(").count(), 1, "{trace}");
        assert_eq!(trace.matches("connect(").count(), 1, "{trace}");
        assert!(trace.contains("sa_family=AF_NETLINK"), "{trace}");
    });
}
