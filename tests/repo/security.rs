//! Every guarantee in SECURITY.md names an existing test.
use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{PACKAGE_DIR, skip};

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(PACKAGE_DIR).join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the tests that a line names: `directory::file::test`, or `src::module::test`.
fn named_tests(line: &str) -> Vec<&str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| {
        word.split("::").count() > 2
            && word
                .bytes()
                .all(|component| component.is_ascii_alphanumeric() || b"_:".contains(&component))
    };
    quoted.filter(is_path).collect()
}

/// Returns whether such a test exists and is not ignored.
fn test_exists(test: &str) -> bool {
    let (module, name) = test.rsplit_once("::").unwrap();
    let directory = if module.starts_with("src::") { "" } else { "tests/" };
    let file = Path::new(PACKAGE_DIR).join(format!("{directory}{}.rs", module.replace("::", "/")));
    let Ok(text) = fs::read_to_string(file) else { return false };
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    // In proptest!, arguments and attributes may precede it.
    let before = text[..at].trim_end().lines().rev().take_while(|line| !line.trim().is_empty());
    before.into_iter().any(|line| line.trim() == "#[test]")
}

#[test]
fn every_named_test_exists() {
    let text = read("SECURITY.md");
    let names: Vec<_> = text.lines().flat_map(named_tests).collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.into_iter().filter(|name| !test_exists(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!test_exists("repo::security::no_such_test") && !test_exists("repo::no_such_file::x"));
}

#[test]
fn every_promise_names_a_test() {
    let text = read("SECURITY.md");
    let (_, promises) = text.split_once("\n## Guarantees\n").unwrap();
    let (promises, rest) = promises.split_once("\n## Faults\n").unwrap();
    let (faults, _) = rest.split_once("\n## ").unwrap();
    let is_row = |line: &&str| {
        line.starts_with("| ") && !line.starts_with("| promise |") && !line.starts_with("| fault |")
    };
    let rows: Vec<_> = promises.lines().chain(faults.lines()).filter(is_row).collect();
    assert!(rows.len() > 10, "{rows:?}");
    let bare: Vec<_> = rows.into_iter().filter(|row| named_tests(row).is_empty()).collect();
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn unsafe_code_is_in_one_file() {
    let mut files = Vec::new();
    let mut dirs = vec![Path::new(PACKAGE_DIR).join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if fs::read_to_string(&path).unwrap().contains("unsafe_code") {
                files.push(path);
            }
        }
    }
    assert_eq!(files, [Path::new(PACKAGE_DIR).join("src/sys/namespace_owner.rs")]);
    assert!(read("Cargo.toml").contains("\nunsafe_code = \"deny\""));
}

#[test]
fn documents_link_to_security_md() {
    for document in ["README.md", "ARCHITECTURE.md"] {
        assert!(
            read(document).contains("(SECURITY.md)"),
            "{document} does not link to SECURITY.md"
        );
    }
}

/// The bill of materials lists every crate of the dependency tree, with its license and the
/// checksum of Cargo.lock.
#[test]
fn bill_of_materials_is_complete() {
    let mut list = Command::new(Path::new(PACKAGE_DIR).join("packaging/bill-of-materials"));
    let Ok(list) = list.env("SOURCE_DATE_EPOCH", "1196293234").output() else {
        return skip("python3");
    };
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["metadata"]["timestamp"], "2007-11-28T23:40:34Z");
    let crates = list["components"].as_array().unwrap();
    let lock = read("Cargo.lock");
    for component in crates.iter().filter(|component| component["name"] != "libssh2") {
        let [name, version] = ["name", "version"].map(|field| component[field].as_str().unwrap());
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let (_, entry) = lock.split_once(&entry).unwrap_or_else(|| panic!("{name} {version}"));
        let entry = entry.split("\n\n").next().unwrap();
        match component["hashes"][0]["content"].as_str() {
            Some(checksum) => {
                assert!(entry.contains(&format!("checksum = \"{checksum}\"")), "{name} {version}");
            }
            // A copy with changes has no checksum in Cargo.lock.
            None => assert!(Path::new(PACKAGE_DIR).join("vendor").join(name).exists(), "{name}"),
        }
        assert!(component["licenses"][0]["expression"].is_string(), "{name}");
    }
    // The C library has no checksum of its own: its version and commit name it.
    let libssh2 = crates.iter().find(|component| component["name"] == "libssh2").unwrap();
    assert_eq!(libssh2["version"], "1.11.2_DEV");
    assert_eq!(libssh2["pedigree"]["commits"].as_array().unwrap().len(), 2, "{libssh2}");
    let has = |name: &str| crates.iter().any(|component| component["name"] == name);
    assert!(has("clap") && has("libssh2-sys") && has("rustix"), "{crates:?}");
    assert!(!has("proptest") && !has("cc") && !has("tempfile"), "{crates:?}");
}
