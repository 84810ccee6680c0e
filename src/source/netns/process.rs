//! Reads the command and the container of a process.
#![expect(clippy::disallowed_types, reason = "this module opens /proc")]
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::model::namespace::Process;

/// Maximum number of bytes read from a file. They include the line that names a
/// container, even if each of a dozen controllers has a line, and the statistics of 800
/// processors.
const MAX_PROC_FILE_BYTES: u64 = 128 * 1024;

/// Reads the description of a process; `None` if the process has ended.
pub(super) fn read_process(pid: u32) -> Option<Process> {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let command = read_proc_file(&dir.join("comm")).ok()?.trim_end().to_owned();
    // Without control groups the file is missing, and the container is unknown.
    let cgroups = read_proc_file(&dir.join("cgroup")).unwrap_or_else(|_| String::new());
    Some(Process { pid, command, container: container_name(&cgroups) })
}

/// Reads the first [`MAX_PROC_FILE_BYTES`] of a file below `/proc` or `/sys`.
pub(in crate::source) fn read_proc_file(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_PROC_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the container of a process: a shortened ID or a name, from its control
/// groups.
///
/// Container runtimes name a control group after each container, each in its own
/// format: `/docker/ID`, `/system.slice/docker-ID.scope`, `cri-containerd-ID.scope`,
/// `crio-ID.scope`, `libpod-ID.scope`, `/kubepods/besteffort/podUID/ID`. ID has 64
/// hexadecimal digits. LXC uses names: `/lxc.payload.web1`, `/lxc/web1`.
fn container_name(cgroups: &str) -> Option<String> {
    let mut components = cgroup_paths(cgroups).flat_map(|path| path.rsplit('/'));
    components.find_map(container_id).or_else(|| cgroup_paths(cgroups).find_map(lxc_name))
}

fn cgroup_paths(cgroups: &str) -> impl Iterator<Item = &str> {
    // hierarchy-ID:controllers:path
    cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2))
}

/// Returns the shortened container ID in a component of a control group path.
fn container_id(component: &str) -> Option<String> {
    /// Number of digits that the tools of the container runtimes show.
    const SHORT_ID_DIGITS: usize = 12;
    let component = component.strip_suffix(".scope").unwrap_or(component);
    let id = component.rsplit(['-', ':']).next()?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Some(id[..SHORT_ID_DIGITS].to_owned()) } else { None }
}

/// Returns the name of the LXC container in a control group path.
fn lxc_name(path: &str) -> Option<String> {
    let (_, name) =
        ["/lxc.payload.", "/lxc.payload/", "/lxc/"].iter().find_map(|it| path.split_once(it))?;
    name.split('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_is_found_in_control_groups() {
        let id = "0123456789abcdef".repeat(4);
        let short_id = Some("0123456789ab");
        for (path, expected) in [
            (format!("0::/system.slice/docker-{id}.scope"), short_id),
            (format!("12:pids:/docker/{id}\n1:name=systemd:/docker/{id}"), short_id),
            (format!("0::/kubepods.slice/pod7.slice/cri-containerd-{id}.scope"), short_id),
            (format!("0::/kubepods.slice/pod7.slice/crio-{id}.scope/container"), short_id),
            (format!("0::/machine.slice/libpod-{id}.scope/container"), short_id),
            (
                format!("0::/user.slice/user-1000.slice/user.slice/libpod-conmon-{id}.scope"),
                short_id,
            ),
            (format!("4:memory:/kubepods/besteffort/pod0a1b/{id}"), short_id),
            (
                format!(
                    "0::/system.slice/containerd.service/kubepods-pod7.slice:cri-containerd:{id}"
                ),
                short_id,
            ),
            (format!("3:cpu:/\n0::/../docker-{id}.scope"), short_id),
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
            assert_eq!(container_name(&path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn running_process_has_a_command_and_unknown_pid_is_none() {
        let process = read_process(std::process::id()).expect("this process is running");
        assert!(!process.command.is_empty() && !process.command.ends_with('\n'), "{process:?}");
        assert_eq!(read_process(u32::MAX), None);
    }
}
