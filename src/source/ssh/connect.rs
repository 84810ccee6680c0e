//! Opens the SSH connection to a server and starts the listing there.
#![expect(clippy::disallowed_types, reason = "this is where servers are connected to")]
use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{ErrorCode, MethodType, Session};

use crate::parse::capture::{Capture, CaptureFormat, CaptureNote};

use super::{
    SshError, SshServer, host_key, listing, login, ssh_error::describe_error, stopwatch::Stopwatch,
};
use crate::source::Activity;

/// Accepted ciphers. The defaults of libssh2 for ciphers and MACs also include broken
/// ones, which a server without others or an attacker in between could choose. Its
/// default key exchanges are modern.
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,\
                       aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";
/// Accepted MACs, limited for the same reason.
const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,\
                    hmac-sha2-256,hmac-sha2-512";

/// Connects, verifies the host key, logs in and starts the listing.
pub(super) fn open_capture(server: &SshServer, activity: &Activity) -> Result<Capture, SshError> {
    let mut stopwatch = Stopwatch::new(server.timeout);
    activity.set("finding its address");
    let addresses = resolve_host(server)?;
    activity.set("connecting");
    let (stream, poll_stream) = connect_tcp(server, &addresses, &stopwatch)?;
    stopwatch.record_lap("connect");

    activity.set("agreeing on keys");
    let known_hosts = host_key::KnownHosts::read(server)?;
    let session = handshake(server, (stream, &poll_stream), &known_hosts, &stopwatch)?;
    host_key::verify(server, &session, known_hosts)?;
    stopwatch.record_lap("key exchange");

    activity.set("logging in");
    let login_method = login::login(server, &session, &stopwatch)?;
    stopwatch.record_lap("login");

    activity.set("running its listing");
    let algorithms = negotiated_algorithms(&session);
    let (reader, start) = listing::start(server, (session, poll_stream), &stopwatch)?;
    stopwatch.record_lap("first line");
    activity.set(format!("running {}", start.command));
    Ok(Capture {
        format: CaptureFormat::Listing,
        origin: server.name(),
        byte_order: start.byte_order,
        session_connection: start.session_connection,
        local_addresses: start.local_addresses,
        notes: vec![
            CaptureNote::SshLogin {
                server: server.name(),
                user: server.user.clone(),
                method: login_method,
                command: start.command,
            },
            CaptureNote::SshSession {
                server: server.name(),
                algorithms,
                timings: stopwatch.lap_summary(),
            },
        ],
        bytes: Box::new(reader),
    })
}

fn resolve_host(server: &SshServer) -> Result<Vec<SocketAddr>, SshError> {
    let failed = |source| SshError::Resolve { host: server.host.clone(), source };
    let addresses: Vec<_> =
        (server.host.as_str(), server.port).to_socket_addrs().map_err(failed)?.collect();
    if addresses.is_empty() {
        return Err(failed(io::Error::other("it has no address")));
    }
    Ok(addresses)
}

/// Connects to the first address that answers; each address gets an equal share of
/// the remaining time. Returns the stream twice: one for the session, one to poll
/// while the session owns the first.
fn connect_tcp(
    server: &SshServer,
    addresses: &[SocketAddr],
    stopwatch: &Stopwatch,
) -> Result<(TcpStream, TcpStream), SshError> {
    let failed = |address, source| SshError::Connect { host: server.host.clone(), address, source };
    let mut last_error = None;
    for (address, n_others) in addresses.iter().zip((0..addresses.len()).rev()) {
        let n_addresses_left = u32::try_from(n_others).unwrap_or(u32::MAX - 1) + 1;
        let timeout = stopwatch.remaining() / n_addresses_left;
        match TcpStream::connect_timeout(address, timeout) {
            Ok(stream) => {
                // The packets of a login are small, and each waits for the reply to
                // the previous one: Nagle's algorithm would delay them.
                let poll_stream = stream.set_nodelay(true).and_then(|()| stream.try_clone());
                let poll_stream = poll_stream.map_err(|source| failed(*address, source))?;
                return Ok((stream, poll_stream));
            }
            Err(source) => last_error = Some((*address, source)),
        }
    }
    let (address, source) = last_error.expect("resolve_host returns at least one address");
    Err(failed(address, source))
}

fn handshake(
    server: &SshServer,
    (stream, poll_stream): (TcpStream, &TcpStream),
    known_hosts: &host_key::KnownHosts,
    stopwatch: &Stopwatch,
) -> Result<Session, SshError> {
    let failed = |problem: String| SshError::Handshake { host: server.host.clone(), problem };
    let setup_failed = |error: ssh2::Error| failed(describe_error(&error));
    let mut session = Session::new().map_err(setup_failed)?;
    for (method, names) in [
        (MethodType::CryptCs, CIPHERS),
        (MethodType::CryptSc, CIPHERS),
        (MethodType::MacCs, MACS),
        (MethodType::MacSc, MACS),
    ] {
        session.method_pref(method, names).map_err(setup_failed)?;
    }
    session
        .method_pref(MethodType::HostKey, &known_hosts.preferred_algorithms())
        .map_err(setup_failed)?;
    session.set_tcp_stream(stream);
    stopwatch.limit_session(&session);
    match session.handshake() {
        Ok(()) => Ok(session),
        Err(error) => Err(failed(describe_handshake_error(&session, poll_stream, &error))),
    }
}

/// Returns the message for a failed handshake.
///
/// libssh2 has the same error codes for two sides without a common algorithm and
/// for a peer that closes the connection before the agreement. It does report the
/// algorithms agreed so far, in the order of negotiation (RFC 4253, 7.1).
fn describe_handshake_error(
    session: &Session,
    poll_stream: &TcpStream,
    error: &ssh2::Error,
) -> String {
    let any_missing = |methods: [MethodType; 2]| {
        methods.map(|method| session.methods(method).is_none()) != [false; 2]
    };
    let has_key_exchange = !any_missing([MethodType::Kex, MethodType::HostKey]);
    let message = match error.code() {
        ErrorCode::Session(-5)
            if has_key_exchange && any_missing([MethodType::CryptCs, MethodType::CryptSc]) =>
        {
            "there is no cipher that both sides know"
        }
        ErrorCode::Session(-5)
            if has_key_exchange && any_missing([MethodType::MacCs, MethodType::MacSc]) =>
        {
            "there is no MAC that both sides know"
        }
        ErrorCode::Session(-5)
            if !has_key_exchange
                && session.banner().is_some()
                && is_closed_by_peer(poll_stream) =>
        {
            "it closed the connection, maybe for want of a key exchange that both sides know"
        }
        ErrorCode::Session(-5 | -8) if is_closed_by_peer(poll_stream) => "it closed the connection",
        _ => return describe_error(error),
    };
    message.to_owned()
}

/// Returns true if the peer has reset the connection, or has closed it and all its
/// data is read.
fn is_closed_by_peer(poll_stream: &TcpStream) -> bool {
    let mut poll_fds = [PollFd::new(poll_stream, PollFlags::IN)];
    let is_reset = poll(&mut poll_fds, Some(&Timespec::default())).is_ok()
        && poll_fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
    let peeked = poll_stream.set_nonblocking(true).and_then(|()| poll_stream.peek(&mut [0]));
    is_reset
        || match peeked {
            Ok(length) => length == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
}

fn negotiated_algorithms(session: &Session) -> String {
    [MethodType::Kex, MethodType::HostKey, MethodType::CryptSc, MethodType::MacSc]
        .into_iter()
        .filter_map(|method| session.methods(method))
        .collect::<Vec<_>>()
        .join(" ")
}
