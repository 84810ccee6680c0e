//! A question to the kernel by netlink (netlink(7)), and its answer.
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
    parse::netlink::{HEADER, Interface, refusal},
    source::{SourceError, read_buffered},
};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// What the kernel puts into one datagram of a dump at most.
const DATAGRAM: usize = 32 * 1024;

/// Asks for a dump, and waits for the beginning of the answer: a kernel that
/// cannot do it says so there.
pub(in crate::source) fn open(
    interface: Interface,
    message_type: u16,
    request: &[u8],
) -> Result<Dump, SourceError> {
    ask(interface, &message(message_type, NLM_F_REQUEST | NLM_F_DUMP, request))
}

/// Asks for one answer, and gives it, header and all.
pub(in crate::source) fn answer(
    interface: Interface,
    message_type: u16,
    request: &[u8],
) -> Result<Vec<u8>, SourceError> {
    let dump = ask(interface, &message(message_type, NLM_F_REQUEST, request))?;
    Ok(dump.datagram[dump.start..dump.end].to_vec())
}

fn ask(interface: Interface, question: &[u8]) -> Result<Dump, SourceError> {
    let failed = |step| {
        move |errno: rustix::io::Errno| SourceError::Netlink {
            interface,
            step,
            source: errno.into(),
        }
    };
    let protocol = match interface {
        Interface::SockDiag => netlink::SOCK_DIAG,
        Interface::Ctnetlink => netlink::NETFILTER,
    };
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))
            .map_err(failed("open"))?;
    // Connected to the kernel, the socket takes nobody else's messages.
    connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(failed("open"))?;
    send(&socket, question, SendFlags::empty()).map_err(failed("ask"))?;

    let mut dump = Dump { socket, datagram: vec![0; DATAGRAM], start: 0, end: 0 };
    let first = dump.fill_buf().map_err(|source| SourceError::Netlink {
        interface,
        step: "read from",
        source,
    })?;
    match refusal(first) {
        Some(source) => Err(SourceError::Refused { interface, source }),
        None => Ok(dump),
    }
}

/// `struct nlmsghdr` and what it is the header of.
fn message(message_type: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).expect("a request is short");
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

/// The kernel's answer, datagram by datagram. It has no end of its own: who
/// reads it stops where the dump says that it is done.
pub(in crate::source) struct Dump {
    socket: OwnedFd,
    datagram: Vec<u8>,
    start: usize,
    end: usize,
}

impl BufRead for Dump {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            let (_, length) = rustix::io::retry_on_intr(|| {
                recv(&self.socket, &mut self.datagram[..], RecvFlags::TRUNC)
            })?;
            // With TRUNC the kernel tells how long the datagram was.
            if length > self.datagram.len() {
                return Err(io::Error::other("a datagram was longer than the kernel sends"));
            }
            (self.start, self.end) = (0, length);
        }
        Ok(&self.datagram[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
    }
}

impl Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}
