//! Containers: their connections are in their own network namespaces, and `--netns` counts
//! what `ss` counts in each.
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    CHECK, CommandResult, LOG, MUNIN, PACKAGE_DIR, TestDir, copy_program, run, skip,
    topology::{TestNetns, Topology, v4_clients, v6_clients},
};

use super::kernel::address_lines;

/// The host with clients: 400 connections to blue, 260 to green, 1 to the host itself.
struct ContainerFixture {
    net: Topology,
    dir: TestDir,
    _listeners: Vec<TcpListener>,
    _streams: Vec<TcpStream>,
}

impl ContainerFixture {
    fn new() -> Option<Self> {
        let net = Topology::new()?;
        let blue = net.listen(TestNetns::Blue, "[::]:8080");
        let green = net.listen(TestNetns::Green, "[::]:8443");
        let own = net.listen(TestNetns::Host, "[::]:22");
        let away = net.listen(TestNetns::Clients, "192.0.2.2:9000");
        let from = |address: &str| -> IpAddr { address.parse().unwrap() };
        let streams = [
            net.connect_clients(
                v4_clients(150, |host| usize::from(host % 3) + 1),
                "192.0.2.1:80",
                &blue,
            ),
            net.connect_clients(v6_clients(100, |_| 1), "[2001:db8::1]:80", &blue),
            net.connect_clients(v4_clients(60, |_| 1), "192.0.2.1:443", &green),
            net.connect_clients(v6_clients(200, |_| 1), "[2001:db8::1]:443", &green),
            net.connect((TestNetns::Clients, from("203.0.113.7")), "192.0.2.1:22", &own).into(),
            // A container is a client, too; the server sees the host's address.
            net.connect((TestNetns::Green, from("10.0.2.2")), "192.0.2.2:9000", &away).into(),
        ];
        Some(Self {
            net,
            dir: TestDir::new(),
            _listeners: vec![blue, green, own, away],
            _streams: streams.into_iter().flatten().collect(),
        })
    }

    /// Runs a program on the host.
    fn run(&self, program: &str, args: &[&str]) -> CommandResult {
        run(self.command_on_host(program).args(args))
    }

    fn command_on_host(&self, program: &str) -> Command {
        let mut command = self.net.command(program);
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env_clear().env("PATH", path).env("MP_STATE_PATH", self.dir.path("state"));
        command
    }

    fn check(&self, args: &[&str]) -> CommandResult {
        self.run(CHECK, args)
    }

    /// Runs the check as an unprivileged user with these capabilities.
    fn check_as_nobody(&self, capabilities: &[&str], args: &[&str]) -> CommandResult {
        // Other users may not have access to the build directory.
        let program = self.dir.path("check_topip");
        if !program.exists() {
            copy_program(CHECK, &program);
            fs::set_permissions(self.dir.path("."), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let granted: Vec<_> = capabilities.iter().map(|it| format!("+{it}")).collect();
        let granted = granted.join(",");
        let mut command = self.command_on_host("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        if !capabilities.is_empty() {
            command.args([format!("--inh-caps={granted}"), format!("--ambient-caps={granted}")]);
        }
        command.env("MP_STATE_PATH", self.dir.path("nobody")).arg(program).args(args);
        run(&mut command)
    }
}

/// Returns the connections by peer, as `ss` lists them in a namespace.
fn ss_counts(net: &Topology, netns: TestNetns, filter: &str) -> BTreeMap<IpAddr, u64> {
    let mut ss_counts = Command::new("ss");
    ss_counts.args(["-Htn", "state", "connected"]).args(filter.split_whitespace());
    let output = net.in_netns(netns, || ss_counts.output().unwrap());
    assert!(output.status.success(), "{filter}: {output:?}");
    let mut peers = BTreeMap::new();
    for row in String::from_utf8(output.stdout).unwrap().lines() {
        let end = row.split_whitespace().nth(4).unwrap();
        let (address, _) = end.rsplit_once(':').unwrap();
        let address: IpAddr = address.trim_matches(['[', ']']).parse().unwrap();
        *peers.entry(address.to_canonical()).or_default() += 1;
    }
    peers
}

/// Returns the connections by peer in all namespaces of the host.
fn ss_counts_of_all(net: &Topology, filter: &str) -> BTreeMap<IpAddr, u64> {
    let mut sum = BTreeMap::new();
    for netns in [TestNetns::Host, TestNetns::Blue, TestNetns::Green] {
        for (address, n) in ss_counts(net, netns, filter) {
            *sum.entry(address).or_default() += n;
        }
    }
    sum
}

/// Returns the connections by peer in an output.
fn tally(answer: &str) -> BTreeMap<IpAddr, u64> {
    let lines = address_lines(answer);
    let counts = lines.iter().map(|line| {
        let mut words = line.split(' ');
        let address = words.next().unwrap().parse().unwrap();
        (address, words.next().unwrap().parse().unwrap())
    });
    counts.collect()
}

/// Returns the output lines that begin with this text.
fn lines<'a>(answer: &'a str, beginning: &str) -> Vec<&'a str> {
    answer.lines().filter(|line| line.starts_with(beginning)).collect()
}

fn shares(answer: &str) -> Vec<&str> {
    let lines = lines(answer, "Network namespace").into_iter();
    lines.filter(|line| line.ends_with(" connections") || line.ends_with(" connection")).collect()
}

