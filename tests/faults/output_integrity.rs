//! Whatever strangers write, wherever they can: every form of answer keeps its
//! shape, and shows nothing that a terminal would do.
//!
//! Each door is tried with each poison and in each form, and with a harmless
//! word: the answers have to be alike but for the text.
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    process::Command,
};

use regex::Regex;
use serde_json::Value;

use crate::support::{CHECK, LOG, MUNIN, Ran, Room, crowd};

/// What strangers write. None has a NUL, which no argument or name can have.
pub const POISONS: [&[u8]; 30] = [
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
    // These are no text at all.
    b"\x9b31mraw C1\x9d0;x\x9c",
    b"\xc0\xaf\xe0\x80\xaf\xff\xfe\xf4\x90\x80\x80",
    b"\xed\xa0\x80\xed\xb0\x80half",
];

/// The same, so many in one text, where each of them would take too long.
pub fn together(n: usize) -> Vec<Vec<u8>> {
    POISONS.chunks(n).map(|some| some.concat()).collect()
}

/// Where a stranger's text gets in: what it is put into, and the options for that.
type Door = (&'static str, fn(&Room, &[u8]) -> Vec<(&'static str, OsString)>);

const DOORS: [Door; 14] = [
    ("a row of a listing", |room, text| {
        let row = [b"tcp 0 0 192.0.2.10:443 ", text, b":1 ESTABLISHED\n"].concat();
        vec![input(room, &[flood().as_bytes(), &on_a_line(&row)].concat())]
    }),
    ("a state of a listing", |room, text| {
        let row = [b"tcp 0 0 192.0.2.10:443 203.0.113.9:1 ", text, b"\n"].concat();
        vec![input(room, &[flood().as_bytes(), &on_a_line(&row)].concat())]
    }),
    ("what is no listing", |room, text| vec![input(room, &[text, b"\n"].concat())]),
    ("the name of a listing", |room, text| vec![("input", file(room, text, flood().as_bytes()))]),
    ("the name of what is not there", |_, text| vec![("input", name(text))]),
    ("a label", |room, text| {
        let label = [b"203.0.113.7=x", text].concat();
        vec![input(room, flood().as_bytes()), ("label", OsStr::from_bytes(&label).to_owned())]
    }),
    ("a file of labels", |room, text| {
        let label = on_a_line(&[b"203.0.113.7=x", text, b"\n"].concat());
        vec![input(room, flood().as_bytes()), ("label_file", file(room, b"labels", &label))]
    }),
    ("what is no network", |room, text| {
        let list = on_a_line(&[b"192.0.2.0/x", text, b"\n"].concat());
        vec![input(room, flood().as_bytes()), ("exclude_file", file(room, b"list", &list))]
    }),
    ("the name of a list", |room, text| {
        vec![input(room, flood().as_bytes()), ("exclude_file", name(text))]
    }),
    ("the value of an option", |room, text| {
        vec![input(room, flood().as_bytes()), ("port", OsStr::from_bytes(text).to_owned())]
    }),
    ("a server", |_, text| {
        vec![("hostname", OsStr::from_bytes(&[text, b"@"].concat()).to_owned())]
    }),
    ("the name of a state file", |room, text| {
        let path = [b"none/", name(text).as_bytes()].concat();
        vec![input(room, flood().as_bytes()), ("state_file", OsStr::from_bytes(&path).to_owned())]
    }),
    ("a damaged state file", |room, text| {
        vec![input(room, flood().as_bytes()), ("state_file", file(room, b"state", text))]
    }),
    ("the servers of a state file", |room, text| {
        let text = String::from_utf8_lossy(text).into_owned();
        let state = format!("(version: 1, when: 1, servers: [{text:?}])");
        vec![
            input(room, flood().as_bytes()),
            ("state_file", file(room, b"state", state.as_bytes())),
        ]
    }),
];

