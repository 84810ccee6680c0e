//! Removes characters from untrusted text that could change the structure of the
//! output.

/// Returns `text` on one line, without control characters and without characters
/// that are special to Nagios, a shell or a terminal. Runs of whitespace become one
/// space.
///
/// Nagios starts the perfdata at a `|`, and removes `` `~$&|'"<> `` from macros in
/// notifications (`illegal_macro_output_chars`). Backquotes, which libraries put
/// around names, are removed. `~` is kept. The other characters become `?`, so that a reader
/// notices the missing character.
#[must_use]
pub fn single_line(text: &str) -> String {
    let text: String = text.chars().filter(|&it| it != '`').map(single_line_char).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns `text` on one line, without characters that are special to a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

fn single_line_char(character: char) -> char {
    match character {
        '|' | '<' | '>' | '$' | '&' | '"' | '\'' => '?',
        _ => printable_char(character),
    }
}

/// Returns visible ASCII characters and visible letters and digits of any script
/// unchanged, a space for a line break or tab, and `?` for any other character.
fn printable_char(character: char) -> char {
    match character {
        '\n' | '\r' | '\t' | ' ' => ' ',
        _ if character.is_ascii_graphic() || is_visible_alphanumeric(character) => character,
        _ => '?',
    }
}

/// Returns whether `character` is a visible letter or digit of any script. Unicode
/// counts the Hangul fillers as letters, but they are invisible.
#[must_use]
pub fn is_visible_alphanumeric(character: char) -> bool {
    let is_filler = matches!(character, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    character.is_alphanumeric() && !is_filler
}

/// Returns `line` shortened to at most `max_bytes` bytes; a shortened line ends in
/// `...`.
#[must_use]
pub fn truncate(line: &str, max_bytes: usize) -> String {
    if line.len() <= max_bytes {
        return line.to_owned();
    }
    const ELLIPSIS: &str = "...";
    let mut end = max_bytes - ELLIPSIS.len();
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_and_invisible_characters_are_replaced() {
        assert_eq!(
            single_line("a|b=1;2\n$(x) `y` <z> & \"q\" 'r'"),
            "a?b=1;2 ?(x) y ?z? ? ?q? ?r?"
        );
        assert_eq!(single_line("\x1b[31mred\x07\u{202e}\0"), "?[31mred???");
        assert_eq!(single_line("Zürich 東京\n"), "Zürich 東京");
        assert_eq!(single_line("\u{3164}a\u{115f}\u{200b}\u{feff}\u{9b}"), "?a????");
        assert_eq!(printable("\u{3164}\u{85}a|b"), "??a|b");
    }

    #[test]
    fn long_lines_are_truncated_at_character_boundaries() {
        assert_eq!(truncate("short", 10), "short");
        assert_eq!(truncate("ääääääää", 8), "ää...");
    }
}
