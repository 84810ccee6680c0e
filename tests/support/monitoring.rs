//! Monitoring daemons on loopback, in a folder of the test's own, as init systems
//! start them.
use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{CHECK, Room, copy_of, daemon::do_run, file};

/// What a daemon gets for PATH.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a daemon may take for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether these are there, and this is root; says aloud if not.
pub fn is_possible(programs: &[&str]) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let missing: Vec<_> = programs.iter().filter(|it| !Path::new(it).exists()).collect();
    if !is_root || !missing.is_empty() {
        super::skip(&format!("root or {missing:?}"));
    }
    is_root && missing.is_empty()
}

/// A program with the environment of a daemon.
pub fn bare(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").stdin(Stdio::null());
    command
}

/// A program that runs until it is dropped.
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
        // Asked first, so that it ends what it has started in groups of their own.
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let asked = Instant::now();
        while !self.has_ended() && asked.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{id}")]).output();
        let _ = self.child.wait();
    }
}

/// Waits until there is something.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A room of the user nagios, with the check in it.
pub fn room_of_nagios(folders: &[&str]) -> Room {
    let room = Room::new();
    fs::set_permissions(room.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    copy_of(CHECK, &room.path("check_topip"));
    for folder in folders {
        fs::create_dir_all(room.path(folder)).unwrap();
    }
    give_to_nagios(&room);
    room
}

/// Gives all that is in there to the user nagios.
pub fn give_to_nagios(room: &Room) {
    do_run("chown", &["-R", "nagios:nagios", room.path(".").to_str().unwrap()]);
}

/// A file of the package, in which the plugins are those of `room`.
pub fn shipped(name: &str, room: &Room) -> String {
    let text = fs::read_to_string(packaging(name)).unwrap();
    let check = room.path("check_topip").display().to_string();
    text.replace("/usr/lib/nagios/plugins/check_topip", &check)
}

/// A file that is packaged.
pub fn packaging(name: &str) -> PathBuf {
    file("../packaging").join(name)
}
