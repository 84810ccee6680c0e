//! Measures parsing of a listing, without start-up, filter and tally.
use std::{fs::File, io::BufReader};

use topip::parse::{
    self,
    capture::{Capture, CaptureFormat},
};

/// Parses `file` as `check_topip` does, and prints the number of rows.
pub fn parse(file: &str) {
    let capture = Capture {
        format: CaptureFormat::Listing,
        origin: file.to_owned(),
        byte_order: None,
        session_connection: None,
        local_addresses: None,
        server_identity: None,
        kernel_counters: None,
        notes: Vec::new(),
        bytes: Box::new(BufReader::new(File::open(file).unwrap())),
    };
    let mut sum = 0_u64;
    let reading = parse::read(capture, &mut |connection| {
        // Use a value of each row, or the compiler would optimize the parsing away.
        sum += u64::from(connection.peer.port());
        true
    });
    println!("{} rows, ports of {sum}", reading.unwrap().n_rows);
}
