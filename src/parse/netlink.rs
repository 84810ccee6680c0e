//! The kernel's answer to a dump by netlink, message after message.
//!
//! The layouts are `struct nlmsghdr` (`include/uapi/linux/netlink.h`) and
//! `struct nlattr`; their numbers are in the byte order of the machine. What a
//! message holds is for its interface to read.
use std::{
    fmt,
    io::{self, BufRead},
};

use super::capture::ByteOrder;

use super::reader::ParseError;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// IPv4, as a message names it.
pub const AF_INET: u8 = 2;
/// IPv6.
pub const AF_INET6: u8 = 10;

/// `struct nlmsghdr`.
pub const HEADER: usize = 16;
/// `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// What the kernel never exceeds: one skb.
const LONGEST: usize = 64 * 1024;

/// Which part of the kernel was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The sockets: sock_diag(7).
    SockDiag,
    /// The flows of connection tracking.
    Ctnetlink,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SockDiag => "sock_diag",
            Self::Ctnetlink => "ctnetlink",
        })
    }
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageProblem {
    /// Its length is less than its header needs, or more than the kernel sends.
    #[error("its length is {0} bytes")]
    Length(usize),
    /// It ends before what it is about.
    #[error("it ends too early")]
    Short,
    /// Not one of the types that a dump is made of.
    #[error("its type is {0}")]
    Type(u16),
    /// Neither IPv4 nor IPv6.
    #[error("its address family is {0}")]
    Family(u8),
    /// Not a state of TCP.
    #[error("its TCP state is {0}")]
    TcpState(u8),
    /// An attribute that does not end within what it is in, or has another
    /// length than its kind.
    #[error("an attribute of it is not whole")]
    Attribute,
    /// An attribute that every message of its kind has.
    #[error("it has no {0}")]
    Missing(&'static str),
}

/// Reads a dump to its end and gives the type of each message, and what is behind
/// its header, to `take`.
///
/// # Errors
///
/// Where the kernel refuses or interrupts it, or what comes is no dump.
pub(super) fn read(
    mut bytes: impl BufRead,
    byte_order: ByteOrder,
    interface: Interface,
    take: &mut impl FnMut(u16, &[u8]) -> Result<(), MessageProblem>,
) -> Result<(), ParseError> {
    let mut dump = Dump { byte_order, interface, n_messages: 0, padding: 0, take };
    let mut straddling = Vec::new();
    loop {
        let chunk = bytes.fill_buf().map_err(|source| dump.unreadable(source))?;
        let (read, end) = dump.messages(chunk)?;
        let left = chunk.len() - read;
        bytes.consume(read);
        if end {
            return Ok(());
        }
        if read == 0 {
            if left == 0 {
                return Err(ParseError::Endless { interface });
            }
            // A kernel's datagram ends where a message ends; a file's buffer
            // may end anywhere.
            dump.one_message(&mut bytes, &mut straddling)?;
            if dump.messages(&straddling)?.1 {
                return Ok(());
            }
        }
    }
}

/// Whether an answer begins with a refusal: an error, or the end of a dump
/// that failed. A source asks this to try another way before it hands the
/// capture on.
#[must_use]
pub fn refusal(datagram: &[u8]) -> Option<io::Error> {
    let mut dump = Dump {
        byte_order: ByteOrder::NATIVE,
        interface: Interface::SockDiag,
        n_messages: 0,
        padding: 0,
        take: &mut |_, _: &[u8]| Ok(()),
    };
    let length =
        ByteOrder::NATIVE.u32(datagram, 0).map_or(0, |length| length as usize).min(datagram.len());
    match dump.message(&datagram[..length]) {
        Err(ParseError::Refused { source, .. }) => Some(source),
        _ => None,
    }
}

/// Where a dump stands.
struct Dump<'a, T> {
    byte_order: ByteOrder,
    interface: Interface,
    n_messages: u64,
    /// How many bytes of it are still to come behind the latest message.
    padding: usize,
    take: &'a mut T,
}

