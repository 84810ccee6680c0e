//! Links the unwinder statically if the C compiler has it as an archive.
//!
//! Panics unwind with code that every Rust program loads as libgcc_s.so. Loading it
//! takes 0.1 ms, a twentieth of a sample of a host with few connections. The same
//! code is available as an archive (libgcc_eh.a) next to the compiler. With
//! link-time optimization the linker sees all Rust code before the archive, so that
//! no symbol is left for the shared library; otherwise the shared library is linked
//! as usual.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "cargo runs this script, and it is not part of any program"
)]
use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu")
        || env::var("TARGET") != env::var("HOST")
    {
        return;
    }
    let output = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    let Ok(output) = output else { return };
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // A compiler without the archive prints the bare file name.
    if let Some(dir) = Path::new(&path).parent().filter(|dir| dir.is_absolute()) {
        println!("cargo:rustc-link-search=native={}", dir.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
