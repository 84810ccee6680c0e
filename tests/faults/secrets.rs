//! Who looks into the process from beside it finds no secret: not in its command
//! line and environment, not in its memory, and not in what is left of it.
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    CHECK, MUNIN, Room, skip,
    stranger::{NOBODY, as_user, is_possible, open_room},
};

const PASSWORD: &str = "c0rrect-h0rse-battery";

/// A program that is ended when the test is.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts the program, and waits until it has connected to `listener`.
    fn start(command: &mut Command, listener: &TcpListener) -> (Self, TcpStream) {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = Self(child.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        listener.set_nonblocking(true).unwrap();
        let peer = wait_until(|| listener.accept().ok()).0;
        peer.set_nonblocking(false).unwrap();
        (child, peer)
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0.id())
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.file(name)).unwrap()).replace('\0', " ")
    }

    /// The parts of its memory that have one of `secrets`, by the names that the
    /// kernel has for them.
    fn memory_with(&self, secrets: &[&str]) -> Vec<String> {
        self.signal("STOP");
        let memory = File::open(self.file("mem")).unwrap();
        let mut found = Vec::new();
        let mut n_read = 0;
        for line in fs::read_to_string(self.file("maps")).unwrap().lines() {
            let mut words = line.split_whitespace();
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|it| u64::from_str_radix(it, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            // Such as [vvar] nobody can read.
            if !rights.starts_with('r') || memory.read_exact_at(&mut bytes, from).is_err() {
                continue;
            }
            n_read += bytes.len();
            for secret in secrets {
                let places = memchr::memmem::find_iter(&bytes, secret.as_bytes());
                found.extend(places.map(|_| format!("{secret} in {line}")));
            }
        }
        assert!(n_read > 1024 * 1024, "its memory was not read");
        found
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }
}

/// Tries for as long as a slow machine may take.
#[track_caller]
fn wait_until<T>(mut so: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = so() {
            return it;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "it did not come to that");
        thread::sleep(Duration::from_millis(10));
    }
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn every_spelling_of_a_password_is_wiped() {
    for words in [
        &["-p", PASSWORD][..],
        &[&format!("-p{PASSWORD}")],
        &[&format!("-p={PASSWORD}")],
        &[&format!("-vvp{PASSWORD}")],
        &["-4vp", PASSWORD],
        &["--password", PASSWORD],
        &[&format!("--password={PASSWORD}")],
        &["-v", "--password", PASSWORD, "-v"],
    ] {
        let (listener, address) = listener();
        let room = Room::new();
        let mut command = room.command(&["-H", &format!("x@{address}"), "-t", "30"]);
        command.args(words).env("TOPIP_PASSWORD", PASSWORD);
        let (running, _peer) = Running::start(&mut command, &listener);
        for file in ["cmdline", "environ"] {
            let text = running.text(file);
            assert!(!text.contains(PASSWORD), "{words:?} in {file}: {text}");
            assert!(text.contains("xxxxxxxxxxxxxxxxxxxxx"), "{words:?} in {file}: {text}");
        }
    }
}

#[test]
fn the_password_of_munins_settings_is_wiped() {
    let (listener, address) = listener();
    let room = Room::new();
    let mut command = room.program(MUNIN, &["fetch"]);
    command.env("hostname", format!("x@{address}")).env("password", PASSWORD).env("timeout", "30");
    let (running, _peer) = Running::start(&mut command, &listener);
    let text = running.text("environ");
    assert!(text.contains("password=xxxxxxxxxxxxxxxxxxxxx ") && !text.contains(PASSWORD), "{text}");
}

/// Another process of the same user reads neither its memory nor its environment.
#[test]
fn processes_of_the_same_user_cannot_look_in() {
    if !is_possible() {
        return;
    }
    let (listener, address) = listener();
    let room = open_room();
    let mut command = as_user(NOBODY, room.path("check_topip"));
    command.args(["-H", &format!("x@{address}"), "-t", "30"]).env("TOPIP_PASSWORD", PASSWORD);
    let (running, _peer) = Running::start(&mut command, &listener);
    for file in ["mem", "environ", "maps"] {
        let mut cat = as_user(NOBODY, "cat");
        let read = cat.arg(running.file(file)).output().unwrap();
        let complaint = String::from_utf8_lossy(&read.stderr).into_owned();
        assert!(complaint.contains("Permission denied"), "{file}: {complaint}");
    }
    assert!(!running.text("environ").contains(PASSWORD));
}

