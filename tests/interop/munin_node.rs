//! Real munin-node, munin-run and munin-node-configure.
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use snapbox::{Assert, Data};

use crate::support::{
    MUNIN, PACKAGE_DIR, TestDir, crowd,
    munin::{Client, Site, is_possible, value},
    run, skip, test_file,
};

use super::kernel::{connect, in_namespace};

const FIELDS: [&str; 4] =
    ["connections_max", "connections_avg", "connections_stddev", "connections_limit"];

/// Creates a site whose plugin links sample a listing.
fn site_with_listing(links: &[&str], settings: &str, listing: &str) -> Site {
    let site = Site::new(links, "");
    let path = site.dir.write("listing", listing);
    let settings = format!("[*]\nenv.input {}\n{settings}", path.display());
    site.dir.write("etc/plugin-conf.d/topip", settings);
    site
}

fn flood() -> String {
    crowd(30, &[("203.0.113.7", 152)])
}

/// The output of a complete session is golden.
#[test]
fn node_session_is_golden() {
    if !is_possible() {
        return;
    }
    let site = site_with_listing(
        &["topip", "ssh_www.example.com_topip"],
        "env.critical 500\n[topip]\nenv.warning limit\n",
        &flood(),
    );
    let node = site.node();
    let mut client = node.client();
    let mut transcript = String::new();
    for command in ["list", "cap multigraph", "list", "list www.example.com"] {
        let answer = client.ask(command);
        transcript += &format!("> {command}\n{}\n", answer.trim_end());
    }
    for command in ["nodes", "config topip", "fetch topip", "config ssh_www.example.com_topip"] {
        let answer = client.ask_all(command);
        // Perl does not define the order of host names.
        let mut lines: Vec<_> = answer.lines().collect();
        if command == "nodes" {
            lines.sort_unstable();
        }
        transcript += &format!("> {command}\n{}\n.\n", lines.join("\n"));
    }
    transcript +=
        &format!("> cap multigraph dirtyconfig\n{}\n", client.ask("cap multigraph dirtyconfig"));
    transcript += &format!("> config topip\n{}.\n", client.ask_all("config topip"));
    let golden = test_file("golden").join("munin-node.txt");
    Assert::new().action_env("SNAPSHOTS").eq(transcript, Data::read_from(&golden, None));
    assert!(!node.log().contains("Error output"), "{}", node.log());
}

#[test]
fn concurrent_clients_get_the_same_values() {
    if !is_possible() {
        return;
    }
    let site = site_with_listing(&["topip"], "", &flood());
    let node = site.node();
    let answers = |mut client: Client| {
        client.ask("cap multigraph dirtyconfig");
        (0..6)
            .map(|round| client.ask_all(["fetch topip", "config topip"][round % 2]))
            .collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (1..=8)
            .map(|host| node.client_at([127, 0, 0, host].into()))
            .map(|client| scope.spawn(|| answers(client)))
            .collect();
        for client in clients {
            for answer in client.join().unwrap() {
                let values = FIELDS.map(|field| value(&answer, field));
                assert_eq!(values, ["152", "5.87", "26.68", "28.49"], "{answer}");
            }
        }
    });
    assert!(!node.log().contains("Error output"), "{}", node.log());
}

/// Each master, and each user of munin-run, has its own history: a sample for one is not a
/// consecutive sample for another.
#[test]
fn each_munin_client_has_own_history() {
    if !is_possible() {
        return;
    }
    let site = site_with_listing(&["topip", "topip_"], "env.critical limit\n", &flood());
    let node = site.node();
    let is_critical = |answer: &str| {
        assert_eq!(value(answer, "connections_max"), "152");
        answer.contains("\nconnections_max.critical :28.49\n")
    };
    let asked_from = |host: u8, link: &str| {
        let mut client = node.client_at([127, 0, 0, host].into());
        client.ask("cap multigraph dirtyconfig");
        is_critical(&client.ask_all(&format!("config {link}")))
    };
    let by_hand = || {
        let result = site.munin_run(&["topip", "config"], &[("MUNIN_CAP_DIRTYCONFIG", "1")]);
        assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""));
        is_critical(&result.stdout)
    };
    assert!(!asked_from(1, "topip"));
    assert!(!asked_from(2, "topip"));
    assert!(!asked_from(1, "topip_"));
    assert!(!by_hand());
    assert!(asked_from(1, "topip"));
    assert!(asked_from(2, "topip"));
    assert!(by_hand());
    // A call without dirtyconfig does not change the history.
    site.munin_run(&["topip", "config"], &[]);
    let files = fs::read_dir(site.dir.path("state/nobody/65534")).unwrap();
    let states = files.filter(|file| {
        let path = file.as_ref().unwrap().path();
        path.extension().is_some_and(|it| it == "ron")
    });
    assert_eq!(states.count(), 4);
}

