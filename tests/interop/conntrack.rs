//! Flows of a real gateway match the sockets of its containers, from every source.
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, socket_with},
    process::{Resource, Rlimit, setrlimit},
};

use super::{
    kernel::{address_lines, in_namespace},
    sandbox::without_sockets,
};
use crate::support::{
    CHECK, CommandResult, TestDir, copy_program, run, skip,
    topology::{TestNetns, Topology, v4_clients, v6_clients},
};

const CONNTRACK_ARGS: [&str; 3] = ["--source", "conntrack", "-vvv"];
pub const NETLINK_NETFILTER: u64 = 12;

/// Runs the check on the gateway.
pub fn check_on_gateway(net: &Topology, dir: &TestDir, args: &[&str]) -> CommandResult {
    run(net.command(CHECK).args(args).env("MP_STATE_PATH", dir.path(".")))
}

/// Returns the connections to a port by peer, as `ss` lists them in a namespace.
fn ss_counts(net: &Topology, netns: TestNetns, port: u16) -> BTreeMap<IpAddr, u64> {
    let script = format!("ss -Htn state connected sport = :{port}");
    let output = net.in_netns(netns, || Command::new("sh").args(["-c", &script]).output().unwrap());
    let mut counts = BTreeMap::new();
    for row in String::from_utf8(output.stdout).unwrap().lines() {
        let peer = row.split_whitespace().nth(4).unwrap();
        let (address, _) = peer.rsplit_once(':').unwrap();
        let address: IpAddr = address.trim_matches(['[', ']']).parse().unwrap();
        *counts.entry(address.to_canonical()).or_insert(0) += 1;
    }
    counts
}

pub fn counts(result: &CommandResult) -> BTreeMap<IpAddr, u64> {
    let count = |line: String| {
        let mut words = line.split(' ');
        let address = words.next().unwrap().parse().unwrap();
        (address, words.next().unwrap().parse().unwrap())
    };
    address_lines(&result.stdout).into_iter().map(count).collect()
}

pub fn sum(parts: &[BTreeMap<IpAddr, u64>]) -> BTreeMap<IpAddr, u64> {
    let mut sum = BTreeMap::new();
    for (address, n) in parts.iter().flatten() {
        *sum.entry(*address).or_insert(0) += n;
    }
    sum
}

#[test]
fn gateway_flows_match_container_sockets() {
    let limit = Rlimit { current: Some(16384), maximum: Some(16384) };
    if setrlimit(Resource::Nofile, limit).is_err() {
        return skip("permission to open 16384 files");
    }
    let Some(net) = Topology::new() else { return };
    let dir = TestDir::new();
    let blue = net.listen(TestNetns::Blue, "[::]:8080");
    let green = net.listen(TestNetns::Green, "[::]:8443");
    let host_listener = net.listen(TestNetns::Host, "[::]:22");
    let other = net.listen(TestNetns::Clients, "192.0.2.2:9000");
    let some: fn(u8) -> usize = |host| usize::from(host % 5) + 1;
    let _kept = [
        net.connect_clients(v4_clients(200, some), "192.0.2.1:80", &blue),
        net.connect_clients(v6_clients(150, some), "[2001:db8::1]:443", &green),
        net.connect_clients(v6_clients(20, |_| 2), "[2001:db8::1]:80", &blue),
        net.connect_clients(v4_clients(30, |_| 1), "192.0.2.1:443", &green),
        net.connect_clients(v4_clients(7, |_| 3), "192.0.2.1:22", &host_listener),
    ];
    let inside = sum(&[
        ss_counts(&net, TestNetns::Blue, 8080),
        ss_counts(&net, TestNetns::Green, 8443),
        ss_counts(&net, TestNetns::Host, 22),
    ]);
    assert!(inside.len() == 350 && inside.values().sum::<u64>() > 1000, "{inside:?}");
    let result = check_on_gateway(&net, &dir, &CONNTRACK_ARGS);
    assert_eq!(counts(&result), inside);
    assert!(
        result.status_line().contains(" connections through this gateway, limit "),
        "{}",
        result.stdout
    );
    assert!(result.stdout.contains("\nSource: netlink (ctnetlink)\n"), "{}", result.stdout);
    // The ports are the original destination ports.
    let busy = "\n203.0.113.4 9 connections on ports 80 (5), 22 (3), 443 (1); ESTABLISHED (9)\n";
    assert!(result.stdout.contains(busy), "{}", result.stdout);
    // The host's own socket table has only a few connections.
    let of_sockets = check_on_gateway(&net, &dir, &["-vvv"]);
    assert_eq!(counts(&of_sockets), ss_counts(&net, TestNetns::Host, 22));

    // In the other direction, connections of a container have the gateway's address
    // outside.
    let lan: IpAddr = "10.0.1.2".parse().unwrap();
    let gateway: IpAddr = "192.0.2.1".parse().unwrap();
    let _out: Vec<_> = (0..20)
        .map(|_| net.connect((TestNetns::Blue, lan), "192.0.2.2:9000", &other))
        .chain((0..30).map(|_| net.connect((TestNetns::Host, gateway), "192.0.2.2:9000", &other)))
        .collect();
    let result = check_on_gateway(&net, &dir, &CONNTRACK_ARGS);
    let mut expected = inside.clone();
    expected.insert(lan, 20);
    assert_eq!(counts(&result), expected);
    assert!(
        result.status_line().contains(" 10.0.1.2 has 20 connections through this"),
        "{}",
        result.status_line()
    );
    assert!(result.stdout.contains("\nExcluded, opened by this host: 30\n"), "{}", result.stdout);
    let inbound = check_on_gateway(&net, &dir, &[&CONNTRACK_ARGS[..], &["--inbound"]].concat());
    assert_eq!(counts(&inbound), inside);
    assert!(
        inbound.status_line().contains(" connections to this gateway, "),
        "{}",
        inbound.status_line()
    );
    assert!(inbound.stdout.contains("\nExcluded, to other hosts: 20\n"), "{}", inbound.stdout);

    assert_all_sources_agree(&net, &dir, &address_lines(&result.stdout));
    assert_filters_agree(&net, &dir);
    assert_needs_net_admin(&net, &dir, &result.stdout);
}

