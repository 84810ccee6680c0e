//! The messages in the code appear unchanged in a status line.
use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

use crate::support::PACKAGE_DIR;

/// Returns all source files of the library.
fn source_files() -> Vec<PathBuf> {
    let mut directories = vec![Path::new(PACKAGE_DIR).join("src")];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

/// A status line replaces the characters that Nagios removes or interprets.
#[test]
fn errors_have_no_characters_that_a_status_line_replaces() {
    let attribute = Regex::new(r#"#\[error\(\s*"((?:[^"\\]|\\(?s:.))*)""#).unwrap();
    let mut n_errors = 0;
    for file in source_files() {
        let source = fs::read_to_string(&file).unwrap();
        for message in attribute.captures_iter(&source) {
            n_errors += 1;
            let message = &message[1];
            let has_replaced = message.contains(['|', '<', '>', '$', '&', '\'']);
            assert!(!has_replaced && !message.contains("\\\""), "{}: {message}", file.display());
            assert_eq!(message.matches('`').count() % 2, 0, "{}: {message}", file.display());
        }
    }
    assert!(n_errors > 150, "{n_errors}");
}
