//! Untrusted text does not change the structure of any output, and terminal control
//! characters are not printed.
//!
//! Each entry point is tested with each hostile text in each output format. The output must
//! have the structure of the output for a harmless word.
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    process::Command,
};

use regex::Regex;
use serde_json::Value;

use crate::cli::log_page;
use crate::support::{
    CHECK, CommandResult, LOG, MUNIN, TestDir, crowd,
    mmdb::{self, MmdbValue},
};

/// Hostile texts. None has a NUL, which arguments and file names cannot contain.
pub const HOSTILE_TEXTS: [&[u8]; 30] = [
    b"a|max=0;1;1;0",
    b"a\nTOPIP OK - all is well | max=0",
    b"a\r\nBcc: all@example.com\r\n\r\nbody",
    b"a\rTOPIP OK - all is well",
    b"\x1b[2J\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07\x1bP1$r\x1b\\",
    "\u{9b}31mC1\u{9d}0;x\u{9c}\u{85}next".as_bytes(),
    "\u{202e}tac\u{202c}\u{2066}x\u{2069}\u{200e}\u{61c}".as_bytes(),
    "zero\u{200b}width\u{feff}\u{2060}\u{ad}\u{180e}".as_bytes(),
    "\u{3164}\u{115f}\u{1160}\u{ffa0}fillers".as_bytes(),
    "\u{2028}line\u{2029}paragraph".as_bytes(),
    "e\u{301}\u{20dd}\u{e0041}\u{1f4a3}".as_bytes(),
    b"\nconnections_max.value 0\nconnections_max.value 0",
    b"\nmultigraph topip\nhost_name other\ngraph_title x",
    b"\n.\n.\n# munin node",
    b"# comment \\# x",
    b"a:b:c U:N:0:1",
    b"=cmd|' /C calc'!A0",
    b"+1+1,\"x\"",
    b"@SUM(A1:A9)",
    b"-2+3",
    b"\t=1\r=2",
    b" - 152 connections from 203.0.113.9",
    b"\nWed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.9\n",
    b"\n{\"time\":\"2007-11-28T23:40:34-05:00\",\"address\":\"203.0.113.9\",\"connections\":1}\n",
    b"`id` $(id) ${PATH} <b>&amp;'\"; rm -x %s%n %(x)s",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
      yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    // Invalid UTF-8.
    b"\x9b31mraw C1\x9d0;x\x9c",
    b"\xc0\xaf\xe0\x80\xaf\xff\xfe\xf4\x90\x80\x80",
    b"\xed\xa0\x80\xed\xb0\x80half",
];

/// Returns the hostile texts in groups of `n`, to reduce the number of runs.
pub fn combined(n: usize) -> Vec<Vec<u8>> {
    HOSTILE_TEXTS.chunks(n).map(|some| some.concat()).collect()
}

/// A place where untrusted text enters: its name, and a function that returns the options
/// for a text.
type EntryPoint = (&'static str, fn(&TestDir, &[u8]) -> Vec<(&'static str, OsString)>);

