//! Values of options, as people write them.
use topip::{
    analysis::label::Label,
    model::{connection::TcpState, network::Network, range::Range, verdict::Status},
    notify::mail::Address,
    storage::network_list::{self, Exclude},
};

use super::room;

/// What is taken is in its bounds, and means the same when it is written again.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().take(20) {
        range(line);
        network(line);
        words(line);
        #[cfg(fuzzing)]
        options(line);
    }
    files(bytes);
}

fn range(text: &str) {
    let Ok(range) = text.parse::<Range>() else { return };
    let written = range.to_string();
    assert_eq!(written.parse(), Ok(range), "{written:?} of {text:?}");
    for value in [-1.0, 0.0, 0.5, 7.0, 1e18] {
        let again: Range = written.parse().expect("it was read above");
        assert_eq!(range.alert(value), again.alert(value), "{text:?}");
    }
    assert!(written.len() <= 40, "{written:?}");
}

fn network(text: &str) {
    let Ok(network) = text.parse::<Network>() else { return };
    assert_eq!(network.to_string().parse(), Ok(network), "{text:?}");
    assert!(network.contains(network.first_address()) && network.contains(network.last_address()));
    assert!(network.first_address() <= network.last_address());
    assert_eq!(Network::of(network.first_address(), network.length()), network);
}

fn words(text: &str) {
    if let Ok(tcp_state) = text.parse::<TcpState>() {
        assert_eq!(tcp_state.name().parse(), Ok(tcp_state));
    }
    if let Ok(status) = text.parse::<Status>() {
        assert_eq!(status.exit_code().to_string().parse(), Ok(status));
    }
    if let Ok(address) = text.parse::<Address>() {
        let written = address.to_string();
        assert_eq!(written, text);
        assert!(written.bytes().all(|it| it.is_ascii_graphic() && !b"<>,;\"\\".contains(&it)));
        assert!(!written.starts_with('-') && written.contains('@'));
    }
    if let Ok(Label { name, .. }) = network_list::label(text) {
        is_name(&name);
    }
}

fn is_name(name: &str) {
    assert!((1..=40).contains(&name.len()), "{name:?}");
    let is_bad = |it: char| it.is_control() || "|<>$&\"'`(),".contains(it);
    assert!(!name.contains(is_bad), "{name:?}");
}

#[cfg(fuzzing)]
fn options(text: &str) {
    use std::time::Duration;

    let values = topip::cli::cli_fuzz::values(text);
    let century = Duration::from_secs(100 * 366 * 24 * 60 * 60);
    assert!(values.duration.is_none_or(|it| it <= century));
    assert!(values.timeout.is_none_or(|it| (Duration::from_secs(1)..=century).contains(&it)));
    assert!(values.ports.is_none_or(|it| *it.start() > 0 && it.start() <= it.end()));
    assert!(values.prefix4.is_none_or(|it| (1..=32).contains(&it)));
    assert!(values.prefix6.is_none_or(|it| (1..=128).contains(&it)));
    assert!(values.members.is_none_or(|it| it > 0));
    assert!(values.times.is_none_or(|it| it.is_finite() && it > 0.0));
    assert!(values.probability.is_none_or(|it| it > 0.0 && it < 1.0));
    assert!(values.connections.is_none_or(|it| it.is_finite() && it >= 0.0));
    assert!(values.samples.is_none_or(|it| it > 0));
    if let Some((_, host, port)) = values.server {
        let is_plain = |it: char| it.is_alphanumeric() || "-._:%".contains(it);
        assert!(!host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain));
        assert_ne!(port, Some(0));
    }
    for address in values.alert.iter().flat_map(|(from, to)| std::iter::once(from).chain(to)) {
        assert!(address.parse::<Address>().is_ok(), "{address:?}");
    }
    assert!(values.alert.is_none_or(|(_, to)| !to.is_empty()));
}

/// Files of networks: all of their lines, or an error that names the first one
/// that is wrong.
fn files(bytes: &[u8]) {
    let path = room::file("networks", bytes);
    match network_list::excludes(&path) {
        Ok(excludes) => {
            assert!(excludes.len() <= bytes.split(|&byte| byte == b'\n').count());
            for exclude in excludes {
                if let Exclude::Host(host) = exclude {
                    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"-._".contains(&it);
                    assert!(host.bytes().all(is_plain) && host.len() <= 253, "{host:?}");
                    assert!(!host.starts_with('-'), "{host:?}");
                }
            }
        }
        Err(error) => assert!(error.to_string().len() < 1000, "{error}"),
    }
    if let Ok(labels) = network_list::labels(&path) {
        labels.iter().for_each(|label| is_name(&label.name));
    }
}
