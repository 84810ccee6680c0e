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
        it => letter(it),
    };
    text.chars().map(character).collect()
}

fn character(character: char) -> char {
    match character {
        '\n' | '\r' | '\t' => ' ',
        '|' | '<' | '>' | '$' | '&' | '"' | '\'' => '?',
        it => letter(it),
    }
}

/// What shows by itself, as what it is. Direction marks and the like are no
/// letters; the fillers of Hangul are, and show nothing.
fn letter(it: char) -> char {
    if it.is_ascii_graphic() || it == ' ' || is_letter(it) { it } else { '?' }
}

/// Whether it is a letter or a digit, of any script, that shows.
#[must_use]
pub fn is_letter(it: char) -> bool {
    let is_filler = matches!(it, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    it.is_alphanumeric() && !is_filler
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
        assert_eq!(line("\u{3164}a\u{115f}\u{200b}\u{feff}\u{9b}"), "?a????");
        assert_eq!(shown("\u{3164}\u{85}a|b"), "??a|b");
    }

    #[test]
    fn a_long_line_is_cut_between_letters() {
        assert_eq!(beginning("short", 10), "short");
        assert_eq!(beginning("ääääääää", 8), "ää...");
    }
}
