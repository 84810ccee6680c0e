//! Where somebody has been at a known_hosts before, in a folder of everybody's.
use std::{fs, path::Path};

use crate::support::{
    run,
    sshd::{World, is_possible},
    stranger::{NOBODY, everybodys},
};

use super::untrusted_files::{PLANTS, plant};

/// What is accepted is written down in one's own file, and in no other.
#[test]
fn a_new_key_is_written_into_no_file_of_another() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/sh", "");
    let room = &world.room;
    let tmp = everybodys(room, "tmp");
    room.write("precious", "precious\n");
    let accept = |file: &str| {
        let server = format!("{}@{}", world.account.name, world.server.address());
        run(room.command(&["-H", &server, "-i", "id", "--host-key", "accept-new"]).args([
            "--known-hosts",
            file,
            "--no-default-excludes",
            "-t",
            "3",
        ]))
    };
    for (what, how) in PLANTS {
        if what == "a link to a file of the system" {
            continue;
        }
        plant(room, NOBODY, "known", how);
        let ran = accept("tmp/known");
        assert_eq!(ran.code, Some(3), "{what}: {}", ran.stdout);
        assert_eq!(fs::read_to_string(room.path("precious")).unwrap(), "precious\n", "{what}");
        assert!(!room.path("made").exists(), "{what}");
        let planted = tmp.join("known");
        let text = if planted.is_file() { fs::read(&planted).unwrap() } else { Vec::new() };
        assert!(!String::from_utf8_lossy(&text).contains("ssh-ed25519"), "{what}");
        remove(&planted);
    }
    // A link of one's own is followed: people keep such files elsewhere.
    std::os::unix::fs::symlink("elsewhere/known", room.path("link")).unwrap();
    let ran = accept("link");
    assert!(matches!(ran.code, Some(0..=2)), "{}", ran.stdout);
    let known = fs::read_to_string(room.path("elsewhere/known")).unwrap();
    assert_eq!(known.lines().count(), 1, "{known}");
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}
