//! `topip_log`, the log for cron, systemd and people.
use std::process::ExitCode;

use topip::applet::{self, Applet};

fn main() -> ExitCode {
    applet::main(Applet::Log, None)
}