#[test]
fn munin_run_prints_values_and_errors() {
    if !is_possible() {
        return;
    }
    let site = site_with_listing(&["topip", "topip_two"], "", &flood());
    let result = site.munin_run(&["topip"], &[]);
    assert_eq!(FIELDS.map(|field| value(&result.stdout, field)), ["152", "5.87", "26.68", "28.49"]);
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""));
    assert_eq!(site.munin_run(&["topip", "autoconf"], &[]).stdout, "yes\n");
    let debug = site.munin_run(&["--pidebug", "topip"], &[]);
    assert!(debug.stderr.starts_with("# Source: "), "{}", debug.stderr);

    site.dir.write("etc/plugin-conf.d/topip", "[topip]\nenv.max_age soon\n");
    let result = site.munin_run(&["topip"], &[]);
    assert_eq!(FIELDS.map(|field| value(&result.stdout, field)), ["U"; 4]);
    let reason = "cannot read env.max_age soon: not a duration; write 90, 90s, 10m, 2h or 7d\n";
    assert!(result.stderr.starts_with(reason), "{}", result.stderr);
    assert_eq!(result.code, Some(1));
    let config = site.munin_run(&["topip", "config"], &[]);
    assert!(config.stderr.starts_with(reason) && config.stdout.contains("graph_title"));
    assert_eq!(config.code, Some(0));
}

/// The node keeps a plugin that fails, and logs the reason.
#[test]
fn node_logs_why_value_is_unknown() {
    if !is_possible() {
        return;
    }
    let site = site_with_listing(&["topip"], "", &flood());
    fs::remove_file(site.dir.path("listing")).unwrap();
    let node = site.node();
    let mut client = node.client();
    client.ask("cap multigraph");
    assert_eq!(client.ask("list"), "topip");
    assert_eq!(client.ask_all("fetch topip"), "# Bad exit\n");
    client.ask("cap multigraph dirtyconfig");
    let config = client.ask_all("config topip");
    assert_eq!(FIELDS.map(|field| value(&config, field)), ["U"; 4]);
    let problem = format!("cannot open {}: No such file", site.dir.path("listing").display());
    assert!(config.contains(&format!("\nconnections_max.extinfo {problem}")), "{config}");
    assert!(node.log().contains("Error output from topip:"), "{}", node.log());
    assert!(node.log().contains(&problem), "{}", node.log());
}

#[test]
fn munin_node_configure_suggests_links() {
    if !is_possible() {
        return;
    }
    let site = Site::new(&[], "[topip_]\nenv.hostname web1,web2.example.com\n");
    let at = |name: &str| site.dir.path(name).display().to_string();
    let link = |host: &str| {
        format!("ln -s '{0}' '{1}{host}'\n", at("lib/topip_"), at("etc/plugins/topip_"))
    };
    let result = site.configure(&["--suggest", "--shell"]);
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{}", result.stdout);
    let mut lines: Vec<_> = result.stdout.split_inclusive('\n').collect();
    lines.sort_unstable();
    assert_eq!(lines, [link("localhost"), link("web1"), link("web2.example.com")]);
    let table = site.configure(&["--suggest"]).stdout;
    assert!(table.contains("topip_                     | no   | yes (+"), "{table}");

    // As an administrator would run it.
    assert!(run(Command::new("sh").args(["-c", &result.stdout])).code == Some(0));
    let again = site.configure(&["--suggest", "--shell", "--remove-also"]);
    assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (Some(0), "", ""));
}

