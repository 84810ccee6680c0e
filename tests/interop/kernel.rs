//! Real connections in a network namespace: netlink, /proc, `ss` and `netstat` give the
//! same tally, which is the expected one.
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

use crate::support::{CHECK, TestDir, copy_program, run, skip, wait_for_listener};

/// Runs `test` on a thread in a new network namespace, with loopback up and with the
/// documentation networks as local addresses.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        if let Err(error) = enter_namespace() {
            return skip(&format!("permission to create a network namespace ({error})"));
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Moves this thread to a new network namespace, as for [`in_namespace`].
pub fn enter_namespace() -> nix::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
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
    // Allows clients to bind to any address of that network.
    fs::write("/proc/thread-self/net/../../../sys/net/ipv6/ip_nonlocal_bind", "1")
        .or_else(|_| fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1"))
        .unwrap();
    Ok(())
}

/// Connections and their expected tally.
#[derive(Default)]
struct KernelFixture {
    /// Number of connections by peer. Both endpoints are on this host.
    peers: BTreeMap<IpAddr, u64>,
    streams: Vec<TcpStream>,
    listeners: Vec<TcpListener>,
    children: Vec<Child>,
}

impl Drop for KernelFixture {
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
            // Shortly after a namespace is created, its IPv6 routes may be missing for a
            // moment.
            Err(Errno::NETUNREACH) if started.elapsed() < Duration::from_secs(10) => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{from} to {to}: {error}"),
        }
    }
}

impl KernelFixture {
    /// Opens a connection and returns the client's and the server's endpoints.
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

