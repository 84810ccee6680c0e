//! Other processes find no secret in the command line, the environment, the memory or a
//! core dump of the programs.
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
    CHECK, MUNIN, TestDir, skip,
    stranger::{NOBODY, as_user, is_possible, shared_test_dir},
};

const PASSWORD: &str = "c0rrect-h0rse-battery";

/// A program that has connected to the test, and is killed when dropped.
struct ConnectedProcess(Child);

impl Drop for ConnectedProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl ConnectedProcess {
    /// Starts the program and waits until it has connected to `listener`.
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

    /// Returns the memory mappings that contain one of `secrets`.
    fn find_in_memory(&self, secrets: &[&str]) -> Vec<String> {
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
            // Some mappings are not readable, such as [vvar].
            if !rights.starts_with('r') || memory.read_exact_at(&mut bytes, from).is_err() {
                continue;
            }
            n_read += bytes.len();
            for write_password in secrets {
                let places = memchr::memmem::find_iter(&bytes, write_password.as_bytes());
                found.extend(places.map(|_| format!("{write_password} in {line}")));
            }
        }
        assert!(n_read > 1024 * 1024, "the memory was not read");
        found
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }
}

/// Polls until there is a value, with time for a slow machine.
#[track_caller]
fn wait_until<T>(mut so: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = so() {
            return it;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "timed out");
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
        let dir = TestDir::new();
        let mut command = dir.command(&["-H", &format!("x@{address}"), "-t", "30"]);
        command.args(words).env("TOPIP_PASSWORD", PASSWORD);
        let (running, _peer) = ConnectedProcess::start(&mut command, &listener);
        for file in ["cmdline", "environ"] {
            let text = running.text(file);
            assert!(!text.contains(PASSWORD), "{words:?} in {file}: {text}");
            assert!(text.contains("xxxxxxxxxxxxxxxxxxxxx"), "{words:?} in {file}: {text}");
        }
    }
}

#[test]
fn munin_password_variable_is_wiped() {
    let (listener, address) = listener();
    let dir = TestDir::new();
    let mut command = dir.program(MUNIN, &["fetch"]);
    command.env("hostname", format!("x@{address}")).env("password", PASSWORD).env("timeout", "30");
    let (running, _peer) = ConnectedProcess::start(&mut command, &listener);
    let text = running.text("environ");
    assert!(text.contains("password=xxxxxxxxxxxxxxxxxxxxx ") && !text.contains(PASSWORD), "{text}");
}

/// Another process of the same user can read neither the memory nor the environment.
#[test]
fn memory_is_unreadable_for_same_user() {
    if !is_possible() {
        return;
    }
    let (listener, address) = listener();
    let dir = shared_test_dir();
    let mut command = as_user(NOBODY, dir.path("check_topip"));
    command.args(["-H", &format!("x@{address}"), "-t", "30"]).env("TOPIP_PASSWORD", PASSWORD);
    let (running, _peer) = ConnectedProcess::start(&mut command, &listener);
    for file in ["mem", "environ", "maps"] {
        let mut cat = as_user(NOBODY, "cat");
        let read = cat.arg(running.file(file)).output().unwrap();
        let stderr = String::from_utf8_lossy(&read.stderr).into_owned();
        assert!(stderr.contains("Permission denied"), "{file}: {stderr}");
    }
    assert!(!running.text("environ").contains(PASSWORD));
}

