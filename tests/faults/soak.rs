//! A day of samples, one a second, while connections come and go, attackers
//! come and go, logs are rotated and the mail server fails now and then.
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
    is_whole,
    resource_usage::{Watch, peak},
    status_line::is_clean,
};
use crate::{
    interop::kernel::{connect, in_namespace},
    support::{
        CHECK, HOME, LOG, MUNIN, Ran, Room, daemon::free_port, faketime, postfix::Postfix, run,
        skip,
    },
};

/// How many samples are taken; `HOSTILE_SAMPLES` says otherwise.
fn n_samples() -> usize {
    match env::var("HOSTILE_SAMPLES") {
        Ok(n) => n.parse().unwrap(),
        Err(_) if is_whole() => 86_400,
        Err(_) => 600,
    }
}

const SERVER: &str = "192.0.2.10";
const ALERT: &str = "topip@example.com,ops@example.com";

/// A connection and its other end.
type Pair = (TcpStream, TcpStream);

/// The host that is looked at, second by second.
struct Day {
    room: Room,
    postfix: Postfix,
    faketime: String,
    listener: TcpListener,
    crowd: Vec<Pair>,
    passing: Vec<Pair>,
    attack: Vec<Pair>,
    dead: u16,
    tally: BTreeMap<&'static str, Vec<Taken>>,
    n_critical: usize,
    n_not_mailed: usize,
}

/// What a sample took: time, and, of some of them, memory in KiB.
struct Taken {
    time: Duration,
    memory: Option<u64>,
}

impl Day {
    fn new(postfix: Postfix, faketime: String) -> Self {
        let listener = TcpListener::bind((SERVER, 443)).unwrap();
        let mut day = Self {
            room: Room::new(),
            postfix,
            faketime,
            listener,
            crowd: Vec::new(),
            passing: Vec::new(),
            attack: Vec::new(),
            dead: free_port(),
            tally: BTreeMap::new(),
            n_critical: 0,
            n_not_mailed: 0,
        };
        day.crowd = (1..=40).map(|host| day.connection([198, 51, 100, host].into())).collect();
        fs::create_dir(day.room.path("log")).unwrap();
        day
    }

    fn connection(&self, from: IpAddr) -> Pair {
        let client = connect(from, SocketAddr::new(SERVER.parse().unwrap(), 443));
        (client, self.listener.accept().unwrap().0)
    }

    /// Some come and some go; in each minute there is an attack of twenty
    /// seconds, each time by another address.
    fn stir(&mut self, n: usize) {
        for k in 0..10 {
            let from = [198, 51, 100, u8::try_from((n * 10 + k) % 250 + 1).unwrap()];
            self.passing.push(self.connection(from.into()));
        }
        let over = self.passing.len().saturating_sub(100);
        self.passing.drain(..over).for_each(reset);
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
        let path = |name: &str| self.room.path(name);
        let log = path("log/topip.log");
        let packaged = fs::read_to_string(Path::new(HOME).join("packaging/logrotate/topip"));
        let config = packaged.unwrap().replace("/var/log/topip.log", log.to_str().unwrap());
        let (config, state) = (self.room.write("logrotate", config), path("rotated"));
        let ran = run(Command::new("logrotate").arg("-f").arg("-s").arg(state).arg(config));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }

