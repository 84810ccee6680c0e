//! The executable as it is installed.
use std::{env, path::Path, process::Command};

/// Path of the release executable.
pub const CHECK: &str = env!("CARGO_BIN_EXE_check_topip");

/// Rebuilds the executable as for a release. `cargo bench` also enables the library features
/// that only the tests need ("Feature unification" in the Cargo Book): that executable is half
/// a mebibyte larger and takes a tenth longer to start.
pub fn build() {
    let release = Path::new(CHECK).parent().expect("the executable has a parent directory");
    assert!(release.ends_with("release"), "measure a release, not what is in {release:?}");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--bins", "--target-dir"])
        .arg(release.parent().expect("the release directory has a parent"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.expect("cargo is installed").success(), "cargo build --release --bins");
}