/// Variables of the environment that have a say.
const VARIABLES: [&str; 8] =
    ["TZ", "LC_ALL", "LANG", "HOME", "MP_STATE_PATH", "XDG_STATE_HOME", "TERM", "SSH_AUTH_SOCK"];

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152)])
}

fn input(room: &Room, text: &[u8]) -> (&'static str, OsString) {
    ("input", file(room, b"listing", text))
}

/// Such as a file can have: no slash, and not too long.
fn name(text: &[u8]) -> OsString {
    let text: Vec<u8> = text.iter().copied().filter(|&it| it != b'/').take(200).collect();
    OsStr::from_bytes(&text).to_owned()
}

/// Writes a file, whatever it is called; gives its name.
fn file(room: &Room, text: &[u8], content: &[u8]) -> OsString {
    let name = name(text);
    fs::write(room.path(".").join(&name), content).unwrap();
    name
}

/// What ends a line would make another row of it, which is for the writer of a
/// listing to do.
fn on_a_line(text: &[u8]) -> Vec<u8> {
    let (line, end) = text.split_at(text.len() - 1);
    let line = line.iter().map(|&it| if b"\n\r".contains(&it) { b' ' } else { it });
    line.chain(end.iter().copied()).collect()
}

/// A letter that a terminal only shows, by itself and where it stands.
fn is_tame(letter: char) -> bool {
    let is_filler = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'].contains(&letter);
    letter == '\n'
        || letter == ' '
        || letter.is_ascii_graphic()
        || letter.is_alphanumeric() && !is_filler
}

#[track_caller]
pub fn assert_tame(text: &str, context: &str) {
    let wild: BTreeSet<_> = text.chars().filter(|&it| !is_tame(it)).collect();
    assert!(wild.is_empty(), "{wild:?} in {context}: {text:?}");
    assert!(text.is_empty() || text.ends_with('\n'), "{context}: {text:?}");
}

/// An answer for Nagios: one line of status, perfdata on that alone, and nothing
/// anywhere that Nagios or a shell would take for its own.
#[track_caller]
pub fn assert_nagios(ran: &Ran, context: &str) {
    let context = format!("{context}: {:?}", ran.stdout);
    assert_tame(&ran.stdout, &context);
    assert_eq!(ran.stderr, "", "{context}");
    let words = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
    let code = usize::try_from(ran.code.unwrap()).unwrap();
    let mut lines = ran.stdout.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with(&format!("TOPIP {} - ", words[code])), "{context}");
    let (text, perfdata) = first.split_once(" | ").unwrap_or((first, ""));
    let form = Regex::new(r"^(max=\d+;[\d.]+;;0( [a-z]+=[\d.]+;;;0){6})?$").unwrap();
    assert!(form.is_match(perfdata), "{context}");
    assert!(first.len() < 1000, "{context}");
    for line in std::iter::once(text).chain(lines) {
        assert!(!line.contains(['|', '<', '>', '$', '&', '"', '\'', '`']), "{line:?} in {context}");
    }
    for line in ran.stdout.lines().skip(1) {
        assert!(!line.starts_with("TOPIP ") && !line.is_empty(), "{line:?} in {context}");
    }
}

/// Every name of a field, and how they are nested.
fn skeleton(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}:{}", skeleton(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => values.iter().map(skeleton).collect(),
        Value::String(_) => "s".to_owned(),
        _ => "v".to_owned(),
    }
}

/// Whether an answer has the form of that to a harmless word.
#[track_caller]
fn assert_alike(ran: &Ran, harmless: &Ran, context: &str) {
    let shape = |ran: &Ran| (ran.code, ran.stdout.lines().count(), ran.stderr.lines().count());
    assert_eq!(shape(ran), shape(harmless), "{context}: {ran:#?} {harmless:#?}");
}

fn run(command: &mut Command) -> Ran {
    crate::support::run(command)
}

