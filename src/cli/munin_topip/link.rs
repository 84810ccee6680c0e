//! What the name of a link says.
use crate::cli::{Failure, server_name::ServerName};

/// The server that a link is about: `ssh_HOST_topip` and `topip_HOST`.
pub(super) fn host(name: &str) -> Option<&str> {
    let by_protocol = name.strip_prefix("ssh_").and_then(|rest| rest.strip_suffix("_topip"));
    let host = by_protocol.or_else(|| name.strip_prefix("topip_"))?;
    // What munin-node-configure runs has a gap there: topip_ and ssh__topip.
    Some(host).filter(|host| !host.is_empty())
}

/// The same, as a server to reach.
pub(super) fn server(name: &str) -> Result<Option<ServerName>, Failure> {
    let parsed = host(name).map(str::parse).transpose();
    parsed.map_err(|error: String| {
        let more = vec!["Link it as topip_HOST or ssh_HOST_topip.".to_owned()];
        Failure::new(&format!("cannot read the server in the name {name}: {error}"), more)
    })
}

/// What its first graph is called: as the master calls the plugin, so that it
/// has the same name whether the master knows of several graphs or not.
pub(super) fn graph(name: &str) -> String {
    letters(name, |letter| letter.is_ascii_alphanumeric() || letter == '_', "_")
}

/// A host as Munin can name it: its protocol has no other letters there. None
/// where nothing is left of it: hosts called `-` would share their files.
pub(super) fn host_name(host: &str) -> Option<String> {
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || ".-".contains(letter);
    let has_any = host.contains(|letter: char| letter.is_ascii_alphanumeric());
    has_any.then(|| letters(host, is_known, "-"))
}

/// What is wrong with a host that [`host_name`] has nothing of.
pub(super) fn nameless(host: &str) -> Failure {
    let more = "Link it by a name with letters from a to z or digits, and set env.hostname.";
    Failure::new(&format!("Munin has no letters for the host {host}"), vec![more.to_owned()])
}

fn letters(text: &str, is_known: impl Fn(char) -> bool, other: &str) -> String {
    let letter = |it: char| if is_known(it) { it.to_string() } else { other.to_owned() };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_in_names() {
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
    fn names_are_such_as_munin_takes() {
        assert_eq!(graph("ssh_www.example.com_topip"), "ssh_www_example_com_topip");
        assert_eq!(host_name("2001:db8::1").unwrap(), "2001-db8--1");
        assert_eq!(host_name("web_1").unwrap(), "web-1");
        for host in ["\u{e9}", "-", "_", "\u{e9}.\u{e9}", ""] {
            assert_eq!(host_name(host), None, "{host}");
        }
    }
}
