//! The BPF program that walks the kernel's hash table: the output is the same as with netlink,
//! and netlink is used if the program cannot be used.
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::kernel::{address_lines, connect, in_namespace};
use crate::{
    faults::random_sockets::{SocketSet, Xorshift, assert_sources_agree_on_selections, new_seed},
    support::{CHECK, PACKAGE_DIR, TestDir, copy_program, run, skip},
};

const DIRECTORY: &str = "/run/topip-bpf";
const ITERATOR: &str = "/run/topip-bpf/sockets";
/// Fewer connections than this are read by netlink.
const MIN_SOCKETS: usize = 4000;
/// Number of socket sets; BPF_SETS=1000 is for a run by hand.
const N_SETS: u64 = 8;
const NOBODY: u32 = 65534;

/// Runs `test` in a new network namespace and in a mount namespace with an empty `/run`,
/// unless the kernel does not load the program.
fn with_program(test: impl FnOnce(&Program) + Send + 'static) {
    in_namespace(|| {
        for program in ["clang", "llvm-strip", "bpftool"] {
            if Command::new(program).arg("--version").output().is_err() {
                return skip(program);
            }
        }
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
        fs::create_dir(DIRECTORY).unwrap();
        let program = Program { dir: TestDir::new() };
        match program.load(|source| source) {
            Ok(()) => test(&program),
            // Kernels differ in what they load, and the check has netlink.
            Err(refusal) => eprintln!("SKIPPED, the kernel does not load the program: {refusal}"),
        }
    });
}

struct Program {
    dir: TestDir,
}

impl Program {
    /// Builds the program from its changed source, and pins it as the service topip-bpf does.
    fn load(&self, change: impl Fn(String) -> String) -> Result<(), String> {
        let source = Path::new(PACKAGE_DIR).join("packaging/bpf/topip.bpf.c");
        let source = change(fs::read_to_string(source).unwrap());
        let source = self.dir.write("topip.bpf.c", source);
        let object = self.dir.path("topip.bpf.o");
        let build = Path::new(PACKAGE_DIR).join("packaging/bpf/build");
        bpf_command(Command::new(build).arg(source).arg(&object))?;
        self.unload();
        mount("bpffs", DIRECTORY, "bpf", MountFlags::empty(), Some(c"mode=0755")).unwrap();
        let script =
            packaged_commands().replace("/usr/lib/topip/topip.bpf.o", object.to_str().unwrap());
        bpf_command(Command::new("sh").args(["-e", "-c", &script]))?;
        fs::set_permissions(ITERATOR, fs::Permissions::from_mode(0o644)).unwrap();
        Ok(())
    }

    fn unload(&self) {
        let _ = unmount(DIRECTORY, UnmountFlags::DETACH);
    }
}

/// Returns the commands of the service that load the program, without those that mount.
fn packaged_commands() -> String {
    let service = Path::new(PACKAGE_DIR).join("packaging/systemd/topip-bpf.service");
    let service = fs::read_to_string(service).unwrap();
    let commands = service.lines().filter_map(|line| line.strip_prefix("ExecStart="));
    let commands: Vec<_> = commands.filter(|command| command.contains("bpftool")).collect();
    assert_eq!(commands.len(), 2, "{service}");
    commands.join("\n")
}

fn bpf_command(command: &mut Command) -> Result<(), String> {
    let output = command.output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Opens enough connections that `--source auto` uses the BPF program.
fn crowd() -> Vec<TcpStream> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let server: SocketAddr = "192.0.2.10:443".parse().unwrap();
    let listener = TcpListener::bind(server).unwrap();
    let mut streams = Vec::new();
    while streams.len() < MIN_SOCKETS + 100 {
        let host = 1 + u8::try_from(streams.len() % 200).unwrap();
        streams.push(connect([203, 0, 113, host].into(), server));
        streams.push(listener.accept().unwrap().0);
    }
    streams
}

const OPTIONS: [&str; 6] =
    ["-vvv", "--no-default-excludes", "--limit", "9999", "--state-file", "state"];

fn by_source(dir: &TestDir, source: &str, more: &[&str]) -> String {
    dir.check(&[&OPTIONS[..], more, &["--source", source]].concat()).stdout
}

#[test]
fn walk_and_netlink_agree_on_random_sockets() {
    let n_sets = std::env::var("BPF_SETS").map_or(N_SETS, |n| n.parse().unwrap());
    for nth in 0..n_sets {
        let seed = new_seed();
        with_program(move |program| {
            // Every second set is in a namespace with its own hash table.
            if nth % 2 == 1 {
                let n_buckets = 32 << (nth % 9);
                enter_namespace_with_table(n_buckets);
            }
            let random = &mut Xorshift(seed);
            let set = SocketSet::random(random);
            assert_sources_agree_on_selections(&program.dir, ["netlink", "bpf"], &set, seed);
        });
    }
}