    /// Opens connections from hundreds of addresses of each kind, with one to seven
    /// connections each, some of them in other states.
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
            // A dual-stack socket shows these clients as ::ffff:198.51.100.1.
            (TcpListener::bind("[::]:80").unwrap(), both, |host| {
                Ipv4Addr::new(198, 51, 100, host).into()
            }),
        ];
        for (listener, to, address) in &kinds {
            for host in 1..=250 {
                // Close connections last: a new connection of the same address could reuse
                // the port and replace the socket in TIME_WAIT.
                for n in (0..=host % 7).rev() {
                    let (client, server) = self.connection(address(host), listener, *to);
                    match (host % 10, n) {
                        // The server closes first and is in TIME_WAIT; the client's socket
                        // is gone.
                        (3, 0) => {
                            drop(server);
                            drop(client);
                            *self.peers.get_mut(&to.ip()).unwrap() -= 1;
                        }
                        // The client has closed, the server has not.
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

    /// A listener that accepts a connection only when data arrives keeps it in SYN_RECV,
    /// while the client is connected.
    fn half_open(&mut self) {
        let server: SocketAddr = "192.0.2.10:25".parse().unwrap();
        let socat = Command::new("socat")
            .args(["TCP4-LISTEN:25,bind=192.0.2.10,fork,defer-accept=120,backlog=100", "/dev/null"])
            .spawn()
            .expect("socat is installed");
        self.children.push(socat);
        wait_for_listener(25);
        for host in 240..=249 {
            let from = IpAddr::from([203, 0, 113, host]);
            self.streams.push(connect(from, server));
            *self.peers.entry(from).or_default() += 1;
            *self.peers.entry(server.ip()).or_default() += 1;
        }
    }
}

/// Returns the output lines about addresses, which begin with the address and its number of
/// connections.
pub fn address_lines(answer: &str) -> Vec<String> {
    let lines = answer.lines().skip(1).filter(|line| line.contains(" on port"));
    lines.map(str::to_owned).collect()
}

fn listing_from(tool: &str) -> Vec<u8> {
    let mut words = tool.split(' ');
    let output =
        Command::new(words.next().unwrap()).args(words).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{tool}");
    output.stdout
}

#[test]
fn all_sources_give_the_same_tally() {
    // Thousands of connections with two endpoints each.
    let limit = Rlimit { current: Some(16384), maximum: Some(16384) };
    if setrlimit(Resource::Nofile, limit).is_err() {
        return skip("permission to open 16384 files");
    }
    in_namespace(|| {
        let mut fixture = KernelFixture::default();
        fixture.populate();
        let n_connections: u64 = fixture.peers.values().sum();
        assert!(n_connections > 5000 && fixture.peers.len() > 700);

        let dir = TestDir::new();
        // Under the limit, the lines of a second sample are those of the first.
        let options = ["--no-default-excludes", "-vvv", "--state-file", "state", "--limit", "9999"];
        let by = |source| dir.check(&[&options[..], &["--source", source]].concat()).stdout;
        let from = |tool: &str| dir.check_listing(listing_from(tool), &options).stdout;
        let netlink = by("netlink");
        let expected_lines = address_lines(&netlink);

        let counts = expected_lines.iter().map(|line| {
            let mut words = line.split(' ');
            let address: IpAddr = words.next().unwrap().parse().unwrap();
            (address, words.next().unwrap().parse::<u64>().unwrap())
        });
        assert_eq!(counts.collect::<BTreeMap<_, _>>(), fixture.peers);
        for state in ["ESTABLISHED", "TIME_WAIT", "SYN_RECV", "CLOSE_WAIT", "FIN_WAIT2"] {
            assert!(netlink.contains(&format!("{state} (")), "no {state}");
        }
        assert!(netlink.contains("\nSource: netlink (sock_diag)\n"));

        let proc = by("proc");
        assert_eq!(address_lines(&proc), expected_lines);
        assert!(
            proc.contains("\nSource: /proc/self/net/tcp and tcp6, read as /proc/net/tcp\n"),
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
            assert_eq!(address_lines(&from(tool)), expected_lines, "{tool}");
        }
        // ss omits these two states unless all are requested.
        let without = |line: &&String| !line.contains("TIME_WAIT") && !line.contains("SYN_RECV");
        let fewer = address_lines(&from("ss -tn"));
        let whole: Vec<_> = expected_lines.iter().filter(without).cloned().collect();
        assert!(!whole.is_empty() && whole.iter().all(|line| fewer.contains(line)));
        let half_open = |line: &&String| line.contains("TIME_WAIT") || line.contains("SYN_RECV");
        assert!(!fewer.iter().any(|line| half_open(&line)));

        // net-tools without -W truncates long addresses: the output is a warning or
        // UNKNOWN, but not OK.
        let narrow = listing_from("netstat -nt");
        let cut = dir.check_listing(&narrow, &["--state-file", "cut"]).stdout;
        assert!(cut.contains(" addresses may be cut off, first in line "), "{cut}");
        let high = ["--floor", "100000", "--state-file", "high"];
        assert!(dir.check_listing(&narrow, &high).status_line().starts_with("TOPIP UNKNOWN - "));
        let v4 = dir.check_listing(&narrow, &[&high[..], &["-4"]].concat());
        assert!(v4.status_line().starts_with("TOPIP OK - 192.0.2.10 has "), "{}", v4.status_line());

        assert_filters_agree(&dir);
        assert_unprivileged_user_sees_the_same(&dir, &expected_lines);
    });
}

/// Asserts that the filters of the kernel, of the parser and of `ss` agree.
fn assert_filters_agree(dir: &TestDir) {
    // Under the limit, the lines of a second sample are those of the first.
    let options = ["--no-default-excludes", "-vvv", "--state-file", "selected", "--limit", "9999"];
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
            address_lines(&dir.check(&args).stdout)
        };
        let expected_lines = by("netlink");
        assert!(!expected_lines.is_empty(), "{selection:?}");
        assert_eq!(by("proc"), expected_lines, "{selection:?}");
        // ss omits the state column if one state is selected.
        let without_states = |line: String| line.split("; ").next().unwrap().to_owned();
        let ss: Vec<_> = address_lines(&dir.check_listing(listing_from(ss), &options).stdout)
            .into_iter()
            .map(without_states)
            .collect();
        let expected_lines: Vec<_> = expected_lines.into_iter().map(without_states).collect();
        assert_eq!(ss, expected_lines, "{selection:?}");
    }
    // Compare each network with the count of ss.
    let networks = ["--prefix4", "24", "--prefix6", "64"];
    let by = |source| {
        let args = [&options[..], &networks, &["--source", source]].concat();
        address_lines(&dir.check(&args).stdout)
    };
    let expected_lines = by("netlink");
    assert_eq!(by("proc"), expected_lines);
    let n_networks =
        expected_lines.iter().filter(|line| line.contains("/24 (250 addresses) ")).count();
    assert_eq!(n_networks, 2, "{expected_lines:?}");
    assert!(expected_lines.len() > 200, "{expected_lines:?}");
    // Each call of ss takes a moment.
    for line in expected_lines.iter().take(8) {
        let network = line.split(' ').next().unwrap();
        let rows = listing_from(&format!("ss -Htan dst {network}"));
        let n = rows.iter().filter(|&&byte| byte == b'\n').count();
        assert!(line.contains(&format!(") {n} connections ")), "{n} in {line}");
    }
    // The clients are on this host, too: connections that they opened do not count.
    let inbound = |source| {
        let args = [&options[..], &["--inbound", "-x", "::1", "--source", source]].concat();
        dir.check(&args).stdout
    };
    let at_ports = |source| {
        let args = ["--inbound", "--port", "25,8000-8100", "--source", source];
        dir.check(&[&options[..], &args].concat()).stdout
    };
    let some = address_lines(&at_ports("netlink"));
    assert!(some.iter().any(|line| line.starts_with("2001:db8:1:")), "{some:?}");
    assert_eq!(address_lines(&at_ports("proc")), some);
    let expected_lines = inbound("netlink");
    assert_eq!(address_lines(&inbound("proc")), address_lines(&expected_lines));
    assert!(
        !address_lines(&expected_lines).iter().any(|line| line.starts_with("192.0.2.10 ")),
        "{expected_lines}"
    );
    assert!(
        address_lines(&expected_lines).iter().any(|line| line.starts_with("203.0.113.244 8 ")),
        "{expected_lines}"
    );
}

fn assert_unprivileged_user_sees_the_same(dir: &TestDir, expected_lines: &[String]) {
    const NOBODY: u32 = 65534;
    // Other users may not have access to the build directory.
    let program = dir.path("check_topip");
    copy_program(CHECK, &program);
    fs::set_permissions(dir.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(program);
    command
        .args(["--source", "netlink", "--no-default-excludes", "-vvv", "--limit", "9999"])
        .env_clear()
        .env("MP_STATE_PATH", dir.path("nobody"))
        .uid(NOBODY)
        .gid(NOBODY);
    assert_eq!(address_lines(&run(&mut command).stdout), expected_lines);
}

#[test]
fn idle_host_is_ok() {
    in_namespace(|| {
        let dir = TestDir::new();
        for source in ["auto", "netlink", "proc"] {
            let result = dir.check(&["--source", source]);
            assert_eq!(result.code_and_status(), "0 TOPIP OK - no connections counted", "{source}");
        }
    });
}

/// Thousands of sockets are opened and closed while the table is read: the dump still
/// succeeds and has the lasting connections.
#[test]
fn dump_during_connection_churn_is_complete() {
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
                    // A reset leaves no socket in TIME_WAIT.
                    let _ = server.write_all(b"x");
                    drop(client);
                }
            });
            let dir = TestDir::new();
            while Instant::now() < until {
                let result = dir.check(&["-vvv", "-x", "192.0.2.10"]);
                let line = address_lines(&result.stdout)
                    .into_iter()
                    .find(|line| line.starts_with("203.0.113.7 "));
                assert!(
                    line.is_some_and(|line| line.contains(" 100 connections ")),
                    "{}",
                    result.stdout
                );
            }
        });
        drop(staying);
    });
}

