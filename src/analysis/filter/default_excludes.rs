//! Networks that are excluded unless `--no-default-excludes` is given.

/// The networks that are excluded by default: loopback, and the private range that
/// topip.py excluded.
pub const DEFAULT_EXCLUDES: [&str; 3] = ["127.0.0.0/8", "::1", "192.168.0.0/16"];
