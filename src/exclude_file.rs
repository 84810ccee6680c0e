//! Files of networks that do not count.
#![expect(clippy::disallowed_types, reason = "this is where such a file is opened")]
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::filter::{Network, NetworkError};

/// How long such a file may be: a hundred thousand networks.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Why a file of networks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExcludeFileError {
    /// It cannot be read.
    #[error("cannot read the list of networks {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is longer than anybody could mean.
    #[error("cannot read the list of networks {}: it is longer than 4 MiB", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// A line is no network.
    #[error("cannot read line {line} of {}: {text}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What stands there, as far as it is quoted.
        text: String,
        /// What is wrong with it.
        source: NetworkError,
    },
}

impl ExcludeFileError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!("Is it there, and may this user read it? ls -l {}", path.display())
            }
            Self::TooLong { .. } | Self::Line { .. } => {
                "Write one address or network a line, and comments behind a #.".to_owned()
            }
        }
    }
}

/// Reads the networks in a file: one a line, `#` begins a comment.
///
/// # Errors
///
/// Where the file cannot be read, or any of its lines: a network that is left
/// out of the list is counted, and then the verdict is about somebody else.
pub fn read(path: &Path) -> Result<Vec<Network>, ExcludeFileError> {
    let failed = |source| ExcludeFileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(ExcludeFileError::TooLong { path: path.to_owned() });
    }
    networks(&String::from_utf8_lossy(&bytes)).map_err(|(line, text, source)| {
        let text = text.chars().take(40).collect();
        ExcludeFileError::Line { path: path.to_owned(), line, text, source }
    })
}

fn networks(text: &str) -> Result<Vec<Network>, (usize, &str, NetworkError)> {
    text.lines()
        .zip(1..)
        .map(|(line, number)| (line.split('#').next().unwrap_or(line).trim(), number))
        .filter(|(line, _)| !line.is_empty())
        .map(|(line, number)| line.parse().map_err(|error| (number, line, error)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_left_out() {
        let text = "# office\n192.0.2.0/24\r\n\n  2001:db8::/32  # the other one\n";
        let networks = networks(text).expect("a list");
        let found: Vec<_> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.0/24", "2001:db8::/32"]);
    }

    #[test]
    fn a_line_that_is_no_network_is_named() {
        let (line, text, _) = networks("192.0.2.0/24\nweb1\n").expect_err("not a list");
        assert_eq!((line, text), (2, "web1"));
    }
}
