//! Entries that another user planted in place of known_hosts, in a world-writable
//! directory.
use std::{fs, path::Path};

use crate::support::{
    run,
    sshd::{SshFixture, is_possible},
    stranger::{NOBODY, create_sticky_directory},
};

use super::untrusted_files::{PLANTED_ENTRIES, plant_entry};

/// An accepted key is written only into the user's own file.
#[test]
fn accept_new_does_not_write_untrusted_files() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "");
    let dir = &fixture.dir;
    let tmp = create_sticky_directory(dir, "tmp");
    dir.write("precious", "precious\n");
    let accept = |file: &str| {
        let server = format!("{}@{}", fixture.account.name, fixture.server.address());
        run(dir.command(&["-H", &server, "-i", "id", "--host-key", "accept-new"]).args([
            "--known-hosts",
            file,
            "--no-default-excludes",
            "-t",
            "3",
        ]))
    };
    for (description, command) in PLANTED_ENTRIES {
        if description == "a link to a file of the system" {
            continue;
        }
        plant_entry(dir, NOBODY, "known", command);
        let result = accept("tmp/known");
        assert_eq!(result.code, Some(3), "{description}: {}", result.stdout);
        assert_eq!(
            fs::read_to_string(dir.path("precious")).unwrap(),
            "precious\n",
            "{description}"
        );
        assert!(!dir.path("made").exists(), "{description}");
        let planted = tmp.join("known");
        let text = if planted.is_file() { fs::read(&planted).unwrap() } else { Vec::new() };
        assert!(!String::from_utf8_lossy(&text).contains("ssh-ed25519"), "{description}");
        remove(&planted);
    }
    // A symlink of the user is followed: some keep such files elsewhere.
    std::os::unix::fs::symlink("elsewhere/known", dir.path("link")).unwrap();
    let result = accept("link");
    assert!(matches!(result.code, Some(0..=2)), "{}", result.stdout);
    let known_hosts = fs::read_to_string(dir.path("elsewhere/known")).unwrap();
    assert_eq!(known_hosts.lines().count(), 1, "{known_hosts}");
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}