#[test]
fn host_and_containers_match_ss() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let ContainerFixture { net, .. } = &fixture;
    let sleep = format!("pid:{} sleep", net.green_pid());
    let all = ss_counts_of_all(net, "");
    assert_eq!((all.len(), all.values().sum::<u64>()), (351, 662));
    assert_eq!(ss_counts(net, TestNetns::Host, "").len(), 1);
    let options = ["--no-default-excludes", "-vvv", "--floor", "99"];
    for source in ["auto", "netlink", "proc"] {
        let result =
            fixture.check(&[&options[..], &["--netns", "all", "--source", source]].concat());
        assert_eq!(tally(&result.stdout), all, "{source}");
        assert_eq!(
            result.code_and_status(),
            "0 TOPIP OK - 203.0.113.2 has 4 connections, limit 99"
        );
        let expected = [
            "Network namespace blue: 400 connections".to_owned(),
            format!("Network namespace {sleep}: 261 connections"),
            "Network namespace own: 1 connection".to_owned(),
        ];
        assert_eq!(shares(&result.stdout), expected, "{source}");
        let source_line = match source {
            "proc" => "Source: /proc/self/net/tcp and tcp6, read as /proc/net/tcp",
            _ => "Source: netlink (sock_diag)",
        };
        assert_eq!(lines(&result.stdout, "Source: "), [source_line]);
    }
    // The check's options and the filters of ss select the same sockets.
    for (selection, filter) in [
        (&["--port", "8080,22"][..], "( sport = 8080 or sport = 22 )"),
        (&["--port", "8443"], "sport = 8443"),
        (&["--inbound"], "( sport = 8080 or sport = 8443 or sport = 22 )"),
        (&["--inbound", "--port", "22-8080"], "( sport = 8080 or sport = 22 )"),
        (&["--state", "established", "--port", "1-8080"], "( sport >= 1 and sport <= 8080 )"),
    ] {
        for source in ["netlink", "proc"] {
            let args = [&options[..], selection, &["--netns", "all", "--source", source]].concat();
            let result = fixture.check(&args);
            assert_eq!(
                tally(&result.stdout),
                ss_counts_of_all(net, filter),
                "{selection:?} {source}"
            );
        }
    }
    let family = |flag: &str| {
        tally(&fixture.check(&[&options[..], &["--netns", "all", flag]].concat()).stdout)
    };
    let of = |is: fn(&IpAddr) -> bool| {
        all.clone().into_iter().filter(|(it, _)| is(it)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(family("-4"), of(IpAddr::is_ipv4));
    assert_eq!(family("-6"), of(IpAddr::is_ipv6));
}

#[test]
fn output_has_a_line_for_each_namespace() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let result = fixture.check(&["--netns", "all", "--port", "22", "-v"]);
    let expected = format!(
        "TOPIP OK - 203.0.113.7 has 1 connection, limit 43.8 | max=1;43.8;;0 avg=1;;;0 stddev=0;;;0 \
         med=1;;;0 min=1;;;0 addresses=1;;;0 connections=1;;;0 over=0;;;0\n\
         1 connection from 1 address:\n\
         203.0.113.7 1 connection on port 22 (1); ESTABLISHED (1)\n\
         Network namespace own: 1 connection\n\
         Network namespace blue: 0 connections\n\
         Network namespace pid:{} sleep: 0 connections\n\
         Rule auto: no other addresses, one browser assumed, center 5, scale 1; \
         false alarm rate 0.015; limit 43.8 (lognormal).\n\
         Rule stddev would not warn: 1 address with 1 connection to 1, median 1, \
         average 1, stddev 0; limit 10 (floor).\n\
         With 1 address, a single offender cannot exceed 5 standard deviations: \
         the rule stddev needs at least 24.\n\
         No previous sample exists.\n",
        fixture.net.green_pid()
    );
    assert_eq!(result.stdout, expected);
}

#[test]
fn namespace_named_several_ways_is_counted_once() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let green = format!("pid:{}", fixture.net.green_pid());
    let sleep = format!("Network namespace {green} sleep: 261 connections");
    let blue = "Network namespace blue: 400 connections".to_owned();
    let path = "Network namespace /run/netns/blue: 400 connections".to_owned();
    let own = "Network namespace own: 1 connection".to_owned();
    let via = format!("/proc/{}/ns/net", fixture.net.green_pid());
    for (netns, expected) in [
        (&["blue"][..], vec![&blue]),
        (&["blue,/run/netns/blue", "blue"], vec![&blue]),
        (&["/run/netns/blue,blue"], vec![&path]),
        (&[&green], vec![&sleep]),
        (&[&green, "blue", &green], vec![&blue, &sleep]),
        (&["pid:1"], vec![&own]),
        (&["pid:1,all"], vec![&blue, &sleep, &own]),
    ] {
        let options = netns.iter().flat_map(|it| ["--netns", it]);
        let result =
            fixture.check(&[&["-v", "--floor", "99"][..], &options.collect::<Vec<_>>()].concat());
        assert_eq!(shares(&result.stdout), expected, "{netns:?}: {}", result.stdout);
        assert_eq!(result.code, Some(0), "{}", result.stdout);
    }
    // A namespace that is given by its path is also identified by its process if all are
    // sampled.
    let result = fixture.check(&["-v", "--netns", &format!("{via},all"), "-H", "localhost"]);
    let both = format!("Network namespace {via} ({green} sleep): 261 connections");
    assert!(shares(&result.stdout).contains(&&*both), "{}", result.stdout);
}

