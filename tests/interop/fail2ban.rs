//! fail2ban with the packaged files, on the alert log of topip.
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

#[cfg(feature = "mail")]
use crate::support::postfix::Postfix;
use crate::support::{CHECK, CommandResult, LOG, PACKAGE_DIR, TestDir, run, skip, test_file};

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

/// The filter matches lines with every JSON member that topip writes, and does not take a line
/// about a group for one about an address.
#[test]
fn filter_matches_lines_with_all_members() {
    if !has_fail2ban() {
        return skip("fail2ban");
    }
    let dir = TestDir::new();
    let mut rows = String::from("State Recv-Q Send-Q Local Address:Port Peer Address:Port\n");
    for port in 0..40 {
        let local = ["192.0.2.10", "192.0.2.11"][port % 2];
        rows += &format!("ESTAB 0 0 {local}:443 203.0.113.7:{}\n", 40_000 + port);
    }
    let database = test_file("fixtures/network_db").join("ipinfo.mmdb");
    let args = ["--limit", "10", "--log", "log", "--log-format", "json", "--state-file", "state"];
    let label = ["--label", "203.0.113.7=a, \"b\"", "--group-by", "asn,country,label"];
    let database = ["--network-db", database.to_str().unwrap()];
    for _ in 0..3 {
        dir.check_listing(&rows, &[&args[..], &label, &database].concat());
    }
    let log = fs::read_to_string(dir.path("log")).unwrap();
    for member in ["label", "asn", "operator", "country", "first_on_top", "local_addresses"] {
        assert!(log.contains(&format!("\"{member}\":")), "{log}");
    }
    assert_eq!(log.lines().count(), 2 * 4, "{log}");
    assert_eq!(filtered_addresses("filter.d/topip.conf", &log), ["203.0.113.7"; 2]);
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
        classic.replace(
            "from 203.0.113.9",
            "of AS64500 Example Net: 203.0.113.9 (152), 1 other addresses",
        ),
        classic.replace("from 203.0.113.9", "of label 203.0.113.9: 2 other addresses"),
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

#[test]
fn syslog_filter_matches_rfc5424_logs() {
    if !has_fail2ban() {
        return skip("fail2ban");
    }
    let good = "<28>1 2026-11-28T23:40:34+01:00 www topip 4711 - - 152 connections from 203.0.113.7\n\
                <28>1 2026-11-28T23:40:34.123456Z www topip - - -  9 connections from 2001:db8::/64 on web1\n\
                <28>1 2026-11-28T23:40:34Z www topip 4711 - [meta id=\"1\"][x@1 y=\"\\\"]\"] 9 connections from 203.0.113.8\n";
    let bad = "<28>1 2026-11-28T23:40:34Z www sshd 1 - - topip 4711 - - 152 connections from 203.0.113.9\n\
               <28>1 2026-11-28T23:40:34Z www sshd topip 1 - - 152 connections from 203.0.113.9\n\
               <28>1 2026-11-28T23:40:34Z www topip 1 - [x y=\"] 152 connections from 203.0.113.9\n\
               <28>1 2026-11-28T23:40:34Z www topip 1 - - 152 connections from 203.0.113.9 and more\n\
               <28>1 2026-11-28T23:40:34Z www nottopip 1 - - 152 connections from 203.0.113.9\n";
    assert_eq!(
        filtered_addresses("filter.d/topip-syslog.conf[logtype=rfc5424]", &format!("{bad}{good}")),
        ["203.0.113.7", "2001:db8::/64", "203.0.113.8"]
    );
    assert_eq!(filtered_addresses("filter.d/topip-syslog.conf", good), [""; 0]);
}

/// A fail2ban server with its own configuration, socket and database.
struct Fail2banServer {
    dir: TestDir,
    child: Child,
}

impl Fail2banServer {
    /// Starts a server with the packaged jail, and with these settings of an administrator.
    /// There is an action `file`, which writes to a file.
    fn start(log: &Path, settings: &str) -> Self {
        let dir = TestDir::new();
        let at = |name: &str| dir.path(name).display().to_string();
        for directory in ["etc/filter.d", "etc/action.d", "etc/jail.d"] {
            fs::create_dir_all(dir.path(directory)).unwrap();
        }
        for name in ["filter.d/topip.conf", "filter.d/topip-syslog.conf"] {
            fs::copy(packaged(name), dir.path("etc").join(name)).unwrap();
        }
        fs::copy(packaged("jail.d/topip.conf"), dir.path("etc/jail.d/topip.conf")).unwrap();
        for name in ["topip-ban", "topip-end", "topip-print"] {
            let name = format!("action.d/{name}.conf");
            let script = packaged("topip-ban").display().to_string();
            let action = fs::read_to_string(packaged(&name)).unwrap();
            let action = action.replace("/usr/lib/topip/topip-ban", &script);
            dir.write(&format!("etc/{name}"), action);
        }
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
        let local = format!(
            "[topip]\nenabled = true\nlogpath = {}\nbackend = polling\n{settings}\n",
            log.display()
        );
        dir.write("etc/jail.d/topip.local", local);
        let mut command = Self::command(&dir, "fail2ban-server");
        let child = command.args(["-f", "start"]).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { dir, child };
        // A command about a jail that does not exist yet is an error in the log.
        server.wait("to start the jail", || server.log().contains("Jail 'topip' started"));
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

    /// Runs a command of fail2ban-client.
    fn client(&self, args: &[&str]) -> CommandResult {
        run(Self::command(&self.dir, "fail2ban-client").args(args))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path("server.log")).unwrap_or_default()
    }

    /// Waits until fail2ban has decided to ban these addresses or networks.
    fn wait_for_bans(&self, banned: &[&str]) {
        self.wait("to ban", || {
            let log = self.log();
            banned.iter().all(|address| log.contains(&format!("[topip] Ban {address}\n")))
        });
    }

    fn wait(&self, condition: &str, is_met: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !is_met() {
            assert!(Instant::now() < until, "waiting for fail2ban {condition}:\n{}", self.log());
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
    // Use the configuration of the distribution, enabled, with the packaged action.
    let dir = TestDir::new();
    let etc = dir.path("etc");
    assert!(Command::new("cp").args(["-a", "/etc/fail2ban"]).arg(&etc).status().unwrap().success());
    for name in [
        "filter.d/topip.conf",
        "filter.d/topip-syslog.conf",
        "action.d/topip-ban.conf",
        "action.d/topip-end.conf",
        "action.d/topip-print.conf",
        "jail.d/topip.conf",
    ] {
        fs::copy(packaged(name), etc.join(name)).unwrap();
    }
    dir.write("log", "");
    let log = dir.path("log").display().to_string();
    for (settings, expected) in [
        ("[topip]\nenabled = true", "topip-ban ban f2b-topip <ip>"),
        // As the head of the packaged jail suggests.
        (
            "[topip]\nenabled = true\nport = http,https\nignoreip = 127.0.0.0/8 ::1 192.0.2.0/24\n\
             allow = %(ignoreip)s",
            "'127.0.0.0/8 ::1 192.0.2.0/24'",
        ),
        ("[topip-print]\nenabled = true", "nothing is banned"),
    ] {
        let local = format!("[sshd]\nenabled = false\n{settings}\nlogpath = {log}\n");
        dir.write("etc/jail.d/topip.local", local);
        let result = run(Command::new("fail2ban-client").arg("-c").arg(&etc).arg("-t"));
        assert_eq!(
            (result.code, &*result.stdout),
            (Some(0), "OK: configuration test is successful\n"),
            "{}",
            result.stderr
        );
        let result = run(Command::new("fail2ban-client").arg("-c").arg(&etc).arg("-d"));
        assert!(result.stdout.contains(expected.trim_matches('\'')), "{}", result.stdout);
        let bans = result.stdout.contains("topip-ban");
        assert_eq!(bans, !settings.contains("topip-print"), "{}", result.stdout);
    }
}

/// The file of a syslog daemon that writes the format of RFC 5424.
#[test]
fn addresses_in_rfc5424_log_are_banned() {
    if !has_fail2ban() {
        return skip("fail2ban");
    }
    let dir = TestDir::new();
    let log = dir.write("syslog", "");
    let settings = "filter = topip-syslog[logtype=rfc5424]\naction = file";
    let server = Fail2banServer::start(&log, settings);
    let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
    let time = now();
    writeln!(file, "<28>1 {time} www sshd 9 - - 9 connections from 203.0.113.9").unwrap();
    writeln!(file, "<28>1 {time} www topip 9 - -  9 connections from 203.0.113.7").unwrap();
    server.wait("to ban", || server.bans() == ["ban 203.0.113.7"]);
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
        let server = Fail2banServer::start(&log, "action = file\nignoreip = 203.0.113.8");
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
        // check_topip logs in another format.
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

/// A TCP server, and the connections to it. Both ends are on this host.
struct Clients {
    listener: TcpListener,
    streams: Vec<(IpAddr, TcpStream, TcpStream)>,
}

impl Clients {
    fn new(endpoint: &str) -> Self {
        Self { listener: TcpListener::bind(endpoint).unwrap(), streams: Vec::new() }
    }

    fn connect(&mut self, from: &str, n: usize) {
        let from = from.parse().unwrap();
        for _ in 0..n {
            let client = connect(from, self.listener.local_addr().unwrap());
            let server = self.listener.accept().unwrap().0;
            client.set_nonblocking(true).unwrap();
            server.set_nonblocking(true).unwrap();
            self.streams.push((from, client, server));
        }
    }

    /// Returns the number of open connections of this address. Sends a byte over each.
    fn open(&self, from: &str) -> usize {
        let from: IpAddr = from.parse().unwrap();
        let streams = self.streams.iter().filter(|(address, ..)| *address == from);
        streams.filter(|(_, client, server)| is_open(client, server)).count()
    }

    /// Returns the number of connections of this address that the server holds, open or stuck.
    fn held(&self, from: &str) -> usize {
        let port = self.listener.local_addr().unwrap().port();
        let filter = format!("state connected dst [{from}] sport = :{port}");
        let result = run(Command::new("ss").arg("-Htn").args(filter.split(' ')));
        assert_eq!((result.code, &*result.stderr), (Some(0), ""));
        result.stdout.lines().count()
    }

    /// Returns whether the server can be reached from this address.
    fn is_reachable(&self, from: &str) -> bool {
        let (from, to) = (from.parse().unwrap(), self.listener.local_addr().unwrap());
        let family = match from {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).unwrap();
        // The timeout limits connect(2), too.
        let timeout = Some(Duration::from_millis(900));
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, timeout).unwrap();
        rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
        let is_connected = rustix::net::connect(&socket, &to).is_ok();
        if is_connected {
            drop(self.listener.accept().unwrap());
        }
        is_connected
    }
}

/// Sends a byte from the client to the server. Returns false if either end is closed.
fn is_open(mut client: &TcpStream, mut server: &TcpStream) -> bool {
    let mut buffer = [0; 1];
    if client.write(b"x").is_err() {
        return false;
    }
    let until = Instant::now() + Duration::from_secs(1);
    loop {
        match server.read(&mut buffer) {
            Ok(1) => return true,
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                thread::sleep(Duration::from_millis(1));
            }
            _ => return false,
        }
    }
}

/// Returns whether addresses can be banned, and prints what is missing.
fn can_ban() -> bool {
    for program in ["fail2ban-client", "nft", "ss", "conntrack"] {
        if Command::new(program).arg("--version").output().is_err() {
            skip(program);
            return false;
        }
    }
    true
}

/// Maximum time from the decision to ban until the connections have ended: 0.2 s on an idle
/// machine, and the tests run in parallel.
const MAX_BAN_TIME: Duration = Duration::from_secs(3);

/// Waits until a condition is met after a ban.
#[track_caller]
fn assert_soon(condition: &str, is_met: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_met() {
        assert!(started.elapsed() < MAX_BAN_TIME, "{condition}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Two attackers that take turns on top. A third client of their network is over the limit
/// too, and protected.
#[cfg(feature = "mail")]
#[test]
fn attackers_that_swap_are_logged_mailed_and_banned() {
    if !can_ban() {
        return;
    }
    in_namespace(|| {
        let Some(postfix) = Postfix::start() else { return };
        let dir = TestDir::new();
        let log = dir.write("topip.log", "");
        let server = Fail2banServer::start(&log, "port = 443,8000:8100");
        let (first, second, protected) = ("203.0.113.137", "203.0.113.139", "203.0.113.138");
        let bystander = "198.51.100.200";
        let mut web = Clients::new("192.0.2.10:443");
        let mut ssh = Clients::new("192.0.2.10:22");
        for (from, n) in [(first, 31), (second, 30), (protected, 25), (bystander, 3)] {
            web.connect(from, n);
        }
        ssh.connect(first, 1);
        let url = format!("smtp://localhost:{}", postfix.clear);
        let args = ["-x", "192.0.2.10", "--stddev", "1", "--prefix4", "32,25", "--port", "443"];
        let args = [&args[..], &["--never-log", protected, "--log", "topip.log"]].concat();
        let args =
            [&args[..], &["-a", "topip@example.com,ops@example.com", "--smtp", &url]].concat();
        assert_eq!(run(&mut dir.program(LOG, &args)).stdout, "");
        web.connect(second, 2);
        let result = run(&mut dir.program(LOG, &args));
        let logged: Vec<_> =
            result.stdout.lines().map(|line| line.split_once(" - ").unwrap().1).collect();
        assert_eq!(
            logged,
            [format!("32 connections from {second}"), format!("31 connections from {first}")],
            "{result:?}"
        );
        let mails = postfix.mails(1);
        let network = "203.0.113.128/25";
        for text in [first, second, protected, network, "Not logged:"] {
            assert!(mails[0].contains(text), "{text}: {}", mails[0]);
        }
        server.wait_for_bans(&[first, second]);
        assert_eq!(web.held(protected), 25);
        assert_soon("connections end", || web.held(first) + web.held(second) == 0);
        let open = [web.open(protected), web.open(bystander), ssh.open(first)];
        assert_eq!(open, [25, 3, 1], "{}", server.log());
        let reachable = [first, second, protected, bystander].map(|from| web.is_reachable(from));
        assert_eq!(reachable, [false, false, true, true], "{}", server.log());
        assert!(ssh.is_reachable(first));
        assert!(!server.log().contains(" ERROR "), "{}", server.log());
        // The next sample has only the others, and the protected address is over the limit.
        let result = run(dir.program(CHECK, &args).args(["-v", "--consecutive", "1"]));
        let note = format!("not logged: {protected} (--never-log)");
        assert!(result.stdout.contains(&note), "{}", result.stdout);
        assert!(!result.stdout.contains(first), "{}", result.stdout);
        server.client(&["set", "topip", "unbanip", first]);
        server.wait("to unban", || web.is_reachable(first));
        // As a restart of nftables.service does.
        assert_eq!(run(Command::new("nft").args(["flush", "ruleset"])).code, Some(0));
        server.client(&["set", "topip", "banip", first]);
        server.wait("to ban", || !web.is_reachable(first));
    });
}

/// fail2ban does not find an ignored address in a network that is logged.
#[test]
fn allowed_address_in_banned_network_stays_reachable() {
    if !can_ban() {
        return;
    }
    in_namespace(|| {
        let dir = TestDir::new();
        let log = dir.write("topip.log", "");
        let action = "topip-ban[name=topip, port=\"%(port)s\", allow=\"%(allow)s\", conntrack=yes]";
        let server = Fail2banServer::start(
            &log,
            &format!(
                "ignoreip = 127.0.0.0/8 ::1 203.0.113.138\nallow = %(ignoreip)s\n\
                 port = 443\naction = {action}"
            ),
        );
        // A rule about states switches connection tracking on.
        let rules = "add table inet tracking\n\
                     add chain inet tracking input { type filter hook input priority 0; }\n\
                     add rule inet tracking input ct state new accept\n";
        dir.write("rules", rules);
        assert_eq!(run(Command::new("nft").arg("-f").arg(dir.path("rules"))).code, Some(0));
        let (banned, other, allowed) = ("203.0.113.137", "203.0.113.141", "203.0.113.138");
        let nat64 = "64:ff9b::203.0.113.137";
        // Otherwise the kernel would delete the flow of a closed connection after 10 s.
        let set_timeout = "echo 600 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close";
        assert_eq!(run(Command::new("sh").args(["-c", set_timeout])).code, Some(0));
        let route = ["-6", "route", "add", "local", "64:ff9b::/96", "dev", "lo"];
        assert_eq!(run(Command::new("ip").args(route)).code, Some(0));
        let mut web = Clients::new("192.0.2.10:443");
        let mut web6 = Clients::new("[2001:db8::10]:443");
        for from in [banned, other, allowed] {
            web.connect(from, 10);
        }
        web.connect("198.51.100.200", 1);
        web6.connect(nat64, 7);
        web6.connect("2001:db8:1::7", 1);
        let flows = |from: &str| {
            let command = format!("conntrack -L -p tcp -s {from} --dport 443 2>/dev/null | wc -l");
            run(Command::new("sh").args(["-c", &command])).stdout.trim().to_owned()
        };
        assert_eq!([flows(banned), flows(nat64), flows(allowed)], ["10", "7", "10"]);
        let args = ["-x", "192.0.2.10,2001:db8::10", "--stddev", "1", "--consecutive", "1"];
        let args =
            [&args[..], &["--prefix4", "25", "--prefix6", "64", "--log", "topip.log"]].concat();
        let result = run(&mut dir.program(LOG, &args));
        let network = "203.0.113.128/25";
        assert!(
            result.stdout.ends_with(&format!(" - 37 connections from {network}\n")),
            "{result:?}"
        );
        server.wait_for_bans(&[network]);
        assert_soon("connections end", || {
            web.held(banned) + web.held(other) + web6.held(nat64) == 0
        });
        let open = [web.open(allowed), web.open("198.51.100.200"), web6.open("2001:db8:1::7")];
        assert_eq!(open, [10, 1, 1], "{}", server.log());
        // A packet of this host to itself makes a flow before the ban drops it, so this comes
        // before the attempts to connect.
        server.wait("to delete flows", || flows(banned) == "0" && flows(nat64) == "0");
        assert_eq!(flows(allowed), "10");
        let reachable = [banned, other, allowed].map(|from| web.is_reachable(from));
        assert_eq!(reachable, [false, false, true], "{}", server.log());
        assert!(!web6.is_reachable(nat64));
        // Networks and addresses in them are banned and unbanned independently.
        for banned in [banned, "203.0.0.0/16"] {
            server.client(&["set", "topip", "banip", banned]);
        }
        server.client(&["set", "topip", "unbanip", network]);
        server.wait("to unban", || server.log().contains(&format!("Unban {network}\n")));
        server.client(&["set", "topip", "unbanip", "203.0.0.0/16"]);
        server.wait("to unban", || web.is_reachable(other));
        assert!(!web.is_reachable(banned));
        assert!(web.is_reachable(allowed));
        assert!(!server.log().contains(" ERROR "), "{}", server.log());
    });
}

#[test]
fn network_with_an_address_of_this_host_is_not_logged() {
    in_namespace(|| {
        let dir = TestDir::new();
        let mut web = Clients::new("192.0.2.10:443");
        web.connect("203.0.113.7", 30);
        web.connect("198.51.100.7", 1);
        let args = ["-x", "192.0.2.10", "--stddev", "1", "--consecutive", "1", "-v"];
        let args = [&args[..], &["--prefix4", "32,25,24", "--prefix6", "64", "--log", "topip.log"]]
            .concat();
        let result = run(&mut dir.program(LOG, &args));
        let own = "203.0.113.1, an address of this host";
        let note = format!(
            "Over the limit, but not logged: 203.0.113.0/25 (contains {own}); 203.0.113.0/24 \
             (contains {own}).\n"
        );
        assert!(result.stdout.contains(&note), "{}", result.stdout);
        let log = fs::read_to_string(dir.path("topip.log")).unwrap();
        assert!(log.ends_with(" - 30 connections from 203.0.113.7\n"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        // The same addresses in a saved listing may be those of another host.
        let listing = run(Command::new("ss").args(["-Htan"])).stdout;
        dir.write("listing", listing);
        let result = run(dir.program(LOG, &args).args(["--input", "listing"]));
        let log = fs::read_to_string(dir.path("topip.log")).unwrap();
        assert!(log.contains(" connections from 203.0.113.0/24 on input\n"), "{log}{result:?}");
    });
}
