//! Flows of a server: from conntrack if the login user may run it, from sudo conntrack if sudo
//! allows it, and otherwise an error with a hint.
use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    process::Command,
};

use super::kernel::{address_lines, connect, in_namespace};
use crate::support::{
    CommandResult,
    sshd::{Server, SshFixture, create_key, is_possible},
};

const CONNTRACK_ARGS: [&str; 5] = ["--source", "conntrack", "-vv", "-x", "127.0.0.0/8"];

/// Runs `test` in a namespace with connection tracking, with a server, nine connections
/// from a client to it, and three from the server to another host. All are on loopback,
/// where the addresses of a local network are not addresses of the interface.
fn with_flows(test: impl FnOnce(&mut SshFixture) + Send + 'static) {
    if !is_possible() {
        return;
    }
    in_namespace(|| {
        let rule = "add table inet t; add chain inet t c { type filter hook input priority 0; }; \
                    add rule inet t c ct state new accept";
        assert!(Command::new("nft").arg(rule).status().expect("nftables is installed").success());
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
        test(&mut SshFixture::new("/bin/sh", "ListenAddress 0.0.0.0"));
    });
}

/// Restarts the server with these sudo rules; its users have no other privileges.
fn with_sudoers(fixture: &mut SshFixture, sudoers: &str) {
    let file = fixture.dir.write("sudoers", sudoers);
    let script = format!(
        "mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d && cp {} /etc/sudoers.d/topip && \
         chmod 440 /etc/sudoers.d/topip || exit 1",
        file.display()
    );
    let keys = fixture.server.host_keys.clone();
    fixture.server =
        Server::openssh_with(&fixture.dir, keys, "ListenAddress 0.0.0.0", Some(&script));
    fixture.dir.write("known_hosts", fixture.server.known_hosts_lines("127.0.0.1"));
}

#[track_caller]
fn assert_sees_flows(result: &CommandResult, command: &str) {
    let seen = address_lines(&result.stdout);
    assert_eq!(seen.len(), 1, "{}", result.stdout);
    assert!(seen[0].starts_with("203.0.113.7 9 connections on port "), "{seen:?}");
    assert!(result.stdout.contains(&format!("; ran {command} (Linux)\n")), "{}", result.stdout);
    assert!(result.stdout.contains("\nExcluded, opened by this host: 3\n"), "{}", result.stdout);
    assert!(result.status_line().contains(" has 9 connections "), "{}", result.status_line());
}

#[test]
fn server_flows_are_read_with_sudo() {
    with_flows(|fixture| {
        // The user does not have a sudo rule yet.
        let result = fixture.check_by_key(&CONNTRACK_ARGS);
        let start = format!(
            "3 TOPIP UNKNOWN - {} gave no listing: none of these commands worked: \
             conntrack -L, cat /proc/net/nf_conntrack, sudo -n conntrack -L, \
             sudo -n cat /proc/net/nf_conntrack (",
            fixture.server.name()
        );
        assert!(result.code_and_status().starts_with(&start), "{}", result.stdout);
        let user = fixture.account.name.clone();
        // The rule from the hint.
        let advice = result.stdout.lines().nth(1).unwrap().split_once("in sudoers: ").unwrap().1;
        assert!(advice.starts_with(&user), "{advice}");
        with_sudoers(fixture, &format!("{advice}\n"));
        assert_sees_flows(&fixture.check_by_key(&CONNTRACK_ARGS), "sudo -n conntrack -L");
        let inbound = fixture.check_by_key(&[&CONNTRACK_ARGS[..], &["--inbound"]].concat());
        assert_sees_flows(&inbound, "sudo -n conntrack -L");
        assert!(
            inbound.status_line().contains(" to this gateway, limit "),
            "{}",
            inbound.status_line()
        );
        let file = format!("{user} ALL=(root) NOPASSWD: /usr/bin/cat /proc/net/nf_conntrack\n");
        with_sudoers(fixture, &file);
        assert_sees_flows(
            &fixture.check_by_key(&CONNTRACK_ARGS),
            "sudo -n cat /proc/net/nf_conntrack",
        );
    });
}

/// The script and the hint name the protocols.
#[test]
fn udp_flows_of_server_are_read_with_sudo() {
    with_flows(|fixture| {
        let server = UdpSocket::bind("0.0.0.0:0").unwrap();
        let to = SocketAddr::new([192, 0, 2, 10].into(), server.local_addr().unwrap().port());
        let _clients: Vec<_> = (0..5)
            .map(|_| {
                let client = UdpSocket::bind("203.0.113.7:0").unwrap();
                client.send_to(b"hello", to).unwrap();
                client
            })
            .collect();
        for (protocol, noun) in [("udp", "5 flows"), ("all", "14 connections and flows")] {
            with_sudoers(fixture, "");
            let args = [&CONNTRACK_ARGS[..], &["--protocol", protocol]].concat();
            let result = fixture.check_by_key(&args);
            let advice =
                result.stdout.lines().nth(1).unwrap().split_once("in sudoers: ").unwrap().1;
            assert_eq!(advice.contains(" -p tcp"), protocol == "all", "{advice}");
            with_sudoers(fixture, &format!("{advice}\n"));
            let result = fixture.check_by_key(&args);
            let line = format!("\n203.0.113.7 {noun} on ports ");
            assert!(result.stdout.replace(" on port ", " on ports ").contains(&line), "{result:?}");
            let command = "; ran sudo -n conntrack -L (Linux)\n";
            assert!(result.stdout.contains(command), "{result:?}");
        }
    });
}

#[test]
fn forced_command_must_list_flows() {
    with_flows(|fixture| {
        let forced = create_key(&fixture.dir, "forced", &["-t", "ed25519"]);
        let with = |fixture: &SshFixture, command: &str, args: &[&str]| {
            fs::write(fixture.account.home.join(".ssh/authorized_keys"), "").unwrap();
            fixture.account.authorize(&forced, &format!("command=\"{command}\",restrict"));
            fixture.check(&[&["-i", "forced", "-x", "192.0.2.10,127.0.0.0/8"], args].concat())
        };
        let listing = "sudo -n conntrack -L -p tcp";
        let user = fixture.account.name.clone();
        with_sudoers(
            fixture,
            &format!("{user} ALL=(root) NOPASSWD: /usr/sbin/conntrack -L -p tcp\n"),
        );
        let result = with(fixture, listing, &["--source", "conntrack", "-vv"]);
        assert!(
            result.stdout.contains("\n203.0.113.7 9 connections on port "),
            "{}",
            result.stdout
        );
        let note = " does not show the addresses of its host: flows that the host opened are counted as well.\n";
        assert!(result.stdout.contains(note), "{}", result.stdout);
        let result = with(fixture, listing, &["--source", "conntrack", "--inbound"]);
        let refused = "unknown local addresses, so inbound flows cannot be recognized";
        assert!(result.code_and_status().ends_with(refused), "{}", result.stdout);
        // A listing of sockets is rejected if flows are requested.
        let result = with(fixture, "ss -tan", &["--source", "conntrack"]);
        let other = ": a socket listing instead of tracked flows";
        assert!(result.code_and_status().ends_with(other), "{}", result.stdout);
        let result = with(fixture, "true", &["--source", "conntrack"]);
        assert!(result.code_and_status().starts_with("3 TOPIP UNKNOWN - "), "{}", result.stdout);
    });
}
