//! The flows that this machine's connection tracking knows, by the kernel's
//! ctnetlink: what is on the way through a gateway has no socket on it.
//!
//! It takes CAP_NET_ADMIN. The kernel leaves out other protocols than TCP, and
//! other ports than one, but only where it is asked for one family: each is
//! asked for then. Its walk takes a tenth of the time of what it writes for a
//! flow, so that the second one is paid for where a tenth of all flows are none
//! of TCP. Kernels before 5.8 do not know that filter, and leave nothing out.
use std::{io, net::IpAddr, ops::RangeInclusive};

use nix::ifaddrs::getifaddrs;
use rustix::io::Errno;

use crate::parse::{
    capture::{ByteOrder, Capture, Format},
    conntrack::messages::{
        CT_GET, CT_GET_STATS, CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO,
        entries,
    },
    netlink::{AF_INET, AF_INET6, Interface},
};

use super::{
    dispatch::SourceError,
    netlink::dump::{self, Dump},
};

pub(super) mod procfs;

const AF_UNSPEC: u8 = 0;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const IPPROTO_TCP: u8 = 6;

/// What to do where nothing is tracked.
pub(super) const NO_RULE: &str = "No rule of this host uses connection tracking, or nothing has \
     come by: nft list ruleset. Connections to its own sockets are seen without --source conntrack.";

/// What to do about an error of ctnetlink, or of `/proc/net/nf_conntrack`.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "Flows are shown to root, or by ctnetlink to whoever has CAP_NET_ADMIN: grant that; \
             see check_topip(1), Flows of a gateway."
        }
        _ => {
            "Is connection tracking there? modprobe nf_conntrack_netlink; it is loaded with the \
             first rule that uses it."
        }
    }
}

/// Asks for a dump of the flows at those ports; none: all.
pub(super) fn open(ports: &[RangeInclusive<u16>]) -> Result<Vec<Capture>, SourceError> {
    let stats = dump::answer(Interface::Ctnetlink, CT_GET_STATS, &question(AF_UNSPEC, &[]))?;
    let entries = entries(&stats);
    if entries.0 == Some(0) {
        return Err(SourceError::NothingTracked);
    }
    let own = addresses()?;
    let dumps = ask_by_turns(&filter(ports))?;
    let mut captures: Vec<_> = dumps.into_iter().map(|dump| capture(dump, own.clone())).collect();
    if let (Some(n), Some(most)) = entries {
        // A table that is full takes in no new ones, and their packets are dropped.
        captures[0].how.push(format!("The kernel tracks {n} flows; it has room for {most}."));
    }
    Ok(captures)
}

/// Asks without the filter, and once, where the kernel does not like it.
fn ask_by_turns(filter: &[u8]) -> Result<Vec<Dump>, SourceError> {
    let ask = |family, filter| dump::open(Interface::Ctnetlink, CT_GET, &question(family, filter));
    let refused = |error: &io::Error| {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::INVAL | Errno::OPNOTSUPP))
    };
    match [AF_INET, AF_INET6].into_iter().map(|family| ask(family, filter)).collect() {
        Err(SourceError::Refused { source, .. }) if refused(&source) => {
            Ok(vec![ask(AF_UNSPEC, &[])?])
        }
        dumps => dumps,
    }
}

fn capture(dump: Dump, own: Vec<IpAddr>) -> Capture {
    Capture {
        format: Format::Ctnetlink,
        origin: "netlink".to_owned(),
        byte_order: Some(ByteOrder::NATIVE),
        own: None,
        addresses: Some(own),
        how: Vec::new(),
        bytes: Box::new(dump),
    }
}

/// The addresses of this machine's interfaces, in order.
fn addresses() -> Result<Vec<IpAddr>, SourceError> {
    let interfaces = getifaddrs().map_err(|errno| SourceError::Addresses(errno.into()))?;
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::from(it.ip())))
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// `struct nfgenmsg` and attributes.
fn question(family: u8, attributes: &[u8]) -> Vec<u8> {
    [&[family, 0, 0, 0], attributes].concat()
}

/// A tuple of the original direction, and which parts of it are meant
/// (`ctnetlink_parse_filter`): the protocol, and the destination's port where
/// one is wanted.
fn filter(ports: &[RangeInclusive<u16>]) -> Vec<u8> {
    // In the kernel's own list of what a filter may be about.
    const PROTO_NUM: u32 = 1 << 3;
    const PROTO_DST_PORT: u32 = 1 << 5;
    let mut protocol = attribute(CTA_PROTO_NUM, &[IPPROTO_TCP]);
    let mut parts = PROTO_NUM;
    if let [range] = ports
        && range.start() == range.end()
    {
        protocol.extend(attribute(CTA_PROTO_DST_PORT, &range.start().to_be_bytes()));
        parts |= PROTO_DST_PORT;
    }
    let tuple = nested(CTA_TUPLE_ORIG, &nested(CTA_TUPLE_PROTO, &protocol));
    let parts = attribute(CTA_FILTER_ORIG_FLAGS, &parts.to_ne_bytes());
    [tuple, nested(CTA_FILTER, &parts)].concat()
}

/// `struct nlattr` and what it is the header of.
fn attribute(attribute_type: u16, holds: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + holds.len()).expect("a filter is short");
    let mut attribute = [&length.to_ne_bytes()[..], &attribute_type.to_ne_bytes(), holds].concat();
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn nested(attribute_type: u16, holds: &[u8]) -> Vec<u8> {
    const NLA_F_NESTED: u16 = 1 << 15;
    attribute(attribute_type | NLA_F_NESTED, holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No subsystem of netfilter has this number. The kernel answers the same
    /// where that of connection tracking is not loaded.
    #[test]
    fn a_missing_module_is_refused_by_the_real_kernel() {
        const NOBODYS: u16 = 200 << 8;
        match dump::answer(Interface::Ctnetlink, NOBODYS, &question(AF_UNSPEC, &[])) {
            Err(SourceError::Refused { source, .. }) => {
                // Who may not ask at all is told that first.
                let number = source.raw_os_error();
                assert!(matches!(number, Some(1 | 22)), "{source}");
                let advice = advice(&source);
                assert_eq!(advice.contains("modprobe"), number == Some(22), "{advice}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("an answer of what is not there"),
        }
    }

    #[test]
    fn a_filter_that_the_real_kernel_does_not_like_is_left_out() {
        // It says what is meant of a tuple, and there is none.
        let parts = attribute(CTA_FILTER_ORIG_FLAGS, &8u32.to_ne_bytes());
        match ask_by_turns(&nested(CTA_FILTER, &parts)) {
            Ok(dumps) => assert_eq!(dumps.len(), 1),
            Err(SourceError::Refused { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(1), "only who may not ask is refused");
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn this_host_knows_its_addresses() {
        let addresses = addresses().expect("the kernel tells");
        assert!(addresses.is_sorted());
        assert!(addresses.iter().all(|address| !address.is_unspecified()));
    }
}