/// However it ends, it leaves no picture of its memory behind.
#[test]
fn there_is_no_core_dump_with_a_secret() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let cores = |room: &Room| {
        let names = fs::read_dir(room.path(".")).unwrap();
        names
            .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().contains("core"))
            .count()
    };
    for signal in ["ABRT", "SEGV"] {
        let room = Room::new();
        let script = "ulimit -c unlimited; exec \"$0\" \"$@\"";
        // Where nothing secret is held, there is one: so it is possible here.
        let is_possible = !pattern.contains(['/', '|']) && {
            let mut command = room.program("sh", &["-c", script, "sleep", "60"]);
            let running = Running(command.env("PATH", "/bin:/usr/bin").spawn().unwrap());
            wait_until(|| running.text("cmdline").starts_with("sleep").then_some(()));
            end(running, signal);
            cores(&room) == 1
        };
        let (listener, address) = listener();
        let room = Room::new();
        let args = ["-c", script, CHECK, "-H", &format!("x@{address}"), "-t", "30"];
        let mut command = room.program("sh", &args);
        let (running, _peer) = Running::start(command.env("TOPIP_PASSWORD", PASSWORD), &listener);
        end(running, signal);
        assert_eq!(cores(&room), 0, "{signal}");
        if !is_possible {
            return skip("core dumps in the current folder");
        }
    }
}

fn end(mut running: Running, signal: &str) {
    // The first SIGSEGV that is no fault of its own only takes Rust's handler away.
    let status = wait_until(|| {
        running.signal(signal);
        running.0.try_wait().unwrap()
    });
    assert!(status.signal().is_some(), "{status}");
}

/// A mail server that takes the login, and then waits.
fn mail_server(mut peer: TcpStream, offer: &str, answers: &[&str]) -> TcpStream {
    peer.write_all(b"220 here\r\n").unwrap();
    let mut reader = BufReader::new(peer.try_clone().unwrap());
    let offer = format!("250-here\r\n250 AUTH {offer}\r\n");
    let mut line = String::new();
    for answer in [&offer].into_iter().map(String::as_str).chain(answers.iter().copied()) {
        reader.read_line(&mut line).unwrap();
        peer.write_all(answer.as_bytes()).unwrap();
    }
    // The next command comes when it has understood the last answer.
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("MAIL FROM"), "{line}");
    peer
}

#[test]
fn a_password_for_mail_is_wiped_from_memory() {
    if !is_possible() {
        return;
    }
    use crate::support::crowd;
    let base64 = |text: String| {
        let mut child = Command::new("base64").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child = child.as_mut().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let mut encoded = String::new();
        child.stdout.take().unwrap().read_to_string(&mut encoded).unwrap();
        child.wait().unwrap();
        encoded.trim().to_owned()
    };
    let encoded = [base64(PASSWORD.to_owned()), base64(format!("\0monitor\0{PASSWORD}"))];
    let secrets = [PASSWORD, &encoded[0], &encoded[1]];
    for (offer, answers) in [
        ("PLAIN", &["235 come in\r\n"][..]),
        ("LOGIN", &["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n", "235 come in\r\n"]),
    ] {
        let (listener, address) = listener();
        let room = Room::new();
        room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
        secret(&room.path("password"));
        let url = format!("smtp://monitor@{address}?tls=none");
        let mut command = room.command(&["--input", "listing", "--consecutive", "1", "-t", "60"]);
        command.args(["-a", "a@example.com,b@example.com", "--smtp", &url]);
        command.args(["--smtp-password-file", "password"]);
        let (running, peer) = Running::start(&mut command, &listener);
        let _peer = mail_server(peer, offer, answers);
        is_held_once(&running.memory_with(&secrets));
    }
}

/// The password is kept for as long as it may be needed, in one place, and no
/// library has kept another, in whatever form.
#[track_caller]
fn is_held_once(found: &[String]) {
    assert!(matches!(found, [one] if one.starts_with(PASSWORD)), "{found:#?}");
}

fn secret(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_password_for_a_server_is_wiped_from_memory() {
    use crate::support::sshd::{World, is_possible};
    if !is_possible() {
        return;
    }
    let world =
        World::new("/bin/sh", "PasswordAuthentication yes\nForceCommand touch $HOME/in; sleep 60");
    world.account.set_password(PASSWORD);
    secret(&world.room.path("password"));
    let there = world.account.home.join("in");
    for (args, variable) in [(&["--password-file", "password"][..], ""), (&[], PASSWORD)] {
        let _ = fs::remove_file(&there);
        let mut command = world.command(&[args, &["-t", "60"]].concat());
        command.env("TOPIP_PASSWORD", variable).stdout(Stdio::null());
        let running = Running(command.spawn().unwrap());
        // It has logged in, and waits for a listing.
        wait_until(|| there.exists().then_some(()));
        is_held_once(&running.memory_with(&[PASSWORD]));
    }
}
