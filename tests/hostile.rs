//! Against those who mean it ill: other users of the host, servers, and whoever
//! writes what is read.

mod set_uid;
