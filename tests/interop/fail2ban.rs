//! fail2ban with the packaged files, on the alert log of topip.
use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{CHECK, CommandResult, LOG, PACKAGE_DIR, TestDir, run, skip};

use super::kernel::{connect, in_namespace};

fn packaged(name: &str) -> PathBuf {
    Path::new(PACKAGE_DIR).join("packaging/fail2ban").join(name)
}

fn has_fail2ban() -> bool {
    Command::new("fail2ban-regex").arg("--version").output().is_ok()
}

/// Returns the addresses that a filter finds in a log.
fn filtered_addresses(filter: &str, log: &str) -> Vec<String> {
    let dir = TestDir::new();
    let log = dir.write("log", log);
    let result =
        run(Command::new("fail2ban-regex").args(["-o", "ip"]).arg(&log).arg(packaged(filter)));
    assert_eq!(result.stderr, "");
    result.stdout.lines().map(ToOwned::to_owned).collect()
}

const DETAILS: &str = "\"ports\":[{\"port\":443,\"connections\":150},{\"port\":80,\"connections\":2}],\
    \"states\":[{\"state\":\"ESTABLISHED\",\"connections\":140},{\"state\":null,\"connections\":12}],\
    \"limit\":131.36,\"samples\":2,\"servers\":[\"localhost\"]}";

/// Returns a line about an address in each format, with and without a server.
fn lines(address: &str) -> [String; 6] {
    let message = format!("152 connections from {address}");
    let json = format!("{{\"time\":\"2007-11-28T23:40:34-05:00\",\"address\":\"{address}\",");
    // A label with special characters.
    let named = "\"label\":\"the \\\"of\\\\fice\\\"\",\"addresses\":7,\"connections\":152,\"first_on_top\":9,";
    [
        format!("Wed Nov 28 23:40:34 2007 - {message}"),
        format!("Sun Nov  4 23:40:34 2007 - {message} on web1,[2001:db8::1]:2222"),
        format!("2007-11-28T23:40:34-05:00 - {message}"),
        format!("2007-11-28T23:40:34Z - {message} on web1"),
        format!("{json}\"addresses\":1,\"connections\":152,{DETAILS}"),
        format!(
            "{json}{named}\"ports\":[],\"states\":[],\"limit\":10.0,\"samples\":1,\"servers\":[\"a\",\"b\"]}}"
        ),
    ]
}

#[test]
fn filter_matches_every_alert() {
    if !has_fail2ban() {
        return skip("fail2ban");
    }
    let addresses = ["203.0.113.7", "203.0.113.0/24", "2001:db8::7", "2001:db8:1::/48"];
    let log: Vec<_> = addresses.iter().flat_map(|address| lines(address)).collect();
    let expected: Vec<_> = addresses.iter().flat_map(|address| [*address; 6]).collect();
    assert_eq!(filtered_addresses("filter.d/topip.conf", &(log.join("\n") + "\n")), expected);
}

#[test]
fn filter_ignores_damaged_and_hostile_lines() {
    if !has_fail2ban() {
        return skip("fail2ban");
    }
    let [classic, _, rfc3339, _, json, _] = lines("203.0.113.9");
    let named = lines("victim.example");
    let mut log = vec![
        format!("{classic} [cut off]"),
        format!("{classic} on web1 - 152 connections from 192.0.2.1"),
        format!("{classic}{rfc3339}"),
        format!("x {classic}"),
        format!("{classic} on "),
        format!("{classic} on a b"),
        classic.replace("152", ""),
        classic.replace(" - ", " - x: "),
        rfc3339.replace("203.0.113.9", "203.0.113."),
        format!("{json}x"),
        json.replace("\"localhost\"", "\"a\"],\"x\":[\"b\""),
        json.replace(",\"limit\"", ",\"limits\""),
        json[..json.len() - 1].to_owned(),
        json.replace("\"address\"", "\"peer\""),
        json.replace("ESTABLISHED", "x\\\"y"),
        json.replace("\"addresses\"", "\"label\":\"\",\"x\":\"\",\"addresses\""),
        "[203.0.113.9]: 152 connections from 203.0.113.9".to_owned(),
    ];
    log.extend(named);
    assert_eq!(filtered_addresses("filter.d/topip.conf", &(log.join("\n") + "\n")), [""; 0]);
}

