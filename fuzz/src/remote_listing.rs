//! Output of a remote command: banners, markers and listings.
use topip::source::ssh_fuzz::{ListingResult, listing};

/// Checks that the packet size does not matter, that nothing is read that was not printed,
/// and that a listing without markers is read completely.
pub fn check(bytes: &[u8]) {
    let (&kind, text) = bytes.split_first().unwrap_or((&0, &[]));
    let command = (kind & 1 != 0).then_some("netstat -n");
    let stderr = (kind & 2 != 0).then_some("ss: command not found");
    let exit = if kind & 4 != 0 { Err("ended with exit status 127".to_owned()) } else { Ok(()) };
    let read = |packet_size| listing(text, packet_size, &exit, stderr, command);
    let reading = read(usize::MAX);
    for packet_size in [7, 1000] {
        assert_same_reading(&reading, &read(packet_size), text.len());
    }
    let Ok((_, byte_order, session_connection, listing, outcome)) = reading else { return };
    assert!(is_subsequence(&listing, text), "something was read that was not printed");
    if command.is_some() {
        assert!(byte_order.is_none() && session_connection.is_none());
        // A marker in the output of a custom command is an error.
        assert!(listing == text || outcome.is_err());
    }
}

/// Asserts that two readings are equal. A banner beyond the limit may be cut at a packet
/// boundary, a blank line there may be missing, and a truncated listing may fail before or
/// after the lines that were read by then.
fn assert_same_reading(
    left: &Result<ListingResult, String>,
    right: &Result<ListingResult, String>,
    length: usize,
) {
    let lines = |read: &Result<ListingResult, String>| {
        read.clone().map(|(command, byte_order, session_connection, listing, outcome)| {
            let lines = listing.split(|&byte| byte == b'\n');
            let lines = lines.filter(|line| !line.trim_ascii().is_empty() && outcome.is_ok());
            let lines: Vec<_> = lines.map(<[u8]>::to_vec).collect();
            (command, byte_order, session_connection, lines, outcome)
        })
    };
    if length <= 32 * 1024 {
        assert_eq!(lines(left), lines(right));
    }
}

/// Returns whether `part` is `text` with some bytes removed.
fn is_subsequence(part: &[u8], text: &[u8]) -> bool {
    let mut rest = text.iter();
    part.iter().all(|byte| rest.any(|it| it == byte))
}
