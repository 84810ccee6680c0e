//! Who runs this process, by the system's list of users.
use std::path::PathBuf;

use nix::unistd::{User, geteuid};

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Home folder.
    pub home: PathBuf,
}

/// The user that this process runs as; `None` where the list does not have one.
///
/// `$USER` and `$HOME` are not asked: a daemon that has changed its user often
/// still has those of root.
#[must_use]
pub fn current() -> Option<Account> {
    let user = User::from_uid(geteuid()).ok().flatten()?;
    Some(Account { name: user.name, home: user.dir })
}
