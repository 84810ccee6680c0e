//! Containers: what their clients have open is in network namespaces of their own.
use std::net::IpAddr;

use crate::support::topology::{Place, Topology, v4_clients, v6_clients};

/// How many rows `ss` has there of connections to a port.
fn rows(net: &Topology, place: Place, port: u16) -> usize {
    let script = format!("ss -Htn state connected sport = :{port}");
    let output = net
        .within(place, || std::process::Command::new("sh").args(["-c", &script]).output().unwrap());
    String::from_utf8(output.stdout).unwrap().lines().count()
}

#[test]
fn what_goes_to_a_container_is_not_in_the_hosts_table() {
    let Some(net) = Topology::new() else { return };
    let blue = net.listen(Place::Blue, "[::]:8080");
    let green = net.listen(Place::Green, "[::]:8443");
    let own = net.listen(Place::Host, "[::]:22");
    let from: IpAddr = "203.0.113.7".parse().unwrap();
    let _kept = [
        net.crowd(v4_clients(30, |host| usize::from(host % 3) + 1), "192.0.2.1:80", &blue),
        net.crowd(v6_clients(20, |_| 2), "[2001:db8::1]:443", &green),
        net.connect((Place::Clients, from), "192.0.2.1:22", &own).into(),
    ];
    assert_eq!(rows(&net, Place::Blue, 8080), 60);
    assert_eq!(rows(&net, Place::Green, 8443), 40);
    assert_eq!(rows(&net, Place::Host, 22), 1);
    assert_eq!(net.shell("ss -Htn state connected | wc -l").trim(), "1");
    assert_eq!(net.shell("conntrack -L -f ipv4 2>/dev/null | wc -l").trim(), "61");
    assert_eq!(net.shell("conntrack -L -f ipv6 2>/dev/null | wc -l").trim(), "40");
    // Green has no name there, and its process is known by two numbers.
    assert_eq!(net.shell("ls /run/netns").trim(), "blue");
    assert!(net.path("/run/netns/blue").exists());
    let comm = |pid: u32| net.shell(&format!("cat /proc/{pid}/comm"));
    assert_eq!(comm(net.green_process()).trim(), "sleep");
    assert_ne!(net.green_process(), net.green_process_here());
}
