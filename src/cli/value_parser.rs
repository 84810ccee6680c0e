//! Values of options, as people write them.
use std::{ops::RangeInclusive, path::PathBuf};

use crate::{analysis::label::Label, source::Netns, storage::network_list};

pub(super) fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |digits: &str| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|&port: &u16| is_number && port > 0)
    };
    match (port(first.trim()), port(last.trim())) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("not a port or range of ports, such as 443 or 8000-8100".to_owned()),
    }
}

/// A network namespace. One that is called `all` has a path, too.
pub(super) fn netns(text: &str) -> Result<Netns, String> {
    const LONGEST_NAME: usize = 255;
    let form = || {
        "not a network namespace; write a name of ip netns, an absolute path, pid:N or all"
            .to_owned()
    };
    match text.trim() {
        "all" => Ok(Netns::All),
        text if text.starts_with('/') && !text.contains('\0') => {
            Ok(Netns::Path(PathBuf::from(text)))
        }
        text => match text.strip_prefix("pid:") {
            Some(pid) => {
                let pid = whole(pid).and_then(|pid| u32::try_from(pid).ok());
                pid.filter(|&pid| pid > 0).map(Netns::Process).ok_or_else(form)
            }
            None => {
                let is_name = !matches!(text, "" | "." | "..")
                    && text.len() <= LONGEST_NAME
                    && !text.contains(['/', '\0']);
                is_name.then(|| Netns::Name(text.to_owned())).ok_or_else(form)
            }
        },
    }
}

pub(super) fn prefix4(text: &str) -> Result<u8, String> {
    prefix(text, 32)
}

pub(super) fn prefix6(text: &str) -> Result<u8, String> {
    prefix(text, 128)
}

fn prefix(text: &str, most: u8) -> Result<u8, String> {
    whole(text)
        .and_then(|length| u8::try_from(length).ok())
        .filter(|length| (1..=most).contains(length))
        .ok_or_else(|| format!("not a number of bits, 1 to {most}"))
}

pub(super) fn members(text: &str) -> Result<u64, String> {
    whole(text)
        .filter(|&members| members > 0)
        .ok_or_else(|| "not a number of addresses, 1 or more".to_owned())
}

pub(super) fn label(text: &str) -> Result<Label, String> {
    network_list::label(text)
}

/// A whole number without a sign.
fn whole(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

pub(super) fn addresses(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a number of addresses, 0 or more".to_owned())
}

pub(super) fn times(text: &str) -> Result<f64, String> {
    decimal(text)
        .filter(|&times| times > 0.0)
        .ok_or_else(|| "not a number above 0, such as 5 or 2.5".to_owned())
}

pub(super) fn probability(text: &str) -> Result<f64, String> {
    decimal(text)
        .filter(|&probability| probability > 0.0 && probability < 1.0)
        .ok_or_else(|| "not a number above 0 and below 1, such as 0.01 or 0.001".to_owned())
}

pub(super) fn connections(text: &str) -> Result<f64, String> {
    decimal(text).ok_or_else(|| "not a number of connections, 0 or more".to_owned())
}

/// A decimal of at most 15 digits, without a sign: a float would take `inf`,
/// `nan` and `1e3` too.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

pub(super) fn samples(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|&samples| samples > 0)
        .ok_or_else(|| "not a number of samples, 1 or more".to_owned())
}