#[test]
fn syslog_filter_matches_only_topip_lines() {
    if !has_fail2ban() {
        return skip("fail2ban");
    }
    let good = "Nov 28 23:40:34 www topip[4711]: 152 connections from 203.0.113.7\n\
                2026-11-28T23:40:34.123456+01:00 www topip[4711]: 9 connections from 2001:db8::/64 on web1\n";
    let bad = "Nov 28 23:40:34 www sshd[1]: topip[4711]: 152 connections from 203.0.113.9\n\
               Nov 28 23:40:34 www topip[4711]: 152 connections from 203.0.113.9 and more\n\
               Nov 28 23:40:34 www nottopip[4711]: 152 connections from 203.0.113.9\n\
               Nov 28 23:40:34 www kernel: topip: 152 connections from 203.0.113.9\n";
    let all = format!("{bad}{good}");
    assert_eq!(
        filtered_addresses("filter.d/topip-syslog.conf", &all),
        ["203.0.113.7", "2001:db8::/64"]
    );
}

/// A fail2ban server with its own configuration, socket and database, and an action that
/// writes to a file.
struct Fail2banServer {
    dir: TestDir,
    child: Child,
}

impl Fail2banServer {
    fn start(log: &Path) -> Self {
        let dir = TestDir::new();
        let at = |name: &str| dir.path(name).display().to_string();
        for directory in ["etc/filter.d", "etc/action.d", "etc/jail.d"] {
            fs::create_dir_all(dir.path(directory)).unwrap();
        }
        fs::copy(packaged("filter.d/topip.conf"), dir.path("etc/filter.d/topip.conf")).unwrap();
        fs::copy(packaged("jail.d/topip.conf"), dir.path("etc/jail.d/topip.conf")).unwrap();
        let main = format!(
            "[Definition]\nloglevel = INFO\nlogtarget = {}\nsyslogsocket = auto\nsocket = {}\n\
             pidfile = {}\ndbfile = :memory:\ndbpurgeage = 1h\ndbmaxmatches = 10\n\
             allowipv6 = auto\n",
            at("server.log"),
            at("socket"),
            at("pid")
        );
        dir.write("etc/fail2ban.conf", main);
        dir.write("etc/jail.conf", "[DEFAULT]\nusedns = no\nignoreself = false\n");
        let action = format!("[Definition]\nactionban = echo 'ban <ip>' >>{}\n", at("bans"));
        dir.write("etc/action.d/file.conf", action);
        // Settings that an administrator adds.
        let local = format!(
            "[topip]\nenabled = true\nlogpath = {}\nbackend = polling\naction = file\n\
             ignoreip = 203.0.113.8\n",
            log.display()
        );
        dir.write("etc/jail.d/topip.local", local);
        let mut command = Self::command(&dir, "fail2ban-server");
        let child = command.args(["-f", "start"]).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { dir, child };
        server.wait("to answer", || {
            run(Self::command(&server.dir, "fail2ban-client").args(["status", "topip"])).code
                == Some(0)
        });
        server
    }

    fn command(dir: &TestDir, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(dir.path("etc"))
            .arg("-s")
            .arg(dir.path("socket"))
            .arg("-p")
            .arg(dir.path("pid"));
        command
    }

    fn bans(&self) -> Vec<String> {
        let bans = fs::read_to_string(self.dir.path("bans")).unwrap_or_default();
        bans.lines().map(ToOwned::to_owned).collect()
    }

