//! Flows of a real gateway: what it tracks is what its containers have, by every
//! way of asking it.
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
    kernel::{addresses, in_namespace},
    sandbox::without_sockets,
};
use crate::support::{
    CHECK, Ran, Room, copy_of, run, skip,
    topology::{Place, Topology, v4_clients, v6_clients},
};

const ALL: [&str; 3] = ["--source", "conntrack", "-vvv"];
const NETLINK_NETFILTER: u64 = 12;

/// The check on the gateway.
fn on_gateway(net: &Topology, room: &Room, args: &[&str]) -> Ran {
    run(net.command(CHECK).args(args).env("MP_STATE_PATH", room.path(".")))
}

/// What `ss` says at a place: who has how many connections to that port there.
fn seen_inside(net: &Topology, place: Place, port: u16) -> BTreeMap<IpAddr, u64> {
    let script = format!("ss -Htn state connected sport = :{port}");
    let output = net.within(place, || Command::new("sh").args(["-c", &script]).output().unwrap());
    let mut counts = BTreeMap::new();
    for row in String::from_utf8(output.stdout).unwrap().lines() {
        let peer = row.split_whitespace().nth(4).unwrap();
        let (address, _) = peer.rsplit_once(':').unwrap();
        let address: IpAddr = address.trim_matches(['[', ']']).parse().unwrap();
        *counts.entry(address.to_canonical()).or_insert(0) += 1;
    }
    counts
}

fn counts(ran: &Ran) -> BTreeMap<IpAddr, u64> {
    let count = |line: String| {
        let mut words = line.split(' ');
        let address = words.next().unwrap().parse().unwrap();
        (address, words.next().unwrap().parse().unwrap())
    };
    addresses(&ran.stdout).into_iter().map(count).collect()
}

fn sum(parts: &[BTreeMap<IpAddr, u64>]) -> BTreeMap<IpAddr, u64> {
    let mut sum = BTreeMap::new();
    for (address, n) in parts.iter().flatten() {
        *sum.entry(*address).or_insert(0) += n;
    }
    sum
}

