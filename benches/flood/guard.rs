//! Whatever ends this, all that it has started ends with it.
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

use crate::shipped;

/// Builds what is measured, runs this program again, as the first process of a PID
/// namespace, and waits for it or for a signal. When the first process of a
/// namespace ends, by a panic too, the kernel ends all others in it; with them go
/// their sockets, and with these the network namespaces.
pub fn guard(words: &[&str]) -> ExitCode {
    if !Uid::effective().is_root() {
        eprintln!("Only root makes namespaces: sudo -E cargo bench --bench flood");
        return ExitCode::FAILURE;
    }
    let signals: SigSet =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect();
    signals.thread_block().unwrap();
    shipped::build();
    let folder = tempfile::tempdir().unwrap();
    unshare(CloneFlags::CLONE_NEWPID).expect("root may make a PID namespace");
    let mut first = Command::new(env::current_exe().unwrap())
        .arg("guarded")
        .args(words)
        .current_dir(&folder)
        .spawn()
        .unwrap();
    loop {
        if signals.wait().unwrap() != Signal::SIGCHLD {
            first.kill().unwrap();
            first.wait().unwrap();
            eprintln!("Stopped, and cleaned up.");
            return ExitCode::FAILURE;
        }
        match first.try_wait().unwrap() {
            None => {}
            Some(status) if status.success() => return ExitCode::SUCCESS,
            Some(_) => return ExitCode::FAILURE,
        }
    }
}

/// Does what is guarded.
pub fn guarded(measure: impl FnOnce() -> ExitCode) -> ExitCode {
    // Nobody tells it to stop if the guard is killed.
    set_parent_process_death_signal(Some(Death::KILL)).unwrap();
    // A /proc that has the processes of this namespace, by the numbers here.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    mount("proc", "/proc", "proc", MountFlags::empty(), None).expect("root may mount /proc");
    measure()
}
