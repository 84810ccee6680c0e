//! A small network of real namespaces: a host that forwards to two containers by
//! nftables DNAT, and a network of clients beyond it.
//!
//! ```text
//!  clients ── outer [ host ] to-blue  ── blue   10.0.1.2  fd00:1::2
//!  192.0.2.2  192.0.2.1    ] to-green ── green  10.0.2.2  fd00:2::2
//! ```
//!
//! | port of the host's 192.0.2.1 and 2001:db8::1 | destination |
//! |---|---|
//! | 80 | port 8080 of blue |
//! | 443 | port 8443 of green |
//! | others | the host itself |
//!
//! Connections that a container opens to the outside have the host's address (masquerade). The
//! clients' namespace has all addresses of 198.51.100.0/24, 203.0.113.0/24 and 2001:db8:1::/48.
//!
//! The host is a mount and PID namespace, too, with its own /proc and /run: programs there see
//! these namespaces and not those of other tests. Blue has a name in /run/netns; green has only
//! a process. The clients' namespace has neither, because it stands for other hosts.
use std::{
    ffi::OsStr,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::skip;

/// A network namespace of the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestNetns {
    /// The host on which the check runs.
    Host,
    /// The container with a named namespace.
    Blue,
    /// The container whose namespace has no name.
    Green,
    /// The network of the clients, which are other hosts.
    Clients,
}

/// The network. It is removed when the value is dropped.
pub struct Topology {
    /// The unshare(1) process; its child is killed with it.
    unshare_child: Child,
    /// PID of the host's first process, in the PID namespace of the tests.
    init: u32,
    host: File,
    blue: File,
    green: File,
    clients: File,
    /// PID of green's process, in the PID namespace of the host.
    green_pid: u32,
}

/// Script that disables duplicate address detection, so that addresses are usable at once.
const DISABLE_DAD: &str = "for it in all default; do \
    echo 0 >/proc/sys/net/ipv6/conf/$it/accept_dad; done";

/// Script of the host's first process.
const HOST_INIT: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/netns && \
    touch /run/ready && exec sleep infinity";

/// Script that configures the host: addresses, routes and NAT rules.
const HOST_SETUP: &str = "set -eu
ip link set lo up
for name in blue green; do
    ip netns add $name
    ip netns exec $name sh -c \"$NO_WAIT\"
    ip link add to-$name type veth peer name eth0 netns $name
done
ip addr add 10.0.1.1/24 dev to-blue
ip addr add fd00:1::1/64 dev to-blue nodad
ip addr add 10.0.2.1/24 dev to-green
ip addr add fd00:2::1/64 dev to-green nodad
n=0
for name in blue green; do
    n=$((n + 1))
    ip link set to-$name up
    ip -n $name link set lo up
    ip -n $name addr add 10.0.$n.2/24 dev eth0
    ip -n $name addr add fd00:$n::2/64 dev eth0 nodad
    ip -n $name link set eth0 up
    ip -n $name route add default via 10.0.$n.1
    ip -n $name -6 route add default via fd00:$n::1
done
ip addr add 192.0.2.1/24 dev outer
ip addr add 2001:db8::1/64 dev outer nodad
ip link set outer up
ip route add 198.51.100.0/24 via 192.0.2.2
ip route add 203.0.113.0/24 via 192.0.2.2
ip -6 route add 2001:db8:1::/48 via 2001:db8::2
mount -o remount,rw /proc/sys 2>/dev/null || true
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
nft -f - <<END
table inet topip {
    chain in {
        type nat hook prerouting priority dstnat
        iifname outer ip daddr 192.0.2.1 tcp dport 80 dnat ip to 10.0.1.2:8080
        iifname outer ip daddr 192.0.2.1 tcp dport 443 dnat ip to 10.0.2.2:8443
        iifname outer ip6 daddr 2001:db8::1 tcp dport 80 dnat ip6 to [fd00:1::2]:8080
        iifname outer ip6 daddr 2001:db8::1 tcp dport 443 dnat ip6 to [fd00:2::2]:8443
    }
    chain out {
        type nat hook postrouting priority srcnat
        oifname outer ip saddr 10.0.0.0/16 masquerade
        oifname outer ip6 saddr fd00::/16 masquerade
    }
}
END
nsenter --net=/run/netns/green sleep infinity </dev/null >/dev/null 2>&1 &
echo $!
";

