//! What a flood of connections costs: `check_topip`, the kernel's own dump, and
//! what else an administrator would run, on the same sockets.
//!
//! ```text
//! cargo bench --bench flood                   everything; as root, with 8 GiB to spare
//! cargo bench --bench flood -- WORD...        start, dump, memory, listings: these parts
//!                                             a number: so many rounds
//!                                             write: into docs/performance.md and .svg
//! cargo bench --bench flood -- shell COMMAND  COMMAND, beside a flood of the first size;
//!                                             $CHECK is check_topip, $BENCH this
//! FLOOD=1000,100000                           how many sockets, by turns
//! ADDRESSES=2000                              from how many addresses; else from a mixture
//! BUCKETS=8192                                as large a table as hosts of 1 GiB have
//! ```
//!
//! Everything is in namespaces of its own and ends with them. docs/performance.md
//! has what it prints.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "it stands outside of the program, and measures it"
)]

use std::{env, process::ExitCode};

mod contest;
mod discard;
mod dump;
mod ends;
mod flood;
mod guard;
mod hold;
mod machine;
mod newlines;
mod parts;
mod plot;
mod report;
mod rows;
mod shipped;

fn main() -> ExitCode {
    // cargo bench adds --bench.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The same program is what it starts, so that nothing else is to be built.
    match words[..] {
        ["cost", program, ref args @ ..] => contest::cost(program, args),
        ["discard", states] => discard::dump(states.parse().unwrap()),
        ["hold", way, ref addresses @ .., n, from, to] => {
            let range = from.parse().unwrap()..to.parse().unwrap();
            let per_address = addresses.first().map(|n| n.parse().unwrap());
            hold::hold(way, &ends::Ends { n: n.parse().unwrap(), per_address, range });
        }
        ["newlines", file] => newlines::count(file),
        ["rows", file] => rows::parse(file),
        ["nothing"] => {}
        ["guarded", ref words @ ..] => return guard::guarded(|| parts::measure(words)),
        _ => return guard::guard(&words),
    }
    ExitCode::SUCCESS
}
