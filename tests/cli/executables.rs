//! SSH and mail are in the executable `topip-remote`, which the programs execute when
//! needed.
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use crate::support::{CHECK, CommandResult, LOG, MUNIN, TestDir, copy_executable, crowd, run};

/// Port 1 is closed, so that an attempt to connect is reported.
const CLOSED_PORT_ADDRESS: &str = "127.0.0.1:1";

fn topip_remote_path() -> std::path::PathBuf {
    Path::new(CHECK).with_file_name("topip-remote")
}

/// Runs a program that connects to a closed port.
fn check_closed_port(dir: &TestDir, program: &Path) -> CommandResult {
    run(&mut dir.program(
        program.to_str().unwrap(),
        &["-H", CLOSED_PORT_ADDRESS, "--known-hosts", "/dev/null"],
    ))
}

const CONNECTION_REFUSED: &str = "3 TOPIP UNKNOWN - cannot connect to [127.0.0.1]:1, 127.0.0.1: \
                       Connection refused (os error 111)";

#[test]
fn topip_remote_is_found_through_symlinks() {
    let dir = TestDir::new();
    symlink(CHECK, dir.path("check_topip_web")).unwrap();
    symlink("check_topip_web", dir.path("again")).unwrap();
    for link in ["check_topip_web", "again"] {
        assert_eq!(check_closed_port(&dir, &dir.path(link)).code_and_status(), CONNECTION_REFUSED);
    }
}

#[test]
fn topip_remote_keeps_program_name() {
    let dir = TestDir::new();
    let link = dir.path("ssh_web1.invalid_topip");
    symlink(MUNIN, &link).unwrap();
    let result = run(&mut dir.program(link.to_str().unwrap(), &["fetch"]));
    assert!(result.stdout.starts_with("connections_max.value U\n"), "{}", result.stdout);
    assert!(
        result.stderr.starts_with("cannot find the address of web1.invalid: "),
        "{}",
        result.stderr
    );
    let result =
        run(&mut dir.program(LOG, &["-H", CLOSED_PORT_ADDRESS, "--known-hosts", "/dev/null"]));
    assert_eq!((result.code, &*result.stdout), (Some(1), ""));
    assert!(
        result.stderr.starts_with("topip_log: cannot connect to [127.0.0.1]:1"),
        "{}",
        result.stderr
    );
}

/// A single copied file checks this host, and reports why it cannot check others.
#[test]
fn without_topip_remote_only_local_checks_work() {
    let dir = TestDir::new();
    let copied_check = dir.path("check");
    copy_executable(CHECK, &copied_check);
    assert_eq!(
        check_closed_port(&dir, &copied_check).stdout,
        format!(
            "TOPIP UNKNOWN - cannot execute {}, which is needed for SSH and mail: \
             No such file or directory (os error 2)\n\
             It must be in the directory of this program: reinstall topip, or copy both files.\n",
            dir.path("topip-remote").display()
        )
    );
    let listing = dir.write("listing", crowd(30, &[]));
    let args = ["--input", listing.to_str().unwrap()];
    assert_eq!(run(&mut dir.program(copied_check.to_str().unwrap(), &args)).code, Some(0));
}

/// Two programs that execute each other would loop.
#[test]
fn wrong_topip_remote_is_not_executed_twice() {
    let dir = TestDir::new();
    let check = dir.path("check");
    copy_executable(CHECK, &check);
    copy_executable(CHECK, &dir.path("topip-remote"));
    let result = check_closed_port(&dir, &check);
    let problem = format!(
        "cannot use {}: it does not contain SSH and mail",
        dir.path("topip-remote").display()
    );
    assert_eq!(result.code_and_status(), format!("3 TOPIP UNKNOWN - {problem}"));
    fs::set_permissions(dir.path("topip-remote"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        check_closed_port(&dir, &check).status_line().ends_with("Permission denied (os error 13)")
    );
}

/// Under its own name, topip-remote acts as check_topip.
#[test]
fn topip_remote_by_its_own_name_is_the_check() {
    assert_eq!(
        check_closed_port(&TestDir::new(), &topip_remote_path()).code_and_status(),
        CONNECTION_REFUSED
    );
    let result = run(Command::new(topip_remote_path()).arg("--version"));
    assert_eq!(result.stdout, concat!("check_topip ", env!("CARGO_PKG_VERSION"), "\n"));
}