#[test]
fn local_check_starts_no_program() {
    in_namespace(|| {
        let dir = TestDir::new();
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-e", "trace=execve,fork,vfork,connect", "-o"])
            .arg(dir.path("trace"))
            .arg(CHECK)
            .env("MP_STATE_PATH", dir.path("."))
            .stdout(Stdio::null());
        if strace.status().is_err() {
            return skip("strace");
        }
        let trace = fs::read_to_string(dir.path("trace")).unwrap();
        assert_eq!(trace.matches("execve(").count(), 1, "{trace}");
        assert_eq!(trace.matches("connect(").count(), 1, "{trace}");
        assert!(trace.contains("sa_family=AF_NETLINK"), "{trace}");
    });
}

/// Connections to three addresses of the host, from every source.
#[test]
fn local_addresses_are_counted() {
    in_namespace(|| {
        for address in ["192.0.2.11/24", "192.0.2.12/24"] {
            let added = Command::new("ip").args(["addr", "add", address, "dev", "lo"]).status();
            assert!(added.unwrap().success());
        }
        let listener = TcpListener::bind("[::]:443").unwrap();
        let counts = [("192.0.2.10", 3), ("192.0.2.11", 5), ("192.0.2.12", 1), ("2001:db8::10", 2)];
        let _streams: Vec<_> = counts
            .into_iter()
            .flat_map(|(to, n)| std::iter::repeat_n(to, n))
            .map(|to| {
                let to = SocketAddr::new(to.parse().unwrap(), 443);
                let from = if to.is_ipv4() { "203.0.113.1" } else { "2001:db8:1::7" };
                (connect(from.parse().unwrap(), to), listener.accept().unwrap())
            })
            .collect();
        let dir = TestDir::new();
        let listing = |command: &str| {
            Command::new("sh").args(["-c", command]).output().expect("sh is installed").stdout
        };
        dir.write("ss", listing("ss -tan"));
        dir.write("netstat", listing("netstat -natW"));
        let v4 = "203.0.113.1 9 connections on port 443 (9); at 192.0.2.11 (5), 192.0.2.10 (3), \
                  192.0.2.12 (1); ESTABLISHED (9)";
        // All connections of IPv6 are to one address.
        let v6 = "2001:db8:1::7 2 connections on port 443 (2); ESTABLISHED (2)";
        for source in [
            &["--source", "netlink"][..],
            &["--source", "proc"],
            &["--input", "ss"],
            &["--input", "netstat"],
        ] {
            let args = ["--inbound", "-v", "--output", "nagios"];
            let result = dir.check(&[source, &args].concat());
            assert_eq!(address_lines(&result.stdout), [v4, v6], "{source:?}: {}", result.stdout);
        }
        let json = dir.check(&["--inbound", "--output", "json"]).stdout;
        let expected = "\"local_addresses\":[{\"address\":\"192.0.2.11\",\"connections\":5},\
                        {\"address\":\"192.0.2.10\",\"connections\":3},\
                        {\"address\":\"192.0.2.12\",\"connections\":1}]";
        assert_eq!(json.matches("local_addresses").count(), 1, "{json}");
        assert!(json.contains(expected), "{json}");
    });
}
