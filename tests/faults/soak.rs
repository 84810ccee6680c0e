//! A day of samples, one per second, while connections and attackers come and go, logs are
//! rotated and the mail server fails at times.
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{
    is_exhaustive,
    resource_usage::{WatchProcess, run_with_peak_memory},
    status_line::assert_clean,
};
use crate::{
    interop::kernel::{connect, in_namespace},
    support::{
        CHECK, CommandResult, LOG, MUNIN, PACKAGE_DIR, TestDir, daemon::free_port, faketime,
        postfix::Postfix, run, skip,
    },
};

/// Returns the number of samples, which `FAULTS_SAMPLES` overrides.
fn n_samples() -> usize {
    match env::var("FAULTS_SAMPLES") {
        Ok(n) => n.parse().unwrap(),
        Err(_) if is_exhaustive() => 86_400,
        Err(_) => 600,
    }
}

const SERVER: &str = "192.0.2.10";
const MAIL_ADDRESSES: &str = "topip@example.com,ops@example.com";

/// Both endpoints of a connection.
type Pair = (TcpStream, TcpStream);

/// The sampled host and its services, second by second.
struct SoakRun {
    dir: TestDir,
    postfix: Postfix,
    faketime: String,
    listener: TcpListener,
    crowd: Vec<Pair>,
    short_lived: Vec<Pair>,
    attack: Vec<Pair>,
    closed_port: u16,
    costs_by_program: BTreeMap<&'static str, Vec<SampleCost>>,
    n_critical: usize,
    n_not_mailed: usize,
}

/// Duration of a sample, and memory in KiB for some of them.
struct SampleCost {
    time: Duration,
    memory: Option<u64>,
}

impl SoakRun {
    fn new(postfix: Postfix, faketime: String) -> Self {
        let listener = TcpListener::bind((SERVER, 443)).unwrap();
        let mut soak = Self {
            dir: TestDir::new(),
            postfix,
            faketime,
            listener,
            crowd: Vec::new(),
            short_lived: Vec::new(),
            attack: Vec::new(),
            closed_port: free_port(),
            costs_by_program: BTreeMap::new(),
            n_critical: 0,
            n_not_mailed: 0,
        };
        soak.crowd = (1..=40).map(|host| soak.connection([198, 51, 100, host].into())).collect();
        fs::create_dir(soak.dir.path("log")).unwrap();
        soak
    }

    fn connection(&self, from: IpAddr) -> Pair {
        let client = connect(from, SocketAddr::new(SERVER.parse().unwrap(), 443));
        (client, self.listener.accept().unwrap().0)
    }

    /// Opens and closes connections. Each minute there is an attack of twenty seconds from
    /// another address.
    fn change_connections(&mut self, n: usize) {
        for k in 0..10 {
            let from = [198, 51, 100, u8::try_from((n * 10 + k) % 250 + 1).unwrap()];
            self.short_lived.push(self.connection(from.into()));
        }
        let over = self.short_lived.len().saturating_sub(100);
        self.short_lived.drain(..over).for_each(reset);
        match n % 60 {
            20 => {
                let attacker = [203, 0, 113, u8::try_from(n / 60 % 50 + 1).unwrap()];
                self.attack = (0..120).map(|_| self.connection(attacker.into())).collect();
            }
            40 => self.attack.drain(..).for_each(reset),
            _ => {}
        }
        if n % 100 == 99 {
            self.rotate();
        }
    }

    fn rotate(&self) {
        let path = |name: &str| self.dir.path(name);
        let log = path("log/topip.log");
        let packaged = fs::read_to_string(Path::new(PACKAGE_DIR).join("packaging/logrotate/topip"));
        let config = packaged.unwrap().replace("/var/log/topip.log", log.to_str().unwrap());
        let (config, state) = (self.dir.write("logrotate", config), path("rotated"));
        let result = run(Command::new("logrotate").arg("-f").arg("-s").arg(state).arg(config));
        assert_eq!(result.code, Some(0), "{}", result.stderr);
    }

