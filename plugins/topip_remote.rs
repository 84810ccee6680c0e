//! `topip-remote`: what the others become where they log in to servers or mail an
//! alert. It has OpenSSL, which takes longer to load than a look at this machine.
use std::process::ExitCode;

use topip::cli::{self, Applet, Reach};

fn main() -> ExitCode {
    cli::main(Applet::Check, Some(Reach::ALL))
}
