//! `topip-remote`, which the other programs execute to log in to servers or to mail an
//! alert. It links OpenSSL, which takes longer to load than a sample of this host
//! takes.
use std::process::ExitCode;

use topip::cli::{self, Applet, RemoteSupport};

fn main() -> ExitCode {
    cli::main(Applet::Check, Some(RemoteSupport::ALL))
}