/// The check, with the options of a door.
fn check(room: &Room, options: &[(&str, OsString)], more: &[&str]) -> Command {
    let mut command = room.program(CHECK, more);
    for (option, value) in options {
        // In one word, or it might be taken for an option.
        let mut word = OsString::from(format!("--{}=", option.replace('_', "-")));
        word.push(value);
        command.arg(word);
    }
    command
}

#[test]
fn every_door_every_poison_every_form_of_the_check() {
    for (door, options) in DOORS {
        let run_in = |text: &[u8], more: &[&str]| {
            let room = Room::new();
            let options = options(&room, text);
            run(&mut check(&room, &options, more))
        };
        let each: Vec<Vec<u8>> = POISONS.iter().map(|poison| poison.to_vec()).collect();
        for (more, poisons) in [(&["-vvv"][..], each), (&["--output", "json", "-vvv"], together(3))]
        {
            let harmless = run_in(b"harmless", more);
            for poison in &poisons {
                let ran = run_in(poison, more);
                let context = format!("{door} {:?} {more:?}", String::from_utf8_lossy(poison));
                let is_refused = ran.stdout.contains(NO_TEXT);
                let harmless = if is_refused { &refused(more) } else { &harmless };
                if more.contains(&"json") {
                    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
                    let expected: Value = serde_json::from_str(&harmless.stdout).unwrap();
                    assert_tame(&ran.stdout, &context);
                    assert_eq!(skeleton(&object), skeleton(&expected), "{context}: {object:#}");
                    assert_eq!(ran.stdout.lines().count(), 1, "{context}");
                    assert_eq!((ran.code, &*ran.stderr), (harmless.code, ""), "{context}");
                } else {
                    assert_nagios(&ran, &context);
                    assert_alike(&ran, harmless, &context);
                }
            }
        }
    }
}

/// What is said of an argument that is no text at all.
const NO_TEXT: &str = "invalid UTF-8 was detected";

/// The answer to a mistake.
fn refused(more: &[&str]) -> Ran {
    run(Room::new().command(more).arg("--no-such-option"))
}

#[test]
fn every_door_every_poison_as_munin_is_answered() {
    let line = Regex::new(
        r"^(connections_(max|avg|stddev|limit)\.value ([\d.]+|U)|connections_max\.extinfo [^#\\]*)$",
    );
    let line = line.unwrap();
    for (door, options) in DOORS {
        let ask = |text: &[u8], verb: &str, capabilities: &[&str]| {
            let room = Room::new();
            let options = options(&room, text);
            let mut command = room.program(MUNIN, &[verb]);
            command.envs(options);
            run(command.envs(capabilities.iter().map(|name| (format!("MUNIN_CAP_{name}"), "1"))))
        };
        let harmless = ask(b"harmless", "fetch", &[]);
        let config = ask(b"harmless", "config", &["DIRTYCONFIG", "MULTIGRAPH"]);
        for poison in &together(3) {
            let context = format!("{door} {:?}", String::from_utf8_lossy(poison));
            let ran = ask(poison, "fetch", &[]);
            if !ran.stdout.contains(NO_TEXT) {
                assert_alike(&ran, &harmless, &context);
            }
            for text in [&ran.stdout, &ran.stderr] {
                assert_tame(text, &context);
            }
            assert!(ran.stdout.lines().all(|it| line.is_match(it)), "{context}: {}", ran.stdout);
            let ran = ask(poison, "config", &["DIRTYCONFIG", "MULTIGRAPH"]);
            assert_tame(&(ran.stdout.clone() + &ran.stderr), &context);
            let rest = |ran: &Ran| -> Vec<String> {
                let lines = ran.stdout.lines().filter(|it| !it.contains(".extinfo "));
                lines.map(ToOwned::to_owned).collect()
            };
            if !ran.stdout.contains(NO_TEXT) {
                assert_eq!(rest(&ran), rest(&config), "{context}");
            }
        }
    }
}

