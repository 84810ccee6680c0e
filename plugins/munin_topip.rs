//! `munin_topip`, the plugin for Munin.
use std::process::ExitCode;

use topip::applet::{self, Applet};

fn main() -> ExitCode {
    applet::main(Applet::Munin, None)
}
