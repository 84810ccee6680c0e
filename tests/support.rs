//! Runs the programs under test, and says what they did.
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub mod daemon;
pub mod faketime;
pub mod icinga;
pub mod monitoring;
pub mod munin;
pub mod nagios;
#[cfg(feature = "mail")]
pub mod postfix;
#[cfg(any(feature = "ssh", feature = "mail"))]
pub mod proxy;
#[cfg(feature = "ssh")]
pub mod sshd;
pub mod stranger;
pub mod topology;

/// The folder of this package.
pub const HOME: &str = env!("CARGO_MANIFEST_DIR");
/// The program under test.
pub const CHECK: &str = env!("CARGO_BIN_EXE_check_topip");
/// The plugin for Munin.
pub const MUNIN: &str = env!("CARGO_BIN_EXE_munin_topip");

/// The log.
pub const LOG: &str = env!("CARGO_BIN_EXE_topip_log");

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
    pub took: Duration,
}

impl Ran {
    /// The status line without its perfdata.
    pub fn line(&self) -> &str {
        let line = self.stdout.lines().next().unwrap_or_default();
        line.split(" | ").next().unwrap()
    }

    /// The exit code and the status line, in one text to compare.
    pub fn answer(&self) -> String {
        let code = self.code.map_or("killed".to_owned(), |code| code.to_string());
        format!("{code} {}", self.line())
    }
}

/// A folder in which a check has its state, and nothing else.
pub struct Room {
    folder: TempDir,
}

impl Room {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The check, with a bare environment and this folder as its own.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        self.program(CHECK, args)
    }

    /// The log, likewise.
    pub fn log(&self, args: &[impl AsRef<OsStr>]) -> Ran {
        run(&mut self.program(LOG, args))
    }

    /// A program, likewise.
    pub fn program(&self, executable: &str, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(executable);
        command
            .args(args)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("MP_STATE_PATH", self.folder.path())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub fn check(&self, args: &[impl AsRef<OsStr>]) -> Ran {
        run(&mut self.command(args))
    }

    /// The check on a listing.
    pub fn judge(&self, listing: impl AsRef<[u8]>, args: &[&str]) -> Ran {
        let path = self.write("listing", listing);
        self.check(&[&["--input", path.to_str().unwrap()][..], args].concat())
    }
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Ran {
    let started = Instant::now();
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("an answer is UTF-8");
    Ran {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        code: output.status.code(),
        took: started.elapsed(),
    }
}

/// Puts a program where any user can run it, with what it becomes where it reaches
/// beyond this machine beside it.
pub fn copy_of(program: &str, to: &Path) {
    copied(program, to);
    let remote = Path::new(program).with_file_name("topip-remote");
    if remote.exists() {
        copied(remote.to_str().unwrap(), &to.with_file_name("topip-remote"));
    }
}

/// Copies an executable.
///
/// By cp(1): were the copy written by this process, another test's child might
/// still have it open for writing, and nobody could run it.
pub fn copied(program: &str, to: &Path) {
    let copied = Command::new("cp").arg(program).arg(to).status();
    assert!(copied.unwrap().success());
}

/// A listing of net-tools in which each address has so many connections.
pub fn listing(counts: &[(&str, usize)]) -> String {
    let mut text = "Active Internet connections (w/o servers)\n\
                    Proto Recv-Q Send-Q Local Address           Foreign Address         State\n"
        .to_owned();
    for (address, n) in counts {
        for port in 0..*n {
            text += &format!("tcp 0 0 192.0.2.10:443 {address}:{} ESTABLISHED\n", 40000 + port);
        }
    }
    text
}

/// The `n` addresses 198.51.100.1 and up, with a connection each, and more.
pub fn crowd(n: usize, more: &[(&str, usize)]) -> String {
    let addresses: Vec<_> = (1..=n).map(|host| format!("198.51.100.{host}")).collect();
    let ones = addresses.iter().map(|address| (address.as_str(), 1));
    listing(&ones.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// Waits until somebody listens at that port of this thread's network namespace.
pub fn listens_at(port: u16) {
    let started = Instant::now();
    // To connect to it would make a connection that is seen: ask the kernel.
    let listens = || {
        let args = ["-Htln", "sport", "=", &port.to_string()];
        !Command::new("ss").args(args).output().unwrap().stdout.is_empty()
    };
    while !listens() {
        assert!(started.elapsed() < Duration::from_secs(10), "nobody listens at {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a test may be left out for want of `what`; says so aloud. Under
/// `CI` nothing is left out.
pub fn skip(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI must have it: {what}");
    eprintln!("SKIPPED, for want of {what}");
}

/// A file below the tests.
pub fn file(name: &str) -> PathBuf {
    Path::new(HOME).join("tests").join(name)
}
