//! Servers reached by an external SSH client: OpenSSH and dropbear, with everything that
//! the client's own configuration does.
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    kernel::{address_lines, in_namespace},
    ssh_listing::{OUTSIDE_ARGS, assert_sees_clients, with_clients},
};
use crate::support::{
    CHECK, CommandResult, LOG, MUNIN, TestDir,
    daemon::run_ok,
    run, skip,
    sshd::{Account, Server, SshFixture, create_key, is_possible},
    topology::{TestNetns, Topology},
};

/// Client for the tests: its configuration is in the working directory.
const CLIENT: &str = "ssh -F client";

/// Writes the configuration of the client, with the fixture's server as the host `web`.
fn configure(fixture: &SshFixture, settings: &str) {
    let dir = fixture.dir.path(".");
    let dir = dir.to_str().unwrap();
    let text = format!(
        "{settings}\nHost web\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {dir}/id\n\
         Host *\n IdentitiesOnly yes\n UserKnownHostsFile {dir}/known_hosts\n",
        fixture.server.port, fixture.account.name
    );
    fixture.dir.write("client", text);
}

/// Returns a check of `server`, in an environment without PATH.
fn command(dir: &TestDir, client: &str, server: &str, args: &[&str]) -> Command {
    let mut command = dir.program(CHECK, &["--rsh", client, "-s", server]);
    command.args(["--no-default-excludes"]).args(args);
    command
}

fn check(fixture: &SshFixture, args: &[&str]) -> CommandResult {
    run(&mut command(&fixture.dir, CLIENT, "web", args))
}

/// Returns the check's lines about 127.0.0.1 with an established connection, such as that
/// of a session.
fn sessions(result: &CommandResult) -> Vec<String> {
    let mut lines = address_lines(&result.stdout);
    lines.retain(|line| line.starts_with("127.0.0.1 ") && line.contains("ESTABLISHED"));
    lines
}

#[test]
fn listing_is_that_of_built_in_client() {
    with_clients(|fixture| {
        configure(fixture, "");
        let result = check(fixture, &OUTSIDE_ARGS);
        assert_sees_clients(&result, "ss -tan (Linux)");
        assert!(result.stdout.contains("\nweb: reached by ssh; ran ss"), "{result:?}");
        for command in [&[][..], &["--command", "netstat -natW"]] {
            let args = [&["-vvv", "-x", "127.0.0.0/8"], command].concat();
            let (external, built_in) = (check(fixture, &args), fixture.check_by_key(&args));
            let lines = address_lines(&external.stdout);
            assert!(lines.len() > 2, "{external:?}");
            assert_eq!(lines, address_lines(&built_in.stdout), "{command:?}");
        }
        // The connection of the session is not counted; here sshd and the check are on the
        // same host.
        assert_eq!(sessions(&check(fixture, &["-vvv"])), [""; 0]);
        let json = check(fixture, &["--output", "json"]);
        assert!(json.stdout.starts_with('{') && json.stdout.contains("203.0.113.7"), "{json:?}");
    });
}

#[test]
fn every_login_shell_works() {
    with_clients(|fixture| {
        for shell in ["/bin/sh", "/bin/bash", "/bin/tcsh", "/usr/bin/fish", "/bin/dash"] {
            if fs::metadata(shell).is_err() {
                skip(shell);
                continue;
            }
            let account = Account::new(&fixture.dir, shell);
            account.authorize(&fixture.key, "");
            for file in [".bashrc", ".profile", ".cshrc", ".tcshrc"] {
                let row = "echo ESTAB 0 0 192.0.2.10:1 203.0.113.99:1\necho Welcome\n";
                fs::write(account.home.join(file), row).unwrap();
            }
            account.chown_home();
            fixture.account = account;
            configure(fixture, "");
            let result = check(fixture, &OUTSIDE_ARGS);
            assert_sees_clients(&result, "ss -tan (Linux)");
            assert!(!result.stdout.contains("203.0.113.99"), "{shell}: {result:?}");
        }
    });
}

