//! Each listing in `tests/fixtures` gives the tally that is stored next to it.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::BufReader,
    path::PathBuf,
};

use topip::{
    model::connection::Connection,
    parse::{
        self, ParseStats, TableKind,
        capture::{ByteOrder, Capture, CaptureFormat},
    },
};

use crate::support;

/// Parses a listing and returns its tally in the format of the `.tally` files.
pub fn tally(bytes: Vec<u8>) -> (String, ParseStats) {
    tally_of(bytes, None)
}

/// Like [`tally`], with a known byte order.
pub fn tally_of(bytes: Vec<u8>, byte_order: Option<ByteOrder>) -> (String, ParseStats) {
    tally_as(CaptureFormat::Listing, bytes, byte_order)
}

/// Like [`tally_of`], for a listing or a dump.
pub fn tally_as(
    format: CaptureFormat,
    bytes: Vec<u8>,
    byte_order: Option<ByteOrder>,
) -> (String, ParseStats) {
    let capture = Capture {
        format,
        origin: "a listing".to_owned(),
        byte_order,
        session_connection: None,
        local_addresses: None,
        server_identity: None,
        kernel_counters: None,
        notes: Vec::new(),
        bytes: Box::new(BufReader::new(std::io::Cursor::new(bytes))),
    };
    let mut rows = BTreeMap::new();
    let reading = parse::read(capture, &mut |connection: &Connection| {
        if connection.is_connected() {
            let state = connection.tcp_state.map_or("-", |state| state.name());
            let peer = connection.peer.ip().to_canonical();
            *rows.entry(format!("{} {peer} {state}", connection.local.port())).or_insert(0) += 1;
        }
        connection.is_connected()
    })
    .unwrap();
    // Sort the lines including the count, as `LC_ALL=C sort` does.
    let mut rows: Vec<_> = rows.into_iter().map(|(row, n)| format!("{row} {n}\n")).collect();
    rows.sort();
    (rows.concat(), reading)
}

