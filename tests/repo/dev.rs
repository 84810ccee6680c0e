//! `./dev` names the Rust version that the programs need, and the command that installs it.
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::support::{CommandResult, PACKAGE_DIR, TestDir, run};

/// Runs `./dev check` with programs of this version in the place of cargo and rustc.
fn dev_check_with(version: Option<&str>) -> CommandResult {
    let dir = TestDir::new();
    for program in ["cargo", "rustc"] {
        let action =
            version.map_or("exit 127".into(), |version| format!("echo {program} {version}"));
        let path = dir.write(program, format!("#!/bin/sh\n{action}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", dir.path("").display());
    run(Command::new(Path::new(PACKAGE_DIR).join("dev")).arg("check").env("PATH", path))
}

/// Debian 12 has cargo 0.66, which does not support the edition.
#[test]
fn old_or_missing_rust_is_one_line_with_the_remedy() {
    for (version, state) in [
        (Some("0.66.0"), "cargo is 0.66.0"),
        (Some("1.84.1"), "cargo is 1.84.1"),
        (None, "cargo is not installed"),
    ] {
        let result = dev_check_with(version);
        let (message, command) = result.stderr.trim_end().split_once(": ").unwrap();
        assert_eq!(message, format!("topip needs Rust 1.85 or later, but {state}"));
        assert!(!command.contains('\n'), "{}", result.stderr);
        let release = fs::read_to_string("/etc/os-release").unwrap();
        if release.contains("ID=debian\n") {
            assert!(command.starts_with("sudo apt install cargo"), "{command}");
        }
        assert_eq!((result.code, &*result.stdout), (Some(1), ""));
    }
}
