//! Netlink requests to the kernel and their answers (netlink(7)).
use std::{
    io::{self, BufRead, Read},
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
    netlink::{self, SocketAddrNetlink},
    recv, send, socket_with,
};

use crate::{
    parse::netlink::{HEADER_BYTES, Interface, refusal},
    source::{SourceError, dispatch::read_buffered},
};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// Maximum size of one datagram of a dump, as sent by the kernel.
const MAX_DATAGRAM_BYTES: usize = 32 * 1024;

/// Requests a dump and waits for the start of the answer, where the kernel reports an
/// unsupported request.
pub(in crate::source) fn open(
    interface: Interface,
    message_type: u16,
    payload: &[u8],
) -> Result<DumpSocket, SourceError> {
    send_request(interface, &message(message_type, NLM_F_REQUEST | NLM_F_DUMP, payload))
}

/// Sends a request and returns its single answer, including the header.
pub(in crate::source) fn query(
    interface: Interface,
    message_type: u16,
    payload: &[u8],
) -> Result<Vec<u8>, SourceError> {
    let dump = send_request(interface, &message(message_type, NLM_F_REQUEST, payload))?;
    Ok(dump.datagram[dump.start..dump.end].to_vec())
}

fn send_request(interface: Interface, request: &[u8]) -> Result<DumpSocket, SourceError> {
    let protocol = match interface {
        Interface::SockDiag => netlink::SOCK_DIAG,
        Interface::Ctnetlink => netlink::NETFILTER,
    };
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))
            .map_err(|errno| netlink_error(interface, "open", errno.into()))?;
    // A socket that is connected to the kernel rejects messages from processes.
    connect(&socket, &SocketAddrNetlink::new(0, 0))
        .map_err(|errno| netlink_error(interface, "open", errno.into()))?;
    send(&socket, request, SendFlags::empty())
        .map_err(|errno| netlink_error(interface, "query", errno.into()))?;

    let mut dump = DumpSocket { socket, datagram: vec![0; MAX_DATAGRAM_BYTES], start: 0, end: 0 };
    let first_datagram =
        dump.fill_buf().map_err(|source| netlink_error(interface, "read from", source))?;
    match refusal(first_datagram) {
        Some(source) => Err(SourceError::Refused { interface, source }),
        None => Ok(dump),
    }
}

fn netlink_error(interface: Interface, step: &'static str, source: io::Error) -> SourceError {
    SourceError::Netlink { interface, step, source }
}

/// Returns a `struct nlmsghdr` followed by `payload`.
fn message(message_type: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + payload.len()).expect("a request is short");
    let sequence_and_port = [0; 8];
    [
        &length.to_ne_bytes()[..],
        &message_type.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &sequence_and_port,
        payload,
    ]
    .concat()
}

/// The kernel's answer, read datagram by datagram. Reading never reaches an end of
/// file: stop at the message that ends the dump, because the next read blocks.
pub(in crate::source) struct DumpSocket {
    socket: OwnedFd,
    datagram: Vec<u8>,
    start: usize,
    end: usize,
}

impl BufRead for DumpSocket {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            let (_, length) = rustix::io::retry_on_intr(|| {
                recv(&self.socket, &mut self.datagram[..], RecvFlags::TRUNC)
            })?;
            // With MSG_TRUNC, recv returns the full length of a truncated datagram.
            if length > self.datagram.len() {
                return Err(io::Error::other("a datagram is longer than 32 KiB"));
            }
            (self.start, self.end) = (0, length);
        }
        Ok(&self.datagram[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
    }
}

impl Read for DumpSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}
