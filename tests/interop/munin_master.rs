//! A complete Munin: a master queries the node, stores the values in RRD files, alerts, and
//! draws graphs.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    CommandResult, PACKAGE_DIR, crowd, faketime, listing,
    munin::{Node, Site, is_possible},
    run,
};

/// Interval of munin-cron, in seconds.
const INTERVAL: u64 = 300;

/// A master and a node that samples a listing.
struct Master<'a> {
    site: &'a Site,
    _node: Node<'a>,
}

fn site(links: &[&str], settings: &str) -> Site {
    let site = Site::new(links, "");
    let path = site.dir.write("listing", "");
    let settings = format!("[*topip*]\nenv.input {}\n{settings}", path.display());
    site.dir.write("etc/plugin-conf.d/topip", settings);
    site
}

impl<'a> Master<'a> {
    fn of(site: &'a Site) -> Self {
        let node = site.node();
        let at = |name: &str| site.dir.path(name).display().to_string();
        let directories = ["db", "html", "log", "run"].map(at);
        for directory in &directories {
            fs::create_dir(directory).unwrap();
        }
        fs::write(at("alerts"), "").unwrap();
        let [db, html, log, run_folder] = &directories;
        let port = node.port;
        site.dir.write(
            "munin.conf",
            format!(
                "dbdir {db}\nhtmldir {html}\nlogdir {log}\nrundir {run_folder}\n\
                 tmpldir /etc/munin/templates\nstaticdir /etc/munin/static\n\
                 graph_strategy cron\nhtml_strategy cron\n\
                 contact.test.command tee -a {}\n\
                 [example;here.example]\naddress 127.0.0.1\nport {port}\nuse_node_name yes\n\
                 [example;web1]\naddress 127.0.0.1\nport {port}\nuse_node_name no\n",
                at("alerts")
            ),
        );
        let own = Command::new("chown").arg("munin").args(&directories).arg(at("alerts")).status();
        assert!(own.unwrap().success());
        Self { site, _node: node }
    }