const ENTRY_POINTS: [EntryPoint; 18] = [
    ("a row of a listing", |dir, text| {
        let row = [b"tcp 0 0 192.0.2.10:443 ", text, b":1 ESTABLISHED\n"].concat();
        vec![write_listing(dir, &[flood().as_bytes(), &without_line_breaks(&row)].concat())]
    }),
    ("a state of a listing", |dir, text| {
        let row = [b"tcp 0 0 192.0.2.10:443 203.0.113.9:1 ", text, b"\n"].concat();
        vec![write_listing(dir, &[flood().as_bytes(), &without_line_breaks(&row)].concat())]
    }),
    ("a text that is not a listing", |dir, text| vec![write_listing(dir, &[text, b"\n"].concat())]),
    ("the name of a listing", |dir, text| vec![("input", file(dir, text, flood().as_bytes()))]),
    ("the name of a missing file", |_, text| vec![("input", name(text))]),
    ("a label", |dir, text| {
        let label = [b"203.0.113.7=x", text].concat();
        vec![
            write_listing(dir, flood().as_bytes()),
            ("label", OsStr::from_bytes(&label).to_owned()),
        ]
    }),
    ("a file of labels", |dir, text| {
        let label = without_line_breaks(&[b"203.0.113.7=x", text, b"\n"].concat());
        vec![write_listing(dir, flood().as_bytes()), ("label_file", file(dir, b"labels", &label))]
    }),
    ("a network database with the fields of GeoLite2", |dir, text| {
        let name = database_text(text);
        let country = MmdbValue::Map(&[(b"iso_code", MmdbValue::Text(&name))]);
        let record = MmdbValue::Map(&[
            (b"autonomous_system_number", MmdbValue::U32(u32::MAX)),
            (b"autonomous_system_organization", MmdbValue::Text(&name)),
            (b"country", country),
        ]);
        network_db(dir, &name, record)
    }),
    ("a network database with the fields of IPinfo", |dir, text| {
        let name = database_text(text);
        let record = MmdbValue::Map(&[
            (b"asn", MmdbValue::Text(&name)),
            (b"as_name", MmdbValue::Text(&name)),
            (b"country", MmdbValue::Text(&name)),
        ]);
        network_db(dir, &name, record)
    }),
    ("a network database with other fields", |dir, text| {
        let name = database_text(text);
        let record = MmdbValue::Map(&[
            (&name, MmdbValue::Text(&name)),
            (b"asn", MmdbValue::Map(&[(&name, MmdbValue::Text(&name))])),
        ]);
        network_db(dir, &name, record)
    }),
    ("the name of a network database", |dir, text| {
        vec![write_listing(dir, flood().as_bytes()), ("network_db", name(text))]
    }),
    ("a line that is not a network", |dir, text| {
        let list = without_line_breaks(&[b"192.0.2.0/x", text, b"\n"].concat());
        vec![write_listing(dir, flood().as_bytes()), ("exclude_file", file(dir, b"list", &list))]
    }),
    ("the name of a list", |dir, text| {
        vec![write_listing(dir, flood().as_bytes()), ("exclude_file", name(text))]
    }),
    ("the value of an option", |dir, text| {
        vec![write_listing(dir, flood().as_bytes()), ("port", OsStr::from_bytes(text).to_owned())]
    }),
    ("a server", |_, text| {
        vec![("hostname", OsStr::from_bytes(&[text, b"@"].concat()).to_owned())]
    }),
    ("the name of a state file", |dir, text| {
        let path = [b"none/", name(text).as_bytes()].concat();
        vec![
            write_listing(dir, flood().as_bytes()),
            ("state_file", OsStr::from_bytes(&path).to_owned()),
        ]
    }),
    ("a damaged state file", |dir, text| {
        vec![write_listing(dir, flood().as_bytes()), ("state_file", file(dir, b"state", text))]
    }),
    ("the servers of a state file", |dir, text| {
        let text = String::from_utf8_lossy(text).into_owned();
        let state = format!("(version: 1, timestamp: 1, servers: [{text:?}])");
        vec![
            write_listing(dir, flood().as_bytes()),
            ("state_file", file(dir, b"state", state.as_bytes())),
        ]
    }),
];

/// Environment variables that affect the programs.
const VARIABLES: [&str; 8] =
    ["TZ", "LC_ALL", "LANG", "HOME", "MP_STATE_PATH", "XDG_STATE_HOME", "TERM", "SSH_AUTH_SOCK"];

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152)])
}

fn write_listing(dir: &TestDir, text: &[u8]) -> (&'static str, OsString) {
    ("input", file(dir, b"listing", text))
}

/// Returns a text for a network database, whose texts are UTF-8.
fn database_text(text: &[u8]) -> Vec<u8> {
    format!("x{}", String::from_utf8_lossy(text)).into_bytes()
}

/// Writes a listing, and a database with a record of its top address.
fn network_db(
    dir: &TestDir,
    database_type: &[u8],
    record: MmdbValue<'_>,
) -> Vec<(&'static str, OsString)> {
    let database = mmdb::database(database_type, &[([203, 0, 113, 7], record)]);
    vec![write_listing(dir, flood().as_bytes()), ("network_db", file(dir, b"db", &database))]
}

/// Returns a valid file name: without slashes, and not too long.
fn name(text: &[u8]) -> OsString {
    let text: Vec<u8> = text.iter().copied().filter(|&it| it != b'/').take(200).collect();
    OsStr::from_bytes(&text).to_owned()
}

