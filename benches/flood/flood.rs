//! Network namespaces with a flood of connections.
use std::{
    env, fs,
    fs::File,
    io::{BufRead, BufReader},
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::open_sockets;

/// Connections per process. These processes do not start the measured programs: forking with
/// so many open descriptors would take longer than the programs run.
pub const SOCKETS_PER_PROCESS: usize = 8_000;

/// Method of creating connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By TCP handshake with a client in another network namespace.
    Handshake,
    /// By `TCP_REPAIR`, without packets and without a client.
    Repair,
}

impl Method {
    /// Maximum number of handshakes; more would need a second machine for the clients.
    const MAX_HANDSHAKES: usize = 500_000;

    pub fn for_count(n: usize) -> Self {
        if n <= Self::MAX_HANDSHAKES { Self::Handshake } else { Self::Repair }
    }

    /// Returns the kernel memory of a connection, in KiB (Linux 6.18).
    fn memory_kib(self) -> usize {
        match self {
            Self::Handshake => 10,
            Self::Repair => 5,
        }
    }
}

/// Returns an error message if there is not enough memory for `n` connections.
pub fn lacks_memory(n: usize, method: Method) -> Option<String> {
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    let available: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    // Leave 1 GiB for the measured programs and the rest of the machine.
    let needed = n * method.memory_kib() + (1 << 20);
    let gib = |kib: usize| kib as f64 / f64::from(1 << 20);
    (needed > available).then(|| {
        format!(
            "{n} connections take {:.1} GiB, and {:.1} are available: ask for fewer by FLOOD.",
            gib(needed),
            gib(available)
        )
    })
}

/// Network namespaces of servers and clients. This process is in the namespace of the servers.
/// Both namespaces end with the last process that has them open.
pub struct Namespaces {
    clients: File,
}

impl Namespaces {
    /// Creates both namespaces and a veth pair between them, and enters that of the servers.
    pub fn enter() -> Self {
        let current_netns = || inheritable(File::open("/proc/thread-self/ns/net").unwrap());
        // The parent namespace of the other two.
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        create_own_hash_tables();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let servers = current_netns();
        create_own_hash_tables();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let clients = current_netns();
        ip(&[
            "link set lo up",
            &format!("link add name client type veth peer name server netns {}", path(&servers)),
            "addr add 169.254.77.2/30 dev client",
            "addr add fd00:77::2/64 dev client nodad",
            "link set client up",
            "route add local 10.0.0.0/8 dev lo",
            "route add local 203.0.113.0/24 dev lo",
            "-6 route add local 2001:db8:1::/48 dev lo",
            "route add default via 169.254.77.1",
            "-6 route add default via fd00:77::1",
        ]);
        setns(&servers, CloneFlags::CLONE_NEWNET).unwrap();
        ip(&[
            "link set lo up",
            "addr add 169.254.77.1/30 dev server",
            "addr add fd00:77::1/64 dev server nodad",
            "link set server up",
            "route add local 192.0.2.0/24 dev lo",
            "route add local 198.51.100.0/24 dev lo",
            "-6 route add local 2001:db8::/64 dev lo",
            "route add default via 169.254.77.2",
            "-6 route add default via fd00:77::2",
        ]);
        Self { clients }
    }
}

/// Gives the next namespace its own socket hash table, as large as the current one or with
/// `BUCKETS` entries. A dump walks the whole table, including the sockets of other
/// namespaces that share it.
fn create_own_hash_tables() {
    let sysctls = "/proc/sys/net/ipv4";
    let set = || {
        let entries = match env::var("BUCKETS") {
            Ok(entries) => entries,
            Err(_) => fs::read_to_string(format!("{sysctls}/tcp_ehash_entries"))?,
        };
        let entries = entries.trim().trim_start_matches('-');
        fs::write(format!("{sysctls}/tcp_child_ehash_entries"), entries)
    };
    if let Err(error) = set() {
        println!("All namespaces share a table, and a dump walks through all of it: {error}");
    }
}

fn ip(commands: &[&str]) {
    for args in commands {
        let status = Command::new("ip").args(args.split(' ')).status();
        assert!(status.expect("iproute2 is installed").success(), "ip {args}");
    }
}

/// Makes a file inheritable by child processes.
fn inheritable(file: File) -> File {
    fcntl_setfd(&file, FdFlags::empty()).unwrap();
    file
}

/// Returns the path of an inherited file in a child process.
fn path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Sockets that are held open by child processes.
pub struct Flood(Vec<Child>);

impl Flood {
    /// Opens `n` connections. Without `per_address`, each address has one to nine connections,
    /// and one address has a twentieth of all.
    pub fn new(
        n: usize,
        per_address: Option<usize>,
        method: Method,
        namespaces: &Namespaces,
    ) -> Self {
        if let Some(shortage) = lacks_memory(n, method) {
            panic!("{shortage}");
        }
        // Progress goes to the terminal, not into the report.
        eprintln!("{n} connections");
        let method_arg = match method {
            Method::Handshake => path(&namespaces.clients),
            Method::Repair => open_sockets::REPAIR.to_owned(),
        };
        let per_address: Vec<_> = per_address.iter().map(usize::to_string).collect();
        let start = |from: usize| {
            Command::new(env::current_exe().unwrap())
                .args(["open-sockets", &method_arg])
                .args(&per_address)
                .args([n, from, n.min(from + SOCKETS_PER_PROCESS)].map(|it| it.to_string()))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut flood = Self((0..n).step_by(SOCKETS_PER_PROCESS).map(start).collect());
        for (process, from) in flood.0.iter_mut().zip((0..n).step_by(SOCKETS_PER_PROCESS)) {
            let mut line = String::new();
            BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, format!("{} connections\n", n.min(from + SOCKETS_PER_PROCESS) - from));
        }
        wait_for_sockets(n);
        flood
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // Each process exits when its standard input is closed.
            drop(process.stdin.take());
        }
        for process in &mut self.0 {
            process.wait().unwrap();
        }
        if !std::thread::panicking() {
            wait_for_sockets(0);
        }
    }
}

/// Waits until this namespace has exactly `n` sockets.
fn wait_for_sockets(n: usize) {
    let start = Instant::now();
    while n_sockets() != n {
        assert!(start.elapsed() < Duration::from_secs(30), "{} of {n} sockets", n_sockets());
        sleep(Duration::from_millis(20));
    }
}

/// Returns the number of TCP sockets in this namespace.
fn n_sockets() -> usize {
    let count = |file, heading| -> usize {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(heading)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    count("sockstat", "TCP:") + count("sockstat6", "TCP6:")
}
