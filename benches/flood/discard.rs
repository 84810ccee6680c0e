//! The lower bound of a dump's cost: requests it and discards its bytes.
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
    netlink::{self, SocketAddrNetlink},
    recv, send, socket_with,
};

/// The states that a check requests by default: all except LISTEN.
pub const CONNECTED: u32 = 0b1011_1111_1110;
/// A state that no socket of [`open_sockets`](crate::open_sockets) has: the kernel walks all
/// of them and returns none.
pub const TIME_WAIT: u32 = 1 << 6;

/// Requests a dump as `check_topip` does, and discards it.
pub fn dump(states: u32) {
    const TCPDIAG_GETSOCK: u16 = 18;
    const REQUEST_DUMP: u16 = 0x301;
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG)).unwrap();
    connect(&socket, &SocketAddrNetlink::new(0, 0)).unwrap();
    let request = [
        &76u32.to_ne_bytes()[..],
        &TCPDIAG_GETSOCK.to_ne_bytes(),
        &REQUEST_DUMP.to_ne_bytes(),
        &[0; 8 + 4 + 48],
        &states.to_ne_bytes(),
        &[0; 4],
    ]
    .concat();
    send(&socket, &request, SendFlags::empty()).unwrap();
    let mut datagram = vec![0; 32 * 1024];
    loop {
        let (_, length) = recv(&socket, &mut datagram[..], RecvFlags::TRUNC).unwrap();
        if is_last(&datagram[..length]) {
            return;
        }
    }
}

/// Returns whether a datagram is the end of a dump, which is a datagram of its own.
fn is_last(datagram: &[u8]) -> bool {
    const NLMSG_DONE: [u8; 2] = 3u16.to_ne_bytes();
    const NLMSG_ERROR: [u8; 2] = 2u16.to_ne_bytes();
    assert_ne!(datagram[4..6], NLMSG_ERROR, "the kernel refuses the dump");
    datagram[4..6] == NLMSG_DONE
}
