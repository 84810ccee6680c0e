//! A TCP proxy that breaks a connection after a given number of bytes.
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::set_socket_linger,
};

/// Direction of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the program under test to its peer.
    Up,
    /// From the peer to the program under test.
    Down,
}

/// Kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Both connections are closed.
    Close,
    /// Both connections are reset.
    Reset,
    /// No more bytes are forwarded, and nothing is closed.
    Stall,
}

/// Position and kind of a failure.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub direction: Direction,
    pub after_bytes: usize,
    pub failure: Failure,
}

/// The bytes that were forwarded in each direction.
#[derive(Debug, Default)]
pub struct Traffic {
    pub up: Vec<u8>,
    pub down: Vec<u8>,
}

/// A proxy for one connection.
pub struct Proxy {
    pub port: u16,
    thread: JoinHandle<Traffic>,
}

/// Maximum duration of a connection.
const MAX_DURATION: Duration = Duration::from_secs(60);

impl Proxy {
    /// Waits for one client and forwards its connection to `peer` up to the cut.
    pub fn start(peer: SocketAddr, cut: Option<Cut>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            let wait = Timespec::try_from(MAX_DURATION).unwrap();
            let n = poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&wait)).unwrap();
            assert_eq!(n, 1, "no client connected to the proxy");
            let client = listener.accept().unwrap().0;
            relay(client, TcpStream::connect(peer).unwrap(), cut)
        });
        Self { port, thread }
    }

    /// Waits for the end and returns the forwarded bytes.
    pub fn wait(self) -> Traffic {
        self.thread.join().unwrap()
    }
}

fn relay(mut client: TcpStream, mut peer: TcpStream, cut: Option<Cut>) -> Traffic {
    let mut traffic = Traffic::default();
    let mut is_open = (true, true);
    let deadline = Instant::now() + MAX_DURATION;
    client.set_nodelay(true).unwrap();
    peer.set_nodelay(true).unwrap();
    let budget = |direction: Direction, traffic: usize| match cut {
        Some(cut) if cut.direction == direction => cut.after_bytes - traffic,
        _ => usize::MAX,
    };
    while is_open.0 || is_open.1 {
        let budgets =
            (budget(Direction::Up, traffic.up.len()), budget(Direction::Down, traffic.down.len()));
        if budgets.0 == 0 || budgets.1 == 0 {
            break_off(client, peer, cut.unwrap().failure, deadline);
            return traffic;
        }
        let flags = |is_open: bool| if is_open { PollFlags::IN } else { PollFlags::empty() };
        let mut poll_fds =
            [PollFd::new(&client, flags(is_open.0)), PollFd::new(&peer, flags(is_open.1))];
        let remaining = deadline.saturating_duration_since(Instant::now());
        assert!(!remaining.is_zero(), "the connection does not end");
        poll(&mut poll_fds, Some(&Timespec::try_from(remaining).unwrap())).unwrap();
        let is_ready = (!poll_fds[0].revents().is_empty(), !poll_fds[1].revents().is_empty());
        if is_open.0 && is_ready.0 {
            is_open.0 = forward(&mut client, &mut peer, budgets.0, &mut traffic.up);
        }
        if is_open.1 && is_ready.1 {
            is_open.1 = forward(&mut peer, &mut client, budgets.1, &mut traffic.down);
        }
        // poll(2) would report a connection that is closed in both directions forever.
        if !is_open.0 && is_ready.0 || !is_open.1 && is_ready.1 {
            break;
        }
    }
    traffic
}

/// Forwards the available bytes, up to `budget`, and returns whether more may follow.
fn forward(from: &mut TcpStream, to: &mut TcpStream, budget: usize, traffic: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 32 * 1024];
    let length = budget.min(buffer.len());
    match from.read(&mut buffer[..length]) {
        Ok(n @ 1..) if to.write_all(&buffer[..n]).is_ok() => {
            traffic.extend(&buffer[..n]);
            true
        }
        _ => {
            let _ = to.shutdown(std::net::Shutdown::Write);
            false
        }
    }
}

fn break_off(mut client: TcpStream, peer: TcpStream, failure: Failure, deadline: Instant) {
    match failure {
        Failure::Close => {}
        Failure::Reset => {
            for stream in [&client, &peer] {
                // A socket with this option is reset instead of closed.
                set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
            }
        }
        Failure::Stall => {
            client
                .set_read_timeout(Some(deadline.saturating_duration_since(Instant::now())))
                .unwrap();
            let mut buffer = [0; 1024];
            while client.read(&mut buffer).is_ok_and(|n| n > 0) {}
        }
    }
    drop((client, peer));
}
