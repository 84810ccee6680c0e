//! `check_topip`, the check for Nagios, Icinga 2 and Naemon.
use std::process::ExitCode;

use topip::cli::{self, Applet};

fn main() -> ExitCode {
    cli::main(Applet::Check, None)
}
