//! Files of networks: those that do not count, and what others are called.
#![expect(clippy::disallowed_types, reason = "this is where such a file is opened")]
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    analysis::label::Label,
    model::network::{Network, NetworkError},
};

/// How long such a file may be: a hundred thousand networks.
const LONGEST: u64 = 4 * 1024 * 1024;
/// How many hosts may be named: each is asked for anew by every check.
const MOST_HOSTS: usize = 100;
/// How long a name of a host may be (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;

/// A line of a list of what does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclude {
    /// An address or network.
    Network(Network),
    /// A host, whose addresses have to be found.
    Host(String),
}

/// Why a file of networks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkFileError {
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
    #[error("cannot read line {line} of {}: {text}: {problem}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What stands there, as far as it is quoted.
        text: String,
        /// What is wrong with it.
        problem: String,
        /// How it should be.
        advice: &'static str,
    },
    /// More names than can be asked for in time.
    #[error("cannot use {}: it names {n} hosts, and {MOST_HOSTS} are the most", path.display())]
    TooManyHosts {
        /// Which.
        path: PathBuf,
        /// How many it names.
        n: usize,
    },
}

impl NetworkFileError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!("Is it there, and may this user read it? ls -l {}", path.display())
            }
            Self::TooLong { .. } => "Write networks instead of their addresses.".to_owned(),
            Self::Line { advice, .. } => (*advice).to_owned(),
            Self::TooManyHosts { .. } => "Write their addresses or networks.".to_owned(),
        }
    }
}

/// Reads what does not count: an address, a network or a host a line; `#`
/// begins a comment.
///
/// # Errors
///
/// Where the file cannot be read, or any of its lines: a network that is left
/// out of the list is counted, and then the verdict is about somebody else.
pub fn excludes(path: &Path) -> Result<Vec<Exclude>, NetworkFileError> {
    const ADVICE: &str = "Write one address, network or host name (in ASCII) a line, and comments \
                          behind a #.";
    let excludes = lines(path, exclude, ADVICE)?;
    let n = excludes.iter().filter(|it| matches!(it, Exclude::Host(_))).count();
    match n {
        0..=MOST_HOSTS => Ok(excludes),
        _ => Err(NetworkFileError::TooManyHosts { path: path.to_owned(), n }),
    }
}

/// Reads what networks are called: `192.0.2.0/24=office` or `192.0.2.0/24
/// office`, one a line; `#` begins a comment.
///
/// # Errors
///
/// Where the file cannot be read, or any of its lines.
pub fn labels(path: &Path) -> Result<Vec<Label>, NetworkFileError> {
    lines(path, label, "Write NET=NAME, one a line, and comments behind a #.")
}

fn lines<T>(
    path: &Path,
    read: impl Fn(&str) -> Result<T, String>,
    advice: &'static str,
) -> Result<Vec<T>, NetworkFileError> {
    let failed = |source| NetworkFileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(NetworkFileError::TooLong { path: path.to_owned() });
    }
    written(&String::from_utf8_lossy(&bytes))
        .map(|(line, text)| {
            read(text).map_err(|problem| {
                let text = text.chars().take(40).collect();
                NetworkFileError::Line { path: path.to_owned(), line, text, problem, advice }
            })
        })
        .collect()
}

/// The lines that say something, with their numbers.
fn written(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Windows begins its files with a mark.
    (1..)
        .zip(text.trim_start_matches('\u{feff}').lines())
        .map(|(number, line)| (number, line.split('#').next().unwrap_or(line).trim()))
        .filter(|(_, line)| !line.is_empty())
}

fn exclude(text: &str) -> Result<Exclude, String> {
    match text.parse() {
        Ok(network) => Ok(Exclude::Network(network)),
        Err(NetworkError::Form) if is_host(text) => {
            Ok(Exclude::Host(text.trim_end_matches('.').to_ascii_lowercase()))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Whether it may be the name of a host (RFC 1123, section 2.1): the last label
/// of one is no number, decimal or like 0x7f, which a resolver would take for
/// one. So 192.0.2.300 is a mistake and not looked up.
fn is_host(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or(name);
    text.len() <= LONGEST_NAME
        && !name.starts_with('-')
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
        && !last.to_ascii_lowercase().starts_with("0x")
}

/// Reads `192.0.2.0/24=office` or `192.0.2.0/24 office`.
///
/// # Errors
///
/// Where there is no network, or no name.
pub fn label(text: &str) -> Result<Label, String> {
    let form = || "write a network and its name, such as 192.0.2.0/24=office".to_owned();
    let is_gap = |letter: char| letter == '=' || letter.is_whitespace();
    let (network, name) = text.trim().split_once(is_gap).ok_or_else(form)?;
    let network: Network = network.parse().map_err(|error: NetworkError| error.to_string())?;
    Label::new(network, name.trim_start_matches(is_gap)).ok_or_else(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_left_out() {
        let text = "# office\n192.0.2.0/24\r\n\n  2001:db8::/32  # the other one\n";
        let found: Vec<_> = written(text).collect();
        assert_eq!(found, [(2, "192.0.2.0/24"), (4, "2001:db8::/32")]);
    }

    #[test]
    fn a_line_is_a_network_or_a_host() {
        let host = |name: &str| Ok(Exclude::Host(name.to_owned()));
        assert_eq!(exclude("web1"), host("web1"));
        assert_eq!(exclude("Backup.Example.org."), host("backup.example.org"));
        assert_eq!(exclude("7.example"), host("7.example"));
        assert!(matches!(exclude("192.0.2.7"), Ok(Exclude::Network(_))));
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
            assert!(exclude(text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels_have_a_network_and_a_name() {
        let found = |text| label(text).map(|label| format!("{} {}", label.network, label.name));
        assert_eq!(found("192.0.2.0/24=our office"), Ok("192.0.2.0/24 our office".to_owned()));
        assert_eq!(found("192.0.2.7 = proxy"), Ok("192.0.2.7 proxy".to_owned()));
        assert_eq!(found("2001:db8::/32\tIPv6"), Ok("2001:db8::/32 IPv6".to_owned()));
        for text in ["office", "192.0.2.7", "192.0.2.7=", "office=192.0.2.7", "=x"] {
            assert!(label(text).is_err(), "{text}");
        }
    }
}
