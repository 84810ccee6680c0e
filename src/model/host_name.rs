//! Host names.

/// Maximum length of a host name in bytes (RFC 1035, section 2.3.4).
const MAX_HOST_NAME_BYTES: usize = 253;
/// Maximum length of a label of a host name in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// Returns whether `text` can be a host name (RFC 1123, section 2.1). An underscore is
/// allowed too: names such as `_gateway` are in use.
///
/// The last label must not be a decimal or hexadecimal number such as 0x7f: a resolver would
/// read it as part of an address. Therefore 192.0.2.300 is not a host name.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let last_label = name.rsplit('.').next().unwrap_or(name);
    text.len() <= MAX_HOST_NAME_BYTES
        && !name.starts_with('-')
        && name.split('.').all(is_label)
        && !last_label.bytes().all(|byte| byte.is_ascii_digit())
        && !last_label.to_ascii_lowercase().starts_with("0x")
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_recognized() {
        for name in ["localhost", "mail.example.com", "a_b-1.example.com.", "1.example.com"] {
            assert!(is_host_name(name), "{name}");
        }
        let long_name = "a.".repeat(127);
        let long_label = "a".repeat(64);
        for name in [
            "",
            ".",
            "a..b",
            "203.0.113.7",
            "192.0.2.300",
            "198.51.100.0x5",
            "0xcb007107",
            "3405803783",
            "-a.example.com",
            "=cmd.example.com",
            "<b>.example.com",
            "a b.example.com",
            "a,b.example.com",
            "\u{202e}.example.com",
            &long_name,
            &long_label,
        ] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}
