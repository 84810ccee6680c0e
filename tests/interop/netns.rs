//! Containers: what their clients have open is in network namespaces of their
//! own, and `--netns` sees what `ss` sees in each.
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
    CHECK, HOME, LOG, MUNIN, Ran, Room, copy_of, run, skip,
    topology::{Place, Topology, v4_clients, v6_clients},
};

use super::kernel::addresses;

/// The host with clients: 400 of blue, 260 of green, 1 of its own.
struct World {
    net: Topology,
    room: Room,
    _listeners: Vec<TcpListener>,
    _streams: Vec<TcpStream>,
}

impl World {
    fn new() -> Option<Self> {
        let net = Topology::new()?;
        let blue = net.listen(Place::Blue, "[::]:8080");
        let green = net.listen(Place::Green, "[::]:8443");
        let own = net.listen(Place::Host, "[::]:22");
        let away = net.listen(Place::Clients, "192.0.2.2:9000");
        let from = |address: &str| -> IpAddr { address.parse().unwrap() };
        let streams = [
            net.crowd(v4_clients(150, |host| usize::from(host % 3) + 1), "192.0.2.1:80", &blue),
            net.crowd(v6_clients(100, |_| 1), "[2001:db8::1]:80", &blue),
            net.crowd(v4_clients(60, |_| 1), "192.0.2.1:443", &green),
            net.crowd(v6_clients(200, |_| 1), "[2001:db8::1]:443", &green),
            net.connect((Place::Clients, from("203.0.113.7")), "192.0.2.1:22", &own).into(),
            // A container is a client, too; who is asked sees the host.
            net.connect((Place::Green, from("10.0.2.2")), "192.0.2.2:9000", &away).into(),
        ];
        Some(Self {
            net,
            room: Room::new(),
            _listeners: vec![blue, green, own, away],
            _streams: streams.into_iter().flatten().collect(),
        })
    }

    /// A program on the host.
    fn run(&self, program: &str, args: &[&str]) -> Ran {
        run(self.bare(program).args(args))
    }

    fn bare(&self, program: &str) -> Command {
        let mut command = self.net.command(program);
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env_clear().env("PATH", path).env("MP_STATE_PATH", self.room.path("state"));
        command
    }

    fn check(&self, args: &[&str]) -> Ran {
        self.run(CHECK, args)
    }