#[test]
fn what_a_gateway_tracks_is_what_its_containers_have() {
    let limit = Rlimit { current: Some(16384), maximum: Some(16384) };
    if setrlimit(Resource::Nofile, limit).is_err() {
        return skip("the right to open 16384 files");
    }
    let Some(net) = Topology::new() else { return };
    let room = Room::new();
    let blue = net.listen(Place::Blue, "[::]:8080");
    let green = net.listen(Place::Green, "[::]:8443");
    let own = net.listen(Place::Host, "[::]:22");
    let other = net.listen(Place::Clients, "192.0.2.2:9000");
    let some: fn(u8) -> usize = |host| usize::from(host % 5) + 1;
    let _kept = [
        net.crowd(v4_clients(200, some), "192.0.2.1:80", &blue),
        net.crowd(v6_clients(150, some), "[2001:db8::1]:443", &green),
        net.crowd(v6_clients(20, |_| 2), "[2001:db8::1]:80", &blue),
        net.crowd(v4_clients(30, |_| 1), "192.0.2.1:443", &green),
        net.crowd(v4_clients(7, |_| 3), "192.0.2.1:22", &own),
    ];
    let inside = sum(&[
        seen_inside(&net, Place::Blue, 8080),
        seen_inside(&net, Place::Green, 8443),
        seen_inside(&net, Place::Host, 22),
    ]);
    assert!(inside.len() == 350 && inside.values().sum::<u64>() > 1000, "{inside:?}");
    let ran = on_gateway(&net, &room, &ALL);
    assert_eq!(counts(&ran), inside);
    assert!(ran.line().contains(" connections through this gateway, limit "), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nLooked at: netlink (ctnetlink)\n"), "{}", ran.stdout);
    // The ports are those that the clients have asked for.
    let busy = "\n203.0.113.4 9 connections on ports 80 (5), 22 (3), 443 (1); ESTABLISHED (9)\n";
    assert!(ran.stdout.contains(busy), "{}", ran.stdout);
    // The host's own table has but the few.
    let of_sockets = on_gateway(&net, &room, &["-vvv"]);
    assert_eq!(counts(&of_sockets), seen_inside(&net, Place::Host, 22));

    // The other way: what a container opens has the gateway's address outside.
    let lan: IpAddr = "10.0.1.2".parse().unwrap();
    let gateway: IpAddr = "192.0.2.1".parse().unwrap();
    let _out: Vec<_> = (0..20)
        .map(|_| net.connect((Place::Blue, lan), "192.0.2.2:9000", &other))
        .chain((0..30).map(|_| net.connect((Place::Host, gateway), "192.0.2.2:9000", &other)))
        .collect();
    let ran = on_gateway(&net, &room, &ALL);
    let mut expected = inside.clone();
    expected.insert(lan, 20);
    assert_eq!(counts(&ran), expected);
    assert!(ran.line().contains(" 10.0.1.2 has 20 connections through this"), "{}", ran.line());
    assert!(ran.stdout.contains("\nExcluded, opened by this host: 30\n"), "{}", ran.stdout);
    let inbound = on_gateway(&net, &room, &[&ALL[..], &["--inbound"]].concat());
    assert_eq!(counts(&inbound), inside);
    assert!(inbound.line().contains(" connections to this gateway, "), "{}", inbound.line());
    assert!(inbound.stdout.contains("\nExcluded, to other hosts: 20\n"), "{}", inbound.stdout);

    every_way_gives_the_same(&net, &room, &addresses(&ran.stdout));
    what_is_selected_is_the_same(&net, &room);
    only_who_may_sees_them(&net, &room, &ran.stdout);
}

/// By /proc, where ctnetlink is not to be had; and by listings, which do not tell
/// that the gateway's address is its own.
fn every_way_gives_the_same(net: &Topology, room: &Room, seen: &[String]) {
    let by_proc = without_sockets(Some(NETLINK_NETFILTER), 93, || on_gateway(net, room, &ALL));
    assert_eq!(addresses(&by_proc.stdout), seen);
    let told = "\nNot by netlink (ctnetlink): cannot open netlink: \
                Protocol not supported (os error 93)\n\
                Looked at: /proc/thread-self/net/nf_conntrack, read as conntrack\n";
    assert!(by_proc.stdout.contains(told), "{}", by_proc.stdout);
    for tool in [
        "conntrack -L",
        "conntrack -L -p tcp -o extended,id,ktimestamp 2>&1",
        "conntrack -L -f ipv4 -p tcp && conntrack -L -f ipv6 -p tcp",
        "cat /proc/net/nf_conntrack",
    ] {
        let listing = net.shell(&format!("({tool}) 2>/dev/null"));
        let ran = room.judge(listing, &["-vvv", "-x", "192.0.2.1"]);
        assert_eq!(addresses(&ran.stdout), seen, "{tool}");
        assert!(ran.line().contains(" connections through this gateway, "), "{}", ran.line());
    }
}

/// By the kernel, by the reader, and by the filters of `conntrack`.
fn what_is_selected_is_the_same(net: &Topology, room: &Room) {
    for (selection, tool) in [
        (&["--port", "443"][..], "conntrack -L -p tcp --orig-port-dst 443"),
        (
            &["--port", "20-80"],
            "conntrack -L -p tcp --orig-port-dst 22; conntrack -L -p tcp --orig-port-dst 80",
        ),
        (&["-4", "--state", "established"], "conntrack -L -f ipv4 -p tcp --state ESTABLISHED"),
        (&["-6", "--port", "80"], "conntrack -L -f ipv6 -p tcp --orig-port-dst 80"),
    ] {
        let seen = on_gateway(net, room, &[&ALL[..], selection].concat());
        let listing = net.shell(&format!("{tool} 2>/dev/null"));
        let ran = room.judge(listing, &["-vvv", "-x", "192.0.2.1"]);
        assert!(!addresses(&seen.stdout).is_empty(), "{}", seen.stdout);
        assert_eq!(addresses(&ran.stdout), addresses(&seen.stdout), "{selection:?}");
    }
}

/// CAP_NET_ADMIN is what it takes, and all that it takes.
fn only_who_may_sees_them(net: &Topology, room: &Room, whole: &str) {
    let program = room.path("check_topip");
    copy_of(CHECK, &program);
    fs::set_permissions(room.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let as_nobody = |more: &[&str]| {
        let mut command = net.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).args(more);
        run(command.arg(&program).args(ALL).env("MP_STATE_PATH", room.path("nobody")))
    };
    let ran = as_nobody(&["--inh-caps", "+net_admin", "--ambient-caps", "+net_admin"]);
    assert_eq!(addresses(&ran.stdout), addresses(whole));
    let ran = as_nobody(&[]);
    assert_eq!(
        ran.stdout,
        "TOPIP UNKNOWN - cannot look at the tracked connections of this machine: cannot open \
         /proc/thread-self/net/nf_conntrack: Permission denied (os error 13)\n\
         Not by netlink (ctnetlink): the kernel refused a dump by ctnetlink: Operation not \
         permitted (os error 1)\n\
         Flows are shown to root, or by ctnetlink to whoever has CAP_NET_ADMIN: grant that; see \
         check_topip(1), Flows of a gateway.\n"
    );
    assert_eq!(ran.code, Some(3));
}

/// Calls, and does not wait for an answer.
fn call(from: &str, to: &str) -> OwnedFd {
    let (from, to): (IpAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).unwrap();
    bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    assert_eq!(rustix::net::connect(&socket, &to), Err(Errno::INPROGRESS));
    socket
}

/// Zones, half-open flows, and those that nobody answers.
#[test]
fn flows_out_of_the_ordinary_count_for_what_they_are() {
    let Some(net) = Topology::new() else { return };
    let room = Room::new();
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
    let own = net.listen(Place::Host, "[::]:22");
    let from = |address: &str| (Place::Clients, address.parse::<IpAddr>().unwrap());
    let _kept = [
        net.connect(from("203.0.113.9"), "192.0.2.1:22", &own),
        net.connect(from("203.0.113.9"), "192.0.2.1:22", &own),
    ];
    // Nobody is there to answer: the client waits.
    let _waiting = [("203.0.113.7", "10.0.1.99:81"), ("2001:db8:1:7::1", "[fd00:1::99]:81")]
        .map(|(from, to)| net.within(Place::Clients, || call(from, to)));
    let started = Instant::now();
    while net.shell("conntrack -L -p tcp --orig-port-dst 81 2>/dev/null | wc -l").trim() != "2" {
        assert!(started.elapsed() < Duration::from_secs(20), "the calls do not come by");
        thread::sleep(Duration::from_millis(50));
    }
    let ran = on_gateway(&net, &room, &ALL);
    let expected = [
        "203.0.113.8 3 connections on port 80 (3); ESTABLISHED (2), SYN_RECV (1)",
        "203.0.113.9 2 connections on port 22 (2); ESTABLISHED (2)",
        "203.0.113.7 1 connection on port 81 (1); SYN_RECV (1)",
        "2001:db8:1:7::1 1 connection on port 81 (1); SYN_RECV (1)",
    ];
    assert_eq!(addresses(&ran.stdout), expected);
    let half_open = on_gateway(&net, &room, &[&ALL[..], &["--state", "SYN_RECV"]].concat());
    assert_eq!(counts(&half_open).values().sum::<u64>(), 3, "{}", half_open.stdout);
}

#[test]
fn where_nothing_is_tracked_the_answer_is_unknown() {
    in_namespace(|| {
        let ran = Room::new().check(&["--source", "conntrack"]);
        assert_eq!(
            ran.stdout,
            "TOPIP UNKNOWN - cannot look at the tracked connections of this machine: the kernel \
             tracks no connection here\n\
             Not by netlink (ctnetlink): the kernel tracks no connection here\n\
             No rule of this host uses connection tracking, or nothing has come by: nft list \
             ruleset. Connections to its own sockets are seen without --source conntrack.\n"
        );
        assert_eq!(ran.code, Some(3));
    });
}

/// As where neither module is loaded: the kernel has no such protocol of netlink,
/// and no such file.
#[test]
fn without_connection_tracking_the_answer_is_unknown() {
    let room = Room::new();
    let folder = room.path(".");
    let script = "mount -t tmpfs none /proc && exec \"$0\" --source conntrack";
    let ran = without_sockets(Some(NETLINK_NETFILTER), 93, || {
        run(Command::new("unshare")
            .args(["-m", "sh", "-c", script, CHECK])
            .env("MP_STATE_PATH", &folder))
    });
    if ran.stdout.is_empty() {
        return skip(&format!("the right to mount over /proc ({})", ran.stderr.trim()));
    }
    assert_eq!(
        ran.stdout,
        "TOPIP UNKNOWN - cannot look at the tracked connections of this machine: cannot open \
         /proc/thread-self/net/nf_conntrack: No such file or directory (os error 2)\n\
         Not by netlink (ctnetlink): cannot open netlink: Protocol not supported (os error 93)\n\
         Is connection tracking there? modprobe nf_conntrack_netlink; it is loaded with the first \
         rule that uses it.\n"
    );
    assert_eq!(ran.code, Some(3));
}
