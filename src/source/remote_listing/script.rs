//! Scripts that run on a server. They try the listing commands of the server's
//! system until one succeeds.
//!
//! The login shell may be any shell. It gets one word that all shells read the same
//! way: a text in single quotes, on one line, without `'`, `\` and `!`. The inner
//! script is for the POSIX shell and for the older shell of Solaris. Marker lines
//! that begin with `topip-` show where a listing begins and ends; other output of
//! the shell or its startup files is skipped.
use crate::{model::protocol::Protocol, parse::TableKind};

/// Returns the script that lists tables of this kind; for flows, those of `protocol`.
pub(super) fn for_table(table_kind: TableKind, protocol: Protocol) -> &'static str {
    match (table_kind, protocol) {
        (TableKind::Sockets | TableKind::Counts | TableKind::Mixed, _) => SOCKETS,
        (TableKind::Flows, Protocol::Tcp) => TCP_FLOWS,
        (TableKind::Flows, Protocol::Udp) => UDP_FLOWS,
        (TableKind::Flows, Protocol::All) => ALL_FLOWS,
    }
}

/// Returns the words for `-p` of conntrack, separated by blanks.
pub(super) fn protocols(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::All => "tcp udp",
    }
}

/// Common first part of both scripts.
macro_rules! prologue {
    () => {
        concat!(
            "sh -c '",
            "LC_ALL=C; LANG=C; ",
            "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin; ",
            "export LC_ALL LANG PATH; ",
            "t() { echo topip-try $*; \"$@\"; r=$?; echo; echo topip-end $r $*; ",
            "if test $r = 0; then exit 0; fi; }; ",
            // On Linux, the system name is read without starting a process, and only `proc`
            // needs the machine.
            "if test -r /proc/sys/kernel/ostype; then read s </proc/sys/kernel/ostype; ",
            "else set x `uname -sm`; s=$2; m=$3; fi; ",
            "if test -r /proc/sys/kernel/random/boot_id; then ",
            "read b </proc/sys/kernel/random/boot_id; fi; ",
            "echo; echo topip-begin ${s:-unknown} ${m:-unknown} ${b:-unknown} $SSH_CONNECTION; ",
        )
    };
}

/// Lists the sockets of the server.
const SOCKETS: &str = concat!(
    prologue!(),
    "proc() { echo topip-machine `uname -m`; cat /proc/net/tcp || return 1; ",
    "if test -r /proc/net/tcp6; then cat /proc/net/tcp6; fi; }; ",
    "both() { netstat -an -f inet -P tcp || return 1; netstat -an -f inet6 -P tcp; }; ",
    "case $s in ",
    "FreeBSD|DragonFly) t netstat -anW -p tcp;; ",
    "Darwin) t netstat -anl -p tcp;; ",
    "OpenBSD|NetBSD) t netstat -anv -p tcp;; ",
    "SunOS) t both;; ",
    "AIX) t netstat -an;; ",
    "*) t ss -tan; t proc; t netstat -natW; t netstat -nat; t netstat -an;; ",
    "esac; exit 127'"
);

/// Lists the addresses of the server, then the flows of these protocols that it tracks.
/// Each address family is requested separately: some versions of conntrack list only IPv4
/// if no family is given. Commands without sudo are tried first, because sudo logs
/// every refusal.
macro_rules! flows {
    ($protocols:literal) => {
        concat!(
            prologue!(),
            "c() { for p in ",
            $protocols,
            "; do $* -L -f ipv4 -p $p || return 1; $* -L -f ipv6 -p $p || return 1; done; }; ",
            "ip -o addr 2>/dev/null | while read n d f a r; do echo topip-own $a; done; ",
            "t c conntrack; t cat /proc/net/nf_conntrack; ",
            "t c sudo -n conntrack; t sudo -n cat /proc/net/nf_conntrack; ",
            "exit 127'"
        )
    };
}

const TCP_FLOWS: &str = flows!("tcp");
const UDP_FLOWS: &str = flows!("udp");
const ALL_FLOWS: &str = flows!("tcp udp");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_portable_single_quoted_words() {
        for script in [SOCKETS, TCP_FLOWS, UDP_FLOWS, ALL_FLOWS] {
            let inner = script.strip_prefix("sh -c '").and_then(|it| it.strip_suffix('\''));
            let inner = inner.expect("the script is one word in single quotes");
            for letter in ['\'', '\\', '!', '\n', '~'] {
                assert!(!inner.contains(letter), "{letter:?}");
            }
        }
    }
}
