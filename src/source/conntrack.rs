//! Flows that this host tracks, read over the kernel's ctnetlink. Connections that a
//! gateway forwards do not have a socket on the gateway.
//!
//! CAP_NET_ADMIN is needed. The kernel can filter by protocol and by a single
//! port, but only in a request for one address family and one protocol, so each is
//! requested separately. Skipping a flow takes a tenth of the time of dumping it, so the
//! second walk pays off if a tenth of all flows are of another protocol. TCP and UDP
//! together are nearly all flows: without a port, they are requested without a filter.
//! Kernels before 5.8 do not support the filter and send all flows.
use std::{io, net::IpAddr, ops::RangeInclusive};

use rustix::io::Errno;

use crate::{
    model::protocol::Protocol,
    parse::{
        capture::{ByteOrder, Capture, CaptureFormat, CaptureNote},
        conntrack::messages::{
            CT_GET, CT_GET_STATS, CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_TUPLE_ORIG,
            CTA_TUPLE_PROTO, count_and_max,
        },
        conntrack::{IPPROTO_TCP, IPPROTO_UDP},
        netlink::{AF_INET, AF_INET6, Interface},
    },
    sys::network_interface,
};

use super::{
    netlink::dump::{self, DumpSocket},
    source_error::SourceError,
};

pub(super) mod procfs;

const AF_UNSPEC: u8 = 0;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;

/// Hint for a host that does not track any flow.
pub(super) const NOTHING_TRACKED_HINT: &str = "No firewall rule of this host uses connection \
     tracking, or no packet has arrived: nft list ruleset. To count the connections of local \
     sockets, omit `--source` conntrack.";

/// Returns a hint for an error of ctnetlink or of `/proc/net/nf_conntrack`.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "Run the check as root, or grant CAP_NET_ADMIN, which is sufficient for ctnetlink; \
             see check_topip(1), GATEWAYS."
        }
        _ => {
            "Load the kernel module: modprobe nf_conntrack_netlink. The first firewall rule that \
             uses connection tracking enables it."
        }
    }
}

/// Opens a dump of the flows of these protocols to these ports; all ports if `ports` is
/// empty. The kernel does not filter by several ports; the dump may contain other flows.
pub(super) fn open(
    protocol: Protocol,
    ports: &[RangeInclusive<u16>],
) -> Result<Vec<Capture>, SourceError> {
    let stats = dump::query(Interface::Ctnetlink, CT_GET_STATS, &request_payload(AF_UNSPEC, &[]))?;
    let (count, max) = count_and_max(&stats);
    if count == Some(0) {
        return Err(SourceError::NothingTracked);
    }
    let addresses = local_addresses()?;
    let dumps = request_with_fallback(&filters(protocol, ports))?;
    let mut captures: Vec<_> =
        dumps.into_iter().map(|dump| capture(dump, addresses.clone())).collect();
    if let (Some(count), Some(max)) = (count, max) {
        // If the table is full, the kernel drops the packets of new flows.
        captures[0].notes.push(CaptureNote::FlowTableSize { count, max });
    }
    Ok(captures)
}

/// Requests a dump per filter and address family; or one dump without a filter if
/// `filters` is empty or the kernel does not support filters.
fn request_with_fallback(filters: &[Vec<u8>]) -> Result<Vec<DumpSocket>, SourceError> {
    if filters.is_empty() {
        return Ok(vec![request(AF_UNSPEC, &[])?]);
    }
    let requests =
        filters.iter().flat_map(|filter| [AF_INET, AF_INET6].map(|family| (family, filter)));
    match requests.map(|(family, filter)| request(family, filter)).collect() {
        Err(SourceError::Refused { source, .. }) if is_filter_rejected(&source) => {
            Ok(vec![request(AF_UNSPEC, &[])?])
        }
        dumps => dumps,
    }
}

fn request(family: u8, filter: &[u8]) -> Result<DumpSocket, SourceError> {
    dump::open(Interface::Ctnetlink, CT_GET, &request_payload(family, filter))
}

fn is_filter_rejected(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::INVAL | Errno::OPNOTSUPP))
}

fn capture(dump: DumpSocket, local_addresses: Vec<IpAddr>) -> Capture {
    Capture {
        local_addresses: Some(local_addresses),
        ..Capture::new(CaptureFormat::Ctnetlink, "netlink", Some(ByteOrder::NATIVE), Box::new(dump))
    }
}

