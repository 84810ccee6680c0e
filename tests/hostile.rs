//! Against those who mean it ill: other users of the host, servers, and whoever
//! writes what is read.

mod secrets;
mod set_uid;
