//! Random sockets: the two kernel interfaces, sock_diag and `/proc`, give the same output,
//! including all details.
use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    interop::kernel::{connect, in_namespace},
    support::{TestDir, wait_for_listener},
};

/// Options that the kernel applies itself with sock_diag.
const KERNEL_FILTER_OPTIONS: [&str; 3] = ["--port", "--state", "--exclude-state"];
/// Number of socket sets, each in its own namespace.
const N_ROUNDS: u64 = 6;

/// A generator with a seed that failures report (xorshift64*).
pub struct Xorshift(pub u64);

impl Xorshift {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(1 + self.below(254)).unwrap()
    }
}

/// Sockets that stay open as long as the value.
#[derive(Default)]
pub struct SocketSet {
    listeners: Vec<(TcpListener, SocketAddr)>,
    streams: Vec<TcpStream>,
    half_open: Option<Child>,
}

impl Drop for SocketSet {
    fn drop(&mut self) {
        if let Some(child) = &mut self.half_open {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl SocketSet {
    pub fn random(random: &mut Xorshift) -> Self {
        let mut set = Self::default();
        for nth in 0..=random.below(5) {
            let port = 1000 * (nth + 1) + random.below(1000);
            set.listen(random, u16::try_from(port).unwrap());
        }
        for _ in 0..50 + random.below(400) {
            set.connection(random);
        }
        set.half_open(random);
        set
    }

    /// Listens on IPv4, IPv6 or both, for clients of one family.
    fn listen(&mut self, random: &mut Xorshift, port: u16) {
        let v4 = SocketAddr::new([192, 0, 2, 10].into(), port);
        let v6 = SocketAddr::new("2001:db8::10".parse().unwrap(), port);
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let (bound, client_target) =
            [(v4, v4), (v6, v6), (both, v4), (both, v6)][usize::try_from(random.below(4)).unwrap()];
        self.listeners.push((TcpListener::bind(bound).unwrap(), client_target));
    }

    /// Opens a connection from a documentation address, and leaves it in a random state.
    fn connection(&mut self, random: &mut Xorshift) {
        let nth = usize::try_from(random.below(self.listeners.len() as u64)).unwrap();
        let (listener, client_target) = &self.listeners[nth];
        let from = match (client_target.is_ipv4(), random.below(2)) {
            // The busiest client.
            (true, 0) => IpAddr::from([203, 0, 113, 7]),
            (true, _) => IpAddr::from([198, 51, 100, random.octet()]),
            (false, _) => {
                let (network, host) = (u16::from(random.octet()) % 8, u16::from(random.octet()));
                Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, host).into()
            }
        };
        let client = connect(from, *client_target);
        let (server, _) = listener.accept().unwrap();
        match random.below(8) {
            // The side that closes first is in TIME_WAIT.
            0 => {
                drop(server);
                drop(client);
            }
            1 => {
                drop(client);
                drop(server);
            }
            2 => {
                client.shutdown(Shutdown::Write).unwrap();
                self.streams.extend([client, server]);
            }
            3 => {
                server.shutdown(Shutdown::Write).unwrap();
                self.streams.extend([client, server]);
            }
            // An orphaned endpoint.
            4 => {
                drop(client);
                self.streams.push(server);
            }
            _ => self.streams.extend([client, server]),
        }
    }

    /// Opens connections to a listener that accepts a connection only when data arrives.
    fn half_open(&mut self, random: &mut Xorshift) {
        let to: SocketAddr = "192.0.2.10:25".parse().unwrap();
        let socat = Command::new("socat")
            .args(["TCP4-LISTEN:25,bind=192.0.2.10,fork,defer-accept=120,backlog=100", "/dev/null"])
            .spawn();
        self.half_open = Some(socat.expect("socat is installed"));
        wait_for_listener(25);
        for _ in 0..=random.below(60) {
            self.streams.push(connect([203, 0, 113, random.octet()].into(), to));
        }
    }
}

/// Returns the whole JSON output without its time.
fn answer(dir: &TestDir, source: &str, more: &[&str]) -> Value {
    let options = ["--source", source, "--output", "json", "-vvv", "--no-default-excludes"];
    let mut command = dir.command(&[&options[..], more].concat());
    // Make it a first sample.
    let state = dir.path("state.ron");
    let _ = std::fs::remove_file(&state);
    command.arg("--state-file").arg(state);
    let result = crate::support::run(&mut command);
    let mut answer: Value = serde_json::from_str(&result.stdout).expect(&result.stdout);
    let fields = answer.as_object_mut().unwrap();
    fields.remove("timestamp").unwrap();
    if KERNEL_FILTER_OPTIONS.iter().any(|option| more.contains(option)) {
        // Sockets that the kernel has filtered out are not counted as skipped.
        fields.remove("skipped").unwrap();
        fields.remove("message").unwrap();
    }
    answer
}

/// Asserts that both sources give the same output, once the sockets are stable: timers
/// change and end some states.
#[track_caller]
fn assert_sources_agree(dir: &TestDir, [one, other]: [&str; 2], more: &[&str], seed: u64) -> Value {
    let started = Instant::now();
    loop {
        let by_one = answer(dir, one, more);
        let by_other = answer(dir, other, more);
        if answer(dir, one, more) == by_one {
            for (field, value) in by_one.as_object().unwrap() {
                assert_eq!(&by_other[field], value, "{field} by {more:?}, seed {seed}");
            }
            return by_one;
        }
        assert!(
            // The last socket in TIME_WAIT ends after 60 s.
            started.elapsed() < Duration::from_secs(120),
            "the sockets do not become stable, seed {seed}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// Asserts that both sources give the same output for all connections of the set, which it
/// returns, and for several selections of them.
#[track_caller]
pub fn assert_sources_agree_on_selections(
    dir: &TestDir,
    sources: [&str; 2],
    set: &SocketSet,
    seed: u64,
) -> Value {
    let all = assert_sources_agree(dir, sources, &[], seed);
    assert!(all["views"][0]["connections"].as_u64() >= Some(50), "{all}");
    let port = set.listeners[0].1.port().to_string();
    for more in [
        &["--prefix4", "32,24", "--prefix6", "128,64", "--prefix-members", "3"][..],
        &["--port", &port],
        &["--inbound", "-4"],
        &["-6", "--exclude-state", "TIME_WAIT"],
        &["--state", "SYN_RECV,CLOSE_WAIT,FIN_WAIT2", "-x", "203.0.113.0/25"],
    ] {
        assert_sources_agree(dir, sources, more, seed);
    }
    all
}

/// Returns a random seed, never zero. Neighboring seeds would give sets that resemble each
/// other.
pub fn new_seed() -> u64 {
    RandomState::new().build_hasher().finish() | 1
}

fn states(answer: &Value) -> BTreeSet<String> {
    let peers = answer["views"][0]["top"].as_array().unwrap();
    let states = peers.iter().flat_map(|peer| peer["states"].as_array().unwrap());
    states.map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn netlink_and_proc_agree_on_random_sockets() {
    let states_seen = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    for _ in 0..N_ROUNDS {
        let seed = new_seed();
        let states_seen = states_seen.clone();
        in_namespace(move || {
            let random = &mut Xorshift(seed);
            let set = SocketSet::random(random);
            let dir = TestDir::new();
            let all = assert_sources_agree_on_selections(&dir, ["netlink", "proc"], &set, seed);
            assert_eq!(all["problems"].as_array().map(Vec::len), Some(0), "{all}");
            states_seen.lock().unwrap().extend(states(&all));
        });
    }
    let states_seen = states_seen.lock().unwrap();
    // The set is empty if namespaces could not be created; then the test was skipped.
    let all = ["CLOSE_WAIT", "ESTABLISHED", "FIN_WAIT2", "SYN_RECV", "TIME_WAIT"];
    assert!(
        states_seen.is_empty() || all.iter().all(|it| states_seen.contains(*it)),
        "{states_seen:?}"
    );
}
