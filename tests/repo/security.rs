//! SECURITY.md promises nothing that no test holds.
use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{HOME, skip};

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
    assert!(!is_there("repo::security::no_such_test") && !is_there("repo::no_such_file::x"));
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

/// The list of what is built in has every crate of the tree, with its licence and
/// the checksum that Cargo.lock has.
#[test]
fn the_bill_of_materials_is_whole() {
    let mut list = Command::new(Path::new(HOME).join("packaging/bill-of-materials"));
    let Ok(list) = list.env("SOURCE_DATE_EPOCH", "1196293234").output() else {
        return skip("python3");
    };
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["metadata"]["timestamp"], "2007-11-28T23:40:34Z");
    let crates = list["components"].as_array().unwrap();
    let lock = read("Cargo.lock");
    for it in crates {
        let [name, version] = ["name", "version"].map(|field| it[field].as_str().unwrap());
        let checksum = it["hashes"][0]["content"].as_str().unwrap();
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let (_, entry) = lock.split_once(&entry).unwrap_or_else(|| panic!("{name} {version}"));
        let entry = entry.split("\n\n").next().unwrap();
        assert!(entry.contains(&format!("checksum = \"{checksum}\"")), "{name} {version}");
        assert!(it["licenses"][0]["expression"].is_string(), "{name}");
    }
    let has = |name: &str| crates.iter().any(|it| it["name"] == name);
    assert!(has("clap") && has("libssh2-sys") && has("rustix"), "{crates:?}");
    assert!(!has("proptest") && !has("cc") && !has("tempfile"), "{crates:?}");
}
