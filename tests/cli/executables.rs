//! What reaches beyond this machine is in an executable of its own, which the
//! programs become where they need it.
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use crate::support::{CHECK, LOG, MUNIN, Ran, Room, copied, crowd, run};

/// Nobody listens on port 1, so that whatever reaches for it says so.
const NOBODY: &str = "127.0.0.1:1";

fn remote() -> std::path::PathBuf {
    Path::new(CHECK).with_file_name("topip-remote")
}

/// A program of a name, in a room, on a server that does not answer.
fn reach(room: &Room, program: &Path) -> Ran {
    run(&mut room.program(program.to_str().unwrap(), &["-H", NOBODY, "--known-hosts", "/dev/null"]))
}

const REACHED: &str = "3 TOPIP UNKNOWN - cannot connect to 127.0.0.1, 127.0.0.1:1: \
                       Connection refused (os error 111)";

#[test]
fn a_link_from_anywhere_finds_it() {
    let room = Room::new();
    symlink(CHECK, room.path("check_topip_web")).unwrap();
    symlink("check_topip_web", room.path("again")).unwrap();
    for link in ["check_topip_web", "again"] {
        assert_eq!(reach(&room, &room.path(link)).answer(), REACHED);
    }
}

#[test]
fn it_is_called_what_the_program_was_called() {
    let room = Room::new();
    let link = room.path("ssh_web1.invalid_topip");
    symlink(MUNIN, &link).unwrap();
    let ran = run(&mut room.program(link.to_str().unwrap(), &["fetch"]));
    assert!(ran.stdout.starts_with("connections_max.value U\n"), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("cannot find web1.invalid: "), "{}", ran.stderr);
    let ran = run(&mut room.program(LOG, &["-H", NOBODY, "--known-hosts", "/dev/null"]));
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""));
    assert!(ran.stderr.starts_with("topip_log: cannot connect to 127.0.0.1"), "{}", ran.stderr);
}

/// Who copies one file alone has a check of this machine, and is told why it is
/// no check of others.
#[test]
fn without_it_a_server_is_unknown_and_this_machine_is_seen() {
    let room = Room::new();
    let alone = room.path("check");
    copied(CHECK, &alone);
    assert_eq!(
        reach(&room, &alone).stdout,
        format!(
            "TOPIP UNKNOWN - cannot go on as {}, which has SSH and mail: \
             No such file or directory (os error 2)\n\
             It belongs beside this program: install topip anew, or copy both.\n",
            room.path("topip-remote").display()
        )
    );
    let listing = room.write("listing", crowd(30, &[]));
    let args = ["--input", listing.to_str().unwrap()];
    assert_eq!(run(&mut room.program(alone.to_str().unwrap(), &args)).code, Some(0));
}

/// Two that hand over to one another would never end.
#[test]
fn one_that_is_not_it_is_not_asked_twice() {
    let room = Room::new();
    let check = room.path("check");
    copied(CHECK, &check);
    copied(CHECK, &room.path("topip-remote"));
    let ran = reach(&room, &check);
    let problem = format!(
        "cannot go on as {}: it is not what it is called",
        room.path("topip-remote").display()
    );
    assert_eq!(ran.answer(), format!("3 TOPIP UNKNOWN - {problem}"));
    fs::set_permissions(room.path("topip-remote"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(reach(&room, &check).line().ends_with("Permission denied (os error 13)"));
}

/// Whoever runs it by its own name gets the check.
#[test]
fn by_its_own_name_it_is_the_check() {
    assert_eq!(reach(&Room::new(), &remote()).answer(), REACHED);
    let ran = run(Command::new(remote()).arg("--version"));
    assert_eq!(ran.stdout, concat!("check_topip ", env!("CARGO_PKG_VERSION"), "\n"));
}