/// The client's configuration sets user, port and address unless the options do, and does not
/// affect the listing.
#[test]
fn client_configuration_is_used() {
    with_clients(|fixture| {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let forward = format!("LocalForward {} 127.0.0.1:1", taken.local_addr().unwrap().port());
        for settings in [
            "RequestTTY force",
            "RemoteCommand echo other",
            "ForwardAgent yes\nForwardX11 yes",
            "LogLevel DEBUG3",
            &format!("ExitOnForwardFailure yes\n{forward}"),
        ] {
            configure(fixture, settings);
            let result = check(fixture, &OUTSIDE_ARGS);
            assert_sees_clients(&result, "ss -tan (Linux)");
        }
        configure(fixture, "");
        let other_port = run(&mut command(&fixture.dir, CLIENT, "web:1", &[]));
        assert_eq!(
            other_port.code_and_status(),
            "3 TOPIP UNKNOWN - [web]:1: ssh: connect to host 127.0.0.1 port 1: Connection refused"
        );
        let hint = "\nTry, as the user that runs the check: ssh -F client -o BatchMode=yes -p 1 -- \
                    web true\n";
        assert!(other_port.stdout.contains(hint), "{other_port:?}");
        for (server, args) in [("nobody@web", &[][..]), ("web", &["-u", "nobody"])] {
            let result = run(&mut command(&fixture.dir, CLIENT, server, args));
            let start = "3 TOPIP UNKNOWN - web: ssh: nobody@127.0.0.1: Permission denied (";
            assert!(result.code_and_status().starts_with(start), "{result:?}");
        }
    });
}

#[test]
fn failures_of_the_client_are_reported() {
    with_clients(|fixture| {
        configure(fixture, "");
        let status = |client: &str, server: &str| {
            let result = run(&mut command(&fixture.dir, client, server, &[]));
            assert!(result.stdout.lines().count() > 1, "no advice: {result:?}");
            result.code_and_status()
        };
        fixture.dir.write("none", "");
        let unknown_key = status(&format!("{CLIENT} -o UserKnownHostsFile=none"), "web");
        assert_eq!(unknown_key, "3 TOPIP UNKNOWN - web: ssh: Host key verification failed");
        let other_key = create_key(&fixture.dir, "other", &["-t", "ed25519"]);
        let other = fs::read_to_string(other_key.with_added_extension("pub")).unwrap();
        fixture.dir.write("changed", format!("[127.0.0.1]:{} {other}", fixture.server.port));
        let changed_key = status(&format!("{CLIENT} -o UserKnownHostsFile=changed"), "web");
        let expected = "you have requested strict checking; Host key verification failed";
        assert!(changed_key.ends_with(expected), "{changed_key}");
        let unknown_name = status(CLIENT, "nosuch.invalid");
        let expected = "nosuch.invalid: ssh: Could not resolve hostname nosuch.invalid: ";
        assert!(unknown_name.contains(expected), "{unknown_name}");
        assert_eq!(
            status("ssh -F nosuch", "web"),
            "3 TOPIP UNKNOWN - web: ssh: Can?t open user config file nosuch: No such file or \
             directory"
        );
        let proxy = status(&format!("{CLIENT} -o 'ProxyCommand=sh -c \"echo oops >&2\"'"), "web");
        // A message of ssh itself may follow.
        assert!(proxy.starts_with("3 TOPIP UNKNOWN - web: ssh: oops"), "{proxy}");
        assert_eq!(
            status("nosuch-client -F client", "web"),
            "3 TOPIP UNKNOWN - cannot start nosuch-client: No such file or directory (os error 2)"
        );
        assert_eq!(
            status("./client", "web"),
            "3 TOPIP UNKNOWN - cannot start ./client: Permission denied (os error 13)"
        );
        assert_eq!(
            status("/bin/false", "web"),
            "3 TOPIP UNKNOWN - web: false: ended with exit status 1"
        );
        assert_eq!(
            status("/bin/true", "web"),
            "3 TOPIP UNKNOWN - web gave no listing: the command printed nothing"
        );
    });
}

