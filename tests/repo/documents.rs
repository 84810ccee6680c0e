//! The papers agree with the program and with one another.
use std::{fs, path::Path, process::Command};

use topip::cli::{self, Applet};

use crate::support::{CHECK, HOME, LOG, MUNIN, run, skip};

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(HOME).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The help of a program and of its commands.
fn help(applet: Applet) -> String {
    let executable = match applet {
        Applet::Check => CHECK,
        Applet::Munin => MUNIN,
        Applet::Log => LOG,
    };
    let command = cli::command(applet).unwrap();
    let commands = command.get_subcommands().map(|it| vec![it.get_name(), "--help"]);
    let helps = std::iter::once(vec!["--help"]).chain(commands);
    helps.map(|args| run(Command::new(executable).args(args)).stdout).collect()
}

#[test]
fn every_option_is_in_the_help_and_in_the_manual() {
    every_option_is_told(Applet::Check);
    every_option_is_told(Applet::Log);
}

fn every_option_is_told(applet: Applet) {
    let manual = read(&format!("man/{}.1", applet.name()));
    let help = help(applet);
    let options = cli::manual_options(applet);
    assert!(options.len() > 20, "{options:?}");
    for option in options {
        // mdoc writes the first hyphen itself.
        let flag = format!("Fl {}", option.strip_prefix('-').unwrap());
        let ends = |text: &str, word: &str| {
            text.match_indices(word).any(|(at, _)| {
                let next = text[at + word.len()..].chars().next();
                next.is_none_or(|next| !next.is_alphanumeric() && next != '-')
            })
        };
        assert!(ends(&manual, &flag), "{option} is not in the manual");
        // Spelled so in topip.py's help only.
        if option != "--stdev" {
            assert!(ends(&help, &option), "{option} is not in the help");
        }
    }
}

#[test]
fn the_manual_has_no_option_that_is_not_there() {
    for applet in [Applet::Check, Applet::Log] {
        let options = cli::manual_options(applet);
        let manual = read(&format!("man/{}.1", applet.name()));
        for line in manual.lines().filter(|line| line.starts_with(".It Fl")) {
            for word in line.split("Fl ").skip(1) {
                let option = format!("-{}", word.split_whitespace().next().unwrap());
                assert!(options.contains(&option), "{option}, in: {line}");
            }
        }
    }
}

/// The variables that a text names as `env.NAME`.
fn variables(text: &str) -> Vec<String> {
    let names = text.split("env.").skip(1).map(|rest| {
        rest.chars().take_while(|it| it.is_ascii_alphanumeric() || *it == '_').collect()
    });
    names.collect()
}

#[test]
fn every_variable_of_munin_is_in_the_manual() {
    let manual = read("man/munin_topip.1");
    let items = manual.lines().filter(|line| line.starts_with(".It Li env."));
    let documented: Vec<_> = items.flat_map(variables).collect();
    let known = cli::munin_variables();
    assert!(known.len() > 40, "{known:?}");
    for name in &known {
        assert!(documented.contains(name), "env.{name} is not in the manual");
    }
    for (paper, names) in [
        ("the manual", variables(&manual)),
        ("the settings", variables(&read("packaging/munin/topip"))),
    ] {
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            assert!(known.contains(&name), "there is no env.{name}, in {paper}");
        }
    }
}

#[test]
fn help_fits_a_terminal() {
    let munin = run(Command::new(MUNIN).arg("--help")).stdout;
    for line in (help(Applet::Check) + &help(Applet::Log) + &munin).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_manuals_are_clean() {
    for page in ["check_topip.1", "munin_topip.1", "topip_log.1", "topip.7", "topip-state.5"] {
        let path = Path::new(HOME).join("man").join(page);
        let mut lint = Command::new("mandoc");
        lint.args(["-Tlint", "-Wwarning"]).arg(&path);
        if lint.output().is_err() {
            return skip("mandoc");
        }
        let ran = run(&mut lint);
        assert_eq!((ran.stdout.as_str(), ran.code), ("", Some(0)), "{page}");
    }
}

#[test]
fn the_changelogs_know_this_version() {
    let version = format!("## {} ", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&version), "{version}");
    let version = format!("topip ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(read("packaging/debian/changelog").starts_with(&version), "{version}");
}

#[test]
fn architecture_stays_short_and_gives_each_dependency_a_reason() {
    let architecture = read("ARCHITECTURE.md");
    assert!(architecture.lines().count() < 150);
    let manifest = read("Cargo.toml");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    for line in dependencies.lines().filter(|line| line.contains(" = ")) {
        let name = line.split(' ').next().unwrap();
        assert!(architecture.contains(&format!("| `{name}` |")), "{name} has no reason");
    }
}
