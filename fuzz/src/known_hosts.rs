//! Files of host keys, as administrators and tools have left them.
use topip::source::fuzzing;

use super::room;

/// A key of `web1`, and the same that belongs to somebody else.
const GOOD: &str =
    "\nweb1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGqYfLp4M5mVj7VJTMv4aYdxIqFJb1VtU5b0uC3kqkHc\n";

/// No line has a say in another: a key behind whatever stands in a file is found
/// as well as alone, and each algorithm is asked for once.
pub fn check(bytes: &[u8]) {
    let (keys, preference) = fuzzing::known_hosts(room::file("known_hosts", bytes));
    asks_for_all(&preference);
    let with_good = room::file("known_hosts", &[bytes, GOOD.as_bytes()].concat());
    let (more, preference) = fuzzing::known_hosts(with_good);
    asks_for_all(&preference);
    let n = |keys: &str| keys.matches("KnownKey {").count();
    assert_eq!(n(&more), n(&keys) + 1, "{keys}");
    let beginning = keys.strip_suffix("] }").expect("a list ends so");
    assert!(more.starts_with(beginning), "{keys}, {more}");
    assert!(preference.contains("ssh-ed25519"), "{preference}");
}

fn asks_for_all(preference: &str) {
    let mut algorithms: Vec<_> = preference.split(',').collect();
    algorithms.sort_unstable();
    let all = [
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-256",
        "rsa-sha2-512",
        "ssh-ed25519",
    ];
    assert_eq!(algorithms, all);
}