#[test]
fn custom_and_forced_commands_are_run() {
    with_clients(|fixture| {
        configure(fixture, "");
        let with_command =
            |command: &str| check(fixture, &[&OUTSIDE_ARGS[..], &["--command", command]].concat());
        assert_sees_clients(&with_command("netstat -ntW"), "netstat -ntW");
        assert_sees_clients(&with_command("cat; ss -tan"), "cat; ss");
        for (command, problem) in [
            ("ss -tan; exit 7", "the client ended with exit status 7"),
            ("ss -tan; kill -9 $$", "the client ended with exit status 255"),
            ("no-such-command-here", "no-such-command-here: not found"),
            ("ss -tln", " lists listening sockets only"),
        ] {
            let status = with_command(command).code_and_status();
            assert!(status.starts_with("3 ") && status.contains(problem), "{command}: {status}");
        }
        let noise = "yes noise | head -c 5000000 >&2; ss -tan; yes noise | head -c 5000000 >&2";
        assert_sees_clients(&with_command(noise), "yes noise");
        let forced = create_key(&fixture.dir, "id_forced", &["-t", "ed25519"]);
        fixture.account.authorize(&forced, "command=\"ss -tan\",restrict");
        let client = format!("{CLIENT} -i {}", forced.display());
        fixture.dir.write(
            "client",
            fs::read_to_string(fixture.dir.path("client"))
                .unwrap()
                .replace(&format!("IdentityFile {}\n", fixture.dir.path("./id").display()), ""),
        );
        let result = run(&mut command(&fixture.dir, &client, "web", &OUTSIDE_ARGS));
        assert_sees_clients(&result, "the forced command of the server");
    });
}

/// Returns a running master connection of the client, without its own session.
fn client_command(fixture: &SshFixture, args: &[&str]) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-F", "client"]).args(args);
    command.current_dir(fixture.dir.path(".")).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn master_connection_is_used_and_kept() {
    with_clients(|fixture| {
        configure(fixture, "ControlPath ./control");
        // With no terminal, the master goes into the background once it is logged in.
        let started = client_command(fixture, &["-M", "-N", "-f", "web"]).status();
        assert!(started.unwrap().success());
        // Only the master is logged in; no other login is possible.
        fs::write(fixture.account.home.join(".ssh/authorized_keys"), "").unwrap();
        assert_sees_clients(&check(fixture, &OUTSIDE_ARGS), "ss -tan (Linux)");
        assert_eq!(sessions(&check(fixture, &["-vvv"])), [""; 0]);
        // A run that times out does not end the master.
        let late = check(fixture, &["--command", "sleep 60", "-t", "2"]);
        let expected = "3 TOPIP UNKNOWN - web gave no answer in 2 s (while running sleep 60)";
        assert_eq!(late.code_and_status(), expected);
        assert!(client_command(fixture, &["-O", "check", "web"]).status().unwrap().success());
        assert!(client_command(fixture, &["-O", "exit", "web"]).status().unwrap().success());
        let denied = check(fixture, &[]).code_and_status();
        assert!(denied.contains("Permission denied"), "{denied}");
    });
}

/// A check that does not find a master starts one, which keeps running after the check.
#[test]
fn persistent_master_outlives_the_check() {
    with_clients(|fixture| {
        configure(fixture, "ControlMaster auto\nControlPath ./control\nControlPersist 60");
        let result = check(fixture, &OUTSIDE_ARGS);
        assert_sees_clients(&result, "ss -tan (Linux)");
        assert!(result.elapsed < Duration::from_secs(5), "{result:?}");
        assert!(client_command(fixture, &["-O", "check", "web"]).status().unwrap().success());
        assert_sees_clients(&check(fixture, &OUTSIDE_ARGS), "ss -tan (Linux)");
        assert!(client_command(fixture, &["-O", "exit", "web"]).status().unwrap().success());
    });
}

