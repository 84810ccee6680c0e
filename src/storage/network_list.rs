//! Files with lists of networks: excluded networks, and labels of networks.
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    analysis::{label::Label, operator::OperatorSelector},
    model::{
        host_name::is_host_name,
        network::{Network, NetworkError},
        problem::Hints,
    },
    sys::trusted_file::{FilePolicy, open_named},
};

/// Maximum size of a list file, enough for 100,000 networks.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Maximum number of host names in a file: every check resolves each of them.
const MAX_HOSTS: usize = 100;

/// An entry of an exclude file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExcludeEntry {
    /// An address or network.
    Network(Network),
    /// A host name, whose addresses must be resolved.
    Host(String),
    /// An operator or a country, whose networks are in a network database.
    Operator(OperatorSelector),
}

/// An error in a list file.
#[derive(Debug, thiserror::Error)]
pub enum NetworkListError {
    /// The file cannot be read.
    #[error("cannot read the list of networks {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is too long.
    #[error("cannot read the list of networks {}: it is longer than 4 MiB", path.display())]
    TooLong {
        /// Path of the file.
        path: PathBuf,
    },
    /// A line is not a valid entry.
    #[error("cannot read line {line} of {}: {text}: {problem}", path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Line number, counted from 1.
        line: usize,
        /// The first characters of the entry.
        text: String,
        /// The error in the entry.
        problem: String,
        /// The expected format.
        hint: &'static str,
    },
    /// The file has more host names than can be resolved in time.
    #[error("cannot use {}: it has {n} host names, more than {MAX_HOSTS}", path.display())]
    TooManyHosts {
        /// Path of the file.
        path: PathBuf,
        /// Number of host names in the file.
        n: usize,
    },
}

impl Hints for NetworkListError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl NetworkListError {
    /// Returns the suggested remedy.
    fn hint(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!(
                    "Check that it exists and that this user can read it: ls -l {}",
                    path.display()
                )
            }
            Self::TooLong { .. } => "List networks instead of their addresses.".to_owned(),
            Self::Line { hint, .. } => (*hint).to_owned(),
            Self::TooManyHosts { .. } => {
                "List addresses or networks instead of host names.".to_owned()
            }
        }
    }
}

/// Reads an exclude file: one address, network, host name, autonomous system or country per
/// line; `#` starts a comment.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or if any line is not valid. A
/// missing entry would cause its network to be counted, and the verdict would be
/// about the wrong peer.
pub fn read_excludes(path: &Path) -> Result<Vec<ExcludeEntry>, NetworkListError> {
    const HINT: &str = "Write one address, network, host name (in ASCII), AS64500 or country:DE \
                          per line, and comments after a #.";
    let entries = read_entries(path, parse_exclude, HINT)?;
    let n = entries.iter().filter(|it| matches!(it, ExcludeEntry::Host(_))).count();
    match n {
        0..=MAX_HOSTS => Ok(entries),
        _ => Err(NetworkListError::TooManyHosts { path: path.to_owned(), n }),
    }
}

/// Reads a label file: `192.0.2.0/24=office` or `192.0.2.0/24 office`, one per
/// line; `#` starts a comment.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or if any line is not valid.
pub fn read_labels(path: &Path) -> Result<Vec<Label>, NetworkListError> {
    read_entries(path, parse_label, "Write one NET=NAME per line, and comments after a #.")
}

fn read_entries<T>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, String>,
    hint: &'static str,
) -> Result<Vec<T>, NetworkListError> {
    let mut bytes = Vec::new();
    open_named(path, FilePolicy::default())
        .map_err(io::Error::from)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| NetworkListError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(NetworkListError::TooLong { path: path.to_owned() });
    }
    content_lines(&String::from_utf8_lossy(&bytes))
        .map(|(line, text)| {
            parse(text).map_err(|problem| {
                let text = text.chars().take(40).collect();
                NetworkListError::Line { path: path.to_owned(), line, text, problem, hint }
            })
        })
        .collect()
}

/// Returns the lines that are neither blank nor comments, with their numbers.
fn content_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Windows starts text files with a byte order mark.
    (1..)
        .zip(text.trim_start_matches('\u{feff}').lines())
        .map(|(number, line)| (number, line.split('#').next().unwrap_or(line).trim()))
        .filter(|(_, line)| !line.is_empty())
}

fn parse_exclude(text: &str) -> Result<ExcludeEntry, String> {
    if let Ok(selector) = text.parse() {
        return Ok(ExcludeEntry::Operator(selector));
    }
    match Network::parse_selector(text) {
        Ok(network) => Ok(ExcludeEntry::Network(network)),
        Err(NetworkError::Syntax) if is_host_name(text) => {
            Ok(ExcludeEntry::Host(text.trim_end_matches('.').to_ascii_lowercase()))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Parses `192.0.2.0/24=office` or `192.0.2.0/24 office`.
///
/// # Errors
///
/// Returns an error if the network or the name is missing or not valid.
pub fn parse_label(text: &str) -> Result<Label, String> {
    const SYNTAX: &str = "write a network and its name, such as 192.0.2.0/24=office";
    let (network, name) = text.trim().split_once(is_separator).ok_or(SYNTAX)?;
    let network = Network::parse_selector(network).map_err(|error| error.to_string())?;
    Ok(Label::new(network, name.trim_start_matches(is_separator)).ok_or(SYNTAX)?)
}

fn is_separator(letter: char) -> bool {
    letter == '=' || letter.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        let text = "# office\n192.0.2.0/24\r\n\n  2001:db8::/32  # the other one\n";
        let lines: Vec<_> = content_lines(text).collect();
        assert_eq!(lines, [(2, "192.0.2.0/24"), (4, "2001:db8::/32")]);
    }

    #[test]
    fn exclude_entry_is_network_or_host_name() {
        let host = |name: &str| Ok(ExcludeEntry::Host(name.to_owned()));
        assert_eq!(parse_exclude("web1"), host("web1"));
        assert_eq!(parse_exclude("Backup.Example.org."), host("backup.example.org"));
        assert_eq!(parse_exclude("7.example"), host("7.example"));
        assert!(matches!(parse_exclude("192.0.2.7"), Ok(ExcludeEntry::Network(_))));
        for text in [
            "192.0.2.300",
            "192.0.2.0/33",
            "198.51.100.0x5",
            "two words",
            "-x",
            "a..b",
            "web1/24",
            "::g",
        ] {
            assert!(parse_exclude(text).is_err(), "{text}");
        }
    }

    #[test]
    fn label_requires_network_and_name() {
        let parse =
            |text| parse_label(text).map(|label| format!("{} {}", label.network, label.name));
        assert_eq!(parse("192.0.2.0/24=our office"), Ok("192.0.2.0/24 our office".to_owned()));
        assert_eq!(parse("192.0.2.7 = proxy"), Ok("192.0.2.7 proxy".to_owned()));
        assert_eq!(parse("2001:db8::/32\tIPv6"), Ok("2001:db8::/32 IPv6".to_owned()));
        for text in ["office", "192.0.2.7", "192.0.2.7=", "office=192.0.2.7", "=x"] {
            assert!(parse_label(text).is_err(), "{text}");
        }
    }
}
