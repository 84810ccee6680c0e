//! Resolves requested network namespaces to those that exist.
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, Stat, open, stat},
    io::Errno,
};

use crate::{model::namespace::Namespace, sys::namespace_owner};

use super::{
    CURRENT_NETNS, NAMED_NETNS_DIR, NamespaceId, NetnsError, NetnsSelector, identify,
    netns_error::MissingCapability, process::read_process,
};

/// Namespace that exists, with paths to its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedNamespace {
    /// Identity, name and example process of the namespace.
    pub namespace: Namespace,
    id: NamespaceId,
    /// User IDs, one of which must be that of the owner; `None` if a selector names this
    /// namespace.
    owners: Option<Vec<u32>>,
    /// Paths to the namespace file, at most [`MAX_PATHS`]. A path through a process
    /// becomes stale when that process ends.
    pub(super) paths: Vec<PathBuf>,
}

/// Result of resolving the requested namespaces.
#[derive(Debug, Default)]
pub struct Resolution {
    /// Namespaces that exist, without duplicates, in a stable order.
    pub namespaces: Vec<ResolvedNamespace>,
    /// Failures to find or read namespaces.
    pub errors: Vec<NetnsError>,
    /// Names in `/run/netns` whose namespace no longer exists.
    pub stale_names: Vec<String>,
    /// User IDs of the owners of namespaces that are not selected, one for each namespace.
    pub owners_left_out: Vec<u32>,
}

/// Maximum number of paths kept for one namespace.
const MAX_PATHS: usize = 4;
/// Root's user ID. The kernel's own user namespace belongs to root.
const ROOT: u32 = 0;
/// Number of searches for a namespace after all of its kept paths have become stale. A
/// search can miss a process that starts meanwhile.
const N_SEARCHES: usize = 2;

/// Resolves the requested namespaces.
///
/// No namespace file is kept open: a host may have more namespaces than a process
/// may have open files.
#[must_use]
pub fn resolve_namespaces(selectors: &[NetnsSelector]) -> Resolution {
    // Without /proc, the current namespace is unknown. Its name still works; it is
    // entered like any other namespace.
    let current = identify(Path::new(CURRENT_NETNS)).ok().map(|(_, id)| id);
    let mut search = NamespaceSearch { current, ..NamespaceSearch::default() };
    for selector in selectors {
        match selector {
            NetnsSelector::All => {
                search.owners.push(ROOT);
                search.add_current();
            }
            NetnsSelector::User(uid) => search.owners.push(*uid),
            selector => search.add_selected(selector),
        }
    }
    if !search.owners.is_empty() {
        search.add_named();
        search.add_processes();
    }
    search.resolution
}

/// Search in progress.
#[derive(Debug, Default)]
struct NamespaceSearch {
    /// Namespace of this process; `None` if it is unknown.
    current: Option<NamespaceId>,
    /// User IDs whose namespaces are all selected.
    owners: Vec<u32>,
    /// Index into the namespaces of `resolution`; `None` for one that is not selected.
    index_by_id: BTreeMap<NamespaceId, Option<usize>>,
    resolution: Resolution,
}

impl NamespaceSearch {
    /// Adds the namespace of a selector for a single one.
    fn add_selected(&mut self, selector: &NetnsSelector) {
        let path = selector_path(selector);
        match identify(&path) {
            Err(error) => self.resolution.errors.push(error),
            Ok((_, id)) => {
                let resolved = self.add(id);
                resolved.add_path(path);
                resolved.owners = None;
                let namespace = &mut resolved.namespace;
                match selector {
                    NetnsSelector::Process(pid) if namespace.process.is_none() => {
                        namespace.process = read_process(*pid);
                    }
                    NetnsSelector::Process(_) => {}
                    selector => {
                        namespace.name.get_or_insert_with(|| selector.to_string());
                    }
                }
            }
        }
    }

    fn add_current(&mut self) {
        match self.current {
            Some(current) => self.add(current).add_path(PathBuf::from(CURRENT_NETNS)),
            None => self.resolution.errors.extend(identify(Path::new(CURRENT_NETNS)).err()),
        }
    }

    /// Adds the namespaces in `/run/netns` that belong to the selected users.
    fn add_named(&mut self) {
        let names = match dir_names(Path::new(NAMED_NETNS_DIR)) {
            Ok(names) => names,
            Err(error) => return self.resolution.errors.push(error),
        };
        for name in names {
            let path = Path::new(NAMED_NETNS_DIR).join(&name);
            match identify(&path) {
                Ok((_, id)) => {
                    let text =
                        name.to_str().map_or_else(|| path.display().to_string(), str::to_owned);
                    if let Some(resolved) = self.add_of_selected_users(id, path) {
                        resolved.namespace.name.get_or_insert(text);
                    }
                }
                // The name is a plain file that a removed namespace has left behind, or a
                // link to a process that has ended.
                Err(NetnsError::NotANamespace { .. } | NetnsError::Missing { .. }) => {
                    self.resolution.stale_names.push(name.to_string_lossy().into_owned());
                }
                Err(error) => self.resolution.errors.push(error),
            }
        }
    }

