//! Against those who mean it ill: other users of the host, servers, and whoever
//! writes what is read.

mod planted;
mod secrets;
mod set_uid;