/// Script that configures the clients' namespace.
const CLIENTS_SETUP: &str = "set -eu
ip link set lo up
ip addr add 192.0.2.2/24 dev uplink
ip addr add 2001:db8::2/64 dev uplink nodad
ip link set uplink up
ip route add local 198.51.100.0/24 dev lo
ip route add local 203.0.113.0/24 dev lo
ip -6 route add local 2001:db8:1::/48 dev lo
echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind
ip route add default via 192.0.2.1
ip -6 route add default via 2001:db8::1
";

/// Removes green's name: only its process keeps the namespace.
const DELETE_GREEN_NAME: &str = "ip netns del green";

impl Topology {
    /// Creates the network. Reports a skipped test and returns `None` without the
    /// permission.
    pub fn new() -> Option<Self> {
        let unshare_child = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
            .args(["sh", "-c", HOST_INIT])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("util-linux is installed");
        let mut unshare_child = UnshareGuard(Some(unshare_child));
        let Some(init) = unshare_child.wait_for_init() else {
            skip("permission to create namespaces");
            return None;
        };
        let open_proc_file = |path: &str| File::open(format!("/proc/{init}/{path}")).unwrap();
        let host = open_proc_file("ns/net");
        let clients = create_netns();
        let link = format!(
            "ip link add outer type veth peer name uplink netns /proc/{}/fd/{}",
            std::process::id(),
            clients.as_raw_fd(),
        );
        for namespace in [&host, &clients] {
            in_netns(namespace, || shell(&mut Command::new("sh"), DISABLE_DAD));
        }
        in_netns(&host, || shell(&mut Command::new("sh"), &link));
        let output = shell(nsenter(init, "sh").env("NO_WAIT", DISABLE_DAD), HOST_SETUP);
        in_netns(&clients, || shell(&mut Command::new("sh"), CLIENTS_SETUP));
        let open_named_netns = |name: &str| open_proc_file(&format!("root/run/netns/{name}"));
        let (blue, green) = (open_named_netns("blue"), open_named_netns("green"));
        shell(&mut nsenter(init, "sh"), DELETE_GREEN_NAME);
        let green_pid = output.trim().parse().expect("the script prints a PID");
        let unshare_child = unshare_child.0.take().expect("not taken before");
        Some(Self { unshare_child, init, host, blue, green, clients, green_pid })
    }

    fn file(&self, netns: TestNetns) -> &File {
        match netns {
            TestNetns::Host => &self.host,
            TestNetns::Blue => &self.blue,
            TestNetns::Green => &self.green,
            TestNetns::Clients => &self.clients,
        }
    }