    /// Adds the namespaces of all processes that belong to the selected users.
    fn add_processes(&mut self) {
        let pids = match list_pids() {
            Ok(pids) => pids,
            Err(error) => return self.resolution.errors.push(error),
        };
        if !pids.contains(&1) {
            let capability = MissingCapability::for_inspecting();
            self.resolution.errors.push(NetnsError::HiddenProcesses { capability });
        }
        let mut unreadable = UnreadableProcesses::default();
        for pid in pids {
            match process_namespace_id(pid) {
                Ok((path, id)) => match self.add_of_selected_users(id, path) {
                    Some(ResolvedNamespace { namespace, .. })
                        if namespace.process.is_none() && !namespace.is_current =>
                    {
                        namespace.process = read_process(pid);
                    }
                    _ => {}
                },
                // The process has ended.
                Err(Errno::NOENT | Errno::SRCH) => {}
                Err(errno) => unreadable.add(errno),
            }
        }
        self.resolution.errors.extend(unreadable.into_error());
    }

    /// Adds a path to a namespace, and the namespace itself if it is new. Returns `None`
    /// if it belongs to a user that is not selected.
    ///
    /// If the namespace cannot be opened here, its owner is checked when the namespace is
    /// entered.
    fn add_of_selected_users(
        &mut self,
        id: NamespaceId,
        path: PathBuf,
    ) -> Option<&mut ResolvedNamespace> {
        if !self.index_by_id.contains_key(&id) {
            self.leave_out_if_not_selected(id, &path);
        }
        if self.index_by_id.get(&id) == Some(&None) {
            return None;
        }
        let resolved = self.add(id);
        resolved.add_path(path);
        Some(resolved)
    }

    /// Marks a namespace as left out if it belongs to a user that is not selected.
    fn leave_out_if_not_selected(&mut self, id: NamespaceId, path: &Path) {
        let Ok(Some(file)) = open_if_same(path, id) else { return };
        if let Err(NetnsError::NotSelected { uid }) = check_owner(&file, &self.owners) {
            self.index_by_id.insert(id, None);
            self.resolution.owners_left_out.push(uid);
        }
    }

    /// Returns the namespace, and adds it if it is new.
    fn add(&mut self, id: NamespaceId) -> &mut ResolvedNamespace {
        let namespaces = &mut self.resolution.namespaces;
        let index = match self.index_by_id.get(&id) {
            Some(Some(index)) => *index,
            _ => {
                let is_current = self.current == Some(id);
                let namespace =
                    Namespace { inode: id.inode, is_current, name: None, process: None };
                let owners = Some(self.owners.clone());
                namespaces.push(ResolvedNamespace { namespace, id, owners, paths: Vec::new() });
                self.index_by_id.insert(id, Some(namespaces.len() - 1));
                namespaces.len() - 1
            }
        };
        &mut namespaces[index]
    }
}

impl ResolvedNamespace {
    fn add_path(&mut self, path: PathBuf) {
        if self.paths.len() < MAX_PATHS {
            self.paths.push(path);
        }
    }
}

/// Checks that the namespace belongs to one of these users.
///
/// # Errors
///
/// Returns [`NetnsError::NotSelected`] if it belongs to another user.
fn check_owner(namespace: &OwnedFd, owners: &[u32]) -> Result<(), NetnsError> {
    let uid = namespace_owner::owner_uid(namespace.as_fd())
        .map_err(|errno| NetnsError::Owner(errno.into()))?;
    if owners.contains(&uid) { Ok(()) } else { Err(NetnsError::NotSelected { uid }) }
}

/// Returns the sorted names of the entries of a directory; none if the directory
/// does not exist.
pub(super) fn dir_names(dir: &Path) -> Result<Vec<OsString>, NetnsError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| dir_error(dir, &error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(|error| dir_error(dir, &error))?.file_name());
    }
    names.sort();
    Ok(names)
}