/// Asserts that /proc, which is used without ctnetlink, and listings, which do not show the
/// gateway's addresses, give the same output.
fn assert_all_sources_agree(net: &Topology, dir: &TestDir, expected_lines: &[String]) {
    let by_proc = without_sockets(Some(NETLINK_NETFILTER), 93, || {
        check_on_gateway(net, dir, &CONNTRACK_ARGS)
    });
    assert_eq!(address_lines(&by_proc.stdout), expected_lines);
    let expected = "\nFailed source: netlink (ctnetlink): cannot open netlink: \
                Protocol not supported (os error 93)\n\
                Source: /proc/thread-self/net/nf_conntrack, read as conntrack\n";
    assert!(by_proc.stdout.contains(expected), "{}", by_proc.stdout);
    for tool in [
        "conntrack -L",
        "conntrack -L -p tcp -o extended,id,ktimestamp 2>&1",
        "conntrack -L -f ipv4 -p tcp && conntrack -L -f ipv6 -p tcp",
        "cat /proc/net/nf_conntrack",
    ] {
        let listing = net.shell(&format!("({tool}) 2>/dev/null"));
        let result = dir.check_listing(listing, &["-vvv", "-x", "192.0.2.1"]);
        assert_eq!(address_lines(&result.stdout), expected_lines, "{tool}");
        assert!(
            result.status_line().contains(" connections through this gateway, "),
            "{}",
            result.status_line()
        );
    }
}

/// Asserts that the filters of the kernel, of the parser and of `conntrack` agree.
fn assert_filters_agree(net: &Topology, dir: &TestDir) {
    for (selection, tool) in [
        (&["--port", "443"][..], "conntrack -L -p tcp --orig-port-dst 443"),
        (
            &["--port", "20-80"],
            "conntrack -L -p tcp --orig-port-dst 22; conntrack -L -p tcp --orig-port-dst 80",
        ),
        (&["-4", "--state", "established"], "conntrack -L -f ipv4 -p tcp --state ESTABLISHED"),
        (&["-6", "--port", "80"], "conntrack -L -f ipv6 -p tcp --orig-port-dst 80"),
    ] {
        let expected_lines = check_on_gateway(net, dir, &[&CONNTRACK_ARGS[..], selection].concat());
        let listing = net.shell(&format!("{tool} 2>/dev/null"));
        let result = dir.check_listing(listing, &["-vvv", "-x", "192.0.2.1"]);
        assert!(!address_lines(&expected_lines.stdout).is_empty(), "{}", expected_lines.stdout);
        assert_eq!(
            address_lines(&result.stdout),
            address_lines(&expected_lines.stdout),
            "{selection:?}"
        );
    }
}

/// Asserts that CAP_NET_ADMIN is required and sufficient.
fn assert_needs_net_admin(net: &Topology, dir: &TestDir, expected_output: &str) {
    let program = dir.path("check_topip");
    copy_program(CHECK, &program);
    fs::set_permissions(dir.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let as_nobody = |more: &[&str]| {
        let mut command = net.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).args(more);
        run(command.arg(&program).args(CONNTRACK_ARGS).env("MP_STATE_PATH", dir.path("nobody")))
    };
    let result = as_nobody(&["--inh-caps", "+net_admin", "--ambient-caps", "+net_admin"]);
    assert_eq!(address_lines(&result.stdout), address_lines(expected_output));
    let result = as_nobody(&[]);
    assert_eq!(
        result.stdout,
        "TOPIP UNKNOWN - cannot read the tracked connections of this host: cannot open \
         /proc/thread-self/net/nf_conntrack: Permission denied (os error 13)\n\
         Failed source: netlink (ctnetlink): the kernel refused a dump by ctnetlink: Operation not \
         permitted (os error 1)\n\
         Run the check as root, or grant CAP_NET_ADMIN, which is sufficient for ctnetlink; see \
         check_topip(1), GATEWAYS.\n"
    );
    assert_eq!(result.code, Some(3));
}

