//! Reader for the messages of a netlink dump.
//!
//! The layouts are `struct nlmsghdr` (`include/uapi/linux/netlink.h`) and
//! `struct nlattr`; their numbers are in the byte order of the host. The payload of
//! a message depends on the interface and is parsed by the caller.
use std::{
    fmt,
    io::{self, BufRead},
};

use super::{capture::ByteOrder, error::ParseError};

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Address family of IPv4 in a message.
pub const AF_INET: u8 = 2;
/// Address family of IPv6 in a message.
pub const AF_INET6: u8 = 10;

/// Size of `struct nlmsghdr`.
pub const HEADER_BYTES: usize = 16;
/// Size of `struct nlattr`.
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// Maximum length of a message in bytes. The kernel sends no longer ones: a message fits into
/// one skb.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Netlink interface of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Sockets: sock_diag(7).
    SockDiag,
    /// Flows of connection tracking.
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

/// Error in one message of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The length is less than that of a header, or more than the kernel sends.
    #[error("invalid message length of {0} bytes")]
    Length(usize),
    /// The message ends before its fixed part.
    #[error("incomplete message")]
    Short,
    /// The message type does not belong in this dump.
    #[error("unexpected message type {0}")]
    Type(u16),
    /// The address family is neither IPv4 nor IPv6.
    #[error("unknown address family {0}")]
    Family(u8),
    /// The number is not a TCP state.
    #[error("unknown TCP state {0}")]
    TcpState(u8),
    /// An attribute exceeds its enclosing message or attribute, or does not have the
    /// length of its type.
    #[error("malformed attribute")]
    Attribute,
    /// A required attribute is missing; holds the name of the value.
    #[error("no {0}")]
    Missing(&'static str),
}

/// Reads a dump to its end and calls `on_message` with the type and the payload of each
/// message.
///
/// # Errors
///
/// Returns an error if the kernel refused or interrupted the dump, or if the bytes are
/// not a complete dump.
pub(super) fn read(
    mut reader: impl BufRead,
    byte_order: ByteOrder,
    interface: Interface,
    on_message: &mut impl FnMut(u16, &[u8]) -> Result<(), MessageError>,
) -> Result<(), ParseError> {
    let mut dump =
        DumpReader { byte_order, interface, n_messages: 0, padding_bytes: 0, on_message };
    let mut split_message = Vec::new();
    loop {
        let chunk = reader.fill_buf().map_err(|source| dump.read_error(source))?;
        let (n_read, is_done) = dump.read_messages(chunk)?;
        let n_remaining = chunk.len() - n_read;
        reader.consume(n_read);
        if is_done {
            return Ok(());
        }
        if n_read == 0 {
            if n_remaining == 0 {
                return Err(ParseError::DumpIncomplete { interface });
            }
            // A datagram from the kernel ends at the end of a message; a buffer of a
            // file can end anywhere.
            dump.read_split_message(&mut reader, &mut split_message)?;
            if dump.read_messages(&split_message)?.1 {
                return Ok(());
            }
        }
    }
}

/// Returns the kernel's error if an answer starts with one: an error message, or the
/// end of a failed dump. A source checks this to try another request before it returns
/// the capture.
#[must_use]
pub fn refusal(datagram: &[u8]) -> Option<io::Error> {
    let mut dump = DumpReader {
        byte_order: ByteOrder::NATIVE,
        interface: Interface::SockDiag,
        n_messages: 0,
        padding_bytes: 0,
        on_message: &mut |_, _: &[u8]| Ok(()),
    };
    let length =
        ByteOrder::NATIVE.u32(datagram, 0).map_or(0, |length| length as usize).min(datagram.len());
    match dump.read_message(&datagram[..length]) {
        Err(ParseError::DumpRefused { source, .. }) => Some(source),
        _ => None,
    }
}

/// State of reading a dump.
struct DumpReader<'a, T> {
    byte_order: ByteOrder,
    interface: Interface,
    /// Number of messages read so far.
    n_messages: u64,
    /// Number of bytes of the last message's padding that are not read yet.
    padding_bytes: usize,
    on_message: &'a mut T,
}

