//! From a server's name to a running command there.
#![expect(clippy::disallowed_types, reason = "this is where servers are connected to")]
use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{ErrorCode, MethodType, Session};

use crate::parse::capture::{Capture, Format};

use super::{Server, SshError, host_key, listing, login, ssh_error::problem, stopwatch::Clock};
use crate::source::Watch;

/// What a session may be encrypted and sealed with: libssh2 would also take what
/// was broken long ago, from a server that has nothing else, or from somebody who
/// sits before it. Its key exchanges are those of today.
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,\
                       aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";
const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,\
                    hmac-sha2-256,hmac-sha2-512";

/// Connects, makes sure of the host, logs in, starts the command.
pub(super) fn capture(server: &Server, watch: &Watch) -> Result<Capture, SshError> {
    let mut clock = Clock::start(server.patience);
    watch.set("finding its address");
    let addresses = resolve(server)?;
    watch.set("connecting");
    let (stream, socket) = connect(server, &addresses, &clock)?;
    clock.note("connect");

    watch.set("agreeing on keys");
    let known = host_key::KnownKeys::read(server)?;
    let session = handshake(server, (stream, &socket), &known, &clock)?;
    host_key::verify(server, &session, known)?;
    clock.note("key exchange");

    watch.set("logging in");
    let method = login::login(server, &session, &clock)?;
    clock.note("login");

    watch.set("running its listing");
    let agreed = algorithms(&session);
    let (reader, begun) = listing::start(server, (session, socket), &clock)?;
    clock.note("first line");
    watch.set(format!("running {}", begun.command));
    Ok(Capture {
        format: Format::Listing,
        origin: server.name(),
        byte_order: begun.byte_order,
        own: begun.own,
        addresses: begun.addresses,
        how: vec![
            format!(
                "{}: logged in as {} by {method}; ran {}",
                server.name(),
                server.user,
                begun.command
            ),
            format!("{}: {agreed}; {}", server.name(), clock.notes()),
        ],
        bytes: Box::new(reader),
    })
}

fn resolve(server: &Server) -> Result<Vec<SocketAddr>, SshError> {
    let failed = |source| SshError::Resolve { host: server.host.clone(), source };
    let addresses: Vec<_> =
        (server.host.as_str(), server.port).to_socket_addrs().map_err(failed)?.collect();
    match addresses[..] {
        [] => Err(failed(std::io::Error::other("it has no address"))),
        _ => Ok(addresses),
    }
}

/// The first address that answers, each having its share of what time is left;
/// to talk by, and to wait on while another has the first.
fn connect(
    server: &Server,
    addresses: &[SocketAddr],
    clock: &Clock,
) -> Result<(TcpStream, TcpStream), SshError> {
    let failed = |address, source| SshError::Connect { host: server.host.clone(), address, source };
    let mut last = None;
    for (address, others) in addresses.iter().zip((0..addresses.len()).rev()) {
        let share = clock.left() / (u32::try_from(others).unwrap_or(u32::MAX - 1) + 1);
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => {
                // Packets of a login are small, and wait for one another.
                let both = stream.set_nodelay(true).and_then(|()| stream.try_clone());
                let socket = both.map_err(|source| failed(*address, source))?;
                return Ok((stream, socket));
            }
            Err(source) => last = Some((*address, source)),
        }
    }
    let (address, source) = last.expect("there is an address");
    Err(failed(address, source))
}

fn handshake(
    server: &Server,
    (stream, socket): (TcpStream, &TcpStream),
    known: &host_key::KnownKeys,
    clock: &Clock,
) -> Result<Session, SshError> {
    let failed = |problem: String| SshError::Handshake { host: server.host.clone(), problem };
    let unable = |error: ssh2::Error| failed(problem(&error));
    let mut session = Session::new().map_err(unable)?;
    for (method, names) in [
        (MethodType::CryptCs, CIPHERS),
        (MethodType::CryptSc, CIPHERS),
        (MethodType::MacCs, MACS),
        (MethodType::MacSc, MACS),
    ] {
        session.method_pref(method, names).map_err(unable)?;
    }
    session.method_pref(MethodType::HostKey, &known.preference()).map_err(unable)?;
    session.set_tcp_stream(stream);
    clock.bound(&session);
    match session.handshake() {
        Ok(()) => Ok(session),
        Err(error) => Err(failed(disagreement(&session, socket, &error))),
    }
}

/// Why two sides have not agreed on keys. libssh2 has the same numbers for two
/// that know nothing in common, and for one that goes away before they do; but it
/// tells what was agreed on, in the order in which that is done (RFC 4253, 7.1).
fn disagreement(session: &Session, socket: &TcpStream, error: &ssh2::Error) -> String {
    let lacks =
        |methods: [MethodType; 2]| methods.map(|it| session.methods(it).is_none()) != [false; 2];
    let is_started = !lacks([MethodType::Kex, MethodType::HostKey]);
    let why = match error.code() {
        ErrorCode::Session(-5)
            if is_started && lacks([MethodType::CryptCs, MethodType::CryptSc]) =>
        {
            "there is no cipher that both sides know"
        }
        ErrorCode::Session(-5) if is_started && lacks([MethodType::MacCs, MethodType::MacSc]) => {
            "there is no MAC that both sides know"
        }
        ErrorCode::Session(-5) if !is_started && session.banner().is_some() && is_gone(socket) => {
            "it closed the connection, maybe for want of a key exchange that both sides know"
        }
        ErrorCode::Session(-5 | -8) if is_gone(socket) => "it closed the connection",
        _ => return problem(error),
    };
    why.to_owned()
}

/// Whether the other end is gone: it has closed, and all that it said before is
/// read, or it has reset the connection.
fn is_gone(socket: &TcpStream) -> bool {
    let mut asked = [PollFd::new(socket, PollFlags::IN)];
    let is_reset = poll(&mut asked, Some(&Timespec::default())).is_ok()
        && asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
    let next = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
    is_reset
        || match next {
            Ok(length) => length == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
}

fn algorithms(session: &Session) -> String {
    [MethodType::Kex, MethodType::HostKey, MethodType::CryptSc, MethodType::MacSc]
        .into_iter()
        .filter_map(|method| session.methods(method))
        .collect::<Vec<_>>()
        .join(" ")
}
