//! The flows of a server: by conntrack where its user may run that, else by sudo;
//! and a word where it may not.
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::Command,
};

use super::kernel::{addresses, connect, in_namespace};
use crate::support::{
    Ran,
    sshd::{Server, World, is_possible, key},
};

const FLOWS: [&str; 5] = ["--source", "conntrack", "-vv", "-x", "127.0.0.0/8"];

/// In a namespace that tracks, with a server, nine connections of a client to it,
/// and three of its own to another host: all is on loopback, where an address of a
/// network that it is in is not that of its interface.
fn with_flows(test: impl FnOnce(&mut World) + Send + 'static) {
    if !is_possible() {
        return;
    }
    in_namespace(|| {
        let rule = "add table inet t; add chain inet t c { type filter hook input priority 0; }; \
                    add rule inet t c ct state new accept";
        assert!(Command::new("nft").arg(rule).status().expect("nftables is there").success());
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _streams: Vec<_> =
            [("203.0.113.7", "192.0.2.10", 9), ("192.0.2.10", "203.0.113.99", 3)]
                .into_iter()
                .flat_map(|(from, to, n)| std::iter::repeat_n((from, to), n))
                .map(|(from, to)| {
                    let to = SocketAddr::new(to.parse().unwrap(), port);
                    (connect(from.parse().unwrap(), to), listener.accept().unwrap())
                })
                .collect();
        test(&mut World::new("/bin/sh", "ListenAddress 0.0.0.0"));
    });
}

/// Starts the server anew where root's rules for sudo are these, and lets its users
/// have no capabilities but those.
fn with_sudoers(world: &mut World, sudoers: &str) {
    let file = world.room.write("sudoers", sudoers);
    let script = format!(
        "mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d && cp {} /etc/sudoers.d/topip && \
         chmod 440 /etc/sudoers.d/topip || exit 1",
        file.display()
    );
    let keys = world.server.host_keys.clone();
    world.server = Server::openssh_with(&world.room, keys, "ListenAddress 0.0.0.0", Some(&script));
    world.room.write("known_hosts", world.server.known("127.0.0.1"));
}

#[track_caller]
fn sees_them(ran: &Ran, command: &str) {
    let seen = addresses(&ran.stdout);
    assert_eq!(seen.len(), 1, "{}", ran.stdout);
    assert!(seen[0].starts_with("203.0.113.7 9 connections on port "), "{seen:?}");
    assert!(ran.stdout.contains(&format!("; ran {command} (Linux)\n")), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nExcluded, opened by this host: 3\n"), "{}", ran.stdout);
    assert!(ran.line().contains(" has 9 connections "), "{}", ran.line());
}

#[test]
fn the_flows_of_a_server_are_seen_by_whoever_may() {
    with_flows(|world| {
        // Nobody has said that its user may.
        let ran = world.check_by_key(&FLOWS);
        let start = "3 TOPIP UNKNOWN - 127.0.0.1 gave no listing: none of these worked: \
                     conntrack -L, cat /proc/net/nf_conntrack, sudo -n conntrack -L, \
                     sudo -n cat /proc/net/nf_conntrack (";
        assert!(ran.answer().starts_with(start), "{}", ran.stdout);
        let user = world.account.name.clone();
        // As the advice has it.
        let advice = ran.stdout.lines().nth(1).unwrap().split_once("in sudoers: ").unwrap().1;
        assert!(advice.starts_with(&user), "{advice}");
        with_sudoers(world, &format!("{advice}\n"));
        sees_them(&world.check_by_key(&FLOWS), "sudo -n conntrack -L");
        let inbound = world.check_by_key(&[&FLOWS[..], &["--inbound"]].concat());
        sees_them(&inbound, "sudo -n conntrack -L");
        assert!(inbound.line().contains(" to this gateway, limit "), "{}", inbound.line());
        let file = format!("{user} ALL=(root) NOPASSWD: /usr/bin/cat /proc/net/nf_conntrack\n");
        with_sudoers(world, &file);
        sees_them(&world.check_by_key(&FLOWS), "sudo -n cat /proc/net/nf_conntrack");
    });
}

#[test]
fn a_forced_command_lists_flows_or_is_refused() {
    with_flows(|world| {
        let forced = key(&world.room, "forced", &["-t", "ed25519"]);
        let with = |world: &World, command: &str, args: &[&str]| {
            fs::write(world.account.home.join(".ssh/authorized_keys"), "").unwrap();
            world.account.authorize(&forced, &format!("command=\"{command}\",restrict"));
            world.check(&[&["-i", "forced", "-x", "192.0.2.10,127.0.0.0/8"], args].concat())
        };
        let listing = "sudo -n conntrack -L -p tcp";
        let user = world.account.name.clone();
        with_sudoers(
            world,
            &format!("{user} ALL=(root) NOPASSWD: /usr/sbin/conntrack -L -p tcp\n"),
        );
        let ran = with(world, listing, &["--source", "conntrack", "-vv"]);
        assert!(ran.stdout.contains("\n203.0.113.7 9 connections on port "), "{}", ran.stdout);
        let told = " does not tell the addresses of its host: flows that it opened count too.\n";
        assert!(ran.stdout.contains(told), "{}", ran.stdout);
        let ran = with(world, listing, &["--source", "conntrack", "--inbound"]);
        let refused = "does not tell which flows are to addresses of its host";
        assert!(ran.answer().ends_with(refused), "{}", ran.stdout);
        // Who asks for flows is not content with sockets.
        let ran = with(world, "ss -tan", &["--source", "conntrack"]);
        let other = "listed sockets, where tracked flows were asked for";
        assert!(ran.answer().ends_with(other), "{}", ran.stdout);
        let ran = with(world, "true", &["--source", "conntrack"]);
        assert!(ran.answer().starts_with("3 TOPIP UNKNOWN - "), "{}", ran.stdout);
    });
}
