//! Splitting of a byte stream into lines, in bounded memory.
use std::io::{self, BufRead};

use memchr::memchr;

/// Line without its terminator, which is `\n` or `\r\n`.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Line that had a terminator.
    Complete(&'a [u8]),
    /// Last line, without a terminator: the rest of the line may be missing.
    Unterminated(&'a [u8]),
    /// First [`MAX_LINE_BYTES`](LineReader::MAX_LINE_BYTES) of a line that does not fit
    /// into the buffer.
    TooLong(&'a [u8]),
}

/// Reader that splits a stream into lines.
pub struct LineReader<R> {
    bytes: R,
    buffer: Vec<u8>,
    /// Start of the bytes in `buffer` that are not yet returned.
    start: usize,
    /// End of the bytes in `buffer` that are not yet returned.
    end: usize,
    is_at_end: bool,
    /// Number of lines returned.
    pub n_lines: u64,
}

impl<R: BufRead> LineReader<R> {
    /// Size of the buffer: a line and its terminator have to fit. The longest lines
    /// that a tool prints are those of `ss -i`, about 1 KiB.
    pub const MAX_LINE_BYTES: usize = 64 * 1024;

    /// Creates a reader for the lines of `bytes`.
    pub fn new(bytes: R) -> Self {
        Self {
            bytes,
            buffer: vec![0; Self::MAX_LINE_BYTES],
            start: 0,
            end: 0,
            is_at_end: false,
            n_lines: 0,
        }
    }

    /// Returns the next line, or `None` at the end of the stream.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[self.start..self.end]) {
                let line = self.start..self.start + length;
                self.start += length + 1;
                self.n_lines += 1;
                return Ok(Some(Line::Complete(trim_carriage_return(&self.buffer[line]))));
            }
            if self.is_at_end {
                let rest = self.start..self.end;
                self.start = self.end;
                if rest.is_empty() {
                    return Ok(None);
                }
                self.n_lines += 1;
                return Ok(Some(Line::Unterminated(trim_carriage_return(&self.buffer[rest]))));
            }
            if self.end - self.start == self.buffer.len() {
                self.skip_rest_of_line()?;
                self.n_lines += 1;
                return Ok(Some(Line::TooLong(&self.buffer)));
            }
            self.fill()?;
        }
    }

    /// Fills the buffer and returns the bytes after the latest line, without consuming
    /// them: at least one line, unless the line is too long.
    pub fn read_ahead(&mut self) -> io::Result<&[u8]> {
        while !self.is_at_end && self.end - self.start < self.buffer.len() {
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let n_read = loop {
            match self.bytes.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.end += n_read;
        self.is_at_end = n_read == 0;
        Ok(())
    }

    /// Skips the rest of a line of which the buffer holds the start.
    fn skip_rest_of_line(&mut self) -> io::Result<()> {
        self.start = self.end;
        loop {
            let bytes = match self.bytes.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            if bytes.is_empty() {
                self.is_at_end = true;
                return Ok(());
            }
            if let Some(length) = memchr(b'\n', bytes) {
                self.bytes.consume(length + 1);
                return Ok(());
            }
            let length = bytes.len();
            self.bytes.consume(length);
        }
    }
}

fn trim_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[track_caller]
    fn check(text: &[u8], expected: &[&str]) {
        // A small buffer, so that lines span several reads.
        let mut lines = LineReader::new(BufReader::with_capacity(7, text));
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().expect("memory does not fail") {
            found.push(match line {
                Line::Complete(line) => String::from_utf8_lossy(line).into_owned(),
                Line::Unterminated(line) => format!("{}...", String::from_utf8_lossy(line)),
                Line::TooLong(line) => format!("too long: {}", line.len()),
            });
        }
        assert_eq!(found, expected);
        assert_eq!(lines.n_lines, expected.len() as u64);
    }

    #[test]
    fn line_terminators_are_removed() {
        check(b"", &[]);
        check(b"\n", &[""]);
        check(b"one\ntwo\r\nthree\n", &["one", "two", "three"]);
        check(b"no end", &["no end..."]);
        check(b"\r\n\n", &["", ""]);
    }

    #[test]
    fn long_lines_are_truncated_to_the_buffer_size() {
        let long = vec![b'x'; 200_000];
        check(&long, &["too long: 65536"]);
        check(&[&long, "\nnext".as_bytes()].concat(), &["too long: 65536", "next..."]);
        let longest = vec![b'x'; 65535];
        let text = String::from_utf8(longest.clone()).expect("ASCII");
        check(&[&longest, "\n".as_bytes()].concat(), &[&text]);
    }

    #[test]
    fn read_ahead_does_not_consume_lines() {
        let mut lines = LineReader::new(BufReader::with_capacity(3, &b"one\ntwo\n"[..]));
        assert_eq!(lines.read_ahead().expect("memory"), b"one\ntwo\n");
        assert_eq!(lines.next_line().expect("memory"), Some(Line::Complete(b"one")));
        assert_eq!(lines.read_ahead().expect("memory"), b"two\n");
    }
}
