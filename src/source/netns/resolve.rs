//! Which network namespaces there are of those that are asked for.
use std::{
    collections::{BTreeMap, btree_map::Entry},
    ffi::OsString,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, open, stat},
    io::Errno,
};

use crate::model::namespace::Namespace;

use super::{Id, NAMED, Netns, NetnsError, OWN, id, netns_error::Grant, process::process};

/// A namespace that was found, and ways to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What names it.
    pub namespace: Namespace,
    id: Id,
    /// By a process that may end before the others there do, for one.
    pub(super) paths: Vec<PathBuf>,
}

/// What there is of what is asked for.
#[derive(Debug, Default)]
pub struct Finding {
    /// Each once, in an order that is always the same.
    pub found: Vec<Found>,
    /// What cannot be seen.
    pub errors: Vec<NetnsError>,
    /// Names without a namespace.
    pub left_over: Vec<String>,
}

/// How many ways to one namespace are kept.
const WAYS: usize = 4;

/// Finds what is asked for. A namespace is no file that is kept open: a host may
/// have more of them than a process may have files.
#[must_use]
pub fn find(asked: &[Netns]) -> Finding {
    // Without /proc, a name is good all the same; it is entered like any other.
    let own = id(Path::new(OWN)).ok().map(|(_, id)| id);
    let mut search = Search { own, ..Search::default() };
    for one in asked {
        match one {
            Netns::All => search.all(),
            one => search.one(one),
        }
    }
    search.finding
}

#[derive(Debug, Default)]
struct Search {
    own: Option<Id>,
    /// Where in the finding it is.
    known: BTreeMap<Id, usize>,
    finding: Finding,
}

impl Search {
    fn one(&mut self, asked: &Netns) {
        let path = asked.path();
        match id(&path) {
            Err(error) => self.finding.errors.push(error),
            Ok((_, id)) => {
                let namespace = self.see(id, path);
                match asked {
                    Netns::Process(pid) if namespace.process.is_none() => {
                        namespace.process = process(*pid);
                    }
                    Netns::Process(_) => {}
                    asked => {
                        namespace.name.get_or_insert_with(|| asked.to_string());
                    }
                }
            }
        }
    }

    /// This program's own, the ones that have a name, and those that processes
    /// are in.
    fn all(&mut self) {
        match self.own {
            Some(own) => {
                self.see(own, PathBuf::from(OWN));
            }
            None => self.finding.errors.extend(id(Path::new(OWN)).err()),
        }
        self.named();
        self.of_processes();
    }

    fn named(&mut self) {
        let names = match names(Path::new(NAMED)) {
            Ok(names) => names,
            Err(error) => return self.finding.errors.push(error),
        };
        for name in names {
            let path = Path::new(NAMED).join(&name);
            let text = || name.to_string_lossy().into_owned();
            match (id(&path), name.to_str()) {
                (Ok(_), Some(name)) => self.one(&Netns::Name(name.to_owned())),
                (Ok(_), None) => self.one(&Netns::Path(path)),
                // A file that is there for a namespace that is not, or a link
                // to a process that is over.
                (Err(NetnsError::Another { .. } | NetnsError::Missing { .. }), _) => {
                    self.finding.left_over.push(text());
                }
                (Err(error), _) => self.finding.errors.push(error),
            }
        }
    }

    fn of_processes(&mut self) {
        let pids = match pids() {
            Ok(pids) => pids,
            Err(error) => return self.finding.errors.push(error),
        };
        if !pids.contains(&1) {
            self.finding.errors.push(NetnsError::Hidden { grant: Grant::to_see() });
        }
        let mut hidden: Option<(u64, io::Error)> = None;
        for pid in pids {
            match id_of_process(pid) {
                Ok((path, id)) => {
                    let namespace = self.see(id, path);
                    if namespace.process.is_none() && !namespace.is_own {
                        namespace.process = process(pid);
                    }
                }
                // It is over.
                Err(Errno::NOENT | Errno::SRCH) => {}
                Err(errno) => hidden.get_or_insert_with(|| (0, errno.into())).0 += 1,
            }
        }
        if let Some((n, source)) = hidden {
            self.finding.errors.push(NetnsError::Processes { n, grant: Grant::to_see(), source });
        }
    }

    /// One that is there, by one more way.
    fn see(&mut self, id: Id, path: PathBuf) -> &mut Namespace {
        let found = &mut self.finding.found;
        let index = match self.known.entry(id) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let is_own = self.own == Some(id);
                let namespace = Namespace { inode: id.inode, is_own, name: None, process: None };
                found.push(Found { namespace, id, paths: Vec::new() });
                *entry.insert(found.len() - 1)
            }
        };
        let one = &mut found[index];
        if one.paths.len() < WAYS {
            one.paths.push(path);
        }
        &mut one.namespace
    }
}

/// The names in a folder, in order; none where there is no folder.
pub(super) fn names(folder: &Path) -> Result<Vec<OsString>, NetnsError> {
    let failed = |error: io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        NetnsError::open(folder, errno)
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| match entry {
        Ok(entry) => Ok(entry.file_name()),
        Err(error) => Err(failed(error)),
    };
    let mut names: Vec<_> = entries.map(name).collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

/// Every process that shows, the lowest number first: the one that a container
/// was begun with.
pub(super) fn pids() -> Result<Vec<u32>, NetnsError> {
    let mut pids: Vec<u32> =
        names(Path::new("/proc"))?.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

fn id_of_process(pid: u32) -> Result<(PathBuf, Id), Errno> {
    let path = Netns::Process(pid).path();
    let stat = stat(&path)?;
    Ok((path, Id { device: stat.st_dev, inode: stat.st_ino }))
}

/// Opens a namespace that was found, if it still is where it was.
pub(super) fn namespace_file(found: &Found) -> Result<OwnedFd, NetnsError> {
    for path in &found.paths {
        match id(path) {
            Ok((file, id)) if id == found.id => {
                // What was looked at is what is opened.
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                return open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|errno| NetnsError::open(Path::new(&path), errno));
            }
            // Another one has its name, or a process its number.
            Ok(_) | Err(NetnsError::Missing { .. } | NetnsError::Another { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(NetnsError::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_one_is_found_once_by_whatever_name() {
        let own = Netns::Process(std::process::id());
        let path = Netns::Path(PathBuf::from("/proc/self/ns/net"));
        let Finding { found, errors, .. } = find(&[own.clone(), path, own]);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(matches!(&found[..], [one] if one.namespace.is_own), "{found:?}");
    }

    #[test]
    fn what_is_no_network_namespace_is_not_opened() {
        let of = |path: &str| {
            let Finding { found, errors, .. } = find(&[Netns::Path(PathBuf::from(path))]);
            assert!(found.is_empty(), "{found:?}");
            errors[0].to_string()
        };
        assert_eq!(of("/dev/null"), "/dev/null is no network namespace");
        assert_eq!(of("/proc/self/ns/"), "/proc/self/ns/ is no network namespace");
        assert_eq!(of("/run/netns/../none"), "cannot find /run/netns/../none");
        assert_eq!(of("/dev/null/x"), "cannot find /dev/null/x");
    }
}
