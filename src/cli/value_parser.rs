//! Parsers for option values.
use std::{ops::RangeInclusive, path::PathBuf};

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::{
    analysis::label::Label, model::peer_id::GroupBy, source::NetnsSelector, storage::network_list,
    sys::user,
};

/// Parses a port or a range of ports.
pub(super) fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first.trim()), port(last.trim())) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("not a port or range of ports, such as 443 or 8000-8100".to_owned()),
    }
}

fn port(digits: &str) -> Option<u16> {
    let port = whole_number(digits).and_then(|port| u16::try_from(port).ok());
    port.filter(|&port| port > 0)
}

/// Parses a network namespace. `all` and the prefixes are reserved; a namespace with such a
/// name can be given by its path.
pub(super) fn netns(text: &str) -> Result<NetnsSelector, String> {
    const MAX_NAME_BYTES: usize = 255;
    const USAGE: &str = "not a network namespace; write a name of ip netns, an absolute path, pid:N, user:NAME or all";
    match text.trim() {
        "all" => Ok(NetnsSelector::All),
        text if text.starts_with('/') && !text.contains('\0') => {
            Ok(NetnsSelector::Path(PathBuf::from(text)))
        }
        text => {
            if let Some(pid) = text.strip_prefix("pid:") {
                let pid = whole_number(pid).and_then(|pid| u32::try_from(pid).ok());
                return pid
                    .filter(|&pid| pid > 0)
                    .map(NetnsSelector::Process)
                    .ok_or_else(|| USAGE.to_owned());
            }
            if let Some(user) = text.strip_prefix("user:") {
                return user_id(user).map(NetnsSelector::User);
            }
            let is_name = !matches!(text, "" | "." | "..")
                && text.len() <= MAX_NAME_BYTES
                && !text.contains(['/', '\0']);
            if is_name { Ok(NetnsSelector::Name(text.to_owned())) } else { Err(USAGE.to_owned()) }
        }
    }
}

/// Parses a login name or a user ID.
fn user_id(text: &str) -> Result<u32, String> {
    if let Some(number) = whole_number(text) {
        return u32::try_from(number).map_err(|_| "not a user ID".to_owned());
    }
    if text.contains('\0') {
        return Err("not a login name".to_owned());
    }
    user::uid_of(text).ok_or_else(|| "this host has no such user".to_owned())
}

/// Parses a prefix length for IPv4.
pub(super) fn prefix4(text: &str) -> Result<u8, String> {
    prefix(text, 32)
}

/// Parses a prefix length for IPv6.
pub(super) fn prefix6(text: &str) -> Result<u8, String> {
    prefix(text, 128)
}

/// Parses a prefix length from 1 to `max`.
fn prefix(text: &str, max: u8) -> Result<u8, String> {
    whole_number(text)
        .and_then(|length| u8::try_from(length).ok())
        .filter(|length| (1..=max).contains(length))
        .ok_or_else(|| format!("not a number of bits, 1 to {max}"))
}

/// Parses a minimum number of addresses in a network.
pub(super) fn members(text: &str) -> Result<u64, String> {
    whole_number(text)
        .filter(|&members| members > 0)
        .ok_or_else(|| "not a number of addresses, 1 or more".to_owned())
}

/// Returns a parser for a property of operators.
pub(super) fn operator_property() -> impl TypedValueParser<Value = GroupBy> {
    PossibleValuesParser::new([GroupBy::Asn, GroupBy::Country].map(GroupBy::name))
        .map(|text| GroupBy::from_str(&text, false).expect("clap accepts only these names"))
}

/// Parses a network and its label.
pub(super) fn label(text: &str) -> Result<Label, String> {
    network_list::parse_label(text)
}

/// Parses a whole number without a sign.
fn whole_number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Parses a number of addresses, 0 included.
pub(super) fn addresses(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a number of addresses, 0 or more".to_owned())
}

/// Parses a multiplier above 0.
pub(super) fn multiplier(text: &str) -> Result<f64, String> {
    decimal(text)
        .filter(|&multiplier| multiplier > 0.0)
        .ok_or_else(|| "not a number above 0, such as 5 or 2.5".to_owned())
}

/// Parses a probability between 0 and 1, both excluded.
pub(super) fn probability(text: &str) -> Result<f64, String> {
    decimal(text)
        .filter(|&probability| probability > 0.0 && probability < 1.0)
        .ok_or_else(|| "not a number above 0 and below 1, such as 0.01 or 0.001".to_owned())
}

/// Parses a number of connections, which may have decimals.
pub(super) fn connections(text: &str) -> Result<f64, String> {
    decimal(text).ok_or_else(|| "not a number of connections, 0 or more".to_owned())
}

/// Parses a decimal number of at most 15 characters, without a sign. The parser of the
/// standard library would also accept `inf`, `nan` and `1e3`.
fn decimal(text: &str) -> Option<f64> {
    let is_decimal =
        text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_decimal { text.parse().ok() } else { None }
}

/// Parses a number of samples, 1 or more.
pub(super) fn samples(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|&samples| samples > 0)
        .ok_or_else(|| "not a number of samples, 1 or more".to_owned())
}
