//! Generates the endpoints of a flood's connections.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
};

/// Address with one connection in twenty.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// A slice of the connections of a flood.
pub struct Slice {
    /// Number of connections of the whole flood.
    pub n: usize,
    /// Connections of each address. `None`: one address has a twentieth of all, the others have
    /// one to nine.
    pub per_address: Option<usize>,
    /// Indices of the connections in this slice.
    pub range: Range<usize>,
}

/// Both endpoints of a connection.
pub struct Pair {
    pub server: SocketAddr,
    pub client: SocketAddr,
}

impl Slice {
    /// Returns the endpoints of these connections, with the server address number `host`.
    pub fn pairs(&self, host: usize) -> impl Iterator<Item = Pair> {
        let per_address = self.per_address;
        let attacks = if per_address.is_none() { self.n / 20 } else { 0 };
        let attack = (0..attacks).map(|i| (ATTACKER, i));
        let rest = (0..).flat_map(move |index| {
            let n_here = per_address.unwrap_or(index * 7 % 9 + 1);
            (0..n_here).map(move |i| (address(index), i))
        });
        let all = attack.chain(rest).take(self.n);
        all.skip(self.range.start)
            .take(self.range.len())
            .map(move |(peer, index)| pair(peer, index, host))
    }
}

/// Returns the client address with this index. One in ten is an IPv6 address, and one in ten
/// is an IPv4-mapped address.
fn address(index: usize) -> IpAddr {
    // Multiplying by an odd number is a permutation: no address occurs twice.
    let host = (index as u32).wrapping_mul(0x9E37_79B1) & 0xFF_FFFF;
    let v4 = Ipv4Addr::from_bits(10 << 24 | host);
    match index % 10 {
        0 => Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(host) << 40).into(),
        1 => v4.to_ipv6_mapped().into(),
        _ => v4.into(),
    }
}

/// Returns connection number `index` of one client address.
fn pair(peer: IpAddr, index: usize, host: usize) -> Pair {
    let port = if index % 4 == 3 { 80 } else { 443 };
    // Each client starts at another port and counts up from there.
    let begin = match peer {
        IpAddr::V4(it) => it.to_bits() as usize,
        IpAddr::V6(it) => (it.to_bits() >> 40) as usize,
    };
    let client_port = 1024 + u16::try_from((begin + index) % 64000).unwrap();
    Pair {
        server: SocketAddr::new(server(peer, host), port),
        client: SocketAddr::new(peer, client_port),
    }
}

/// Returns the server address that a client connects to. The networks are those of
/// [`Namespaces`](crate::flood::Namespaces).
pub fn server(peer: IpAddr, host: usize) -> IpAddr {
    let last = 10 + u8::try_from(host).unwrap();
    match peer {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, last).into(),
        IpAddr::V6(it) if it.to_ipv4_mapped().is_some() => {
            Ipv4Addr::new(198, 51, 100, last).to_ipv6_mapped().into()
        }
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
    }
}
