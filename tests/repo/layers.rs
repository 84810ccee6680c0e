//! Imports point down: each directory of `src` has a layer number, and names only
//! directories with a lower number.
use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::PACKAGE_DIR;

/// Layer number of each directory below `src`, as in ARCHITECTURE.md. Directories with the
/// same number do not import each other.
const LAYERS: &[(&str, u8)] = &[
    ("model", 0),
    ("parse", 1),
    ("analysis", 2),
    ("alert_log", 3),
    ("output", 4),
    ("sys", 5),
    ("source", 6),
    ("storage", 6),
    ("notify", 6),
    ("run", 7),
    ("cli", 8),
];

fn layer(directory: &str) -> u8 {
    let found = LAYERS.iter().find(|(name, _)| *name == directory);
    found.unwrap_or_else(|| panic!("src/{directory} has no layer")).1
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(sources(&path)) } else { files.push(path) }
    }
    files
}

/// Returns the directories that a file names, in `use crate::{a, b::c}` or `crate::a::b`.
fn imports(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let mut depth = 0;
        let mut word = String::new();
        // Collect names at the first level of braces, up to the end of the statement.
        for letter in rest.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if letter.is_alphanumeric() || letter == '_' => {
                    word.push(letter);
                    continue;
                }
                ':' if !word.is_empty() && depth <= 1 => names.push(word.clone()),
                ',' if !word.is_empty() && depth == 1 => names.push(word.clone()),
                _ => {}
            }
            if letter == '}' && depth == 0 {
                names.push(word.clone());
            }
            word.clear();
            if depth <= 0 {
                break;
            }
        }
    }
    names.retain(|name| LAYERS.iter().any(|(directory, _)| directory == name));
    names
}

#[test]
fn imports_point_down() {
    let src = Path::new(PACKAGE_DIR).join("src");
    let mut upward = Vec::new();
    let mut n_imports = 0;
    for path in sources(&src) {
        let inner = path.strip_prefix(&src).unwrap();
        let directory = inner.components().next().unwrap().as_os_str().to_str().unwrap();
        if directory == "lib.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("super::super"), "{}: name it from crate::", path.display());
        for name in imports(&text) {
            n_imports += 1;
            if name != directory && layer(&name) >= layer(directory) {
                upward.push(format!("{}: {directory} names {name}", inner.display()));
            }
        }
    }
    assert!(n_imports > 40, "only {n_imports} imports were found");
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn each_directory_has_a_layer() {
    let entries = fs::read_dir(Path::new(PACKAGE_DIR).join("src")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<_> = LAYERS.iter().map(|(directory, _)| *directory).collect();
    expected.push("lib.rs");
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn import_parser_finds_all_paths() {
    let text = "use crate::{\n    analysis::{filter::Filter, tally::Tally},\n    output,\n    \
                parse::ParseError,\n};\n\
                fn f() -> crate::model::verdict::Status { crate::run::check() }";
    assert_eq!(imports(text), ["analysis", "output", "parse", "model", "run"]);
    assert_eq!(imports("use crate::{output::{a, b}, sys};"), ["output", "sys"]);
}
