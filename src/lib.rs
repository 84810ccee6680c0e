//! Counts a server's TCP connections per remote address and judges the count.
//!
//! The modules are the stages of one river, named after what leaves them:
//!
//! ```text
//! source ─▶ capture ─▶ parse ─▶ connection* ─▶ filter ─▶ tally ─▶ summary ─▶ sample
//! (world)                                                                     │
//!                                         history ◀── state_file (world)      │
//!                                            └───────────────┬────────────────┘
//!                                                      rule: judge ─▶ verdict ─▶ report ─▶ deliver (world)
//! ```
//!
//! ARCHITECTURE.md has the floors that they stand on and what holds between them.

pub mod secret;
pub mod clean;
pub mod capture;
pub mod connection;
pub mod network;
pub mod namespace;
pub mod source;
pub mod line;
pub mod parse;
pub mod filter;
pub mod tally;
pub mod summary;
pub mod history;
pub mod range;
pub mod verdict;
pub mod rule;
pub mod labels;
pub mod evidence;
pub mod log_line;
pub mod offenders;
pub mod report;
pub mod network_file;
pub mod resolve;
pub mod secret_file;
pub mod account;
pub mod command_line;
pub mod hand_over;
pub mod process;
pub mod folder;
pub mod terminal;
pub mod signals;
pub mod state_file;
pub mod local_time;
pub mod log_file;
pub mod log_reader;
pub mod syslog;
pub mod journal;
pub mod mail;
pub mod deliver;
pub mod run;
pub mod applet;