/// The server is in a network that only the bastion reaches.
#[test]
fn server_behind_bastion_is_sampled() {
    if !is_possible() {
        return;
    }
    let Some(topology) = Topology::new() else { return };
    topology.shell("nft 'add table inet f; add chain inet f c { type filter hook forward priority 0; policy drop; }'");
    let fixture =
        topology.in_netns(TestNetns::Blue, || SshFixture::new("/bin/sh", "ListenAddress 0.0.0.0"));
    let bastion = topology
        .in_netns(TestNetns::Host, || Server::openssh(&fixture.dir, "ListenAddress 0.0.0.0"));
    let (user, dir) = (&fixture.account.name, fixture.dir.path("."));
    let known_hosts =
        [bastion.known_hosts_lines("192.0.2.1"), fixture.server.known_hosts_lines("10.0.1.2")];
    fixture.dir.write("known_hosts", known_hosts.concat());
    let client = format!(
        "Host bastion\n HostName 192.0.2.1\n Port {}\nHost inner\n HostName 10.0.1.2\n Port {}\n\
         Host *\n User {user}\n IdentityFile {dir}/id\n IdentitiesOnly yes\n \
         UserKnownHostsFile {dir}/known_hosts\n ConnectTimeout 3\n",
        bastion.port,
        fixture.server.port,
        dir = dir.display()
    );
    fixture.dir.write("client", client);
    let listener = topology.listen(TestNetns::Blue, "10.0.1.2:8080");
    let _streams: Vec<_> = (0..9)
        .map(|_| {
            topology.connect((TestNetns::Host, [10, 0, 1, 1].into()), "10.0.1.2:8080", &listener)
        })
        .collect();
    let check = |client: &str| {
        let args = ["-vv", "-t", "20", "--state-file", "state"];
        let mut command = command(&fixture.dir, client, "inner", &args);
        // The client runs itself as the proxy, in a shell.
        command.env("PATH", "/usr/bin:/bin");
        topology.in_netns(TestNetns::Clients, || run(&mut command))
    };
    let direct = check(CLIENT).code_and_status();
    assert!(
        direct.starts_with("3 TOPIP UNKNOWN - inner: ssh: connect to host 10.0.1.2 "),
        "{direct}"
    );
    let result = check(&format!("{CLIENT} -J bastion"));
    // The connection of the bastion to the server is the session, which is not counted.
    assert!(result.stdout.contains("\n10.0.1.1 9 connections on port 8080"), "{result:?}");
    assert!(result.stdout.contains("\ninner: reached by ssh; ran ss -tan (Linux)\n"), "{result:?}");
    // The bastion refuses.
    fixture.dir.write("none", "");
    let refused = check(&format!("{CLIENT} -J nobody@bastion")).code_and_status();
    let expected = "3 TOPIP UNKNOWN - inner: ssh: nobody@192.0.2.1: Permission denied (";
    assert!(refused.starts_with(expected), "{refused}");
}

/// A certificate authority signs the keys of the user and of the server.
#[test]
fn certificates_are_used() {
    with_clients(|fixture| {
        let authority = create_key(&fixture.dir, "authority", &["-t", "ed25519"]);
        let user = fixture.account.name.clone();
        let sign = |args: &[&str], key: &Path| {
            let public = key.with_added_extension("pub");
            let fixed = ["-q", "-s", authority.to_str().unwrap(), "-I", "topip"];
            run_ok("ssh-keygen", &[&fixed[..], args, &[public.to_str().unwrap()]].concat());
        };
        sign(&["-n", &user], &fixture.key);
        sign(&["-h", "-n", "127.0.0.1"], &fixture.server.host_keys[0]);
        fs::write(fixture.account.home.join(".ssh/authorized_keys"), "").unwrap();
        let host_key = fixture.server.host_keys[0].clone();
        let options = format!(
            "TrustedUserCAKeys {}.pub\nHostCertificate {}-cert.pub",
            authority.display(),
            host_key.display()
        );
        fixture.server = Server::openssh_with(&fixture.dir, vec![host_key], &options, None);
        let public = fs::read_to_string(authority.with_added_extension("pub")).unwrap();
        fixture.dir.write("known_hosts", format!("@cert-authority [127.0.0.1]:* {public}"));
        configure(fixture, "");
        assert_sees_clients(&check(fixture, &OUTSIDE_ARGS), "ss -tan (Linux)");
        // Without the authority, the host key is not known.
        fixture.dir.write("known_hosts", "");
        let result = check(fixture, &[]).code_and_status();
        assert_eq!(result, "3 TOPIP UNKNOWN - web: ssh: Host key verification failed");
    });
}