/// What the program is called, and the variables that it heeds.
#[test]
fn names_and_variables_have_no_say() {
    let run_as = |program: &str, name: &OsStr, variable: Option<(&str, &[u8])>| {
        let room = Room::new();
        let link = room.path(".").join(name);
        std::os::unix::fs::symlink(program, &link).unwrap();
        let options = if program == CHECK { &["--input", "listing", "-vvv"][..] } else { &[] };
        room.write("listing", flood());
        let mut command = room.program(link.to_str().unwrap_or(program), options);
        if link.to_str().is_none() {
            use std::os::unix::process::CommandExt;
            command.arg0(&link);
        }
        command.env_remove("MP_STATE_PATH").env("input", "listing");
        run(command.envs(variable.map(|(name, text)| (name, OsStr::from_bytes(text)))))
    };
    for poison in POISONS {
        let text = String::from_utf8_lossy(poison);
        for (prefix, suffix) in [("topip_", ""), ("ssh_", "_topip"), ("munin_", "")] {
            let name = name(&[prefix.as_bytes(), poison, suffix.as_bytes()].concat());
            let ran = run_as(MUNIN, &name, None);
            assert_tame(&(ran.stdout.clone() + &ran.stderr), &format!("{name:?}"));
            let is_value = |line: &str| line.starts_with("connections_max.value ");
            let values = ran.stdout.lines().filter(|line| is_value(line)).count();
            assert!(values <= 1, "{name:?}: {}", ran.stdout);
        }
        let ran = run_as(CHECK, &name(&[b"check_", poison].concat()), None);
        assert_nagios(&ran, &format!("check_{text:?}"));
    }
    for poison in together(3) {
        for variable in VARIABLES {
            let ran = run_as(CHECK, OsStr::new("check_topip"), Some((variable, &poison)));
            assert_nagios(&ran, &format!("{variable}={:?}", String::from_utf8_lossy(&poison)));
        }
    }
}

/// A line of the log is one line, about the address that it is about.
#[test]
fn every_door_every_poison_as_it_is_logged() {
    let classic = r"^\w{3} \w{3} [ \d]\d [\d:]{8} \d{4} - 152 connections from 203\.0\.113\.7( on [\w.:%\[\],-]+)?$";
    for (door, options) in DOORS {
        for (format, form) in [("classic", classic), ("json", "")] {
            let form = Regex::new(form).unwrap();
            for poison in &together(3) {
                let room = Room::new();
                let options: Vec<_> = options(&room, poison);
                let mut command = check(&room, &options, &["--consecutive", "1"]);
                command.args(["-l", "log", "--log-format", format]);
                let ran = run(&mut command);
                let context = format!("{door} {:?} {format}", String::from_utf8_lossy(poison));
                assert_nagios(&ran, &context);
                let Ok(log) = fs::read_to_string(room.path("log")) else { continue };
                assert_tame(&log, &context);
                assert!(log.lines().count() <= 1, "{context}: {log}");
                for line in log.lines() {
                    assert!(form.is_match(line), "{context}: {line}");
                    if format == "json" {
                        let object: Value = serde_json::from_str(line).unwrap();
                        assert_eq!(object["address"], "203.0.113.7", "{context}");
                    }
                }
            }
        }
    }
}

/// The name of a log that cannot be written, and of commands that are none.
#[test]
fn words_of_the_log_have_no_say() {
    for poison in POISONS {
        let text = OsStr::from_bytes(poison);
        for words in [&["--log"][..], &["report", "--log"], &["watch", "--port"], &["report"], &[]]
        {
            let room = Room::new();
            room.write("listing", flood());
            let mut command = room.program(LOG, words);
            let mut word =
                OsString::from(if words.last() == Some(&"--log") { "none/" } else { "" });
            word.push(text);
            command.arg(word);
            if words == ["--log"] {
                command.args(["--input", "listing", "--consecutive", "1"]);
            }
            let ran = run(&mut command);
            let context = format!("{words:?} {:?}", String::from_utf8_lossy(poison));
            assert_tame(&(ran.stdout.clone() + &ran.stderr), &context);
            assert!(matches!(ran.code, Some(1 | 2)), "{context}: {ran:?}");
        }
    }
}