/// Writes a file with this name and returns the name.
fn file(dir: &TestDir, text: &[u8], content: &[u8]) -> OsString {
    let name = name(text);
    fs::write(dir.path(".").join(&name), content).unwrap();
    name
}

/// Replaces line breaks inside of a line. The author of a listing may add rows, which is not
/// tested here.
fn without_line_breaks(text: &[u8]) -> Vec<u8> {
    let (line, end) = text.split_at(text.len() - 1);
    let line = line.iter().map(|&it| if b"\n\r".contains(&it) { b' ' } else { it });
    line.chain(end.iter().copied()).collect()
}

/// Returns whether a terminal only displays the character, independently of its neighbors.
fn is_printable(letter: char) -> bool {
    let is_filler = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'].contains(&letter);
    letter == '\n'
        || letter == ' '
        || letter.is_ascii_graphic()
        || letter.is_alphanumeric() && !is_filler
}

#[track_caller]
pub fn assert_printable(text: &str, context: &str) {
    let wild: BTreeSet<_> = text.chars().filter(|&it| !is_printable(it)).collect();
    assert!(wild.is_empty(), "{wild:?} in {context}: {text:?}");
    assert!(text.is_empty() || text.ends_with('\n'), "{context}: {text:?}");
}

/// Asserts that output for Nagios has one status line with perfdata, no other perfdata, and
/// no character that Nagios or a shell would interpret.
#[track_caller]
pub fn assert_nagios(result: &CommandResult, context: &str) {
    let context = format!("{context}: {:?}", result.stdout);
    assert_printable(&result.stdout, &context);
    assert_eq!(result.stderr, "", "{context}");
    let words = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
    let code = usize::try_from(result.code.unwrap()).unwrap();
    let mut lines = result.stdout.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with(&format!("TOPIP {} - ", words[code])), "{context}");
    let (text, perfdata) = first.split_once(" | ").unwrap_or((first, ""));
    let form = Regex::new(r"^(max=\d+;[\d.]+;;0( [a-z]+=[\d.]+;;;0){7})?$").unwrap();
    assert!(form.is_match(perfdata), "{context}");
    assert!(first.len() < 1000, "{context}");
    for line in std::iter::once(text).chain(lines) {
        assert!(!line.contains(['|', '<', '>', '$', '&', '"', '\'', '`']), "{line:?} in {context}");
    }
    for line in result.stdout.lines().skip(1) {
        assert!(!line.starts_with("TOPIP ") && !line.is_empty(), "{line:?} in {context}");
    }
}

/// Returns the field names of a JSON value and their nesting.
fn json_structure(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| format!("{name}:{}", json_structure(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => values.iter().map(json_structure).collect(),
        Value::String(_) => "s".to_owned(),
        _ => "v".to_owned(),
    }
}

/// Asserts that the output has the structure of that for a harmless word.
#[track_caller]
fn assert_same_shape(result: &CommandResult, harmless: &CommandResult, context: &str) {
    let shape = |result: &CommandResult| {
        (result.code, result.stdout.lines().count(), result.stderr.lines().count())
    };
    assert_eq!(shape(result), shape(harmless), "{context}: {result:#?} {harmless:#?}");
}

fn run(command: &mut Command) -> CommandResult {
    crate::support::run(command)
}

/// Returns the check command with the options of an entry point.
fn check(dir: &TestDir, options: &[(&str, OsString)], more: &[&str]) -> Command {
    let mut command = dir.program(CHECK, more);
    for (option, value) in options {
        // Use one word, so that the value is not taken for an option.
        let mut word = OsString::from(format!("--{}=", option.replace('_', "-")));
        word.push(value);
        command.arg(word);
    }
    command
}

#[test]
fn hostile_text_does_not_change_check_output() {
    for (entry_point, options) in ENTRY_POINTS {
        let run_in = |text: &[u8], more: &[&str]| {
            let dir = TestDir::new();
            let options = options(&dir, text);
            run(&mut check(&dir, &options, more))
        };
        let each: Vec<Vec<u8>> =
            HOSTILE_TEXTS.iter().map(|hostile_text| hostile_text.to_vec()).collect();
        for (more, hostile_texts) in
            [(&["-vvv"][..], each), (&["--output", "json", "-vvv"], combined(3))]
        {
            let by_word = HARMLESS_WORDS.map(|word| run_in(word, more));
            for hostile_text in &hostile_texts {
                let result = run_in(hostile_text, more);
                let harmless = similar_result(&by_word, &result);
                let context =
                    format!("{entry_point} {:?} {more:?}", String::from_utf8_lossy(hostile_text));
                let is_refused = result.stdout.contains(INVALID_UTF8);
                let harmless = if is_refused { &rejected_option(more) } else { harmless };
                if more.contains(&"json") {
                    let object: Value = serde_json::from_str(&result.stdout).unwrap();
                    let expected: Value = serde_json::from_str(&harmless.stdout).unwrap();
                    assert_printable(&result.stdout, &context);
                    assert_eq!(
                        json_structure(&object),
                        json_structure(&expected),
                        "{context}: {object:#}"
                    );
                    assert_eq!(result.stdout.lines().count(), 1, "{context}");
                    assert_eq!((result.code, &*result.stderr), (harmless.code, ""), "{context}");
                } else {
                    assert_nagios(&result, &context);
                    assert_same_shape(&result, harmless, &context);
                }
            }
        }
    }
}

/// Harmless words: one that may be the name of a TCP state in some language, and one that
/// may not. A row with the latter is not read.
const HARMLESS_WORDS: [&[u8]; 2] = [b"harmless", b"harm=less"];

/// Returns the result of the harmless word that is treated like the text of `result`.
fn similar_result<'a>(
    by_word: &'a [CommandResult; 2],
    result: &CommandResult,
) -> &'a CommandResult {
    &by_word[usize::from(result.stdout.contains("unknown TCP state"))]
}

