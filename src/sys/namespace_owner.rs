//! Owner of a network namespace: the user that created the user namespace that owns the
//! network namespace (user_namespaces(7), ioctl_nsfs(2)).
#![expect(unsafe_code, reason = "no library has these two ioctls as safe functions")]
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::{
    fs::{fstat, stat},
    io::Errno,
    ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode},
};

/// Group of the ioctls of namespace files (`linux/nsfs.h`).
const NSIO: u8 = 0xb7;
/// `NS_GET_USERNS`.
const GET_USER_NAMESPACE: Opcode = opcode::none(NSIO, 1);
/// `NS_GET_OWNER_UID`. It writes a `uid_t`, although its number declares no data.
const GET_OWNER_UID: Opcode = opcode::none(NSIO, 4);

/// Root's user ID.
const ROOT: u32 = 0;

/// Returns the user ID of the owner of a namespace; root's if the namespace belongs to
/// the user namespace of this process or to one above it.
///
/// # Errors
///
/// Returns an error if the kernel does not report the owner, as before Linux 4.11.
pub fn owner_uid(namespace: BorrowedFd<'_>) -> Result<u32, Errno> {
    // SAFETY: the kernel takes no argument, and returns a new file descriptor.
    let user_namespace = match unsafe { ioctl(namespace, GetUserNamespace) } {
        // The user namespace is above that of this process.
        Err(Errno::PERM) => return Ok(ROOT),
        user_namespace => user_namespace?,
    };
    if is_own(user_namespace.as_fd())? {
        return Ok(ROOT);
    }
    // SAFETY: the kernel writes a `uid_t`, which is a `u32` on every architecture of Linux.
    unsafe { ioctl(user_namespace, Getter::<GET_OWNER_UID, u32>::new()) }
}

fn is_own(user_namespace: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (found, own) = (fstat(user_namespace)?, stat("/proc/self/ns/user")?);
    Ok((found.st_dev, found.st_ino) == (own.st_dev, own.st_ino))
}

/// The ioctl `NS_GET_USERNS`.
struct GetUserNamespace;

// SAFETY: the ioctl reads and writes no memory, and a descriptor that it returns is new.
unsafe impl Ioctl for GetUserNamespace {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        GET_USER_NAMESPACE
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut rustix::ffi::c_void,
    ) -> Result<Self::Output, Errno> {
        // SAFETY: the caller passes the result of the ioctl.
        Ok(unsafe { OwnedFd::from_raw_fd(output) })
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags, open};

    use super::*;

    #[test]
    fn own_namespace_belongs_to_root() {
        let file = open("/proc/self/ns/net", OFlags::RDONLY, Mode::empty()).unwrap();
        assert_eq!(owner_uid(file.as_fd()), Ok(ROOT));
    }

    #[test]
    fn other_files_have_no_owner() {
        let file = open("/proc/self/status", OFlags::RDONLY, Mode::empty()).unwrap();
        assert_eq!(owner_uid(file.as_fd()), Err(Errno::NOTTY));
    }
}