    /// The check as an ordinary user who has some capabilities.
    fn check_as_nobody(&self, capabilities: &[&str], args: &[&str]) -> Ran {
        // Where the tests are built, nobody else may be let in.
        let program = self.room.path("check_topip");
        if !program.exists() {
            copy_of(CHECK, &program);
            fs::set_permissions(self.room.path("."), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let granted: Vec<_> = capabilities.iter().map(|it| format!("+{it}")).collect();
        let granted = granted.join(",");
        let mut command = self.bare("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        if !capabilities.is_empty() {
            command.args([format!("--inh-caps={granted}"), format!("--ambient-caps={granted}")]);
        }
        command.env("MP_STATE_PATH", self.room.path("nobody")).arg(program).args(args);
        run(&mut command)
    }
}

/// What `ss` has at a place: how many connections of each peer.
fn ss(net: &Topology, place: Place, filter: &str) -> BTreeMap<IpAddr, u64> {
    let mut ss = Command::new("ss");
    ss.args(["-Htn", "state", "connected"]).args(filter.split_whitespace());
    let output = net.within(place, || ss.output().unwrap());
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

/// What `ss` has at all places of the host.
fn ss_of_all(net: &Topology, filter: &str) -> BTreeMap<IpAddr, u64> {
    let mut sum = BTreeMap::new();
    for place in [Place::Host, Place::Blue, Place::Green] {
        for (address, n) in ss(net, place, filter) {
            *sum.entry(address).or_default() += n;
        }
    }
    sum
}

/// What an answer has of each peer.
fn tally(answer: &str) -> BTreeMap<IpAddr, u64> {
    let lines = addresses(answer);
    let counts = lines.iter().map(|line| {
        let mut words = line.split(' ');
        let address = words.next().unwrap().parse().unwrap();
        (address, words.next().unwrap().parse().unwrap())
    });
    counts.collect()
}

/// The lines of an answer that begin so.
fn lines<'a>(answer: &'a str, beginning: &str) -> Vec<&'a str> {
    answer.lines().filter(|line| line.starts_with(beginning)).collect()
}

fn shares(answer: &str) -> Vec<&str> {
    let lines = lines(answer, "Network namespace").into_iter();
    lines.filter(|line| line.ends_with(" connections") || line.ends_with(" connection")).collect()
}

#[test]
fn the_host_and_its_containers_add_up_to_what_ss_sees_in_each() {
    let Some(world) = World::new() else { return };
    let World { net, .. } = &world;
    let sleep = format!("pid:{} sleep", net.green_process());
    let all = ss_of_all(net, "");
    assert_eq!((all.len(), all.values().sum::<u64>()), (351, 662));
    assert_eq!(ss(net, Place::Host, "").len(), 1);
    let options = ["--no-default-excludes", "-vvv", "--floor", "99"];
    for source in ["auto", "netlink", "proc"] {
        let ran = world.check(&[&options[..], &["--netns", "all", "--source", source]].concat());
        assert_eq!(tally(&ran.stdout), all, "{source}");
        assert_eq!(ran.answer(), "0 TOPIP OK - 203.0.113.2 has 4 connections, limit 99");
        let expected = [
            "Network namespace blue: 400 connections".to_owned(),
            format!("Network namespace {sleep}: 261 connections"),
            "Network namespace own: 1 connection".to_owned(),
        ];
        assert_eq!(shares(&ran.stdout), expected, "{source}");
        let how = match source {
            "proc" => "Looked at: /proc/self/net/tcp and tcp6, read as /proc/net/tcp",
            _ => "Looked at: netlink (sock_diag)",
        };
        assert_eq!(lines(&ran.stdout, "Looked at"), [how]);
    }
    // ss and the check select alike.
    for (selection, filter) in [
        (&["--port", "8080,22"][..], "( sport = 8080 or sport = 22 )"),
        (&["--port", "8443"], "sport = 8443"),
        (&["--inbound"], "( sport = 8080 or sport = 8443 or sport = 22 )"),
        (&["--inbound", "--port", "22-8080"], "( sport = 8080 or sport = 22 )"),
        (&["--state", "established", "--port", "1-8080"], "( sport >= 1 and sport <= 8080 )"),
    ] {
        for source in ["netlink", "proc"] {
            let args = [&options[..], selection, &["--netns", "all", "--source", source]].concat();
            let ran = world.check(&args);
            assert_eq!(tally(&ran.stdout), ss_of_all(net, filter), "{selection:?} {source}");
        }
    }
    let family = |flag: &str| {
        tally(&world.check(&[&options[..], &["--netns", "all", flag]].concat()).stdout)
    };
    let of = |is: fn(&IpAddr) -> bool| {
        all.clone().into_iter().filter(|(it, _)| is(it)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(family("-4"), of(IpAddr::is_ipv4));
    assert_eq!(family("-6"), of(IpAddr::is_ipv6));
}

#[test]
fn the_whole_answer_has_a_line_for_each_namespace() {
    let Some(world) = World::new() else { return };
    let ran = world.check(&["--netns", "all", "--port", "22", "-v"]);
    let expected = format!(
        "TOPIP OK - 203.0.113.7 has 1 connection, limit 10 | max=1;10;;0 avg=1;;;0 stddev=0;;;0 \
         med=1;;;0 min=1;;;0 addresses=1;;;0 connections=1;;;0\n\
         1 connection from 1 address:\n\
         203.0.113.7 1 connection on port 22 (1); ESTABLISHED (1)\n\
         Network namespace own: 1 connection\n\
         Network namespace blue: 0 connections\n\
         Network namespace pid:{} sleep: 0 connections\n\
         Rule stddev: 1 address with 1 connection to 1, median 1, average 1, stddev 0; limit 10 \
         (floor).\n\
         Rule lognormal would not say over: nobody else, one browser instead, median 6, scale 0.99; \
         false alarm rate 0.01; limit 76.14 (lognormal).\n\
         There is no earlier sample.\n",
        world.net.green_process()
    );
    assert_eq!(ran.stdout, expected);
}

#[test]
fn a_namespace_by_name_by_path_and_by_process_is_counted_once() {
    let Some(world) = World::new() else { return };
    let green = format!("pid:{}", world.net.green_process());
    let sleep = format!("Network namespace {green} sleep: 261 connections");
    let blue = "Network namespace blue: 400 connections".to_owned();
    let path = "Network namespace /run/netns/blue: 400 connections".to_owned();
    let own = "Network namespace own: 1 connection".to_owned();
    let via = format!("/proc/{}/ns/net", world.net.green_process());
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
        let ran =
            world.check(&[&["-v", "--floor", "99"][..], &options.collect::<Vec<_>>()].concat());
        assert_eq!(shares(&ran.stdout), expected, "{netns:?}: {}", ran.stdout);
        assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    }
    // Who it is by its path is known by its process, too, where all are looked at.
    let ran = world.check(&["-v", "--netns", &format!("{via},all"), "-H", "localhost"]);
    let both = format!("Network namespace {via} ({green} sleep): 261 connections");
    assert!(shares(&ran.stdout).contains(&&*both), "{}", ran.stdout);
}

/// Control groups of a test's own, as the makers of containers have them.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Option<Self> {
        let root = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let root = root.into_iter().find(|it| it.join("cgroup.procs").exists())?;
        let path = root.join(name);
        fs::create_dir(&path).ok().map(|()| Self(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its process is over soon.
        let started = Instant::now();
        while fs::remove_dir(&self.0).is_err() && started.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_container_is_named_by_what_made_it() {
    let id = format!("{:064x}", std::process::id());
    let Some(group) = Group::new(&format!("docker-{id}.scope")) else {
        return skip("the right to make control groups");
    };
    let Some(world) = World::new() else { return };
    let pid = world.net.green_process();
    fs::write(group.0.join("cgroup.procs"), world.net.green_process_here().to_string()).unwrap();
    let short = &id[..12];
    let ran = world.check(&["-v", "--netns", "all"]);
    let expected = format!("Network namespace pid:{pid} sleep, container {short}: 261 connections");
    assert!(shares(&ran.stdout).contains(&&*expected), "{}", ran.stdout);

    let ran = world.check(&["--output", "json", "--netns", "all"]);
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let mut namespaces = answer["namespaces"].as_array().unwrap().clone();
    for namespace in &mut namespaces {
        assert!(namespace.as_object_mut().unwrap().remove("inode").unwrap().as_u64() > Some(1));
    }
    let expected = serde_json::json!([
        { "own": false, "name": "blue", "connections": 400 },
        { "own": false, "pid": pid, "command": "sleep", "container": short, "connections": 261 },
        { "own": true, "connections": 1 },
    ]);
    assert_eq!(serde_json::Value::from(namespaces), expected);
    drop(world);
}

#[test]
fn what_to_grant_is_said_and_is_enough() {
    let Some(world) = World::new() else { return };
    let green = format!("pid:{}", world.net.green_process());
    let all = |capabilities: &[&str]| world.check_as_nobody(capabilities, &["--netns", "all"]);
    let perfdata = |text: &str| text.split(" | ").next().unwrap().to_owned();
    // Its own is for everybody to see.
    let ran = all(&[]);
    let hidden = hidden_processes(&ran);
    assert_eq!(
        ran.line(),
        format!(
            "TOPIP UNKNOWN - cannot see the network namespaces of {hidden} processes: Permission \
             denied (os error 13); 203.0.113.7 has 1 connection, limit 10"
        )
    );
    assert_eq!(
        ran.stdout.lines().nth(1).unwrap(),
        format!(
            "Cannot see the network namespaces of {hidden} processes: Permission denied (os error 13)."
        )
    );
    let grant = |what: &str| {
        format!(
            "Grant it {what}: by sudo, or by AmbientCapabilities of a systemd unit. See Containers, \
             routers, balancers in check_topip(1)."
        )
    };
    let both = grant("CAP_SYS_ADMIN and CAP_SYS_PTRACE");
    assert!(ran.stdout.contains(&both), "{}", ran.stdout);
    assert!(
        ran.stdout.contains(
            "\nCannot look into network namespace blue: cannot enter it: Operation not permitted \
             (os error 1).\n"
        ),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.code, Some(3));

    // To enter is not to see who there is.
    let ran = all(&["sys_admin"]);
    assert_eq!(
        (ran.code, lines(&ran.stdout, "Grant it")),
        (Some(3), vec![&*grant("CAP_SYS_PTRACE")])
    );
    let seen = "; 203.0.113.2 has 3 connections, limit 10";
    assert!(ran.line().ends_with(seen), "{}", ran.line());
    // Nor the other way round.
    let ran = all(&["sys_ptrace"]);
    assert_eq!(ran.code, Some(3));
    assert_eq!(lines(&ran.stdout, "Grant it"), [grant("CAP_SYS_ADMIN")]);
    assert!(ran.line().contains("cannot look into 2 network namespaces, blue first: cannot enter it: Operation not permitted"), "{}", ran.line());
    let ran = all(&["sys_admin", "sys_ptrace"]);
    assert_eq!(ran.answer(), "0 TOPIP OK - 203.0.113.2 has 4 connections, limit 10");

    // One that is named takes what it takes.
    let one = |capabilities: &[&str], netns: &str| {
        world.check_as_nobody(capabilities, &["--netns", netns]).stdout
    };
    let refused = |what: &str, grant: &str| format!("TOPIP UNKNOWN - {what}\n{grant}\n");
    assert_eq!(
        one(&[], "blue"),
        refused(
            "cannot look into network namespace blue: cannot enter it: Operation not permitted (os error 1)",
            &grant("CAP_SYS_ADMIN")
        )
    );
    assert_eq!(
        perfdata(&one(&["sys_admin"], "blue")),
        "TOPIP OK - 203.0.113.2 has 3 connections, limit 10"
    );
    let process = format!(
        "cannot open /proc/{}/ns/net: Permission denied (os error 13)",
        world.net.green_process()
    );
    assert_eq!(one(&["sys_admin"], &green), refused(&process, &grant("CAP_SYS_PTRACE")));
    assert_eq!(
        perfdata(&one(&["sys_admin", "sys_ptrace"], &green)).split(" - ").next(),
        Some("TOPIP OK")
    );
}

/// The packaged line for sudoers, by a real sudo, in a place of its own.
#[test]
fn sudo_lets_nagios_look_into_containers_and_do_nothing_else() {
    let Some(world) = World::new() else { return };
    let has = |program: &str, args: &[&str]| world.run(program, args).code == Some(0);
    if !has("id", &["nagios"]) || !has("sudo", &["-V"]) {
        return skip("sudo and the user nagios");
    }
    let program = world.room.path("check_topip");
    copy_of(CHECK, &program);
    let sudoers = Path::new(HOME).join("packaging/containers/sudoers");
    let sudoers = fs::read_to_string(sudoers).unwrap();
    let rule = world.room.write("sudoers", &sudoers);
    world.net.shell(&format!(
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
        world.run("setpriv", &[&user[..], &command.split(' ').collect::<Vec<_>>()].concat())
    };
    let (_, command) = sudoers.trim().split_once("NOPASSWD: ").unwrap();
    let ran = by_nagios(command);
    assert_eq!((ran.code, shares(&ran.stdout).len()), (Some(0), 3), "{}{}", ran.stdout, ran.stderr);
    for other in
        [format!("{command} --state-file /etc/x"), command.replace(" -v", ""), "id".to_owned()]
    {
        let ran = by_nagios(&other);
        assert!(ran.stderr.contains("a password is required"), "{other}: {}", ran.stderr);
        assert_eq!((ran.code, &*ran.stdout), (Some(1), ""), "{other}");
    }
}

/// Some administrators let users see no processes but their own.
#[test]
fn processes_that_do_not_show_are_not_taken_for_none() {
    let Some(world) = World::new() else { return };
    world.net.shell("mount -o remount,hidepid=2 /proc");
    let all = |capabilities: &[&str]| world.check_as_nobody(capabilities, &["--netns", "all"]);
    let ran = all(&["sys_admin"]);
    let problem = "TOPIP UNKNOWN - cannot see the processes of others: /proc hides them (hidepid); \
                   203.0.113.2 has 3 connections, limit 10";
    assert_eq!((ran.code, ran.line()), (Some(3), problem), "{}", ran.stdout);
    assert_eq!(lines(&ran.stdout, "Grant it CAP_SYS_PTRACE: by sudo").len(), 1, "{}", ran.stdout);
    let ran = all(&["sys_admin", "sys_ptrace"]);
    assert_eq!(ran.answer(), "0 TOPIP OK - 203.0.113.2 has 4 connections, limit 10");
}

fn hidden_processes(ran: &Ran) -> u64 {
    let (_, rest) =
        ran.line().split_once("namespaces of ").unwrap_or_else(|| panic!("{}", ran.stdout));
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_is_not_there_is_unknown_and_no_less() {
    let Some(world) = World::new() else { return };
    let more = "ip netns list shows the names that there are; a container without one is the pid:N \
                of a process in it. See lsns -t net.";
    let over = "Is that process still there? Those of containers: lsns -t net";
    for (netns, problem, advice) in [
        ("red", "cannot find /run/netns/red: No such file or directory (os error 2)", more),
        (
            "pid:4194304",
            "cannot find /proc/4194304/ns/net: No such file or directory (os error 2)",
            over,
        ),
        ("/dev/null", "/dev/null is no network namespace", more),
        (
            "/proc/self/ns/mnt",
            "cannot look into network namespace /proc/self/ns/mnt: /proc/self/ns/mnt is no network namespace",
            more,
        ),
    ] {
        let ran = world.check(&["--netns", netns]);
        assert_eq!(ran.stdout, format!("TOPIP UNKNOWN - {problem}\n{advice}\n"));
        assert_eq!(ran.code, Some(3));
    }
    // With the verdict on what is there.
    let ran = world.check(&["--netns", "red,blue", "-w", "2"]);
    assert_eq!(ran.answer(), "1 TOPIP WARNING - 203.0.113.2 has 3 connections, over 2 (--warning)");
    let missing = "Cannot find /run/netns/red: No such file or directory (os error 2).";
    assert_eq!(ran.stdout.lines().nth(1), Some(missing));
    let ran = world.check(&["--netns", "red,blue"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    // A file that is left of a namespace is told, and is no trouble.
    fs::write(world.net.path("/run/netns/grey"), "").unwrap();
    let ran = world.check(&["--netns", "all"]);
    assert_eq!(ran.code, Some(0));
    let note = "Network namespace grey is a name in /run/netns without one, as seen from here.";
    assert_eq!(ran.stdout.lines().nth(1), Some(note), "{}", ran.stdout);
}

#[test]
fn a_door_that_is_shut_by_others_is_told() {
    let Some(world) = World::new() else { return };
    for (error, said, advice) in [
        (
            "ENOSYS",
            "Function not implemented (os error 38)",
            "The kernel or a seccomp filter has no setns(2).",
        ),
        (
            "EPERM",
            "Operation not permitted (os error 1)",
            "It has CAP_SYS_ADMIN: a container, a seccomp filter or another user \
             namespace forbids it all the same. Run it on the host itself.",
        ),
    ] {
        let inject = format!("inject=setns:error={error}");
        let mut strace = world.bare("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject, CHECK, "--netns", "blue"]);
        let ran = run(&mut strace);
        let problem = format!("cannot look into network namespace blue: cannot enter it: {said}");
        assert_eq!(ran.stdout, format!("TOPIP UNKNOWN - {problem}\n{advice}\n"));
    }
}

/// Runs the check where setns(2) takes its time, and does something meanwhile.
fn with_slow_doors(world: &World, inject: &str, args: &[&str], meanwhile: impl FnOnce()) -> Ran {
    let trace = world.room.path("trace");
    let mut strace = world.bare("strace");
    strace.args(["-f", "-qq", "-e", "trace=openat,setns", "-e", inject, "-o"]).arg(&trace);
    let child = strace.arg(CHECK).args(args).stdout(Stdio::piped()).spawn().unwrap();
    // The last thing before the first door is the process in green.
    let found = format!("/proc/{}/cgroup\"", world.net.green_process());
    let started = Instant::now();
    while !fs::read_to_string(&trace).is_ok_and(|text| text.contains(&found)) {
        assert!(started.elapsed() < Duration::from_secs(20), "nothing was found");
        thread::sleep(Duration::from_millis(10));
    }
    meanwhile();
    let output = child.wait_with_output().unwrap();
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::new(),
        code: output.status.code(),
        took: started.elapsed(),
    }
}

#[test]
fn a_namespace_that_went_away_meanwhile_is_a_note() {
    let Some(world) = World::new() else { return };
    world.net.shell("ip netns add red; ip netns add yellow");
    let inject = "inject=setns:delay_enter=4000000:when=1";
    let args = ["--netns", "all", "-v", "-t", "30"];
    let ran = with_slow_doors(&world, inject, &args, || {
        world.net.shell("ip netns del red");
    });
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let note = "Network namespace red went away before it was looked into.";
    assert_eq!(ran.stdout.lines().nth(1), Some(note), "{}", ran.stdout);
    assert_eq!(shares(&ran.stdout).len(), 4, "{}", ran.stdout);
    assert!(ran.stdout.contains("\nNetwork namespace yellow: 0 connections\n"), "{}", ran.stdout);
}

#[test]
fn namespaces_that_there_is_no_time_for_are_unknown() {
    let Some(world) = World::new() else { return };
    world.net.shell("for n in $(seq 10 69); do ip netns add pod-$n; done");
    let inject = "inject=setns:delay_enter=100000";
    let attempt = |_| {
        let ran = with_slow_doors(&world, inject, &["--netns", "all", "-t", "4"], || {});
        assert_eq!(ran.code, Some(3), "{}", ran.stdout);
        // A machine with much else to do may take too long for the last door.
        Some(ran).filter(|ran| !ran.line().contains("no answer within 4 s"))
    };
    let ran = (0..8).find_map(attempt).expect("this machine has a moment for it");
    let (problem, _) = ran.line().split_once(" of 63 network namespaces; 203.0.113.").unwrap();
    let (_, n_left) = problem.split_once("TOPIP UNKNOWN - no time was left for ").unwrap();
    assert!((1..63).contains(&n_left.parse::<u32>().unwrap()), "{}", ran.stdout);
    let advice = "Give it more time with --timeout, below what the monitoring allows.";
    assert_eq!(ran.stdout.lines().nth(2), Some(advice), "{}", ran.stdout);
}

#[test]
fn a_host_may_have_more_namespaces_than_a_process_may_have_files() {
    let Some(world) = World::new() else { return };
    world.net.shell("for n in $(seq 100 219); do ip netns add pod-$n; done");
    let ran = world.run("prlimit", &["--nofile=24", CHECK, "--netns", "all", "-v", "-t", "60"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let shares = shares(&ran.stdout);
    assert_eq!(shares.len(), 10);
    assert_eq!(shares[0], "Network namespace blue: 400 connections");
    assert!(
        ran.stdout.contains("\n113 more network namespaces: 0 connections\n"),
        "{}",
        ran.stdout
    );
    let all = world.check(&["--netns", "all", "-vvv", "-t", "60"]);
    assert_eq!(lines(&all.stdout, "Network namespace").len(), 123);
}

#[test]
fn each_choice_of_namespaces_has_a_row_of_samples() {
    let Some(world) = World::new() else { return };
    let files = || {
        let folder = world.room.path("state").join("0");
        fs::read_dir(folder)
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
        world.check(args);
        assert_eq!(files(), expected, "{args:?}");
    }
    // What there is of them comes and goes: it is the same check.
    let over = || world.check(&["--netns", "all", "--floor", "0", "--stddev", "1"]).code;
    assert_eq!(over(), Some(1));
    world.net.shell("ip netns add red");
    assert_eq!(over(), Some(2));
}

#[test]
fn munin_and_the_log_look_into_containers_too() {
    let Some(world) = World::new() else { return };
    let mut munin = world.bare(MUNIN);
    let ran = run(munin.env("netns", "all").env("MUNIN_PLUGSTATE", world.room.path("munin")));
    assert!(ran.stdout.contains("connections_max.value 4\n"), "{}{}", ran.stdout, ran.stderr);
    let log = world.room.path("log");
    let log = log.to_str().unwrap();
    let args =
        ["--netns", "blue", "--stddev", "1", "--floor", "1", "--consecutive", "1", "--log", log];
    let ran = world.run(LOG, &args);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{}", ran.stdout);
    let line = fs::read_to_string(log).unwrap();
    assert!(line.ends_with(" - 3 connections from 203.0.113.2\n"), "{line}");
}

const HINT: &str = "This host forwards and another network namespace holds sockets, which are not \
                    in this count: containers, for one. See --netns all and --source conntrack, \
                    and Containers, routers, balancers in check_topip(1).";

#[test]
fn who_looks_in_the_wrong_place_is_told_once_and_no_worse() {
    let Some(world) = World::new() else { return };
    let hints = |ran: &Ran| lines(&ran.stdout, "This host forwards").join("\n");
    for args in [&["-v"][..], &["-vvv"], &["-v", "--source", "proc"], &["-v", "-H", "localhost"]] {
        let ran = world.check(args);
        assert_eq!((ran.code, &*hints(&ran)), (Some(0), HINT), "{args:?}: {}", ran.stdout);
        assert_eq!(hints(&world.check_as_nobody(&[], args)), HINT, "{args:?}");
    }
    let ran = world.check(&["--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["notes"], serde_json::json!([HINT]));
    assert_eq!(answer["namespaces"], serde_json::Value::Null);
    // Not where nobody asks, nor where they are in the count.
    for args in [&[][..], &["-v", "--netns", "all"], &["-v", "--netns", "pid:1"]] {
        assert_eq!(hints(&world.check(args)), "", "{args:?}");
    }
    // Blue has a name, and nobody there whose sockets could be seen.
    world.net.shell(&format!("kill {}", world.net.green_process()));
    let started = Instant::now();
    let names = "This host forwards and has other network namespaces, whose connections are not in \
                 this count: containers, for one. See --netns all and --source conntrack, and \
                 Containers, routers, balancers in check_topip(1).";
    while hints(&world.check(&["-v"])) != names {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", world.check(&["-v"]).stdout);
        thread::sleep(Duration::from_millis(20));
    }
    // A host that forwards nothing has no containers that are reached through it.
    world.net.shell(
        "echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding",
    );
    assert_eq!(hints(&world.check(&["-v"])), "");
}

/// A router has nothing but its own table.
#[test]
fn a_host_without_other_namespaces_is_told_nothing() {
    let room = Room::new();
    let script = "mount -t tmpfs tmpfs /run && mount -t sysfs sysfs /sys && ip link set lo up && \
                  echo 1 >/proc/sys/net/ipv4/ip_forward && exec \"$@\"";
    let mut command =
        room.program("unshare", &["--net", "--mount", "--pid", "--fork", "--mount-proc"]);
    command
        .args(["sh", "-c", script, "sh", CHECK, "-v"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let ran = run(&mut command);
    if ran.stdout.is_empty() {
        return skip("the right to make namespaces");
    }
    assert!(!ran.stdout.contains("forwards"), "{}", ran.stdout);
    assert_eq!(ran.line(), "TOPIP OK - no connections worth looking at");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let room = Room::new();
    let see = "See check_topip --help, or check_topip(1).";
    let value = "network namespace; write a name of ip netns, an absolute path, pid:N or all";
    for netns in ["..", ".", "", "a/b", "pid:0", "pid:x", "pid:-1", "pid:4294967296"] {
        let ran = room.check(&["--netns", netns]);
        assert_eq!(ran.code, Some(3));
        assert!(
            ran.stdout.contains(value) && ran.stdout.ends_with(&format!("\n{see}\n")),
            "{}",
            ran.stdout
        );
    }
    let ran = room.check(&["--netns", "all", "--input", "-"]);
    assert!(
        ran.stdout.starts_with("TOPIP UNKNOWN - ") && ran.stdout.contains("--input"),
        "{}",
        ran.stdout
    );
    let ran = room.check(&["--netns", "all", "-H", "localhost,web1"]);
    assert_eq!(
        ran.stdout,
        "TOPIP UNKNOWN - --netns does not go with servers that are reached by SSH\n\
         Network namespaces are of this host. Run check_topip there, by NRPE for one.\n"
    );
    assert_eq!(ran.code, Some(3));
}
