//! Session of libssh2 with limits for its bytes and its time.
#![expect(clippy::disallowed_types, reason = "this module passes a socket on")]
use std::net::TcpStream;

use ssh2::{ErrorCode, Session};

use super::{relay::Relay, ssh_error::quoted};

/// Code of libssh2 for a call that must be repeated when its socket is ready.
const WOULD_BLOCK: ErrorCode = ErrorCode::Session(-37);

/// Session in non-blocking mode, and the relay that it reads from.
pub(super) struct LimitedSession {
    // The fields are dropped in this order. Without its socket, a session is freed at
    // once; with it, a session that cannot send its last packet is never freed.
    relay: Relay,
    session: Session,
}

impl LimitedSession {
    /// Takes over a session that has the socket for this relay.
    pub(super) fn new(relay: Relay, session: Session) -> Self {
        session.set_blocking(false);
        Self { relay, session }
    }

    /// Returns the session, for calls that do not communicate.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the connection to the server.
    pub(super) fn network(&self) -> &TcpStream {
        self.relay.network()
    }

    /// Returns true if the server has closed the connection, or has sent its last message.
    pub(super) fn is_closed(&self) -> bool {
        !self.relay.is_receiving() || self.session.received_disconnect().is_some()
    }

    /// Returns the message that the server sent before it closed the connection, on one
    /// line of limited length; empty if the server sent none.
    pub(super) fn disconnect_message(&self) -> String {
        let message = self.session.received_disconnect().unwrap_or_default();
        quoted(&String::from_utf8_lossy(&message))
    }

    /// Returns the relay.
    pub(super) fn relay(&mut self) -> &mut Relay {
        &mut self.relay
    }

    /// Repeats a call of libssh2 until it has a result.
    ///
    /// # Errors
    ///
    /// Returns an error if the call fails, if the deadline has passed, or if the server
    /// exceeds its byte limit.
    pub(super) fn complete<T>(
        &mut self,
        mut call: impl FnMut(&mut Session) -> Result<T, ssh2::Error>,
    ) -> Result<T, ssh2::Error> {
        loop {
            match call(&mut self.session) {
                Err(error) if error.code() == WOULD_BLOCK => self.relay.exchange()?,
                result => return result,
            }
        }
    }
}
