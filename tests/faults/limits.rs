//! Resource limits and blocked kernel interfaces, for each of the three programs, because
//! each is started by another daemon.
use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, thread};

use crate::{
    interop::sandbox::without_netlink,
    support::{CHECK, CommandResult, LOG, MUNIN, TestDir, crowd, run, skip},
};

use super::invariants::assert_invariants;

const PROGRAMS: [&str; 3] = [CHECK, MUNIN, LOG];
const AS_NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// Creates a test directory that all users may use.
fn test_dir() -> TestDir {
    let dir = TestDir::new();
    fs::set_permissions(dir.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let listing = dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    fs::set_permissions(listing, fs::Permissions::from_mode(0o644)).unwrap();
    dir
}

/// Runs a program with a wrapper command, on this host's connections or on a listing.
fn run_with(wrapper: &str, program: &str, dir: &TestDir, listing: Option<&str>) -> CommandResult {
    run(&mut command(wrapper, program, dir, listing))
}

fn command(wrapper: &str, program: &str, dir: &TestDir, listing: Option<&str>) -> Command {
    let mut words: Vec<&str> = wrapper.split_whitespace().chain([program]).collect();
    match (program, listing) {
        (MUNIN, _) => words.push("fetch"),
        (_, Some(listing)) => words.extend(["--input", listing]),
        _ => {}
    }
    if program == LOG {
        words.extend(["--consecutive", "1", "--log", "log"]);
    }
    let mut command = dir.program(words[0], &words[1..]);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    if let (MUNIN, Some(listing)) = (program, listing) {
        command.env("input", listing);
    }
    command
}

/// Returns whether the run has taken a sample, by the exit code of its program.
fn has_sampled(program: &str, result: &CommandResult) -> bool {
    match program {
        CHECK => result.code.is_some_and(|code| code <= 2),
        _ => result.code == Some(0),
    }
}

/// Three descriptors are open from the start.
#[test]
fn eight_descriptors_are_enough() {
    for program in PROGRAMS {
        for listing in [None, Some("listing")] {
            let dir = test_dir();
            let result = run_with("prlimit --nofile=8", program, &dir, listing);
            assert_invariants(program, &dir, &result, 10);
            assert!(has_sampled(program, &result), "{result:?}");
            assert!(!result.stdout.contains("annot"), "{result:?}");
        }
    }
}

/// With fewer descriptors, the error is reported.
#[test]
fn too_few_descriptors_are_reported() {
    for program in PROGRAMS {
        for n in 4..8 {
            let dir = test_dir();
            let result = run_with(&format!("prlimit --nofile={n}"), program, &dir, Some("listing"));
            assert_invariants(program, &dir, &result, 10);
            let output = format!("{}{}", result.stdout, result.stderr);
            assert!(
                has_sampled(program, &result) || output.contains("Too many open files"),
                "{n} {result:?}"
            );
        }
    }
}

/// Writes a listing of a million addresses with one connection each.
fn write_million_addresses(dir: &TestDir) -> PathBuf {
    let mut text = crate::support::listing(&[]).into_bytes();
    for n in 0..1_000_000 {
        let [_, a, b, c] = u32::to_be_bytes(n);
        writeln!(text, "tcp 0 0 192.0.2.10:443 11.{a}.{b}.{c}:4 ESTABLISHED").unwrap();
    }
    dir.write("million", text)
}

#[test]
fn million_addresses_fit_into_64_mebibytes() {
    let dir = test_dir();
    write_million_addresses(&dir);
    for program in PROGRAMS {
        for listing in [None, Some("listing"), Some("million")] {
            let result = run_with_memory_limit(64, program, &dir, listing);
            assert!(has_sampled(program, &result), "{listing:?} {result:?}");
        }
        // If the addresses do not fit, no result is calculated from a part of them.
        let too_little: &[u64] = if program == CHECK { &[40, 32, 24] } else { &[28] };
        for &mebibytes in too_little {
            let result = run_with_memory_limit(mebibytes, program, &dir, Some("million"));
            let reported = reported_number_of_addresses(&result);
            assert!(has_sampled(program, &result) != reported.is_some(), "{mebibytes} {result:?}");
            assert!(reported.is_some() || mebibytes > 32, "{mebibytes} {result:?}");
            // An address needs 16 bytes, and a million addresses were listed.
            if let Some(n) = reported {
                assert!((100_000..=1_000_000).contains(&n), "{mebibytes} {result:?}");
            }
        }
    }
}

/// Returns the number of addresses that fit into the memory, if not all of them did.
fn reported_number_of_addresses(result: &CommandResult) -> Option<u64> {
    let output = format!("{}{}", result.stdout, result.stderr);
    let (_, rest) = output.split_once("out of memory after counting ")?;
    let number = rest.split_once(" combinations").expect("a number of combinations").0;
    Some(number.parse().unwrap())
}

/// Runs a program with limited address space and a long timeout.
#[track_caller]
fn run_with_memory_limit(
    mebibytes: u64,
    program: &str,
    dir: &TestDir,
    listing: Option<&str>,
) -> CommandResult {
    let wrapper = format!("prlimit --as={}", mebibytes << 20);
    let mut command = command(&wrapper, program, dir, listing);
    if program != MUNIN {
        command.args(["--timeout", "300"]);
    }
    let result = run(command.env("timeout", "300"));
    assert_invariants(program, dir, &result, 300);
    result
}

/// Few addresses need little memory. With much less, the loader cannot load the libraries;
/// in between, the Rust runtime aborts on a failed allocation.
#[test]
fn few_addresses_need_little_memory() {
    for program in PROGRAMS {
        for mebibytes in [32, 24] {
            let dir = test_dir();
            let wrapper = format!("prlimit --as={}", mebibytes << 20);
            let result = run_with(&wrapper, program, &dir, Some("listing"));
            assert_invariants(program, &dir, &result, 10);
            assert!(has_sampled(program, &result), "{mebibytes} {result:?}");
        }
    }
}

/// A thread counts as a process, and root is exempt from the limit.
#[test]
fn process_limit_is_reported() {
    for program in PROGRAMS {
        let dir = test_dir();
        let copy = copy(&dir, program);
        let wrapper = format!("{AS_NOBODY} prlimit --nproc=0");
        let mut command = command(&wrapper, program, &dir, Some("listing"));
        let result = run(substitute_program(&mut command, program, &copy));
        assert_invariants(program, &dir, &result, 10);
        let output = format!("{}{}", result.stdout, result.stderr);
        let problem = "cannot start a thread: Resource temporarily unavailable (os error 11)\n\
                       Check the limits of this user: processes (ulimit -u) and memory (ulimit -v).\n";
        assert!(output.contains(problem), "{result:?}");
        assert!(!has_sampled(program, &result), "{result:?}");
    }
}

/// Copies a program to a place where any user can run it.
fn copy(dir: &TestDir, program: &str) -> String {
    let copy = dir.path(PathBuf::from(program).file_name().unwrap().to_str().unwrap());
    let copied = Command::new("cp").arg(program).arg(&copy).status();
    assert!(copied.unwrap().success());
    copy.to_str().unwrap().to_owned()
}

/// Replaces the program by its copy in a command.
fn substitute_program<'a>(command: &'a mut Command, program: &str, copy: &str) -> &'a mut Command {
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
fn small_stack_is_enough() {
    for program in PROGRAMS {
        for kibibytes in [512, 1024] {
            let dir = test_dir();
            let wrapper = format!("prlimit --stack={}", kibibytes << 10);
            let result = run_with(&wrapper, program, &dir, Some("listing"));
            assert_invariants(program, &dir, &result, 10);
            assert!(has_sampled(program, &result), "{result:?}");
        }
    }
}

