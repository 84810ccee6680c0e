//! Opens established sockets and holds them open.
use std::{
    fs::File,
    io::{Read, stdin},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{setsockopt, sockopt::TcpRepair},
};
use rustix::{
    net::{
        AddressFamily, SocketFlags, SocketType, accept, bind, connect, listen, socket_with, sockopt,
    },
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::{
    endpoints::{Pair, Slice, server},
    flood::SOCKETS_PER_PROCESS,
};

/// Value of the `method` argument that selects
/// [`Method::Repair`](crate::flood::Method::Repair).
pub const REPAIR: &str = "repair";

/// Opens the sockets, prints their number, and holds them open until standard input ends.
pub fn open_sockets(method: &str, endpoints: &Slice) {
    // Both endpoints of each connection, and the usual descriptors of a process.
    let files = 2 * SOCKETS_PER_PROCESS as u64 + 100;
    let maximum = getrlimit(Resource::Nofile).maximum.map(|max| max.max(files));
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
    let sockets = match method {
        REPAIR => endpoints.pairs(0).map(open_by_repair).collect(),
        clients => open_by_handshake(clients, endpoints),
    };
    println!("{} connections", endpoints.range.len());
    let _ = stdin().read(&mut [0]);
    drop(sockets);
}

fn socket(end: SocketAddr) -> OwnedFd {
    let family = if end.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    if end.is_ipv6() {
        // These networks have local routes, but IPv6 does not bind to their addresses without it.
        sockopt::set_ipv6_freebind(&socket, true).unwrap();
    }
    socket
}

/// Opens an established socket without packets and without a peer, by `TCP_REPAIR`, which
/// exists for moving live connections to another machine. A million such sockets need no
/// client sockets.
fn open_by_repair(Pair { server, client }: Pair) -> OwnedFd {
    let socket = socket(server);
    setsockopt(&socket, TcpRepair, &1).expect("TCP_REPAIR needs CAP_NET_ADMIN");
    bind(&socket, &server).unwrap();
    connect(&socket, &client).unwrap_or_else(|error| panic!("{server} with {client}: {error}"));
    socket
}

/// Opens connections by handshake and returns both endpoints: the servers' in this namespace,
/// the clients' in the namespace of the file `clients`.
fn open_by_handshake(clients: &str, endpoints: &Slice) -> Vec<OwnedFd> {
    // Each process has its own server address and accepts its own connections.
    let host = endpoints.range.start / SOCKETS_PER_PROCESS;
    let listeners = Listeners::new(host);
    let clients = File::open(clients).unwrap();
    setns(clients, CloneFlags::CLONE_NEWNET).unwrap();
    let mut sockets = Vec::with_capacity(2 * endpoints.range.len());
    for Pair { server, client } in endpoints.pairs(host) {
        let socket = socket(client);
        // A reset on close leaves no socket in TIME_WAIT.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
        bind(&socket, &client).unwrap_or_else(|error| panic!("{client}: {error}"));
        connect(&socket, &server).unwrap_or_else(|error| panic!("{client} to {server}: {error}"));
        sockets.push(socket);
        sockets.push(accept(listeners.for_server(server)).unwrap());
    }
    sockets
}

struct Listeners(Vec<(SocketAddr, OwnedFd)>);

impl Listeners {
    fn new(host: usize) -> Self {
        let wildcards: [IpAddr; 3] = [
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into(),
            Ipv6Addr::UNSPECIFIED.into(),
        ];
        let at = |wildcard| [443, 80].map(|port| SocketAddr::new(server(wildcard, host), port));
        let listener = |at| {
            let socket = socket(at);
            bind(&socket, &at).unwrap_or_else(|error| panic!("{at}: {error}"));
            listen(&socket, 128).unwrap();
            (at, socket)
        };
        Self(wildcards.into_iter().flat_map(at).map(listener).collect())
    }

    fn for_server(&self, server: SocketAddr) -> &OwnedFd {
        let mut matching = self.0.iter().filter(|&&(at, _)| at == server);
        &matching.next().expect("each server address has a listener").1
    }
}
