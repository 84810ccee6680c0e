//! Namespaces, and a flood in them.
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

use crate::hold;

/// How many connections each process holds. None of them starts the programs that
/// are measured: that would take longer than these run, with so much open.
pub const EACH: usize = 8_000;

/// How connections come about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a handshake, with a client that is in another namespace.
    Handshake,
    /// Without a packet or a client.
    Repair,
}

impl Way {
    /// More than this would need a second machine for the clients.
    const MOST_HANDSHAKES: usize = 500_000;

    pub fn of(n: usize) -> Self {
        if n <= Self::MOST_HANDSHAKES { Self::Handshake } else { Self::Repair }
    }

    /// What a connection takes of the kernel's memory, in KiB (Linux 6.18).
    fn memory(self) -> usize {
        match self {
            Self::Handshake => 10,
            Self::Repair => 5,
        }
    }
}

/// Says so where there is not enough memory for `n` connections.
pub fn lacks_memory(n: usize, way: Way) -> Option<String> {
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    let available: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    // What measures them takes some, and others are on this machine.
    let needed = n * way.memory() + (1 << 20);
    let gib = |kib: usize| kib as f64 / f64::from(1 << 20);
    (needed > available).then(|| {
        format!(
            "{n} connections take {:.1} GiB, and {:.1} are available: ask for fewer by FLOOD.",
            gib(needed),
            gib(available)
        )
    })
}

/// Where servers and clients are. This process is where the servers are; both
/// namespaces end with the last process that knows them.
pub struct Namespaces {
    clients: File,
}

impl Namespaces {
    /// Makes them, and a cable between them.
    pub fn enter() -> Self {
        let here = || inherited(File::open("/proc/thread-self/ns/net").unwrap());
        // Only to be the parent of the others.
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        own_tables();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let servers = here();
        own_tables();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let clients = here();
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

/// Lets the next namespace have a table of its own for its sockets, as large as
/// this one's, or of `BUCKETS`. A dump walks through all of a table, whomever the
/// sockets are of.
fn own_tables() {
    let folder = "/proc/sys/net/ipv4";
    let set = || {
        let entries = match env::var("BUCKETS") {
            Ok(entries) => entries,
            Err(_) => fs::read_to_string(format!("{folder}/tcp_ehash_entries"))?,
        };
        let entries = entries.trim().trim_start_matches('-');
        fs::write(format!("{folder}/tcp_child_ehash_entries"), entries)
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

/// A file that a program that is started has, too.
fn inherited(file: File) -> File {
    fcntl_setfd(&file, FdFlags::empty()).unwrap();
    file
}

/// Its name there.
fn path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Sockets that other processes hold.
pub struct Flood(Vec<Child>);

impl Flood {
    /// `n` connections that came about in that way. Without a number of connections
    /// per address, each has one to nine, and one has a twentieth of all.
    pub fn of(n: usize, per_address: Option<usize>, way: Way, namespaces: &Namespaces) -> Self {
        if let Some(lack) = lacks_memory(n, way) {
            panic!("{lack}");
        }
        // Into the terminal, and not into what is printed of it.
        eprintln!("{n} connections");
        let word = match way {
            Way::Handshake => path(&namespaces.clients),
            Way::Repair => hold::REPAIR.to_owned(),
        };
        let per_address: Vec<_> = per_address.iter().map(usize::to_string).collect();
        let begin = |from: usize| {
            Command::new(env::current_exe().unwrap())
                .args(["hold", &word])
                .args(&per_address)
                .args([n, from, n.min(from + EACH)].map(|it| it.to_string()))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut flood = Self((0..n).step_by(EACH).map(begin).collect());
        for (holder, from) in flood.0.iter_mut().zip((0..n).step_by(EACH)) {
            let mut line = String::new();
            BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, format!("{} connections\n", n.min(from + EACH) - from));
        }
        wait_for(n);
        flood
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        for holder in &mut self.0 {
            // They hold on for as long as their standard input is open.
            drop(holder.stdin.take());
        }
        for holder in &mut self.0 {
            holder.wait().unwrap();
        }
        if !std::thread::panicking() {
            wait_for(0);
        }
    }
}

/// Waits until there are `n` sockets here, no more and no less.
fn wait_for(n: usize) {
    let begin = Instant::now();
    while n_sockets() != n {
        assert!(begin.elapsed() < Duration::from_secs(30), "{} of {n} sockets", n_sockets());
        sleep(Duration::from_millis(20));
    }
}

/// How many TCP sockets this namespace has.
fn n_sockets() -> usize {
    let count = |file, heading| -> usize {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(heading)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    count("sockstat", "TCP:") + count("sockstat6", "TCP6:")
}