/// A control group of the test, named as container runtimes name them.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn new(name: &str) -> Option<Self> {
        let root = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let root = root.into_iter().find(|it| it.join("cgroup.procs").exists())?;
        let path = root.join(name);
        fs::create_dir(&path).ok().map(|()| Self(path))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Its process ends soon.
        let started = Instant::now();
        while fs::remove_dir(&self.0).is_err() && started.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn container_is_named_by_cgroup() {
    let id = format!("{:064x}", std::process::id());
    let Some(group) = ControlGroup::new(&format!("docker-{id}.scope")) else {
        return skip("permission to create control groups");
    };
    let Some(fixture) = ContainerFixture::new() else { return };
    let pid = fixture.net.green_pid();
    fs::write(group.0.join("cgroup.procs"), fixture.net.green_pid_outside().to_string()).unwrap();
    let short = &id[..12];
    let result = fixture.check(&["-v", "--netns", "all"]);
    let expected = format!("Network namespace pid:{pid} sleep, container {short}: 261 connections");
    assert!(shares(&result.stdout).contains(&&*expected), "{}", result.stdout);

    let result = fixture.check(&["--output", "json", "--netns", "all"]);
    let answer: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
    let mut namespaces = answer["namespaces"].as_array().unwrap().clone();
    for namespace in &mut namespaces {
        assert!(namespace.as_object_mut().unwrap().remove("inode").unwrap().as_u64() > Some(1));
    }
    let expected = serde_json::json!([
        { "current": false, "name": "blue", "connections": 400 },
        { "current": false, "pid": pid, "command": "sleep", "container": short, "connections": 261 },
        { "current": true, "connections": 1 },
    ]);
    assert_eq!(serde_json::Value::from(namespaces), expected);
    drop(fixture);
}

#[test]
fn suggested_capabilities_are_sufficient() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let green = format!("pid:{}", fixture.net.green_pid());
    let all = |capabilities: &[&str]| fixture.check_as_nobody(capabilities, &["--netns", "all"]);
    let perfdata = |text: &str| text.split(" | ").next().unwrap().to_owned();
    // The current namespace needs no capabilities.
    let result = all(&[]);
    let hidden = hidden_processes(&result);
    assert_eq!(
        result.status_line(),
        format!(
            "TOPIP UNKNOWN - cannot read the network namespaces of {hidden} processes: Permission \
             denied (os error 13); 203.0.113.7 has 1 connection, limit 43.8"
        )
    );
    assert_eq!(
        result.stdout.lines().nth(1).unwrap(),
        format!(
            "Cannot read the network namespaces of {hidden} processes: Permission denied (os error 13)."
        )
    );
    let grant = |capability: &str| {
        format!(
            "Grant {capability} to the check: with sudo, or with AmbientCapabilities= of a systemd \
             unit. See Containers, routers, balancers in check_topip(1)."
        )
    };
    let both = grant("CAP_SYS_ADMIN and CAP_SYS_PTRACE");
    assert!(result.stdout.contains(&both), "{}", result.stdout);
    assert!(
        result.stdout.contains(
            "\nCannot sample network namespace blue: cannot enter the network namespace: Operation not permitted \
             (os error 1).\n"
        ),
        "{}",
        result.stdout
    );
    assert_eq!(result.code, Some(3));

    // Permission to enter namespaces does not show the namespaces of other processes.
    let result = all(&["sys_admin"]);
    assert_eq!(
        (result.code, lines(&result.stdout, "Grant CAP_SYS_")),
        (Some(3), vec![&*grant("CAP_SYS_PTRACE")])
    );
    let top_peer = "; 203.0.113.2 has 3 connections, limit 10.91";
    assert!(result.status_line().ends_with(top_peer), "{}", result.status_line());
    // Permission to see the namespaces does not allow entering them.
    let result = all(&["sys_ptrace"]);
    assert_eq!(result.code, Some(3));
    assert_eq!(lines(&result.stdout, "Grant CAP_SYS_"), [grant("CAP_SYS_ADMIN")]);
    assert!(result.status_line().contains("cannot sample 2 network namespaces, blue first: cannot enter the network namespace: Operation not permitted"), "{}", result.status_line());
    let result = all(&["sys_admin", "sys_ptrace"]);
    assert_eq!(result.code_and_status(), "0 TOPIP OK - 203.0.113.2 has 4 connections, limit 22.39");

    // A namespace that is given explicitly needs the same capability.
    let check_namespace = |capabilities: &[&str], netns: &str| {
        fixture.check_as_nobody(capabilities, &["--netns", netns]).stdout
    };
    let refused =
        |capability: &str, grant: &str| format!("TOPIP UNKNOWN - {capability}\n{grant}\n");
    assert_eq!(
        check_namespace(&[], "blue"),
        refused(
            "cannot sample network namespace blue: cannot enter the network namespace: Operation not permitted (os error 1)",
            &grant("CAP_SYS_ADMIN")
        )
    );
    assert_eq!(
        perfdata(&check_namespace(&["sys_admin"], "blue")),
        "TOPIP OK - 203.0.113.2 has 3 connections, limit 10.91"
    );
    let process = format!(
        "cannot open /proc/{}/ns/net: Permission denied (os error 13)",
        fixture.net.green_pid()
    );
    assert_eq!(
        check_namespace(&["sys_admin"], &green),
        refused(&process, &grant("CAP_SYS_PTRACE"))
    );
    assert_eq!(
        perfdata(&check_namespace(&["sys_admin", "sys_ptrace"], &green)).split(" - ").next(),
        Some("TOPIP OK")
    );
}

