//! What is run on a server: the first of the ways of its system that works.
//!
//! The login shell may be any, and is given one word that means the same to
//! all: a text in single quotes, on one line, without `'`, `\` and `!`. Within
//! it is the shell of POSIX, and of Solaris before that. Lines that begin with
//! `topip-` tell the reader where a listing begins and ends, and what a shell
//! or its start files print otherwise is left out.
use crate::parse::Subject;

/// The script that lists that.
pub(super) fn of(subject: Subject) -> &'static str {
    match subject {
        Subject::Flows => FLOWS,
        Subject::Sockets | Subject::Both => SOCKETS,
    }
}

/// What both scripts begin with.
macro_rules! beginning {
    () => {
        concat!(
            "sh -c '",
            "LC_ALL=C; LANG=C; ",
            "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin; ",
            "export LC_ALL LANG PATH; ",
            "t() { echo topip-try $*; \"$@\"; r=$?; echo; echo topip-end $r $*; ",
            "if test $r = 0; then exit 0; fi; }; ",
            "s=`uname -s`; m=`uname -m`; ",
            "echo; echo topip-begin ${s:-unknown} ${m:-unknown} $SSH_CONNECTION; ",
        )
    };
}

/// Its sockets.
const SOCKETS: &str = concat!(
    beginning!(),
    "proc() { cat /proc/net/tcp || return 1; ",
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

/// The flows that it tracks, and before them its addresses. Each family is asked
/// for by itself: some versions of conntrack list only IPv4 where none is named.
/// What needs no other right is tried first: every refusal of sudo is logged.
const FLOWS: &str = concat!(
    beginning!(),
    "c() { $* -L -f ipv4 -p tcp || return 1; $* -L -f ipv6 -p tcp; }; ",
    "ip -o addr 2>/dev/null | while read n d f a r; do echo topip-own $a; done; ",
    "t c conntrack; t cat /proc/net/nf_conntrack; ",
    "t c sudo -n conntrack; t sudo -n cat /proc/net/nf_conntrack; ",
    "exit 127'"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_means_the_same_to_every_shell() {
        for script in [SOCKETS, FLOWS] {
            let inner = script.strip_prefix("sh -c '").and_then(|it| it.strip_suffix('\''));
            let inner = inner.expect("it is one word in single quotes");
            for letter in ['\'', '\\', '!', '\n', '~'] {
                assert!(!inner.contains(letter), "{letter:?}");
            }
        }
    }
}
