//! The documents agree with the program and with each other.
use std::{fs, path::Path, process::Command};

use topip::cli::{self, Applet};

use crate::support::{CHECK, LOG, MUNIN, PACKAGE_DIR, run, skip};

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(PACKAGE_DIR).join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the long help of a program and of its subcommands.
fn help(applet: Applet) -> String {
    helps(applet, "--help").concat()
}

/// Returns the help of a program, and that of each of its subcommands.
fn helps(applet: Applet, option: &str) -> Vec<String> {
    let executable = match applet {
        Applet::Check => CHECK,
        Applet::Munin => MUNIN,
        Applet::Log => LOG,
    };
    let command = cli::command(applet).unwrap();
    let commands = command.get_subcommands().map(|it| vec![it.get_name(), option]);
    let helps = std::iter::once(vec![option]).chain(commands);
    helps.map(|args| run(Command::new(executable).args(args)).stdout).collect()
}

#[test]
fn readme_shows_a_real_watch_screen() {
    let readme = read("README.md");
    let (_, screen) = readme.split_once("\ntopip_log watch: localhost").unwrap();
    let (screen, _) = screen.split_once("\n```\n").unwrap();
    let golden = read("tests/golden/watch-screen.txt");
    let lines: Vec<_> = screen.lines().skip(1).filter(|&line| line != "…").collect();
    assert_eq!(lines.len(), 4, "{screen}");
    for line in lines {
        // The golden file has marks around a highlighted line.
        assert!(golden.lines().any(|it| it.trim_matches(['>', '<']) == line), "{line}");
    }
}

#[test]
fn every_option_is_in_help_and_manual() {
    assert_options_are_documented(Applet::Check);
    assert_options_are_documented(Applet::Log);
}

fn assert_options_are_documented(applet: Applet) {
    let manual = read(&format!("man/{}.1", applet.name()));
    let help = help(applet);
    let options = cli::manual_options(applet);
    assert!(options.len() > 20, "{options:?}");
    for option in options {
        // mdoc adds the first hyphen.
        let flag = format!("Fl {}", option.strip_prefix('-').unwrap());
        let ends = |text: &str, word: &str| {
            text.match_indices(word).any(|(at, _)| {
                let next = text[at + word.len()..].chars().next();
                next.is_none_or(|next| !next.is_alphanumeric() && next != '-')
            })
        };
        assert!(ends(&manual, &flag), "{option} is not in the manual");
        // This spelling is only in the help of topip.py.
        if option != "--stdev" {
            assert!(ends(&help, &option), "{option} is not in the help");
        }
    }
}

#[test]
fn manual_lists_only_existing_options() {
    for applet in [Applet::Check, Applet::Log] {
        let options = cli::manual_options(applet);
        let manual = read(&format!("man/{}.1", applet.name()));
        let items: Vec<_> = manual.lines().filter(|line| line.starts_with(".It Fl")).collect();
        assert!(items.len() > 20, "{items:?}");
        for line in items {
            for word in line.split("Fl ").skip(1) {
                let option = format!("-{}", word.split_whitespace().next().unwrap());
                assert!(options.contains(&option), "{option}, in: {line}");
            }
        }
    }
}

/// Returns the variables that a text names as `env.NAME`.
fn variables(text: &str) -> Vec<String> {
    let names = text.split("env.").skip(1).map(|rest| {
        rest.chars().take_while(|it| it.is_ascii_alphanumeric() || *it == '_').collect()
    });
    names.collect()
}

#[test]
fn every_munin_variable_is_in_manual() {
    let manual = read("man/munin_topip.1");
    let items = manual.lines().filter(|line| line.starts_with(".It Li env."));
    let documented: Vec<_> = items.flat_map(variables).collect();
    let known = cli::munin_variables();
    assert!(known.len() > 40, "{known:?}");
    for name in &known {
        assert!(documented.contains(name), "env.{name} is not in the manual");
    }
    for (document, names) in [
        ("the manual", variables(&manual)),
        ("the settings", variables(&read("packaging/munin/topip"))),
    ] {
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            assert!(known.contains(&name), "{document}: unknown variable env.{name}");
        }
    }
}

