//! `munin_topip`, the plugin for Munin.
use std::process::ExitCode;

use topip::cli::{self, Applet};

fn main() -> ExitCode {
    cli::main(Applet::Munin, None)
}
