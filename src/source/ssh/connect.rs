//! Opens the SSH connection to a server and starts the listing there.
#![expect(clippy::disallowed_types, reason = "this module connects to SSH servers")]
use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{ErrorCode, MethodType, Session};

use crate::parse::capture::{Capture, CaptureNote};

use super::{
    SshError, SshServer, host_key, listing, login,
    packet_format::PacketFormat,
    relay::{self, Relay},
    session::LimitedSession,
    ssh_error::describe_error,
    stopwatch::Stopwatch,
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
    let (relay, socket) = connect_tcp(server, &addresses, &stopwatch)?;
    stopwatch.record_lap("connect");

    activity.set("exchanging keys");
    let known_hosts = host_key::KnownHosts::read(server)?;
    let mut session = handshake(server, (relay, socket), &known_hosts)?;
    host_key::verify(server, session.session(), known_hosts)?;
    stopwatch.record_lap("key exchange");

    activity.set("logging in");
    let login_method = login::login(server, &mut session)?;
    let packet_format = PacketFormat::negotiated(session.session());
    session.relay().end_login(packet_format);
    stopwatch.record_lap("login");

    activity.set("running the listing command");
    let algorithms = negotiated_algorithms(session.session());
    let (reader, start) = listing::start(server, session)?;
    stopwatch.record_lap("first line");
    activity.set(format!("running {}", start.command));
    let notes = vec![
        CaptureNote::SshLogin {
            server: server.name(),
            user: server.user.clone(),
            method: login_method,
            command: start.command.clone(),
        },
        CaptureNote::SshSession {
            server: server.name(),
            algorithms,
            timings: stopwatch.lap_summary(),
        },
    ];
    Ok(start.into_capture(reader, server.name(), notes))
}

fn resolve_host(server: &SshServer) -> Result<Vec<SocketAddr>, SshError> {
    let failed = |source| SshError::Resolve { host: server.name(), source };
    let addresses: Vec<_> =
        (server.host.as_str(), server.port).to_socket_addrs().map_err(failed)?.collect();
    if addresses.is_empty() {
        return Err(failed(io::Error::other("the name has no address")));
    }
    Ok(addresses)
}

/// Connects to the first address that answers; each address gets an equal share of
/// the remaining time. Returns the relay of the connection, and its socket for the
/// session.
fn connect_tcp(
    server: &SshServer,
    addresses: &[SocketAddr],
    stopwatch: &Stopwatch,
) -> Result<(Relay, UnixStream), SshError> {
    let failed = |address, source| SshError::Connect { host: server.name(), address, source };
    let mut last_error = None;
    for (address, n_others) in addresses.iter().zip((0..addresses.len()).rev()) {
        let n_addresses_left = u32::try_from(n_others).unwrap_or(u32::MAX - 1) + 1;
        let timeout = stopwatch.remaining() / n_addresses_left;
        match TcpStream::connect_timeout(address, timeout) {
            Ok(stream) => {
                // The packets of a login are small, and each waits for the reply to
                // the previous one: Nagle's algorithm would delay them.
                let relay = stream.set_nodelay(true);
                let relay = relay.and_then(|()| Relay::new(stream, stopwatch.deadline()));
                return relay.map_err(|source| failed(address.ip(), source));
            }
            Err(source) => last_error = Some((address.ip(), source)),
        }
    }
    let (address, source) = last_error.expect("resolve_host returns at least one address");
    Err(failed(address, source))
}

fn handshake(
    server: &SshServer,
    (relay, socket): (Relay, UnixStream),
    known_hosts: &host_key::KnownHosts,
) -> Result<LimitedSession, SshError> {
    let failed = |problem: String| SshError::Handshake { host: server.name(), problem };
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
    session.set_tcp_stream(socket);
    let mut session = LimitedSession::new(relay, session);
    match session.complete(Session::handshake) {
        Ok(()) => Ok(session),
        Err(error) => Err(failed(match session.relay().refusal() {
            Some(line) if error.code() != relay::TOO_MANY_BYTES => {
                format!("the server answered {line}")
            }
            _ => describe_handshake_error(&session, &error),
        })),
    }
}

/// Returns the message for a failed handshake.
///
/// libssh2 has the same error codes for two sides without a common algorithm and
/// for a peer that closes the connection before the agreement. It does report the
/// algorithms agreed so far, in the order of negotiation (RFC 4253, 7.1).
fn describe_handshake_error(session: &LimitedSession, error: &ssh2::Error) -> String {
    let is_closed = is_closed_by_peer(session.network());
    let session = session.session();
    let any_missing = |methods: [MethodType; 2]| {
        methods.map(|method| session.methods(method).is_none()) != [false; 2]
    };
    let has_key_exchange = !any_missing([MethodType::Kex, MethodType::HostKey]);
    let message = match error.code() {
        ErrorCode::Session(-5)
            if has_key_exchange && any_missing([MethodType::CryptCs, MethodType::CryptSc]) =>
        {
            "the server supports none of the accepted ciphers"
        }
        ErrorCode::Session(-5)
            if has_key_exchange && any_missing([MethodType::MacCs, MethodType::MacSc]) =>
        {
            "the server supports none of the accepted MACs"
        }
        ErrorCode::Session(-5) if !has_key_exchange && session.banner().is_some() && is_closed => {
            "the server closed the connection, perhaps because it supports none of the accepted \
             key exchange algorithms"
        }
        ErrorCode::Session(-5 | -8) if is_closed => "the server closed the connection",
        _ => return describe_error(error),
    };
    message.to_owned()
}

/// Returns true if the peer has reset the connection, or has closed it and all its
/// data is read.
fn is_closed_by_peer(stream: &TcpStream) -> bool {
    let mut poll_fds = [PollFd::new(stream, PollFlags::IN)];
    let is_reset = poll(&mut poll_fds, Some(&Timespec::default())).is_ok()
        && poll_fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
    is_reset
        || match stream.peek(&mut [0]) {
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
