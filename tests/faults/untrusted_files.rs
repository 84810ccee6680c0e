//! In folders where everybody may write, somebody has been there before.
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use crate::support::{
    Ran, Room, crowd, listing, run,
    stranger::{NOBODY, SOMEBODY, as_user, everybodys, is_possible, open_room, script},
};

/// What somebody may put where a file is expected, and whether it is his own to
/// put there on a kernel that guards hard links.
pub const PLANTS: [(&str, &str); 8] = [
    ("a link to a file", "ln -s ../precious $P"),
    ("a link to a file that is not there", "ln -s ../made $P"),
    ("a link to a file of the system", "ln -s /etc/hosts $P"),
    ("a hard link", "HARD"),
    ("a pipe", "mkfifo $P"),
    ("a folder", "mkdir $P"),
    ("a file", "echo mine >$P; chmod 666 $P"),
    ("a file that nobody reads", "echo mine >$P; chmod 0 $P"),
];

/// A folder like /tmp, and beside it what is not to be touched.
fn place() -> Room {
    let room = open_room();
    everybodys(&room, "tmp");
    room.write("precious", "precious\n");
    fs::set_permissions(room.path("precious"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::create_dir(room.path("elsewhere")).unwrap();
    room.write("quiet", listing(&[("203.0.113.7", 1)]));
    room.write("flood", crowd(31, &[("203.0.113.7", 152)]));
    room
}

/// Puts a plant at `path` in tmp, as a user that is not the one who runs topip.
pub fn plant(room: &Room, user: u32, path: &str, plant: &str) {
    if plant == "HARD" {
        // The kernel lets nobody link what is not his, where it guards that.
        return fs::hard_link(room.path("precious"), room.path("tmp").join(path)).unwrap();
    }
    script(user, &room.path("tmp"), &plant.replace("$P", path));
}

/// All that is outside of tmp, with all that can be said of it.
fn outside(room: &Room) -> Vec<String> {
    let files = ["precious", "elsewhere", "/etc/hosts"].map(|name| room.path(name));
    let mut all: Vec<_> = files
        .iter()
        .map(|path| {
            let it = fs::symlink_metadata(path).unwrap();
            let text = if it.is_file() { fs::read(path).unwrap() } else { Vec::new() };
            format!("{path:?} {:o} {} {} {text:?}", it.mode(), it.uid(), it.gid())
        })
        .collect();
    for folder in [".", "elsewhere"] {
        let names = fs::read_dir(room.path(folder)).unwrap();
        all.extend(names.map(|name| format!("{:?}", name.unwrap().path())));
    }
    all.sort();
    all
}

fn clean(room: &Room) {
    fs::remove_dir_all(room.path("tmp")).unwrap();
    everybodys(room, "tmp");
}

/// Root, and a user that is not the one who plants.
fn victims() -> [(u32, u32); 2] {
    [(0, NOBODY), (NOBODY, SOMEBODY)]
}

fn check(room: &Room, user: u32, args: &[&str]) -> Ran {
    run(as_user(user, room.path("check_topip"))
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(room.path(".")))
}

#[test]
fn what_is_put_at_a_state_file_is_neither_read_nor_changed() {
    if !is_possible() {
        return;
    }
    let room = place();
    for (user, stranger) in victims() {
        for name in ["state", "state.lock", "state.new", "state.bad"] {
            for (what, how) in PLANTS {
                clean(&room);
                plant(&room, stranger, name, how);
                if name == "state.bad" {
                    // It is where a damaged file goes.
                    script(user, &room.path("tmp"), "umask 077; echo damaged >state");
                }
                let before = outside(&room);
                let ran = check(&room, user, &["--input", "quiet", "--state-file", "tmp/state"]);
                let context = format!("{what} at {name}, user {user}: {}", ran.stdout);
                assert_eq!(outside(&room), before, "{context}");
                if name == "state" || name == "state.lock" {
                    assert_eq!(ran.code, Some(3), "{context}");
                } else if ran.code != Some(3) {
                    let state = fs::symlink_metadata(room.path("tmp/state")).unwrap();
                    assert!(state.is_file() && state.uid() == user, "{context}");
                }
                assert!(
                    !ran.stdout.contains("precious\n") && !ran.stdout.contains("localhost\n"),
                    "{context}"
                );
            }
        }
    }
}

/// On the way to a file, as well.
#[test]
fn what_is_put_on_the_way_is_not_gone_through() {
    if !is_possible() {
        return;
    }
    let room = place();
    for (user, stranger) in victims() {
        for how in
            ["ln -s ../elsewhere way", "ln -s . way", "mkdir -m 777 way", "ln -s /nowhere way"]
        {
            clean(&room);
            script(stranger, &room.path("tmp"), how);
            let before = outside(&room);
            let way = room.path("tmp/way");
            let way = way.to_str().unwrap();
            let told = "belongs to another user, and everybody may write to its folder";
            let state = check(&room, user, &["--input", "quiet", "--state-file", "tmp/way/state"]);
            assert_eq!(state.code, Some(3), "{how}: {}", state.stdout);
            assert!(state.stdout.contains(told), "{how}: {}", state.stdout);
            let mut below = as_user(user, room.path("check_topip"));
            below.args(["--input", "../quiet"]).current_dir(room.path("elsewhere"));
            for folder in [way.to_owned(), format!("{way}/further")] {
                let ran = run(below.env("MP_STATE_PATH", folder));
                assert_eq!(ran.code, Some(3), "{how}: {}", ran.stdout);
                assert!(ran.stdout.contains(told), "{how}: {}", ran.stdout);
            }
            let log = ["--input", "flood", "--state-file", "/dev/null/x", "-l", "tmp/way/log"];
            let ran = check(&room, user, &log);
            assert!(ran.stdout.contains(told), "{how}: {}", ran.stdout);
            assert_eq!(outside(&room), before, "{how}");
        }
        // One's own way is gone.
        clean(&room);
        script(user, &room.path("tmp"), "mkdir there; ln -s there way");
        let ran = check(&room, user, &["--input", "quiet", "--state-file", "tmp/way/state"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stdout);
        assert!(room.path("tmp/there/state").exists());
    }
}

#[test]
fn what_is_put_at_a_log_is_not_written_to() {
    if !is_possible() {
        return;
    }
    let room = place();
    for (user, stranger) in victims() {
        for (what, how) in PLANTS {
            clean(&room);
            plant(&room, stranger, "log", how);
            let before = outside(&room);
            for args in [
                &["--input", "flood", "--state-file", "tmp/state", "-l", "tmp/log"][..],
                &[
                    "--input",
                    "flood",
                    "--state-file",
                    "tmp/state2",
                    "--consecutive",
                    "1",
                    "-l",
                    "tmp/log",
                ],
            ] {
                let ran = check(&room, user, args);
                let context = format!("{what}, user {user}: {}", ran.stdout);
                assert_eq!(outside(&room), before, "{context}");
                assert!(ran.stdout.contains(" the log tmp/log"), "{context}");
            }
            // A pipe would keep whoever reads it.
            let log = room.path("tmp/log");
            let is_file = fs::metadata(&log).is_ok_and(|it| it.is_file());
            let mine = if is_file { fs::read(log).unwrap() } else { Vec::new() };
            assert!(!String::from_utf8_lossy(&mine).contains("203.0.113.7"), "{what}, user {user}");
        }
    }
}

/// A log of one's own, in such a folder, is none to be afraid of.
#[test]
fn what_is_ones_own_is_used() {
    if !is_possible() {
        return;
    }
    let room = place();
    for (user, _) in victims() {
        clean(&room);
        let args = ["--input", "flood", "--state-file", "tmp/state", "-l", "tmp/log"];
        assert_eq!(check(&room, user, &args).code, Some(1));
        assert_eq!(check(&room, user, &args).code, Some(2));
        let log = fs::read_to_string(room.path("tmp/log")).unwrap();
        assert_eq!(log.matches("203.0.113.7").count(), 1, "{log}");
        for name in ["state", "state.lock", "log"] {
            let it = fs::metadata(room.path("tmp").join(name)).unwrap();
            assert_eq!((it.uid(), it.mode() & 0o7777), (user, 0o640), "{name}");
        }
    }
}

/// Of a folder that a user owns, root takes nothing that leads out of it.
#[test]
fn a_users_folder_does_not_lead_root_out_of_it() {
    if !is_possible() {
        return;
    }
    let room = place();
    let folder = room.path("his");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    let before = outside(&room);
    for (name, args) in [
        ("state", ["--state-file", "his/state"]),
        ("state.lock", ["--state-file", "his/state"]),
        ("log", ["--log", "his/log"]),
    ] {
        for hard in [false, true] {
            let path = folder.join(name);
            if hard {
                fs::hard_link(room.path("precious"), &path).unwrap();
            } else {
                script(NOBODY, &folder, &format!("ln -s ../precious {name}"));
            }
            let ran = check(&room, 0, &[&["--input", "flood"], &args[..]].concat());
            assert!(
                ran.stdout.contains(&format!("his/{}", name.trim_end_matches(".lock"))),
                "{}",
                ran.stdout
            );
            assert_eq!(outside(&room), before, "{name}: {}", ran.stdout);
            fs::remove_file(path).unwrap();
            let _ = fs::remove_file(folder.join("state.lock"));
        }
    }
}
