//! Passwords in a command line, which are overwritten where they are found.
use topip::{cli, sys::command_line};

/// No byte but a password's is overwritten, and wherever clap takes a password
/// all of it is.
pub fn check(bytes: &[u8]) {
    let places = command_line::fuzzing::passwords(bytes);
    let mut end = 0;
    for place in &places {
        assert!(end <= place.start && place.start <= place.end && place.end <= bytes.len());
        assert!(!bytes[place.clone()].contains(&0), "it is within a word");
        end = place.end;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text = text.strip_suffix('\0').unwrap_or(text);
    let words: Vec<_> = std::iter::once("check_topip").chain(text.split('\0')).collect();
    let line = words.join("\0") + "\0";
    let Ok(Some(password)) = cli::fuzzing::password(&words) else { return };
    let mut wiped = line.clone().into_bytes();
    for place in command_line::fuzzing::passwords(line.as_bytes()) {
        wiped[place].fill(b'x');
    }
    // One that stands elsewhere too, by chance, tells nothing.
    let length = password.len().max(1);
    let places = line.as_bytes().windows(length).enumerate();
    let mut places = places.filter(|(_, it)| *it == password.as_bytes()).map(|(at, _)| at);
    if let (Some(at), None) = (places.next(), places.next()) {
        let is_covered = wiped[at..at + length].iter().all(|&byte| byte == b'x');
        assert!(is_covered, "{password:?} is left in {words:?}");
    }
}
