//! Sockets of any kind, as the dice have it: the kernel's two accounts of them,
//! sock_diag and `/proc`, come to one answer, all evidence included.
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
    support::{Room, listens_at},
};

/// Options that the kernel sees to itself, by sock_diag.
const IS_SELECTION: [&str; 3] = ["--port", "--state", "--exclude-state"];
/// How many sets there are, each in a namespace of its own.
const ROUNDS: u64 = 6;

/// Numbers that follow from a seed, which a failure names (xorshift64*).
struct Dice(u64);

impl Dice {
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

/// Sockets that stay as long as this does.
#[derive(Default)]
struct Set {
    listeners: Vec<(TcpListener, SocketAddr)>,
    streams: Vec<TcpStream>,
    half_open: Option<Child>,
}

impl Drop for Set {
    fn drop(&mut self) {
        if let Some(child) = &mut self.half_open {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Set {
    fn throw(dice: &mut Dice) -> Self {
        let mut set = Self::default();
        for nth in 0..=dice.below(5) {
            let port = 1000 * (nth + 1) + dice.below(1000);
            set.listen(dice, u16::try_from(port).unwrap());
        }
        for _ in 0..50 + dice.below(400) {
            set.connection(dice);
        }
        if dice.below(3) > 0 {
            set.half_open(dice);
        }
        set
    }

    /// One for IPv4, IPv6, or both, to which clients of one family come.
    fn listen(&mut self, dice: &mut Dice, port: u16) {
        let v4 = SocketAddr::new([192, 0, 2, 10].into(), port);
        let v6 = SocketAddr::new("2001:db8::10".parse().unwrap(), port);
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let (bound, called) =
            [(v4, v4), (v6, v6), (both, v4), (both, v6)][usize::try_from(dice.below(4)).unwrap()];
        self.listeners.push((TcpListener::bind(bound).unwrap(), called));
    }

    /// A connection from some address of the documentation, and what becomes of
    /// it.
    fn connection(&mut self, dice: &mut Dice) {
        let nth = usize::try_from(dice.below(self.listeners.len() as u64)).unwrap();
        let (listener, called) = &self.listeners[nth];
        let from = match (called.is_ipv4(), dice.below(2)) {
            // The busy one.
            (true, 0) => IpAddr::from([203, 0, 113, 7]),
            (true, _) => IpAddr::from([198, 51, 100, dice.octet()]),
            (false, _) => {
                let (network, host) = (u16::from(dice.octet()) % 8, u16::from(dice.octet()));
                Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, host).into()
            }
        };
        let client = connect(from, *called);
        let (server, _) = listener.accept().unwrap();
        match dice.below(8) {
            // Who closes first waits.
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
            // One end is nobody's any more.
            4 => {
                drop(client);
                self.streams.push(server);
            }
            _ => self.streams.extend([client, server]),
        }
    }

    /// Connections to a listener that takes one only once data comes.
    fn half_open(&mut self, dice: &mut Dice) {
        let to: SocketAddr = "192.0.2.10:25".parse().unwrap();
        let socat = Command::new("socat")
            .args(["TCP4-LISTEN:25,bind=192.0.2.10,fork,defer-accept=120,backlog=100", "/dev/null"])
            .spawn();
        self.half_open = Some(socat.expect("socat is installed"));
        listens_at(25);
        for _ in 0..=dice.below(60) {
            self.streams.push(connect([203, 0, 113, dice.octet()].into(), to));
        }
    }
}

/// The whole answer but for when it was given.
fn answer(room: &Room, source: &str, more: &[&str]) -> Value {
    let options = ["--source", source, "--output", "json", "-vvv", "--no-default-excludes"];
    let mut command = room.command(&[&options[..], more].concat());
    // Each is a first sample.
    let state = room.path("state.ron");
    let _ = std::fs::remove_file(&state);
    command.arg("--state-file").arg(state);
    let ran = crate::support::run(&mut command);
    let mut answer: Value = serde_json::from_str(&ran.stdout).expect(&ran.stdout);
    let fields = answer.as_object_mut().unwrap();
    fields.remove("when").unwrap();
    if IS_SELECTION.iter().any(|option| more.contains(option)) {
        // What the kernel does not even tell of is not counted as left out.
        fields.remove("left_out").unwrap();
        fields.remove("message").unwrap();
    }
    answer
}

/// The answer by both ways, once nothing moves any more: timers end some states
/// and send others on.
#[track_caller]
fn same_both_ways(room: &Room, more: &[&str], seed: u64) -> Value {
    let started = Instant::now();
    loop {
        let netlink = answer(room, "netlink", more);
        let proc = answer(room, "proc", more);
        if answer(room, "netlink", more) == netlink {
            for (field, value) in netlink.as_object().unwrap() {
                assert_eq!(&proc[field], value, "{field} by {more:?}, seed {seed}");
            }
            return netlink;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "it never rests, seed {seed}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn states(answer: &Value) -> BTreeSet<String> {
    let peers = answer["views"][0]["top"].as_array().unwrap();
    let states = peers.iter().flat_map(|peer| peer["states"].as_array().unwrap());
    states.map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn netlink_and_proc_give_one_answer_about_any_sockets() {
    let seeds = RandomState::new().build_hasher().finish();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    for nth in 0..ROUNDS {
        let seed = seeds.wrapping_add(nth) | 1;
        let seen = seen.clone();
        in_namespace(move || {
            let dice = &mut Dice(seed);
            let set = Set::throw(dice);
            let room = Room::new();
            let all = same_both_ways(&room, &[], seed);
            assert!(all["views"][0]["connections"].as_u64() >= Some(50), "{all}");
            assert_eq!(all["problems"].as_array().map(Vec::len), Some(0), "{all}");
            seen.lock().unwrap().extend(states(&all));
            let port = set.listeners[0].1.port().to_string();
            for more in [
                &["--prefix4", "32,24", "--prefix6", "128,64", "--prefix-members", "3"][..],
                &["--port", &port],
                &["--inbound", "-4"],
                &["-6", "--exclude-state", "TIME_WAIT"],
                &["--state", "SYN_RECV,CLOSE_WAIT,FIN_WAIT2", "-x", "203.0.113.0/25"],
            ] {
                same_both_ways(&room, more, seed);
            }
        });
    }
    let seen = seen.lock().unwrap();
    // Nothing was seen where no namespace could be made, which was said.
    let all = ["CLOSE_WAIT", "ESTABLISHED", "FIN_WAIT2", "SYN_RECV", "TIME_WAIT"];
    assert!(seen.is_empty() || all.iter().all(|it| seen.contains(*it)), "{seen:?}, seed {seeds}");
}
