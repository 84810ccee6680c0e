//! Settings files: options in the sections of an INI file, for `--extra-opts`.
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    model::{problem::Hints, secret::Secret},
    sys::trusted_file::{Distrust, TrustedFileError, open_settings},
};

/// Maximum size of a settings file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Maximum number of settings in a section: each setting is parsed separately, which takes
/// time.
const MAX_SETTINGS: usize = 1000;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Line number, counted from 1.
    pub line: usize,
    /// Name of the option, without hyphens.
    pub key: String,
    /// Value, which may be a password; may be empty.
    pub value: Secret,
}

/// Settings of one section.
#[derive(Debug)]
pub struct SettingsSection {
    /// Path of the file.
    pub path: PathBuf,
    /// Settings in the order of the file.
    pub settings: Vec<Setting>,
    /// `true` if other users cannot read the file.
    pub is_private: bool,
}

/// Failure to read the settings of a section.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFileError {
    /// None of the files exists.
    #[error("cannot find a settings file at {}", path_list(paths))]
    Missing {
        /// Paths that were tried.
        paths: Vec<PathBuf>,
    },
    /// The file cannot be opened or read.
    #[error("cannot read the settings in {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause from the operating system.
        source: io::Error,
    },
    /// Other users may have written the file.
    #[error("cannot trust the settings in {}: {reason}", path.display())]
    Untrusted {
        /// Path of the file.
        path: PathBuf,
        /// Failed requirement for the file.
        reason: Distrust,
    },
    /// The file is too long.
    #[error("cannot read the settings in {}: it is longer than 1 MiB", path.display())]
    TooLong {
        /// Path of the file.
        path: PathBuf,
    },
    /// A line is malformed.
    #[error("{} line {line}: {problem}", path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Line number, counted from 1.
        line: usize,
        /// Mistake in the line.
        problem: LineProblem,
    },
    /// The file does not have the section.
    #[error("{} has no section [{section}]", path.display())]
    NoSection {
        /// Path of the file.
        path: PathBuf,
        /// Name of the section.
        section: String,
    },
}

/// Mistake in a line of a settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// The line begins with `[` and does not end with `]`.
    #[error("the name of a section has no ] at its end")]
    OpenHeader,
    /// The line is before the first section.
    #[error("a setting before the first section")]
    OutsideSection,
    /// The line has no `=`, or no key before it.
    #[error("not KEY = VALUE")]
    NotSetting,
    /// The line is not text.
    #[error("it has a control character, or is not UTF-8")]
    NotText,
    /// The section has more than 1000 settings.
    #[error("more than {MAX_SETTINGS} settings in a section")]
    TooMany,
}

impl Hints for SettingsFileError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl SettingsFileError {
    /// Returns the suggested remedy.
    fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => {
                "Create one, or name a file: --extra-opts=SECTION@FILE".to_owned()
            }
            Self::Read { path, .. } => {
                format!(
                    "Check that it exists and that this user can read it: ls -l {}",
                    path.display()
                )
            }
            Self::Untrusted { path, reason: Distrust::WritableByOthers } => {
                format!("chmod go-w {}", path.display())
            }
            Self::Untrusted { path, reason: Distrust::ForeignOwner } => {
                format!("It must belong to root or to this user: ls -l {}", path.display())
            }
            Self::Untrusted { path, .. } => {
                format!("It must be a regular file: ls -l {}", path.display())
            }
            Self::TooLong { .. } => "Write long lists to separate files.".to_owned(),
            Self::Line { .. } => {
                "Write KEY = VALUE below a [SECTION], and # before a comment.".to_owned()
            }
            Self::NoSection { path, section } => {
                format!("Add the line [{section}] to {}.", path.display())
            }
        }
    }
}

fn path_list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" or ")
}