/// The soft limit sends a signal, the hard limit kills.
#[test]
fn cpu_time_limit_is_reported() {
    thread::scope(|scope| {
        for program in PROGRAMS {
            scope.spawn(move || {
                let dir = test_dir();
                let mut command = command("prlimit --cpu=1:5", program, &dir, Some("/dev/zero"));
                if program != MUNIN {
                    command.args(["--timeout", "300"]);
                }
                let result = run(command.env("timeout", "300"));
                assert_invariants(program, &dir, &result, 300);
                let output = format!("{}{}", result.stdout, result.stderr);
                let problem = "ended by SIGXCPU while reading /dev/zero\n\
                               Allow more CPU time: ulimit -t, or LimitCPU= of the systemd unit.\n";
                assert!(output.contains(problem), "{result:?}");
                assert!(!has_sampled(program, &result), "{result:?}");
            });
        }
    });
}

/// Runs a shell script in a mount namespace, and then a program as nobody.
fn with_proc(script: &str, program: &str, dir: &TestDir, more: &[&str]) -> Option<CommandResult> {
    let copy = copy(dir, program);
    let script = format!("{script} && exec {AS_NOBODY} \"$0\" \"$@\"");
    let mut command = dir.program("unshare", &["-m", "sh", "-c", &script, &copy]);
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
    let result = run(&mut command);
    if result.code == Some(1) && result.stderr.contains("unshare") {
        skip(&format!("permission to mount ({})", result.stderr.trim()));
        return None;
    }
    Some(result)
}

