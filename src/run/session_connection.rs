//! The SSH session's own connection. It is not counted, and the listing of a server without
//! it is incomplete.
use std::net::SocketAddr;

use crate::{
    model::connection::Connection,
    parse::{ParseStats, TableKind, capture::SessionConnection},
};

/// Search for the session connection in one capture.
#[derive(Default)]
pub(super) struct SessionDetector {
    /// Connection over which the capture is read; `None` for this host and for files.
    connection: Option<SessionConnection>,
    is_listed: bool,
    /// Number of connections in the capture that are not listening.
    n_connected: u64,
}

impl SessionDetector {
    pub(super) fn new(connection: Option<SessionConnection>) -> Self {
        Self { connection, ..Self::default() }
    }

    /// Returns whether `connection` is the session connection.
    pub(super) fn detect(&mut self, connection: &Connection) -> bool {
        self.n_connected += u64::from(connection.is_connected());
        let Some(session_connection) = self.connection else {
            return false;
        };
        let is_session = is_session_connection(connection, session_connection);
        self.is_listed |= is_session;
        is_session
    }

    /// Returns whether the capture of a server lacks connections. A server reached over
    /// TCP must list the session connection; conntrack may list it with other endpoints
    /// if it was forwarded.
    pub(super) fn is_incomplete(&self, stats: &ParseStats) -> bool {
        let Some(session_connection) = self.connection else {
            return false;
        };
        let has_sockets = stats.table_kind() == TableKind::Sockets;
        let must_be_listed =
            session_connection.is_confirmed && has_sockets && stats.n_truncated == 0;
        self.n_connected == 0 || (must_be_listed && !self.is_listed)
    }
}

/// Returns whether a connection is the session connection over which the source is
/// read. Both directions are compared because the server may be the local host.
fn is_session_connection(connection: &Connection, session_connection: SessionConnection) -> bool {
    let endpoints = (canonical(connection.local), canonical(connection.peer));
    endpoints == (session_connection.local, session_connection.peer)
        || endpoints == (session_connection.peer, session_connection.local)
}

fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}
