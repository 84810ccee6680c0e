//! The kernel's answers by ctnetlink to connections.
//!
//! The layouts are `struct nfgenmsg` (`include/uapi/linux/netfilter/nfnetlink.h`)
//! and the attributes of `nfnetlink_conntrack.h`. What an attribute holds is in
//! the byte order of the network.
use std::{
    io::BufRead,
    net::{IpAddr, SocketAddr},
};

use crate::{
    model::connection::{Connection, TcpState},
    parse::{
        Dialect, ParseError, Reading,
        capture::ByteOrder,
        netlink::{self, Interface, MessageProblem, attributes},
    },
};

use super::{IPPROTO_TCP, state_of_number};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_NEW`: what the kernel sends of a flow.
const CT_NEW: u16 = SUBSYSTEM;
/// `IPCTNL_MSG_CT_GET`: the question for flows.
pub const CT_GET: u16 = SUBSYSTEM + 1;
/// `IPCTNL_MSG_CT_GET_STATS`: how many there are, and the name of the answer too.
pub const CT_GET_STATS: u16 = SUBSYSTEM + 5;
/// `struct nfgenmsg`. The addresses tell the family once more.
const NFGENMSG: usize = 4;

// enum ctattr_type.
/// One of the directions of a flow, that of the first packet.
pub const CTA_TUPLE_ORIG: u16 = 1;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
// enum ctattr_tuple.
const CTA_TUPLE_IP: u16 = 1;
/// What of a direction is of its protocol.
pub const CTA_TUPLE_PROTO: u16 = 2;
// enum ctattr_ip: IPv4, then IPv6, source and destination.
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
// enum ctattr_l4proto.
/// Which protocol that is.
pub const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
/// The port that it goes to.
pub const CTA_PROTO_DST_PORT: u16 = 3;
// enum ctattr_protoinfo, and that of TCP.
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
// enum ip_conntrack_status, of nf_conntrack_common.h.
const IPS_DYING: u32 = 1 << 9;
const IPS_OFFLOAD: u32 = 1 << 14;

/// Reads a dump to its end and gives each connection to `counts`.
///
/// # Errors
///
/// Where the kernel refuses or interrupts it, or what comes is no dump of flows.
pub(in crate::parse) fn read(
    bytes: impl BufRead,
    byte_order: ByteOrder,
    counts: &mut impl FnMut(&Connection) -> bool,
) -> Result<Reading, ParseError> {
    let mut reading = Reading { dialects: vec![Dialect::Ctnetlink], ..Reading::default() };
    let mut take = |message_type: u16, payload: &[u8]| {
        if message_type != CT_NEW {
            return Err(MessageProblem::Type(message_type));
        }
        match connection(payload, byte_order)? {
            Some(connection) => {
                reading.rows += 1;
                counts(&connection);
            }
            None => reading.other += 1,
        }
        Ok(())
    };
    netlink::read(bytes, byte_order, Interface::Ctnetlink, &mut take)?;
    Ok(reading)
}

/// How many flows of any protocol the kernel says there are, and how many there is
/// room for, in its answer to [`CT_GET_STATS`]. Kernels before 4.18 do not say the
/// latter.
#[must_use]
pub fn entries(answer: &[u8]) -> (Option<u32>, Option<u32>) {
    const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
    const CTA_STATS_MAX_ENTRIES: u16 = 2;
    let behind = answer.get(netlink::HEADER + NFGENMSG..).unwrap_or_default();
    let number = |wanted| {
        let mut all = attributes(behind, ByteOrder::NATIVE);
        let found = all.find_map(|it| it.ok().filter(|&(it, _)| it == wanted))?;
        Some(u32::from_be_bytes(found.1.try_into().ok()?))
    };
    (number(CTA_STATS_GLOBAL_ENTRIES), number(CTA_STATS_MAX_ENTRIES))
}

/// Reads what a message holds of a flow; `None` where that is no connection: it is
/// of another protocol, or it is over and about to be forgotten.
fn connection(payload: &[u8], byte_order: ByteOrder) -> Result<Option<Connection>, MessageProblem> {
    let attributes_of = |bytes| attributes(bytes, byte_order);
    let (mut tuple, mut status, mut tcp_state) = (Tuple::default(), 0, None);
    for attribute in attributes_of(payload.get(NFGENMSG..).ok_or(MessageProblem::Short)?) {
        match attribute? {
            (CTA_TUPLE_ORIG, bytes) => tuple = Tuple::read(bytes, byte_order)?,
            (CTA_STATUS, bytes) => status = u32::from_be_bytes(exactly(bytes)?),
            (CTA_PROTOINFO, bytes) => tcp_state = self::tcp_state(bytes, byte_order)?,
            _ => {}
        }
    }
    let protocol = tuple.protocol.ok_or(MessageProblem::Missing("protocol"))?;
    if protocol != IPPROTO_TCP || status & IPS_DYING != 0 {
        return Ok(None);
    }
    // What a flowtable forwards, or hardware, is sent without a state: the kernel
    // takes only what is established out of its own sight.
    let offloaded = (status & IPS_OFFLOAD != 0).then_some(TcpState::Established);
    let end = |host: Option<IpAddr>, port: Option<u16>, which| {
        let missing = MessageProblem::Missing(which);
        Ok(SocketAddr::new(host.ok_or(missing)?, port.ok_or(missing)?))
    };
    Ok(Some(Connection {
        local: end(tuple.destination, tuple.destination_port, "destination")?,
        peer: end(tuple.source, tuple.source_port, "source")?,
        tcp_state: tcp_state.or(offloaded),
        peer_cut: None,
    }))
}

/// One direction of a flow, as far as it is told.
#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: Option<u8>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

impl Tuple {
    fn read(bytes: &[u8], byte_order: ByteOrder) -> Result<Self, MessageProblem> {
        let mut tuple = Self::default();
        for attribute in attributes(bytes, byte_order) {
            match attribute? {
                (CTA_TUPLE_IP, bytes) => tuple.read_addresses(bytes, byte_order)?,
                (CTA_TUPLE_PROTO, bytes) => tuple.read_protocol(bytes, byte_order)?,
                _ => {}
            }
        }
        Ok(tuple)
    }

    fn read_addresses(
        &mut self,
        bytes: &[u8],
        byte_order: ByteOrder,
    ) -> Result<(), MessageProblem> {
        for attribute in attributes(bytes, byte_order) {
            match attribute? {
                (CTA_IP_V4_SRC, it) => self.source = Some(exactly::<4>(it)?.into()),
                (CTA_IP_V4_DST, it) => self.destination = Some(exactly::<4>(it)?.into()),
                (CTA_IP_V6_SRC, it) => self.source = Some(exactly::<16>(it)?.into()),
                (CTA_IP_V6_DST, it) => self.destination = Some(exactly::<16>(it)?.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_protocol(&mut self, bytes: &[u8], byte_order: ByteOrder) -> Result<(), MessageProblem> {
        for attribute in attributes(bytes, byte_order) {
            match attribute? {
                (CTA_PROTO_NUM, it) => self.protocol = Some(u8::from_be_bytes(exactly(it)?)),
                (CTA_PROTO_SRC_PORT, it) => {
                    self.source_port = Some(u16::from_be_bytes(exactly(it)?))
                }
                (CTA_PROTO_DST_PORT, it) => {
                    self.destination_port = Some(u16::from_be_bytes(exactly(it)?));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn tcp_state(bytes: &[u8], byte_order: ByteOrder) -> Result<Option<TcpState>, MessageProblem> {
    let within = |bytes, wanted| {
        let found = attributes(bytes, byte_order)
            .find(|it| it.as_ref().is_ok_and(|&(it, _)| it == wanted) || it.is_err());
        found.transpose().map(|it| it.map(|(_, bytes)| bytes))
    };
    let Some(tcp) = within(bytes, CTA_PROTOINFO_TCP)? else { return Ok(None) };
    let Some(state) = within(tcp, CTA_PROTOINFO_TCP_STATE)? else { return Ok(None) };
    let [number] = exactly(state)?;
    state_of_number(number).map(Some).ok_or(MessageProblem::TcpState(number))
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], MessageProblem> {
    bytes.try_into().map_err(|_| MessageProblem::Attribute)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    const NESTED: u16 = 0x8000;

    fn attribute(attribute_type: u16, holds: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + holds.len()).expect("short");
        let mut bytes = [&length.to_ne_bytes()[..], &attribute_type.to_ne_bytes(), holds].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn nested(attribute_type: u16, holds: &[Vec<u8>]) -> Vec<u8> {
        attribute(attribute_type | NESTED, &holds.concat())
    }

    fn message(message_type: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
        let payload = [&[2, 0, 0, 0][..], &attributes.concat()].concat();
        let length = u32::try_from(16 + payload.len()).expect("short");
        let mut message = [
            &length.to_ne_bytes()[..],
            &message_type.to_ne_bytes(),
            &2u16.to_ne_bytes(),
            &[0; 8],
            &payload,
        ]
        .concat();
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn done() -> Vec<u8> {
        message(3, &[])
    }

    fn tuple(which: u16, source: IpAddr, destination: IpAddr, protocol: u8) -> Vec<u8> {
        let first = if source.is_ipv4() { CTA_IP_V4_SRC } else { CTA_IP_V6_SRC };
        let octets = |address: IpAddr| match address {
            IpAddr::V4(it) => it.octets().to_vec(),
            IpAddr::V6(it) => it.octets().to_vec(),
        };
        let ip = nested(
            CTA_TUPLE_IP,
            &[attribute(first, &octets(source)), attribute(first + 1, &octets(destination))],
        );
        let protocol = nested(
            CTA_TUPLE_PROTO,
            &[
                attribute(CTA_PROTO_NUM, &[protocol]),
                attribute(CTA_PROTO_SRC_PORT, &50000u16.to_be_bytes()),
                attribute(CTA_PROTO_DST_PORT, &443u16.to_be_bytes()),
            ],
        );
        nested(which, &[ip, protocol])
    }

    /// The original direction of an IPv4 flow.
    fn original(protocol: u8) -> Vec<u8> {
        tuple(CTA_TUPLE_ORIG, [203, 0, 113, 7].into(), [192, 0, 2, 1].into(), protocol)
    }

    fn state(number: u8) -> Vec<u8> {
        let tcp = nested(CTA_PROTOINFO_TCP, &[attribute(CTA_PROTOINFO_TCP_STATE, &[number])]);
        nested(CTA_PROTOINFO, &[tcp])
    }

    fn status(bits: u32) -> Vec<u8> {
        attribute(CTA_STATUS, &bits.to_be_bytes())
    }

    #[track_caller]
    fn check(messages: &[Vec<u8>], expected: &str) {
        let bytes = messages.concat();
        for capacity in [1, 5, 100, 65536] {
            let mut found = Vec::new();
            let reader = BufReader::with_capacity(capacity, &bytes[..]);
            let reading = read(reader, ByteOrder::NATIVE, &mut |it: &Connection| {
                let state = it.tcp_state.map_or("-", TcpState::name);
                found.push(format!("{} {} {state}", it.local, it.peer));
                true
            });
            found.push(match reading {
                Ok(reading) => format!("{} and {} others", reading.rows, reading.other),
                Err(error) => error.to_string(),
            });
            assert_eq!(found.join(", "), expected, "in chunks of {capacity}");
        }
    }

    #[test]
    fn flows_of_both_families() {
        const CTA_TUPLE_REPLY: u16 = 2;
        let reply = tuple(CTA_TUPLE_REPLY, [10, 1, 0, 2].into(), [203, 0, 113, 7].into(), 6);
        let v6 = |host: u128| IpAddr::from((0x2001_0db8_u128 << 96 | host).to_be_bytes());
        let mut v6 = tuple(CTA_TUPLE_ORIG, v6(7), v6(1), 6);
        v6.extend(state(1));
        check(
            &[
                message(CT_NEW, &[original(6), reply, status(0x1be), state(3)]),
                message(CT_NEW, &[v6]),
                message(CT_NEW, &[original(17)]),
                done(),
            ],
            "192.0.2.1:443 203.0.113.7:50000 ESTABLISHED, \
             [2001:db8::1]:443 [2001:db8::7]:50000 SYN_RECV, 2 and 1 others",
        );
    }

    #[test]
    fn flows_without_a_state_of_their_own() {
        check(
            &[
                message(CT_NEW, &[original(6), status(0x18e | IPS_OFFLOAD)]),
                message(CT_NEW, &[original(6), status(0x18e | IPS_DYING), state(3)]),
                message(CT_NEW, &[original(6)]),
                done(),
            ],
            "192.0.2.1:443 203.0.113.7:50000 ESTABLISHED, 192.0.2.1:443 203.0.113.7:50000 -, \
             2 and 1 others",
        );
    }

    #[test]
    fn how_many_flows_there_are() {
        let answer = |attributes: &[Vec<u8>]| entries(&message(CT_GET_STATS, attributes));
        let most = attribute(2, &262_144u32.to_be_bytes());
        let some = attribute(1, &7u32.to_be_bytes());
        assert_eq!(answer(&[some.clone(), most.clone()]), (Some(7), Some(262_144)));
        assert_eq!(answer(&[some]), (Some(7), None));
        assert_eq!(answer(&[most]), (None, Some(262_144)));
        assert_eq!(answer(&[attribute(1, &[7])]), (None, None));
        assert_eq!(entries(&[]), (None, None));
    }

    #[test]
    fn messages_that_no_kernel_sends() {
        let text =
            |problem: &str| format!("message 1 of the kernel dump is not understood: {problem}");
        check(&[message(CT_NEW + 1, &[])], &text("its type is 257"));
        check(&[message(CT_NEW, &[])], &text("it has no protocol"));
        check(&[message(CT_NEW, &[original(6), state(10)])], &text("its TCP state is 10"));
        check(&[message(CT_NEW, &[vec![3, 0, 1, 0]])], &text("an attribute of it is not whole"));
        check(&[message(CT_NEW, &[vec![9, 0, 1, 0]])], &text("an attribute of it is not whole"));
        check(&[message(CT_NEW, &[vec![4, 0, 1]])], &text("an attribute of it is not whole"));
        let wide = attribute(CTA_STATUS, &[0; 5]);
        check(&[message(CT_NEW, &[original(6), wide])], &text("an attribute of it is not whole"));
        let protocol = nested(CTA_TUPLE_PROTO, &[attribute(CTA_PROTO_NUM, &[6])]);
        let bare = nested(CTA_TUPLE_ORIG, &[protocol]);
        check(&[message(CT_NEW, &[bare])], &text("it has no destination"));
        check(&[], "the kernel dump by ctnetlink has no end");
    }
}
