//! `check_topip`, the check for Nagios, Icinga 2 and Naemon.
use std::process::ExitCode;

use topip::applet::{self, Applet};

fn main() -> ExitCode {
    applet::main(Applet::Check, None)
}
