//! Imports point down: no module names one of a higher floor, and none of
//! floor 2 another of floor 2, but for three that are their tools.
use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::HOME;

/// The floor of each module right below `src`, as ARCHITECTURE.md has them.
const FLOORS: &[(&str, u8)] = &[
    ("secret", 0),
    ("secret_file", 2),
    ("account", 2),
    ("terminal", 2),
    ("signals", 2),
    ("command_line", 2),
    ("hand_over", 2),
    ("process", 2),
    ("folder", 2),
    ("connection", 0),
    ("capture", 0),
    ("network", 0),
    ("namespace", 0),
    ("clean", 0),
    ("range", 0),
    ("verdict", 0),
    ("parse", 1),
    ("filter", 1),
    ("tally", 1),
    ("summary", 1),
    ("line", 1),
    ("evidence", 1),
    ("log_line", 1),
    ("offenders", 1),
    ("history", 1),
    ("labels", 1),
    ("rule", 1),
    ("report", 1),
    ("source", 2),
    ("network_file", 2),
    ("resolve", 2),
    ("state_file", 2),
    ("local_time", 2),
    ("log_file", 2),
    ("log_reader", 2),
    ("syslog", 2),
    ("journal", 2),
    ("deliver", 2),
    ("mail", 2),
    ("run", 3),
    ("applet", 4),
];

/// What the others of floor 2 open their files and ask people by.
const TOOLS: [&str; 3] = ["folder", "secret_file", "terminal"];

fn floor(module: &str) -> u8 {
    let found = FLOORS.iter().find(|(name, _)| *name == module);
    found.unwrap_or_else(|| panic!("{module} has no floor")).1
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .collect()
}

/// The modules that a file names, in `use crate::{a, b::c}` or `crate::a::b`.
fn named(text: &str) -> Vec<String> {
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
    names.retain(|name| FLOORS.iter().any(|(module, _)| module == name));
    names
}

#[test]
fn imports_point_down() {
    let src = Path::new(HOME).join("src");
    let mut wrong = Vec::new();
    let mut n_imports = 0;
    for path in sources(&src) {
        let inner = path.strip_prefix(&src).unwrap();
        let module = inner.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        for name in named(&fs::read_to_string(&path).unwrap()) {
            n_imports += 1;
            let (from, to) = (floor(module), floor(&name));
            let is_tool = TOOLS.contains(&&*name) && !TOOLS.contains(&module);
            if name != module && (to > from || (to == 2 && from == 2 && !is_tool)) {
                wrong.push(format!("{}: {module} ({from}) names {name} ({to})", inner.display()));
            }
        }
    }
    for path in sources(&src) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("super::super"), "{}: from crate:: it can be seen", path.display());
    }
    assert!(n_imports > 40, "only {n_imports} imports were seen");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_named_is_seen() {
    let text = "use crate::{\n    filter::{Filter, LeftOut},\n    report,\n    tally::Tally,\n};\n\
                fn f() -> crate::verdict::Status { crate::run::check() }";
    assert_eq!(named(text), ["filter", "report", "tally", "verdict", "run"]);
    assert_eq!(named("use crate::{report::{a, b}, folder};"), ["report", "folder"]);
}

/// Files stay short enough to be read.
#[test]
fn no_file_is_too_long() {
    for path in sources(&Path::new(HOME).join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.split("#[cfg(test)]\nmod tests").next().unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}