/// Error message for an argument that is not UTF-8.
const INVALID_UTF8: &str = "invalid UTF-8 was detected";

/// Returns the output for a usage error.
fn rejected_option(more: &[&str]) -> CommandResult {
    run(TestDir::new().command(more).arg("--no-such-option"))
}

#[test]
fn hostile_text_does_not_change_munin_output() {
    let line = Regex::new(
        r"^(connections_(max|avg|stddev|limit)\.value ([\d.]+|U)|connections_max\.extinfo [^#\\]*)$",
    );
    let line = line.unwrap();
    for (entry_point, options) in ENTRY_POINTS {
        let ask = |text: &[u8], verb: &str, capabilities: &[&str]| {
            let dir = TestDir::new();
            let options = options(&dir, text);
            let mut command = dir.program(MUNIN, &[verb]);
            command.envs(options);
            run(command.envs(capabilities.iter().map(|name| (format!("MUNIN_CAP_{name}"), "1"))))
        };
        let by_word = HARMLESS_WORDS.map(|word| ask(word, "fetch", &[]));
        let config_by_word =
            HARMLESS_WORDS.map(|word| ask(word, "config", &["DIRTYCONFIG", "MULTIGRAPH"]));
        for hostile_text in &combined(3) {
            let context = format!("{entry_point} {:?}", String::from_utf8_lossy(hostile_text));
            let result = ask(hostile_text, "fetch", &[]);
            if !result.stdout.contains(INVALID_UTF8) {
                assert_same_shape(&result, similar_result(&by_word, &result), &context);
            }
            for text in [&result.stdout, &result.stderr] {
                assert_printable(text, &context);
            }
            assert!(
                result.stdout.lines().all(|it| line.is_match(it)),
                "{context}: {}",
                result.stdout
            );
            let result = ask(hostile_text, "config", &["DIRTYCONFIG", "MULTIGRAPH"]);
            assert_printable(&(result.stdout.clone() + &result.stderr), &context);
            let rest = |result: &CommandResult| -> Vec<String> {
                let lines = result.stdout.lines().filter(|it| !it.contains(".extinfo "));
                lines.map(ToOwned::to_owned).collect()
            };
            if !result.stdout.contains(INVALID_UTF8) {
                let config = similar_result(&config_by_word, &result);
                assert_eq!(rest(&result), rest(config), "{context}");
            }
        }
    }
}