#[test]
fn help_fits_80_columns() {
    let munin = run(Command::new(MUNIN).arg("--help")).stdout;
    let short = [Applet::Check, Applet::Log].map(|applet| helps(applet, "-h").concat()).concat();
    for line in (help(Applet::Check) + &help(Applet::Log) + &short + &munin).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn short_help_fits_100_lines() {
    for help in [Applet::Check, Applet::Log].iter().flat_map(|&applet| helps(applet, "-h")) {
        let n_lines = help.lines().count();
        assert!((10..=100).contains(&n_lines), "{n_lines} lines: {help}");
    }
}

/// clap moves the text of all options in a group to the next line if one does not fit.
#[test]
fn short_help_has_text_on_the_line_of_each_option() {
    for help in [Applet::Check, Applet::Log].iter().flat_map(|&applet| helps(applet, "-h")) {
        let is_option = |line: &&str| line.starts_with("  -") || line.starts_with("      --");
        let options: Vec<_> = help.lines().filter(is_option).collect();
        assert!(options.len() > 5, "{help}");
        for option in options {
            assert!(option.trim_start().contains("  "), "no text after {option}");
        }
    }
}

#[test]
fn examples_in_help_are_accepted() {
    for applet in [Applet::Check, Applet::Log] {
        let mut n_examples = 0;
        for option in ["-h", "--help"] {
            let help = helps(applet, option).swap_remove(0);
            let (_, examples) = help.split_once("\nNotifications:").unwrap();
            for line in examples.lines() {
                n_examples += usize::from(accepts_example(line));
            }
        }
        assert!(n_examples > 8, "{n_examples}");
    }
}

/// Returns whether a line of the help is a command of topip, whose options must be valid.
fn accepts_example(line: &str) -> bool {
    let line = line.trim_start();
    let command = line.rsplit(" | ").next().unwrap();
    // A description follows the command after two blanks.
    let command = command.split("  ").next().unwrap().split('>').next().unwrap();
    let words: Vec<_> = command.split_whitespace().collect();
    let applet = match words.first() {
        Some(&"check_topip") => Applet::Check,
        Some(&"topip_log") => Applet::Log,
        _ => return false,
    };
    let result = cli::command(applet).unwrap().try_get_matches_from(&words);
    assert!(result.is_ok(), "{line}: {}", result.unwrap_err());
    true
}

/// The help texts list the values themselves, so that each option fits one line.
#[test]
fn help_lists_all_values() {
    for applet in [Applet::Check, Applet::Log] {
        let command = cli::command(applet).unwrap();
        let commands = std::iter::once(&command).chain(command.get_subcommands());
        for arg in commands.flat_map(clap::Command::get_arguments) {
            if !arg.is_hide_possible_values_set() {
                continue;
            }
            let help = arg.get_help().unwrap().to_string();
            let words: Vec<_> = help.split([' ', ',']).collect();
            for value in arg.get_possible_values() {
                assert!(words.contains(&value.get_name()), "{}: {help}", value.get_name());
            }
        }
    }
}

#[test]
fn manuals_pass_mandoc_lint() {
    for page in ["check_topip.1", "munin_topip.1", "topip_log.1", "topip.7", "topip-state.5"] {
        let path = Path::new(PACKAGE_DIR).join("man").join(page);
        let mut lint = Command::new("mandoc");
        lint.args(["-Tlint", "-Wwarning"]).arg(&path);
        if lint.output().is_err() {
            return skip("mandoc");
        }
        let result = run(&mut lint);
        assert_eq!((result.stdout.as_str(), result.code), ("", Some(0)), "{page}");
    }
}

/// The recipes name files and functions, which are renamed or moved at times.
#[test]
fn contributing_names_existing_files_and_items() {
    let text = read("CONTRIBUTING.md");
    let (_, recipes) = text.split_once("\n## Recipes\n").unwrap();
    let sources: String = ["src", "tests", "benches"]
        .map(|directory| source_text(&Path::new(PACKAGE_DIR).join(directory)))
        .concat();
    let mut n_names = 0;
    for name in recipes.split('`').skip(1).step_by(2).filter(|name| !name.contains("NAME")) {
        let exists = if name.contains('/') || name.ends_with(".md") {
            let file = name.split(' ').next().unwrap();
            Path::new(PACKAGE_DIR).join(file).exists()
        } else if let Some(function) = name.strip_suffix("()") {
            sources.contains(&format!("fn {function}("))
                || sources.contains(&format!("fn {function}<"))
        } else if name.starts_with(|first: char| first.is_ascii_uppercase()) {
            sources.contains(name)
        } else {
            continue;
        };
        assert!(exists, "`{name}` does not exist");
        n_names += 1;
    }
    assert!(n_names > 40, "only {n_names} names were found");
}

/// Returns the text of all Rust files below a directory.
fn source_text(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.map(|path| match path.extension() {
        _ if path.is_dir() => source_text(&path),
        Some(extension) if extension == "rs" => fs::read_to_string(&path).unwrap(),
        _ => String::new(),
    });
    texts.collect()
}

#[test]
fn changelogs_have_this_version() {
    let version = format!("## {} ", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&version), "{version}");
    let version = format!("topip ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(read("packaging/debian/changelog").starts_with(&version), "{version}");
}

#[test]
fn architecture_gives_a_reason_for_each_dependency() {
    let architecture = read("ARCHITECTURE.md");
    assert!(architecture.lines().count() <= 160);
    let manifest = read("Cargo.toml");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    for line in dependencies.lines().filter(|line| line.contains(" = ")) {
        let name = line.split(' ').next().unwrap();
        assert!(architecture.contains(&format!("| `{name}` |")), "{name} has no reason");
    }
}