    fn wait(&self, condition: &str, is_met: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !is_met() {
            let log = || fs::read_to_string(self.dir.path("server.log")).unwrap_or_default();
            assert!(Instant::now() < until, "waiting for fail2ban {condition}:\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Fail2banServer {
    fn drop(&mut self) {
        let _ = Self::command(&self.dir, "fail2ban-client").arg("stop").output();
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

#[test]
fn packaged_jail_is_disabled_and_valid() {
    if !has_fail2ban() {
        return skip("fail2ban");
    }
    let jail = fs::read_to_string(packaged("jail.d/topip.conf")).unwrap();
    assert!(jail.contains("\n[topip]\nenabled = false\n"), "{jail}");
    // With the configuration of the distribution, enabled, and with the packaged action.
    let dir = TestDir::new();
    let etc = dir.path("etc");
    assert!(Command::new("cp").args(["-a", "/etc/fail2ban"]).arg(&etc).status().unwrap().success());
    for name in [
        "filter.d/topip.conf",
        "filter.d/topip-syslog.conf",
        "action.d/topip-say.conf",
        "jail.d/topip.conf",
    ] {
        fs::copy(packaged(name), etc.join(name)).unwrap();
    }
    dir.write("log", "");
    let log = dir.path("log").display().to_string();
    let local = format!("[sshd]\nenabled = false\n[topip]\nenabled = true\nlogpath = {log}\n");
    dir.write("etc/jail.d/topip.local", local);
    let result = run(Command::new("fail2ban-client").arg("-c").arg(&etc).arg("-t"));
    assert_eq!(
        (result.code, &*result.stdout),
        (Some(0), "OK: configuration test is successful\n"),
        "{}",
        result.stderr
    );
    let result = run(Command::new("fail2ban-client").arg("-c").arg(&etc).arg("-d"));
    assert!(result.stdout.contains("would ban <ip>"), "{}", result.stdout);
    assert!(!result.stdout.contains("tables"), "{}", result.stdout);
}

/// One of several addresses has too many connections; a later one is on the ignore list.
#[test]
fn alerted_addresses_are_banned() {
    if !has_fail2ban() {
        return skip("fail2ban");
    }
    in_namespace(|| {
        let dir = TestDir::new();
        let log = dir.write("topip.log", "");
        let server = Fail2banServer::start(&log);
        let to: SocketAddr = "192.0.2.10:443".parse().unwrap();
        let listener = TcpListener::bind(to).unwrap();
        let mut streams = Vec::new();
        let mut flood = |from: &str, n: usize| {
            for _ in 0..n {
                streams.push((connect(from.parse().unwrap(), to), listener.accept().unwrap().0));
            }
        };
        flood("203.0.113.9", 30);
        flood("203.0.113.1", 3);
        // The server's own endpoints are excluded.
        let args = ["-x", "192.0.2.10", "--stddev", "1", "--log", "topip.log"];
        let alert = |program: &str, extra: &[&str]| -> CommandResult {
            run(dir.program(program, &args).args(extra))
        };
        assert_eq!(alert(LOG, &[]).stdout, "");
        assert!(server.bans().is_empty());
        let result = alert(LOG, &[]);
        assert!(result.stdout.ends_with(" - 30 connections from 203.0.113.9\n"), "{result:?}");
        server.wait("to ban", || server.bans() == ["ban 203.0.113.9"]);
        // From check_topip, in another format.
        flood("203.0.113.7", 60);
        let result = alert(CHECK, &["--consecutive", "1", "--log-format", "json"]);
        assert_eq!(result.code, Some(2), "{result:?}");
        server.wait("to ban", || server.bans() == ["ban 203.0.113.9", "ban 203.0.113.7"]);
        // Ignored addresses and truncated lines do not cause a ban.
        flood("203.0.113.8", 120);
        alert(LOG, &["--consecutive", "1", "--log-format", "rfc3339"]);
        let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
        writeln!(file, "{} - 9 connections from 203.0.113.5 [cut off]", now()).unwrap();
        flood("203.0.113.6", 200);
        alert(LOG, &["--consecutive", "1", "--log-format", "rfc3339"]);
        let expected = ["ban 203.0.113.9", "ban 203.0.113.7", "ban 203.0.113.6"];
        server.wait("to ban", || server.bans().len() >= 3);
        assert_eq!(server.bans(), expected);
    });
}

fn now() -> String {
    let result = run(Command::new("date").arg("+%Y-%m-%dT%H:%M:%S%:z"));
    result.stdout.trim().to_owned()
}