/// Reads a section of the first of `paths` that exists.
///
/// # Errors
///
/// Returns an error if no file exists, if other users may write to the file, if it cannot
/// be read, if it does not have the section, or if a line of the section is malformed.
pub fn read(paths: &[PathBuf], section: &str) -> Result<SettingsSection, SettingsFileError> {
    for path in paths {
        match read_file(path, section) {
            Err(SettingsFileError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    Err(SettingsFileError::Missing { paths: paths.to_vec() })
}

fn read_file(path: &Path, section: &str) -> Result<SettingsSection, SettingsFileError> {
    let read_error = |source| SettingsFileError::Read { path: path.to_owned(), source };
    let (file, is_private) = open_settings(path).map_err(|error| match error {
        TrustedFileError::Distrust(reason) => {
            SettingsFileError::Untrusted { path: path.to_owned(), reason }
        }
        error => read_error(error.into()),
    })?;
    let n_bytes = file.metadata().map_err(read_error)?.len().min(MAX_FILE_BYTES);
    // A buffer that grows would leave copies of passwords behind.
    let capacity = usize::try_from(n_bytes).expect("a file of 1 MiB fits") + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(read_error)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SettingsFileError::TooLong { path: path.to_owned() });
    }
    let settings = parse(&bytes, section).map_err(|(line, problem)| SettingsFileError::Line {
        path: path.to_owned(),
        line,
        problem,
    })?;
    let Some(settings) = settings else {
        let section = section.to_owned();
        return Err(SettingsFileError::NoSection { path: path.to_owned(), section });
    };
    Ok(SettingsSection { path: path.to_owned(), settings, is_private })
}

/// Returns the settings of a section, or `None` if the section does not exist. A section may
/// have several parts. Settings in other sections are not read: they may be for other programs.
fn parse(bytes: &[u8], section: &str) -> Result<Option<Vec<Setting>>, (usize, LineProblem)> {
    let mut settings: Option<Vec<Setting>> = None;
    let mut is_in_section = None;
    for (number, line) in (1..).zip(content_lines(bytes)) {
        if matches!(line.first(), None | Some(b'#' | b';')) {
            continue;
        }
        if let Some(header) = line.strip_prefix(b"[") {
            let name = header.strip_suffix(b"]").ok_or((number, LineProblem::OpenHeader))?;
            let is_match = name.trim_ascii() == section.as_bytes();
            if is_match {
                settings.get_or_insert_default();
            }
            is_in_section = Some(is_match);
            continue;
        }
        match (is_in_section, &mut settings) {
            (None, _) => return Err((number, LineProblem::OutsideSection)),
            (Some(true), Some(settings)) if settings.len() >= MAX_SETTINGS => {
                return Err((number, LineProblem::TooMany));
            }
            (Some(true), Some(settings)) => {
                settings.push(parse_setting(number, line).map_err(|it| (number, it))?);
            }
            (Some(_), _) => {}
        }
    }
    Ok(settings)
}

/// Returns the lines without surrounding whitespace.
fn content_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Windows starts text files with a byte order mark, and ends lines with CR LF.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii)
}

fn parse_setting(line: usize, bytes: &[u8]) -> Result<Setting, LineProblem> {
    let text = std::str::from_utf8(bytes).map_err(|_| LineProblem::NotText)?;
    if text.chars().any(|it| it.is_control() && it != '\t') {
        return Err(LineProblem::NotText);
    }
    let (key, value) = text.split_once('=').ok_or(LineProblem::NotSetting)?;
    let key = key.trim_end();
    if key.is_empty() {
        return Err(LineProblem::NotSetting);
    }
    Ok(Setting { line, key: key.to_owned(), value: Secret::new(value.trim_start().to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], expected: &str) {
        let found = match parse(text, "web") {
            Ok(Some(settings)) => settings
                .iter()
                .map(|it| format!("{} {}={}", it.line, it.key, it.value.reveal()))
                .collect::<Vec<_>>()
                .join(", "),
            Ok(None) => "no section".to_owned(),
            Err((line, problem)) => format!("line {line}: {problem}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn settings_of_the_section_are_read() {
        check(b"[web]\nport = 80,443\ninbound=\n", "2 port=80,443, 3 inbound=");
        check(
            b"[mail]\nport=25\n[ web ]\n\t port\t=80 # not a comment \n",
            "4 port=80 # not a comment",
        );
        check(b"# a\n ; b\n\n[web]\nx=a=b\n[mail]\nx=c\n[web]\nx=d", "5 x=a=b, 9 x=d");
        check(b"\xef\xbb\xbf[web]\r\nx = 1\r\n", "2 x=1");
        check(b"[web]", "");
        check("[web]\nlabel = 192.0.2.7=Büro\tA\n".as_bytes(), "2 label=192.0.2.7=Büro\tA");
    }

    #[test]
    fn settings_of_other_sections_are_not_read() {
        check(b"[mail]\nthis is = not checked \xff\0\nnor this\n", "no section");
        check(b"", "no section");
        check(b"[WEB]\n[web2]\n[]\n", "no section");
    }

    #[test]
    fn malformed_lines_are_rejected() {
        check(b"x=1\n[web]\n", "line 1: a setting before the first section");
        check(b"[web]\nx\n", "line 2: not KEY = VALUE");
        check(b"[web]\n = 1\n", "line 2: not KEY = VALUE");
        check(b"[mail\nx=1\n", "line 1: the name of a section has no ] at its end");
        check(b"[web] # mine\n", "line 1: the name of a section has no ] at its end");
        for text in
            [&b"[web]\nx=\0"[..], b"[web]\nx=\x1b[31m", b"[web]\nx\xff=1", b"[web]\nx=1\ry=2"]
        {
            check(text, "line 2: it has a control character, or is not UTF-8");
        }
        let many = format!("[web]\n{}", "x=1\n".repeat(1001));
        check(many.as_bytes(), "line 1002: more than 1000 settings in a section");
    }
}
