//! Option for settings files.
use std::{path::PathBuf, str::FromStr};

use clap::{ArgAction, Args};

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ExtraOptsArgs {
    // rustdoc would read the brackets of this help as links, so it is not a doc comment.
    #[arg(
        long,
        value_name = "SECTION",
        num_args = 0..=1,
        default_missing_value = "",
        action = ArgAction::Append,
        help_heading = "Output",
        help = "Read options from a section of an INI file",
        long_help = "\
Read options from a section of an INI file

Write --extra-opts=SECTION, --extra-opts=@FILE or
--extra-opts=SECTION@FILE. The default section is the name of the
program, and the default file is /etc/topip/topip.ini. Options on the
command line take precedence."
    )]
    pub(in crate::cli) extra_opts: Vec<SettingsLocation>,
}

/// Section of a settings file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct SettingsLocation {
    /// Name of the section; `None` for the name of the program.
    pub(in crate::cli) section: Option<String>,
    /// Path of the file; `None` for the default file.
    pub(in crate::cli) file: Option<PathBuf>,
}

impl FromStr for SettingsLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (section, file) = match text.split_once('@') {
            Some((_, "")) => return Err("a file is missing after the @".to_owned()),
            Some((section, file)) => (section, Some(PathBuf::from(file))),
            // After --extra-opts, a command is parsed as its value.
            None if matches!(text, "record" | "report" | "watch") => {
                return Err(format!(
                    "a command comes before the options; for a section, write {text}@FILE"
                ));
            }
            None => (text, None),
        };
        let section = Some(section).filter(|it| !it.is_empty()).map(str::to_owned);
        Ok(Self { section, file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_and_file_are_optional() {
        let check = |text: &str, section: Option<&str>, file: Option<&str>| {
            let expected = SettingsLocation {
                section: section.map(str::to_owned),
                file: file.map(PathBuf::from),
            };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        };
        check("", None, None);
        check("web", Some("web"), None);
        check("@/etc/a.ini", None, Some("/etc/a.ini"));
        check("web@a@b", Some("web"), Some("a@b"));
        check("watch@a", Some("watch"), Some("a"));
        for text in ["@", "web@", "watch", "report"] {
            assert!(text.parse::<SettingsLocation>().is_err(), "{text}");
        }
    }
}
