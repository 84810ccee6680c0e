//! Option values.
use topip::{
    analysis::label::Label,
    model::{connection::TcpState, network::Network, range::Range, verdict::Status},
    notify::mail::MailAddress,
    storage::{
        network_list::{self, ExcludeEntry},
        settings_file,
    },
};

use super::room;

/// Checks that accepted values are within bounds and parse back to the same value after
/// formatting.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().take(20) {
        check_range(line);
        check_network(line);
        check_words(line);
        #[cfg(fuzzing)]
        check_options(line);
    }
    check_files(bytes);
}

fn check_range(text: &str) {
    let Ok(range) = text.parse::<Range>() else { return };
    let formatted = range.to_string();
    assert_eq!(formatted.parse(), Ok(range), "{formatted:?} of {text:?}");
    for value in [-1.0, 0.0, 0.5, 7.0, 1e18] {
        let reparsed: Range = formatted.parse().expect("the text was parsed above");
        assert_eq!(range.violation(value), reparsed.violation(value), "{text:?}");
    }
    assert!(formatted.len() <= 40, "{formatted:?}");
}

fn check_network(text: &str) {
    let Ok(network) = text.parse::<Network>() else { return };
    assert_eq!(network.to_string().parse(), Ok(network), "{text:?}");
    assert!(network.contains(network.first_address()) && network.contains(network.last_address()));
    assert!(network.first_address() <= network.last_address());
    assert_eq!(Network::new(network.first_address(), network.prefix_length()), network);
}

fn check_words(text: &str) {
    if let Ok(tcp_state) = text.parse::<TcpState>() {
        assert_eq!(tcp_state.name().parse(), Ok(tcp_state));
    }
    if let Ok(status) = text.parse::<Status>() {
        assert_eq!(status.exit_code().to_string().parse(), Ok(status));
    }
    if let Ok(address) = text.parse::<MailAddress>() {
        let formatted = address.to_string();
        assert_eq!(formatted, text);
        assert!(formatted.bytes().all(|it| it.is_ascii_graphic() && !b"<>,;\"\\".contains(&it)));
        assert!(!formatted.starts_with('-') && formatted.contains('@'));
    }
    if let Ok(Label { name, .. }) = network_list::parse_label(text) {
        assert_label_is_safe(&name);
    }
}

fn assert_label_is_safe(name: &str) {
    assert!((1..=40).contains(&name.len()), "{name:?}");
    let is_forbidden = |it: char| it.is_control() || "|<>$&\"'`(),".contains(it);
    assert!(!name.contains(is_forbidden), "{name:?}");
}

#[cfg(fuzzing)]
fn check_options(text: &str) {
    use std::time::Duration;

    let values = topip::cli::cli_fuzz::values(text);
    let century = Duration::from_secs(100 * 366 * 24 * 60 * 60);
    assert!(values.duration.is_none_or(|it| it <= century));
    assert!(values.timeout.is_none_or(|it| (Duration::from_secs(1)..=century).contains(&it)));
    assert!(values.ports.is_none_or(|it| *it.start() > 0 && it.start() <= it.end()));
    assert!(values.prefix4.is_none_or(|it| (1..=32).contains(&it)));
    assert!(values.prefix6.is_none_or(|it| (1..=128).contains(&it)));
    assert!(values.members.is_none_or(|it| it > 0));
    assert!(values.multiplier.is_none_or(|it| it.is_finite() && it > 0.0));
    assert!(values.probability.is_none_or(|it| it > 0.0 && it < 1.0));
    assert!(values.connections.is_none_or(|it| it.is_finite() && it >= 0.0));
    assert!(values.samples.is_none_or(|it| it > 0));
    if let Some((_, host, port)) = values.server {
        let is_plain = |it: char| it.is_alphanumeric() || "-._:%".contains(it);
        assert!(!host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain));
        assert_ne!(port, Some(0));
    }
    for address in values.alert.iter().flat_map(|(from, to)| std::iter::once(from).chain(to)) {
        assert!(address.parse::<MailAddress>().is_ok(), "{address:?}");
    }
    assert!(values.alert.is_none_or(|(_, to)| !to.is_empty()));
}

/// Checks that a network list and a settings file are read completely or rejected with an
/// error.
fn check_files(bytes: &[u8]) {
    let path = room::write("networks", bytes);
    match network_list::read_excludes(&path) {
        Ok(excludes) => {
            assert!(excludes.len() <= bytes.split(|&byte| byte == b'\n').count());
            for exclude in excludes {
                if let ExcludeEntry::Host(host) = exclude {
                    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"-._".contains(&it);
                    assert!(host.bytes().all(is_plain) && host.len() <= 253, "{host:?}");
                    assert!(!host.starts_with('-'), "{host:?}");
                }
            }
        }
        Err(error) => assert!(error.to_string().len() < 1000, "{error}"),
    }
    if let Ok(labels) = network_list::read_labels(&path) {
        labels.iter().for_each(|label| assert_label_is_safe(&label.name));
    }
    match settings_file::read(&[path], "web") {
        Ok(section) => {
            for setting in section.settings {
                let is_text = |text: &str| !text.contains(|it: char| it.is_control() && it != '\t');
                assert!(is_text(&setting.key) && is_text(setting.value.reveal()));
                assert!(!setting.key.is_empty() && setting.key.trim() == setting.key);
                assert!(setting.line <= bytes.split(|&byte| byte == b'\n').count());
            }
        }
        Err(error) => assert!(error.to_string().len() < 1000, "{error}"),
    }
}
