//! `munin_topip`: commands of munin-node and munin-node-configure.
use std::time::Instant;

use crate::{
    model::problem::{Hints, Problem},
    output::{
        Report,
        munin::{Graphs, ReportResult, render_autoconf_no, render_munin_log, render_munin_problem},
    },
    run,
};

use super::{
    applet::Applet,
    args::SampleArgs,
    config::{self, ListLimit, RunOptions},
    invocation::Invocation,
    program_output::ProgramOutput,
    server_name::ServerName,
    target_config,
    watchdog::{self, RunFailure},
};

mod link;
mod variables;

pub use variables::munin_variables;

/// Help text, with the magic markers in its last two lines.
///
/// munin-node-configure searches the plugin's file for these lines, each with a line
/// end. The lines are part of a text that is printed, so that the linker keeps them.
const HELP: &str = "\
Graphs the TCP connections of a host by remote address, for Munin

Usage: munin_topip [fetch | config | autoconf | suggest | --help | --version]

Commands:
  fetch     print the current values (default)
  config    print the configuration of the graphs
  autoconf  print whether the connections of this host can be counted
  suggest   print the names that munin-node-configure can link

Links:
  Link the plugin into /etc/munin/plugins under one of these names, and restart
  munin-node:
  topip_localhost             graph the connections of this host
  topip_HOST, ssh_HOST_topip  graph the connections of HOST, checked over SSH

Settings:
  Settings are variables in a file below /etc/munin/plugin-conf.d, with the
  names of the options of check_topip:
    [topip_localhost]
    env.exclude 198.51.100.0/24   exclude a network
    env.warning limit             warn if an address is over the limit

Test:
  munin-run topip_localhost          print the current values
  munin-run topip_localhost config   print the configuration of the graphs

See munin_topip(1).

#%# family=auto
#%# capabilities=autoconf suggest
";

/// Exit code for every failure; Munin does not distinguish failures.
const EXIT_FAILURE: u8 = 1;

