//! The packaged systemd service: its sandbox is strict, and topip_log works in it.
use std::process::Command;

use crate::support::{LOG, PACKAGE_DIR, TestDir, run, skip};

/// The exposure level of systemd-analyze; 10 is fully exposed. Versions differ slightly.
#[test]
fn service_exposure_is_low() {
    let unit = format!("{PACKAGE_DIR}/packaging/systemd/topip-log.service");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--threshold=15", "--no-pager", &unit]);
    if analyze.output().is_err() {
        return skip("systemd-analyze");
    }
    let result = run(&mut analyze);
    assert_eq!(result.code, Some(0), "{}", result.stdout);
}

/// Without capabilities, with only process directories in /proc and those of other users
/// hidden, both sources work.
#[test]
fn service_sandbox_allows_both_sources() {
    let script = "mount -t proc -o subset=pid,hidepid=invisible proc /proc || exit 77\n\
        umask 077\n\
        exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs \"$0\" \"$@\"";
    for source in ["netlink", "proc"] {
        let dir = TestDir::new();
        let args =
            ["-m", "-p", "-f", "sh", "-c", script, LOG, "-vv", "--source", source, "--log", "log"];
        let result =
            run(dir.program("unshare", &args).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
        if result.stdout.is_empty() && matches!(result.code, Some(1 | 77)) {
            return skip(&format!("permission to mount /proc ({})", result.stderr.trim()));
        }
        assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{source}: {}", result.stdout);
        assert!(result.stdout.contains("\nSource: "), "{source}: {}", result.stdout);
    }
}