/// The packaged settings, as they are and with all commented lines enabled.
#[test]
fn packaged_settings_are_valid() {
    if !is_possible() {
        return;
    }
    let packaged =
        fs::read_to_string(Path::new(PACKAGE_DIR).join("packaging/munin/topip")).unwrap();
    let offered: String = packaged
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with("env.") || rest.starts_with('[') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let site = site_with_listing(&["topip"], "", &flood());
    let input = site.dir.path("listing").display().to_string();
    for (settings, critical) in [(packaged, None), (offered, Some("connections_max.critical 500"))]
    {
        site.dir.write("etc/plugin-conf.d/topip", settings);
        let result = site.munin_run(&["topip", "config"], &[("input", &input)]);
        assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{}", result.stdout);
        let found = result.stdout.lines().find(|line| line.contains(".critical "));
        assert_eq!(found, critical, "{}", result.stdout);
    }
}

/// The plugin is not suggested for a host that cannot be sampled.
#[test]
fn unusable_source_is_not_suggested() {
    if !is_possible() {
        return;
    }
    let site = Site::new(&[], "[topip_]\nenv.source magic\n");
    let result = site.configure(&["--suggest"]);
    let reason = "[cannot read env.source magic: not one of auto, netlink, bpf, proc, conntrack]";
    assert!(result.stdout.contains(reason), "{}", result.stdout);
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""));
}

/// The lines that munin-node-configure looks for are in the executable.
#[test]
fn executable_contains_magic_markers() {
    let bytes = fs::read(MUNIN).unwrap();
    let marker = b"\n#%# family=auto\n#%# capabilities=autoconf suggest\n";
    let n_found = bytes.windows(marker.len()).filter(|window| window == marker).count();
    let n_markers = bytes.windows(4).filter(|window| *window == b"#%# ").count();
    // A second family line would override the first.
    assert_eq!((n_found, n_markers), (1, 2));
}

/// Real connections, counted by the node and by the check.
#[test]
fn node_counts_match_check() {
    if !is_possible() {
        return;
    }
    in_namespace(|| {
        let listener = TcpListener::bind("192.0.2.10:443").unwrap();
        let to = listener.local_addr().unwrap();
        let clients = [("203.0.113.7", 40), ("203.0.113.8", 3), ("198.51.100.9", 2)];
        let mut streams = Vec::new();
        for (address, n) in clients {
            for _ in 0..n {
                streams.push(connect(address.parse().unwrap(), to));
                streams.push(listener.accept().unwrap().0);
            }
        }
        let site = Site::new(&["topip"], "[topip]\nenv.exclude 192.0.2.10\nenv.port 443\n");
        let node = site.node();
        let mut client = node.client();
        client.ask("cap multigraph dirtyconfig");
        let config = client.ask_all("config topip");
        let details = "\nconnections_max.extinfo 203.0.113.7 has 40 connections, limit 46.66; \
                        on port 443 (40); ESTABLISHED (40)\n";
        assert!(config.contains(details), "{config}");
        let dir = TestDir::new();
        let check = dir.check(&["-x", "192.0.2.10", "--port", "443"]).stdout;
        for (field, label) in [
            ("connections_max", "max"),
            ("connections_avg", "avg"),
            ("connections_stddev", "stddev"),
            ("connections", "connections"),
            ("addresses", "addresses"),
        ] {
            let expected = format!(" {label}={};", value(&config, field));
            assert!(check.contains(&expected), "{expected} in {check}");
        }
        assert_eq!(value(&config, "connections"), "45");
    });
}