/// The packaged sudoers line with a real sudo, in a mount namespace.
#[test]
fn packaged_sudoers_allows_only_the_check() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let has = |program: &str, args: &[&str]| fixture.run(program, args).code == Some(0);
    if !has("id", &["nagios"]) || !has("sudo", &["-V"]) {
        return skip("sudo and the user nagios");
    }
    let program = fixture.dir.path("check_topip");
    copy_program(CHECK, &program);
    let sudoers = Path::new(PACKAGE_DIR).join("packaging/containers/sudoers");
    let sudoers = fs::read_to_string(sudoers).unwrap();
    let rule = fixture.dir.write("sudoers", &sudoers);
    fixture.net.shell(&format!(
        "set -e; mkdir -p /usr/lib/nagios/plugins
         for it in /etc/sudoers.d /usr/lib/nagios/plugins /root; do mount -t tmpfs tmpfs $it; done
         [ ! -d /var/lib/topip ] || mount -t tmpfs tmpfs /var/lib/topip
         chmod 755 /etc/sudoers.d /usr/lib/nagios/plugins
         cp {} /usr/lib/nagios/plugins/check_topip
         install -m 440 {} /etc/sudoers.d/topip",
        program.display(),
        rule.display()
    ));
    let by_nagios = |command: &str| {
        let user = ["--reuid=nagios", "--regid=nagios", "--clear-groups", "sudo", "-n"];
        fixture.run("setpriv", &[&user[..], &command.split(' ').collect::<Vec<_>>()].concat())
    };
    let (_, command) = sudoers.trim().split_once("NOPASSWD: ").unwrap();
    let result = by_nagios(command);
    assert_eq!(
        (result.code, shares(&result.stdout).len()),
        (Some(0), 3),
        "{}{}",
        result.stdout,
        result.stderr
    );
    for other in
        [format!("{command} --state-file /etc/x"), command.replace(" -v", ""), "id".to_owned()]
    {
        let result = by_nagios(&other);
        assert!(result.stderr.contains("a password is required"), "{other}: {}", result.stderr);
        assert_eq!((result.code, &*result.stdout), (Some(1), ""), "{other}");
    }
}

/// With hidepid, users do not see the processes of other users.
#[test]
fn hidden_processes_are_unknown() {
    let Some(fixture) = ContainerFixture::new() else { return };
    fixture.net.shell("mount -o remount,hidepid=2 /proc");
    let all = |capabilities: &[&str]| fixture.check_as_nobody(capabilities, &["--netns", "all"]);
    let result = all(&["sys_admin"]);
    let problem = "TOPIP UNKNOWN - cannot list the processes of other users: /proc hides them (hidepid); \
                   203.0.113.2 has 3 connections, limit 10.91";
    assert_eq!((result.code, result.status_line()), (Some(3), problem), "{}", result.stdout);
    assert_eq!(
        lines(&result.stdout, "Grant CAP_SYS_PTRACE to the check: with sudo").len(),
        1,
        "{}",
        result.stdout
    );
    let result = all(&["sys_admin", "sys_ptrace"]);
    assert_eq!(result.code_and_status(), "0 TOPIP OK - 203.0.113.2 has 4 connections, limit 22.39");
}

fn hidden_processes(result: &CommandResult) -> u64 {
    let (_, rest) = result
        .status_line()
        .split_once("namespaces of ")
        .unwrap_or_else(|| panic!("{}", result.stdout));
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn missing_namespace_is_unknown() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let more = "To list the names: ip netns list. For a container without a name, use pid:N of a \
                process in it, which lsns -t net lists.";
    let over = "Check that the process is running. To list containers: lsns -t net";
    for (netns, problem, advice) in [
        ("red", "cannot find /run/netns/red: No such file or directory (os error 2)", more),
        (
            "pid:4194304",
            "cannot find /proc/4194304/ns/net: No such file or directory (os error 2)",
            over,
        ),
        ("/dev/null", "/dev/null is not a network namespace", more),
        (
            "/proc/self/ns/mnt",
            "cannot sample network namespace /proc/self/ns/mnt: /proc/self/ns/mnt is not a network namespace",
            more,
        ),
    ] {
        let result = fixture.check(&["--netns", netns]);
        assert_eq!(result.stdout, format!("TOPIP UNKNOWN - {problem}\n{advice}\n"));
        assert_eq!(result.code, Some(3));
    }
    // The status line has a verdict on the other namespaces.
    let result = fixture.check(&["--netns", "red,blue", "-w", "2"]);
    assert_eq!(
        result.code_and_status(),
        "1 TOPIP WARNING - 203.0.113.2 has 3 connections, over 2 (--warning)"
    );
    let missing = "Cannot find /run/netns/red: No such file or directory (os error 2).";
    assert_eq!(result.stdout.lines().nth(1), Some(missing));
    let result = fixture.check(&["--netns", "red,blue"]);
    assert_eq!(result.code, Some(3), "{}", result.stdout);
    // A leftover file in /run/netns is noted, and does not change the status.
    fs::write(fixture.net.path("/run/netns/gray"), "").unwrap();
    let result = fixture.check(&["--netns", "all"]);
    assert_eq!(result.code, Some(0));
    let note = "Network namespace gray has a file in /run/netns, but is not mounted there for this \
                process.";
    assert_eq!(result.stdout.lines().nth(1), Some(note), "{}", result.stdout);
}

