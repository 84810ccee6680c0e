//! Kernel interfaces that are blocked by a real seccomp filter or by a missing /proc: another
//! source is used, or the error is reported.
use std::{collections::BTreeMap, process::Command, thread};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use crate::support::{CHECK, TestDir, run, skip};

/// Number of `socket(2)` on x86-64 and on arm64.
const SOCKET: i64 = if cfg!(target_arch = "aarch64") { 198 } else { 41 };
const AF_NETLINK: u64 = 16;
const EAFNOSUPPORT: u32 = 97;

/// Runs `test` on a thread without netlink. Child processes inherit the filter.
pub fn without_netlink<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    without_sockets(None, EAFNOSUPPORT, test)
}

/// Like [`without_netlink`], for sockets of one netlink protocol or of all: they fail with
/// `errno`.
pub fn without_sockets<T: Send>(
    protocol: Option<u64>,
    errno: u32,
    test: impl FnOnce() -> T + Send,
) -> T {
    let argument = |index, value| {
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap()
    };
    let mut conditions = vec![argument(0, AF_NETLINK)];
    conditions.extend(protocol.map(|protocol| argument(2, protocol)));
    let rules = BTreeMap::from([(SOCKET, vec![SeccompRule::new(conditions).unwrap()])]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            apply_filter(&program).unwrap();
            test()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn blocked_netlink_falls_back_to_proc() {
    let result = without_netlink(|| TestDir::new().check(&["-vv"]));
    assert!(matches!(result.code, Some(0..=2)), "{}", result.stdout);
    let expected = "\nFailed source: netlink (sock_diag): cannot open netlink: \
                Address family not supported by protocol (os error 97)\n\
                Source: /proc/self/net/tcp and tcp6, ";
    assert!(result.stdout.contains(expected), "{}", result.stdout);
}

#[test]
fn source_netlink_does_not_fall_back() {
    let result = without_netlink(|| TestDir::new().check(&["--source", "netlink"]));
    assert_eq!(
        result.stdout,
        "TOPIP UNKNOWN - cannot open netlink: Address family not supported by protocol (os error 97)\n\
         Load the kernel module tcp_diag, or use --source proc.\n"
    );
    assert_eq!(result.code, Some(3));
}

#[test]
fn no_usable_source_is_unknown() {
    let dir = TestDir::new();
    let directory = dir.path(".");
    let script = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let result = without_netlink(move || {
        run(Command::new("unshare")
            .args(["-m", "sh", "-c", script, CHECK])
            .env("MP_STATE_PATH", directory))
    });
    if result.stdout.is_empty() {
        return skip(&format!("permission to mount over /proc ({})", result.stderr.trim()));
    }
    assert_eq!(
        result.stdout,
        "TOPIP UNKNOWN - cannot read the sockets of this host: cannot open /proc/self/net/tcp: \
         No such file or directory (os error 2)\n\
         Failed source: netlink (sock_diag): cannot open netlink: Address family not supported by protocol (os error 97)\n\
         Check that /proc is mounted and that this user can read it.\n"
    );
    assert_eq!(result.code, Some(3));
}
