//! Samples of the kernel's tables while thousands of sockets are opened and closed.
use std::{
    collections::BTreeMap,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::{is_exhaustive, status_line::assert_clean};
use crate::{
    interop::kernel::{address_lines, connect, in_namespace},
    support::{CHECK, CommandResult, TestDir, run, skip},
};

/// Returns the number of samples from each source.
fn n_samples() -> usize {
    if is_exhaustive() { 1000 } else { 24 }
}

/// Clients that stay connected, with their numbers of connections.
const LASTING_CLIENTS: [(&str, usize); 4] =
    [("203.0.113.7", 150), ("203.0.113.8", 60), ("203.0.113.9", 30), ("2001:db8:1::7", 40)];

/// Opens and closes connections until `stop` is set, and returns their number.
fn churn(port: u16, stop: &AtomicBool) -> usize {
    let server = SocketAddr::from(([192, 0, 2, 10], port));
    let listener = TcpListener::bind(server).unwrap();
    let mut n = 0;
    let mut open: Vec<(TcpStream, TcpStream)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..100 {
            let client = connect([198, 51, 100, (n % 250) as u8 + 1].into(), server);
            open.push((client, listener.accept().unwrap().0));
            n += 1;
        }
        // Close in batches, so that a hash bucket loses sockets while the kernel walks it.
        for (client, mut server) in open.drain(..) {
            // A reset leaves no socket in TIME_WAIT.
            let _ = server.write_all(b"x");
            drop(client);
        }
    }
    n
}

/// Returns the reported numbers of connections of the lasting clients.
fn lasting_counts(result: &CommandResult) -> [usize; LASTING_CLIENTS.len()] {
    let counts: BTreeMap<_, _> = address_lines(&result.stdout)
        .into_iter()
        .map(|line| {
            let mut words = line.split(' ');
            let address = words.next().unwrap().to_owned();
            (address, words.next().unwrap().parse().unwrap())
        })
        .collect();
    LASTING_CLIENTS.map(|(address, _)| counts.get(address).copied().unwrap_or(0))
}

/// Each dump is complete and valid, and the lasting clients are counted exactly.
#[test]
fn dumps_during_churn_are_complete() {
    in_namespace(|| {
        let servers: [SocketAddr; 2] =
            ["192.0.2.10:443".parse().unwrap(), "[2001:db8::10]:443".parse().unwrap()];
        let listeners = servers.map(|server| TcpListener::bind(server).unwrap());
        let mut lasting = Vec::new();
        for (address, n) in LASTING_CLIENTS {
            let side = usize::from(address.contains(':'));
            for _ in 0..n {
                let client = connect(address.parse().unwrap(), servers[side]);
                lasting.push((client, listeners[side].accept().unwrap()));
            }
        }
        let stop = AtomicBool::new(false);
        let n_opened = AtomicUsize::new(0);
        thread::scope(|scope| {
            for port in [80, 81] {
                let (stop, n_opened) = (&stop, &n_opened);
                scope.spawn(move || {
                    n_opened.fetch_add(churn(port, stop), Ordering::Relaxed);
                });
            }
            let outcome = std::panic::catch_unwind(sample_repeatedly);
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
        eprintln!("\n{} connections came and went", n_opened.into_inner());
        drop(lasting);
    });
}

fn sample_repeatedly() {
    let dir = TestDir::new();
    let args = ["-vvv", "-x", "192.0.2.10", "-x", "2001:db8::10"];
    for source_args in [
        &["--source", "netlink"][..],
        &["--source", "netlink", "--port", "443"],
        &["--source", "netlink", "--inbound"],
        &["--source", "proc"],
    ] {
        let state = ["--state-file", "state"];
        for _ in 0..n_samples() {
            let result = dir.check(&[&args[..], source_args, &state].concat());
            assert_clean(&result);
            assert!(matches!(result.code, Some(0..=2)), "{source_args:?}: {result:?}");
            assert!(!result.stdout.contains("annot read"), "{source_args:?}: {result:?}");
            assert!(!result.stdout.contains("\nFailed source: "), "{source_args:?}: {result:?}");
            assert_eq!(
                lasting_counts(&result),
                LASTING_CLIENTS.map(|(_, n)| n),
                "{source_args:?}: {result:?}"
            );
        }
    }
}

/// Listings that other tools print at the same time are readable as well.
#[test]
fn listings_during_churn_are_readable() {
    if Command::new("ss").arg("-V").output().is_err() {
        return skip("ss");
    }
    in_namespace(|| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let stop = &stop;
            scope.spawn(move || churn(80, stop));
            let outcome = std::panic::catch_unwind(|| {
                let dir = TestDir::new();
                for tool in ["ss -tan", "ss -Htan", "netstat -natW"] {
                    for _ in 0..n_samples() / 8 {
                        let pipe = format!("{tool} | \"$0\" --input - --state-file state");
                        let result = run(Command::new("sh")
                            .args(["-c", &pipe, CHECK])
                            .current_dir(dir.path("."))
                            .stdin(Stdio::null()));
                        assert_clean(&result);
                        assert!(matches!(result.code, Some(0..=2)), "{tool}: {result:?}");
                    }
                }
            });
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
    });
}