impl<T: FnMut(u16, &[u8]) -> Result<(), MessageProblem>> Dump<'_, T> {
    /// Reads the whole messages that `chunk` begins with. Gives how many bytes
    /// they take, and whether the last one ends the dump.
    fn messages(&mut self, chunk: &[u8]) -> Result<(usize, bool), ParseError> {
        let mut at = self.padding.min(chunk.len());
        self.padding -= at;
        while let Some(length) = self.byte_order.u32(chunk, at) {
            let length = self.checked(length)?;
            let Some(message) = chunk.get(at..at + length) else { break };
            // The padding behind the last message need not be there, and behind
            // another one it may come with the next chunk.
            let end = at + length.next_multiple_of(4);
            at = end.min(chunk.len());
            self.padding = end - at;
            self.n_messages += 1;
            if self.message(message)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Reads one message, of which `bytes` hold a part.
    fn one_message(
        &mut self,
        bytes: &mut impl BufRead,
        message: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        let unreadable = |source| self.unreadable(source);
        message.resize(4, 0);
        bytes.read_exact(message).map_err(unreadable)?;
        let length = self.byte_order.u32(message, 0).map_or(Ok(0), |it| self.checked(it))?;
        message.resize(length, 0);
        bytes.read_exact(&mut message[4..]).map_err(unreadable)
    }

    fn unreadable(&self, source: io::Error) -> ParseError {
        ParseError::Read { origin: format!("the kernel dump by {}", self.interface), source }
    }

    fn checked(&self, length: u32) -> Result<usize, ParseError> {
        let length = length as usize;
        if (HEADER..=LONGEST).contains(&length) {
            return Ok(length);
        }
        let number = self.n_messages + 1;
        Err(ParseError::Message { number, problem: MessageProblem::Length(length) })
    }

    /// Reads one message; says whether it ends the dump.
    fn message(&mut self, message: &[u8]) -> Result<bool, ParseError> {
        let interface = self.interface;
        let wrong = |problem| ParseError::Message { number: self.n_messages, problem };
        let (header, payload) =
            message.split_at_checked(HEADER).ok_or_else(|| wrong(MessageProblem::Short))?;
        let short = |at: usize| self.byte_order.u16([header[at], header[at + 1]]);
        let (message_type, flags) = (short(4), short(6));
        let code = || self.byte_order.u32(payload, 0);
        let refused = |code| ParseError::Refused { interface, source: os_error(code) };
        match message_type {
            NLMSG_NOOP => return Ok(false),
            NLMSG_ERROR => {
                let code = code().ok_or_else(|| wrong(MessageProblem::Short))?;
                return Err(refused(code));
            }
            NLMSG_DONE => {
                // The trap of this interface: a dump that could not be made
                // ends as one that was, but for this number.
                return match code() {
                    Some(code) if code.cast_signed() < 0 => Err(refused(code)),
                    _ if flags & NLM_F_DUMP_INTR != 0 => Err(ParseError::Interrupted { interface }),
                    _ => Ok(true),
                };
            }
            _ => {}
        }
        if flags & NLM_F_DUMP_INTR != 0 {
            return Err(ParseError::Interrupted { interface });
        }
        (self.take)(message_type, payload).map_err(wrong)?;
        Ok(false)
    }
}

impl ByteOrder {
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}

/// The kernel sends error numbers negative.
fn os_error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed().wrapping_neg())
}

/// The attributes that `bytes` are: the type of each, and what it holds.
pub(super) fn attributes(bytes: &[u8], byte_order: ByteOrder) -> Attributes<'_> {
    Attributes { rest: bytes, byte_order }
}

/// See [`attributes`].
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
    byte_order: ByteOrder,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), MessageProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        // Two flags stand above the type: that it is nested, that it is in the
        // byte order of the network.
        const TYPE: u16 = 0x3FFF;
        if self.rest.is_empty() {
            return None;
        }
        let whole = |rest: &'a [u8]| {
            let &[a, b, c, d] = rest.first_chunk::<ATTRIBUTE>()?;
            let length = usize::from(self.byte_order.u16([a, b]));
            let holds = rest.get(ATTRIBUTE..length)?;
            let end = length.next_multiple_of(4).min(rest.len());
            Some(((self.byte_order.u16([c, d]) & TYPE, holds), &rest[end..]))
        };
        let Some((attribute, rest)) = whole(self.rest) else {
            self.rest = &[];
            return Some(Err(MessageProblem::Attribute));
        };
        self.rest = rest;
        Some(Ok(attribute))
    }
}