    /// Returns a command whose clock shows `n` seconds after midnight.
    fn command(&self, program: &str, args: &[&str], n: usize) -> Command {
        let mut command = self.dir.program(program, args);
        let (hours, minutes, seconds) = (n / 3600 % 24, n / 60 % 60, n % 60);
        command
            .env("LD_PRELOAD", &self.faketime)
            .env("FAKETIME", format!("@2026-11-28 {hours:02}:{minutes:02}:{seconds:02}"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("TZ", "UTC");
        command
    }

    /// Returns a mail server that accepts mail, refuses connections, or defers mail, in
    /// turn.
    fn mail(&self, n: usize) -> (String, &'static str) {
        match n / 90 % 3 {
            0 => (format!("smtp://localhost:{}", self.postfix.clear), MAIL_ADDRESSES),
            1 => (format!("smtp://localhost:{}", self.closed_port), MAIL_ADDRESSES),
            _ => {
                let to = "topip@example.com,later@example.com";
                (format!("smtp://localhost:{}", self.postfix.clear), to)
            }
        }
    }

    fn sample(&mut self, n: usize) {
        let (url, order) = self.mail(n);
        let check = ["-x", SERVER, "-l", "log/topip.log", "-a", order, "--smtp", &url];
        let check = [&check[..], &["--remind", "30", "--recovery", "-t", "8"]].concat();
        let record = ["record", "-x", SERVER, "-l", "log/topip.log"];
        let (name, mut command) = match n % 3 {
            0 => ("check_topip", self.command(CHECK, &check, n)),
            1 => ("munin_topip", self.command(MUNIN, &[], n)),
            _ => ("topip_log", self.command(LOG, &record, n)),
        };
        command.env("exclude", SERVER);
        let (result, memory) = match n / 3 % 10 {
            0 => {
                let (result, memory) = run_with_peak_memory(&mut command);
                (result, Some(memory))
            }
            _ => (run(&mut command), None),
        };
        self.assert_expected(name, &result);
        self.costs_by_program
            .entry(name)
            .or_default()
            .push(SampleCost { time: result.elapsed, memory });
    }

    #[track_caller]
    fn assert_expected(&mut self, name: &str, result: &CommandResult) {
        match name {
            "check_topip" => {
                assert_clean(result);
                let is_mail = result.stdout.to_lowercase().contains("mail not sent: ");
                assert!(result.code != Some(3) || is_mail, "{result:?}");
                self.n_critical += usize::from(result.code == Some(2));
                self.n_not_mailed += usize::from(is_mail);
            }
            "munin_topip" => {
                assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{result:?}");
                assert!(result.stdout.contains("connections_max.value "), "{result:?}");
                assert!(!result.stdout.contains(".value U"), "{result:?}");
            }
            _ => {
                assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{result:?}");
                let is_alert = result.stdout.contains(" connections from 203.0.113.");
                assert!(result.stdout.is_empty() || is_alert, "{result:?}");
            }
        }
    }

    /// Returns the files of the test directory, except those of the mail server, and the
    /// length of the longest state file.
    fn files(&self) -> (BTreeSet<String>, u64) {
        let mut names = BTreeSet::new();
        let mut max_state_bytes = 0;
        let mut directories = vec![self.dir.path("")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::metadata(&path).unwrap();
                if metadata.is_dir() {
                    directories.push(path);
                    continue;
                }
                let name = path.strip_prefix(self.dir.path("")).unwrap().display().to_string();
                if name.ends_with(".ron") {
                    max_state_bytes = max_state_bytes.max(metadata.len());
                }
                names.insert(name);
            }
        }
        (names, max_state_bytes)
    }
}

/// Closes a connection by a reset, without TIME_WAIT.
fn reset((client, mut server): Pair) {
    let _ = server.write_all(b"x");
    drop(client);
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Asserts that the last samples took no more than the first ones.
#[track_caller]
fn assert_no_growth(name: &str, costs: &[SampleCost]) {
    let tenth = costs.len() / 10;
    let time = |part: &[SampleCost]| median(part.iter().map(|it| it.time).collect());
    let (first, last) = (time(&costs[..tenth]), time(&costs[costs.len() - tenth..]));
    // Other tests run at the same time.
    assert!(last < first * 4 + Duration::from_millis(100), "{name}: {first:?}, then {last:?}");
    let third = costs.len() / 3;
    // Use the maximum: a measurement may precede the exec of topip-remote.
    let memory = |part: &[SampleCost]| part.iter().filter_map(|it| it.memory).max().unwrap();
    let (before, after) = (memory(&costs[..third]), memory(&costs[costs.len() - third..]));
    assert!(after < before + before / 10 + 512, "{name}: {before} KiB, then {after} KiB");
    eprintln!(
        "\n{name}: {} samples, {first:?} then {last:?}, {before} KiB then {after} KiB",
        costs.len()
    );
}

#[test]
fn day_of_samples_leaks_nothing() {
    let faketime =
        "/usr/lib/ARCH-linux-gnu/faketime/libfaketime.so.1".replace("ARCH", env::consts::ARCH);
    if !Path::new(&faketime).exists()
        || Command::new("logrotate").arg("--version").output().is_err()
    {
        return skip("faketime and logrotate");
    }
    // Hundreds of connections with two endpoints each.
    let limit = Rlimit { current: Some(16384), maximum: Some(16384) };
    if setrlimit(Resource::Nofile, limit).is_err() {
        return skip("permission to open 16384 files");
    }
    in_namespace(|| {
        let Some(postfix) = Postfix::start() else { return };
        let mut soak = SoakRun::new(postfix, faketime);
        let command = soak.dir.program(LOG, &["watch", "1", "-x", SERVER, "-t", "5"]);
        let watch = WatchProcess::start(command, soak.dir.path("watched"));
        let n = n_samples();
        let mut first_usage = None;
        let mut files = None;
        for second in 0..n {
            soak.change_connections(second);
            soak.sample(second);
            if second % 1000 == 999 {
                faketime::clear();
            }
            if n > 10_000 && second % (n / 24) == 0 {
                eprintln!("{second} s");
            }
            // By then, all mail servers, attacks and log rotations have occurred once.
            if second == n / 5 {
                first_usage = Some(watch.usage_after(3));
            }
            if second == n / 2 {
                files = Some(soak.files());
            }
        }
        faketime::clear();
        for (name, costs) in &soak.costs_by_program {
            assert_no_growth(name, costs);
        }
        let (memory, n_descriptors, n_threads) = first_usage.unwrap();
        let n_samples_seen = fs::read_to_string(&watch.lines).unwrap().lines().count() + 3;
        let last_usage = watch.usage_after(n_samples_seen);
        eprintln!(
            "\nwatch: {n_samples_seen} looks, {:?} then {last_usage:?}",
            first_usage.unwrap()
        );
        assert!(last_usage.0 < memory + memory / 5 + 1024, "{memory} KiB, then {last_usage:?}");
        assert_eq!((last_usage.1, last_usage.2), (n_descriptors, n_threads));

        let (names, _) = files.unwrap();
        let (names_after, max_state_bytes) = soak.files();
        let is_log = |name: &&String| name.starts_with("log/topip.log");
        let others = |names: &BTreeSet<String>| -> BTreeSet<String> {
            names.iter().filter(|name| !is_log(name)).cloned().collect()
        };
        assert_eq!(others(&names_after), others(&names));
        assert!(names_after.iter().filter(is_log).count() <= 13, "{names_after:?}");
        assert!(max_state_bytes < 8 * 1024, "a state file of {max_state_bytes} bytes");
        assert!(soak.n_critical > 0 && soak.n_not_mailed > 0);
        let n_mailed = fs::read_dir(soak.postfix.dir.path("mail/box/new")).unwrap().count();
        assert!(n_mailed > 0);
        eprintln!(
            "\n{} critical, {} times no mail, {n_mailed} mails, state files of up to {max_state_bytes} bytes",
            soak.n_critical, soak.n_not_mailed
        );
        let report = ["report", "--log", "log/topip.log", "--output", "csv"];
        let result = soak.dir.run_log(&report);
        assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{result:?}");
        assert!(result.stdout.contains("\n203.0.113."), "{result:?}");
    });
}
