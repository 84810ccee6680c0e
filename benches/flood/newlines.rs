//! The lower bound of reading a listing: counts its lines.
use std::{fs::File, io::Read};

/// Reads `file` in chunks of 64 KiB, as `check_topip` does, and prints the number of lines.
pub fn count(file: &str) {
    let mut file = File::open(file).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            length => lines += memchr::memchr_iter(b'\n', &buffer[..length]).count(),
        }
    }
    println!("{lines}");
}
