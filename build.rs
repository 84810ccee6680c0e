//! Links the unwinder in, where that can be had.
//!
//! A panic unwinds, by code that every Rust program loads as libgcc_s.so. To load
//! it takes 0.1 ms, which is a twentieth of a look at a host with few connections,
//! and it is there as an archive beside the compiler as well. Link-time
//! optimisation puts all of Rust before it, so that nothing is left for the shared
//! one to resolve; without, that one is linked as ever.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it is run by cargo, and is no part of any program"
)]
use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu")
        || env::var("TARGET") != env::var("HOST")
    {
        return;
    }
    let printed = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    let path = printed.map(|printed| String::from_utf8_lossy(&printed.stdout).trim().to_owned());
    // A compiler that has none gives the bare name back.
    if let Some(folder) = path.as_deref().ok().and_then(|path| Path::new(path).parent())
        && folder.is_absolute()
    {
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
