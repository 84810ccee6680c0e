//! The files that are generated from the options, for Icinga 2 and for shells, are current.
//! `SNAPSHOTS=overwrite cargo test options` regenerates them.
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use clap_complete::{Shell, generate};
use snapbox::{Assert, Data};
use topip::cli::{self, Applet};

use crate::support::{PACKAGE_DIR, run, skip};

/// Options that are not useful in Icinga, and the reason.
const NOT_FOR_ICINGA: [(&str, &str); 7] = [
    ("ipv6", "no effect"),
    ("password", "a password does not belong on a command line; use TOPIP_PASSWORD"),
    ("output", "Icinga reads the default plugin format"),
    ("output_file", "Icinga reads standard output"),
    ("metrics_addresses", "Icinga reads the default plugin format"),
    ("version", "for people"),
    ("help", "for people"),
];

#[track_caller]
fn assert_current(file: &str, text: String) {
    let path = Path::new(PACKAGE_DIR).join("packaging").join(file);
    // Keep backslashes.
    let assert = Assert::new().action_env("SNAPSHOTS").normalize_paths(false);
    assert.eq(text, Data::read_from(&path, None).raw());
}

/// Returns each shell with the file name of its completions.
fn completions() -> Vec<(&'static str, Shell, Applet, String)> {
    let applets = [Applet::Check, Applet::Log].into_iter();
    let all = applets.flat_map(|applet| {
        let name = applet.name();
        [
            ("bash", Shell::Bash, applet, format!("{name}.bash")),
            ("fish", Shell::Fish, applet, format!("{name}.fish")),
            ("zsh", Shell::Zsh, applet, format!("_{name}")),
        ]
    });
    all.collect()
}

#[test]
fn completions_are_current() {
    for (_, shell, applet, file) in completions() {
        let mut text = Vec::new();
        generate(shell, &mut cli::command(applet).unwrap(), applet.name(), &mut text);
        assert_current(&format!("completions/{file}"), String::from_utf8(text).unwrap());
    }
}

#[test]
fn completions_are_valid_shell() {
    for (shell, _, _, file) in completions() {
        let path = Path::new(PACKAGE_DIR).join("packaging/completions").join(&file);
        let mut command = std::process::Command::new(shell);
        if command.arg("-n").arg(&path).output().is_err() {
            skip(shell);
            continue;
        }
        let result = run(&mut command);
        assert_eq!((result.stderr.as_str(), result.code), ("", Some(0)), "{file}");
    }
}

#[test]
fn icinga_check_command_is_current() {
    assert_current("icinga2/topip.conf", check_command(&cli::command(Applet::Check).unwrap()));
}

#[test]
fn options_not_for_icinga_exist() {
    let command = cli::command(Applet::Check).unwrap();
    for (name, _) in NOT_FOR_ICINGA {
        assert!(command.get_arguments().any(|arg| arg.get_id() == name), "{name}");
    }
}

/// Returns the CheckCommand, with a custom variable for each option.
fn check_command(command: &Command) -> String {
    let is_for_icinga = |arg: &&Arg| NOT_FOR_ICINGA.iter().all(|(name, _)| arg.get_id() != *name);
    let arguments: String = command.get_arguments().filter(is_for_icinga).map(argument).collect();
    include_str!("check_command.conf").replace("\t\tARGUMENTS\n", &arguments)
}

/// Returns one argument of the CheckCommand.
fn argument(arg: &Arg) -> String {
    let description = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let description = description.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
    let description = format!("\t\t\tdescription = \"{description}\"\n");
    let flag = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => panic!("{arg:?} is not an option"),
    };
    let entry = |flag: &str, text: &str| format!("\t\t\"{flag}\" = {{\n{text}\t\t}}\n");
    match arg.get_action() {
        ArgAction::Count => {
            // The variable may be a number or a string.
            let level = |n: usize| {
                let is_set = format!(
                    "\t\t\tset_if = {{{{ string(macro(\"$topip_verbose$\")) == \"{n}\" }}}}\n"
                );
                let description = if n == 1 { description.as_str() } else { "" };
                entry(&format!("-{}", "v".repeat(n)), &(is_set + description))
            };
            (1..=3).map(level).collect()
        }
        ArgAction::SetTrue => {
            entry(&flag, &format!("\t\t\tset_if = \"${}$\"\n{description}", variable(arg)))
        }
        action => {
            let repeats = match action {
                ArgAction::Append => "\t\t\trepeat_key = true\n",
                _ => "",
            };
            let name = variable(arg);
            // Icinga passes an empty value for a variable that is null.
            let value = format!(
                "\t\t\tvalue = \"${name}$\"\n\t\t\tset_if = {{{{ macro(\"${name}$\") != \"\" }}}}\n"
            );
            entry(&flag, &(value + &description + repeats))
        }
    }
}

/// Returns the name of the custom variable of an option.
fn variable(arg: &Arg) -> String {
    let name = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => long.replace('-', "_"),
        (None, Some(digit)) => format!("only_ipv{digit}"),
        (None, None) => panic!("{arg:?} is not an option"),
    };
    format!("topip_{name}")
}
