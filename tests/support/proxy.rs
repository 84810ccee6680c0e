//! Stands between a program and its peer, and breaks their conversation where
//! it is told to.
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

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the program under test to its peer.
    Up,
    /// From the peer.
    Down,
}

/// What becomes of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Both connections are closed.
    Close,
    /// Both are reset.
    Reset,
    /// Nothing comes any more, and nothing is closed.
    Stall,
}

/// After how many bytes of which way what happens.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub way: Way,
    pub after: usize,
    pub then: Then,
}

/// What went up and what went down, as far as it was let through.
#[derive(Debug, Default)]
pub struct Heard {
    pub up: Vec<u8>,
    pub down: Vec<u8>,
}

/// One conversation with the peer at the other end.
pub struct Proxy {
    pub port: u16,
    thread: JoinHandle<Heard>,
}

/// Nobody who is tested takes longer.
const LONGEST: Duration = Duration::from_secs(60);

impl Proxy {
    /// Waits for one client, whom it lets talk with `peer` up to the cut.
    pub fn start(peer: SocketAddr, cut: Option<Cut>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            let wait = Timespec::try_from(LONGEST).unwrap();
            let n = poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&wait)).unwrap();
            assert_eq!(n, 1, "nobody came to the proxy");
            let client = listener.accept().unwrap().0;
            converse(client, TcpStream::connect(peer).unwrap(), cut)
        });
        Self { port, thread }
    }

    /// What was let through, once that has ended.
    pub fn heard(self) -> Heard {
        self.thread.join().unwrap()
    }
}

fn converse(mut client: TcpStream, mut peer: TcpStream, cut: Option<Cut>) -> Heard {
    let mut heard = Heard::default();
    let mut open = (true, true);
    let until = Instant::now() + LONGEST;
    client.set_nodelay(true).unwrap();
    peer.set_nodelay(true).unwrap();
    let room = |way: Way, heard: usize| match cut {
        Some(cut) if cut.way == way => cut.after - heard,
        _ => usize::MAX,
    };
    while open.0 || open.1 {
        let rooms = (room(Way::Up, heard.up.len()), room(Way::Down, heard.down.len()));
        if rooms.0 == 0 || rooms.1 == 0 {
            end(client, peer, cut.unwrap().then, until);
            return heard;
        }
        let flags = |open: bool| if open { PollFlags::IN } else { PollFlags::empty() };
        let mut both = [PollFd::new(&client, flags(open.0)), PollFd::new(&peer, flags(open.1))];
        let left = until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "a conversation that does not end");
        poll(&mut both, Some(&Timespec::try_from(left).unwrap())).unwrap();
        let ready = (!both[0].revents().is_empty(), !both[1].revents().is_empty());
        if open.0 && ready.0 {
            open.0 = pass(&mut client, &mut peer, rooms.0, &mut heard.up);
        }
        if open.1 && ready.1 {
            open.1 = pass(&mut peer, &mut client, rooms.1, &mut heard.down);
        }
        // A peer that is gone both ways says so for ever.
        if !open.0 && ready.0 || !open.1 && ready.1 {
            break;
        }
    }
    heard
}

/// Passes on what there is, up to `room` bytes; says whether more may come.
fn pass(from: &mut TcpStream, to: &mut TcpStream, room: usize, heard: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 32 * 1024];
    let length = room.min(buffer.len());
    match from.read(&mut buffer[..length]) {
        Ok(n @ 1..) if to.write_all(&buffer[..n]).is_ok() => {
            heard.extend(&buffer[..n]);
            true
        }
        _ => {
            let _ = to.shutdown(std::net::Shutdown::Write);
            false
        }
    }
}

fn end(mut client: TcpStream, peer: TcpStream, then: Then, until: Instant) {
    match then {
        Then::Close => {}
        Then::Reset => {
            for stream in [&client, &peer] {
                // What is dropped with this set is not closed but reset.
                set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
            }
        }
        Then::Stall => {
            client.set_read_timeout(Some(until.saturating_duration_since(Instant::now()))).unwrap();
            let mut buffer = [0; 1024];
            while client.read(&mut buffer).is_ok_and(|n| n > 0) {}
        }
    }
    drop((client, peer));
}
