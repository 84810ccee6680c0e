//! Metrics through a real node_exporter, and checked by promtool.
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use snapbox::{Assert, Data};

use crate::support::{
    PACKAGE_DIR, TestDir, crowd,
    daemon::{free_port, wait_for_server},
    run, skip, test_file,
};

fn is_installed(program: &str) -> bool {
    let is_installed = Path::new("/usr/bin").join(program).exists();
    if !is_installed {
        skip(program);
    }
    is_installed
}

/// Returns the metrics of two views with labels and addresses, without the time of the sample.
fn metrics(dir: &TestDir) -> String {
    let peers = [("203.0.113.7", 152), ("2001:db8::7", 12)];
    let args = "--output openmetrics --metrics-addresses 3 --prefix4 32,24 --prefix6 128,64 \
                --label 203.0.113.0/24=the\\office";
    let result = dir.check_listing(crowd(30, &peers), &args.split_whitespace().collect::<Vec<_>>());
    assert_eq!((result.code, &*result.stderr), (Some(1), ""));
    let time = regex::Regex::new(r"(topip_sample_timestamp_seconds) \d{10}\n").unwrap();
    assert_eq!(time.find_iter(&result.stdout).count(), 1);
    time.replace(&result.stdout, "$1 1795375200\n").into_owned()
}

#[test]
fn metrics_are_golden() {
    let metrics = metrics(&TestDir::new());
    let golden = test_file("golden/openmetrics.txt");
    Assert::new().action_env("SNAPSHOTS").eq(metrics, Data::read_from(&golden, None));
}

#[test]
fn promtool_accepts_metrics_and_rules() {
    if !is_installed("promtool") {
        return;
    }
    let dir = TestDir::new();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(metrics(&dir).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*text), (Some(0), ""));
    let rules = Path::new(PACKAGE_DIR).join("packaging/prometheus/topip.rules.yml");
    let result = run(Command::new("promtool").args(["check", "rules"]).arg(rules));
    assert_eq!(result.code, Some(0), "{result:?}");
}

/// The rules and the dashboard name only metrics that exist.
#[test]
fn rules_and_dashboard_name_existing_metrics() {
    let source = Path::new(PACKAGE_DIR).join("src/output/openmetrics.rs");
    let source = fs::read_to_string(source).unwrap();
    let metric = regex::Regex::new(r"topip_[a-z_]+").unwrap();
    for name in ["topip.rules.yml", "grafana-dashboard.json"] {
        let path = Path::new(PACKAGE_DIR).join("packaging/prometheus").join(name);
        let text = fs::read_to_string(path).unwrap();
        let mut n_metrics = 0;
        for metric in metric.find_iter(&text) {
            let short = metric.as_str().strip_prefix("topip_").unwrap();
            assert!(source.contains(&format!("\"{short}\"")), "{name}: {}", metric.as_str());
            n_metrics += 1;
        }
        assert!(n_metrics > 5, "{name}");
    }
    let dashboard = Path::new(PACKAGE_DIR).join("packaging/prometheus/grafana-dashboard.json");
    let dashboard = fs::read_to_string(dashboard).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 5);
}

#[test]
fn node_exporter_serves_the_output_file() {
    if !is_installed("prometheus-node-exporter") {
        return;
    }
    let dir = TestDir::new();
    fs::create_dir(dir.path("textfiles")).unwrap();
    dir.write("listing", crowd(30, &[("203.0.113.7", 152)]));
    let args = "--input listing --consecutive 1 --output openmetrics --metrics-addresses 1 \
                --output-file textfiles/topip.prom";
    let args: Vec<_> = args.split_whitespace().collect();
    let result = dir.check(&args);
    assert_eq!((result.code, &*result.stdout, &*result.stderr), (Some(2), "", ""));
    let names: Vec<_> = fs::read_dir(dir.path("textfiles")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");

    let address = format!("127.0.0.1:{}", free_port());
    let mut exporter = Command::new("prometheus-node-exporter");
    exporter.args(["--collector.disable-defaults", "--collector.textfile"]);
    exporter.arg(format!("--web.listen-address={address}"));
    exporter.arg(format!("--collector.textfile.directory={}", dir.path("textfiles").display()));
    exporter.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _exporter = Exporter(exporter.spawn().unwrap());
    wait_for_server(address.parse().unwrap());
    let scraped = scrape(&address);
    for line in [
        "topip_status 2",
        "topip_connections{prefix4=\"32\",prefix6=\"128\"} 182",
        "topip_max{prefix4=\"32\",prefix6=\"128\"} 152",
        "topip_tcp_state_connections{state=\"ESTABLISHED\"} 182",
        "topip_peer_connections{address=\"203.0.113.7\",prefix4=\"32\",prefix6=\"128\"} 152",
        "node_textfile_scrape_error 0",
    ] {
        assert!(scraped.lines().any(|it| it == line), "{line}: {scraped}");
    }
    // A failure replaces the numbers of the earlier sample.
    fs::remove_file(dir.path("listing")).unwrap();
    let result = dir.check(&args);
    assert_eq!((result.code, &*result.stdout), (Some(3), ""));
    let expected = "check_topip: cannot open listing: No such file or directory (os error 2)\n";
    assert!(result.stderr.starts_with(expected), "{}", result.stderr);
    let scraped = scrape(&address);
    assert!(scraped.contains("\ntopip_status 3\n"), "{scraped}");
    assert!(!scraped.contains("topip_connections"), "{scraped}");
}

/// A node_exporter that runs until it is dropped.
struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /metrics HTTP/1.0\r\nAccept: text/plain\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
