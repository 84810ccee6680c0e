//! UDP flows of a real gateway match what its clients sent, from every source.
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    conntrack::{NETLINK_NETFILTER, check_on_gateway, counts, sum},
    kernel::address_lines,
    sandbox::without_sockets,
};
use crate::support::{
    TestDir,
    topology::{TestNetns, Topology, v4_clients, v6_clients},
};

type Counts = BTreeMap<IpAddr, u64>;

/// DNAT of UDP port 443, as the topology has it for TCP.
const UDP_DNAT: &str = "nft -f - <<END
table inet udp_dnat {
    chain in {
        type nat hook prerouting priority dstnat
        iifname outer ip daddr 192.0.2.1 udp dport 443 dnat ip to 10.0.2.2:8443
        iifname outer ip6 daddr 2001:db8::1 udp dport 443 dnat ip6 to [fd00:2::2]:8443
    }
}
END";

fn bind(net: &Topology, netns: TestNetns, address: &str) -> UdpSocket {
    let socket = net.in_netns(netns, || UdpSocket::bind(address).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Receives a datagram and returns its sender.
fn receive(server: &UdpSocket) -> SocketAddr {
    loop {
        match server.recv_from(&mut [0; 16]) {
            Ok((_, peer)) => return peer,
            // The end of a child process of another test interrupts the call with a signal.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Sends a datagram from each client in a flow of its own; the server answers it if
/// `has_reply`. Returns the sockets of the clients.
fn send(
    net: &Topology,
    (netns, clients): (TestNetns, &[(IpAddr, usize)]),
    to: &str,
    (server, has_reply): (&UdpSocket, bool),
) -> Vec<UdpSocket> {
    let to: SocketAddr = to.parse().unwrap();
    let mut sockets = Vec::new();
    for &(from, n) in clients {
        for _ in 0..n {
            let client = net.in_netns(netns, || UdpSocket::bind((from, 0)).unwrap());
            client.connect(to).unwrap();
            client.send(b"hello").unwrap();
            let peer = receive(server);
            if has_reply {
                server.send_to(b"hello", peer).unwrap();
            }
            sockets.push(client);
        }
    }
    sockets
}

/// Returns the flows by source, as conntrack lists and awk counts them.
fn conntrack_counts(net: &Topology, options: &str) -> Counts {
    let list = |family| format!("conntrack -L -f {family} {options} 2>/dev/null");
    let script = format!(
        "({}; {}) | awk '{{ for (i = 1; i <= NF; i++) if ($i ~ /^src=/) {{ print $i; break }} }}' \
         | sed s/src=// | sort | uniq -c",
        list("ipv4"),
        list("ipv6")
    );
    let output = net.shell(&script);
    let rows = output.lines().map(|row| row.split_once(' ').map(|_| row.trim()).unwrap());
    rows.map(|row| {
        let (n, address) = row.split_once(' ').unwrap();
        (address.parse().unwrap(), n.parse().unwrap())
    })
    .collect()
}

fn expected(clients: &[(IpAddr, usize)]) -> Counts {
    let counts = clients.iter().filter(|(_, n)| *n > 0);
    counts.map(|&(address, n)| (address, n as u64)).collect()
}

#[test]
fn udp_flows_match_what_was_sent() {
    let Some(net) = Topology::new() else { return };
    let dir = TestDir::new();
    net.shell(UDP_DNAT);
    let green = bind(&net, TestNetns::Green, "[::]:8443");
    let host = bind(&net, TestNetns::Host, "[::]:53");
    let outside = bind(&net, TestNetns::Clients, "192.0.2.2:9000");
    let some: fn(u8) -> usize = |host| usize::from(host % 9);
    let (v4, v6) = (v4_clients(240, some), v6_clients(200, some));
    let one = v4_clients(50, |_| 1);
    let lan: [(IpAddr, usize); 1] = [("10.0.1.2".parse().unwrap(), 30)];
    let gateway: [(IpAddr, usize); 1] = [("192.0.2.1".parse().unwrap(), 20)];
    let clients = |clients| (TestNetns::Clients, clients);
    let _kept = [
        send(&net, clients(&v4[..]), "192.0.2.1:443", (&green, true)),
        send(&net, clients(&v6[..]), "[2001:db8::1]:443", (&green, true)),
        send(&net, clients(&one[..]), "192.0.2.1:53", (&host, false)),
        // One flow is masqueraded, and one is opened by the gateway itself.
        send(&net, (TestNetns::Blue, &lan), "192.0.2.2:9000", (&outside, true)),
        send(&net, (TestNetns::Host, &gateway), "192.0.2.2:9000", (&outside, true)),
    ];
    let quic = sum(&[expected(&v4), expected(&v6)]);
    let all = sum(&[quic.clone(), expected(&one), expected(&lan)]);
    assert!(quic.values().sum::<u64>() > 1700, "{quic:?}");
    assert_eq!(conntrack_counts(&net, "-p udp"), sum(&[all.clone(), expected(&gateway)]));

    let check = |args: &[&str]| {
        let args = [&["--source", "conntrack", "-vvv"], args].concat();
        check_on_gateway(&net, &dir, &args)
    };
    let udp = check(&["--protocol", "udp"]);
    assert_eq!(counts(&udp), all);
    let status_line = udp.status_line();
    assert!(status_line.contains(" 10.0.1.2 has 30 flows through this gateway, "), "{status_line}");
    assert!(udp.stdout.contains("\nExcluded, opened by this host: 20\n"), "{}", udp.stdout);
    let line = "\n203.0.113.8 9 flows on ports 443 (8), 53 (1); at 192.0.2.1 (9); SEEN_REPLY (8), \
 UNREPLIED (1)\n";
    assert!(udp.stdout.contains(line), "{}", udp.stdout);
    for (args, expected) in [
        (&["--protocol", "udp", "--port", "443"][..], &quic),
        (&["--protocol", "udp", "--state", "seen_reply", "--port", "1-1000"], &quic),
        (&["--protocol", "udp", "--exclude-state", "UNREPLIED", "--port", "443"], &quic),
        (&["--protocol", "udp", "--state", "unreplied"], &self::expected(&one)),
        (&["--protocol", "udp", "--inbound"], &sum(&[quic.clone(), self::expected(&one)])),
        (&["--protocol", "all", "--port", "443"], &quic),
        (&["--protocol", "udp", "--state", "ASSURED"], &Counts::new()),
        (&["--protocol", "tcp"], &Counts::new()),
    ] {
        assert_eq!(&counts(&check(args)), expected, "{args:?}");
    }

    // TCP clients in addition.
    let listener = net.listen(TestNetns::Green, "[::]:8443");
    let tcp = v4_clients(100, |host| usize::from(host % 3));
    let _connected = net.connect_clients(tcp.clone(), "192.0.2.1:443", &listener);
    let both = sum(&[quic, expected(&tcp)]);
    let result = check(&["--protocol", "all", "--port", "443"]);
    assert_eq!(counts(&result), both);
    let line = "\n203.0.113.8 10 connections and flows on port 443 (10); SEEN_REPLY (8), \
                ESTABLISHED (2)\n";
    assert!(result.stdout.contains(line), "{}", result.stdout);
    assert_eq!(counts(&check(&[])), expected(&tcp));

    let all_lines = address_lines(&check(&["--protocol", "all"]).stdout);
    assert_eq!(all_lines.len(), all.len());
    assert_other_sources_agree(&net, &dir, &all_lines);
    assert_json_has_protocol(&net, &dir);
}

/// Asserts that /proc, which is used without ctnetlink, and listings give the same output.
fn assert_other_sources_agree(net: &Topology, dir: &TestDir, expected_lines: &[String]) {
    let args = ["--source", "conntrack", "--protocol", "all", "-vvv"];
    let by_proc =
        without_sockets(Some(NETLINK_NETFILTER), 93, || check_on_gateway(net, dir, &args));
    assert_eq!(address_lines(&by_proc.stdout), expected_lines);
    for tool in [
        "conntrack -L",
        "conntrack -L -o extended,id 2>&1",
        "for p in tcp udp; do for f in ipv4 ipv6; do conntrack -L -f $f -p $p; done; done",
        "cat /proc/net/nf_conntrack",
    ] {
        let listing = net.shell(&format!("({tool}) 2>/dev/null"));
        let args = ["--protocol", "all", "-vvv", "-x", "192.0.2.1"];
        let result = dir.check_listing(listing, &args);
        assert_eq!(address_lines(&result.stdout), expected_lines, "{tool}");
    }
}

fn assert_json_has_protocol(net: &Topology, dir: &TestDir) {
    for (protocol, expected) in [("tcp", None), ("udp", Some("udp")), ("all", Some("all"))] {
        let args = ["--source", "conntrack", "--protocol", protocol, "--output", "json"];
        let json: Value = serde_json::from_str(&check_on_gateway(net, dir, &args).stdout).unwrap();
        assert_eq!(json["protocol"].as_str(), expected);
        assert_eq!(json["table"], "flows");
        let args = ["--source", "conntrack", "--protocol", protocol, "--output", "openmetrics"];
        let metrics = check_on_gateway(net, dir, &args).stdout;
        let info = expected.map(|name| format!("\ntopip_protocol_info{{protocol=\"{name}\"}} 1\n"));
        assert_eq!(metrics.contains("protocol_info"), info.is_some(), "{metrics}");
        assert!(info.is_none_or(|info| metrics.contains(&info)), "{metrics}");
    }
}

/// The kernel marks a flow as assured when both ends have sent for two seconds.
#[test]
fn lasting_udp_flows_are_assured() {
    let Some(net) = Topology::new() else { return };
    let dir = TestDir::new();
    net.shell(UDP_DNAT);
    let green = bind(&net, TestNetns::Green, "[::]:8443");
    let clients = v4_clients(1, |_| 1);
    let sockets = send(&net, (TestNetns::Clients, &clients), "192.0.2.1:443", (&green, true));
    let started = Instant::now();
    let list = "conntrack -L -p udp --orig-port-dst 443 2>/dev/null";
    while !net.shell(list).contains("[ASSURED]") {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", net.shell(list));
        thread::sleep(Duration::from_millis(100));
        sockets[0].send(b"hello").unwrap();
        let peer = receive(&green);
        green.send_to(b"hello", peer).unwrap();
    }
    let args = ["--source", "conntrack", "--protocol", "udp", "--state", "assured", "-vv"];
    let result = check_on_gateway(&net, &dir, &args);
    let line = "\n203.0.113.1 1 flow on port 443 (1); ASSURED (1)\n";
    assert!(result.stdout.contains(line), "{}", result.stdout);
    let listing = net.shell(list);
    let result = dir.check_listing(listing, &["--protocol", "udp", "-v"]);
    assert!(result.stdout.contains(line), "{}", result.stdout);
}