/// As in Debian's systemd unit: private /tmp, no home directories, /usr and /etc read-only,
/// and a user without privileges and home.
#[test]
fn plugin_works_in_systemd_sandbox() {
    if !is_possible() {
        return;
    }
    let site = Site::new(&[], "");
    let script = "mount -t tmpfs none /mnt && mkdir -m 777 /mnt/state && cp \"$0\" /mnt/topip || exit 9
        for folder in /tmp /home /root; do mount -t tmpfs -o mode=0 none $folder; done
        for folder in /usr /etc; do mount --bind $folder $folder; mount -o remount,bind,ro $folder; done
        for verb in config fetch autoconf; do
            setpriv --reuid=nobody --regid=munin --clear-groups --no-new-privs env -i \
                LC_ALL=C MUNIN_PLUGSTATE=/mnt/state /mnt/topip $verb </dev/null || exit 8
        done";
    let result = run(Command::new("unshare").args(["-m", "sh", "-c", script]).arg(site.plugin()));
    if result.code == Some(9) {
        return skip(&format!("permission to mount ({})", result.stderr.trim()));
    }
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{}", result.stdout);
    assert!(value(&result.stdout, "connections_max").parse::<u64>().is_ok());
    assert!(result.stdout.ends_with("\nyes\n"), "{}", result.stdout);
}

/// The graph configuration does not depend on the network.
#[test]
fn config_needs_no_network() {
    if !is_possible() {
        return;
    }
    let site = Site::new(&[], "");
    let started = Instant::now();
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", "exec \"$0\" config"]).arg(site.plugin());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("hostname", "gone.example");
    let result = run(&mut command);
    assert!(result.stdout.starts_with("host_name gone.example\n"), "{}", result.stdout);
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""));
    assert!(started.elapsed() < Duration::from_secs(2));
}

/// Another host by SSH, with files that the user `nobody` can read, is drawn as its own
/// host; then that host goes down.
#[cfg(feature = "ssh")]
#[test]
fn ssh_server_is_drawn_as_own_host() {
    use std::os::unix::fs::{PermissionsExt, chown};

    use crate::support::sshd::{SshFixture, is_possible as has_sshd};

    if !is_possible() || !has_sshd() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "");
    let site = Site::new(&["ssh_web1_topip"], "");
    // Owned by root and readable by the group: the node runs plugins as nobody:munin.
    let key = site.dir.path("id");
    fs::copy(&fixture.key, &key).unwrap();
    let group = fs::metadata("/var/lib/munin").unwrap();
    chown(&key, Some(0), Some(std::os::unix::fs::MetadataExt::gid(&group))).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let known_hosts = site.dir.write("known_hosts", fixture.server.known_hosts_lines("127.0.0.1"));
    fs::set_permissions(&known_hosts, fs::Permissions::from_mode(0o644)).unwrap();
    site.dir.write(
        "etc/plugin-conf.d/topip",
        format!(
            "[*_topip]\nenv.username {}\nenv.identity {}\nenv.known_hosts {}\n\
             [ssh_web1_topip]\nenv.hostname {}\n",
            fixture.account.name,
            key.display(),
            known_hosts.display(),
            fixture.server.address(),
        ),
    );
    let node = site.node();
    let mut client = node.client();
    client.ask("cap multigraph dirtyconfig");
    assert_eq!(client.ask("list web1"), "ssh_web1_topip");
    let config = client.ask_all("config ssh_web1_topip");
    assert!(config.starts_with("host_name web1\nmultigraph ssh_web1_topip\n"), "{config}");
    assert!(value(&config, "connections_max").parse::<u64>().is_ok(), "{config}");

    drop(fixture);
    let config = client.ask_all("config ssh_web1_topip");
    assert_eq!(value(&config, "connections_max"), "U");
    assert!(
        config.contains("\nconnections_max.extinfo cannot connect to [127.0.0.1]:"),
        "{config}"
    );
    assert_eq!(client.ask_all("fetch ssh_web1_topip"), "# Bad exit\n");
    let started = Instant::now();
    let mut plain = node.client();
    let config = plain.ask_all("config ssh_web1_topip");
    assert!(config.starts_with("host_name web1\n") && !config.contains(".value"), "{config}");
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(node.log().contains("\tcannot connect to [127.0.0.1]:"), "{}", node.log());
}
