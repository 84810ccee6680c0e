//! The service of the package: how much is shut, and that it works all the same.
use std::process::Command;

use crate::support::{HOME, LOG, Room, run, skip};

/// What systemd makes of it: 10 is all open. Versions count a little differently.
#[test]
fn the_service_is_exposed_to_little() {
    let unit = format!("{HOME}/packaging/systemd/topip-log.service");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--threshold=15", "--no-pager", &unit]);
    if analyze.output().is_err() {
        return skip("systemd-analyze");
    }
    let ran = run(&mut analyze);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
}

/// Without rights, without what /proc has beside processes, and with those of
/// others hidden, it sees this host's sockets by both ways.
#[test]
fn it_works_with_what_the_service_leaves_of_proc_and_rights() {
    let script = "mount -t proc -o subset=pid,hidepid=invisible proc /proc || exit 77\n\
        umask 077\n\
        exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs \"$0\" \"$@\"";
    for source in ["netlink", "proc"] {
        let room = Room::new();
        let args =
            ["-m", "-p", "-f", "sh", "-c", script, LOG, "-vv", "--source", source, "--log", "log"];
        let ran = run(room.program("unshare", &args).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
        if ran.stdout.is_empty() && matches!(ran.code, Some(1 | 77)) {
            return skip(&format!("the right to mount /proc ({})", ran.stderr.trim()));
        }
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{source}: {}", ran.stdout);
        assert!(ran.stdout.contains("\nLooked at: "), "{source}: {}", ran.stdout);
    }
}