    /// A program that believes it to be so many seconds after midnight.
    fn command(&self, program: &str, args: &[&str], n: usize) -> Command {
        let mut command = self.room.program(program, args);
        let (hours, minutes, seconds) = (n / 3600 % 24, n / 60 % 60, n % 60);
        command
            .env("LD_PRELOAD", &self.faketime)
            .env("FAKETIME", format!("@2026-11-28 {hours:02}:{minutes:02}:{seconds:02}"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("TZ", "UTC");
        command
    }

    /// A server that takes mail, none, and one that wants it later.
    fn mail(&self, n: usize) -> (String, &'static str) {
        match n / 90 % 3 {
            0 => (format!("smtp://localhost:{}", self.postfix.clear), ALERT),
            1 => (format!("smtp://localhost:{}", self.dead), ALERT),
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
        let (ran, memory) = match n / 3 % 10 {
            0 => {
                let (ran, memory) = peak(&mut command);
                (ran, Some(memory))
            }
            _ => (run(&mut command), None),
        };
        self.is_as_it_should_be(name, &ran);
        self.tally.entry(name).or_default().push(Taken { time: ran.took, memory });
    }

    #[track_caller]
    fn is_as_it_should_be(&mut self, name: &str, ran: &Ran) {
        match name {
            "check_topip" => {
                is_clean(ran);
                let is_mail = ran.stdout.to_lowercase().contains("mail not sent: ");
                assert!(ran.code != Some(3) || is_mail, "{ran:?}");
                self.n_critical += usize::from(ran.code == Some(2));
                self.n_not_mailed += usize::from(is_mail);
            }
            "munin_topip" => {
                assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
                assert!(ran.stdout.contains("connections_max.value "), "{ran:?}");
                assert!(!ran.stdout.contains(".value U"), "{ran:?}");
            }
            _ => {
                assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
                let is_alert = ran.stdout.contains(" connections from 203.0.113.");
                assert!(ran.stdout.is_empty() || is_alert, "{ran:?}");
            }
        }
    }

    /// The files of the room but for those of the mail server, and how long
    /// the longest is.
    fn files(&self) -> (BTreeSet<String>, u64) {
        let mut names = BTreeSet::new();
        let mut longest = 0;
        let mut folders = vec![self.room.path("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::metadata(&path).unwrap();
                if metadata.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(self.room.path("")).unwrap().display().to_string();
                if name.ends_with(".ron") {
                    longest = longest.max(metadata.len());
                }
                names.insert(name);
            }
        }
        (names, longest)
    }
}

/// Leaves no socket behind, and so room for more.
fn reset((client, mut server): Pair) {
    let _ = server.write_all(b"x");
    drop(client);
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Checks that the last of them took no more than the first.
#[track_caller]
fn nothing_grew(name: &str, taken: &[Taken]) {
    let tenth = taken.len() / 10;
    let time = |part: &[Taken]| median(part.iter().map(|it| it.time).collect());
    let (first, last) = (time(&taken[..tenth]), time(&taken[taken.len() - tenth..]));
    // Other tests come and go beside it.
    assert!(last < first * 4 + Duration::from_millis(100), "{name}: {first:?}, then {last:?}");
    let third = taken.len() / 3;
    // The most: a look at a process may come before it has become what mails.
    let memory = |part: &[Taken]| part.iter().filter_map(|it| it.memory).max().unwrap();
    let (before, after) = (memory(&taken[..third]), memory(&taken[taken.len() - third..]));
    assert!(after < before + before / 10 + 512, "{name}: {before} KiB, then {after} KiB");
    eprintln!(
        "\n{name}: {} samples, {first:?} then {last:?}, {before} KiB then {after} KiB",
        taken.len()
    );
}

#[test]
fn a_day_leaves_nothing_behind_and_nothing_grows() {
    let faketime =
        "/usr/lib/ARCH-linux-gnu/faketime/libfaketime.so.1".replace("ARCH", env::consts::ARCH);
    if !Path::new(&faketime).exists()
        || Command::new("logrotate").arg("--version").output().is_err()
    {
        return skip("faketime and logrotate");
    }
    // Hundreds of connections, two ends each.
    let limit = Rlimit { current: Some(16384), maximum: Some(16384) };
    if setrlimit(Resource::Nofile, limit).is_err() {
        return skip("the right to open 16384 files");
    }
    in_namespace(|| {
        let Some(postfix) = Postfix::start() else { return };
        let mut day = Day::new(postfix, faketime);
        let command = day.room.program(LOG, &["watch", "1", "-x", SERVER, "-t", "5"]);
        let watch = Watch::start(command, day.room.path("watched"));
        let n = n_samples();
        let mut at_first = None;
        let mut files = None;
        for second in 0..n {
            day.stir(second);
            day.sample(second);
            if second % 1000 == 999 {
                faketime::clear();
            }
            if n > 10_000 && second % (n / 24) == 0 {
                eprintln!("{second} s");
            }
            // A cycle of mail servers, attacks and rotated logs is over.
            if second == n / 5 {
                at_first = Some(watch.after(3));
            }
            if second == n / 2 {
                files = Some(day.files());
            }
        }
        faketime::clear();
        for (name, taken) in &day.tally {
            nothing_grew(name, taken);
        }
        let (memory, n_descriptors, n_threads) = at_first.unwrap();
        let looks = fs::read_to_string(&watch.lines).unwrap().lines().count() + 3;
        let at_last = watch.after(looks);
        eprintln!("\nwatch: {looks} looks, {:?} then {at_last:?}", at_first.unwrap());
        assert!(at_last.0 < memory + memory / 5 + 1024, "{memory} KiB, then {at_last:?}");
        assert_eq!((at_last.1, at_last.2), (n_descriptors, n_threads));

        let (names, _) = files.unwrap();
        let (names_after, longest) = day.files();
        let is_log = |name: &&String| name.starts_with("log/topip.log");
        let others = |names: &BTreeSet<String>| -> BTreeSet<String> {
            names.iter().filter(|name| !is_log(name)).cloned().collect()
        };
        assert_eq!(others(&names_after), others(&names));
        assert!(names_after.iter().filter(is_log).count() <= 13, "{names_after:?}");
        assert!(longest < 8 * 1024, "a state file of {longest} bytes");
        assert!(day.n_critical > 0 && day.n_not_mailed > 0);
        let n_mailed = fs::read_dir(day.postfix.room.path("mail/box/new")).unwrap().count();
        assert!(n_mailed > 0);
        eprintln!(
            "\n{} critical, {} times no mail, {n_mailed} mails, state files of up to {longest} bytes",
            day.n_critical, day.n_not_mailed
        );
        let report = ["report", "--log", "log/topip.log", "--output", "csv"];
        let ran = day.room.log(&report);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
        assert!(ran.stdout.contains("\n203.0.113."), "{ran:?}");
    });
}
