//! Counts the TCP connections of a server per remote address and judges the highest
//! count.
//!
//! Each module below belongs to a layer and imports only from modules above it in this
//! file. Data flows through the modules in this order:
//!
//! ```text
//! source ─▶ parse ─▶ connection* ─▶ filter ─▶ tally ─▶ summary ─▶ sample ─▶ rule ─▶ verdict ─▶ output
//! ```
//!
//! ARCHITECTURE.md describes the layers, the data flow and the invariants.

/// Values: connections, networks, host names, ranges, verdicts, secrets, and sanitized text.
pub mod model {
    pub mod connection;
    pub mod host_name;
    pub mod kernel_counters;
    pub mod metric;
    pub mod namespace;
    pub mod network;
    pub mod peer_id;
    pub mod problem;
    pub mod protocol;
    pub mod range;
    pub mod sanitize;
    pub mod secret;
    pub mod verdict;
}

/// Parsers that turn the bytes of a source into connections.
pub mod parse {
    pub mod bpf_walk;
    mod bsd;
    pub mod capture;
    pub mod conntrack;
    mod counts;
    mod detect;
    mod dialect;
    mod endpoint;
    mod error;
    pub mod inet_diag;
    pub mod kernel_counters;
    mod lazy_regex;
    pub mod line;
    mod listing;
    pub mod netlink;
    mod netstat;
    mod proc_net;
    mod reader;
    mod row;
    mod shell_text;
    mod solaris;
    mod ss;
    mod state_name;
    mod stats;
    mod table_list;
    mod windows;

    pub use dialect::{Dialect, TableKind};
    pub use error::{ParseError, RowErrorKind, UnreadableRow, UnsupportedFormat};
    pub use reader::{read, read_protocol};
    pub use stats::ParseStats;
}

/// Analysis that turns connections into a verdict: filter, counts, statistics, rules,
/// and history.
pub mod analysis {
    pub mod filter;
    pub mod history;
    pub mod label;
    mod network_set;
    pub mod note;
    pub mod observation;
    pub mod operator;
    pub mod peer_details;
    pub mod protection;
    pub mod rule;
    pub mod sample;
    pub mod summary;
    pub mod tally;
    pub mod view;
}

/// Lines of the alert log, and totals of the lines per address.
pub mod alert_log {
    pub mod entry;
    pub mod group_alert;
    pub mod parse;
    pub mod stats;
    pub mod time_line;
}

/// The report of a run, and its formats: Nagios, Munin, JSON, email, and text.
pub mod output {
    mod checkmk;
    mod email;
    mod html;
    mod json;
    mod lane_drawing;
    mod log_page;
    mod log_table;
    pub mod munin;
    mod nagios;
    mod namespaces;
    mod notes;
    mod noun;
    mod openmetrics;
    mod parse_problems;
    mod report;
    mod text;
    mod time_axis;
    mod watch;

    pub use checkmk::{render_checkmk, render_checkmk_failure};
    pub use email::{Email, alert_email, recovery_email};
    pub use json::{render_json, render_json_failure, render_offenders};
    pub use log_page::{OffenderPage, render_offender_page};
    pub use log_table::{
        OffenderColumns, OffenderTable, TableLayout, render_log_problem, render_offender_csv,
        render_offender_json, render_offender_table, render_stderr_problem,
    };
    pub use nagios::{render_nagios, render_nagios_failure};
    pub use notes::note_text;
    pub use openmetrics::{render_openmetrics, render_openmetrics_failure};
    pub use parse_problems::parse_problems;
    pub use report::{
        DEFAULT_LISTED_PEERS, MAX_LOGGED_ALERTS, MailDetail, PassedOn, Report, Verbosity,
    };
    pub use text::{format_duration, previous_sample_lines, skipped_lines};
    pub use watch::{ScreenRow, WatchFrame, render_watch_line, render_watch_screen};
}

/// This process and this host: user, signals, terminal, and files that other users
/// could have planted.
pub mod sys {
    pub(crate) mod child_process;
    pub mod namespace_owner;
    pub mod command_line;
    pub mod exec;
    pub mod local_time;
    pub mod pipe;
    pub mod network_interface;
    pub mod process;
    pub mod resolver;
    pub mod secret_file;
    pub mod signals;
    pub mod stdio;
    pub mod terminal;
    #[cfg_attr(not(feature = "ssh"), expect(dead_code, reason = "known_hosts is for SSH"))]
    pub(crate) mod trusted_file;
    pub mod user;
}

/// Sources of connections: the kernel, `/proc`, files, and servers over SSH.
pub mod source {
    mod activity;
    mod bpf_walk;
    mod conntrack;
    mod dispatch;
    mod file;
    mod kernel_counters;
    mod netlink;
    mod netns;
    mod procfs;
    mod remote_listing;
    mod rsh;
    mod source_error;
    mod ssh;

    pub use activity::Activity;
    pub use bpf_walk::BpfWalk;
    pub use conntrack::local_addresses;
    pub use dispatch::Source;
    pub use netns::{
        HiddenNamespaces, NetnsError, NetnsSelector, Resolution, ResolvedNamespace,
        find_hidden_namespaces, resolve_namespaces,
    };
    pub use remote_listing::ListingRequest;
    pub use rsh::{RemoteShell, RemoteShellError, RshError, RshServer};
    pub use source_error::{SourceError, SshFailure};
    #[cfg(all(fuzzing, feature = "ssh"))]
    pub use ssh::ssh_fuzz;
    pub use ssh::{ConnectFn, Credentials, HostKeyPolicy, SshError, SshServer, connect};
}

/// Files: the state file, the alert log, settings, lists of networks, and network databases.
pub mod storage {
    pub mod log_file;
    pub mod log_reader;
    pub mod network_db;
    pub mod network_list;
    pub mod output_file;
    pub mod settings_file;
    pub mod state_file;
}

/// Notifications by mail, syslog, journald, and a program.
pub mod notify {
    pub mod alert_program;
    pub mod journald;
    pub mod log_daemon;
    pub mod mail;
    pub mod syslog;
}

/// The stages of a run, in order: sample, judge, update the state, notify, report.
pub mod run {
    mod alert;
    mod check;
    mod exclude_files;
    mod log_summary;
    mod mail;
    mod namespaces;
    mod observation;
    mod operators;
    mod progress;
    mod run_error;
    mod sample;
    mod saved_state;
    mod session_connection;
    mod targets;
    mod watch;

    pub use alert::{LogConfig, NotifyConfig, ProgramConfig, Sink};
    pub use check::*;
    pub use log_summary::{LogQuery, LogSummary, TopOffenders, summarize_logs};
    pub use mail::MailConfig;
    pub use progress::{Progress, Stage};
    pub use run_error::Error;
    pub use targets::Target;
    pub use watch::{WatchSession, WatchUpdate};
}

/// Command-line programs: names, options, environment, exit codes, and timeouts.
pub mod cli {
    mod applet;
    mod args;
    mod check_topip;
    #[cfg(fuzzing)]
    pub mod cli_fuzz;
    mod config;
    mod duration;
    mod extra_opts;
    mod given_options;
    mod invocation;
    mod mail_config;
    mod munin_topip;
    mod option_value;
    mod percent;
    mod program_output;
    mod remote;
    mod server_name;
    mod target_config;
    mod topip_log;
    mod usage;
    mod value_parser;
    mod watchdog;

    pub use applet::{Applet, main};
    pub use args::{command, manual_options};
    pub use invocation::Invocation;
    pub use munin_topip::munin_variables;
    pub use remote::RemoteSupport;
}