/// Moves this thread to a new network namespace with its own hash table.
fn enter_namespace_with_table(n_buckets: u32) {
    fs::write("/proc/sys/net/ipv4/tcp_child_ehash_entries", n_buckets.to_string()).unwrap();
    super::kernel::enter_namespace().unwrap();
}

#[test]
fn walk_of_another_namespace_is_of_its_sockets() {
    with_program(|program| {
        let _crowd = crowd();
        let mut inside = Command::new("sleep").arg("60").spawn().unwrap();
        super::kernel::enter_namespace().unwrap();
        let netns = format!("pid:{}", inside.id());
        let by = |source| by_source(&program.dir, source, &["--netns", &netns]);
        let expected_lines = address_lines(&by("netlink"));
        assert!(expected_lines.len() > 100, "{expected_lines:?}");
        assert_eq!(address_lines(&by("bpf")), expected_lines);
        let auto = by("auto");
        assert_eq!(address_lines(&auto), expected_lines);
        assert!(auto.contains(ITERATOR), "{auto}");
        assert_eq!(address_lines(&by_source(&program.dir, "bpf", &[])), [""; 0]);
        inside.kill().unwrap();
        inside.wait().unwrap();
    });
}

#[test]
fn netlink_is_read_where_the_walk_cannot_be() {
    with_program(|program| {
        let few = by_source(&program.dir, "auto", &[]);
        assert!(few.contains("\nSource: netlink (sock_diag)\n"), "{few}");
        let _crowd = crowd();
        let expected_lines = address_lines(&by_source(&program.dir, "netlink", &[]));
        assert!(expected_lines.len() > 100, "{expected_lines:?}");
        // Returns the details of the sources.
        let auto = |expected: &str| {
            let output = by_source(&program.dir, "auto", &[]);
            assert_eq!(address_lines(&output), expected_lines);
            assert!(output.contains(expected), "{output}");
            output
        };
        let walk = auto("\nSource: /run/topip-bpf/sockets (BPF)\n");
        assert!(!walk.contains("netlink"), "{walk}");
        let netlink = "\nSource: netlink (sock_diag)\n";
        let forced = |expected: &str| {
            let result = program.dir.check(&["--source", "bpf"]);
            assert_eq!(result.code_and_status(), format!("3 TOPIP UNKNOWN - {expected}"));
            let output = auto(netlink);
            assert!(output.contains(expected), "{output}");
        };

        let load = |from: &str, to: &str| {
            program.load(|source| source.replace(from, to)).unwrap();
        };
        load("#define FORMAT_VERSION 1", "#define FORMAT_VERSION 2");
        forced(
            "cannot use /run/topip-bpf/sockets: the BPF program writes version 2 of the format, \
             not 1",
        );
        // The end of each chain seems to belong to another chain.
        load("next >> 1 !=", "next >> 1 ==");
        forced(
            "cannot read /run/topip-bpf/sockets: Resource temporarily unavailable (os error 11)",
        );
        program.unload();
        fs::write(ITERATOR, "").unwrap();
        forced("cannot open /run/topip-bpf/sockets: it is not in a BPF file system");
        fs::set_permissions(ITERATOR, fs::Permissions::from_mode(0o666)).unwrap();
        forced("cannot open /run/topip-bpf/sockets: others may write to it");
        fs::set_permissions(ITERATOR, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(DIRECTORY, fs::Permissions::from_mode(0o777)).unwrap();
        forced("cannot open /run/topip-bpf/sockets: others may write to it");
        fs::remove_dir_all(DIRECTORY).unwrap();
        let missing = auto(netlink);
        assert!(!missing.contains("BPF") && !missing.contains("topip-bpf"), "{missing}");
    });
}

#[test]
fn tables_that_slices_do_not_fit_are_read_by_netlink() {
    for (n_buckets, expected) in [
        (16, "cannot use /run/topip-bpf/sockets: only 0 of 16 buckets were listed"),
        // Both slices have more sockets than fit into the kernel's buffer.
        (64, "cannot read /run/topip-bpf/sockets: Argument list too long (os error 7)"),
    ] {
        with_program(move |program| {
            enter_namespace_with_table(n_buckets);
            let _crowd = crowd();
            let result = program.dir.check(&["--source", "bpf"]);
            assert_eq!(result.code_and_status(), format!("3 TOPIP UNKNOWN - {expected}"));
            let output = by_source(&program.dir, "auto", &[]);
            assert!(output.contains("\nSource: netlink (sock_diag)\n"), "{output}");
            assert!(output.contains(expected), "{output}");
        });
    }
}

#[test]
fn file_mode_decides_who_reads_the_walk() {
    with_program(|program| {
        let _crowd = crowd();
        let copy = program.dir.path("check_topip");
        copy_program(CHECK, &copy);
        fs::set_permissions(program.dir.path("."), fs::Permissions::from_mode(0o777)).unwrap();
        let as_nobody = || {
            let mut command = Command::new("setpriv");
            command
                .args(["--no-new-privs", "--bounding-set=-all", "--reuid=65534", "--regid=65534"])
                .arg("--clear-groups")
                .arg(&copy)
                .args(["--no-default-excludes", "-vvv", "--limit", "9999"])
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("MP_STATE_PATH", program.dir.path("nobody"));
            run(&mut command).stdout
        };
        let expected_lines = address_lines(&by_source(&program.dir, "netlink", &[]));
        let output = as_nobody();
        assert!(output.contains("\nSource: /run/topip-bpf/sockets (BPF)\n"), "{output}");
        assert_eq!(address_lines(&output), expected_lines);

        fs::set_permissions(ITERATOR, fs::Permissions::from_mode(0o640)).unwrap();
        let output = as_nobody();
        assert!(output.contains("\nSource: netlink (sock_diag)\n"), "{output}");
        assert!(output.contains("Permission denied"), "{output}");
        assert_eq!(address_lines(&output), expected_lines);

        std::os::unix::fs::chown(ITERATOR, None, Some(NOBODY)).unwrap();
        let output = as_nobody();
        assert!(output.contains("\nSource: /run/topip-bpf/sockets (BPF)\n"), "{output}");
    });
}

/// While thousands of sockets are opened and closed, sockets that stay open are counted once.
#[test]
fn walk_during_connection_churn_is_complete() {
    with_program(|program| {
        // Chains of several sockets.
        enter_namespace_with_table(1024);
        let crowd = crowd();
        let storm = TcpListener::bind("192.0.2.10:80").unwrap();
        let until = Instant::now() + Duration::from_secs(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                while Instant::now() < until {
                    let client =
                        connect([198, 51, 100, 7].into(), "192.0.2.10:80".parse().unwrap());
                    let (server, _) = storm.accept().unwrap();
                    // Results in both resets and TIME_WAIT.
                    drop(client);
                    drop(server);
                }
            });
            let mut n_walks = 0;
            while Instant::now() < until {
                let options = ["--source", "bpf", "--only", "203.0.113.0/24"];
                let result = program.dir.check(&options).stdout;
                let total = format!(" connections={};", crowd.len() / 2);
                assert!(result.contains(&total), "{result}");
                n_walks += 1;
            }
            assert!(n_walks > 10, "{n_walks}");
        });
    });
}