    /// Runs a program of munin-cron as its user, with a clock that is `ago` seconds behind.
    fn program(&self, name: &str, args: &[&str], ago: u64) -> CommandResult {
        let mut command = Command::new("runuser");
        let program = format!("/usr/share/munin/{name}");
        let config = self.site.dir.path("munin.conf");
        command
            .args([
                "-u",
                "munin",
                "--",
                "faketime",
                "-f",
                &format!("-{ago}s"),
                &program,
                "--config",
            ])
            .arg(config)
            .args(args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/");
        faketime::clear();
        let result = run(&mut command);
        assert_eq!(result.code, Some(0), "{name}: {}{}", result.stdout, result.stderr);
        result
    }

    /// Runs a cycle on `listing`, without drawing.
    fn cycle(&self, listing: &str, ago: u64) {
        self.site.dir.write("listing", listing);
        self.program("munin-update", &[], ago);
        self.program("munin-limits", &[], ago);
    }

    fn draw(&self) {
        // munin-html comes first: it lists the graphs to draw.
        self.program("munin-html", &[], 0);
        self.program("munin-graph", &["--cron"], 0);
    }

    fn rrd(&self, host: &str, graph: &str, field: &str) -> PathBuf {
        self.site.dir.path(&format!("db/example/{host}-{graph}-{field}-g.rrd"))
    }

    /// Returns the last value in an RRD file.
    fn last(&self, host: &str, graph: &str, field: &str) -> String {
        let result =
            run(Command::new("rrdtool").arg("lastupdate").arg(self.rrd(host, graph, field)));
        assert_eq!(result.code, Some(0), "{}", result.stderr);
        result.stdout.split_whitespace().last().unwrap().to_owned()
    }

    fn alerts(&self) -> String {
        let alerts = self.site.dir.path("alerts");
        let text = fs::read_to_string(&alerts).unwrap();
        fs::write(alerts, "").unwrap();
        text
    }
}

fn is_picture(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG") && bytes.len() > 4000)
}

/// The RRD files contain the values of each sample, the alerts are those of the check and
/// name the address, and the graphs are drawn.
#[test]
fn master_stores_values_and_alerts() {
    if !is_possible() {
        return;
    }
    let limits = "env.warning limit\nenv.critical limit\n";
    let site = site(&["topip", "ssh_web1_topip"], limits);
    let master = Master::of(&site);
    let quiet = crowd(30, &[("203.0.113.8", 3)]);
    let flood = crowd(30, &[("203.0.113.7", 152)]);
    let details = "203.0.113.7 has 152 connections, over 28.49 (lognormal)";
    let cycles = [
        (&quiet, ["3", "1.06", "0.35", "10", "33", "31"], ""),
        (
            &flood,
            ["152", "5.87", "26.68", "28.49", "182", "31"],
            "WARNINGs: busiest address is 152.00",
        ),
        (
            &flood,
            ["152", "5.87", "26.68", "28.49", "182", "31"],
            "CRITICALs: busiest address is 152.00",
        ),
        (&quiet, ["3", "1.06", "0.35", "10", "33", "31"], "OKs: busiest address is 3.00"),
        (&listing(&[]), ["0", "0", "0", "10", "0", "0"], ""),
        (&"no listing".to_owned(), ["U"; 6], ""),
    ];
    let n_cycles = cycles.len() as u64;
    for (index, (listing, values, alert)) in (0..n_cycles).zip(cycles) {
        master.cycle(listing, (n_cycles - 1 - index) * INTERVAL);
        for (host, graph) in [("here.example", "topip"), ("web1", "ssh_web1_topip")] {
            let addresses = format!("{graph}_addresses");
            let fields = [
                (graph, "connections_max"),
                (graph, "connections_avg"),
                (graph, "connections_stddev"),
                (graph, "connections_limit"),
                (&addresses, "connections"),
                (&addresses, "addresses"),
            ];
            let found = fields.map(|(graph, field)| master.last(host, graph, field));
            assert_eq!(found, values, "{host}, cycle {index}");
        }
        let alerts = master.alerts();
        assert_eq!(alerts.is_empty(), alert.is_empty(), "cycle {index}: {alerts}");
        assert_eq!(alerts.matches(alert).count() > 1, !alert.is_empty(), "{alerts}");
        if values[0] == "152" {
            assert!(alerts.contains(details), "{alerts}");
        }
    }
    master.draw();
    for page in ["here.example/topip", "here.example/topip_addresses", "web1/ssh_web1_topip"] {
        let path = site.dir.path(&format!("html/example/{page}-day.png"));
        assert!(is_picture(&path), "{}", path.display());
    }
    let page = fs::read_to_string(site.dir.path("html/example/here.example/topip.html")).unwrap();
    for text in ["busiest address", "An alert names this address.", "check_topip warns."] {
        assert!(page.contains(text), "{text}");
    }
    let log = fs::read_to_string(site.dir.path("log/munin-update.log")).unwrap();
    assert!(!log.contains("WARN"), "{log}");
}

/// The picture in the documentation, which `SNAPSHOTS=overwrite` redraws: a day with a
/// morning, an evening and a flood.
#[test]
fn documentation_picture_exists() {
    let picture = Path::new(PACKAGE_DIR).join("docs/munin.png");
    if std::env::var_os("SNAPSHOTS").is_none_or(|it| it != "overwrite") {
        return assert!(is_picture(&picture), "{}", picture.display());
    }
    if !is_possible() {
        return;
    }
    let site = site(&["topip"], "");
    let master = Master::of(&site);
    const N_CYCLES: u64 = 200;
    for cycle in 0..N_CYCLES {
        // Any traffic that varies is sufficient.
        let noise = |n: u64, seed: u64| (cycle + 1) * (seed * 7 + 11) * 2_654_435_761 / 65_536 % n;
        let visitors = 40 + 50 * cycle.min(N_CYCLES - cycle) / N_CYCLES + noise(10, 1);
        let addresses: Vec<_> = (1..=visitors).map(|host| format!("198.51.100.{host}")).collect();
        let counts = (0..).map(|host| 1 + noise(6, host) as usize);
        let mut crowd: Vec<_> = addresses.iter().map(String::as_str).zip(counts).collect();
        let flood = match cycle {
            110..140 => 20 + 5 * (cycle - 110).min(24) as usize + noise(12, 3) as usize,
            _ => 4 + noise(5, 5) as usize,
        };
        crowd.push(("203.0.113.7", flood));
        master.cycle(&listing(&crowd), (N_CYCLES - 1 - cycle) * INTERVAL);
    }
    master.draw();
    fs::copy(site.dir.path("html/example/here.example/topip-day.png"), picture).unwrap();
}
