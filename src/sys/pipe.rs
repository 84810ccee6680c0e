//! Pipes, with the interface of `std::io::pipe`, which Rust has since 1.87.
use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::{read, retry_on_intr, write},
    pipe::{PipeFlags, pipe_with},
};

/// Reading end of a pipe.
#[derive(Debug)]
pub struct PipeReader(OwnedFd);

/// Writing end of a pipe.
#[derive(Debug)]
pub struct PipeWriter(OwnedFd);

/// Creates a pipe. Child processes do not inherit its ends.
///
/// # Errors
///
/// Returns an error if the process or the system has too many open files.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((PipeReader(reader), PipeWriter(writer)))
}

impl PipeReader {
    /// Returns another descriptor of the same end.
    ///
    /// # Errors
    ///
    /// Returns an error if the process or the system has too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| read(&self.0, &mut *buffer))?)
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| write(&self.0, bytes))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PipeReader> for OwnedFd {
    fn from(reader: PipeReader) -> Self {
        reader.0
    }
}

impl From<PipeWriter> for OwnedFd {
    fn from(writer: PipeWriter) -> Self {
        writer.0
    }
}
