//! Passwords on a command line, which are overwritten in memory.
use topip::{cli, sys::command_line};

/// Checks that only bytes of passwords are overwritten, and that every password that clap
/// accepts is overwritten completely.
pub fn check(bytes: &[u8]) {
    let ranges = command_line::fuzzing::password_ranges(bytes);
    let mut end = 0;
    for range in &ranges {
        assert!(end <= range.start && range.start <= range.end && range.end <= bytes.len());
        assert!(!bytes[range.clone()].contains(&0), "the range is within an argument");
        end = range.end;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text = text.strip_suffix('\0').unwrap_or(text);
    let args: Vec<_> = std::iter::once("check_topip").chain(text.split('\0')).collect();
    let command_line_bytes = args.join("\0") + "\0";
    let Ok(Some(password)) = cli::cli_fuzz::password(&args) else { return };
    let mut wiped = command_line_bytes.clone().into_bytes();
    for range in command_line::fuzzing::password_ranges(command_line_bytes.as_bytes()) {
        wiped[range].fill(b'x');
    }
    // Skip passwords that also occur elsewhere on the command line by chance.
    let length = password.len().max(1);
    let matches = command_line_bytes.as_bytes().windows(length).enumerate();
    let mut matches = matches.filter(|(_, it)| *it == password.as_bytes()).map(|(at, _)| at);
    if let (Some(at), None) = (matches.next(), matches.next()) {
        let is_wiped = wiped[at..at + length].iter().all(|&byte| byte == b'x');
        assert!(is_wiped, "{password:?} is left in {args:?}");
    }
}
