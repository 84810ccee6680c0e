//! Connections that the kernel's tables do not list are noted, by the kernel's counters.
use std::fs;

use serde_json::Value;

use crate::support::{CHECK, TestDir, run, skip};

/// Script that runs in a network namespace in which every request is answered with a SYN cookie.
/// Its function `overflow` opens connections to a socket whose accept queue holds three, and
/// closes them. `count` prints the kernel's counters with nstat(8).
const SCRIPT: &str = r#"
    ip link set lo up || exit 9
    echo 2 >/proc/sys/net/ipv4/tcp_syncookies || exit 9
    count() { nstat -az "$1" | awk 'NR > 1 { print $2 }'; }
    overflow() { python3 -c '
import socket, time
server = socket.create_server(("127.0.0.1", 4000), backlog=2)
clients = []
for _ in range(12):
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", 4000))
    clients.append(client)
time.sleep(0.1)
'; }
    set -e
    "$@"
    overflow
    cookies=$(count TcpExtSyncookiesSent) overflows=$(count TcpExtListenOverflows)
    "$@" -v
    "$@" -v
    overflow
    "$@" --output json
    echo "$cookies $overflows $(count TcpExtSyncookiesSent) $(count TcpExtListenOverflows)"
"#;

#[test]
fn syn_cookies_and_overflows_since_the_previous_sample_are_noted() {
    let dir = TestDir::new();
    let check = [CHECK, "--state-file", "state", "--no-default-excludes"];
    let shell = ["-n", "sh", "-c", SCRIPT, "sh"];
    let mut command = dir.program("unshare", &[&shell[..], &check].concat());
    let result = run(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
    if result.code == Some(9) || result.stderr.contains("unshare") {
        return skip(&format!("a network namespace ({})", result.stderr.trim()));
    }
    assert_eq!(result.code, Some(0), "{result:?}");
    let answers: Vec<_> = result.stdout.split("TOPIP OK").collect();
    let [_, first, second, third] = answers[..] else { panic!("{}", result.stdout) };
    let (third, json) = third.split_once("{\"schema\"").expect("the last answer is JSON");
    let (json, counters) = json.trim_end().rsplit_once('\n').unwrap();
    let counters: Vec<u64> = counters.split(' ').map(|it| it.parse().unwrap()).collect();
    let [cookies, overflows, all_cookies, all_overflows] = counters[..] else { panic!() };
    assert!(cookies > 0 && overflows > 0, "{counters:?}");

    let cookie_note = format!(
        "Since the previous sample, the kernel has answered {cookies} connection requests with \
         SYN cookies: a socket table does not list them."
    );
    let overflow_note = format!(
        "Since the previous sample, the kernel has dropped a connection {overflows} times \
         because an accept queue was full."
    );
    for note in [&cookie_note, &overflow_note] {
        assert!(second.contains(note), "{note}: {second}");
    }
    // The counters of the first sample are older than the check, and the third is unchanged.
    for answer in [first, third] {
        assert!(!answer.contains("Since the previous sample"), "{answer}");
    }
    let json: Value = serde_json::from_str(&format!("{{\"schema\"{json}")).unwrap();
    let namespace = &json["kernel_counters"][0];
    assert_eq!(namespace["total"]["syn_cookies"], all_cookies, "{json}");
    assert_eq!(namespace["total"]["listen_overflows"], all_overflows, "{json}");
    assert_eq!(namespace["increase"]["syn_cookies"], all_cookies - cookies, "{json}");
    assert_eq!(namespace["increase"]["listen_overflows"], all_overflows - overflows, "{json}");
    assert_eq!(json["status"], "OK", "a note does not change the status");
}

/// Without `/proc/net/netstat`, a sample is complete.
#[test]
fn missing_counters_do_not_change_the_answer() {
    let dir = TestDir::new();
    let netstat = "/proc/thread-self/net/netstat";
    let strace = ["-f", "-qq", "-o", "trace", "-P", netstat, "-e", "inject=openat:error=EACCES"];
    let check = [CHECK, "--output", "json", "-x", "0.0.0.0/0,::/0"];
    let result = run(&mut dir.program("strace", &[&strace[..], &check].concat()));
    if result.code.is_none() {
        return skip("strace");
    }
    assert!(fs::read_to_string(dir.path("trace")).unwrap().contains("INJECTED"));
    let json: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!((&json["status"], &json["kernel_counters"]), (&"OK".into(), &Value::Null));
}
