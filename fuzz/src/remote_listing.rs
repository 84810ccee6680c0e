//! What a command prints on a server: banners, marks and listings.
use topip::source::fuzzing::{Read, listing};

/// How the output is cut into packets has no say in what is read of it, nothing
/// is read that was not printed, and a listing without marks is all of it.
pub fn check(bytes: &[u8]) {
    let (&kind, text) = bytes.split_first().unwrap_or((&0, &[]));
    let command = (kind & 1 != 0).then_some("netstat -n");
    let complaint = (kind & 2 != 0).then_some("ss: command not found");
    let end = if kind & 4 != 0 { Err("it ended with 127".to_owned()) } else { Ok(()) };
    let read = |at_once| listing(text, at_once, &end, complaint, command);
    let whole = read(usize::MAX);
    for at_once in [7, 1000] {
        same(&whole, &read(at_once), text.len());
    }
    let Ok((_, byte_order, own, listing, outcome)) = whole else { return };
    assert!(is_within(&listing, text), "something was read that was not printed");
    if command.is_some() {
        assert!(byte_order.is_none() && own.is_none());
        // A mark of the script is a mistake, and says so.
        assert!(listing == text || outcome.is_err());
    }
}

/// Whether two readings came to the same. A banner longer than is waited for may
/// be cut where a packet ends, a blank line at that place may be left out, and
/// what breaks off may do so before or behind what was read by then.
fn same(one: &Result<Read, String>, other: &Result<Read, String>, length: usize) {
    let lines = |read: &Result<Read, String>| {
        read.clone().map(|(command, byte_order, own, listing, outcome)| {
            let lines = listing.split(|&byte| byte == b'\n');
            let lines = lines.filter(|line| !line.trim_ascii().is_empty() && outcome.is_ok());
            let lines: Vec<_> = lines.map(<[u8]>::to_vec).collect();
            (command, byte_order, own, lines, outcome)
        })
    };
    if length <= 32 * 1024 {
        assert_eq!(lines(one), lines(other));
    }
}

/// Whether `part` is what is left of `text` where some of it is left out.
fn is_within(part: &[u8], text: &[u8]) -> bool {
    let mut rest = text.iter();
    part.iter().all(|byte| rest.any(|it| it == byte))
}
