//! Runs the benchmark so that all child processes end with it, even if it is killed.
use std::{
    env,
    process::{Command, ExitCode},
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{SigSet, Signal},
    unistd::Uid,
};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{Signal as Death, set_parent_process_death_signal},
};

use crate::release_build;

/// Builds the release executable, runs this program again as the first process of a PID
/// namespace, and waits for it or for a signal. When the first process of a PID namespace
/// ends, even by a panic, the kernel kills all others in it. Their sockets and network
/// namespaces go with them.
pub fn run_isolated(words: &[&str]) -> ExitCode {
    if !Uid::effective().is_root() {
        eprintln!("Only root makes namespaces: sudo -E cargo bench --bench flood");
        return ExitCode::FAILURE;
    }
    let signals: SigSet =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect();
    signals.thread_block().unwrap();
    release_build::build();
    let directory = tempfile::tempdir().unwrap();
    unshare(CloneFlags::CLONE_NEWPID).expect("root may make a PID namespace");
    let mut init = Command::new(env::current_exe().unwrap())
        .arg("isolated")
        .args(words)
        .current_dir(&directory)
        .spawn()
        .unwrap();
    loop {
        if signals.wait().unwrap() != Signal::SIGCHLD {
            init.kill().unwrap();
            init.wait().unwrap();
            eprintln!("Stopped, and cleaned up.");
            return ExitCode::FAILURE;
        }
        match init.try_wait().unwrap() {
            None => {}
            Some(status) if status.success() => return ExitCode::SUCCESS,
            Some(_) => return ExitCode::FAILURE,
        }
    }
}

/// Runs `measure` as the first process of the PID namespace.
pub fn isolated(measure: impl FnOnce() -> ExitCode) -> ExitCode {
    // If the parent is killed, it cannot stop this process.
    set_parent_process_death_signal(Some(Death::KILL)).unwrap();
    // Mount a /proc that shows the processes of this PID namespace.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    mount("proc", "/proc", "proc", MountFlags::empty(), None).expect("root may mount /proc");
    measure()
}
