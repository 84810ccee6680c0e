//! Imports point down: each folder of `src` is a layer or a stage with one number, and
//! names only folders with a lower number.
use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::HOME;

/// The number of each folder below `src`, as ARCHITECTURE.md has them. Folders with
/// the same number do not know one another.
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

fn layer(folder: &str) -> u8 {
    let found = LAYERS.iter().find(|(name, _)| *name == folder);
    found.unwrap_or_else(|| panic!("src/{folder} has no layer")).1
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(sources(&path)) } else { files.push(path) }
    }
    files
}

/// The folders that a file names, in `use crate::{a, b::c}` or `crate::a::b`.
fn imports(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let mut depth = 0;
        let mut word = String::new();
        // Words at the first level of braces, up to the statement's end.
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
    names.retain(|name| LAYERS.iter().any(|(folder, _)| folder == name));
    names
}

#[test]
fn imports_point_down() {
    let src = Path::new(HOME).join("src");
    let mut upward = Vec::new();
    let mut n_imports = 0;
    for path in sources(&src) {
        let inner = path.strip_prefix(&src).unwrap();
        let folder = inner.components().next().unwrap().as_os_str().to_str().unwrap();
        if folder == "lib.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("super::super"), "{}: name it from crate::", path.display());
        for name in imports(&text) {
            n_imports += 1;
            if name != folder && layer(&name) >= layer(folder) {
                upward.push(format!("{}: {folder} names {name}", inner.display()));
            }
        }
    }
    assert!(n_imports > 40, "only {n_imports} imports were found");
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn each_folder_has_a_layer() {
    let entries = fs::read_dir(Path::new(HOME).join("src")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<_> = LAYERS.iter().map(|(folder, _)| *folder).collect();
    expected.push("lib.rs");
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn imports_are_found() {
    let text = "use crate::{\n    analysis::{filter::Filter, tally::Tally},\n    output,\n    \
                parse::ParseError,\n};\n\
                fn f() -> crate::model::verdict::Status { crate::run::check() }";
    assert_eq!(imports(text), ["analysis", "output", "parse", "model", "run"]);
    assert_eq!(imports("use crate::{output::{a, b}, sys};"), ["output", "sys"]);
}
