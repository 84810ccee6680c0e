//! Makes established sockets, and holds them.
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
    ends::{Ends, Pair, server},
    flood::EACH,
};

/// In the `way` of [`Way::word`](crate::flood::Way::word): with `TCP_REPAIR`.
pub const REPAIR: &str = "repair";

/// Makes sockets, says that they are there, and holds them until standard input
/// ends.
pub fn hold(way: &str, ends: &Ends) {
    // Both ends of each, and what any process has open.
    let files = 2 * EACH as u64 + 100;
    let maximum = getrlimit(Resource::Nofile).maximum.map(|most| most.max(files));
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
    let sockets = match way {
        REPAIR => ends.pairs(0).map(repaired).collect(),
        clients => shaken(clients, ends),
    };
    println!("{} connections", ends.range.len());
    let _ = stdin().read(&mut [0]);
    drop(sockets);
}

fn socket(end: SocketAddr) -> OwnedFd {
    let family = if end.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    if end.is_ipv6() {
        // Whole networks are local here, of which IPv6 binds to no address.
        sockopt::set_ipv6_freebind(&socket, true).unwrap();
    }
    socket
}

/// A socket that is connected without a packet, and without anybody at its other
/// end: with `TCP_REPAIR`, which is for moving live connections to another
/// machine. A million of them need no second million of clients.
fn repaired(Pair { server, client }: Pair) -> OwnedFd {
    let socket = socket(server);
    setsockopt(&socket, TcpRepair, &1).expect("CAP_NET_ADMIN");
    bind(&socket, &server).unwrap();
    connect(&socket, &client).unwrap_or_else(|error| panic!("{server} with {client}: {error}"));
    socket
}

/// Both ends of connections by handshake: the servers' in this namespace, the
/// clients' in that of the file `clients`.
fn shaken(clients: &str, ends: &Ends) -> Vec<OwnedFd> {
    // Each process is a server of its own, and has what is accepted here.
    let host = ends.range.start / EACH;
    let listeners = Listeners::new(host);
    let clients = File::open(clients).unwrap();
    setns(clients, CloneFlags::CLONE_NEWNET).unwrap();
    let mut sockets = Vec::with_capacity(2 * ends.range.len());
    for Pair { server, client } in ends.pairs(host) {
        let socket = socket(client);
        // Closed by a reset, they leave nothing in TIME_WAIT behind.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
        bind(&socket, &client).unwrap_or_else(|error| panic!("{client}: {error}"));
        connect(&socket, &server).unwrap_or_else(|error| panic!("{client} to {server}: {error}"));
        sockets.push(socket);
        sockets.push(accept(listeners.of(server)).unwrap());
    }
    sockets
}

struct Listeners(Vec<(SocketAddr, OwnedFd)>);

impl Listeners {
    fn new(host: usize) -> Self {
        let kinds: [IpAddr; 3] = [
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into(),
            Ipv6Addr::UNSPECIFIED.into(),
        ];
        let at = |kind| [443, 80].map(|port| SocketAddr::new(server(kind, host), port));
        let listener = |at| {
            let socket = socket(at);
            bind(&socket, &at).unwrap_or_else(|error| panic!("{at}: {error}"));
            listen(&socket, 128).unwrap();
            (at, socket)
        };
        Self(kinds.into_iter().flat_map(at).map(listener).collect())
    }

    fn of(&self, server: SocketAddr) -> &OwnedFd {
        let mut those = self.0.iter().filter(|&&(at, _)| at == server);
        &those.next().expect("it is listened there").1
    }
}
