//! Excerpts of SMTP replies for messages.

/// Maximum number of characters of a reply that are quoted.
const MAX_QUOTED_CHARS: usize = 300;

/// Returns the reply code and the enhanced status code, if any: `535 5.7.8`.
pub(super) fn reply_codes(text: &str) -> String {
    let mut words = text.split_whitespace();
    let code = words.next().unwrap_or_default();
    match words.next().filter(|word| is_enhanced_code(word)) {
        Some(enhanced) => format!("{code} {enhanced}"),
        None => code.to_owned(),
    }
}

/// Returns whether `word` is an enhanced status code (RFC 3463) such as `5.7.8`.
fn is_enhanced_code(word: &str) -> bool {
    let parts: Vec<_> = word.split('.').collect();
    parts.len() == 3 && parts[0].len() == 1 && parts.into_iter().all(is_short_number)
}

fn is_short_number(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the beginning of a reply.
pub(super) fn reply_excerpt(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_reply_omit_its_text() {
        let check = |text, expected| assert_eq!(reply_codes(text), expected);
        check("535 5.7.8 Error: AG1lAHNlY3JldA==", "535 5.7.8");
        check("500 AUTH PLAIN AG1lAHNlY3JldA==", "500");
        check("500 5.7.secret", "500");
        check("500 1.2345.6", "500");
        check("334", "334");
    }
}