fn dir_error(dir: &Path, error: &io::Error) -> NetnsError {
    NetnsError::from_open(dir, Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// Returns the IDs of all visible processes in ascending order. The lowest ID in a
/// container is usually that of its first process.
pub(super) fn list_pids() -> Result<Vec<u32>, NetnsError> {
    let mut pids: Vec<u32> = dir_names(Path::new("/proc"))?
        .iter()
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Returns the path of the file of a selected namespace.
fn selector_path(selector: &NetnsSelector) -> PathBuf {
    let NetnsSelector::Process(pid) = selector else {
        return selector.path();
    };
    // If the process has ended, opening the file of the selector gives the error to report.
    process_namespace_id(*pid).map_or_else(|_| selector.path(), |(path, _)| path)
}

fn process_namespace_id(pid: u32) -> Result<(PathBuf, NamespaceId), Errno> {
    let (path, stat) = stat_in_process(pid, "ns/net")?;
    Ok((path, NamespaceId { device: stat.st_dev, inode: stat.st_ino }))
}

/// Returns the path and the status of a file below `/proc/PID` that shows a network
/// namespace.
///
/// After the first thread of a process has ended, the file is missing in `/proc/PID`; the
/// directories of the other threads still have it.
pub(super) fn stat_in_process(pid: u32, file: &str) -> Result<(PathBuf, Stat), Errno> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    match stat(&path) {
        Ok(stat) => return Ok((path, stat)),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    // The directory is missing if the process has ended.
    for thread_id in dir_names(&tasks).map_err(|_| Errno::NOENT)? {
        let path = tasks.join(thread_id).join(file);
        match stat(&path) {
            Ok(stat) => return Ok((path, stat)),
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::NOENT)
}

/// Opens the file of a resolved namespace.
///
/// # Errors
///
/// Returns [`NetnsError::Gone`] if no process or name leads to the namespace any more,
/// [`NetnsError::NotSelected`] if it belongs to another user, and another error if it
/// exists but cannot be opened.
pub(super) fn open_namespace(resolved: &ResolvedNamespace) -> Result<OwnedFd, NetnsError> {
    let file = find_and_open(resolved)?;
    if let Some(owners) = &resolved.owners {
        check_owner(&file, owners)?;
    }
    Ok(file)
}

fn find_and_open(resolved: &ResolvedNamespace) -> Result<OwnedFd, NetnsError> {
    for path in &resolved.paths {
        if let Some(file) = open_if_same(path, resolved.id)? {
            return Ok(file);
        }
    }
    // The known processes have ended, but the namespace may have others.
    for _ in 1..N_SEARCHES {
        match search_and_open(resolved.id) {
            Err(NetnsError::Gone | NetnsError::ShortLivedProcesses) => {}
            result => return result,
        }
    }
    search_and_open(resolved.id)
}

/// Opens the namespace file at `path`. Returns `None` if the path does not lead to the
/// namespace `id`: another namespace may have taken the name, or another process the
/// process ID.
fn open_if_same(path: &Path, id: NamespaceId) -> Result<Option<OwnedFd>, NetnsError> {
    let file = match identify(path) {
        Ok((file, found)) if found == id => file,
        Ok(_) | Err(NetnsError::Missing { .. } | NetnsError::NotANamespace { .. }) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // Opening through the descriptor ensures that the identified file is the one that is
    // opened.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(errno) => Err(NetnsError::from_open(Path::new(&path), errno)),
    }
}

/// Searches the names and all processes for a namespace, and opens it at once.
fn search_and_open(id: NamespaceId) -> Result<OwnedFd, NetnsError> {
    for name in dir_names(Path::new(NAMED_NETNS_DIR))? {
        if let Some(file) = open_if_same(&Path::new(NAMED_NETNS_DIR).join(name), id)? {
            return Ok(file);
        }
    }
    let mut has_process = false;
    let mut unreadable = UnreadableProcesses::default();
    for pid in list_pids()? {
        match process_namespace_id(pid) {
            Ok((path, found)) if found == id => {
                has_process = true;
                if let Some(file) = open_if_same(&path, id)? {
                    return Ok(file);
                }
            }
            Ok(_) | Err(Errno::NOENT | Errno::SRCH) => {}
            Err(errno) => unreadable.add(errno),
        }
    }
    if has_process {
        return Err(NetnsError::ShortLivedProcesses);
    }
    Err(unreadable.into_error().unwrap_or(NetnsError::Gone))
}

/// Processes whose namespace cannot be read.
#[derive(Default)]
struct UnreadableProcesses {
    count: u64,
    /// Error for the first of them.
    first: Option<Errno>,
}

impl UnreadableProcesses {
    fn add(&mut self, errno: Errno) {
        self.count += 1;
        self.first.get_or_insert(errno);
    }

    /// Returns the error for the processes; `None` if all could be read.
    fn into_error(self) -> Option<NetnsError> {
        Some(NetnsError::UnreadableProcesses {
            n_processes: self.count,
            capability: MissingCapability::for_inspecting(),
            source: self.first?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_namespace_is_resolved_once_for_several_selectors() {
        let pid = NetnsSelector::Process(std::process::id());
        let path = NetnsSelector::Path(PathBuf::from("/proc/self/ns/net"));
        let Resolution { namespaces, errors, .. } = resolve_namespaces(&[pid.clone(), path, pid]);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(
            matches!(&namespaces[..], [resolved] if resolved.namespace.is_current),
            "{namespaces:?}"
        );
    }

    #[test]
    fn paths_that_are_not_network_namespaces_are_rejected() {
        let error_for = |path: &str| {
            let selector = NetnsSelector::Path(PathBuf::from(path));
            let Resolution { namespaces, errors, .. } = resolve_namespaces(&[selector]);
            assert!(namespaces.is_empty(), "{namespaces:?}");
            errors[0].to_string()
        };
        assert_eq!(error_for("/dev/null"), "/dev/null is not a network namespace");
        assert_eq!(error_for("/proc/self/ns/"), "/proc/self/ns/ is not a network namespace");
        assert_eq!(error_for("/run/netns/../none"), "cannot find /run/netns/../none");
        assert_eq!(error_for("/dev/null/x"), "cannot find /dev/null/x");
    }
}