    /// Returns a command that runs on the host, in all of its namespaces.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        nsenter(self.init, program)
    }

    /// Runs a script on the host, which must succeed, and returns its output.
    pub fn shell(&self, script: &str) -> String {
        shell(&mut self.command("sh"), script)
    }

    /// Runs `action` on a thread in the network namespace `netns`. Programs that it starts
    /// are in that namespace, too, but in no other namespace of the host.
    pub fn in_netns<T: Send>(&self, netns: TestNetns, action: impl FnOnce() -> T + Send) -> T {
        in_netns(self.file(netns), action)
    }

    /// Returns a path of the host as this process sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Returns the PID of green's process, in the PID namespace of the host.
    pub fn green_pid(&self) -> u32 {
        self.green_pid
    }

    /// Returns the PID of green's process, in the PID namespace of the tests.
    pub fn green_pid_outside(&self) -> u32 {
        let green = self.green.metadata().unwrap().ino();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_green = |pid: &u32| {
            fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|it| it.ino() == green)
        };
        pids.into_iter().find(is_green).expect("green has a process")
    }

    /// Listens on an address in a namespace.
    pub fn listen(&self, netns: TestNetns, address: &str) -> TcpListener {
        let address: SocketAddr = address.parse().unwrap();
        self.in_netns(netns, || {
            TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"))
        })
    }

    /// Connects from an address in a namespace, and returns both endpoints; `listener`
    /// accepts the connection.
    pub fn connect(
        &self,
        (netns, from): (TestNetns, IpAddr),
        to: &str,
        listener: &TcpListener,
    ) -> [TcpStream; 2] {
        let to: SocketAddr = to.parse().unwrap();
        let client = self.in_netns(netns, || connect(from, to));
        let (server, _) = listener.accept().unwrap();
        [client, server]
    }

    /// Opens the given number of connections from each client to one address. They stay
    /// open until the returned sockets are dropped.
    pub fn connect_clients(
        &self,
        clients: impl IntoIterator<Item = (IpAddr, usize)> + Send,
        to: &str,
        listener: &TcpListener,
    ) -> Vec<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        self.in_netns(TestNetns::Clients, || {
            let all = clients.into_iter().flat_map(|(from, n)| std::iter::repeat_n(from, n));
            all.flat_map(|from| [connect(from, to), listener.accept().unwrap().0]).collect()
        })
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        let _ = self.unshare_child.kill();
        let _ = self.unshare_child.wait();
    }
}

/// Returns the `n` clients from 203.0.113.1 on, with `n_each(host number)` connections
/// each.
pub fn v4_clients(n: u8, n_each: fn(u8) -> usize) -> Vec<(IpAddr, usize)> {
    (1..=n).map(|host| (Ipv4Addr::new(203, 0, 113, host).into(), n_each(host))).collect()
}

/// Returns the `n` clients 2001:db8:1:1::1, 2001:db8:1:2::1 and so on, with `n_each(host
/// number)` connections each.
pub fn v6_clients(n: u8, n_each: fn(u8) -> usize) -> Vec<(IpAddr, usize)> {
    let address = |host: u8| Ipv6Addr::new(0x2001, 0xdb8, 1, host.into(), 0, 0, 0, 1);
    (1..=n).map(|host| (address(host).into(), n_each(host))).collect()
}

/// The unshare(1) process, which is killed if the setup fails.
struct UnshareGuard(Option<Child>);

impl UnshareGuard {
    /// Waits until the first process of the new PID namespace has set up /run, and returns
    /// its PID; `None` without the permission.
    fn wait_for_init(&mut self) -> Option<u32> {
        let unshare_child = self.0.as_mut()?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if unshare_child.try_wait().unwrap().is_some() {
                return None;
            }
            let children = format!("/proc/{0}/task/{0}/children", unshare_child.id());
            let children = fs::read_to_string(children).unwrap_or_default();
            if let Ok(init) = children.trim().parse::<u32>()
                && fs::exists(format!("/proc/{init}/root/run/ready")).unwrap_or(false)
            {
                return Some(init);
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("unshare did not start the host");
    }
}

impl Drop for UnshareGuard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Creates a network namespace that is kept only by the returned file.
fn create_netns() -> File {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    thread.join().unwrap()
}

fn in_netns<T: Send>(namespace: &File, action: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            action()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn nsenter(init: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--net", "--mount", "--pid", "--target", &init.to_string(), "--"]);
    command.arg(program).stdin(Stdio::null());
    command
}

fn shell(shell: &mut Command, script: &str) -> String {
    let output = shell.args(["-c", script]).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    rustix::net::connect(&socket, &to).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    TcpStream::from(socket)
}
