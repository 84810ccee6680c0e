//! `topip_log`, the log for cron, systemd and people.
use std::process::ExitCode;

use topip::cli::{self, Applet};

fn main() -> ExitCode {
    cli::main(Applet::Log, None)
}
