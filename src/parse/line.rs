//! Bytes to lines, in bounded memory.
use std::io::{self, BufRead};

use memchr::memchr;

/// A line without its end, be that `\n` or `\r\n`.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// One with its end.
    Whole(&'a [u8]),
    /// The last one, without an end: more of it may be missing.
    Unended(&'a [u8]),
    /// Longer than [`LineReader::LONGEST`]; its beginning.
    TooLong(&'a [u8]),
}

/// Cuts a stream into lines.
pub struct LineReader<R> {
    bytes: R,
    buffer: Vec<u8>,
    /// What is read and not yet given out.
    start: usize,
    end: usize,
    at_end: bool,
    /// How many lines were given out.
    pub number: u64,
}

impl<R: BufRead> LineReader<R> {
    /// How long a line may be, in bytes. The longest that a tool prints is one
    /// of `ss -i`, about 1 KiB.
    pub const LONGEST: usize = 64 * 1024;

    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: R) -> Self {
        Self { bytes, buffer: vec![0; Self::LONGEST], start: 0, end: 0, at_end: false, number: 0 }
    }

    /// The next line; `None` at the end. The last one may lack its line end.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[self.start..self.end]) {
                let line = self.start..self.start + length;
                self.start += length + 1;
                self.number += 1;
                return Ok(Some(Line::Whole(without_return(&self.buffer[line]))));
            }
            if self.at_end {
                let rest = self.start..self.end;
                self.start = self.end;
                if rest.is_empty() {
                    return Ok(None);
                }
                self.number += 1;
                return Ok(Some(Line::Unended(without_return(&self.buffer[rest]))));
            }
            if self.end - self.start == self.buffer.len() {
                self.skip_line()?;
                self.number += 1;
                return Ok(Some(Line::TooLong(&self.buffer)));
            }
            self.fill()?;
        }
    }

    /// What is read and not yet given out, without reading more.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Leaves out lines that somebody has found in [`buffered`](Self::buffered):
    /// how many they are, and how long with their ends.
    pub fn skip(&mut self, n_lines: u64, length: usize) {
        self.number += n_lines;
        self.start = self.end.min(self.start + length);
    }

    /// As much of what comes next as fits: at least one line, where it is not
    /// too long, and most often many.
    pub fn ahead(&mut self) -> io::Result<&[u8]> {
        while !self.at_end && self.end - self.start < self.buffer.len() {
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let more = loop {
            match self.bytes.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                more => break more?,
            }
        };
        self.end += more;
        self.at_end = more == 0;
        Ok(())
    }

    /// Leaves out the rest of a line of which the buffer holds the beginning.
    fn skip_line(&mut self) -> io::Result<()> {
        self.start = self.end;
        loop {
            let bytes = match self.bytes.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            if bytes.is_empty() {
                self.at_end = true;
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

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[track_caller]
    fn check(text: &[u8], expected: &[&str]) {
        // A reader of few bytes at a time, so that every line meets an edge.
        let mut lines = LineReader::new(BufReader::with_capacity(7, text));
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().expect("memory does not fail") {
            found.push(match line {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::Unended(line) => format!("{}...", String::from_utf8_lossy(line)),
                Line::TooLong(line) => format!("too long: {}", line.len()),
            });
        }
        assert_eq!(found, expected);
        assert_eq!(lines.number, expected.len() as u64);
    }

    #[test]
    fn lines() {
        check(b"", &[]);
        check(b"\n", &[""]);
        check(b"one\ntwo\r\nthree\n", &["one", "two", "three"]);
        check(b"no end", &["no end..."]);
        check(b"\r\n\n", &["", ""]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let long = vec![b'x'; 200_000];
        check(&long, &["too long: 65536"]);
        check(&[&long, "\nnext".as_bytes()].concat(), &["too long: 65536", "next..."]);
        let just = vec![b'x'; 65535];
        let text = String::from_utf8(just.clone()).expect("ASCII");
        check(&[&just, "\n".as_bytes()].concat(), &[&text]);
    }

    #[test]
    fn looking_ahead_takes_nothing_away() {
        let mut lines = LineReader::new(BufReader::with_capacity(3, &b"one\ntwo\n"[..]));
        assert_eq!(lines.ahead().expect("memory"), b"one\ntwo\n");
        assert_eq!(lines.next_line().expect("memory"), Some(Line::Whole(b"one")));
        assert_eq!(lines.ahead().expect("memory"), b"two\n");
    }
}
