//! SECURITY.md promises nothing that no test holds.
use std::{fs, path::Path};

use crate::support::HOME;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(HOME).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The tests that a line names: `room::file::test`, or `src::module::test`.
fn named(line: &str) -> Vec<&str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| {
        word.split("::").count() > 2
            && word.bytes().all(|it| it.is_ascii_alphanumeric() || b"_:".contains(&it))
    };
    quoted.filter(is_path).collect()
}

/// Whether there is such a test, and nothing leaves it out.
fn is_there(test: &str) -> bool {
    let (module, name) = test.rsplit_once("::").unwrap();
    let folder = if module.starts_with("src::") { "" } else { "tests/" };
    let file = Path::new(HOME).join(format!("{folder}{}.rs", module.replace("::", "/")));
    let Ok(text) = fs::read_to_string(file) else { return false };
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    // Of proptest, the arguments and attributes stand before it as well.
    let before = text[..at].trim_end().lines().rev().take_while(|line| !line.trim().is_empty());
    before.into_iter().any(|line| line.trim() == "#[test]")
}

#[test]
fn every_test_that_is_named_is_there() {
    let text = read("SECURITY.md");
    let names: Vec<_> = text.lines().flat_map(named).collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!is_there("house::security::no_such_test") && !is_there("house::no_such_file::x"));
}

#[test]
fn every_promise_names_a_test() {
    let text = read("SECURITY.md");
    let (_, promises) = text.split_once("\n## What is promised\n").unwrap();
    let (promises, rest) = promises.split_once("\n## Faults\n").unwrap();
    let (faults, _) = rest.split_once("\n## ").unwrap();
    let is_row = |line: &&str| {
        line.starts_with("| ") && !line.starts_with("| promise |") && !line.starts_with("| fault |")
    };
    let rows: Vec<_> = promises.lines().chain(faults.lines()).filter(is_row).collect();
    assert!(rows.len() > 10, "{rows:?}");
    let bare: Vec<_> = rows.into_iter().filter(|row| named(row).is_empty()).collect();
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn it_is_found() {
    for paper in ["README.md", "ARCHITECTURE.md"] {
        assert!(read(paper).contains("(SECURITY.md)"), "{paper} does not link to SECURITY.md");
    }
}
