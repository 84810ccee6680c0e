//! What is known of a process.
#![expect(clippy::disallowed_types, reason = "this is where /proc is opened")]
use std::{
    fs::File,
    io::{self, Read},
};

use crate::model::namespace::Process;

/// How much is read of a file. The line that names a container is in it, even
/// where each of a dozen controllers has one.
const MOST: u64 = 16 * 1024;

/// A process, as far as it still is there.
pub(super) fn process(pid: u32) -> Option<Process> {
    let command = read(&format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
    // Without control groups there is no file, and no container to be told.
    let groups = read(&format!("/proc/{pid}/cgroup")).unwrap_or_else(|_| String::new());
    Some(Process { pid, command, container: container(&groups) })
}

pub(super) fn read(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The container that a process is in, by its control groups.
///
/// Whoever makes containers names a group after each, in words of its own:
/// `/docker/ID`, `/system.slice/docker-ID.scope`, `cri-containerd-ID.scope`,
/// `crio-ID.scope`, `libpod-ID.scope`, `/kubepods/besteffort/podUID/ID`. ID is 64
/// digits to the base of 16. LXC's have names: `/lxc.payload.web1`, `/lxc/web1`.
fn container(groups: &str) -> Option<String> {
    // hierarchy-ID:controllers:path
    let paths = || groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let parts = || paths().flat_map(|path| path.rsplit('/'));
    parts().find_map(by_number).or_else(|| paths().find_map(by_name))
}

fn by_number(part: &str) -> Option<String> {
    /// As many as the tools show.
    const SHOWN: usize = 12;
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit(['-', ':']).next()?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id[..SHOWN].to_owned())
}

fn by_name(path: &str) -> Option<String> {
    let (_, name) =
        ["/lxc.payload.", "/lxc.payload/", "/lxc/"].iter().find_map(|it| path.split_once(it))?;
    name.split('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_by_their_control_groups() {
        let id = "0123456789abcdef".repeat(4);
        let short = Some("0123456789ab");
        for (path, expected) in [
            (format!("0::/system.slice/docker-{id}.scope"), short),
            (format!("12:pids:/docker/{id}\n1:name=systemd:/docker/{id}"), short),
            (format!("0::/kubepods.slice/pod7.slice/cri-containerd-{id}.scope"), short),
            (format!("0::/kubepods.slice/pod7.slice/crio-{id}.scope/container"), short),
            (format!("0::/machine.slice/libpod-{id}.scope/container"), short),
            (format!("0::/user.slice/user-1000.slice/user.slice/libpod-conmon-{id}.scope"), short),
            (format!("4:memory:/kubepods/besteffort/pod0a1b/{id}"), short),
            (
                format!(
                    "0::/system.slice/containerd.service/kubepods-pod7.slice:cri-containerd:{id}"
                ),
                short,
            ),
            (format!("3:cpu:/\n0::/../docker-{id}.scope"), short),
            ("0::/lxc.payload.web1/system.slice/ssh.service".to_owned(), Some("web1")),
            ("5:pids:/lxc/web1".to_owned(), Some("web1")),
            ("0::/lxc/".to_owned(), None),
            ("0::/system.slice/ssh.service".to_owned(), None),
            (format!("0::/system.slice/docker-{}.scope", &id[1..]), None),
            (format!("0::/system.slice/docker-{}é.scope", &id[2..]), None),
            ("0::/".to_owned(), None),
            ("no colon".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(container(&path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn this_process_has_a_command() {
        let own = process(std::process::id()).expect("it is there");
        assert!(!own.command.is_empty() && !own.command.ends_with('\n'), "{own:?}");
        assert_eq!(process(u32::MAX), None);
    }
}
