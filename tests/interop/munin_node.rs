//! Under a real munin-node, munin-run and munin-node-configure.
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
    HOME, MUNIN, Room, crowd, file,
    munin::{Client, Site, is_possible, value},
    run, skip,
};

use super::kernel::{connect, in_namespace};

const FIELDS: [&str; 4] =
    ["connections_max", "connections_avg", "connections_stddev", "connections_limit"];

/// A site whose links look at a listing.
fn site_with_listing(links: &[&str], settings: &str, listing: &str) -> Site {
    let site = Site::new(links, "");
    let path = site.room.write("listing", listing);
    let settings = format!("[*]\nenv.input {}\n{settings}", path.display());
    site.room.write("etc/plugin-conf.d/topip", settings);
    site
}

fn flood() -> String {
    crowd(30, &[("203.0.113.7", 152)])
}

/// What a master and a person see, word by word.
#[test]
fn a_session_with_the_node() {
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
    let mut seen = String::new();
    for command in ["list", "cap multigraph", "list", "list www.example.com"] {
        let answer = client.ask(command);
        seen += &format!("> {command}\n{}\n", answer.trim_end());
    }
    for command in ["nodes", "config topip", "fetch topip", "config ssh_www.example.com_topip"] {
        let answer = client.ask_all(command);
        // Perl has no order for the names of hosts.
        let mut lines: Vec<_> = answer.lines().collect();
        if command == "nodes" {
            lines.sort_unstable();
        }
        seen += &format!("> {command}\n{}\n.\n", lines.join("\n"));
    }
    seen +=
        &format!("> cap multigraph dirtyconfig\n{}\n", client.ask("cap multigraph dirtyconfig"));
    seen += &format!("> config topip\n{}.\n", client.ask_all("config topip"));
    let golden = file("golden").join("munin-node.txt");
    Assert::new().action_env("SNAPSHOTS").eq(seen, Data::read_from(&golden, None));
    assert!(!node.log().contains("Error output"), "{}", node.log());
}

#[test]
fn several_clients_at_once_see_the_same() {
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
                assert_eq!(values, ["152", "5.87", "26.68", "133.4"], "{answer}");
            }
        }
    });
    assert!(!node.log().contains("Error output"), "{}", node.log());
}

