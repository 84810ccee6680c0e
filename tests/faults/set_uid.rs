//! A program that somebody has made set-uid or set-gid does nothing at all.
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::support::{
    Ran, run, skip,
    stranger::{NOBODY, as_user, is_possible, open_room},
};

const REFUSED: &str = "cannot run set-uid or set-gid\n\
     Take the bit from its file (chmod ug-s), and start it as that user: by sudo, or as a \
     service of that user.\n";

/// Runs `program` as nobody, with what would write files of root's.
fn tried(program: &Path, args: &[&str]) -> Ran {
    let folder = program.parent().unwrap();
    run(as_user(NOBODY, program)
        .args(args)
        .current_dir(folder)
        .env("MP_STATE_PATH", folder)
        .env("password", "x"))
}

#[test]
fn it_refuses_before_it_reads_options_and_environment() {
    if !is_possible() {
        return;
    }
    let room = open_room();
    // Where the file system ignores the bit, nothing can be told.
    let id = room.path("id");
    fs::copy("/usr/bin/id", &id).unwrap();
    let names = || fs::read_dir(room.path(".")).unwrap().count();
    let before = names();
    for (mode, flag) in [(0o4755, "-u"), (0o2755, "-g"), (0o6755, "-u")] {
        let set =
            |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&id);
        if run(as_user(NOBODY, &id).arg(flag)).stdout != "0\n" {
            return skip("a file system that heeds set-uid");
        }
        for (name, code, says) in [
            ("check_topip", 3, "TOPIP UNKNOWN - "),
            ("munin_topip", 1, ""),
            ("topip_log", 1, "topip_log: "),
        ] {
            let program = room.path(name);
            set(&program);
            for args in [
                &["--version"][..],
                &["--no-such-option"],
                &["--state-file", "made", "--log", "made.log", "--input", "/etc/shadow"],
                &[],
            ] {
                let ran = tried(&program, args);
                let told = ran.stdout.clone() + &ran.stderr;
                assert_eq!((told, ran.code), (format!("{says}{REFUSED}"), Some(code)), "{args:?}");
            }
        }
    }
    assert_eq!(names(), before, "something was made");
}

/// Another program that has borrowed rights hands them on.
#[test]
fn it_refuses_borrowed_rights_whoever_borrowed_them() {
    if !is_possible() {
        return;
    }
    let room = open_room();
    for ids in [["--ruid", "65534"], ["--rgid", "65534"]] {
        let mut command = Command::new("setpriv");
        command.args(ids).args(["--keep-groups"]).arg(room.path("check_topip"));
        let ran = run(command.arg("--version"));
        assert_eq!((ran.stdout, ran.code), (format!("TOPIP UNKNOWN - {REFUSED}"), Some(3)));
    }
}

/// Capabilities are no other user's rights: an administrator may give some.
#[test]
fn capabilities_of_a_file_are_no_other_user() {
    if !is_possible() {
        return;
    }
    let room = open_room();
    let program = room.path("check_topip");
    let set = Command::new("setcap").arg("cap_net_admin+ep").arg(&program).output();
    if !set.is_ok_and(|set| set.status.success()) {
        return skip("setcap");
    }
    let ran = tried(&program, &["--version"]);
    assert!(ran.stdout.starts_with("check_topip "), "{}", ran.stdout);
}
