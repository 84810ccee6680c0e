//! Measures each stage separately, on recorded input.
//!
//! ```text
//! cargo bench --bench stages                   all stages, in half a minute
//! cargo bench --bench stages -- listing        stages whose name contains the word
//! cargo bench --bench stages -- once STAGE     run one stage once, for counting instructions
//! ```
//!
//! Short captures are repeated up to a mebibyte. `benches/instructions` counts the
//! instructions of each stage instead of measuring time.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark is not part of the program"
)]

use std::{env, fs, hint::black_box, io::Cursor, net::Ipv4Addr, path::Path, time::Duration};

use divan::{Bencher, counter::ItemsCount};
use topip::{
    analysis::{
        filter::{DEFAULT_EXCLUDES, Filter, Selection},
        rule::{self, JudgeConfig, Rule},
        summary::Summary,
        tally::{Aggregation, Counts, Tally},
    },
    model::{
        connection::{Connection, TcpState},
        network::Network,
        verdict::Limit,
    },
    parse::{
        self,
        capture::{ByteOrder, Capture, CaptureFormat},
    },
    storage::network_db::NetworkDb,
};

use mmdb::MmdbValue;

/// A typical capture of each dialect.
const LISTINGS: [&str; 13] = [
    "linux/ss-tan",
    "linux/ss-tanp",
    "linux/ss-tn-established",
    "linux/netstat-natW",
    "linux/busybox-nat",
    "linux/proc-net-tcp",
    "linux/proc-net-tcp6",
    "foreign/freebsd",
    "foreign/macos",
    "foreign/openbsd",
    "foreign/aix",
    "foreign/solaris",
    "foreign/windows",
];

const MEBIBYTE: usize = 1 << 20;

/// Number of addresses in the network database, so that it has as many bytes as one of all
/// autonomous systems.
const N_DATABASE_ADDRESSES: u32 = 100_000;

#[path = "../tests/support/mmdb.rs"]
mod mmdb;

fn main() {
    // cargo bench adds --bench.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["once"] => stages().iter().for_each(|stage| println!("{stage}")),
        ["once", stage] => run_once(stage),
        _ => divan::main(),
    }
}

/// Returns the names of the stages that can be run once.
fn stages() -> Vec<&'static str> {
    [&["nothing", "dump"], &LISTINGS[..], &["tally", "summary", "stddev", "lognormal"]].concat()
}

fn run_once(stage: &str) {
    match stage {
        "nothing" => {}
        "dump" => drop(black_box(read(CaptureFormat::InetDiag, &dump()))),
        "tally" => drop(black_box(tally(&flood(100_000)))),
        "summary" => drop(black_box(summarize(&tally(&flood(1_000))))),
        "stddev" => drop(black_box(limits(Rule::Stddev(5.0), &counts(1_000)))),
        "lognormal" => drop(black_box(limits(LOGNORMAL, &counts(1_000)))),
        listing => drop(black_box(read(CaptureFormat::Listing, &repeated_listing(listing)))),
    }
}

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn repeated_listing(listing: &str) -> Vec<u8> {
    let text = file(&format!("{listing}.txt"));
    text.repeat(MEBIBYTE.div_ceil(text.len()))
}

/// Returns the kernel's dump, repeated up to a mebibyte, with one end message.
fn dump() -> Vec<u8> {
    /// Length of `NLMSG_DONE` with error 0.
    const DONE_LENGTH: usize = 20;
    let dump = file("netlink/dump.bin");
    let (rows, end) = dump.split_at(dump.len() - DONE_LENGTH);
    [&rows.repeat(MEBIBYTE.div_ceil(rows.len())), end].concat()
}

fn read(format: CaptureFormat, bytes: &[u8]) -> u64 {
    let capture = Capture {
        format,
        origin: "a capture".to_owned(),
        byte_order: Some(ByteOrder::Little),
        session_connection: None,
        local_addresses: None,
        server_identity: None,
        kernel_counters: None,
        notes: Vec::new(),
        bytes: Box::new(Cursor::new(bytes.to_vec())),
    };
    let mut rows = 0_u64;
    let reading = parse::read(capture, &mut |connection| {
        rows += 1;
        black_box(connection).is_connected()
    });
    assert!(reading.is_ok() && rows > 0);
    rows
}

