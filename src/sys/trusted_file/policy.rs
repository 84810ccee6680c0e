//! Requirements for a file before it is used: type, owner, links and permission bits.
#![expect(clippy::disallowed_types, reason = "files that could be planted are inspected here")]
use std::{fs::File, os::unix::fs::MetadataExt, path::Path};

use rustix::process::geteuid;

use super::{IfMissing, TrustedDir, TrustedFileError, TrustedPath};

/// Permission bits that let other users write.
pub(super) const WRITE_BY_OTHERS: u32 = 0o022;

/// Reason not to trust a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// The file is a directory, pipe, socket or device.
    #[error("it is not a regular file")]
    NotRegularFile,
    /// The owner is neither this user nor root.
    #[error("it belongs to another user")]
    ForeignOwner,
    /// The file has several names, and may be a file of another program.
    #[error("it has another name (a hard link)")]
    HardLinked,
    /// The permission bits let other users write to it.
    #[error("others may write to it")]
    WritableByOthers,
    /// The permission bits let other users read or execute it.
    #[error("others may read it")]
    ReadableByOthers,
}

/// Requirements for a file. The default has none: the administrator who names a list is
/// responsible for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilePolicy {
    /// Pipes, devices and directories are rejected; otherwise they meet the policy.
    rejects_special_files: bool,
    /// Files of users other than this one and root are rejected.
    rejects_foreign_owner: bool,
    rejects_hard_links: bool,
    /// Permission bits that must not be set.
    pub(super) forbidden_mode: u32,
    /// Further permission bits that must not be set on a file of this user.
    forbidden_own_mode: u32,
}

impl FilePolicy {
    /// Returns the policy for the state file: only this user and root can have written it.
    pub fn state() -> Self {
        Self {
            rejects_special_files: true,
            rejects_foreign_owner: true,
            rejects_hard_links: true,
            forbidden_mode: WRITE_BY_OTHERS,
            ..Self::default()
        }
    }

    /// Returns the policy for settings, which name files to read and to write and a program
    /// to start: only this user and root can have written them.
    pub fn settings() -> Self {
        Self { rejects_hard_links: false, ..Self::state() }
    }

    /// Returns the policy for passwords and private keys: only the owner and this user can
    /// read them.
    ///
    /// Group permissions count only for a file of this user. A package may give a
    /// file of root to a group that this user is in; a file of this user does not
    /// need group access.
    pub fn secret() -> Self {
        Self { forbidden_mode: 0o007, forbidden_own_mode: 0o070, ..Self::default() }
    }

    /// Returns the policy for appending to known_hosts in `directory`: other users may
    /// write to the file, but cannot have planted it.
    pub fn known_hosts_to_append(directory: &TrustedDir) -> Self {
        Self {
            rejects_special_files: true,
            rejects_foreign_owner: directory.writable_by_others(),
            rejects_hard_links: directory.writable_by_others(),
            ..Self::default()
        }
    }

    /// Returns the policy for the alert log in `directory`, whose owner may own the log.
    pub fn log(directory: &TrustedDir) -> Self {
        let policy = Self::known_hosts_to_append(directory);
        let rejects_foreign_owner = policy.rejects_foreign_owner && !directory.is_foreign();
        Self { rejects_foreign_owner, ..policy }
    }

    /// Returns the policy for reading known_hosts at `path`: a user that can write to the
    /// file chooses the trusted keys.
    pub fn known_hosts_to_read(path: &Path) -> Self {
        let location = TrustedPath::open_parent(path, IfMissing::Fail);
        let is_safe = location.is_ok_and(|it| !it.directory.writable_by_others());
        Self { rejects_foreign_owner: !is_safe, forbidden_mode: 0o002, ..Self::default() }
    }

    /// Checks the type of an open file, then its owner, links and mode.
    pub fn check(&self, file: &File) -> Result<(), TrustedFileError> {
        let metadata = file.metadata().map_err(TrustedFileError::Inspect)?;
        let is_own = metadata.uid() == geteuid().as_raw();
        let own_mode = if is_own { self.forbidden_own_mode } else { 0 };
        let forbidden_bits = metadata.mode() & (self.forbidden_mode | own_mode);
        let reason = if !metadata.is_file() {
            if !self.rejects_special_files {
                return Ok(());
            }
            Distrust::NotRegularFile
        } else if self.rejects_foreign_owner && is_foreign_uid(metadata.uid()) {
            Distrust::ForeignOwner
        } else if self.rejects_hard_links && metadata.nlink() > 1 {
            Distrust::HardLinked
        } else if forbidden_bits & WRITE_BY_OTHERS != 0 {
            Distrust::WritableByOthers
        } else if forbidden_bits != 0 {
            Distrust::ReadableByOthers
        } else {
            return Ok(());
        };
        Err(TrustedFileError::Distrust(reason))
    }
}

/// Returns true if `uid` is neither this user nor root.
pub(super) fn is_foreign_uid(uid: u32) -> bool {
    uid != 0 && uid != geteuid().as_raw()
}
