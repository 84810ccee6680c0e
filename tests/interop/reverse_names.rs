//! `topip_log report --resolve` with a real name server and an /etc/hosts, in a namespace.
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::kernel::in_namespace;
use crate::{
    cli::log_page,
    support::{CommandResult, LOG, TestDir, run, skip, wait_for_listener, with_name_server},
};

/// Addresses, each with the name that a report must show.
const ADDRESSES: [(&str, Option<&str>); 9] = [
    ("203.0.113.7", Some("crawler.example.com")),
    ("2001:db8::7", Some("six.example.com")),
    // The name is that of another host.
    ("203.0.113.8", None),
    // The name has no address.
    ("203.0.113.9", None),
    ("203.0.113.10", None),
    // Names in /etc/hosts, some of which are not host names.
    ("203.0.113.11", Some("office")),
    ("203.0.113.12", None),
    ("203.0.113.13", None),
    ("203.0.113.14", None),
];

const HOSTS: &str = "\
203.0.113.11 office
203.0.113.12 <script>alert(1)</script>
203.0.113.13 =cmd|'/C\u{202e}calc'!A0
203.0.113.14 \x1b[31mred
";

/// A name server on port 53 of this namespace, ended when dropped.
struct NameServer(Child);

impl NameServer {
    fn start() -> Self {
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--user=root", "--group=root", "--pid-file=", "--log-facility=-"])
            .args(["--listen-address=127.0.0.1", "--bind-interfaces", "--local=/#/"])
            .arg("--host-record=crawler.example.com,203.0.113.7")
            .arg("--host-record=six.example.com,2001:db8::7")
            .arg("--host-record=mail.example.com,192.0.2.25")
            .arg("--ptr-record=8.113.0.203.in-addr.arpa,mail.example.com")
            .arg("--ptr-record=10.113.0.203.in-addr.arpa,<b>x&lt;.example.com")
            .arg("--host-record=<b>x&lt;.example.com,203.0.113.10")
            .arg("--ptr-record=9.113.0.203.in-addr.arpa,none.example.com")
            .stderr(Stdio::null())
            .spawn();
        let server = Self(child.unwrap());
        wait_for_listener(53);
        server
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn report(dir: &TestDir, args: &[&str]) -> CommandResult {
    let words = [&[LOG, "report", "--log", "log", "--resolve"], args].concat();
    let result = run(&mut with_name_server(dir, HOSTS, &words));
    assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{args:?}");
    result
}

fn names_are_confirmed() {
    let _server = NameServer::start();
    let dir = TestDir::new();
    let line = |(address, _)| format!("2026-11-10T02:10:00Z - 99 connections from {address}\n");
    dir.write("log", ADDRESSES.map(line).concat());

    let json: Value = serde_json::from_str(&report(&dir, &["--output", "json"]).stdout).unwrap();
    assert_eq!(json["unresolved_names"], 0);
    for offender in json["offenders"].as_array().unwrap() {
        let address = offender["address"].as_str().unwrap();
        let expected = ADDRESSES.iter().find(|(it, _)| *it == address).unwrap().1;
        assert_eq!(offender.get("name").and_then(Value::as_str), expected, "{address}");
    }
    let csv = report(&dir, &["--output", "csv"]).stdout;
    assert!(csv.starts_with("address,alerts,peak,first,last,servers,name\n"), "{csv}");
    assert!(csv.contains(",localhost,crawler.example.com\n"), "{csv}");
    let text = report(&dir, &[]).stdout;
    assert!(text.contains("203.0.113.7   localhost  crawler.example.com\n"), "{text}");
    assert!(text.contains("203.0.113.8   localhost\n"), "{text}");
    let page = report(&dir, &["--output", "html"]).stdout;
    log_page::elements(&page);
    assert!(page.contains("<td class=\"text\">crawler.example.com</td>"), "{page}");
    for form in [&csv, &text, &page] {
        assert!(!form.contains("script") && !form.contains("cmd"), "{form}");
    }
    // A network has no name.
    let text = report(&dir, &["--prefix4", "24"]).stdout;
    assert!(text.contains(" 203.0.113.0/24  localhost\n"), "{text}");
    assert!(text.contains(" 2001:db8::7     localhost  six.example.com\n"), "{text}");
}

#[test]
fn reverse_names_are_confirmed_and_cleaned() {
    if !rustix::process::geteuid().is_root() {
        return skip("root, for a namespace with its own name server");
    }
    if Command::new("dnsmasq").arg("--version").output().is_err() {
        return skip("dnsmasq");
    }
    in_namespace(names_are_confirmed);
}
