//! The program as it is installed.
use std::{env, path::Path, process::Command};

/// Where it is.
pub const CHECK: &str = env!("CARGO_BIN_EXE_check_topip");

/// Builds it again, as a release is built. `cargo bench` gives libraries that both
/// want what the tests want of them, too (features of libraries for tests add up
/// with those of the program, "Feature unification" in the Cargo Book): that
/// program is half a mebibyte longer, and takes a tenth more to start.
pub fn build() {
    let release = Path::new(CHECK).parent().expect("it is in a folder");
    assert!(release.ends_with("release"), "measure a release, not what is in {release:?}");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--bins", "--target-dir"])
        .arg(release.parent().expect("so is that one"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.expect("there is cargo").success(), "cargo build --release --bins");
}