/// Runs the command of Munin.
pub(super) fn run(invocation: &Invocation) -> ProgramOutput {
    // munin-run has a terminal and munin-node has none: a link that works in
    // munin-run must not depend on prompts.
    let invocation = &Invocation { interactive: false, ..invocation.clone() };
    let command = invocation.args.first().map(|word| word.to_string_lossy().into_owned());
    match command.as_deref().unwrap_or_default() {
        // Munin 3 appends the capabilities of the master.
        "config" => config(invocation),
        "" | "fetch" => fetch(invocation),
        "autoconf" => autoconf(invocation),
        "suggest" => suggest(invocation),
        "--help" | "-h" => success_output(HELP),
        "--version" | "-V" => {
            success_output(concat!("munin_topip ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        command => failure_output(&Problem::new(
            format!("munin_topip has no command {command}"),
            "The commands are config, fetch, autoconf and suggest; settings are variables in \
             plugin-conf.d. See munin_topip(1).",
        )),
    }
}

/// Returns the configuration of the graphs, with values if the master supports
/// `dirtyconfig`; without values, no server is contacted.
///
/// The exit code is always 0: a missing graph is harder to diagnose than a graph with a
/// gap.
fn config(invocation: &Invocation) -> ProgramOutput {
    let munin_config = variables::read(invocation);
    let renderer = Renderer::new(munin_config.as_ref().ok(), invocation);
    let timeout_renderer = renderer.clone();
    let result = match munin_config {
        Err(failure) => Some(Err(failure)),
        Ok(munin_config) if renderer.with_config_values => {
            Some(sample(munin_config.args, invocation, move |failure| {
                timeout_renderer.config_output(Some(Err(&failure.into_problem())))
            }))
        }
        Ok(_) => None,
    };
    renderer.config_output(result.as_ref().map(Result::as_ref))
}

/// Returns the values of the graphs.
fn fetch(invocation: &Invocation) -> ProgramOutput {
    let munin_config = variables::read(invocation);
    let renderer = Renderer::new(munin_config.as_ref().ok(), invocation);
    let timeout_renderer = renderer.clone();
    let result = munin_config.and_then(|munin_config| {
        sample(munin_config.args, invocation, move |failure| {
            timeout_renderer.fetch_output(Err(&failure.into_problem()))
        })
    });
    renderer.fetch_output(result.as_ref())
}

/// Renders the outputs of `config` and `fetch`.
#[derive(Clone)]
struct Renderer {
    graphs: Graphs,
    /// `true` if the output of `config` includes the values.
    with_config_values: bool,
    is_debug: bool,
    write_deadline: Option<Instant>,
}

impl Renderer {
    fn new(munin_config: Option<&variables::MuninConfig>, invocation: &Invocation) -> Self {
        Self {
            graphs: graphs(munin_config, invocation),
            with_config_values: is_env_set(invocation, "MUNIN_CAP_DIRTYCONFIG"),
            is_debug: is_env_set(invocation, "MUNIN_DEBUG"),
            write_deadline: write_deadline(munin_config, invocation),
        }
    }

    /// Returns the output of `config`; `result` is `None` if no sample was taken.
    fn config_output(&self, result: Option<ReportResult<'_>>) -> ProgramOutput {
        let values = if self.with_config_values { result } else { None };
        ProgramOutput {
            stdout: self.graphs.config(values),
            stderr: result
                .map_or_else(String::new, |result| render_munin_log(result, self.is_debug)),
            exit_code: 0,
            write_deadline: self.write_deadline,
            ..ProgramOutput::default()
        }
    }

    fn fetch_output(&self, result: ReportResult<'_>) -> ProgramOutput {
        let is_complete = result.is_ok_and(Report::is_complete);
        ProgramOutput {
            stdout: self.graphs.fetch(result),
            stderr: render_munin_log(result, self.is_debug),
            exit_code: if is_complete { 0 } else { EXIT_FAILURE },
            write_deadline: self.write_deadline,
            ..ProgramOutput::default()
        }
    }
}

/// Returns the time by which munin-node must have read the output; `None` if the
/// configuration is not readable.
fn write_deadline(
    munin_config: Option<&variables::MuninConfig>,
    invocation: &Invocation,
) -> Option<Instant> {
    munin_config.map(|munin_config| {
        watchdog::write_deadline(target_config::timeout(&munin_config.args, invocation), invocation)
    })
}

/// Returns `yes` if connections of this host can be sampled, or `no` with the reason.
fn autoconf(invocation: &Invocation) -> ProgramOutput {
    let result = variables::read(invocation).and_then(|munin_config| {
        let mut args = munin_config.args;
        // autoconf reports on this host only, not on servers.
        args.selection.hostname.clear();
        args.selection.input = None;
        let timeout = target_config::timeout(&args, invocation);
        let tcp_states = config::tcp_states(&args.selection);
        let targets = target_config::targets(&args, invocation, timeout, tcp_states)?;
        run::probe(targets, invocation.started + timeout.after).map_err(|error| error.to_problem())
    });
    match result {
        Ok(()) => success_output("yes\n"),
        Err(problem) => success_output(&render_autoconf_no(&problem)),
    }
}

/// Returns the suffixes that a link's name can have after the `_`: this host, and the
/// servers that plugin-conf.d configures for a plugin of this name.
fn suggest(invocation: &Invocation) -> ProgramOutput {
    if !invocation.name.ends_with('_') {
        let message =
            format!("cannot suggest names for {}: its name does not end in _", invocation.name);
        let hint = "Install the plugin as topip_; munin-node-configure links it as topip_HOST.";
        return failure_output(&Problem::new(message, hint));
    }
    let servers = match variables::read(invocation) {
        Ok(munin_config) => munin_config.args.selection.hostname,
        Err(failure) => return failure_output(&failure),
    };
    let remote_servers = servers.iter().filter(|server| !server.is_local());
    let names = remote_servers.map(|server| server.host.as_str()).filter(|host| is_link_name(host));
    let lines: String =
        std::iter::once("localhost").chain(names).map(|it| format!("{it}\n")).collect();
    success_output(&lines)
}

fn is_link_name(host: &str) -> bool {
    host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._:".contains(letter))
}

/// Returns the settings of the graphs; the defaults if the configuration is unreadable.
fn graphs(munin_config: Option<&variables::MuninConfig>, invocation: &Invocation) -> Graphs {
    let servers = munin_config
        .map(|munin_config| &munin_config.args.selection.hostname[..])
        .unwrap_or_default();
    let server = graphed_server(servers, invocation);
    Graphs {
        name: link::graph_name(&invocation.name),
        host_name: server.and_then(|server| link::host_name(&server.host)),
        groups: munin_config
            .map(|munin_config| munin_config.args.selection.group_by.clone())
            .unwrap_or_default(),
        protocol: munin_config
            .map(|munin_config| munin_config.args.selection.protocol)
            .unwrap_or_default(),
        is_multigraph: is_env_set(invocation, "MUNIN_CAP_MULTIGRAPH"),
        thresholds: munin_config
            .map(|munin_config| munin_config.thresholds.clone())
            .unwrap_or_default(),
    }
}

/// Returns the remote server that the graphs belong to, or `None` for this host.
fn graphed_server(servers: &[ServerName], invocation: &Invocation) -> Option<ServerName> {
    let from_link = link::server(&invocation.name).ok().flatten();
    let from_variable = match servers {
        [server] => Some(server.clone()),
        // A sum of several servers belongs to this host.
        _ => None,
    };
    from_link.or(from_variable).filter(|server| !server.is_local())
}

/// Samples the configured servers, the server in the link's name, or this host.
fn sample(
    mut args: SampleArgs,
    invocation: &Invocation,
    on_timeout: impl FnOnce(RunFailure) -> ProgramOutput + Send + 'static,
) -> Result<Report, Problem> {
    // Without a host name, Munin would show the values as those of the node.
    if let Some(server) = graphed_server(&args.selection.hostname, invocation) {
        link::host_name(&server.host).ok_or_else(|| link::unnameable_host(&server.host))?;
    }
    if args.selection.hostname.is_empty() {
        let from_link: Option<ServerName> = link::server(&invocation.name)?;
        args.selection.hostname.extend(from_link);
    }
    let options = RunOptions {
        applet: Applet::Munin,
        list_limit: ListLimit::Top,
        notify: None,
        count_tcp_states: false,
        report_hidden_namespaces: false,
    };
    watchdog::run_with_timeout(args, options, invocation, |report| report, on_timeout)
        .map_err(RunFailure::into_problem)
}

fn is_env_set(invocation: &Invocation, name: &str) -> bool {
    invocation.env_var(name).is_some_and(|value| value == "1")
}

fn success_output(text: &str) -> ProgramOutput {
    ProgramOutput { stdout: text.to_owned(), exit_code: 0, ..ProgramOutput::default() }
}

/// Returns the output for a failure: messages on standard error, and no values.
pub(super) fn failure_output(failure: &Problem) -> ProgramOutput {
    ProgramOutput {
        stderr: render_munin_problem(failure),
        exit_code: EXIT_FAILURE,
        ..ProgramOutput::default()
    }
}