#[test]
fn blocked_setns_is_reported() {
    let Some(fixture) = ContainerFixture::new() else { return };
    for (error, error_text, advice) in [
        (
            "ENOSYS",
            "Function not implemented (os error 38)",
            "The kernel does not have setns(2), or a seccomp filter blocks it.",
        ),
        (
            "EPERM",
            "Operation not permitted (os error 1)",
            "The check has CAP_SYS_ADMIN, but a container, a seccomp filter or another user \
             namespace forbids the access. Run the check on the host itself.",
        ),
    ] {
        let inject = format!("inject=setns:error={error}");
        let mut strace = fixture.command_on_host("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject, CHECK, "--netns", "blue"]);
        let result = run(&mut strace);
        let problem = format!(
            "cannot sample network namespace blue: cannot enter the network namespace: {error_text}"
        );
        assert_eq!(result.stdout, format!("TOPIP UNKNOWN - {problem}\n{advice}\n"));
    }
}

/// Runs the check with a delayed setns(2), and calls `meanwhile` during the delay.
fn check_with_slow_setns(
    fixture: &ContainerFixture,
    inject: &str,
    args: &[&str],
    meanwhile: impl FnOnce(),
) -> CommandResult {
    let trace = fixture.dir.path("trace");
    let mut strace = fixture.command_on_host("strace");
    strace.args(["-f", "-qq", "-e", "trace=openat,setns", "-e", inject, "-o"]).arg(&trace);
    let child = strace.arg(CHECK).args(args).stdout(Stdio::piped()).spawn().unwrap();
    // Reading the control group of green's process is the last step before the first
    // setns(2).
    let found = format!("/proc/{}/cgroup\"", fixture.net.green_pid());
    let started = Instant::now();
    while !fs::read_to_string(&trace).is_ok_and(|text| text.contains(&found)) {
        assert!(started.elapsed() < Duration::from_secs(20), "the check did not reach setns");
        thread::sleep(Duration::from_millis(10));
    }
    meanwhile();
    let output = child.wait_with_output().unwrap();
    CommandResult {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::new(),
        code: output.status.code(),
        elapsed: started.elapsed(),
    }
}

#[test]
fn namespace_removed_during_run_is_a_note() {
    let Some(fixture) = ContainerFixture::new() else { return };
    fixture.net.shell("ip netns add red; ip netns add yellow");
    let inject = "inject=setns:delay_enter=4000000:when=1";
    let args = ["--netns", "all", "-v", "-t", "30"];
    let result = check_with_slow_setns(&fixture, inject, &args, || {
        fixture.net.shell("ip netns del red");
    });
    assert_eq!(result.code, Some(0), "{}", result.stdout);
    let note = "Network namespace red was removed before it was sampled.";
    assert_eq!(result.stdout.lines().nth(1), Some(note), "{}", result.stdout);
    assert_eq!(shares(&result.stdout).len(), 4, "{}", result.stdout);
    assert!(
        result.stdout.contains("\nNetwork namespace yellow: 0 connections\n"),
        "{}",
        result.stdout
    );
}

/// The processes of a container end between the search for namespaces and the sample of the
/// container's namespace, as the workers of a web server do.
#[test]
fn namespace_is_entered_by_process_that_started_meanwhile() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let inject = "inject=setns:delay_enter=3000000:when=1";
    let args = ["--netns", "all", "-v", "-t", "30", "--floor", "99"];
    let result = check_with_slow_setns(&fixture, inject, &args, || {
        let green = fixture.net.green_pid();
        fixture.net.shell(&format!(
            "nsenter --net=/proc/{green}/ns/net sleep infinity >/dev/null 2>&1 & sleep 0.3; kill {green}"
        ));
    });
    assert_eq!(result.code_and_status(), "0 TOPIP OK - 203.0.113.2 has 4 connections, limit 99");
    let green = format!("Network namespace pid:{} sleep: 261 connections", fixture.net.green_pid());
    assert!(shares(&result.stdout).contains(&&*green), "{}", result.stdout);
    assert_eq!(lines(&result.stdout, "Network namespace").len(), 3, "{}", result.stdout);
}

/// Each process of the namespace ends before its file can be opened.
#[test]
fn namespace_with_short_lived_processes_is_unknown() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let green = fixture.net.green_pid();
    let mut strace = fixture.command_on_host("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=/^open(at)?$:error=ENOENT"]);
    strace.args(["-P", &format!("/proc/{green}/ns/net"), CHECK, "--netns", "all"]);
    let result = run(&mut strace);
    let problem = format!(
        "3 TOPIP UNKNOWN - cannot sample network namespace pid:{green} sleep: the \
         processes of the network namespace end before it can be entered; 203.0.113.2 has 3 connections, limit 10.91"
    );
    assert_eq!(result.code_and_status(), problem, "{}", result.stdout);
}

/// A process continues after the end of its first thread, and so does its container.
#[test]
fn process_without_first_thread_has_a_namespace() {
    const SCRIPT: &str = "import ctypes, platform, threading
threading.Thread(target=threading.Event().wait).start()
exit_thread = {'x86_64': 60, 'i686': 1, 'i386': 1}.get(platform.machine(), 93)
ctypes.CDLL(None).syscall(exit_thread, 0)";
    let Some(fixture) = ContainerFixture::new() else { return };
    if !fs::exists("/usr/bin/python3").unwrap() {
        return skip("python3");
    }
    let script = fixture.dir.write("process.py", SCRIPT);
    let green = fixture.net.green_pid();
    let nsenter =
        format!("nsenter --net=/proc/{green}/ns/net /usr/bin/python3 {}", script.display());
    let pid = fixture.net.shell(&format!("{nsenter} </dev/null >/dev/null 2>&1 & echo $!"));
    let pid = pid.trim();
    let state = format!("grep ^State: /proc/{pid}/status");
    let started = Instant::now();
    while !fixture.net.shell(&state).contains('Z') {
        assert!(started.elapsed() < Duration::from_secs(20), "the first thread did not end");
        thread::sleep(Duration::from_millis(10));
    }
    // The container has no other process now.
    fixture.net.shell(&format!("kill {green}"));
    for netns in ["all".to_owned(), format!("pid:{pid}")] {
        let result = fixture.check(&["--netns", &netns, "-v", "--floor", "99"]);
        let green = format!("Network namespace pid:{pid} python3: 261 connections");
        assert!(shares(&result.stdout).contains(&&*green), "{netns}: {}", result.stdout);
        assert_eq!(result.code, Some(0), "{}", result.stdout);
    }
    assert_eq!(lines(&fixture.check(&["-v"]).stdout, "This host forwards"), [HINT]);
}

