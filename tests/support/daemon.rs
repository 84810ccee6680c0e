//! Helpers for tests of daemons.
#[cfg(any(feature = "ssh", feature = "mail"))]
use std::{io::Read, sync::Arc};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Runs a command that must succeed.
pub fn run_ok(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
}

/// Returns a loopback port that is free and that this function does not return again.
///
/// Ports from 32768 on are ephemeral (see ip(7)): the kernel could assign such a port to
/// another test before the daemon listens on it.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const N: u32 = 20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Concurrent test runs start at different ports.
    let mut ports = std::iter::repeat_with(|| {
        let n = std::process::id() * 256 + TAKEN.fetch_add(1, Ordering::Relaxed);
        u16::try_from(FIRST + n % N).unwrap()
    });
    let is_free = |&port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    ports.by_ref().take(100).find(is_free).expect("some port is free")
}

/// Waits until a server accepts connections at this address.
pub fn wait_for_server(address: SocketAddr) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "no server at {address}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a server that handles each connection with `serve`, and returns its port. It runs
/// until the process ends.
#[cfg(any(feature = "ssh", feature = "mail"))]
pub fn start_server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (Arc::clone(&serve), stream.unwrap());
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Reads until the peer closes the connection.
#[cfg(any(feature = "ssh", feature = "mail"))]
pub fn wait_for_close(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
}
