//! What each stage costs by itself, on what has been captured.
//!
//! ```text
//! cargo bench --bench stages                   times of all, in half a minute
//! cargo bench --bench stages -- listing        of those whose names have that
//! cargo bench --bench stages -- once STAGE     one, once, for whoever counts its instructions
//! ```
//!
//! Captures of few rows are repeated to a megabyte. `benches/instructions` counts
//! what they take without a clock.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "it stands outside of the program, and measures it"
)]

use std::{env, fs, hint::black_box, io::Cursor, net::Ipv4Addr, path::Path, time::Duration};

use divan::{Bencher, counter::ItemsCount};
use topip::{
    analysis::{
        filter::{DEFAULT_EXCLUDES, Filter, Selection},
        history::{History, Sample},
        rule::{self, Rule, Trigger},
        summary::Summary,
        tally::{Counted, Grain, Tally},
    },
    model::connection::{Connection, TcpState},
    parse::{
        self,
        capture::{ByteOrder, Capture, Format},
    },
};

/// Each dialect by a capture that is typical of it.
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

const MEGABYTE: usize = 1 << 20;

fn main() {
    // cargo bench adds --bench.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["once"] => stages().iter().for_each(|stage| println!("{stage}")),
        ["once", stage] => once(stage),
        _ => divan::main(),
    }
}

/// What can be run once.
fn stages() -> Vec<&'static str> {
    [&["nothing", "dump"], &LISTINGS[..], &["tally", "summary", "stddev", "lognormal"]].concat()
}

fn once(stage: &str) {
    match stage {
        "nothing" => {}
        "dump" => drop(black_box(read(Format::InetDiag, &dump()))),
        "tally" => drop(black_box(tally(&flood(100_000)))),
        "summary" => drop(black_box(figures(&tally(&flood(1_000))))),
        "stddev" => drop(black_box(judge(Trigger::Stddev(5.0), &sample(1_000)))),
        "lognormal" => drop(black_box(judge(LOGNORMAL, &sample(1_000)))),
        listing => drop(black_box(read(Format::Listing, &megabyte(listing)))),
    }
}

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn megabyte(listing: &str) -> Vec<u8> {
    let text = file(&format!("{listing}.txt"));
    text.repeat(MEGABYTE.div_ceil(text.len()))
}

/// The kernel's answer as often as that is a megabyte, and its end once.
fn dump() -> Vec<u8> {
    /// `NLMSG_DONE`, with an error of 0.
    const END: usize = 20;
    let dump = file("netlink/dump.bin");
    let (rows, end) = dump.split_at(dump.len() - END);
    [&rows.repeat(MEGABYTE.div_ceil(rows.len())), end].concat()
}

fn read(format: Format, bytes: &[u8]) -> u64 {
    let capture = Capture {
        format,
        origin: "a capture".to_owned(),
        byte_order: Some(ByteOrder::Little),
        own: None,
        addresses: None,
        how: Vec::new(),
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

/// Connections of a flood, one to nine from each address and many from one, in an
/// order in which neighbours are far apart.
fn flood(n: u32) -> Vec<Connection> {
    let connection = |index: u32| {
        let shuffled = index.wrapping_mul(0x9E37_79B1);
        let host = if index.is_multiple_of(20) { 7 } else { (shuffled >> 8) / 5 };
        let port = if index % 4 == 3 { 80 } else { 443 };
        Connection {
            local: (Ipv4Addr::new(192, 0, 2, 10), port).into(),
            peer: (Ipv4Addr::from_bits(10 << 24 | host), 50000).into(),
            tcp_state: Some(TcpState::Established),
            peer_cut: None,
        }
    };
    (0..n).map(connection).collect()
}

fn tally(connections: &[Connection]) -> Counted {
    let mut tally = Tally::default();
    connections.iter().for_each(|connection| tally.add(connection));
    tally.finish()
}

fn figures(counted: &Counted) -> Summary {
    let grain = Grain::ADDRESSES;
    black_box(counted.top(10, grain));
    Summary::of(&counted.counts(grain), None)
}

fn sample(n: u32) -> Sample {
    Sample::of(&tally(&flood(n)), 0, Grain::ADDRESSES, None, 1)
}

const LOGNORMAL: Trigger = Trigger::Lognormal { false_alarm_rate: 0.01 };

fn judge(trigger: Trigger, sample: &Sample) -> topip::model::verdict::Verdict {
    let rule = Rule {
        trigger,
        beside: trigger,
        floor: 10.0,
        consecutive: 2,
        max_age: Some(Duration::from_secs(3600)),
        warning: None,
        critical: None,
    };
    rule::judge(sample, &History::default(), &rule)
}

#[divan::bench(args = LISTINGS)]
fn listing(bencher: Bencher, name: &str) {
    let text = megabyte(name);
    let rows = read(Format::Listing, &text);
    bencher.counter(ItemsCount::new(rows)).bench(|| read(Format::Listing, &text));
}

#[divan::bench]
fn recorded_dump(bencher: Bencher) {
    let bytes = dump();
    let rows = read(Format::InetDiag, &bytes);
    bencher.counter(ItemsCount::new(rows)).bench(|| read(Format::InetDiag, &bytes));
}

#[divan::bench]
fn filter(bencher: Bencher) {
    let connections = flood(100_000);
    let excludes = DEFAULT_EXCLUDES.iter().map(|text| text.parse().unwrap()).collect();
    let filter = Filter::new(Selection { excludes, ..Selection::default() });
    bencher
        .counter(ItemsCount::new(connections.len()))
        .with_inputs(|| filter.clone())
        .bench_values(|mut filter| connections.iter().filter(|it| filter.counts(it)).count());
}

#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn counting(bencher: Bencher, n: u32) {
    let connections = flood(n);
    bencher.counter(ItemsCount::new(n)).bench(|| tally(&connections));
}

#[divan::bench(args = [1_000, 100_000, 1_000_000])]
fn summary(bencher: Bencher, n: u32) {
    let counted = tally(&flood(n));
    bencher.counter(ItemsCount::new(counted.addresses())).bench(|| figures(&counted));
}

#[divan::bench(args = [1_000, 100_000])]
fn rule_stddev(bencher: Bencher, n: u32) {
    let sample = sample(n);
    bencher.bench(|| judge(Trigger::Stddev(5.0), &sample));
}

#[divan::bench(args = [1_000, 100_000])]
fn rule_lognormal(bencher: Bencher, n: u32) {
    let sample = sample(n);
    bencher.bench(|| judge(LOGNORMAL, &sample));
}
