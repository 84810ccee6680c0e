//! What a flood of connections costs: `check_topip`, the kernel's own dump, and
//! what else an administrator would run, on the same sockets.
//!
//! ```text
//! cargo bench --bench flood                      everything; as root, with 8 GiB to spare
//! cargo bench --bench flood -- PART... [RUNS]    dump, memory, start, listings
//! FLOOD=100000,1000000 cargo bench --bench flood -- dump
//! ```
//!
//! It works in a network namespace of its own, which ends with it, and so do the
//! sockets. docs/performance.md has what it prints.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "it stands outside of the program, and measures it"
)]

use std::env;

mod contest;
mod discard;
mod hold;
mod newlines;
mod parts;

fn main() {
    // cargo bench adds --bench.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The same program is what it starts, so that nothing else is to be built.
    match words[..] {
        ["cost", program, ref args @ ..] => contest::cost(program, args),
        ["discard", states] => discard::dump(states.parse().unwrap()),
        ["hold", n, per_address, from, to] => {
            let range = from.parse().unwrap()..to.parse().unwrap();
            hold::hold(n.parse().unwrap(), per_address.parse().ok(), range);
        }
        ["newlines", file] => newlines::count(file),
        ["nothing"] => {}
        _ => parts::measure(&words),
    }
}
