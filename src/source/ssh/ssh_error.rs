//! Messages for errors of libssh2.

/// Returns the message for an error. Replaces the messages of libssh2 that contain
/// only a number or are unclear; libssh2.h lists the codes.
pub(super) fn describe_error(error: &ssh2::Error) -> String {
    let message = match error.code() {
        ssh2::ErrorCode::Session(-5) => "there is no key exchange or host key that both sides know",
        ssh2::ErrorCode::Session(-8) => "the key exchange came to nothing",
        ssh2::ErrorCode::Session(-9) => "it gave no answer in time",
        ssh2::ErrorCode::Session(-13) => "it closed the connection",
        ssh2::ErrorCode::Session(-43) => "it closed the connection, or is no SSH server",
        ssh2::ErrorCode::Session(-2) => "it sent no SSH banner",
        _ => return error.message().to_owned(),
    };
    message.to_owned()
}