/// Starts connecting without waiting for the result.
fn connect_nonblocking(from: &str, to: &str) -> OwnedFd {
    let (from, to): (IpAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).unwrap();
    bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    assert_eq!(rustix::net::connect(&socket, &to), Err(Errno::INPROGRESS));
    socket
}

/// Flows in zones, half-open flows, and flows without a reply.
#[test]
fn zoned_and_half_open_flows_are_counted() {
    let Some(net) = Topology::new() else { return };
    let dir = TestDir::new();
    net.shell(
        "nft -f - <<END
table inet zones {
    chain in {
        type filter hook prerouting priority raw
        ip saddr 203.0.113.9 ct zone set 9
    }
    chain out {
        type filter hook output priority raw
        ip daddr 203.0.113.9 ct zone set 9
    }
}
END
insert() {
    conntrack -I -p tcp -t 600 -s 203.0.113.8 -d 192.0.2.1 --sport 50000 --dport 80 $@ 2>/dev/null
}
insert --state ESTABLISHED -u SEEN_REPLY,ASSURED -w 5
insert --state ESTABLISHED -u SEEN_REPLY,ASSURED -w 6
insert --state SYN_SENT -w 7
ip neigh add 10.0.1.99 lladdr 02:00:00:00:00:99 dev to-blue nud permanent
ip -6 neigh add fd00:1::99 lladdr 02:00:00:00:00:99 dev to-blue nud permanent",
    );
    let host_listener = net.listen(TestNetns::Host, "[::]:22");
    let from = |address: &str| (TestNetns::Clients, address.parse::<IpAddr>().unwrap());
    let _kept = [
        net.connect(from("203.0.113.9"), "192.0.2.1:22", &host_listener),
        net.connect(from("203.0.113.9"), "192.0.2.1:22", &host_listener),
    ];
    // No host replies: the client waits.
    let _waiting = [("203.0.113.7", "10.0.1.99:81"), ("2001:db8:1:7::1", "[fd00:1::99]:81")]
        .map(|(from, to)| net.in_netns(TestNetns::Clients, || connect_nonblocking(from, to)));
    let started = Instant::now();
    while net.shell("conntrack -L -p tcp --orig-port-dst 81 2>/dev/null | wc -l").trim() != "2" {
        assert!(started.elapsed() < Duration::from_secs(20), "the flows do not appear");
        thread::sleep(Duration::from_millis(50));
    }
    let result = check_on_gateway(&net, &dir, &CONNTRACK_ARGS);
    let expected = [
        "203.0.113.8 3 connections on port 80 (3); at 192.0.2.1 (3); ESTABLISHED (2), SYN_RECV (1)",
        "203.0.113.9 2 connections on port 22 (2); at 192.0.2.1 (2); ESTABLISHED (2)",
        "203.0.113.7 1 connection on port 81 (1); at 10.0.1.99 (1); SYN_RECV (1)",
        "2001:db8:1:7::1 1 connection on port 81 (1); SYN_RECV (1)",
    ];
    assert_eq!(address_lines(&result.stdout), expected);
    let half_open =
        check_on_gateway(&net, &dir, &[&CONNTRACK_ARGS[..], &["--state", "SYN_RECV"]].concat());
    assert_eq!(counts(&half_open).values().sum::<u64>(), 3, "{}", half_open.stdout);
}

#[test]
fn empty_flow_table_is_unknown() {
    in_namespace(|| {
        let result = TestDir::new().check(&["--source", "conntrack"]);
        assert_eq!(
            result.stdout,
            "TOPIP UNKNOWN - cannot read the tracked connections of this host: the kernel \
             tracks no connection here\n\
             Failed source: netlink (ctnetlink): the kernel tracks no connection here\n\
             No firewall rule of this host uses connection tracking, or no packet has arrived: \
             nft list ruleset. To count the connections of local sockets, omit --source \
             conntrack.\n"
        );
        assert_eq!(result.code, Some(3));
    });
}

/// Simulates a kernel without the modules: the netlink protocol and the file in /proc do
/// not exist.
#[test]
fn missing_connection_tracking_is_unknown() {
    let dir = TestDir::new();
    let directory = dir.path(".");
    let script = "mount -t tmpfs none /proc && exec \"$0\" --source conntrack";
    let result = without_sockets(Some(NETLINK_NETFILTER), 93, || {
        run(Command::new("unshare")
            .args(["-m", "sh", "-c", script, CHECK])
            .env("MP_STATE_PATH", &directory))
    });
    if result.stdout.is_empty() {
        return skip(&format!("permission to mount over /proc ({})", result.stderr.trim()));
    }
    assert_eq!(
        result.stdout,
        "TOPIP UNKNOWN - cannot read the tracked connections of this host: cannot open \
         /proc/thread-self/net/nf_conntrack: No such file or directory (os error 2)\n\
         Failed source: netlink (ctnetlink): cannot open netlink: Protocol not supported (os error 93)\n\
         Load the kernel module: modprobe nf_conntrack_netlink. The first firewall rule that uses \
         connection tracking enables it.\n"
    );
    assert_eq!(result.code, Some(3));
}
