//! Executables with the set-uid or set-gid bit refuse to run.
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::support::{
    CommandResult, run, skip,
    stranger::{NOBODY, as_user, is_possible, shared_test_dir},
};

const REFUSED: &str = "cannot run set-uid or set-gid\n\
     Remove the bit from the executable (chmod ug-s), and run it as that user: with sudo, or as \
     a service of that user.\n";

/// Runs `program` as nobody, with options that would write files.
fn run_as_nobody(program: &Path, args: &[&str]) -> CommandResult {
    let directory = program.parent().unwrap();
    run(as_user(NOBODY, program)
        .args(args)
        .current_dir(directory)
        .env("MP_STATE_PATH", directory)
        .env("password", "x"))
}

#[test]
fn set_uid_is_refused_before_options_are_read() {
    if !is_possible() {
        return;
    }
    let dir = shared_test_dir();
    // On a file system that ignores the bit, the test is skipped.
    let id = dir.path("id");
    fs::copy("/usr/bin/id", &id).unwrap();
    let names = || fs::read_dir(dir.path(".")).unwrap().count();
    let before = names();
    for (mode, flag) in [(0o4755, "-u"), (0o2755, "-g"), (0o6755, "-u")] {
        let set =
            |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&id);
        if run(as_user(NOBODY, &id).arg(flag)).stdout != "0\n" {
            return skip("a file system with set-uid support");
        }
        for (name, code, prefix) in [
            ("check_topip", 3, "TOPIP UNKNOWN - "),
            ("munin_topip", 1, ""),
            ("topip_log", 1, "topip_log: "),
        ] {
            let program = dir.path(name);
            set(&program);
            for args in [
                &["--version"][..],
                &["--no-such-option"],
                &["--state-file", "made", "--log", "made.log", "--input", "/etc/shadow"],
                &[],
            ] {
                let result = run_as_nobody(&program, args);
                let output = result.stdout.clone() + &result.stderr;
                assert_eq!(
                    (output, result.code),
                    (format!("{prefix}{REFUSED}"), Some(code)),
                    "{args:?}"
                );
            }
        }
    }
    assert_eq!(names(), before, "files were created");
}

/// Another set-uid program passes its IDs on.
#[test]
fn inherited_set_uid_ids_are_refused() {
    if !is_possible() {
        return;
    }
    let dir = shared_test_dir();
    for ids in [["--ruid", "65534"], ["--rgid", "65534"]] {
        let mut command = Command::new("setpriv");
        command.args(ids).args(["--keep-groups"]).arg(dir.path("check_topip"));
        let result = run(command.arg("--version"));
        assert_eq!((result.stdout, result.code), (format!("TOPIP UNKNOWN - {REFUSED}"), Some(3)));
    }
}

/// File capabilities do not switch the user: an administrator may grant them.
#[test]
fn file_capabilities_are_accepted() {
    if !is_possible() {
        return;
    }
    let dir = shared_test_dir();
    let program = dir.path("check_topip");
    let set = Command::new("setcap").arg("cap_net_admin+ep").arg(&program).output();
    if !set.is_ok_and(|set| set.status.success()) {
        return skip("setcap");
    }
    let result = run_as_nobody(&program, &["--version"]);
    assert!(result.stdout.starts_with("check_topip "), "{}", result.stdout);
}
