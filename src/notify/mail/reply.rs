//! What is told of a mail server's answers.

/// How much of an answer is told.
const LONGEST_TOLD: usize = 300;

/// The code, and the enhanced one where there is one: `535 5.7.8`.
pub(super) fn codes(text: &str) -> String {
    let mut words = text.split_whitespace();
    let code = words.next().unwrap_or_default();
    match words.next().filter(|word| is_enhanced_code(word)) {
        Some(enhanced) => format!("{code} {enhanced}"),
        None => code.to_owned(),
    }
}

/// `5.7.8`, as RFC 3463 has it.
fn is_enhanced_code(word: &str) -> bool {
    let parts: Vec<_> = word.split('.').collect();
    let is_number = |part: &&str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    parts.len() == 3 && parts[0].len() == 1 && parts.iter().all(is_number)
}

/// As much of an answer as is told.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(LONGEST_TOLD).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_an_answer_alone() {
        let check = |text, expected| assert_eq!(codes(text), expected);
        check("535 5.7.8 Error: AG1lAHNlY3JldA==", "535 5.7.8");
        check("500 AUTH PLAIN AG1lAHNlY3JldA==", "500");
        check("500 5.7.secret", "500");
        check("500 1.2345.6", "500");
        check("334", "334");
    }
}
