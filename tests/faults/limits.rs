//! Limits of what a process may have, and doors of the kernel that are shut: for
//! each of the three programs, since each is started by another daemon.
use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, thread};

use crate::{
    interop::sandbox::without_netlink,
    support::{CHECK, LOG, MUNIN, Ran, Room, crowd, run, skip},
};

use super::invariants::kept;

const PROGRAMS: [&str; 3] = [CHECK, MUNIN, LOG];
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// A room that all users may use.
fn room() -> Room {
    let room = Room::new();
    fs::set_permissions(room.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let listing = room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    fs::set_permissions(listing, fs::Permissions::from_mode(0o644)).unwrap();
    room
}

/// Runs a program by others, which are given before it: at this machine's
/// connections, or at a listing.
fn by(others: &str, program: &str, room: &Room, listing: Option<&str>) -> Ran {
    run(&mut command(others, program, room, listing))
}

fn command(others: &str, program: &str, room: &Room, listing: Option<&str>) -> Command {
    let mut words: Vec<&str> = others.split_whitespace().chain([program]).collect();
    match (program, listing) {
        (MUNIN, _) => words.push("fetch"),
        (_, Some(listing)) => words.extend(["--input", listing]),
        _ => {}
    }
    if program == LOG {
        words.extend(["--consecutive", "1", "--log", "log"]);
    }
    let mut command = room.program(words[0], &words[1..]);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    if let (MUNIN, Some(listing)) = (program, listing) {
        command.env("input", listing);
    }
    command
}

/// Whether a run has seen what it should: in the words of its program.
fn has_seen(program: &str, ran: &Ran) -> bool {
    match program {
        CHECK => ran.code.is_some_and(|code| code <= 2),
        _ => ran.code == Some(0),
    }
}

/// Three of them are taken from the start.
#[test]
fn eight_files_are_enough() {
    for program in PROGRAMS {
        for listing in [None, Some("listing")] {
            let room = room();
            let ran = by("prlimit --nofile=8", program, &room, listing);
            kept(program, &room, &ran, 10);
            assert!(has_seen(program, &ran), "{ran:?}");
            assert!(!ran.stdout.contains("annot"), "{ran:?}");
        }
    }
}

/// With fewer, it is said what is missing.
#[test]
fn too_few_files_are_said() {
    for program in PROGRAMS {
        for n in 4..8 {
            let room = room();
            let ran = by(&format!("prlimit --nofile={n}"), program, &room, Some("listing"));
            kept(program, &room, &ran, 10);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(has_seen(program, &ran) || said.contains("Too many open files"), "{n} {ran:?}");
        }
    }
}

/// A million addresses, one connection each.
fn million(room: &Room) -> PathBuf {
    let mut text = crate::support::listing(&[]).into_bytes();
    for n in 0..1_000_000 {
        let [_, a, b, c] = u32::to_be_bytes(n);
        writeln!(text, "tcp 0 0 192.0.2.10:443 11.{a}.{b}.{c}:4 ESTABLISHED").unwrap();
    }
    room.write("million", text)
}

#[test]
fn a_million_addresses_fit_into_64_mebibytes() {
    let room = room();
    million(&room);
    for program in PROGRAMS {
        for listing in [None, Some("listing"), Some("million")] {
            let ran = patiently(64, program, &room, listing);
            assert!(has_seen(program, &ran), "{listing:?} {ran:?}");
        }
        // Where they do not fit, nothing is made of a part of them.
        let too_little: &[u64] = if program == CHECK { &[40, 32, 24] } else { &[28] };
        for &mebibytes in too_little {
            let ran = patiently(mebibytes, program, &room, Some("million"));
            let said = format!("{}{}", ran.stdout, ran.stderr);
            let is_full = said.contains("there is no memory to count more than ");
            assert!(has_seen(program, &ran) != is_full, "{mebibytes} {ran:?}");
            assert!(is_full || mebibytes > 32, "{mebibytes} {ran:?}");
        }
    }
}

/// Runs a program with so much memory, and more time than it takes.
#[track_caller]
fn patiently(mebibytes: u64, program: &str, room: &Room, listing: Option<&str>) -> Ran {
    let others = format!("prlimit --as={}", mebibytes << 20);
    let mut command = command(&others, program, room, listing);
    if program != MUNIN {
        command.args(["--timeout", "300"]);
    }
    let ran = run(command.env("timeout", "300"));
    kept(program, room, &ran, 300);
    ran
}

/// Few addresses need little. Far below that, the system cannot even load what
/// a program is linked to; and in between, Rust's library ends it where it asks
/// for some bytes and gets none.
#[test]
fn little_memory_is_enough() {
    for program in PROGRAMS {
        for mebibytes in [32, 24] {
            let room = room();
            let others = format!("prlimit --as={}", mebibytes << 20);
            let ran = by(&others, program, &room, Some("listing"));
            kept(program, &room, &ran, 10);
            assert!(has_seen(program, &ran), "{mebibytes} {ran:?}");
        }
    }
}

/// A thread counts as a process, and root may have as many as he likes.
#[test]
fn a_user_who_may_have_no_process_is_told() {
    for program in PROGRAMS {
        let room = room();
        let copy = copy(&room, program);
        let others = format!("{NOBODY} prlimit --nproc=0");
        let mut command = command(&others, program, &room, Some("listing"));
        let ran = run(put(&mut command, program, &copy));
        kept(program, &room, &ran, 10);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let problem = "cannot start a thread: Resource temporarily unavailable (os error 11)\n\
                       May this user have another process (ulimit -u), and so much more memory?\n";
        assert!(said.contains(problem), "{ran:?}");
        assert!(!has_seen(program, &ran), "{ran:?}");
    }
}

/// A copy of a program where any user can run it.
fn copy(room: &Room, program: &str) -> String {
    let copy = room.path(PathBuf::from(program).file_name().unwrap().to_str().unwrap());
    let copied = Command::new("cp").arg(program).arg(&copy).status();
    assert!(copied.unwrap().success());
    copy.to_str().unwrap().to_owned()
}

/// Puts a copy of the program in its place.
fn put<'a>(command: &'a mut Command, program: &str, copy: &str) -> &'a mut Command {
    let args: Vec<_> = command
        .get_args()
        .map(|arg| if arg == program { copy.into() } else { arg.to_owned() })
        .collect();
    let mut with_copy = Command::new(command.get_program());
    with_copy.args(args).env_clear();
    with_copy.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    with_copy.current_dir(command.get_current_dir().unwrap()).stdin(std::process::Stdio::null());
    *command = with_copy;
    command
}