/// A socket that enters TIME_WAIT is replaced by another one at the head of its chain. Each
/// client keeps its address of the server, so that their number stays the same.
#[test]
fn sockets_that_enter_time_wait_are_counted_once() {
    /// The sockets are in another process: each program that the tests start has copies of
    /// their own sockets for a moment, and the copies delay closing them.
    const SCRIPT: &str = "import resource, socket, time
_, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
server = ('192.0.2.10', 443)
listener = socket.create_server(server)
pairs = []
for nth in range(7000):
    client = socket.create_connection(server, source_address=(f'203.0.113.{1 + nth % 200}', 0))
    pairs.append((client, listener.accept()[0]))
print('open', flush=True)
for client, server in pairs:
    client.close()
    server.close()
    time.sleep(0.0002)
";
    with_program(|program| {
        enter_namespace_with_table(1024);
        // The default of a small table is half of its buckets.
        fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "100000").unwrap();
        let mut sockets = Command::new("python3");
        let mut sockets = sockets.args(["-c", SCRIPT]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(sockets.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "open\n");
        let mut n_walks = 0;
        while sockets.try_wait().unwrap().is_none() {
            let options = ["--source", "bpf", "--only", "192.0.2.10"];
            let result = program.dir.check(&options).stdout;
            assert!(result.contains(" connections=7000;"), "after {n_walks} walks: {result}");
            n_walks += 1;
        }
        assert!(sockets.wait().unwrap().success());
        assert!(n_walks > 20, "{n_walks}");
    });
}
