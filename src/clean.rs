//! Takes from a text what would give it a say in the structure of an answer.

/// `text` on one line, without control characters, and without the characters
/// that mean something to Nagios, a shell or a terminal. Blanks are one blank.
///
/// Nagios takes perfdata from a `|`, and strikes `` `~$&|'"<> `` from what it
/// puts into a notification (`illegal_macro_output_chars`). Backquotes, which
/// libraries put around names, are left out; the rest is seen to be missing.
#[must_use]
pub fn line(text: &str) -> String {
    let text: String = text.chars().filter(|&it| it != '`').map(character).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `text` on one line, without what means something to a terminal.
#[must_use]
pub fn shown(text: &str) -> String {
    let character = |it: char| match it {
        '\n' | '\r' | '\t' => ' ',
        it if it.is_ascii_graphic() || it == ' ' || it.is_alphanumeric() => it,
        _ => '?',
    };
    text.chars().map(character).collect()
}

fn character(character: char) -> char {
    match character {
        '\n' | '\r' | '\t' => ' ',
        '|' | '<' | '>' | '$' | '&' | '"' | '\'' => '?',
        // Direction marks and the like are neither.
        it if it.is_ascii_graphic() || it == ' ' || it.is_alphanumeric() => it,
        _ => '?',
    }
}

/// The beginning of `line`, at most `bytes` long.
#[must_use]
pub fn beginning(line: &str, bytes: usize) -> String {
    if line.len() <= bytes {
        return line.to_owned();
    }
    const MORE: &str = "...";
    format!("{}{MORE}", &line[..line.floor_char_boundary(bytes - MORE.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_has_no_say() {
        assert_eq!(line("a|b=1;2\n$(x) `y` <z> & \"q\" 'r'"), "a?b=1;2 ?(x) y ?z? ? ?q? ?r?");
        assert_eq!(line("\x1b[31mred\x07\u{202e}\0"), "?[31mred???");
        assert_eq!(line("Zürich 東京\n"), "Zürich 東京");
    }

    #[test]
    fn a_long_line_is_cut_between_letters() {
        assert_eq!(beginning("short", 10), "short");
        assert_eq!(beginning("ääääääää", 8), "ää...");
    }
}
