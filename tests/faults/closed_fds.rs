//! Without standard input, output or error: what would be written there goes
//! nowhere, and never into a file that was opened in its place.
use std::fs;

use crate::support::{CHECK, LOG, MUNIN, Room, crowd, run};

use super::invariants::left_nothing;

/// The three, in every combination.
const CLOSED: [&str; 8] =
    ["", "<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"];

#[test]
fn whatever_is_closed_files_hold_what_is_theirs() {
    for closed in CLOSED {
        for (program, args, code) in [
            (CHECK, "--input listing --consecutive 1 --log log", 2),
            (LOG, "--input listing --consecutive 1 --log log -v", 0),
            (LOG, "--input listing --consecutive 1 --log log --log none/log", 1),
            (CHECK, "--nonsense", 3),
            (LOG, "--nonsense", 2),
            (MUNIN, "fetch", 0),
            (MUNIN, "nonsense", 1),
        ] {
            let room = Room::new();
            room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
            let script = format!("exec \"$0\" {args} {closed}");
            let mut command = room.program("sh", &["-c", &script, program]);
            command.env("input", "listing").env("MP_STATE_PATH", room.path("var"));
            let ran = run(&mut command);
            assert_eq!(ran.code, Some(code), "{args} {closed}: {ran:?}");
            let is_open = |text: &str, number: &str| text.is_empty() || !closed.contains(number);
            assert!(is_open(&ran.stderr, "2>&-"), "{ran:?}");
            left_nothing(&room);
            for path in files(&room.path(".")) {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                match name {
                    "listing" => continue,
                    "log" => {
                        let end = " - 152 connections from 203.0.113.7 on input\n";
                        assert!(text.ends_with(end) && text.lines().count() == 1, "{text}");
                    }
                    _ if name.ends_with(".lock") => assert_eq!(text, ""),
                    _ => {
                        assert!(name.ends_with(".ron"), "{name}");
                        assert!(text.starts_with("(\n") && text.ends_with("\n)\n"), "{text}");
                        assert!(!text.contains("TOPIP"), "{text}");
                    }
                }
            }
        }
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// There is nothing to judge, and that is no OK.
#[test]
fn a_listing_from_an_input_that_is_closed_is_none() {
    let room = Room::new();
    let ran = run(&mut room.program("sh", &["-c", "exec \"$0\" --input - <&-", CHECK]));
    assert_eq!(ran.code, Some(3), "{ran:?}");
    super::invariants::kept(CHECK, &room, &ran, 10);
}

/// A disk that is full is where the answer should go: nobody has got it.
#[test]
fn an_answer_that_goes_nowhere_is_no_success() {
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    for (program, args, code) in [
        (CHECK, "--input listing >/dev/full", 3),
        (CHECK, "--input listing --output json >/dev/full 2>&1", 3),
        (MUNIN, "fetch >/dev/full", 3),
        (MUNIN, "config >/dev/full", 3),
        (LOG, "--input listing --consecutive 1 --log log -v >/dev/full", 1),
        (LOG, "report --log log >/dev/full", 1),
        (LOG, "watch 1 --input listing >/dev/full", 1),
    ] {
        let script = format!("exec \"$0\" {args}");
        let ran = run(room.program("sh", &["-c", &script, program]).env("input", "listing"));
        assert_eq!(ran.code, Some(code), "{args}: {ran:?}");
        left_nothing(&room);
    }
}
