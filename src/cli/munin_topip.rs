//! `munin_topip`: what munin-node and munin-node-configure ask a plugin.
use std::time::Instant;

use crate::{
    output::{
        Report, Trouble,
        munin::{Graphs, Seen, complaint},
    },
    run::{self, chain},
};

use super::{
    applet::{Answer, Applet, Failure, Invocation},
    args::SampleArgs,
    config::{self, Asked, Listed},
    server_name::ServerName,
    target_config, watchdog,
};

mod link;
mod variables;

pub use variables::munin_variables;

/// munin-node-configure looks into the file of each plugin for the last two
/// lines, each with an end of its own. Here they are a part of something that
/// is printed, so that no linker takes them for waste.
const HELP: &str = "\
munin_topip is a plugin for Munin. Link it into /etc/munin/plugins as
  topip_localhost              to draw this host's connections
  topip_HOST, ssh_HOST_topip   to draw those of HOST, reached by SSH
and restart munin-node. Try the link by its name:
  munin-run NAME               the values of now
  munin-run NAME config        what is drawn
Settings are variables in /etc/munin/plugin-conf.d; see munin_topip(1).

It answers to: config, fetch (or nothing), autoconf, suggest.

#%# family=auto
#%# capabilities=autoconf suggest
";

/// Munin knows of one way to fail.
const FAILED: u8 = 1;

/// Answers to what Munin asks.
pub(super) fn answer(invocation: &Invocation) -> Answer {
    // munin-run has a terminal, but the node has not: what works by hand must
    // not be what only a person can answer.
    let invocation = &Invocation { has_terminal: false, ..invocation.clone() };
    let asked = invocation.args.first().map(|word| word.to_string_lossy().into_owned());
    match asked.as_deref().unwrap_or_default() {
        // Munin 3 says what the master can do after that.
        "config" => config(invocation),
        "" | "fetch" => fetch(invocation),
        "autoconf" => autoconf(invocation),
        "suggest" => suggest(invocation),
        "--help" | "-h" => told(HELP),
        "--version" | "-V" => told(concat!("munin_topip ", env!("CARGO_PKG_VERSION"), "\n")),
        asked => failed(&Failure::new(
            &format!("munin_topip does not answer to {asked}"),
            vec![
                "It does to config, fetch, autoconf and suggest; \
                 its settings are variables in plugin-conf.d. See munin_topip(1)."
                    .to_owned(),
            ],
        )),
    }
}

/// The answer to a panic: a mistake in topip, and no value.
pub(super) fn panicked(failure: &Failure) -> Answer {
    failed(failure)
}

/// What the graphs are. It cannot fail, because a graph that is gone is harder
/// to explain than one with a gap; and it reaches no server, unless the master
/// has said that it takes the values with it.
fn config(invocation: &Invocation) -> Answer {
    let wanted = variables::read(invocation);
    let graphs = graphs(wanted.as_ref().ok(), invocation);
    let is_dirty = is_on(invocation, "MUNIN_CAP_DIRTYCONFIG");
    let is_debugged = is_on(invocation, "MUNIN_DEBUG");
    let until = until(wanted.as_ref().ok(), invocation);
    let told = move |outcome: Option<Result<Report, Failure>>| Answer {
        output: graphs.config(outcome.as_ref().filter(|_| is_dirty).map(seen)),
        complaint: outcome.map_or_else(String::new, |outcome| complaints(&outcome, is_debugged)),
        exit_code: 0,
        until,
    };
    let give_up = told.clone();
    let give_up = move |failure| give_up(Some(Err(failure)));
    told(match wanted {
        Err(failure) => Some(Err(failure)),
        Ok(wanted) if is_dirty => Some(look(wanted.args, invocation, give_up)),
        Ok(_) => None,
    })
}

fn fetch(invocation: &Invocation) -> Answer {
    let wanted = variables::read(invocation);
    let graphs = graphs(wanted.as_ref().ok(), invocation);
    let is_debugged = is_on(invocation, "MUNIN_DEBUG");
    let until = until(wanted.as_ref().ok(), invocation);
    let told = move |outcome: Result<Report, Failure>| {
        let is_whole = outcome.as_ref().is_ok_and(|report| report.is_whole);
        Answer {
            output: graphs.fetch(seen(&outcome)),
            complaint: complaints(&outcome, is_debugged),
            exit_code: if is_whole { 0 } else { FAILED },
            until,
        }
    };
    let give_up = told.clone();
    let give_up = move |failure| give_up(Err(failure));
    told(wanted.and_then(|wanted| look(wanted.args, invocation, give_up)))
}

/// Until when the node is waited for to take what it asked for.
fn until(wanted: Option<&variables::Wanted>, invocation: &Invocation) -> Option<Instant> {
    wanted
        .map(|wanted| watchdog::until(target_config::timeout(&wanted.args, invocation), invocation))
}