#[test]
fn a_short_stack_is_enough() {
    for program in PROGRAMS {
        for kibibytes in [512, 1024] {
            let room = room();
            let others = format!("prlimit --stack={}", kibibytes << 10);
            let ran = by(&others, program, &room, Some("listing"));
            kept(program, &room, &ran, 10);
            assert!(has_seen(program, &ran), "{ran:?}");
        }
    }
}

/// The first limit is a signal, the second the end.
#[test]
fn processor_time_that_runs_out_is_said() {
    thread::scope(|scope| {
        for program in PROGRAMS {
            scope.spawn(move || {
                let room = room();
                let mut command = command("prlimit --cpu=1:5", program, &room, Some("/dev/zero"));
                if program != MUNIN {
                    command.args(["--timeout", "300"]);
                }
                let ran = run(command.env("timeout", "300"));
                kept(program, &room, &ran, 300);
                let said = format!("{}{}", ran.stdout, ran.stderr);
                let problem = "ended by SIGXCPU while reading /dev/zero\n\
                               Allow it more CPU time: ulimit -t, or LimitCPU of its unit.\n";
                assert!(said.contains(problem), "{ran:?}");
                assert!(!has_seen(program, &ran), "{ran:?}");
            });
        }
    });
}

/// Runs a shell script in a mount namespace, and then a program as nobody.
fn with_proc(script: &str, program: &str, room: &Room, more: &[&str]) -> Option<Ran> {
    let copy = copy(room, program);
    let script = format!("{script} && exec {NOBODY} \"$0\" \"$@\"");
    let mut command = room.program("unshare", &["-m", "sh", "-c", &script, &copy]);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    match program {
        MUNIN => {
            command.arg("fetch").env("source", more.get(1).unwrap_or(&"auto"));
        }
        LOG => {
            command.args(["--log", "log"]).args(more);
        }
        _ => {
            command.args(more);
        }
    }
    let ran = run(&mut command);
    if ran.code == Some(1) && ran.stderr.contains("unshare") {
        skip(&format!("the right to mount ({})", ran.stderr.trim()));
        return None;
    }
    Some(ran)
}

/// The kernel is asked without it, and other processes are not looked at.
#[test]
fn a_proc_that_is_missing_or_hidden_is_not_missed() {
    for program in PROGRAMS {
        for script in [
            "mount -t tmpfs none /proc",
            "mount -t proc -o hidepid=2 proc /proc",
            "mount -t proc -o subset=pid proc /proc",
        ] {
            let room = room();
            let Some(ran) = with_proc(script, program, &room, &[]) else { return };
            kept(program, &room, &ran, 10);
            assert!(has_seen(program, &ran), "{script} {ran:?}");
        }
        // By /proc alone, it is what a user sees of himself that is read.
        let room = room();
        let script = "mount -t proc -o hidepid=2 proc /proc";
        let Some(ran) = with_proc(script, program, &room, &["--source", "proc"]) else { return };
        kept(program, &room, &ran, 10);
        assert!(has_seen(program, &ran), "{script} {ran:?}");
        let room = self::room();
        let script = "mount -t tmpfs none /proc";
        let Some(ran) = with_proc(script, program, &room, &["--source", "proc"]) else { return };
        kept(program, &room, &ran, 10);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("cannot open /proc/self/net/tcp: No such file"), "{ran:?}");
        assert!(!has_seen(program, &ran), "{ran:?}");
    }
}

#[test]
fn without_netlink_each_program_reads_proc() {
    for program in PROGRAMS {
        let ran = without_netlink(move || {
            let room = room();
            let ran = by("env", program, &room, None);
            kept(program, &room, &ran, 10);
            ran
        });
        assert!(has_seen(program, &ran), "{ran:?}");
    }
}

#[test]
fn without_any_way_to_look_each_program_says_so() {
    for program in PROGRAMS {
        let ran = without_netlink(move || {
            let room = room();
            let script = "mount -t tmpfs none /proc";
            let ran = with_proc(script, program, &room, &[])?;
            kept(program, &room, &ran, 10);
            Some(ran)
        });
        let Some(ran) = ran else { return };
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("cannot look at the sockets of this machine: "), "{ran:?}");
        assert!(!has_seen(program, &ran), "{ran:?}");
    }
}
