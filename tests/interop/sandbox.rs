//! Where the kernel's doors are shut, by a real seccomp filter and a real
//! missing /proc: another way is taken, or the answer says that there is none.
use std::{collections::BTreeMap, process::Command, thread};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use crate::support::{CHECK, Room, run, skip};

/// `socket(2)` on x86-64 and on arm64.
const SOCKET: i64 = if cfg!(target_arch = "aarch64") { 198 } else { 41 };
const AF_NETLINK: u64 = 16;
const EAFNOSUPPORT: u32 = 97;

/// Runs `test` on a thread, and so in children, without netlink.
pub fn without_netlink<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    without_sockets(None, EAFNOSUPPORT, test)
}

/// The same without sockets of one protocol of netlink, or of all: they fail with
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
fn without_netlink_proc_is_read_and_said() {
    let ran = without_netlink(|| Room::new().check(&["-vv"]));
    assert!(matches!(ran.code, Some(0..=2)), "{}", ran.stdout);
    let told = "\nNot by netlink (sock_diag): cannot open netlink: \
                Address family not supported by protocol (os error 97)\n\
                Looked at: /proc/self/net/tcp and tcp6, ";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
}

#[test]
fn netlink_alone_is_netlink_or_nothing() {
    let ran = without_netlink(|| Room::new().check(&["--source", "netlink"]));
    assert_eq!(
        ran.stdout,
        "TOPIP UNKNOWN - cannot open netlink: Address family not supported by protocol (os error 97)\n\
         Load the kernel module tcp_diag, or use --source proc.\n"
    );
    assert_eq!(ran.code, Some(3));
}

#[test]
fn without_any_way_the_answer_is_unknown() {
    let room = Room::new();
    let folder = room.path(".");
    let script = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let ran = without_netlink(move || {
        run(Command::new("unshare")
            .args(["-m", "sh", "-c", script, CHECK])
            .env("MP_STATE_PATH", folder))
    });
    if ran.stdout.is_empty() {
        return skip(&format!("the right to mount over /proc ({})", ran.stderr.trim()));
    }
    assert_eq!(
        ran.stdout,
        "TOPIP UNKNOWN - cannot look at the sockets of this machine: cannot open /proc/self/net/tcp: \
         No such file or directory (os error 2)\n\
         Not by netlink (sock_diag): cannot open netlink: Address family not supported by protocol (os error 97)\n\
         Is /proc mounted, and may this user read it?\n"
    );
    assert_eq!(ran.code, Some(3));
}