/// The texts are program names and values of environment variables.
#[test]
fn hostile_names_and_variables_do_not_change_output() {
    let run_as = |program: &str, name: &OsStr, variable: Option<(&str, &[u8])>| {
        let dir = TestDir::new();
        let link = dir.path(".").join(name);
        std::os::unix::fs::symlink(program, &link).unwrap();
        let options = if program == CHECK { &["--input", "listing", "-vvv"][..] } else { &[] };
        dir.write("listing", flood());
        let mut command = dir.program(link.to_str().unwrap_or(program), options);
        if link.to_str().is_none() {
            use std::os::unix::process::CommandExt;
            command.arg0(&link);
        }
        command.env_remove("MP_STATE_PATH").env("input", "listing");
        run(command.envs(variable.map(|(name, text)| (name, OsStr::from_bytes(text)))))
    };
    for hostile_text in HOSTILE_TEXTS {
        let text = String::from_utf8_lossy(hostile_text);
        for (prefix, suffix) in [("topip_", ""), ("ssh_", "_topip"), ("munin_", "")] {
            let name = name(&[prefix.as_bytes(), hostile_text, suffix.as_bytes()].concat());
            let result = run_as(MUNIN, &name, None);
            assert_printable(&(result.stdout.clone() + &result.stderr), &format!("{name:?}"));
            let is_value = |line: &str| line.starts_with("connections_max.value ");
            let values = result.stdout.lines().filter(|line| is_value(line)).count();
            assert!(values <= 1, "{name:?}: {}", result.stdout);
        }
        let result = run_as(CHECK, &name(&[b"check_", hostile_text].concat()), None);
        assert_nagios(&result, &format!("check_{text:?}"));
    }
    for hostile_text in combined(3) {
        for variable in VARIABLES {
            let result = run_as(CHECK, OsStr::new("check_topip"), Some((variable, &hostile_text)));
            assert_nagios(
                &result,
                &format!("{variable}={:?}", String::from_utf8_lossy(&hostile_text)),
            );
        }
    }
}

/// The input of the alert program is one line with printable text.
#[test]
fn hostile_text_does_not_change_alert_program_input() {
    use std::os::unix::fs::PermissionsExt;
    for (entry_point, options) in ENTRY_POINTS {
        for hostile_text in &combined(3) {
            let dir = TestDir::new();
            let program = dir.write("program", "#!/bin/sh\ncat >input\n");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let options: Vec<_> = options(&dir, hostile_text);
            let mut command = check(&dir, &options, &["--consecutive", "1", "--exec"]);
            let result = run(command.arg(&program).env("PATH", "/usr/bin:/bin"));
            let context = format!("{entry_point} {:?}", String::from_utf8_lossy(hostile_text));
            // Some options are rejected.
            let Ok(input) = fs::read_to_string(dir.path("input")) else {
                assert_ne!(result.code, Some(2), "{context}: {result:?}");
                continue;
            };
            assert_printable(&input, &context);
            assert_eq!(input.lines().count(), 1, "{context}: {input}");
            let object: Value = serde_json::from_str(&input).unwrap();
            assert_eq!(object["offenders"][0]["address"], "203.0.113.7", "{context}");
            assert_eq!(object["offenders"].as_array().unwrap().len(), 1, "{context}");
        }
    }
}

/// A log line is one line, about the right address.
#[test]
fn hostile_text_does_not_change_log_lines() {
    let classic = r"^\w{3} \w{3} [ \d]\d [\d:]{8} \d{4} - 152 connections from 203\.0\.113\.7( on [\w.:%\[\],-]+)?$";
    let mut n_lines = 0;
    for (entry_point, options) in ENTRY_POINTS {
        for (format, form) in [("classic", classic), ("json", r"^\{.*\}$")] {
            let form = Regex::new(form).unwrap();
            for hostile_text in &combined(3) {
                let dir = TestDir::new();
                let options: Vec<_> = options(&dir, hostile_text);
                let mut command = check(&dir, &options, &["--consecutive", "1"]);
                command.args(["-l", "log", "--log-format", format]);
                let result = run(&mut command);
                let context =
                    format!("{entry_point} {:?} {format}", String::from_utf8_lossy(hostile_text));
                assert_nagios(&result, &context);
                let Ok(log) = fs::read_to_string(dir.path("log")) else { continue };
                assert_printable(&log, &context);
                assert!(log.lines().count() <= 1, "{context}: {log}");
                for line in log.lines() {
                    assert!(form.is_match(line), "{context}: {line}");
                    if format == "json" {
                        let object: Value = serde_json::from_str(line).unwrap();
                        assert_eq!(object["address"], "203.0.113.7", "{context}");
                    }
                    n_lines += 1;
                }
            }
        }
    }
    assert!(n_lines > 100, "only {n_lines} lines were written");
}

