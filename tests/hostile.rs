//! Under fire: faults that are made to happen for real, and those who mean it ill,
//! be they other users of the host, servers, or whoever writes what is read.
//! SECURITY.md has what is promised of each, in tables.

mod clock;
mod closed;
mod crash;
mod disk;
mod limits;
mod odd;
mod overlap;
mod planted;
mod promise;
#[cfg(all(feature = "ssh", feature = "mail"))]
mod secrets;
mod set_uid;
mod signals;
