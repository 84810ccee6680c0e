//! `topip-remote`: what the others become where they log in to servers or mail an
//! alert. It has OpenSSL, which takes longer to load than a look at this machine.
use std::process::ExitCode;

use topip::applet::{self, Applet, Reach};

fn main() -> ExitCode {
    applet::main(Applet::Check, Some(Reach::ALL))
}