/// netlink needs no /proc, and other processes are not examined.
#[test]
fn missing_or_hidden_proc_is_handled() {
    for program in PROGRAMS {
        for script in [
            "mount -t tmpfs none /proc",
            "mount -t proc -o hidepid=2 proc /proc",
            "mount -t proc -o subset=pid proc /proc",
        ] {
            let dir = test_dir();
            let Some(result) = with_proc(script, program, &dir, &[]) else { return };
            assert_invariants(program, &dir, &result, 10);
            assert!(has_sampled(program, &result), "{script} {result:?}");
        }
        // With the source proc, only files of the own process are read.
        let dir = test_dir();
        let script = "mount -t proc -o hidepid=2 proc /proc";
        let Some(result) = with_proc(script, program, &dir, &["--source", "proc"]) else { return };
        assert_invariants(program, &dir, &result, 10);
        assert!(has_sampled(program, &result), "{script} {result:?}");
        let dir = self::test_dir();
        let script = "mount -t tmpfs none /proc";
        let Some(result) = with_proc(script, program, &dir, &["--source", "proc"]) else { return };
        assert_invariants(program, &dir, &result, 10);
        let output = format!("{}{}", result.stdout, result.stderr);
        assert!(output.contains("cannot open /proc/self/net/tcp: No such file"), "{result:?}");
        assert!(!has_sampled(program, &result), "{result:?}");
    }
}

#[test]
fn blocked_netlink_falls_back_to_proc_in_each_program() {
    for program in PROGRAMS {
        let result = without_netlink(move || {
            let dir = test_dir();
            let result = run_with("env", program, &dir, None);
            assert_invariants(program, &dir, &result, 10);
            result
        });
        assert!(has_sampled(program, &result), "{result:?}");
    }
}

#[test]
fn missing_sources_are_reported_by_each_program() {
    for program in PROGRAMS {
        let result = without_netlink(move || {
            let dir = test_dir();
            let script = "mount -t tmpfs none /proc";
            let result = with_proc(script, program, &dir, &[])?;
            assert_invariants(program, &dir, &result, 10);
            Some(result)
        });
        let Some(result) = result else { return };
        let output = format!("{}{}", result.stdout, result.stderr);
        assert!(output.contains("cannot read the sockets of this host: "), "{result:?}");
        assert!(!has_sampled(program, &result), "{result:?}");
    }
}
