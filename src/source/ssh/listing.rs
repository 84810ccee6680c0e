//! Runs the listing command on a server.
#![expect(clippy::disallowed_types, reason = "this module passes a socket on")]
use std::net::{SocketAddr, TcpStream};

use super::{
    SshError, SshServer,
    remote_command::RemoteCommand,
    session::LimitedSession,
    ssh_error::{describe_error, listing_error},
};
use crate::{
    parse::capture::SessionConnection,
    source::remote_listing::{ListingStart, RemoteListing},
};

/// Starts the command and waits for the first line of its listing.
pub(super) fn start(
    server: &SshServer,
    mut session: LimitedSession,
) -> Result<(RemoteListing<RemoteCommand>, ListingStart), SshError> {
    let failed = |error: ssh2::Error| SshError::Exec {
        host: server.name(),
        problem: describe_error(&error),
    };
    let mut channel = session.complete(|session| session.channel_session()).map_err(failed)?;
    let command_line = server.request.command_line();
    session.complete(|_| channel.exec(command_line)).map_err(failed)?;
    // Close standard input, so that the command does not wait for data there.
    session.complete(|_| channel.send_eof()).map_err(failed)?;
    let session_connection = local_session_connection(session.network());
    let command = RemoteCommand::new(session, channel);
    let mut listing = RemoteListing::new(command);
    let start = listing.read_start(&server.request, session_connection);
    let start = start.map_err(|error| listing_error(server, &error))?;
    Ok((listing, start))
}

/// Returns the TCP connection of this session as this host sees it. The server sees
/// the same addresses unless a device in between rewrites them.
fn local_session_connection(stream: &TcpStream) -> Option<SessionConnection> {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (client, server) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    Some(SessionConnection {
        local: canonical(server),
        peer: canonical(client),
        is_confirmed: false,
    })
}