#[test]
fn dropbear_client_and_server_work() {
    if ["/usr/bin/dbclient", "/usr/sbin/dropbear"].iter().any(|it| !Path::new(it).exists()) {
        return skip("dropbear-bin");
    }
    with_clients(|fixture| {
        let key = fixture.dir.path("id_dropbear").display().to_string();
        let id = fixture.key.display().to_string();
        run_ok("dropbearconvert", &["openssh", "dropbear", &id, &key]);
        let client = format!("dbclient -y -y -i {key}");
        let dropbear = Server::dropbear(&fixture.dir, &[]);
        for port in [fixture.server.port, dropbear.port] {
            let server = format!("{}@127.0.0.1:{port}", fixture.account.name);
            let check = |args: &[&str]| run(&mut command(&fixture.dir, &client, &server, args));
            assert_sees_clients(&check(&OUTSIDE_ARGS), "ss -tan (Linux)");
            assert_eq!(sessions(&check(&["-vvv"])), [""; 0]);
            // OpenSSH's client, to either server.
            let client = format!("{CLIENT} -i id -o StrictHostKeyChecking=no");
            fixture
                .dir
                .write("client", "Host *\n IdentitiesOnly yes\n UserKnownHostsFile /dev/null\n");
            let result = run(&mut command(&fixture.dir, &client, &server, &OUTSIDE_ARGS));
            assert_sees_clients(&result, "ss -tan (Linux)");
        }
        let refused = run(&mut command(&fixture.dir, &client, "127.0.0.1:1", &[]));
        let expected = "3 TOPIP UNKNOWN - [127.0.0.1]:1: dbclient: ended with exit status 1 (dbclient: \
                        Connection to root@127.0.0.1:1 exited: Connect failed: Connection refused)";
        assert_eq!(refused.code_and_status(), expected);
    });
}

#[test]
fn several_servers_and_other_programs_work() {
    with_clients(|fixture| {
        fixture.dir.write("known_hosts", fixture.server.known_hosts_lines("127.0.0.*"));
        configure(fixture, "");
        fs::OpenOptions::new()
            .append(true)
            .open(fixture.dir.path("client"))
            .and_then(|mut file| {
                use std::io::Write;
                writeln!(
                    file,
                    "Host 127.0.0.*\n Port {}\n User {}\n IdentityFile id",
                    fixture.server.port, fixture.account.name
                )
            })
            .unwrap();
        let servers: Vec<_> =
            (1..=20).map(|host| format!("127.0.0.{host}:{}", fixture.server.port)).collect();
        let args = ["-x", "127.0.0.0/8,192.0.2.10", "-v", "-t", "60"];
        let all = run(&mut command(&fixture.dir, CLIENT, &servers.join(","), &args));
        assert!(all.stdout.contains("\n203.0.113.7 180 connections on port "), "{all:?}");
        let some = run(&mut command(&fixture.dir, CLIENT, "web,web:1", &args));
        assert!(some.code_and_status().starts_with("3 TOPIP UNKNOWN - [web]:1: ssh: "), "{some:?}");
        assert!(some.status_line().contains("203.0.113.7 has 9 connections"), "{some:?}");

        let mut munin = fixture.dir.program(MUNIN, &["fetch"]);
        munin.env("rsh", CLIENT).env("hostname", "web").env("exclude", "192.0.2.10");
        let munin = run(&mut munin);
        assert!(munin.stdout.starts_with("connections_max.value 9\n"), "{munin:?}");
        let mut munin = fixture.dir.program(MUNIN, &["fetch"]);
        munin.env("rsh", "ssh 'x").env("hostname", "web");
        let munin = run(&mut munin);
        assert!(
            munin.stderr.contains("cannot read env.rsh ssh ?x: a quote is not closed"),
            "{munin:?}"
        );
        let log_args = ["--rsh", CLIENT, "-H", "web", "-x", "192.0.2.10", "--consecutive", "1"];
        let log = run(&mut fixture
            .dir
            .program(LOG, &[&log_args[..], &["--log", "log", "--limit", "5"]].concat()));
        assert_eq!(log.code, Some(0), "{log:?}");
        let log = fs::read_to_string(fixture.dir.path("log")).unwrap();
        assert!(log.contains(" - 9 connections from 203.0.113.7 on web"), "{log}");
    });
}

