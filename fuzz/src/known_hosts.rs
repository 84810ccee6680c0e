//! known_hosts files.
use topip::source::ssh_fuzz;

use super::room;

/// A key of `web1`.
const GOOD_LINE: &str =
    "\nweb1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGqYfLp4M5mVj7VJTMv4aYdxIqFJb1VtU5b0uC3kqkHc\n";

/// Checks that no line affects another: a key after arbitrary text is found as well as
/// alone, and each algorithm is requested once.
pub fn check(bytes: &[u8]) {
    let (keys, preference) = ssh_fuzz::known_hosts(room::write("known_hosts", bytes));
    assert_requests_all_algorithms(&preference);
    let with_good = room::write("known_hosts", &[bytes, GOOD_LINE.as_bytes()].concat());
    let (keys_with_good, preference) = ssh_fuzz::known_hosts(with_good);
    assert_requests_all_algorithms(&preference);
    let n_keys = |keys: &str| keys.matches("KnownHostEntry {").count();
    assert_eq!(n_keys(&keys_with_good), n_keys(&keys) + 1, "{keys}");
    let prefix = keys.strip_suffix("] }").expect("the debug text ends with the list");
    assert!(keys_with_good.starts_with(prefix), "{keys}, {keys_with_good}");
    assert!(preference.contains("ssh-ed25519"), "{preference}");
}

fn assert_requests_all_algorithms(preference: &str) {
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
