//! Measures `check_topip` on a flood of connections, compared with the bare kernel dump and
//! with the tools that an administrator would use, on the same sockets.
//!
//! ```text
//! cargo bench --bench flood                   everything; as root, with 8 GiB to spare
//! cargo bench --bench flood -- WORD...        start, dump, bpf, memory, listings: only these sections
//!                                             a number: the number of rounds
//!                                             write: update docs/performance.md and .svg
//! cargo bench --bench flood -- shell COMMAND  run COMMAND during a flood of the first size;
//!                                             $CHECK is check_topip, $BENCH this program
//! FLOOD=1000,100000                           numbers of sockets, one after the other
//! ADDRESSES=2000                              number of addresses; default: a mixture
//! BUCKETS=8192                                size of the socket hash table; hosts with 1 GiB have this
//! ```
//!
//! Everything runs in its own namespaces and ends with them. The output is in
//! docs/performance.md.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a benchmark is not part of the program"
)]

use std::{env, process::ExitCode};

mod bpf;
mod compare;
mod discard;
mod dump;
mod endpoints;
mod flood;
mod cleanup;
mod open_sockets;
mod machine;
mod newlines;
mod sections;
mod plot;
mod report;
mod rows;
mod release_build;

fn main() -> ExitCode {
    // cargo bench adds --bench.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The benchmark starts itself in other roles, so that nothing else has to be built.
    match words[..] {
        ["cost", program, ref args @ ..] => compare::cost(program, args),
        ["discard", states] => discard::dump(states.parse().unwrap()),
        ["open-sockets", method, ref addresses @ .., n, from, to] => {
            let range = from.parse().unwrap()..to.parse().unwrap();
            let per_address = addresses.first().map(|n| n.parse().unwrap());
            open_sockets::open_sockets(
                method,
                &endpoints::Slice { n: n.parse().unwrap(), per_address, range },
            );
        }
        ["newlines", file] => newlines::count(file),
        ["rows", file] => rows::parse(file),
        ["nothing"] => {}
        ["isolated", ref words @ ..] => return cleanup::isolated(|| sections::measure(words)),
        _ => return cleanup::run_isolated(&words),
    }
    ExitCode::SUCCESS
}