#[test]
fn namespaces_skipped_by_timeout_are_unknown() {
    let Some(fixture) = ContainerFixture::new() else { return };
    fixture.net.shell("for n in $(seq 10 69); do ip netns add pod-$n; done");
    let inject = "inject=setns:delay_enter=100000";
    let attempt = |_| {
        let result = check_with_slow_setns(&fixture, inject, &["--netns", "all", "-t", "4"], || {});
        assert_eq!(result.code, Some(3), "{}", result.stdout);
        // A busy machine may be too slow for the last setns(2).
        Some(result).filter(|result| !result.status_line().contains("no answer within 4 s"))
    };
    let result = (0..8).find_map(attempt).expect("one attempt of eight is fast enough");
    let (problem, _) = result
        .status_line()
        .split_once(" of 63 network namespaces: no time left; 203.0.113.")
        .unwrap();
    let (_, n_left) = problem.split_once("TOPIP UNKNOWN - cannot sample ").unwrap();
    assert!((1..63).contains(&n_left.parse::<u32>().unwrap()), "{}", result.stdout);
    let advice = "Increase --timeout, but keep it below the timeout of the monitoring system.";
    assert_eq!(result.stdout.lines().nth(2), Some(advice), "{}", result.stdout);
}

#[test]
fn more_namespaces_than_descriptors_are_read() {
    let Some(fixture) = ContainerFixture::new() else { return };
    fixture.net.shell("for n in $(seq 100 219); do ip netns add pod-$n; done");
    let result =
        fixture.run("prlimit", &["--nofile=24", CHECK, "--netns", "all", "-v", "-t", "60"]);
    assert_eq!(result.code, Some(0), "{}", result.stdout);
    let shares = shares(&result.stdout);
    assert_eq!(shares.len(), 10);
    assert_eq!(shares[0], "Network namespace blue: 400 connections");
    assert!(
        result.stdout.contains("\n113 more network namespaces: 0 connections\n"),
        "{}",
        result.stdout
    );
    let all = fixture.check(&["--netns", "all", "-vvv", "-t", "60"]);
    assert_eq!(lines(&all.stdout, "Network namespace").len(), 123);
}

/// A dump of one namespace walks through the sockets of all namespaces.
#[test]
fn namespaces_without_sockets_are_not_dumped() {
    let Some(fixture) = ContainerFixture::new() else { return };
    fixture.net.shell("for n in $(seq 10 29); do ip netns add pod-$n; done");
    let trace = fixture.dir.path("trace");
    let mut strace = fixture.command_on_host("strace");
    strace.args(["-f", "-qq", "-e", "trace=socket", "-o"]).arg(&trace);
    strace.args([CHECK, "--netns", "all", "-vvv", "--no-default-excludes"]);
    let result = run(&mut strace);
    assert_eq!(tally(&result.stdout), ss_counts_of_all(&fixture.net, ""));
    let is_empty_pod = |it: &&&str| it.contains("pod-") && it.ends_with(": 0 connections");
    assert_eq!(shares(&result.stdout).iter().filter(is_empty_pod).count(), 20);
    let trace = fs::read_to_string(&trace).unwrap();
    assert_eq!(trace.matches("NETLINK_SOCK_DIAG").count(), 3, "{trace}");
}

/// The namespace has one socket of a kind that its statistics count separately.
#[test]
fn namespace_with_one_socket_is_counted() {
    let Some(net) = Topology::new() else { return };
    let dir = TestDir::new();
    let servers = [
        net.listen(TestNetns::Clients, "192.0.2.2:9000"),
        net.listen(TestNetns::Clients, "[2001:db8::2]:9000"),
    ];
    net.shell("ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8::2");
    let expect_one = |kind: &str| {
        let counts = ss_counts(&net, TestNetns::Blue, "");
        assert_eq!(counts.values().sum::<u64>(), 1, "{kind}: {counts:?}");
        for source in ["netlink", "proc"] {
            let mut check = net.command(CHECK);
            check.args(["--netns", "blue", "-vvv", "--source", source]);
            check.env("MP_STATE_PATH", dir.path("state"));
            let result = run(&mut check);
            assert_eq!(tally(&result.stdout), counts, "{kind} {source}: {}", result.stdout);
        }
    };
    let from = |address: &str| (TestNetns::Blue, address.parse::<IpAddr>().unwrap());
    let [client, server] = net.connect(from("fd00:1::2"), "[2001:db8::2]:9000", &servers[1]);
    expect_one("IPv6");
    drop(server);
    expect_one("CLOSE_WAIT");
    drop(client);
    let [client, server] = net.connect(from("10.0.1.2"), "192.0.2.2:9000", &servers[0]);
    expect_one("IPv4");
    drop(client);
    expect_one("FIN_WAIT2");
    drop(server);
    expect_one("TIME_WAIT");
}

/// User ID of a user without privileges.
const USER: u32 = 4711;

