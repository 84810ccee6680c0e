//! What libssh2 says, for people.

/// What libssh2 says, in words for those that it has only numbers or riddles
/// for (libssh2.h).
pub(super) fn problem(error: &ssh2::Error) -> String {
    let known = match error.code() {
        ssh2::ErrorCode::Session(-5) => "there is no key exchange or host key that both sides know",
        ssh2::ErrorCode::Session(-8) => "the key exchange came to nothing",
        ssh2::ErrorCode::Session(-9) => "it gave no answer in time",
        ssh2::ErrorCode::Session(-13) => "it closed the connection",
        ssh2::ErrorCode::Session(-43) => "it closed the connection, or is no SSH server",
        ssh2::ErrorCode::Session(-2) => "it sent no SSH banner",
        _ => return error.message().to_owned(),
    };
    known.to_owned()
}