/// The texts are names of logs that cannot be written, and of unknown commands.
#[test]
fn hostile_log_arguments_do_not_change_output() {
    for hostile_text in HOSTILE_TEXTS {
        let text = OsStr::from_bytes(hostile_text);
        for words in [
            &["--log"][..],
            &["report", "--log"],
            &["report", "--output", "html", "--log"],
            &["watch", "--port"],
            &["report"],
            &[],
        ] {
            let dir = TestDir::new();
            dir.write("listing", flood());
            let mut command = dir.program(LOG, words);
            let mut word =
                OsString::from(if words.last() == Some(&"--log") { "none/" } else { "" });
            word.push(text);
            command.arg(word);
            if words == ["--log"] {
                command.args(["--input", "listing", "--consecutive", "1"]);
            }
            let result = run(&mut command);
            let context = format!("{words:?} {:?}", String::from_utf8_lossy(hostile_text));
            assert_printable(&(result.stdout.clone() + &result.stderr), &context);
            assert!(matches!(result.code, Some(1 | 2)), "{context}: {result:?}");
            if words.contains(&"html") {
                // Arguments that are not UTF-8 are refused.
                let page = Some(&result.stdout).filter(|page| !page.is_empty());
                page.into_iter().for_each(|page| assert!(!log_page::elements(page).is_empty()));
            }
        }
    }
}

/// Hostile lines of a log do not become rows or cells of a report.
#[test]
fn hostile_log_lines_do_not_change_report() {
    let good = "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.7 on web1\n";
    let reports = |text: &[u8]| {
        let dir = TestDir::new();
        dir.write("log", text);
        ["text", "json", "csv", "html"].map(|form| {
            let result = dir.run_log(&["report", "--log", "log", "--output", form]);
            (form, result)
        })
    };
    for hostile_text in HOSTILE_TEXTS {
        let shown = String::from_utf8_lossy(hostile_text);
        let json = serde_json::to_string(&shown).unwrap();
        let lines = [
            without_line_breaks(&[hostile_text, b"\n"].concat()),
            without_line_breaks(&[b"2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.9 on ", hostile_text, b"\n"].concat()),
            without_line_breaks(&[b"2007-11-28T23:40:34-05:00 - 152 connections from ", hostile_text, b"\n"].concat()),
            format!("{{\"time\":\"2007-11-28T23:40:34-05:00\",\"address\":\"203.0.113.9\",\"connections\":9,\"servers\":[{json}]}}\n").into_bytes(),
            format!("{{\"time\":\"2007-11-28T23:40:34-05:00\",\"address\":{json},\"connections\":9}}\n").into_bytes(),
        ];
        for line in lines {
            let context = format!("{:?}", String::from_utf8_lossy(&line));
            for (form, result) in reports(&[good.as_bytes(), &line].concat()) {
                assert_printable(&(result.stdout.clone() + &result.stderr), &context);
                match form {
                    "text" => {
                        let rows =
                            result.stdout.lines().filter(|it| it.contains(" 203.0.113.")).count();
                        assert!(
                            (1..=2).contains(&rows) && result.stdout.lines().count() == rows + 2,
                            "{context}: {}",
                            result.stdout
                        );
                    }
                    "json" => {
                        let object: Value = serde_json::from_str(&result.stdout).unwrap();
                        assert_eq!(object["offenders"][0]["address"], "203.0.113.7", "{context}");
                    }
                    "html" => {
                        let rows =
                            result.stdout.matches("<tr><th scope=\"row\">203.0.113.").count();
                        assert!((2..=4).contains(&rows), "{context}: {}", result.stdout);
                        log_page::elements(&result.stdout);
                    }
                    _ => {
                        for row in result.stdout.lines() {
                            let cells: Vec<_> = row.split(',').collect();
                            assert_eq!(cells.len(), 6, "{context}: {row}");
                            let is_formula = |cell: &&str| {
                                cell.starts_with(['=', '+', '-', '@', '\t', '\r', '"'])
                            };
                            assert!(!cells.iter().any(is_formula), "{context}: {row}");
                        }
                    }
                }
            }
        }
    }
}