/// Each master, and whoever tries it by hand, has a row of its own: a sample of
/// one is no further sample on end to another.
#[test]
fn masters_and_people_do_not_disturb_one_another() {
    if !is_possible() {
        return;
    }
    let site = site_with_listing(&["topip", "topip_"], "env.critical limit\n", &flood());
    let node = site.node();
    let is_critical = |answer: &str| {
        assert_eq!(value(answer, "connections_max"), "152");
        answer.contains("\nconnections_max.critical :133.4\n")
    };
    let asked_from = |host: u8, link: &str| {
        let mut client = node.client_at([127, 0, 0, host].into());
        client.ask("cap multigraph dirtyconfig");
        is_critical(&client.ask_all(&format!("config {link}")))
    };
    let by_hand = || {
        let ran = site.munin_run(&["topip", "config"], &[("MUNIN_CAP_DIRTYCONFIG", "1")]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        is_critical(&ran.stdout)
    };
    assert!(!asked_from(1, "topip"));
    assert!(!asked_from(2, "topip"));
    assert!(!asked_from(1, "topip_"));
    assert!(!by_hand());
    assert!(asked_from(1, "topip"));
    assert!(asked_from(2, "topip"));
    assert!(by_hand());
    // What only draws has no say in it.
    site.munin_run(&["topip", "config"], &[]);
    let files = fs::read_dir(site.room.path("state/nobody/65534")).unwrap();
    let states = files.filter(|file| {
        let path = file.as_ref().unwrap().path();
        path.extension().is_some_and(|it| it == "ron")
    });
    assert_eq!(states.count(), 4);
}

#[test]
fn munin_run_shows_values_and_reasons() {
    if !is_possible() {
        return;
    }
    let site = site_with_listing(&["topip", "topip_two"], "", &flood());
    let ran = site.munin_run(&["topip"], &[]);
    assert_eq!(FIELDS.map(|field| value(&ran.stdout, field)), ["152", "5.87", "26.68", "133.4"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(site.munin_run(&["topip", "autoconf"], &[]).stdout, "yes\n");
    let debug = site.munin_run(&["--pidebug", "topip"], &[]);
    assert!(debug.stderr.starts_with("# Looked at: "), "{}", debug.stderr);

    site.room.write("etc/plugin-conf.d/topip", "[topip]\nenv.max_age soon\n");
    let ran = site.munin_run(&["topip"], &[]);
    assert_eq!(FIELDS.map(|field| value(&ran.stdout, field)), ["U"; 4]);
    let reason = "cannot read env.max_age soon: not a span of time; write 90, 90s, 10m, 2h or 7d\n";
    assert!(ran.stderr.starts_with(reason), "{}", ran.stderr);
    assert_eq!(ran.code, Some(1));
    let config = site.munin_run(&["topip", "config"], &[]);
    assert!(config.stderr.starts_with(reason) && config.stdout.contains("graph_title"));
    assert_eq!(config.code, Some(0));
}

/// The node keeps a plugin that has trouble, and its log has the reason.
#[test]
fn the_node_logs_why_there_is_no_value() {
    if !is_possible() {
        return;
    }
    let site = site_with_listing(&["topip"], "", &flood());
    fs::remove_file(site.room.path("listing")).unwrap();
    let node = site.node();
    let mut client = node.client();
    client.ask("cap multigraph");
    assert_eq!(client.ask("list"), "topip");
    assert_eq!(client.ask_all("fetch topip"), "# Bad exit\n");
    client.ask("cap multigraph dirtyconfig");
    let config = client.ask_all("config topip");
    assert_eq!(FIELDS.map(|field| value(&config, field)), ["U"; 4]);
    let problem = format!("cannot open {}: No such file", site.room.path("listing").display());
    assert!(config.contains(&format!("\nconnections_max.extinfo {problem}")), "{config}");
    assert!(node.log().contains("Error output from topip:"), "{}", node.log());
    assert!(node.log().contains(&problem), "{}", node.log());
}

#[test]
fn munin_node_configure_finds_and_links_it() {
    if !is_possible() {
        return;
    }
    let site = Site::new(&[], "[topip_]\nenv.hostname web1,web2.example.com\n");
    let at = |name: &str| site.room.path(name).display().to_string();
    let link = |host: &str| {
        format!("ln -s '{0}' '{1}{host}'\n", at("lib/topip_"), at("etc/plugins/topip_"))
    };
    let ran = site.configure(&["--suggest", "--shell"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let mut lines: Vec<_> = ran.stdout.split_inclusive('\n').collect();
    lines.sort_unstable();
    assert_eq!(lines, [link("localhost"), link("web1"), link("web2.example.com")]);
    let table = site.configure(&["--suggest"]).stdout;
    assert!(table.contains("topip_                     | no   | yes (+"), "{table}");

    // As the administrator would.
    assert!(run(Command::new("sh").args(["-c", &ran.stdout])).code == Some(0));
    let again = site.configure(&["--suggest", "--shell", "--remove-also"]);
    assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (Some(0), "", ""));
}

/// The file that comes with topip, as it is and with all that it offers.
#[test]
fn the_packaged_settings_are_read() {
    if !is_possible() {
        return;
    }
    let packaged = fs::read_to_string(Path::new(HOME).join("packaging/munin/topip")).unwrap();
    let offered: String = packaged
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with("env.") || rest.starts_with('[') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let site = site_with_listing(&["topip"], "", &flood());
    let input = site.room.path("listing").display().to_string();
    for (settings, critical) in [(packaged, ""), (offered, "connections_max.critical 500\n")] {
        site.room.write("etc/plugin-conf.d/topip", settings);
        let ran = site.munin_run(&["topip", "config"], &[("input", &input)]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
        assert!(ran.stdout.contains(critical), "{}", ran.stdout);
    }
}

/// A host that cannot be looked at is no host for the plugin.
#[test]
fn where_nothing_can_be_seen_it_is_not_suggested() {
    if !is_possible() {
        return;
    }
    let site = Site::new(&[], "[topip_]\nenv.source magic\n");
    let ran = site.configure(&["--suggest"]);
    let reason = "[cannot read env.source magic: not one of auto, netlink, proc, conntrack]";
    assert!(ran.stdout.contains(reason), "{}", ran.stdout);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

/// The lines that munin-node-configure looks for stand by themselves.
#[test]
fn the_markers_stand_in_the_executable() {
    let bytes = fs::read(MUNIN).unwrap();
    let marker = b"\n#%# family=auto\n#%# capabilities=autoconf suggest\n";
    let n_found = bytes.windows(marker.len()).filter(|window| window == marker).count();
    let n_markers = bytes.windows(4).filter(|window| *window == b"#%# ").count();
    // Another one would say something else: the last family wins.
    assert_eq!((n_found, n_markers), (1, 2));
}

/// Real connections, by the node and by the check.
#[test]
fn the_node_counts_real_connections() {
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
        let evidence = "\nconnections_max.extinfo 203.0.113.7 has 40 connections, limit 88.41; \
                        on port 443 (40); ESTABLISHED (40)\n";
        assert!(config.contains(evidence), "{config}");
        let room = Room::new();
        let check = room.check(&["-x", "192.0.2.10", "--port", "443"]).stdout;
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

/// As the unit of Debian has it: /tmp of its own, no home folders, /usr and
/// /etc read-only, and a user without any rights or home.
#[test]
fn in_the_confines_of_the_service() {
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
    let ran = run(Command::new("unshare").args(["-m", "sh", "-c", script]).arg(site.plugin()));
    if ran.code == Some(9) {
        return skip(&format!("the right to mount ({})", ran.stderr.trim()));
    }
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    assert!(value(&ran.stdout, "connections_max").parse::<u64>().is_ok());
    assert!(ran.stdout.ends_with("\nyes\n"), "{}", ran.stdout);
}

/// What is drawn does not depend on what can be reached.
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
    let ran = run(&mut command);
    assert!(ran.stdout.starts_with("host_name gone.example\n"), "{}", ran.stdout);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(started.elapsed() < Duration::from_secs(2));
}

/// Another host by SSH, with what the user `nobody` can read, drawn as a host of
/// its own; and what becomes of it once that host is gone.
#[cfg(feature = "ssh")]
#[test]
fn a_server_by_ssh_is_a_host_of_its_own() {
    use std::os::unix::fs::{PermissionsExt, chown};

    use crate::support::sshd::{World, is_possible as has_sshd};

    if !is_possible() || !has_sshd() {
        return;
    }
    let world = World::new("/bin/sh", "");
    let site = Site::new(&["ssh_web1_topip"], "");
    // Root's, and the group may read it: the node runs plugins as nobody:munin.
    let key = site.room.path("id");
    fs::copy(&world.key, &key).unwrap();
    let group = fs::metadata("/var/lib/munin").unwrap();
    chown(&key, Some(0), Some(std::os::unix::fs::MetadataExt::gid(&group))).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let known_hosts = site.room.write("known_hosts", world.server.known("127.0.0.1"));
    fs::set_permissions(&known_hosts, fs::Permissions::from_mode(0o644)).unwrap();
    site.room.write(
        "etc/plugin-conf.d/topip",
        format!(
            "[*_topip]\nenv.username {}\nenv.identity {}\nenv.known_hosts {}\n\
             [ssh_web1_topip]\nenv.hostname {}\n",
            world.account.name,
            key.display(),
            known_hosts.display(),
            world.server.address(),
        ),
    );
    let node = site.node();
    let mut client = node.client();
    client.ask("cap multigraph dirtyconfig");
    assert_eq!(client.ask("list web1"), "ssh_web1_topip");
    let config = client.ask_all("config ssh_web1_topip");
    assert!(config.starts_with("host_name web1\nmultigraph ssh_web1_topip\n"), "{config}");
    assert!(value(&config, "connections_max").parse::<u64>().is_ok(), "{config}");

    drop(world);
    let config = client.ask_all("config ssh_web1_topip");
    assert_eq!(value(&config, "connections_max"), "U");
    assert!(config.contains("\nconnections_max.extinfo cannot connect to 127.0.0.1, "), "{config}");
    assert_eq!(client.ask_all("fetch ssh_web1_topip"), "# Bad exit\n");
    let started = Instant::now();
    let mut plain = node.client();
    let config = plain.ask_all("config ssh_web1_topip");
    assert!(config.starts_with("host_name web1\n") && !config.contains(".value"), "{config}");
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(node.log().contains("\tcannot connect to 127.0.0.1, "), "{}", node.log());
}
