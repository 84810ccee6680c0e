//! The kernel's tables while thousands of sockets come and go.
use std::{
    collections::BTreeMap,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::{is_whole, status_line::is_clean};
use crate::{
    interop::kernel::{addresses, connect, in_namespace},
    support::{CHECK, Ran, Room, run, skip},
};

/// How often each way of looking is tried.
fn n_dumps() -> usize {
    if is_whole() { 1000 } else { 24 }
}

/// Clients that stay, and how many connections each has.
const STAYING: [(&str, usize); 4] =
    [("203.0.113.7", 150), ("203.0.113.8", 60), ("203.0.113.9", 30), ("2001:db8:1::7", 40)];

/// Opens and closes connections until told to stop; gives how many.
fn storm(port: u16, stop: &AtomicBool) -> usize {
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
        // By tens, so that a bucket loses sockets while it is walked through.
        for (client, mut server) in open.drain(..) {
            // A reset leaves nothing behind, and so room for more.
            let _ = server.write_all(b"x");
            drop(client);
        }
    }
    n
}

/// How many connections it tells of those who stay.
fn counted(ran: &Ran) -> [usize; STAYING.len()] {
    let told: BTreeMap<_, _> = addresses(&ran.stdout)
        .into_iter()
        .map(|line| {
            let mut words = line.split(' ');
            let address = words.next().unwrap().to_owned();
            (address, words.next().unwrap().parse().unwrap())
        })
        .collect();
    STAYING.map(|(address, _)| told.get(address).copied().unwrap_or(0))
}

/// Each dump is whole and clean, and those who stay are counted as they are.
#[test]
fn dumps_while_sockets_come_and_go() {
    in_namespace(|| {
        let servers: [SocketAddr; 2] =
            ["192.0.2.10:443".parse().unwrap(), "[2001:db8::10]:443".parse().unwrap()];
        let listeners = servers.map(|server| TcpListener::bind(server).unwrap());
        let mut staying = Vec::new();
        for (address, n) in STAYING {
            let side = usize::from(address.contains(':'));
            for _ in 0..n {
                let client = connect(address.parse().unwrap(), servers[side]);
                staying.push((client, listeners[side].accept().unwrap()));
            }
        }
        let stop = AtomicBool::new(false);
        let n_opened = AtomicUsize::new(0);
        thread::scope(|scope| {
            for port in [80, 81] {
                let (stop, n_opened) = (&stop, &n_opened);
                scope.spawn(move || {
                    n_opened.fetch_add(storm(port, stop), Ordering::Relaxed);
                });
            }
            let looked = std::panic::catch_unwind(look);
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = looked {
                std::panic::resume_unwind(panic);
            }
        });
        eprintln!("\n{} connections came and went", n_opened.into_inner());
        drop(staying);
    });
}

fn look() {
    let room = Room::new();
    let args = ["-vvv", "-x", "192.0.2.10", "-x", "2001:db8::10"];
    for way in [
        &["--source", "netlink"][..],
        &["--source", "netlink", "--port", "443"],
        &["--source", "netlink", "--inbound"],
        &["--source", "proc"],
    ] {
        let state = ["--state-file", "state"];
        for _ in 0..n_dumps() {
            let ran = room.check(&[&args[..], way, &state].concat());
            is_clean(&ran);
            assert!(matches!(ran.code, Some(0..=2)), "{way:?}: {ran:?}");
            assert!(!ran.stdout.contains("annot read"), "{way:?}: {ran:?}");
            assert!(!ran.stdout.contains("\nNot by "), "{way:?}: {ran:?}");
            assert_eq!(counted(&ran), STAYING.map(|(_, n)| n), "{way:?}: {ran:?}");
        }
    }
}

/// A listing that somebody else made meanwhile is no worse.
#[test]
fn listings_of_other_tools_while_sockets_come_and_go() {
    if Command::new("ss").arg("-V").output().is_err() {
        return skip("ss");
    }
    in_namespace(|| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let stop = &stop;
            scope.spawn(move || storm(80, stop));
            let looked = std::panic::catch_unwind(|| {
                let room = Room::new();
                for tool in ["ss -tan", "ss -Htan", "netstat -natW"] {
                    for _ in 0..n_dumps() / 8 {
                        let pipe = format!("{tool} | \"$0\" --input - --state-file state");
                        let ran = run(Command::new("sh")
                            .args(["-c", &pipe, CHECK])
                            .current_dir(room.path("."))
                            .stdin(Stdio::null()));
                        is_clean(&ran);
                        assert!(matches!(ran.code, Some(0..=2)), "{tool}: {ran:?}");
                    }
                }
            });
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = looked {
                std::panic::resume_unwind(panic);
            }
        });
    });
}