impl<T: FnMut(u16, &[u8]) -> Result<(), MessageError>> DumpReader<'_, T> {
    /// Reads the complete messages at the start of `chunk`. Returns their total length
    /// in bytes, and whether the last one ends the dump.
    fn read_messages(&mut self, chunk: &[u8]) -> Result<(usize, bool), ParseError> {
        let mut offset = self.padding_bytes.min(chunk.len());
        self.padding_bytes -= offset;
        while let Some(length) = self.byte_order.u32(chunk, offset) {
            let length = self.check_length(length)?;
            let Some(message) = chunk.get(offset..offset + length) else { break };
            // The padding after the last message may be missing, and the padding
            // after another message may be in the next chunk.
            let end = offset + length.next_multiple_of(4);
            offset = end.min(chunk.len());
            self.padding_bytes = end - offset;
            self.n_messages += 1;
            if self.read_message(message)? {
                return Ok((offset, true));
            }
        }
        Ok((offset, false))
    }

    /// Reads one message that continues beyond the current buffer of `reader`.
    fn read_split_message(
        &mut self,
        reader: &mut impl BufRead,
        message: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        message.resize(4, 0);
        reader.read_exact(message).map_err(|source| self.read_error(source))?;
        let length = self.byte_order.u32(message, 0).map_or(Ok(0), |it| self.check_length(it))?;
        message.resize(length, 0);
        reader.read_exact(&mut message[4..]).map_err(|source| self.read_error(source))
    }

    fn read_error(&self, source: io::Error) -> ParseError {
        ParseError::Read { origin: format!("the kernel dump by {}", self.interface), source }
    }

    /// Returns an error for the latest message.
    fn message_error(&self, problem: MessageError) -> ParseError {
        ParseError::InvalidMessage { number: self.n_messages, problem }
    }

    fn refused(&self, code: u32) -> ParseError {
        ParseError::DumpRefused { interface: self.interface, source: os_error(code) }
    }

    fn check_length(&self, length: u32) -> Result<usize, ParseError> {
        let length = length as usize;
        if (HEADER_BYTES..=MAX_MESSAGE_BYTES).contains(&length) {
            return Ok(length);
        }
        let number = self.n_messages + 1;
        Err(ParseError::InvalidMessage { number, problem: MessageError::Length(length) })
    }

    /// Reads one message. Returns whether it ends the dump.
    fn read_message(&mut self, message: &[u8]) -> Result<bool, ParseError> {
        let interface = self.interface;
        let Some((header, payload)) = message.split_at_checked(HEADER_BYTES) else {
            return Err(self.message_error(MessageError::Short));
        };
        let message_type = self.byte_order.u16([header[4], header[5]]);
        let flags = self.byte_order.u16([header[6], header[7]]);
        match message_type {
            NLMSG_NOOP => return Ok(false),
            NLMSG_ERROR => {
                return Err(match self.byte_order.u32(payload, 0) {
                    Some(code) => self.refused(code),
                    None => self.message_error(MessageError::Short),
                });
            }
            NLMSG_DONE => {
                // A failed dump ends like a successful one, except for this number.
                return match self.byte_order.u32(payload, 0) {
                    Some(code) if error_number(code) > 0 => Err(self.refused(code)),
                    _ if flags & NLM_F_DUMP_INTR != 0 => {
                        Err(ParseError::DumpInterrupted { interface })
                    }
                    _ => Ok(true),
                };
            }
            _ => {}
        }
        if flags & NLM_F_DUMP_INTR != 0 {
            return Err(ParseError::DumpInterrupted { interface });
        }
        (self.on_message)(message_type, payload).map_err(|problem| self.message_error(problem))?;
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

    pub(super) fn u32(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let bytes = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}

/// Returns the error number in an error code of the kernel, which is its negative value.
fn error_number(code: u32) -> i32 {
    i32::from_ne_bytes(code.to_ne_bytes()).wrapping_neg()
}

fn os_error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(error_number(code))
}

/// Returns an iterator over the attributes in `bytes`: type and value of each.
pub(super) fn attributes(bytes: &[u8], byte_order: ByteOrder) -> Attributes<'_> {
    Attributes { rest: bytes, byte_order }
}

/// Iterator over attributes, created by [`attributes`].
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
    byte_order: ByteOrder,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.split_first();
        if attribute.is_none() {
            self.rest = &[];
        }
        Some(attribute.ok_or(MessageError::Attribute))
    }
}

impl<'a> Attributes<'a> {
    /// Removes the first attribute from `rest` and returns it; `None` if it is malformed.
    fn split_first(&mut self) -> Option<(u16, &'a [u8])> {
        // The two bits above the type are the flags for nested attributes and for
        // network byte order.
        const NLA_TYPE_MASK: u16 = 0x3FFF;
        let &[a, b, c, d] = self.rest.first_chunk::<ATTRIBUTE_HEADER_BYTES>()?;
        let length = usize::from(self.byte_order.u16([a, b]));
        let value = self.rest.get(ATTRIBUTE_HEADER_BYTES..length)?;
        let end = length.next_multiple_of(4).min(self.rest.len());
        self.rest = &self.rest[end..];
        Some((self.byte_order.u16([c, d]) & NLA_TYPE_MASK, value))
    }
}
