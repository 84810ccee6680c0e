//! Percent-encoding of URLs (RFC 3986, section 2.1).

/// Replaces each `%` and its two hexadecimal digits with the byte that they encode.
///
/// # Errors
///
/// Returns an error if digits are missing, or if the result is not UTF-8 or contains control
/// characters: these separate the commands and the login fields of a mail server.
pub(super) fn decode(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(USAGE)?;
        bytes.push(hexadecimal(digits).ok_or(USAGE)?);
        bytes.extend(rest.as_bytes());
    }
    let text = String::from_utf8(bytes).map_err(|_| "its percent escapes are not UTF-8")?;
    if text.chars().any(char::is_control) {
        return Err("it contains a control character".to_owned());
    }
    Ok(text)
}

const USAGE: &str = "two hexadecimal digits are missing after a %; write %25 for the % itself";

fn hexadecimal(digits: &str) -> Option<u8> {
    // The parser of the standard library also accepts a sign.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_escapes_are_decoded() {
        for (text, expected) in [
            ("", ""),
            ("me", "me"),
            ("me%40example.com", "me@example.com"),
            ("%4d%4D%25%2f", "MM%/"),
            ("%C3%B6ps", "öps"),
            ("100%2525", "100%25"),
        ] {
            assert_eq!(decode(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn malformed_escapes_are_rejected() {
        for text in ["%", "%4", "a%zz", "%+4", "%4ö", "%ö", "%%40"] {
            assert_eq!(decode(text), Err(USAGE.to_owned()), "{text}");
        }
        assert_eq!(decode("%ff").unwrap_err(), "its percent escapes are not UTF-8");
        for text in ["a%00b", "a%0d%0aQUIT", "\t", "%C2%85"] {
            assert_eq!(decode(text).unwrap_err(), "it contains a control character", "{text}");
        }
    }
}