/// With another client, an alias may be another host, so the samples are not compared.
#[test]
fn each_client_has_its_own_state_file() {
    with_clients(|fixture| {
        configure(fixture, "");
        let states = || {
            let find =
                Command::new("find").arg(fixture.dir.path(".")).args(["-name", "*.ron"]).output();
            String::from_utf8(find.unwrap().stdout).unwrap().lines().count()
        };
        check(fixture, &[]);
        assert_eq!(states(), 1);
        // Quotes and blanks between the words are not part of them.
        run(&mut command(&fixture.dir, " ssh  '-F' client", "web", &[]));
        assert_eq!(states(), 1);
        run(&mut command(&fixture.dir, &format!("{CLIENT} -4"), "web", &[]));
        assert_eq!(states(), 2);
    });
}

#[test]
fn options_of_built_in_client_are_refused() {
    let dir = TestDir::new();
    for (option, value) in [
        ("--password", "x"),
        ("--password-file", "x"),
        ("--identity", "x"),
        ("--passphrase-file", "x"),
        ("--known-hosts", "x"),
        ("--host-key", "strict"),
    ] {
        let result = dir.check(&["--rsh", "ssh", option, value, "-H", "web1"]);
        let status = result.code_and_status();
        let expected = ["--rsh".to_owned(), option.to_owned()];
        assert!(status.contains(" cannot be used with "), "{status}");
        assert!(
            expected.iter().all(|it| status.contains(it)) && result.code == Some(3),
            "{status}"
        );
    }
    let mut command = dir.command(&["--rsh", "ssh", "-H", "web1"]);
    let result = run(command.env("TOPIP_PASSWORD", "word"));
    let expected = "3 TOPIP UNKNOWN - --rsh cannot be used with TOPIP_PASSWORD";
    assert_eq!(result.code_and_status(), expected);
    for (client, reason) in [
        ("ssh 'a", "cannot read --rsh ssh ?a: a quote is not closed"),
        ("ssh a\\", "cannot read --rsh ssh a\\: a quote is not closed"),
        (" ", "cannot read --rsh : not a command; write one such as ssh -J bastion"),
    ] {
        let status = dir.check(&["--rsh", client, "-H", "web1"]).code_and_status();
        assert_eq!(status, format!("3 TOPIP UNKNOWN - {reason}"));
    }
}

/// Flows of a server, and a server without permission to list them.
#[test]
fn flows_are_listed() {
    if !is_possible() {
        return;
    }
    in_namespace(|| {
        let fixture = SshFixture::new("/bin/sh", "");
        let listing = "tcp 6 431999 ESTABLISHED src=203.0.113.7 dst=192.0.2.10 sport=50000 dport=443 src=192.0.2.10 dst=203.0.113.7 sport=443 dport=50000 [ASSURED] mark=0 use=1\n";
        fs::write(fixture.account.home.join("flows"), listing).unwrap();
        fixture.account.chown_home();
        configure(&fixture, "");
        let args = ["--source", "conntrack", "--command", "cat flows", "-v"];
        let result = check(&fixture, &args);
        assert!(result.stdout.contains("\n203.0.113.7 1 connection on port 443"), "{result:?}");
        let denied = check(&fixture, &["--source", "conntrack"]);
        let start =
            "3 TOPIP UNKNOWN - web gave no listing: none of these commands worked: conntrack -L, ";
        assert!(denied.code_and_status().starts_with(start), "{denied:?}");
        assert!(
            denied.stdout.contains("\nAllow USER to list the flows there, in sudoers: "),
            "{denied:?}"
        );
    });
}