/// Creates a network namespace in a user namespace, both as an unprivileged user, with 50 forged
/// connections (`TCP_REPAIR`). Returns the ID of its process; `None` without the permission.
fn forge_connections(fixture: &ContainerFixture) -> Option<u32> {
    const SCRIPT: &str = "import os, socket, time
sockets = []
for number in range(50):
    forged = socket.socket()
    forged.setsockopt(socket.IPPROTO_TCP, 19, 1)
    forged.connect(('198.51.100.66', 1024 + number))
    sockets.append(forged)
print(os.getpid(), flush=True)
time.sleep(1000)";
    let script = fixture.dir.write("forge.py", SCRIPT);
    fs::copy(script, fixture.net.path("/run/forge.py")).unwrap();
    let user = format!("setpriv --reuid={USER} --regid={USER} --clear-groups");
    let inside = "ip link set lo up; ip addr add 192.0.2.9/32 dev lo; ip route add default dev lo; \
                  exec /usr/bin/python3 /run/forge.py";
    fixture.net.shell(&format!(
        "{user} unshare --user --map-root-user --net sh -c '{inside}' </dev/null >/run/forged 2>&1 &"
    ));
    let forged = fixture.net.path("/run/forged");
    let started = Instant::now();
    loop {
        let output = fs::read_to_string(&forged).unwrap_or_default();
        if let Some(line) = output.strip_suffix('\n') {
            if line.parse::<u32>().is_err() {
                skip(&format!("permission to create user namespaces, and python3 ({line})"));
            }
            return line.parse().ok();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "no connection was forged");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Any user can forge connections in a network namespace of a user namespace.
#[test]
fn namespaces_of_unprivileged_users_are_not_counted() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let Some(pid) = forge_connections(&fixture) else { return };
    let note = "1 network namespace of unprivileged users (user:4711) is not counted: a user can \
                fake connections there. --netns all,user:4711 counts those of a user that you \
                trust.";
    let result = fixture.check(&["--netns", "all", "-v", "--consecutive", "1"]);
    assert_eq!(result.code_and_status(), "0 TOPIP OK - 203.0.113.2 has 4 connections, limit 22.39");
    assert_eq!(lines(&result.stdout, "1 network namespace"), [note], "{}", result.stdout);
    assert_eq!(shares(&result.stdout).len(), 3, "{}", result.stdout);
    // A name in /run/netns does not change the owner.
    fixture.net.shell(&format!("ip netns attach forged {pid}"));
    let result = fixture.check(&["--netns", "all", "-v", "--consecutive", "1"]);
    assert_eq!(result.code, Some(0));
    assert_eq!(lines(&result.stdout, "1 network namespace"), [note], "{}", result.stdout);
    fixture.net.shell("ip netns del forged");

    let forged = format!("Network namespace pid:{pid} python3: 50 connections");
    let user = format!("user:{USER}");
    for (netns, n_namespaces) in [
        (format!("all,{user}"), 4),
        (user.clone(), 1),
        (format!("pid:{pid}"), 1),
        (format!("all,pid:{pid}"), 4),
    ] {
        let result = fixture.check(&["--netns", &netns, "-v", "--consecutive", "1"]);
        let status = "2 TOPIP CRITICAL - 198.51.100.66 has 50 connections, over ";
        assert!(result.code_and_status().starts_with(status), "{netns}: {}", result.stdout);
        let shares = shares(&result.stdout);
        assert_eq!(shares.len(), n_namespaces, "{netns}: {}", result.stdout);
        assert!(shares.contains(&&*forged), "{netns}: {}", result.stdout);
        assert!(!result.stdout.contains("unprivileged"), "{netns}: {}", result.stdout);
    }
    let result = fixture.check(&["--netns", "user:4712"]);
    assert_eq!(
        result.stdout,
        "TOPIP UNKNOWN - no network namespace belongs to the users of --netns\n\
         To list the network namespaces: lsns -t net\n"
    );
    let result = fixture.check(&["--netns", "user:root,user:daemon"]);
    assert_eq!(shares(&fixture.check(&["--netns", "user:root", "-v"]).stdout).len(), 3);
    assert_eq!(result.code, Some(0), "{}", result.stdout);
}

/// A user namespace that root created, as for containers with remapped users, is owned by root.
#[test]
fn namespace_of_roots_user_namespace_is_counted() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let unshare = "unshare --user --net sleep infinity";
    fixture.net.shell(&format!("{unshare} >/dev/null 2>&1 &"));
    let started = Instant::now();
    while shares(&fixture.check(&["--netns", "all", "-v"]).stdout).len() < 4 {
        assert!(started.elapsed() < Duration::from_secs(20), "the namespace is not counted");
    }
    let result = fixture.check(&["--netns", "all", "-v"]);
    assert!(!result.stdout.contains("unprivileged"), "{}", result.stdout);
    assert_eq!(result.code, Some(0));
}

#[test]
fn each_namespace_selection_has_own_history() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let files = || {
        let directory = fixture.dir.path("state").join("0");
        fs::read_dir(directory)
            .unwrap()
            .filter(|it| it.as_ref().unwrap().path().extension().is_some_and(|it| it == "ron"))
            .count()
    };
    for (args, expected) in [
        (&[][..], 1),
        (&["--netns", "all"], 2),
        (&["--netns", "blue,pid:1"], 3),
        (&["--netns", "pid:1", "--netns", "blue", "--netns", "blue"], 3),
        (&["--netns", "all", "-vv"], 3),
    ] {
        fixture.check(args);
        assert_eq!(files(), expected, "{args:?}");
    }
    // Namespaces come and go, and the check keeps its state file.
    let over = || fixture.check(&["--netns", "all", "--floor", "0", "--stddev", "1"]).code;
    assert_eq!(over(), Some(1));
    fixture.net.shell("ip netns add red");
    assert_eq!(over(), Some(2));
}