pub fn listings() -> Vec<PathBuf> {
    let mut listings: Vec<_> = ["conntrack", "foreign", "linux", "saved"]
        .iter()
        .flat_map(|directory| fs::read_dir(support::test_file("fixtures").join(directory)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    listings.sort();
    // Tests that loop over the listings would pass without any.
    assert!(listings.len() >= 85, "only {} listings were found", listings.len());
    listings
}

/// Returns the lines that only one of the two tallies has.
fn difference(found: &str, expected: &str) -> String {
    let only = |these: &str, others: &str, sign: char| {
        let others: Vec<_> = others.lines().collect();
        let only: Vec<_> = these.lines().filter(|line| !others.contains(line)).collect();
        only.iter().map(|line| format!("{sign}{line} ")).collect::<String>()
    };
    only(found, expected, '+') + &only(expected, found, '-')
}

#[test]
fn recorded_dump_matches_tally() {
    let netlink_fixture = |name| support::test_file("fixtures/netlink").join(name);
    let dump = fs::read(netlink_fixture("dump.bin")).unwrap();
    let (found, reading) = tally_as(CaptureFormat::InetDiag, dump, Some(ByteOrder::Little));
    assert_eq!(found, fs::read_to_string(netlink_fixture("dump.tally")).unwrap());
    assert_eq!((found.lines().count(), reading.n_unreadable), (297, 0));
}

#[test]
fn every_listing_matches_tally() {
    let mut wrong = Vec::new();
    let mut n_tallies = 0;
    for listing in listings() {
        let name = listing.file_stem().unwrap().to_str().unwrap();
        let Ok(expected) = fs::read_to_string(listing.with_extension("tally")) else { continue };
        n_tallies += 1;
        let (found, reading) = tally(fs::read(&listing).unwrap());
        if found != expected {
            wrong.push(format!("{name}: {}", difference(&found, &expected)));
        }
        if reading.n_unreadable > 0
            || reading.n_truncated > 0
            || reading.assumed_byte_order.is_some()
        {
            wrong.push(format!("{name}: {reading:?}"));
        }
    }
    assert!(n_tallies >= 75, "only {n_tallies} tallies were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crlf_listings_match_lf_listings() {
    for listing in listings() {
        let bytes = fs::read(&listing).unwrap();
        let mut with_returns = Vec::new();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            with_returns.extend(line.strip_suffix(b"\r").unwrap_or(line));
            with_returns.extend(b"\r\n");
        }
        assert_eq!(tally(with_returns), tally(bytes), "{}", listing.display());
    }
}

#[test]
fn concatenated_listings_add_up() {
    let mut all = Vec::new();
    let mut expected = BTreeMap::new();
    for listing in listings() {
        let Ok(tally) = fs::read_to_string(listing.with_extension("tally")) else { continue };
        // After another table, a title in an unknown language may be a message of a tool.
        if listing.ends_with("windows-es.txt") {
            continue;
        }
        // A listing without a heading has the byte order of the previous listing; the byte
        // order of a listing with a heading is detected.
        all.extend(fs::read(&listing).unwrap());
        for row in tally.lines() {
            let (row, n) = row.rsplit_once(' ').unwrap();
            *expected.entry(row.to_owned()).or_insert(0) += n.parse::<u64>().unwrap();
        }
    }
    let (found, reading) = tally(all);
    let mut expected: Vec<_> =
        expected.into_iter().map(|(row, n)| format!("{row} {n}\n")).collect();
    expected.sort();
    assert_eq!(difference(&found, &expected.concat()), "");
    assert_eq!(reading.n_unreadable, 0, "{reading:?}");
}

/// The `.notes` files list the truncated rows.
#[test]
fn truncated_addresses_are_counted() {
    for name in
        ["linux/netstat-nt", "linux/netstat-nat", "linux/netstat-nat-de", "foreign/freebsd-cut"]
    {
        let path = support::test_file("fixtures").join(name).with_extension("txt");
        let (_, reading) = tally(fs::read(&path).unwrap());
        assert!(reading.n_truncated > 0, "{name}: {reading:?}");
        assert_eq!(reading.n_unreadable, 0, "{name}: {reading:?}");
    }
}

/// With and without `-W`, net-tools lists the same sockets: addresses that are not marked
/// as truncated are equal in both.
#[test]
fn every_truncated_address_is_counted() {
    let rows = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(support::test_file("fixtures/linux").join(name)).unwrap();
        text.lines().filter(|line| line.starts_with("tcp")).map(str::to_owned).collect()
    };
    let (wide, narrow) = (rows("netstat-natW.txt"), rows("netstat-nat.txt"));
    let peer = |row: &str| row.split_whitespace().nth(4).unwrap().to_owned();
    let unlike =
        wide.iter().zip(&narrow).filter(|(wide, narrow)| peer(wide) != peer(narrow)).count();
    let bytes = fs::read(support::test_file("fixtures/linux/netstat-nat.txt")).unwrap();
    let (_, reading) = tally(bytes);
    assert_eq!(wide.len(), narrow.len());
    assert!(unlike > 10, "{unlike}");
    // Some complete addresses fill the column as well, but every truncated one is found.
    assert!(reading.n_truncated >= unlike as u64, "{} of {unlike}", reading.n_truncated);
}

/// The parser finds connections in every state in the fixtures of each dialect.
#[test]
fn every_dialect_covers_every_state() {
    let mut states = BTreeMap::<_, BTreeSet<String>>::new();
    for listing in listings() {
        let (rows, reading) = tally(fs::read(&listing).unwrap());
        for dialect in reading.dialects {
            let states = states.entry(dialect.name()).or_default();
            states.extend(rows.lines().map(|row| row.split(' ').nth(2).unwrap().to_owned()));
        }
    }
    let open =
        "CLOSE_WAIT CLOSING ESTABLISHED FIN_WAIT1 FIN_WAIT2 LAST_ACK SYN_RECV SYN_SENT TIME_WAIT";
    // Linux does not list closed sockets.
    let all = format!("CLOSE {open}");
    // Windows may translate it.
    let all_or_none = format!("- {all}");
    // A listing of ss may have no column for the state.
    let or_none = format!("- {open}");
    // Flow states are those of the connection as a whole.
    let tracked = "CLOSE CLOSE_WAIT ESTABLISHED FIN_WAIT1 LAST_ACK SYN_RECV TIME_WAIT";
    let expected = [
        ("/proc/net/tcp", open),
        ("BSD netstat", &all),
        ("Solaris netstat", &all),
        ("Windows netstat", &all_or_none),
        ("conntrack", tracked),
        ("counts by address", "-"),
        ("netstat", open),
        ("ss", &or_none),
    ];
    let found: Vec<_> = states
        .into_iter()
        .map(|(dialect, states)| (dialect, states.into_iter().collect::<Vec<_>>().join(" ")))
        .collect();
    assert_eq!(found, expected.map(|(dialect, states)| (dialect, states.to_owned())));
}

#[test]
fn flows_of_other_protocols_are_not_rows() {
    let reading = |name: &str| {
        tally(fs::read(support::test_file("fixtures/conntrack").join(name)).unwrap()).1
    };
    let (all, tcp) = (reading("conntrack-L.txt"), reading("conntrack-L-tcp.txt"));
    assert_eq!((all.n_rows, tcp.n_rows, tcp.n_other), (55, 55, 0));
    assert_eq!((all.n_other, reading("proc-nf_conntrack.txt").n_other), (5, 5));
    assert_eq!(all.table_kind(), TableKind::Flows);
    assert_eq!(reading("conntrack-L-none.txt").table_kind(), TableKind::Flows);
}

#[test]
fn udp_flows_are_counted_on_request() {
    for name in ["conntrack-L.txt", "proc-nf_conntrack.txt", "conntrack-L-extended.txt"] {
        let path = support::test_file("fixtures/conntrack").join(name);
        let text = fs::read_to_string(&path).unwrap();
        let n_udp = text.lines().filter(|line| line.contains("udp      17 ")).count();
        let n_tcp = text.lines().filter(|line| line.contains("tcp      6 ")).count();
        assert!(n_udp > 0);
        for (protocol, n, noun) in [
            ("tcp", n_tcp, "connections"),
            ("udp", n_udp, "flows"),
            ("all", n_tcp + n_udp, "connections and flows"),
        ] {
            let args = ["--protocol", protocol, "-v", "--no-default-excludes", "--input"];
            let path = path.to_str().unwrap();
            let result = support::TestDir::new().check(&[&args[..], &[path]].concat());
            let heading = format!("\n{n} {noun} from ");
            assert!(result.stdout.contains(&heading), "{name} {protocol}: {}", result.stdout);
        }
    }
}

/// Tables of TCP and of UDP may follow one another; the same table twice is an error.
#[test]
fn repeated_tables_of_udp_flows_are_found() {
    let flow = |protocol: &str| {
        format!(
            "web1$ conntrack -L\n{protocol} src=203.0.113.7 dst=192.0.2.1 sport=5 dport=443 \
             src=192.0.2.1 dst=203.0.113.7 sport=443 dport=5 use=1\n"
        )
    };
    let (tcp, udp) = (flow("tcp 6 9 CLOSE"), flow("udp 17 29"));
    let both = format!("{tcp}{}", udp.split_once('\n').unwrap().1);
    for (tables, is_repeated) in [
        ([&tcp, &udp], false),
        ([&udp, &tcp], false),
        ([&udp, &udp], true),
        ([&tcp, &tcp], true),
        ([&both, &udp], true),
        ([&tcp, &both], true),
    ] {
        let args = ["--protocol", "all"];
        let result =
            support::TestDir::new().check_listing(tables.map(String::as_str).concat(), &args);
        assert_eq!(result.code, Some(if is_repeated { 3 } else { 0 }), "{tables:?}: {result:?}");
    }
}

#[test]
fn sockets_and_flows_in_one_listing_are_mixed() {
    let fixture = |name: &str| fs::read(support::test_file("fixtures").join(name)).unwrap();
    let (sockets, flows) =
        (fixture("linux/netstat-natW.txt"), fixture("conntrack/conntrack-L.txt"));
    let table_kind = |listings: &[&[u8]]| tally(listings.concat()).1.table_kind();
    assert_eq!(table_kind(&[&sockets, &sockets]), TableKind::Sockets);
    assert_eq!(table_kind(&[&flows, &flows]), TableKind::Flows);
    assert_eq!(table_kind(&[&sockets, &flows]), TableKind::Mixed);
    assert_eq!(table_kind(&[&flows, &sockets]), TableKind::Mixed);
    assert_eq!(table_kind(&[&flows, &sockets, &flows]), TableKind::Mixed);
}

#[test]
fn byte_order_mark_is_ignored() {
    let listing = support::listing(&[("203.0.113.7", 2)]);
    let (found, _) = tally([b"\xEF\xBB\xBF", listing.as_bytes()].concat());
    assert_eq!(found, "443 203.0.113.7 ESTABLISHED 2\n");
    // The first line may be the last one and lack its line end.
    let (found, reading) = tally(b"\xEF\xBB\xBFESTAB 0 0 192.0.2.1:80 203.0.113.7:50000".to_vec());
    assert_eq!((found.as_str(), reading.n_unreadable), ("80 203.0.113.7 ESTABLISHED 1\n", 0));
}

#[test]
fn banner_before_listing_is_skipped() {
    let banner = "Last login: Sun Nov 22 18:28:19 2026 from 192.0.2.1\n*** 3 updates ***\n";
    let (found, reading) =
        tally((banner.to_owned() + &support::listing(&[("203.0.113.7", 2)])).into());
    assert_eq!(found, "443 203.0.113.7 ESTABLISHED 2\n");
    assert_eq!(reading.n_unreadable, 0);
}

/// `conntrack -L` may print its summary line before it has written all rows.
#[test]
fn conntrack_footer_inside_a_row_is_removed() {
    let shown = "conntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.\n";
    let row = "tcp 6 9 CLOSE src=203.0.113.7 dst=192.0.2.1 sport=1 dport=80 src=10.1.0.2\n";
    for at in 0..row.len() {
        let (found, reading) = tally([&row[..at], shown, &row[at..]].concat().into());
        assert_eq!((found.as_str(), reading.n_unreadable), ("80 203.0.113.7 CLOSE 1\n", 0), "{at}");
        // Every lost row is counted as unreadable.
        for broken in [format!("{}{shown}", &row[..at]), format!("{}{shown}{shown}", &row[..at])] {
            let (found, reading) = tally(broken.into());
            assert_eq!((found.as_str(), reading.n_unreadable), ("", 1), "{at}");
        }
    }
}

#[test]
fn other_conntrack_output_is_rejected_with_hint() {
    for (name, expected) in [
        ("conntrack-L-xml.other", "flow tables in XML are not supported"),
        ("conntrack-E.other", "events of conntrack -E, not a flow table"),
    ] {
        let path = support::test_file("fixtures/conntrack").join(name);
        let result = support::TestDir::new().check(&["--input", path.to_str().unwrap()]);
        assert_eq!(
            result.stdout,
            format!(
                "TOPIP UNKNOWN - {}: {expected}\n\
                 List the table as text: conntrack -L -p tcp, without -o xml.\n",
                path.display()
            )
        );
    }
}
