//! The user that runs this process, from the system's user database.
use std::path::PathBuf;

use nix::unistd::{self, geteuid};

/// User account of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Home directory.
    pub home_dir: PathBuf,
}

/// Returns the user ID of a login name; `None` if the user database has no entry for it.
#[must_use]
pub fn uid_of(name: &str) -> Option<u32> {
    Some(unistd::User::from_name(name).ok().flatten()?.uid.as_raw())
}

/// Returns the effective user of this process; `None` if the user database has no
/// entry for it.
///
/// `$USER` and `$HOME` are ignored: a daemon that has changed its user often still
/// has those of root.
#[must_use]
pub fn current() -> Option<User> {
    let user = unistd::User::from_uid(geteuid()).ok().flatten()?;
    Some(User { name: user.name, home_dir: user.dir })
}
