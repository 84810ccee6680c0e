//! Counts a server's TCP connections per remote address and judges the count.
//!
//! Each folder is a layer or a stage of the run; a folder imports only folders that
//! stand above it in this file:
//!
//! ```text
//! source ─▶ parse ─▶ connection* ─▶ filter ─▶ tally ─▶ summary ─▶ sample ─▶ rule ─▶ verdict ─▶ output
//! ```
//!
//! ARCHITECTURE.md has the layers, the data flow and the invariants.

/// Values: connections, networks, ranges, statuses, secrets, clean text.
pub mod model {
    pub mod connection;
    pub mod namespace;
    pub mod network;
    pub mod range;
    pub mod sanitize;
    pub mod secret;
    pub mod verdict;
}

/// From the bytes of a source to connections.
pub mod parse {
    mod bsd;
    pub mod capture;
    pub mod conntrack;
    mod detect;
    mod endpoint;
    mod fast_path;
    pub mod inet_diag;
    pub mod line;
    mod listing;
    pub mod netlink;
    mod netstat;
    mod proc_net;
    mod reader;
    mod row;
    mod solaris;
    mod ss;
    mod state_name;
    mod windows;

    pub use reader::*;
}

/// From connections to a verdict: selection, counts, statistics, rules, history.
pub mod analysis {
    pub mod filter;
    pub mod history;
    pub mod label;
    pub mod peer_details;
    pub mod rule;
    pub mod summary;
    pub mod tally;
}

/// Alerts as lines of a log, and totals of the lines that are read back.
pub mod alert_log {
    pub mod entry;
    pub mod parse;
    pub mod stats;
}

/// The report of a run, and its text for Nagios, Munin, mail, programs and people.
pub mod output {
    mod email;
    mod json;
    mod log_table;
    pub mod munin;
    mod nagios;
    mod namespaces;
    mod parse_notes;
    mod report;
    mod text;
    mod watch;

    pub use email::{Letter, alert, recovery};
    pub use json::{json, json_failure};
    pub use log_table::{
        Picture, complaint, offenders_as_csv, offenders_as_json, offenders_as_text,
    };
    pub use nagios::{failure, nagios};
    pub use namespaces::elsewhere;
    pub use parse_notes::{assumed, cut, looked_at, unreadable, untold};
    pub use report::{LISTED, Report, Trouble, Verbosity, View};
    pub use text::{earlier, left_out, span};
    pub use watch::{Row, Watched, line, screen};
}

/// This process and this host: user, signals, terminal, files that others could have
/// planted.
pub mod sys {
    pub mod command_line;
    pub mod exec;
    pub mod local_time;
    pub mod process;
    pub mod resolver;
    pub mod secret_file;
    pub mod signals;
    pub mod stdio;
    pub mod terminal;
    pub mod trusted_file;
    pub mod user;
}

/// Where connections come from: the kernel, `/proc`, a file, a server.
pub mod source {
    mod conntrack;
    mod dispatch;
    mod file;
    mod netlink;
    mod netns;
    mod procfs;
    mod ssh;

    pub use dispatch::*;
    pub use netns::{Elsewhere, Finding, Found, Netns, NetnsError, elsewhere, find};
    #[cfg(all(fuzzing, feature = "ssh"))]
    pub use ssh::ssh_fuzz;
    pub use ssh::{Credentials, Dial, HostKeyPolicy, Server, SshError, dial};
}

/// Files that are kept from run to run, and lists that an administrator writes.
pub mod storage {
    pub mod log_file;
    pub mod log_reader;
    pub mod network_list;
    pub mod state_file;
}

/// Alerts to a mail server and to the log daemons of this host.
pub mod notify {
    pub mod journald;
    pub mod mail;
    pub mod syslog;
}

/// The order of the stages.
pub mod run {
    mod alert;
    mod check;
    mod error;
    mod exclude_files;
    mod log_summary;
    mod mail;
    mod namespaces;
    mod observation;
    mod progress;
    mod sample;
    mod saved_state;
    mod targets;
    mod watch;

    pub use alert::{Alerts, Log, Sink};
    pub use check::*;
    pub use error::{Error, advice_on, chain};
    pub use log_summary::{Review, Reviewed, review};
    pub use mail::MailOrder;
    pub use progress::{Progress, Stage};
    pub use targets::Target;
    pub use watch::{Glance, Watcher};
}

/// The programs: names, options, environment, exit codes, the time limit.
pub mod cli {
    mod applet;
    mod args;
    mod check_topip;
    #[cfg(fuzzing)]
    pub mod cli_fuzz;
    mod config;
    mod duration;
    mod mail_config;
    mod munin_topip;
    mod remote;
    mod server_name;
    mod target_config;
    mod topip_log;
    mod usage;
    mod value_parser;
    mod watchdog;

    pub use applet::*;
    pub use args::{command, manual_options};
    pub use munin_topip::munin_variables;
    pub use remote::Reach;
}