/// Whether this host can be looked at, in the only words that there are for it.
fn autoconf(invocation: &Invocation) -> Answer {
    let looked = variables::read(invocation).and_then(|wanted| {
        let mut args = wanted.args;
        // Servers are not what is to be found out.
        args.look.hostname.clear();
        args.look.input = None;
        let timeout = target_config::timeout(&args, invocation);
        let states = config::tcp_states(&args.look);
        let targets = target_config::targets(&args, invocation, timeout, states)?;
        run::probe(targets, invocation.started + timeout.after)
            .map_err(|error| Failure::new(&chain(&error), error.more()))
    });
    match looked {
        Ok(()) => told("yes\n"),
        Err(failure) => told(&format!("no ({})\n", complaint(&[failure.problem]).trim_end())),
    }
}

/// What may follow the `_` in a link's name: this host, and the servers that
/// plugin-conf.d has for the plugin under that very name.
fn suggest(invocation: &Invocation) -> Answer {
    if !invocation.name.ends_with('_') {
        let problem = format!("{} has no place for a suggestion in its name", invocation.name);
        let more = "Install it as topip_, which munin-node-configure links as topip_HOST.";
        return failed(&Failure::new(&problem, vec![more.to_owned()]));
    }
    let servers = match variables::read(invocation) {
        Ok(wanted) => wanted.args.look.hostname,
        Err(failure) => return failed(&failure),
    };
    let is_name = |host: &&str| {
        host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._:".contains(letter))
    };
    let there = servers.iter().filter(|server| !server.is_here());
    let names = there.map(|server| server.host.as_str()).filter(is_name);
    let lines: String =
        std::iter::once("localhost").chain(names).map(|it| format!("{it}\n")).collect();
    told(&lines)
}

fn graphs(wanted: Option<&variables::Wanted>, invocation: &Invocation) -> Graphs {
    let servers = wanted.map(|wanted| &wanted.args.look.hostname[..]).unwrap_or_default();
    let server = drawn(servers, invocation);
    Graphs {
        name: link::graph(&invocation.name),
        host_name: server.and_then(|server| link::host_name(&server.host)),
        is_multigraph: is_on(invocation, "MUNIN_CAP_MULTIGRAPH"),
        thresholds: wanted.map(|wanted| wanted.thresholds.clone()).unwrap_or_default(),
    }
}

/// The host that the graphs belong to, where it is not this one.
fn drawn(servers: &[ServerName], invocation: &Invocation) -> Option<ServerName> {
    let of_link = link::server(&invocation.name).ok().flatten();
    let of_variable = match servers {
        [server] => Some(server.clone()),
        // Several have no name of their own.
        _ => None,
    };
    of_link.or(of_variable).filter(|server| !server.is_here())
}

fn look(
    mut args: SampleArgs,
    invocation: &Invocation,
    give_up: impl FnOnce(Failure) -> Answer + Send + 'static,
) -> Result<Report, Failure> {
    // Its values would be drawn as those of the node.
    if let Some(server) = drawn(&args.look.hostname, invocation)
        && link::host_name(&server.host).is_none()
    {
        return Err(link::nameless(&server.host));
    }
    if args.look.hostname.is_empty() {
        let of_link: Option<ServerName> = link::server(&invocation.name)?;
        args.look.hostname.extend(of_link);
    }
    let asked = Asked { applet: Applet::Munin, listed: Listed::Some, alerting: None, hint: false };
    watchdog::told(args, asked, invocation, |report| report, give_up)
}

fn seen(outcome: &Result<Report, Failure>) -> Seen<'_> {
    outcome.as_ref().map_err(|failure| failure.problem.as_str())
}

/// What went wrong, for the log of the node; to `munin-run --pidebug`, how it
/// was done.
fn complaints(outcome: &Result<Report, Failure>, is_debugged: bool) -> String {
    let (wrong, details) = match outcome {
        Err(failure) => (lines(&failure.problem, &failure.more), Vec::new()),
        Ok(report) => {
            let troubles = report.troubles.iter();
            let troubles = troubles.flat_map(|Trouble { problem, advice }| lines(problem, advice));
            (troubles.chain(report.notes.clone()).collect(), report.details.clone())
        }
    };
    let wrong: Vec<_> = wrong.iter().map(|line| variables::as_variables(line)).collect();
    // The node and munin-node-configure leave these lines alone.
    let details = details.iter().filter(|_| is_debugged);
    let details: Vec<_> = details.map(|line| format!("# {line}")).collect();
    complaint(&wrong) + &complaint(&details)
}

fn lines<'a>(problem: &str, more: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    std::iter::once(problem.to_owned()).chain(more.into_iter().cloned()).collect()
}

fn is_on(invocation: &Invocation, name: &str) -> bool {
    invocation.variable(name).is_some_and(|value| value == "1")
}

fn told(text: &str) -> Answer {
    Answer { output: text.to_owned(), complaint: String::new(), exit_code: 0, until: None }
}

fn failed(failure: &Failure) -> Answer {
    Answer {
        output: String::new(),
        complaint: complaint(&lines(&failure.problem, &failure.more)),
        exit_code: FAILED,
        until: None,
    }
}
