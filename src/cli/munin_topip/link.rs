//! Names of plugin links: the server and the graph name.
use crate::{
    cli::{server_name::ServerName, usage::redact_server},
    model::problem::Problem,
};

/// Returns the host in the name of a link: `ssh_HOST_topip` or `topip_HOST`.
pub(super) fn host(name: &str) -> Option<&str> {
    let with_protocol = name.strip_prefix("ssh_").and_then(|rest| rest.strip_suffix("_topip"));
    let host = with_protocol.or_else(|| name.strip_prefix("topip_"))?;
    // munin-node-configure runs links without a host: topip_ and ssh__topip.
    Some(host).filter(|host| !host.is_empty())
}

/// Returns the server in the name of a link.
///
/// # Errors
///
/// Returns an error if the host in the name is not a valid server.
pub(super) fn server(name: &str) -> Result<Option<ServerName>, Problem> {
    let parsed = host(name).map(str::parse).transpose();
    parsed.map_err(|error: String| {
        let hints = vec!["Link the plugin as topip_HOST or ssh_HOST_topip.".to_owned()];
        let name = redact_server(name);
        Problem::with_hints(format!("cannot read the server in the name {name}: {error}"), hints)
    })
}

/// Returns the name of the first graph. It is the name that the master gives the
/// plugin, so that it is the same with and without multigraph.
pub(super) fn graph_name(name: &str) -> String {
    replace_unknown(name, |c| c.is_ascii_alphanumeric() || c == '_', '_')
}

/// Returns a host name for Munin, whose protocol allows only letters, digits, `.` and
/// `-`. Returns `None` if the host has no ASCII letter or digit: several hosts named `-`
/// would share their files.
pub(super) fn host_name(host: &str) -> Option<String> {
    if !host.contains(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    Some(replace_unknown(host, |c| c.is_ascii_alphanumeric() || ".-".contains(c), '-'))
}

/// Returns the failure for a host that has no [`host_name`].
pub(super) fn unnameable_host(host: &str) -> Problem {
    let hint = "Link the plugin under a name with ASCII letters or digits, and set env.hostname.";
    let message = format!("cannot name the host {host} in Munin: no ASCII letters or digits");
    Problem::with_hints(message, vec![hint.to_owned()])
}

fn replace_unknown(text: &str, is_allowed: impl Fn(char) -> bool, replacement: char) -> String {
    text.chars().map(|c| if is_allowed(c) { c } else { replacement }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_taken_from_link_name() {
        for (name, expected) in [
            ("ssh_www.example.com_topip", Some("www.example.com")),
            ("topip_web1", Some("web1")),
            ("topip_monitor@web1:2222", Some("monitor@web1:2222")),
            ("topip", None),
            ("topip_", None),
            ("ssh__topip", None),
            ("ssh_topip", None),
            ("munin_topip_web", None),
        ] {
            assert_eq!(host(name), expected, "{name}");
        }
    }

    #[test]
    fn names_have_only_characters_that_munin_accepts() {
        assert_eq!(graph_name("ssh_www.example.com_topip"), "ssh_www_example_com_topip");
        assert_eq!(host_name("2001:db8::1").unwrap(), "2001-db8--1");
        assert_eq!(host_name("web_1").unwrap(), "web-1");
        for host in ["\u{e9}", "-", "_", "\u{e9}.\u{e9}", ""] {
            assert_eq!(host_name(host), None, "{host}");
        }
    }
}