/// Returns the connections of a flood, with a few connections per address and many from one,
/// in shuffled order.
fn flood(n: u32) -> Vec<Connection> {
    let connection = |index: u32| {
        let shuffled = index.wrapping_mul(0x9E37_79B1);
        let host = if index % 20 == 0 { 7 } else { (shuffled >> 8) / 5 };
        let port = if index % 4 == 3 { 80 } else { 443 };
        Connection {
            local: (Ipv4Addr::new(192, 0, 2, 10), port).into(),
            peer: (Ipv4Addr::from_bits(10 << 24 | host), 50000).into(),
            tcp_state: Some(TcpState::Established),
            peer_truncated: None,
            count: None,
            is_local_truncated: false,
        }
    };
    (0..n).map(connection).collect()
}

fn tally(connections: &[Connection]) -> Counts {
    let mut tally = Tally::default();
    connections.iter().for_each(|connection| tally.add(connection));
    tally.finish()
}

fn summarize(counted: &Counts) -> Summary {
    let grain = Aggregation::PER_ADDRESS;
    black_box(counted.top(10, 0, grain));
    Summary::new(&counted.peer_counts(grain), None)
}

/// Returns the counts of a sample of `n` connections, sorted, and their statistics.
fn counts(n: u32) -> (Vec<u64>, Summary) {
    let counts = tally(&flood(n)).peer_counts(Aggregation::PER_ADDRESS);
    let summary = Summary::new(&counts, None);
    (counts, summary)
}

const LOGNORMAL: Rule = Rule::Lognormal { false_alarm_rate: 0.015 };

fn limits(trigger: Rule, (counts, summary): &(Vec<u64>, Summary)) -> (Limit, Limit) {
    let config = JudgeConfig {
        rule: trigger,
        other_rule: trigger,
        floor: 10.0,
        consecutive: 2,
        max_age: Some(Duration::from_secs(3600)),
        warning: Vec::new(),
        critical: Vec::new(),
    };
    rule::limits(counts, summary, &config)
}

#[divan::bench(args = LISTINGS)]
fn listing(bencher: Bencher, name: &str) {
    let text = repeated_listing(name);
    let rows = read(CaptureFormat::Listing, &text);
    bencher.counter(ItemsCount::new(rows)).bench(|| read(CaptureFormat::Listing, &text));
}

#[divan::bench]
fn recorded_dump(bencher: Bencher) {
    let bytes = dump();
    let rows = read(CaptureFormat::InetDiag, &bytes);
    bencher.counter(ItemsCount::new(rows)).bench(|| read(CaptureFormat::InetDiag, &bytes));
}

#[divan::bench]
fn filter(bencher: Bencher) {
    let connections = flood(100_000);
    let excludes = DEFAULT_EXCLUDES.iter().map(|text| text.parse().unwrap()).collect();
    let filter = Filter::new(Selection { excludes, ..Selection::default() });
    bencher
        .counter(ItemsCount::new(connections.len()))
        .with_inputs(|| filter.clone())
        .bench_values(|mut filter| connections.iter().filter(|it| filter.accepts(it)).count());
}

#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn tally_connections(bencher: Bencher, n: u32) {
    let connections = flood(n);
    bencher.counter(ItemsCount::new(n)).bench(|| tally(&connections));
}

#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn summary(bencher: Bencher, n: u32) {
    let counted = tally(&flood(n));
    bencher.counter(ItemsCount::new(counted.addresses())).bench(|| summarize(&counted));
}

/// Looks up addresses in random order, each with its own record.
#[divan::bench]
fn operators(bencher: Bencher) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let addresses: Vec<u32> =
        (1..=N_DATABASE_ADDRESSES).map(|index| index.wrapping_mul(0x9E37_79B1)).collect();
    let entries = addresses.iter().map(|address| {
        let record = MmdbValue::Map(&[
            (b"autonomous_system_number", MmdbValue::U32(64500)),
            (b"autonomous_system_organization", MmdbValue::Text(b"Example Net")),
        ]);
        (address.to_be_bytes(), record)
    });
    fs::write(&file, mmdb::database(b"test", &entries.collect::<Vec<_>>())).unwrap();
    let database = NetworkDb::open(file.path()).unwrap();
    let networks: Vec<_> = addresses
        .iter()
        .map(|&address| Network::new(Ipv4Addr::from_bits(address).into(), 32))
        .collect();
    bencher.counter(ItemsCount::new(networks.len())).bench(|| {
        networks.iter().filter(|&&it| database.operator_of(it).unwrap().is_some()).count()
    });
}

#[divan::bench(args = [1_000, 100_000])]
fn rule_stddev(bencher: Bencher, n: u32) {
    let counts = counts(n);
    bencher.bench(|| limits(Rule::Stddev(5.0), &counts));
}

#[divan::bench(args = [1_000, 100_000])]
fn rule_lognormal(bencher: Bencher, n: u32) {
    let counts = counts(n);
    bencher.bench(|| limits(LOGNORMAL, &counts));
}
