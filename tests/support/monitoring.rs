//! Monitoring daemons on loopback, in the directory of a test, with the environment that
//! init systems give them.
use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{CHECK, TestDir, copy_program, daemon::run_ok, test_file};

/// PATH of a daemon.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Maximum time to wait for a daemon.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Returns whether these programs exist and the test runs as root. Reports a skipped test
/// if not.
pub fn is_possible(programs: &[&str]) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let missing: Vec<_> = programs.iter().filter(|it| !Path::new(it).exists()).collect();
    if !is_root || !missing.is_empty() {
        super::skip(&format!("root or {missing:?}"));
    }
    is_root && missing.is_empty()
}

/// Returns a command with the environment of a daemon.
pub fn daemon_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").stdin(Stdio::null());
    command
}

/// A daemon that runs until it is dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    pub fn start(mut command: Command) -> Self {
        let child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let id = self.child.id().to_string();
        // Send SIGTERM first, so that the daemon ends its children in other process groups.
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let terminated_at = Instant::now();
        while !self.has_ended() && terminated_at.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{id}")]).output();
        let _ = self.child.wait();
    }
}

/// Polls until there is a value, and returns it.
#[track_caller]
pub fn wait_until<T>(event: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(started.elapsed() < MAX_WAIT, "timed out waiting for {event}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Creates a test directory of the user nagios, with check_topip in it.
pub fn nagios_test_dir(directories: &[&str]) -> TestDir {
    let dir = TestDir::new();
    fs::set_permissions(dir.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    copy_program(CHECK, &dir.path("check_topip"));
    for directory in directories {
        fs::create_dir_all(dir.path(directory)).unwrap();
    }
    chown_to_nagios(&dir);
    dir
}

/// Changes the owner of all files in the directory to the user nagios.
pub fn chown_to_nagios(dir: &TestDir) {
    run_ok("chown", &["-R", "nagios:nagios", dir.path(".").to_str().unwrap()]);
}

/// Returns the text of a packaged file, with the plugin path of `dir`.
pub fn packaged_config(name: &str, dir: &TestDir) -> String {
    let text = fs::read_to_string(packaging_path(name)).unwrap();
    let check = dir.path("check_topip").display().to_string();
    text.replace("/usr/lib/nagios/plugins/check_topip", &check)
}

/// Returns the path of a packaged file.
pub fn packaging_path(name: &str) -> PathBuf {
    test_file("../packaging").join(name)
}
