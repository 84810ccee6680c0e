//! Sockets that are established, without anybody at their other end.
//!
//! With `TCP_REPAIR`, a socket is connected without a packet (it is for moving
//! live connections to another machine). To a dump it is like any other, and a
//! million of them need no second million of clients.
use std::{
    io::{Read, stdin},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
    os::fd::OwnedFd,
};

use nix::sys::socket::{setsockopt, sockopt::TcpRepair};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// What this host is called here; the addresses of [`crate::parts`].
const SERVER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// Has one connection in twenty.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// Makes those sockets of a flood of `n` that are in `range`, says that they are
/// there, and holds them until standard input ends. Without a number of
/// connections per address, each has one to nine, and one has a twentieth of all.
pub fn hold(n: usize, per_address: Option<usize>, range: Range<usize>) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let attacks = if per_address.is_none() { n / 20 } else { 0 };
    let attack = (0..attacks).map(|i| (ATTACKER, i));
    let rest = (0..).flat_map(|index| {
        let n_here = per_address.unwrap_or(index * 7 % 9 + 1);
        (0..n_here).map(move |i| (address(index), i))
    });
    let ends = attack.chain(rest).take(n).skip(range.start).take(range.len());
    let sockets: Vec<_> = ends.map(|(peer, index)| established(peer, index)).collect();
    println!("{} sockets", sockets.len());
    let _ = stdin().read(&mut [0]);
}

/// One address in ten is of IPv6, and one in ten is of IPv4 on a socket for both.
fn address(index: usize) -> IpAddr {
    // An odd factor shuffles without giving an address twice.
    let host = (index as u32).wrapping_mul(0x9E37_79B1) & 0xFF_FFFF;
    let v4 = Ipv4Addr::from_bits(10 << 24 | host);
    match index % 10 {
        0 => Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(host) << 40).into(),
        1 => v4.to_ipv6_mapped().into(),
        _ => v4.into(),
    }
}

fn established(peer: IpAddr, index: usize) -> OwnedFd {
    let (family, server) = match peer {
        IpAddr::V4(_) => (AddressFamily::INET, SERVER4.into()),
        IpAddr::V6(it) if it.to_ipv4_mapped().is_some() => {
            (AddressFamily::INET6, SERVER4.to_ipv6_mapped().into())
        }
        IpAddr::V6(_) => (AddressFamily::INET6, SERVER6.into()),
    };
    let server: IpAddr = server;
    let port = if index % 4 == 3 { 80 } else { 443 };
    let client_port = 1024 + u16::try_from(index % 64000).unwrap();
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    setsockopt(&socket, TcpRepair, &1).expect("CAP_NET_ADMIN");
    bind(&socket, &SocketAddr::new(server, port)).unwrap();
    connect(&socket, &SocketAddr::new(peer, client_port))
        .unwrap_or_else(|error| panic!("{server}:{port} with {peer}:{client_port}: {error}"));
    socket
}
