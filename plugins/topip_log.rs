//! `topip_log`, the alert log for cron, systemd and interactive use.
use std::process::ExitCode;

use topip::cli::{self, Applet};

fn main() -> ExitCode {
    cli::main(Applet::Log, None)
}
