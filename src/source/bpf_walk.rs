//! Sockets of this host, read from the file of a BPF program that walks the kernel's hash
//! table (`packaging/bpf/topip.bpf.c`). The service topip-bpf loads the program as root and
//! gives the file to the users that may read it.
//!
//! The program lists the sockets of the network namespace of the thread that *reads*. In
//! another namespace, a thread of that namespace therefore reads.
use std::{
    io::{self, BufReader, Read},
    os::fd::OwnedFd,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use rustix::{
    fs::{OFlags, fstatfs},
    io::{Errno, read},
};

use crate::{
    model::connection::{TcpState, TcpStates},
    parse::capture::{ByteOrder, Capture, CaptureFormat},
    sys::trusted_file::{FilePolicy, IfMissing, TrustedDirError, TrustedFileError, TrustedPath},
};

use super::{netlink, netns::n_tcp_sockets, source_error::SourceError};

/// File of the iterator, in a BPF file system for this program only: systemd restricts
/// `/sys/fs/bpf` to root.
pub(super) const ITERATOR_PATH: &str = "/run/topip-bpf/sockets";
/// Minimum number of sockets for which the walk, which visits every bucket of the table, is
/// faster than a dump.
const MIN_SOCKETS: u64 = 4000;
/// Size of the kernel's buffer for an iterator.
const BUFFER_BYTES: usize = 32 * 1024;
/// Maximum number of times in a walk that a slice is read again because its sockets have
/// changed.
const MAX_RETRIES: u32 = 10_000;

/// Settings of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfWalk {
    /// Also list listening sockets, which are not in the table, by netlink.
    pub with_listeners: bool,
    /// Return an error if a dump is at least as fast.
    pub only_if_faster: bool,
}

/// The file is not in a BPF file system.
#[derive(Debug, thiserror::Error)]
#[error("it is not in a BPF file system")]
struct NotInBpffs;

impl BpfWalk {
    /// Opens the walk of this thread's network namespace, which is also that of the thread
    /// that reads.
    pub(super) fn open(self) -> Result<Vec<Capture>, SourceError> {
        let iterator = self.open_iterator()?;
        self.captures(iterator)
    }

    /// Opens the walk of this thread's network namespace, for other threads to read.
    pub(super) fn open_for_thread(self) -> Result<Vec<Capture>, SourceError> {
        let iterator = self.open_iterator()?;
        let (sender, receiver) = sync_channel(1);
        // The new thread is in the namespace of this one.
        thread::Builder::new()
            .spawn(move || send_slices(iterator, &sender))
            .map_err(|source| SourceError::Open { path: ITERATOR_PATH.into(), source })?;
        self.captures(ReceivedSlices { receiver, slices: Vec::new(), n_read: 0 })
    }

    fn open_iterator(self) -> Result<PinnedIterator, SourceError> {
        let iterator = open_trusted()
            .map_err(|source| SourceError::Open { path: ITERATOR_PATH.into(), source })?;
        if self.only_if_faster {
            match n_tcp_sockets(Path::new("/proc/thread-self/net")) {
                Ok(Some(n_sockets)) if n_sockets < MIN_SOCKETS => {
                    return Err(SourceError::FewSockets { n_sockets });
                }
                _ => {}
            }
        }
        Ok(iterator)
    }

    fn captures(self, bytes: impl Read + Send + 'static) -> Result<Vec<Capture>, SourceError> {
        let mut captures = vec![Capture::new(
            CaptureFormat::BpfWalk,
            ITERATOR_PATH,
            Some(ByteOrder::NATIVE),
            Box::new(BufReader::with_capacity(BUFFER_BYTES, bytes)),
        )];
        if self.with_listeners {
            captures.extend(netlink::open(TcpStates::new(&[TcpState::Listen]), &[])?);
        }
        Ok(captures)
    }
}

/// Opens the file of the iterator, unless another user may have created it.
fn open_trusted() -> io::Result<PinnedIterator> {
    /// Type of a BPF file system (`linux/magic.h`).
    const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
    let location =
        TrustedPath::open_parent(Path::new(ITERATOR_PATH), IfMissing::Fail).map_err(|error| {
            match error {
                TrustedDirError::Open(errno) => errno.into(),
                error => io::Error::other(error),
            }
        })?;
    if let Some(reason) = location.directory.distrust() {
        return Err(TrustedFileError::Distrust(reason).into());
    }
    let file = location.open(OFlags::RDONLY, FilePolicy::state())?;
    // The width and sign of `f_type` depend on the architecture.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a magic number")]
    let magic = fstatfs(&file)?.f_type as u32;
    if magic != BPF_FS_MAGIC {
        return Err(io::Error::other(NotInBpffs));
    }
    Ok(PinnedIterator { file: file.into(), n_retries: 0 })
}

/// An open iterator. Each read returns whole slices of the table.
struct PinnedIterator {
    file: OwnedFd,
    n_retries: u32,
}

impl Read for PinnedIterator {
    /// The program discards a slice that changed while it was read, and the kernel returns
    /// EAGAIN if nothing precedes it.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match read(&self.file, &mut *buffer) {
                Err(Errno::AGAIN | Errno::INTR) if self.n_retries < MAX_RETRIES => {
                    self.n_retries += 1;
                }
                result => return Ok(result?),
            }
        }
    }
}

/// Reads the iterator to its end, or until the receiver has been dropped.
fn send_slices(mut iterator: PinnedIterator, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut slices = vec![0; BUFFER_BYTES];
        let result = iterator.read(&mut slices);
        let is_last = !matches!(result, Ok(1..));
        let slices = result.map(|length| {
            slices.truncate(length);
            slices
        });
        if sender.send(slices).is_err() || is_last {
            return;
        }
    }
}

/// Slices that another thread reads from the iterator.
struct ReceivedSlices {
    receiver: Receiver<io::Result<Vec<u8>>>,
    slices: Vec<u8>,
    n_read: usize,
}

impl Read for ReceivedSlices {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.n_read == self.slices.len() {
            // The thread sends an empty vector at the end, and then ends.
            self.slices = self.receiver.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.n_read = 0;
        }
        let unread = &self.slices[self.n_read..];
        let length = unread.len().min(buffer.len());
        buffer[..length].copy_from_slice(&unread[..length]);
        self.n_read += length;
        Ok(length)
    }
}
