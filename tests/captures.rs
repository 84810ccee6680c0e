//! Each listing of `tests/captures` gives the tally that stands beside it.
use std::{
    collections::BTreeMap,
    fs,
    io::BufReader,
    path::{Path, PathBuf},
};

use topip::{
    capture::{Capture, Format},
    connection::Connection,
    parse::{self, Reading},
};

/// Reads a listing; gives its tally as the files beside it write one.
fn tally(listing: &Path) -> (String, Reading) {
    let capture = Capture {
        format: Format::Listing,
        origin: listing.display().to_string(),
        byte_order: None,
        bytes: Box::new(BufReader::new(fs::File::open(listing).unwrap())),
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

fn listings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut listings: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .flat_map(|folder| fs::read_dir(folder).unwrap())
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
fn every_listing_gives_its_tally() {
    let mut wrong = Vec::new();
    let mut n_tallies = 0;
    for listing in listings() {
        let name = listing.file_stem().unwrap().to_str().unwrap();
        let Ok(expected) = fs::read_to_string(listing.with_extension("tally")) else { continue };
        n_tallies += 1;
        let (found, reading) = tally(&listing);
        if found != expected {
            wrong.push(format!("{name}: {}", difference(&found, &expected)));
        }
        if reading.unreadable > 0 || reading.cut > 0 || reading.assumed.is_some() {
            wrong.push(format!("{name}: {reading:?}"));
        }
    }
    assert!(n_tallies >= 45, "only {n_tallies} tallies were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