/// Hostile names in a network database do not change the form of a report.
#[test]
fn hostile_operators_do_not_change_report() {
    let shape = |text: &[u8], args: &[&str]| {
        let dir = TestDir::new();
        dir.write("log", "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.7 on web1\n");
        let name = database_text(text);
        let record = MmdbValue::Map(&[
            (b"asn", MmdbValue::Text(b"AS64500")),
            (b"as_name", MmdbValue::Text(&name)),
            (b"country", MmdbValue::Text(&name)),
        ]);
        dir.write("db", mmdb::database(b"test", &[([203, 0, 113, 7], record)]));
        let args = [&["report", "--log", "log", "--network-db", "db"], args].concat();
        let result = dir.run_log(&args);
        let context = format!("{args:?} {:?}", String::from_utf8_lossy(text));
        assert_printable(&result.stdout, &context);
        assert_eq!((result.stderr.as_str(), result.code), ("", Some(0)), "{context}");
        if args.contains(&"json") {
            let object: Value = serde_json::from_str(&result.stdout).unwrap();
            return vec![json_structure(&object)];
        }
        if args.contains(&"html") {
            return log_page::elements(&result.stdout);
        }
        if !args.contains(&"csv") {
            return vec![result.stdout.lines().count().to_string()];
        }
        let cells = result.stdout.lines().flat_map(|row| row.split(','));
        let is_formula = |cell: &str| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '"']);
        assert!(!cells.clone().any(is_formula), "{context}: {}", result.stdout);
        vec![result.stdout.lines().count().to_string(), cells.count().to_string()]
    };
    for form in ["text", "json", "csv", "html"] {
        for grouping in [&[][..], &["--group-by", "asn"], &["--group-by", "country"]] {
            let args = [&["--output", form], grouping].concat();
            let harmless = shape(b"harmless", &args);
            for hostile_text in HOSTILE_TEXTS {
                assert_eq!(shape(hostile_text, &args), harmless, "{args:?} {hostile_text:?}");
            }
        }
    }
}

/// The header of a mail has only its own fields, and the body only printable text.
#[test]
#[cfg(feature = "mail")]
fn hostile_text_does_not_change_mail() {
    use std::os::unix::fs::PermissionsExt;
    let heads = [
        "From:",
        "To:",
        "Subject:",
        "Date:",
        "Message-ID:",
        "Auto-Submitted:",
        "MIME-Version:",
        "Content-Type:",
        "Content-Transfer-Encoding:",
    ];
    let mut n_mails = 0;
    for (entry_point, options) in ENTRY_POINTS {
        for hostile_text in &combined(3) {
            let dir = TestDir::new();
            let program =
                dir.write("program", "#!/bin/sh\nprintf '%s\\n' \"$@\" >argv\ncat >mail\n");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let options = options(&dir, hostile_text);
            let mut command = check(&dir, &options, &["--consecutive", "1"]);
            command.args(["-a", "topip@example.com,ops@example.com", "--smtp"]);
            command.arg(format!("sendmail:{}", program.display())).env("PATH", "/usr/bin:/bin");
            let result = run(&mut command);
            let context = format!("{entry_point} {:?}", String::from_utf8_lossy(hostile_text));
            assert_nagios(&result, &context);
            let Ok(mail) = fs::read_to_string(dir.path("mail")) else { continue };
            assert_printable(&mail, &context);
            assert!(mail.is_ascii(), "{context}: {mail}");
            let (head, body) = mail.split_once("\n\n").unwrap();
            let mut header_names = BTreeSet::new();
            for line in head.lines().filter(|line| !line.starts_with(' ')) {
                let name = heads.iter().find(|name| line.starts_with(**name));
                assert!(name.is_some_and(|name| header_names.insert(name)), "{context}: {line}");
            }
            assert!(body.lines().all(|line| line != "."), "{context}: {body}");
            let argv = fs::read_to_string(dir.path("argv")).unwrap();
            assert_eq!(argv, "-i\n-f\ntopip@example.com\n--\nops@example.com\n", "{context}");
            n_mails += 1;
        }
    }
    assert!(n_mails > 50, "only {n_mails} mails were sent");
}