/// A crash does not leave a core dump.
#[test]
fn no_core_dump_while_holding_a_password() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let cores = |dir: &TestDir| {
        let names = fs::read_dir(dir.path(".")).unwrap();
        names
            .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().contains("core"))
            .count()
    };
    for signal in ["ABRT", "SEGV"] {
        let dir = TestDir::new();
        let script = "ulimit -c unlimited; exec \"$0\" \"$@\"";
        // A program without secrets does leave one, which shows that core dumps are
        // enabled.
        let is_possible = !pattern.contains(['/', '|']) && {
            let mut command = dir.program("sh", &["-c", script, "sleep", "60"]);
            let running = ConnectedProcess(command.env("PATH", "/bin:/usr/bin").spawn().unwrap());
            wait_until(|| running.text("cmdline").starts_with("sleep").then_some(()));
            kill_with(running, signal);
            cores(&dir) == 1
        };
        let (listener, address) = listener();
        let dir = TestDir::new();
        let args = ["-c", script, CHECK, "-H", &format!("x@{address}"), "-t", "30"];
        let mut command = dir.program("sh", &args);
        let (running, _peer) =
            ConnectedProcess::start(command.env("TOPIP_PASSWORD", PASSWORD), &listener);
        kill_with(running, signal);
        assert_eq!(cores(&dir), 0, "{signal}");
        if !is_possible {
            return skip("core dumps in the current directory");
        }
    }
}

fn kill_with(mut running: ConnectedProcess, signal: &str) {
    // The first SIGSEGV that is not a real fault only removes the signal handler of the
    // Rust runtime.
    let status = wait_until(|| {
        running.signal(signal);
        running.0.try_wait().unwrap()
    });
    assert!(status.signal().is_some(), "{status}");
}

/// Acts as a mail server that accepts the login and then waits.
fn run_mail_dialogue(mut peer: TcpStream, offer: &str, answers: &[&str]) -> TcpStream {
    peer.write_all(b"220 here\r\n").unwrap();
    let mut reader = BufReader::new(peer.try_clone().unwrap());
    let offer = format!("250-here\r\n250 AUTH {offer}\r\n");
    let mut line = String::new();
    for answer in [&offer].into_iter().map(String::as_str).chain(answers.iter().copied()) {
        reader.read_line(&mut line).unwrap();
        peer.write_all(answer.as_bytes()).unwrap();
    }
    // The next command shows that the client has processed the last reply.
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("MAIL FROM"), "{line}");
    peer
}

#[test]
fn mail_password_is_wiped_from_memory() {
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
        let dir = TestDir::new();
        dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
        write_password(&dir.path("password"));
        let url = format!("smtp://monitor@{address}?tls=none");
        let mut command = dir.command(&["--input", "listing", "--consecutive", "1", "-t", "60"]);
        command.args(["-a", "a@example.com,b@example.com", "--smtp", &url]);
        command.args(["--smtp-password-file", "password"]);
        let (running, peer) = ConnectedProcess::start(&mut command, &listener);
        let _peer = run_mail_dialogue(peer, offer, answers);
        assert_held_once(&running.find_in_memory(&secrets));
    }
}

/// Asserts that the password is in memory once, as long as it is needed, and that no
/// library has kept another copy or encoding.
#[track_caller]
fn assert_held_once(found: &[String]) {
    assert!(matches!(found, [one] if one.starts_with(PASSWORD)), "{found:#?}");
}

fn write_password(path: &Path) {
    write_private(path, &format!("{PASSWORD}\n"));
}

fn write_settings(path: &Path) {
    write_private(path, &format!("[check_topip]\npassword = {PASSWORD}\n"));
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn server_password_is_wiped_from_memory() {
    use crate::support::sshd::{SshFixture, is_possible};
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new(
        "/bin/sh",
        "PasswordAuthentication yes\nForceCommand touch $HOME/in; sleep 60",
    );
    fixture.account.set_password(PASSWORD);
    write_password(&fixture.dir.path("password"));
    write_settings(&fixture.dir.path("topip.ini"));
    let login_marker = fixture.account.home.join("in");
    for (args, variable) in [
        (&["--password-file", "password"][..], ""),
        (&["--extra-opts=@topip.ini"], ""),
        (&[], PASSWORD),
    ] {
        let _ = fs::remove_file(&login_marker);
        let mut command = fixture.command(&[args, &["-t", "60"]].concat());
        command.env("TOPIP_PASSWORD", variable).stdout(Stdio::null());
        let running = ConnectedProcess(command.spawn().unwrap());
        // The login is complete, and the check waits for the listing.
        wait_until(|| login_marker.exists().then_some(()));
        assert_held_once(&running.find_in_memory(&[PASSWORD]));
    }
}
