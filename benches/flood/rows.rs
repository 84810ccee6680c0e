//! What parsing a listing costs, without the start, the filter and the tally.
use std::{fs::File, io::BufReader};

use topip::parse::{
    self,
    capture::{Capture, Format},
};

/// Reads `file` to rows as `check_topip` does, and prints how many.
pub fn parse(file: &str) {
    let capture = Capture {
        format: Format::Listing,
        origin: file.to_owned(),
        byte_order: None,
        own: None,
        addresses: None,
        how: Vec::new(),
        bytes: Box::new(BufReader::new(File::open(file).unwrap())),
    };
    let mut sum = 0_u64;
    let reading = parse::read(capture, &mut |connection| {
        // Something is made of each, or the compiler would leave its reading out.
        sum += u64::from(connection.peer.port());
        true
    });
    println!("{} rows, ports of {sum}", reading.unwrap().rows);
}