/// Returns the addresses of this host's interfaces, sorted.
///
/// # Errors
///
/// Returns an error if the kernel does not list them.
pub fn local_addresses() -> Result<Vec<IpAddr>, SourceError> {
    network_interface::addresses().map_err(SourceError::LocalAddresses)
}

/// Returns a `struct nfgenmsg` followed by `attributes`.
fn request_payload(family: u8, attributes: &[u8]) -> Vec<u8> {
    [&[family, 0, 0, 0], attributes].concat()
}

/// Returns the filters whose flows together include those of these protocols and ports;
/// empty for all flows.
fn filters(protocol: Protocol, ports: &[RangeInclusive<u16>]) -> Vec<Vec<u8>> {
    let port = match ports {
        [range] if range.start() == range.end() => Some(*range.start()),
        _ => None,
    };
    let protocol_numbers = match protocol {
        Protocol::Tcp => vec![IPPROTO_TCP],
        Protocol::Udp => vec![IPPROTO_UDP],
        Protocol::All if port.is_none() => Vec::new(),
        Protocol::All => vec![IPPROTO_TCP, IPPROTO_UDP],
    };
    protocol_numbers.into_iter().map(|number| protocol_filter(number, port)).collect()
}

/// Returns attributes that select the flows of a protocol (`ctnetlink_parse_filter`) to a
/// destination port, or to all: a tuple of the original direction, and flags for the
/// parts of the tuple to compare.
fn protocol_filter(protocol_number: u8, port: Option<u16>) -> Vec<u8> {
    // `CTA_FILTER_F_CTA_PROTO_NUM` and `CTA_FILTER_F_CTA_PROTO_DST_PORT` of the kernel.
    const PROTO_NUM: u32 = 1 << 3;
    const PROTO_DST_PORT: u32 = 1 << 5;
    let mut protocol = attribute(CTA_PROTO_NUM, &[protocol_number]);
    let mut flags = PROTO_NUM;
    if let Some(port) = port {
        protocol.extend(attribute(CTA_PROTO_DST_PORT, &port.to_be_bytes()));
        flags |= PROTO_DST_PORT;
    }
    let tuple = nested_attribute(CTA_TUPLE_ORIG, &nested_attribute(CTA_TUPLE_PROTO, &protocol));
    let flags = attribute(CTA_FILTER_ORIG_FLAGS, &flags.to_ne_bytes());
    [tuple, nested_attribute(CTA_FILTER, &flags)].concat()
}

/// Returns a `struct nlattr` followed by `value`, padded to a multiple of four bytes.
fn attribute(attribute_type: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a filter is short");
    let mut attribute = [&length.to_ne_bytes()[..], &attribute_type.to_ne_bytes(), value].concat();
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// Returns an attribute whose value is a sequence of attributes.
fn nested_attribute(attribute_type: u16, value: &[u8]) -> Vec<u8> {
    const NLA_F_NESTED: u16 = 1 << 15;
    attribute(attribute_type | NLA_F_NESTED, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No netfilter subsystem has this number. The kernel gives the same answer if
    /// the connection tracking subsystem is not loaded.
    #[test]
    fn kernel_refuses_request_without_module() {
        const UNUSED_SUBSYSTEM: u16 = 200 << 8;
        match dump::query(Interface::Ctnetlink, UNUSED_SUBSYSTEM, &request_payload(AF_UNSPEC, &[]))
        {
            Err(SourceError::Refused { source, .. }) => {
                // Without CAP_NET_ADMIN, the kernel answers EPERM first.
                let errno = source.raw_os_error();
                assert!(matches!(errno, Some(1 | 22)), "{source}");
                let hint = hint(&source);
                assert_eq!(hint.contains("modprobe"), errno == Some(22), "{hint}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("the kernel answered for an unused subsystem"),
        }
    }

    #[test]
    fn rejected_filter_is_dropped() {
        // The flags refer to a tuple that is missing.
        let flags = attribute(CTA_FILTER_ORIG_FLAGS, &8u32.to_ne_bytes());
        match request_with_fallback(&[nested_attribute(CTA_FILTER, &flags)]) {
            Ok(dumps) => assert_eq!(dumps.len(), 1),
            Err(SourceError::Refused { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(1), "refused only without CAP_NET_ADMIN");
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn local_addresses_are_sorted_and_specified() {
        let addresses = local_addresses().expect("the kernel lists them");
        assert!(addresses.is_sorted());
        assert!(addresses.iter().all(|address| !address.is_unspecified()));
    }
}
