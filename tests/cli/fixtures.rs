//! Each listing of `tests/fixtures` gives the tally that stands beside it.
use std::{
    collections::BTreeMap,
    fs,
    io::BufReader,
    path::{Path, PathBuf},
};

use topip::{
    model::connection::Connection,
    parse::{
        self, Reading, Subject,
        capture::{ByteOrder, Capture, Format},
    },
};

use crate::support;

/// Reads a listing; gives its tally as the files beside it write one.
pub fn tally(bytes: Vec<u8>) -> (String, Reading) {
    tally_of(bytes, None)
}

/// The same of a machine whose byte order is known.
pub fn tally_of(bytes: Vec<u8>, byte_order: Option<ByteOrder>) -> (String, Reading) {
    tally_as(Format::Listing, bytes, byte_order)
}

/// The same of a listing or a dump.
pub fn tally_as(
    format: Format,
    bytes: Vec<u8>,
    byte_order: Option<ByteOrder>,
) -> (String, Reading) {
    let capture = Capture {
        format,
        origin: "a listing".to_owned(),
        byte_order,
        own: None,
        addresses: None,
        how: Vec::new(),
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
    // As `LC_ALL=C sort` does it, which sees the count too.
    let mut rows: Vec<_> = rows.into_iter().map(|(row, n)| format!("{row} {n}\n")).collect();
    rows.sort();
    (rows.concat(), reading)
}

pub fn listings() -> Vec<PathBuf> {
    let mut listings: Vec<_> = ["conntrack", "foreign", "linux"]
        .iter()
        .flat_map(|folder| fs::read_dir(support::file("fixtures").join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    listings.sort();
    listings
}

/// The lines that only one of the two has.
fn difference(found: &str, expected: &str) -> String {
    let only = |these: &str, others: &str, sign: char| {
        let others: Vec<_> = others.lines().collect();
        let only: Vec<_> = these.lines().filter(|line| !others.contains(line)).collect();
        only.iter().map(|line| format!("{sign}{line} ")).collect::<String>()
    };
    only(found, expected, '+') + &only(expected, found, '-')
}

#[test]
fn a_recorded_dump_gives_its_tally() {
    let file = |name| support::file("fixtures/netlink").join(name);
    let dump = fs::read(file("dump.bin")).unwrap();
    let (found, reading) = tally_as(Format::InetDiag, dump, Some(ByteOrder::Little));
    assert_eq!(found, fs::read_to_string(file("dump.tally")).unwrap());
    assert_eq!((found.lines().count(), reading.unreadable), (297, 0));
}

#[test]
fn every_listing_gives_its_tally() {
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
        if reading.unreadable > 0 || reading.cut > 0 || reading.assumed.is_some() {
            wrong.push(format!("{name}: {reading:?}"));
        }
    }
    assert!(n_tallies >= 57, "only {n_tallies} tallies were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn line_ends_of_windows_change_nothing() {
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
fn listings_one_after_the_other_add_up() {
    let mut all = Vec::new();
    let mut expected = BTreeMap::new();
    for listing in listings() {
        let Ok(tally) = fs::read_to_string(listing.with_extension("tally")) else { continue };
        // A listing without a heading takes the machine's byte order from the
        // one before, and the one with a header brings its own.
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
    assert_eq!(reading.unreadable, 0, "{reading:?}");
}

/// The lines of a `.notes` file tell which rows are cut.
#[test]
fn a_listing_that_is_cut_is_seen_to_be() {
    for name in
        ["linux/netstat-nt", "linux/netstat-nat", "linux/netstat-nat-de", "foreign/freebsd-cut"]
    {
        let path = support::file("fixtures").join(name).with_extension("txt");
        let (_, reading) = tally(fs::read(&path).unwrap());
        assert!(reading.cut > 0, "{name}: {reading:?}");
        assert_eq!(reading.unreadable, 0, "{name}: {reading:?}");
    }
}

/// net-tools with `-W` and without, of the same sockets: what is not said to be
/// cut is the same in both.
#[test]
fn every_address_that_was_cut_is_noticed() {
    let rows = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(support::file("fixtures/linux").join(name)).unwrap();
        text.lines().filter(|line| line.starts_with("tcp")).map(str::to_owned).collect()
    };
    let (wide, narrow) = (rows("netstat-natW.txt"), rows("netstat-nat.txt"));
    let peer = |row: &str| row.split_whitespace().nth(4).unwrap().to_owned();
    let unlike =
        wide.iter().zip(&narrow).filter(|(wide, narrow)| peer(wide) != peer(narrow)).count();
    let bytes = fs::read(support::file("fixtures/linux/netstat-nat.txt")).unwrap();
    let (_, reading) = tally(bytes);
    assert_eq!(wide.len(), narrow.len());
    assert!(unlike > 10, "{unlike}");
    // Some addresses fill the column and are whole; none that is cut is missed.
    assert!(reading.cut >= unlike as u64, "{} of {unlike}", reading.cut);
}

#[test]
fn every_state_of_every_dialect_is_known() {
    let mut states = BTreeMap::new();
    for listing in listings() {
        let Ok(tally) = fs::read_to_string(listing.with_extension("tally")) else { continue };
        let folder = listing.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        for row in tally.lines() {
            states
                .entry(folder.clone())
                .or_insert_with(std::collections::BTreeSet::new)
                .insert(row.split(' ').nth(2).unwrap().to_owned());
        }
    }
    let all =
        "CLOSE_WAIT CLOSING ESTABLISHED FIN_WAIT1 FIN_WAIT2 LAST_ACK SYN_RECV SYN_SENT TIME_WAIT";
    // Of flows, each is seen from its middle.
    let tracked = "CLOSE CLOSE_WAIT ESTABLISHED FIN_WAIT1 LAST_ACK SYN_RECV TIME_WAIT";
    for (folder, found) in states {
        let all = if folder == "conntrack" { tracked } else { all };
        for state in all.split(' ') {
            assert!(found.contains(state), "no {state} in {folder}");
        }
    }
}

#[test]
fn flows_of_other_protocols_are_others() {
    let reading =
        |name: &str| tally(fs::read(support::file("fixtures/conntrack").join(name)).unwrap()).1;
    let (all, tcp) = (reading("conntrack-L.txt"), reading("conntrack-L-tcp.txt"));
    assert_eq!((all.rows, tcp.rows, tcp.other), (55, 55, 0));
    assert_eq!((all.other, reading("proc-nf_conntrack.txt").other), (5, 5));
    assert_eq!(all.subject(), Subject::Flows);
    assert_eq!(reading("conntrack-L-none.txt").subject(), Subject::Flows);
}

#[test]
fn byte_order_marks_are_no_letters() {
    let listing = support::listing(&[("203.0.113.7", 2)]);
    let (found, _) = tally([b"\xEF\xBB\xBF", listing.as_bytes()].concat());
    assert_eq!(found, "443 203.0.113.7 ESTABLISHED 2\n");
    // The first line may be the last, and lack its end.
    let (found, reading) = tally(b"\xEF\xBB\xBFESTAB 0 0 192.0.2.1:80 203.0.113.7:50000".to_vec());
    assert_eq!((found.as_str(), reading.unreadable), ("80 203.0.113.7 ESTABLISHED 1\n", 0));
}

#[test]
fn a_banner_before_the_listing_does_no_harm() {
    let banner = "Last login: Sun Nov 22 18:28:19 2026 from 192.0.2.1\n*** 3 updates ***\n";
    let (found, reading) =
        tally((banner.to_owned() + &support::listing(&[("203.0.113.7", 2)])).into());
    assert_eq!(found, "443 203.0.113.7 ESTABLISHED 2\n");
    assert_eq!(reading.unreadable, 0);
}

#[test]
fn the_folder_is_explained() {
    assert!(Path::new(support::HOME).join("tests/fixtures/README.md").exists());
}

/// `conntrack -L` says how many there were before it has written all of them.
#[test]
fn a_footer_may_come_into_a_row() {
    let shown = "conntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.\n";
    let row = "tcp 6 9 CLOSE src=203.0.113.7 dst=192.0.2.1 sport=1 dport=80 src=10.1.0.2\n";
    for at in 0..row.len() {
        let (found, reading) = tally([&row[..at], shown, &row[at..]].concat().into());
        assert_eq!((found.as_str(), reading.unreadable), ("80 203.0.113.7 CLOSE 1\n", 0), "{at}");
        // Nothing is left out without a word.
        for broken in [format!("{}{shown}", &row[..at]), format!("{}{shown}{shown}", &row[..at])] {
            let (found, reading) = tally(broken.into());
            assert_eq!((found.as_str(), reading.unreadable), ("", 1), "{at}");
        }
    }
}

#[test]
fn what_conntrack_prints_beside_listings_is_refused_with_a_word() {
    for (name, expected) in [
        ("conntrack-L-xml.other", "is a flow table in XML, which is not read"),
        ("conntrack-E.other", "has events of conntrack -E, which are no table"),
    ] {
        let path = support::file("fixtures/conntrack").join(name);
        let ran = support::Room::new().check(&["--input", path.to_str().unwrap()]);
        assert_eq!(
            ran.stdout,
            format!(
                "TOPIP UNKNOWN - {} {expected}\n\
                 List the table as text: conntrack -L -p tcp, without -o xml.\n",
                path.display()
            )
        );
    }
}