/// Lines of a log that somebody else wrote are no rows, and no cells.
#[test]
fn every_poison_in_a_log_that_is_reported() {
    let good = "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.7 on web1\n";
    let reports = |text: &[u8]| {
        let room = Room::new();
        room.write("log", text);
        ["text", "json", "csv"].map(|form| {
            let ran = room.log(&["report", "--log", "log", "--output", form]);
            (form, ran)
        })
    };
    for poison in POISONS {
        let shown = String::from_utf8_lossy(poison);
        let json = serde_json::to_string(&shown).unwrap();
        let lines = [
            on_a_line(&[poison, b"\n"].concat()),
            on_a_line(&[b"2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.9 on ", poison, b"\n"].concat()),
            on_a_line(&[b"2007-11-28T23:40:34-05:00 - 152 connections from ", poison, b"\n"].concat()),
            format!("{{\"time\":\"2007-11-28T23:40:34-05:00\",\"address\":\"203.0.113.9\",\"connections\":9,\"servers\":[{json}]}}\n").into_bytes(),
            format!("{{\"time\":\"2007-11-28T23:40:34-05:00\",\"address\":{json},\"connections\":9}}\n").into_bytes(),
        ];
        for line in lines {
            let context = format!("{:?}", String::from_utf8_lossy(&line));
            for (form, ran) in reports(&[good.as_bytes(), &line].concat()) {
                assert_tame(&(ran.stdout.clone() + &ran.stderr), &context);
                match form {
                    "text" => {
                        let rows =
                            ran.stdout.lines().filter(|it| it.contains(" 203.0.113.")).count();
                        assert!(
                            (1..=2).contains(&rows) && ran.stdout.lines().count() == rows + 2,
                            "{context}: {}",
                            ran.stdout
                        );
                    }
                    "json" => {
                        let object: Value = serde_json::from_str(&ran.stdout).unwrap();
                        assert_eq!(object["offenders"][0]["address"], "203.0.113.7", "{context}");
                    }
                    _ => {
                        for row in ran.stdout.lines() {
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

/// The head of a mail has its own lines, and its text only what can be shown.
#[test]
#[cfg(feature = "mail")]
fn every_door_every_poison_as_it_is_mailed() {
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
    for (door, options) in DOORS {
        for poison in &together(3) {
            let room = Room::new();
            let program =
                room.write("program", "#!/bin/sh\nprintf '%s\\n' \"$@\" >argv\ncat >mail\n");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let options = options(&room, poison);
            let mut command = check(&room, &options, &["--consecutive", "1"]);
            command.args(["-a", "topip@example.com,ops@example.com", "--smtp"]);
            command.arg(format!("sendmail:{}", program.display())).env("PATH", "/usr/bin:/bin");
            let ran = run(&mut command);
            let context = format!("{door} {:?}", String::from_utf8_lossy(poison));
            assert_nagios(&ran, &context);
            let Ok(mail) = fs::read_to_string(room.path("mail")) else { continue };
            assert_tame(&mail, &context);
            assert!(mail.is_ascii(), "{context}: {mail}");
            let (head, body) = mail.split_once("\n\n").unwrap();
            let mut seen = BTreeSet::new();
            for line in head.lines().filter(|line| !line.starts_with(' ')) {
                let name = heads.iter().find(|name| line.starts_with(**name));
                assert!(name.is_some_and(|name| seen.insert(name)), "{context}: {line}");
            }
            assert!(body.lines().all(|line| line != "."), "{context}: {body}");
            let argv = fs::read_to_string(room.path("argv")).unwrap();
            assert_eq!(argv, "-i\n-f\ntopip@example.com\n--\nops@example.com\n", "{context}");
        }
    }
}
