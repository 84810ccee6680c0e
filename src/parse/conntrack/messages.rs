//! Parser for dumps of ctnetlink.
//!
//! The layouts are `struct nfgenmsg` (`include/uapi/linux/netfilter/nfnetlink.h`)
//! and the attributes of `nfnetlink_conntrack.h`. Attribute values are in network byte
//! order.
use std::{
    io::BufRead,
    net::{IpAddr, SocketAddr},
};

use crate::{
    model::{
        connection::{Connection, TcpState},
        protocol::Protocol,
    },
    parse::{
        Dialect, ParseError, ParseStats,
        capture::ByteOrder,
        netlink::{self, Interface, MessageError, attributes},
    },
};

use super::{FlowProtocol, tcp_state_from_number};

/// Number of the subsystem in the upper byte of a message type.
const NFNL_SUBSYS_CTNETLINK: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_NEW`: message with one flow.
const CT_NEW: u16 = NFNL_SUBSYS_CTNETLINK;
/// `IPCTNL_MSG_CT_GET`: request for flows.
pub const CT_GET: u16 = NFNL_SUBSYS_CTNETLINK + 1;
/// `IPCTNL_MSG_CT_GET_STATS`: request for the number of flows, and its answer.
pub const CT_GET_STATS: u16 = NFNL_SUBSYS_CTNETLINK + 5;
/// Size of `struct nfgenmsg`. Its address family is not needed: the address attributes
/// depend on the family.
const NFGENMSG_BYTES: usize = 4;

// enum ctattr_type.
/// Original direction of a flow: that of the first packet.
pub const CTA_TUPLE_ORIG: u16 = 1;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
// enum ctattr_tuple.
const CTA_TUPLE_IP: u16 = 1;
/// Protocol and ports of a direction.
pub const CTA_TUPLE_PROTO: u16 = 2;
// enum ctattr_ip: IPv4, then IPv6, source and destination.
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
// enum ctattr_l4proto.
/// IP protocol number.
pub const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
/// Destination port.
pub const CTA_PROTO_DST_PORT: u16 = 3;
// enum ctattr_protoinfo and enum ctattr_protoinfo_tcp.
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
// enum ip_conntrack_status (nf_conntrack_common.h).
const IPS_SEEN_REPLY: u32 = 1 << 1;
const IPS_ASSURED: u32 = 1 << 2;
const IPS_DYING: u32 = 1 << 9;
const IPS_OFFLOAD: u32 = 1 << 14;
const IPS_HW_OFFLOAD: u32 = 1 << 15;

/// Reads a dump to its end and calls `on_connection` with each connection of these
/// protocols.
///
/// # Errors
///
/// Returns an error if the kernel refused or interrupted the dump, or if the bytes are
/// not a complete dump of flows.
pub(in crate::parse) fn read(
    bytes: impl BufRead,
    byte_order: ByteOrder,
    protocol: Protocol,
    on_connection: &mut impl FnMut(&Connection) -> bool,
) -> Result<ParseStats, ParseError> {
    let mut stats = ParseStats { dialects: vec![Dialect::Ctnetlink], ..ParseStats::default() };
    netlink::read(bytes, byte_order, Interface::Ctnetlink, &mut |message_type, payload: &[u8]| {
        if message_type != CT_NEW {
            return Err(MessageError::Type(message_type));
        }
        match connection(payload, byte_order, protocol)? {
            Some(connection) => {
                stats.n_rows += 1;
                on_connection(&connection);
            }
            None => stats.n_other += 1,
        }
        Ok(())
    })?;
    Ok(stats)
}

/// Returns the number of flows of any protocol and the maximum number of flows from an
/// answer to [`CT_GET_STATS`]. Kernels before 4.18 do not report the maximum.
#[must_use]
pub fn count_and_max(answer: &[u8]) -> (Option<u32>, Option<u32>) {
    const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
    const CTA_STATS_MAX_ENTRIES: u16 = 2;
    let bytes = answer.get(netlink::HEADER_BYTES + NFGENMSG_BYTES..).unwrap_or_default();
    (stats_number(bytes, CTA_STATS_GLOBAL_ENTRIES), stats_number(bytes, CTA_STATS_MAX_ENTRIES))
}

fn stats_number(bytes: &[u8], attribute_type: u16) -> Option<u32> {
    let value = attribute_value(bytes, attribute_type, ByteOrder::NATIVE).ok()??;
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

/// Parses a message with a flow. Returns `None` if `counted` does not include the protocol of
/// the flow, or if the flow has ended and is about to be deleted.
fn connection(
    payload: &[u8],
    byte_order: ByteOrder,
    counted: Protocol,
) -> Result<Option<Connection>, MessageError> {
    let (mut tuple, mut status, mut tcp_state) = (Tuple::default(), 0, None);
    let bytes = payload.get(NFGENMSG_BYTES..).ok_or(MessageError::Short)?;
    for attribute in attributes(bytes, byte_order) {
        match attribute? {
            (CTA_TUPLE_ORIG, bytes) => tuple = Tuple::read(bytes, byte_order)?,
            (CTA_STATUS, bytes) => status = u32::from_be_bytes(fixed_bytes(bytes)?),
            (CTA_PROTOINFO, bytes) => tcp_state = self::tcp_state(bytes, byte_order)?,
            _ => {}
        }
    }
    let protocol = tuple.protocol.ok_or(MessageError::Missing("protocol"))?;
    match FlowProtocol::from_number(protocol, counted) {
        Some(_) if status & IPS_DYING != 0 => return Ok(None),
        None => return Ok(None),
        Some(FlowProtocol::Udp) => tcp_state = Some(udp_state(status)),
        // A flow that is forwarded by a flowtable or by hardware does not have a state. The
        // kernel offloads established flows only.
        Some(FlowProtocol::Tcp) if tcp_state.is_none() && status & IPS_OFFLOAD != 0 => {
            tcp_state = Some(TcpState::Established);
        }
        Some(FlowProtocol::Tcp) => {}
    }
    Ok(Some(Connection {
        local: endpoint(tuple.destination, tuple.destination_port, "destination")?,
        peer: endpoint(tuple.source, tuple.source_port, "source")?,
        tcp_state,
        peer_truncated: None,
        count: None,
        is_local_truncated: false,
    }))
}

/// Returns the state of a UDP flow with these status bits: the same as for a row of a listing.
fn udp_state(status: u32) -> TcpState {
    if status & IPS_SEEN_REPLY == 0 {
        TcpState::Unreplied
    } else if status & (IPS_ASSURED | IPS_OFFLOAD | IPS_HW_OFFLOAD) != 0 {
        TcpState::Assured
    } else {
        TcpState::SeenReply
    }
}

fn endpoint(
    address: Option<IpAddr>,
    port: Option<u16>,
    name: &'static str,
) -> Result<SocketAddr, MessageError> {
    let missing = MessageError::Missing(name);
    Ok(SocketAddr::new(address.ok_or(missing)?, port.ok_or(missing)?))
}

/// One direction of a flow. A field is `None` if the message does not contain it.
#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: Option<u8>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

impl Tuple {
    fn read(bytes: &[u8], byte_order: ByteOrder) -> Result<Self, MessageError> {
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

    fn read_addresses(&mut self, bytes: &[u8], byte_order: ByteOrder) -> Result<(), MessageError> {
        for attribute in attributes(bytes, byte_order) {
            match attribute? {
                (CTA_IP_V4_SRC, value) => self.source = Some(fixed_bytes::<4>(value)?.into()),
                (CTA_IP_V4_DST, value) => self.destination = Some(fixed_bytes::<4>(value)?.into()),
                (CTA_IP_V6_SRC, value) => self.source = Some(fixed_bytes::<16>(value)?.into()),
                (CTA_IP_V6_DST, value) => self.destination = Some(fixed_bytes::<16>(value)?.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_protocol(&mut self, bytes: &[u8], byte_order: ByteOrder) -> Result<(), MessageError> {
        for attribute in attributes(bytes, byte_order) {
            match attribute? {
                (CTA_PROTO_NUM, value) => {
                    self.protocol = Some(u8::from_be_bytes(fixed_bytes(value)?))
                }
                (CTA_PROTO_SRC_PORT, value) => {
                    self.source_port = Some(u16::from_be_bytes(fixed_bytes(value)?))
                }
                (CTA_PROTO_DST_PORT, value) => {
                    self.destination_port = Some(u16::from_be_bytes(fixed_bytes(value)?));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns the TCP state in a [`CTA_PROTOINFO`] attribute; `None` if it is missing.
fn tcp_state(bytes: &[u8], byte_order: ByteOrder) -> Result<Option<TcpState>, MessageError> {
    let Some(tcp) = attribute_value(bytes, CTA_PROTOINFO_TCP, byte_order)? else {
        return Ok(None);
    };
    let Some(number) = attribute_value(tcp, CTA_PROTOINFO_TCP_STATE, byte_order)? else {
        return Ok(None);
    };
    let [number] = fixed_bytes(number)?;
    tcp_state_from_number(number).map(Some).ok_or(MessageError::TcpState(number))
}

/// Returns the value of the first attribute of a type; `None` without one.
fn attribute_value(
    bytes: &[u8],
    attribute_type: u16,
    byte_order: ByteOrder,
) -> Result<Option<&[u8]>, MessageError> {
    for attribute in attributes(bytes, byte_order) {
        let (found, value) = attribute?;
        if found == attribute_type {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Returns `bytes` as an array, or an error if the length is not `N`.
fn fixed_bytes<const N: usize>(bytes: &[u8]) -> Result<[u8; N], MessageError> {
    bytes.try_into().map_err(|_| MessageError::Attribute)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    const NLA_F_NESTED: u16 = 0x8000;

    fn attribute(attribute_type: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [&length.to_ne_bytes()[..], &attribute_type.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn nested(attribute_type: u16, value: &[Vec<u8>]) -> Vec<u8> {
        attribute(attribute_type | NLA_F_NESTED, &value.concat())
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

    fn tuple(attribute_type: u16, source: IpAddr, destination: IpAddr, protocol: u8) -> Vec<u8> {
        let source_type = if source.is_ipv4() { CTA_IP_V4_SRC } else { CTA_IP_V6_SRC };
        let octets = |address: IpAddr| match address {
            IpAddr::V4(it) => it.octets().to_vec(),
            IpAddr::V6(it) => it.octets().to_vec(),
        };
        let ip = nested(
            CTA_TUPLE_IP,
            &[
                attribute(source_type, &octets(source)),
                attribute(source_type + 1, &octets(destination)),
            ],
        );
        let protocol = nested(
            CTA_TUPLE_PROTO,
            &[
                attribute(CTA_PROTO_NUM, &[protocol]),
                attribute(CTA_PROTO_SRC_PORT, &50000u16.to_be_bytes()),
                attribute(CTA_PROTO_DST_PORT, &443u16.to_be_bytes()),
            ],
        );
        nested(attribute_type, &[ip, protocol])
    }

    /// Returns the original direction of an IPv4 flow.
    fn original(protocol: u8) -> Vec<u8> {
        tuple(CTA_TUPLE_ORIG, [203, 0, 113, 7].into(), [192, 0, 2, 1].into(), protocol)
    }

    fn tcp_state_attribute(number: u8) -> Vec<u8> {
        let tcp = nested(CTA_PROTOINFO_TCP, &[attribute(CTA_PROTOINFO_TCP_STATE, &[number])]);
        nested(CTA_PROTOINFO, &[tcp])
    }

    fn status_attribute(bits: u32) -> Vec<u8> {
        attribute(CTA_STATUS, &bits.to_be_bytes())
    }

    #[track_caller]
    fn check(messages: &[Vec<u8>], expected: &str) {
        check_protocol(Protocol::Tcp, messages, expected);
    }

    #[track_caller]
    fn check_protocol(protocol: Protocol, messages: &[Vec<u8>], expected: &str) {
        let bytes = messages.concat();
        for capacity in [1, 5, 100, 65536] {
            let mut found = Vec::new();
            let reader = BufReader::with_capacity(capacity, &bytes[..]);
            let stats =
                read(reader, ByteOrder::NATIVE, protocol, &mut |connection: &Connection| {
                    let tcp_state = connection.tcp_state.map_or("-", TcpState::name);
                    found.push(format!("{} {} {tcp_state}", connection.local, connection.peer));
                    true
                });
            found.push(match stats {
                Ok(stats) => format!("{} and {} others", stats.n_rows, stats.n_other),
                Err(error) => error.to_string(),
            });
            assert_eq!(found.join(", "), expected, "in chunks of {capacity}");
        }
    }

    #[test]
    fn flows_of_both_families_are_parsed() {
        const CTA_TUPLE_REPLY: u16 = 2;
        let reply = tuple(CTA_TUPLE_REPLY, [10, 1, 0, 2].into(), [203, 0, 113, 7].into(), 6);
        let v6 = |host: u128| IpAddr::from((0x2001_0db8_u128 << 96 | host).to_be_bytes());
        let mut v6 = tuple(CTA_TUPLE_ORIG, v6(7), v6(1), 6);
        v6.extend(tcp_state_attribute(1));
        check(
            &[
                message(
                    CT_NEW,
                    &[original(6), reply, status_attribute(0x1be), tcp_state_attribute(3)],
                ),
                message(CT_NEW, &[v6]),
                message(CT_NEW, &[original(17)]),
                done(),
            ],
            "192.0.2.1:443 203.0.113.7:50000 ESTABLISHED, \
             [2001:db8::1]:443 [2001:db8::7]:50000 SYN_RECV, 2 and 1 others",
        );
    }

    #[test]
    fn udp_flows_have_states_of_their_status() {
        let udp = |status| message(CT_NEW, &[original(17), status_attribute(status)]);
        let tcp = message(CT_NEW, &[original(6), tcp_state_attribute(3)]);
        let messages = [
            tcp,
            udp(0x188),
            udp(0x188 | IPS_SEEN_REPLY),
            udp(0x188 | IPS_SEEN_REPLY | IPS_ASSURED),
            udp(0x188 | IPS_SEEN_REPLY | IPS_OFFLOAD),
            udp(0x188 | IPS_SEEN_REPLY | IPS_DYING),
            message(CT_NEW, &[original(132)]),
            done(),
        ];
        let endpoints = "192.0.2.1:443 203.0.113.7:50000";
        let udp = format!(
            "{endpoints} UNREPLIED, {endpoints} SEEN_REPLY, {endpoints} ASSURED, {endpoints} ASSURED"
        );
        check_protocol(Protocol::Udp, &messages, &format!("{udp}, 4 and 3 others"));
        let tcp = format!("{endpoints} ESTABLISHED");
        check_protocol(Protocol::All, &messages, &format!("{tcp}, {udp}, 5 and 2 others"));
        check_protocol(Protocol::Tcp, &messages, &format!("{tcp}, 1 and 6 others"));
    }

    #[test]
    fn offloaded_flows_are_established_and_dying_flows_are_skipped() {
        check(
            &[
                message(CT_NEW, &[original(6), status_attribute(0x18e | IPS_OFFLOAD)]),
                message(
                    CT_NEW,
                    &[original(6), status_attribute(0x18e | IPS_DYING), tcp_state_attribute(3)],
                ),
                message(CT_NEW, &[original(6)]),
                done(),
            ],
            "192.0.2.1:443 203.0.113.7:50000 ESTABLISHED, 192.0.2.1:443 203.0.113.7:50000 -, \
             2 and 1 others",
        );
    }

    #[test]
    fn flow_count_and_maximum_are_read_from_statistics() {
        let answer = |attributes: &[Vec<u8>]| count_and_max(&message(CT_GET_STATS, attributes));
        let max = attribute(2, &262_144u32.to_be_bytes());
        let count = attribute(1, &7u32.to_be_bytes());
        assert_eq!(answer(&[count.clone(), max.clone()]), (Some(7), Some(262_144)));
        assert_eq!(answer(&[count]), (Some(7), None));
        assert_eq!(answer(&[max]), (None, Some(262_144)));
        assert_eq!(answer(&[attribute(1, &[7])]), (None, None));
        assert_eq!(count_and_max(&[]), (None, None));
    }

    #[test]
    fn malformed_messages_are_rejected() {
        let text = |problem: &str| format!("cannot parse message 1 of the kernel dump: {problem}");
        check(&[message(CT_NEW + 1, &[])], &text("unexpected message type 257"));
        check(&[message(CT_NEW, &[])], &text("no protocol"));
        check(
            &[message(CT_NEW, &[original(6), tcp_state_attribute(10)])],
            &text("unknown TCP state 10"),
        );
        check(&[message(CT_NEW, &[vec![3, 0, 1, 0]])], &text("malformed attribute"));
        check(&[message(CT_NEW, &[vec![9, 0, 1, 0]])], &text("malformed attribute"));
        check(&[message(CT_NEW, &[vec![4, 0, 1]])], &text("malformed attribute"));
        let too_long = attribute(CTA_STATUS, &[0; 5]);
        check(&[message(CT_NEW, &[original(6), too_long])], &text("malformed attribute"));
        let protocol = nested(CTA_TUPLE_PROTO, &[attribute(CTA_PROTO_NUM, &[6])]);
        let without_addresses = nested(CTA_TUPLE_ORIG, &[protocol]);
        check(&[message(CT_NEW, &[without_addresses])], &text("no destination"));
        check(&[], "the kernel dump by ctnetlink is incomplete");
    }
}
