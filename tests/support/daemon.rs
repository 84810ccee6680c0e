//! What tests of daemons share.
#[cfg(any(feature = "ssh", feature = "mail"))]
use std::{io::Read, sync::Arc};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Runs a program that has to do what it is told.
pub fn do_run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {complaint}");
}

/// A port of loopback that nobody has, and nobody gets who has not asked here.
///
/// It is below those that the system gives away (32768 and up, see ip(7)): until
/// a daemon listens there, another test would have been given it.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const N: u32 = 20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Two runs of the tests at once begin at different ones.
    let mut ports = std::iter::repeat_with(|| {
        let n = std::process::id() * 256 + TAKEN.fetch_add(1, Ordering::Relaxed);
        u16::try_from(FIRST + n % N).unwrap()
    });
    let is_free = |&port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    ports.by_ref().take(100).find(is_free).expect("a port that is free")
}

/// Waits until somebody listens there.
pub fn wait_for(address: SocketAddr) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "nobody listens at {address}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Listens, and has each connection `served`. Ends with the process.
#[cfg(any(feature = "ssh", feature = "mail"))]
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
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

/// Waits until the other end is gone.
#[cfg(any(feature = "ssh", feature = "mail"))]
pub fn stall(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
}