#[test]
fn munin_and_log_read_namespaces() {
    let Some(fixture) = ContainerFixture::new() else { return };
    let mut munin = fixture.command_on_host(MUNIN);
    let result = run(munin.env("netns", "all").env("MUNIN_PLUGSTATE", fixture.dir.path("munin")));
    assert!(
        result.stdout.contains("connections_max.value 4\n"),
        "{}{}",
        result.stdout,
        result.stderr
    );
    let log = fixture.dir.path("log");
    let log = log.to_str().unwrap();
    let args =
        ["--netns", "blue", "--stddev", "1", "--floor", "1", "--consecutive", "1", "--log", log];
    let result = fixture.run(LOG, &args);
    assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{}", result.stdout);
    let line = fs::read_to_string(log).unwrap();
    // All with 3 connections are over the limit; the lowest address comes first.
    assert!(line.contains(" - 3 connections from 203.0.113.2\n"), "{line}");
}

const HINT: &str = "This host forwards packets and another network namespace has sockets that are \
                    not counted, for example those of containers. See --netns all and --source \
                    conntrack, and Containers, routers, balancers in check_topip(1).";

#[test]
fn hint_about_hidden_namespaces_keeps_status() {
    let Some(fixture) = ContainerFixture::new() else { return };
    // A namespace without sockets does not count.
    fixture.net.shell("unshare --net sleep infinity >/dev/null 2>&1 &");
    let hints = |result: &CommandResult| lines(&result.stdout, "This host forwards").join("\n");
    for args in [&["-v"][..], &["-vvv"], &["-v", "--source", "proc"], &["-v", "-H", "localhost"]] {
        let result = fixture.check(args);
        assert_eq!((result.code, &*hints(&result)), (Some(0), HINT), "{args:?}: {}", result.stdout);
        assert_eq!(hints(&fixture.check_as_nobody(&[], args)), HINT, "{args:?}");
    }
    let result = fixture.check(&["--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!(answer["notes"], serde_json::json!([HINT]));
    assert_eq!(answer["namespaces"], serde_json::Value::Null);
    // The hint is printed neither by default, nor if the namespaces are counted.
    for args in [&[][..], &["-v", "--netns", "all"], &["-v", "--netns", "pid:1"]] {
        assert_eq!(hints(&fixture.check(args)), "", "{args:?}");
    }
    // Blue has a name, but no process whose sockets could be seen.
    fixture.net.shell(&format!("kill {}", fixture.net.green_pid()));
    let started = Instant::now();
    let names = "This host forwards packets and has other network namespaces, whose connections \
                 are not counted, for example those of containers. See --netns all and --source \
                 conntrack, and Containers, routers, balancers in check_topip(1).";
    while hints(&fixture.check(&["-v"])) != names {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", fixture.check(&["-v"]).stdout);
        thread::sleep(Duration::from_millis(20));
    }
    // Without forwarding, there is no hint.
    fixture.net.shell(
        "echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding",
    );
    assert_eq!(hints(&fixture.check(&["-v"])), "");
}

/// A router without other namespaces.
#[test]
fn host_without_namespaces_gets_no_hint() {
    let dir = TestDir::new();
    let script = "mount -t tmpfs tmpfs /run && mount -t sysfs sysfs /sys && ip link set lo up && \
                  echo 1 >/proc/sys/net/ipv4/ip_forward && exec \"$@\"";
    let mut command =
        dir.program("unshare", &["--net", "--mount", "--pid", "--fork", "--mount-proc"]);
    command
        .args(["sh", "-c", script, "sh", CHECK, "-v"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let result = run(&mut command);
    if result.stdout.is_empty() {
        return skip("permission to create namespaces");
    }
    assert!(!result.stdout.contains("forwards"), "{}", result.stdout);
    assert_eq!(result.status_line(), "TOPIP OK - no connections counted");
}

#[test]
fn malformed_netns_values_are_rejected() {
    let dir = TestDir::new();
    let see = "See check_topip --help, or check_topip(1).";
    let value = "network namespace; write a name of ip netns, an absolute path, pid:N, \
                 user:NAME or all";
    for netns in [
        "..",
        ".",
        "",
        "a/b",
        "pid:0",
        "pid:x",
        "pid:-1",
        "pid:4294967296",
        "user:",
        "user:no such user",
        "user:4294967296",
    ] {
        let result = dir.check(&["--netns", netns]);
        assert_eq!(result.code, Some(3));
        assert!(
            (result.stdout.contains(value) || netns.starts_with("user:"))
                && result.stdout.ends_with(&format!("\n{see}\n")),
            "{}",
            result.stdout
        );
    }
    let result = dir.check(&["--netns", "all", "--input", "-"]);
    assert!(
        result.stdout.starts_with("TOPIP UNKNOWN - ") && result.stdout.contains("--input"),
        "{}",
        result.stdout
    );
    let result = dir.check(&["--netns", "all", "-H", "localhost,web1"]);
    assert_eq!(
        result.stdout,
        "TOPIP UNKNOWN - --netns cannot be used with servers that are checked over SSH\n\
         Network namespaces are read on this host only. Run check_topip on the server, for \
         example with NRPE.\n"
    );
    assert_eq!(result.code, Some(3));
}
