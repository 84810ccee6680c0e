//! Runs the programs under test and captures their results.
use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub mod daemon;
pub mod faketime;
pub mod icinga;
pub mod mmdb;
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

/// The directory of this package.
pub const PACKAGE_DIR: &str = env!("CARGO_MANIFEST_DIR");
/// The check_topip executable.
pub const CHECK: &str = env!("CARGO_BIN_EXE_check_topip");
/// The munin_topip executable.
pub const MUNIN: &str = env!("CARGO_BIN_EXE_munin_topip");

/// The topip_log executable.
pub const LOG: &str = env!("CARGO_BIN_EXE_topip_log");

/// Output, exit code and duration of a command.
#[derive(Debug)]
pub struct CommandResult {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
    pub elapsed: Duration,
}

impl CommandResult {
    /// Returns the status line without perfdata.
    pub fn status_line(&self) -> &str {
        let line = self.stdout.lines().next().unwrap_or_default();
        line.split(" | ").next().unwrap()
    }

    /// Returns the exit code and the status line as one text.
    pub fn code_and_status(&self) -> String {
        let code = self.code.map_or("killed".to_owned(), |code| code.to_string());
        format!("{code} {}", self.status_line())
    }
}

/// A temporary directory for the state file and the input of a check.
pub struct TestDir {
    directory: TempDir,
}

impl TestDir {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Creates an executable file of this name and returns its path.
    pub fn script(&self, name: &str, text: &str) -> String {
        let path = self.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Returns a check_topip command with a minimal environment that runs in this
    /// directory.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        self.program(CHECK, args)
    }

    /// Runs topip_log in this directory.
    pub fn run_log(&self, args: &[impl AsRef<OsStr>]) -> CommandResult {
        run(&mut self.program(LOG, args))
    }

    /// Returns a command with a minimal environment that runs in this directory.
    pub fn program(&self, executable: &str, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(executable);
        command
            .args(args)
            .env_clear()
            .env("HOME", self.directory.path())
            .env("MP_STATE_PATH", self.directory.path())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    pub fn check(&self, args: &[impl AsRef<OsStr>]) -> CommandResult {
        run(&mut self.command(args))
    }

    /// Runs check_topip on a listing.
    pub fn check_listing(&self, listing: impl AsRef<[u8]>, args: &[&str]) -> CommandResult {
        let path = self.write("listing", listing);
        self.check(&[&["--input", path.to_str().unwrap()][..], args].concat())
    }
}

/// Returns a command that uses the name server on port 53 of this network namespace, and
/// these lines of /etc/hosts. It has a minimal environment and runs in the directory.
pub fn with_name_server(dir: &TestDir, hosts: &str, words: &[impl AsRef<OsStr>]) -> Command {
    let script = "mount --bind resolv.conf /etc/resolv.conf && mount --bind hosts /etc/hosts || \
                  exit 99; exec \"$@\"";
    dir.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    dir.write("hosts", hosts);
    let mut command = dir.program("unshare", &["-m", "sh", "-c", script, "sh"]);
    command.args(words).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> CommandResult {
    let started = Instant::now();
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    CommandResult {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        code: output.status.code(),
        elapsed: started.elapsed(),
    }
}

/// Copies a program to a place where any user can run it, with topip-remote next to it.
pub fn copy_program(program: &str, to: &Path) {
    copy_executable(program, to);
    let remote = Path::new(program).with_file_name("topip-remote");
    if remote.exists() {
        copy_executable(remote.to_str().unwrap(), &to.with_file_name("topip-remote"));
    }
}

/// Copies an executable.
///
/// It uses cp(1): if this process wrote the copy, a child of another test could inherit the
/// open descriptor, and running the copy would fail with ETXTBSY.
pub fn copy_executable(program: &str, to: &Path) {
    let copied = Command::new("cp").arg(program).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Returns a netstat listing with the given number of connections for each address.
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

/// Returns a listing of the `n` addresses from 198.51.100.1 on with one connection each,
/// and of `more`.
pub fn crowd(n: usize, more: &[(&str, usize)]) -> String {
    let addresses: Vec<_> = (1..=n).map(|host| format!("198.51.100.{host}")).collect();
    let ones = addresses.iter().map(|address| (address.as_str(), 1));
    listing(&ones.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// Waits until a socket listens on this port in the network namespace of this thread.
pub fn wait_for_listener(port: u16) {
    let started = Instant::now();
    // Ask the kernel: connecting to the port would create a connection that is counted.
    let listens = || {
        let args = ["-Htln", "sport", "=", &port.to_string()];
        !Command::new("ss").args(args).output().unwrap().stdout.is_empty()
    };
    while !listens() {
        assert!(started.elapsed() < Duration::from_secs(10), "no listener on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reports that a test is skipped because `requirement` is missing. Panics if `CI` is set: in CI,
/// no test may be skipped.
pub fn skip(requirement: &str) {
    assert!(std::env::var_os("CI").is_none(), "missing in CI: {requirement}");
    eprintln!("SKIPPED, missing: {requirement}");
}

/// Returns the path of a file below `tests`.
pub fn test_file(name: &str) -> PathBuf {
    Path::new(PACKAGE_DIR).join("tests").join(name)
}
