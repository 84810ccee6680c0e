//! A small network of real namespaces: a host that forwards to two containers by
//! nftables DNAT, and a network of clients beyond it.
//!
//! ```text
//!  clients ── outer [ host ] to-blue  ── blue   10.0.1.2  fd00:1::2
//!  192.0.2.2  192.0.2.1    ] to-green ── green  10.0.2.2  fd00:2::2
//! ```
//!
//! | asked for | at the host's 192.0.2.1 and 2001:db8::1 |
//! |---|---|
//! | port 80 | is blue's port 8080 |
//! | port 443 | is green's port 8443 |
//! | any other | is the host's own |
//!
//! What a container opens to the outside has the host's address (masquerade). The
//! clients' host has all of 198.51.100.0/24, 203.0.113.0/24 and 2001:db8:1::/48.
//!
//! The host is a mount and PID namespace too, with its own /proc and /run: what
//! runs there sees these namespaces and no other test's. Blue has a name there,
//! in /run/netns; green has none, and a process. The clients' namespace has
//! neither there: they are other machines.
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

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The machine that the check is to watch.
    Host,
    /// The container with a name.
    Blue,
    /// The container without one.
    Green,
    /// Other machines.
    Clients,
}

/// The network; it goes when this does.
pub struct Topology {
    /// unshare(1), which takes its child along.
    keeper: Child,
    /// The first process of the host, as this process knows it.
    init: u32,
    host: File,
    blue: File,
    green: File,
    clients: File,
    /// Green's process, as the host knows it.
    green_process: u32,
}

/// An address may be used at once: nobody else is there who might have it.
const NO_WAIT: &str = "for it in all default; do \
    echo 0 >/proc/sys/net/ipv6/conf/$it/accept_dad; done";

/// What the host does once it is there. Its first process waits for nothing.
const HOST: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/netns && \
    touch /run/ready && exec sleep infinity";

/// What is to be seen of the host: addresses, ways, and who is let through.
const SETUP: &str = "set -eu
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

/// The clients' side, run where they are.
const CLIENTS: &str = "set -eu
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

/// Green's name is taken away: it is there for its process alone.
const FORGET_GREEN: &str = "ip netns del green";

impl Topology {
    /// Makes the network; says that it is skipped where it cannot be made.
    pub fn new() -> Option<Self> {
        let keeper = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
            .args(["sh", "-c", HOST])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("util-linux is installed");
        let mut keeper = Keeper(Some(keeper));
        let Some(init) = keeper.first_process() else {
            skip("the right to make namespaces");
            return None;
        };
        let at = |path: &str| File::open(format!("/proc/{init}/{path}")).unwrap();
        let host = at("ns/net");
        let clients = new_namespace();
        let link = format!(
            "ip link add outer type veth peer name uplink netns /proc/{}/fd/{}",
            std::process::id(),
            clients.as_raw_fd(),
        );
        for namespace in [&host, &clients] {
            within(namespace, || shell(&mut Command::new("sh"), NO_WAIT));
        }
        within(&host, || shell(&mut Command::new("sh"), &link));
        let output = shell(nsenter(init, "sh").env("NO_WAIT", NO_WAIT), SETUP);
        within(&clients, || shell(&mut Command::new("sh"), CLIENTS));
        let named = |name: &str| at(&format!("root/run/netns/{name}"));
        let (blue, green) = (named("blue"), named("green"));
        shell(&mut nsenter(init, "sh"), FORGET_GREEN);
        let green_process = output.trim().parse().expect("a process");
        let keeper = keeper.0.take().expect("it is kept");
        Some(Self { keeper, init, host, blue, green, clients, green_process })
    }

    fn file(&self, place: Place) -> &File {
        match place {
            Place::Host => &self.host,
            Place::Blue => &self.blue,
            Place::Green => &self.green,
            Place::Clients => &self.clients,
        }
    }

    /// A program that is to run on the host: in all of its namespaces.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        nsenter(self.init, program)
    }

    /// Runs a script on the host, which has to succeed; gives what it says.
    pub fn shell(&self, script: &str) -> String {
        shell(&mut self.command("sh"), script)
    }

    /// Does something on a thread that is in the network of `place`, and in no
    /// other namespace of it. So are the programs that it starts.
    pub fn within<T: Send>(&self, place: Place, act: impl FnOnce() -> T + Send) -> T {
        within(self.file(place), act)
    }

    /// A path of the host as this process sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// The process that is in green, as the host knows it.
    pub fn green_process(&self) -> u32 {
        self.green_process
    }

    /// The same process, as the test knows it.
    pub fn green_process_here(&self) -> u32 {
        let green = self.green.metadata().unwrap().ino();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_green = |pid: &u32| {
            fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|it| it.ino() == green)
        };
        pids.into_iter().find(is_green).expect("green has a process")
    }

    /// Listens at a place.
    pub fn listen(&self, place: Place, address: &str) -> TcpListener {
        let address: SocketAddr = address.parse().unwrap();
        self.within(place, || {
            TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"))
        })
    }

    /// A connection from an address at a place; both ends where it is accepted
    /// by `listener`.
    pub fn connect(
        &self,
        (place, from): (Place, IpAddr),
        to: &str,
        listener: &TcpListener,
    ) -> [TcpStream; 2] {
        let to: SocketAddr = to.parse().unwrap();
        let client = self.within(place, || connect(from, to));
        let (server, _) = listener.accept().unwrap();
        [client, server]
    }

    /// Connections of many clients to one address: so many from each. Both ends
    /// stay open as long as what is given is kept.
    pub fn crowd(
        &self,
        clients: impl IntoIterator<Item = (IpAddr, usize)> + Send,
        to: &str,
        listener: &TcpListener,
    ) -> Vec<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        self.within(Place::Clients, || {
            let all = clients.into_iter().flat_map(|(from, n)| std::iter::repeat_n(from, n));
            all.flat_map(|from| [connect(from, to), listener.accept().unwrap().0]).collect()
        })
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Clients with 203.0.113.1 and up, so many of them, each with `n_each` of its
/// number.
pub fn v4_clients(n: u8, n_each: fn(u8) -> usize) -> Vec<(IpAddr, usize)> {
    (1..=n).map(|host| (Ipv4Addr::new(203, 0, 113, host).into(), n_each(host))).collect()
}

/// Clients with 2001:db8:1:1::1, 2001:db8:1:2::1 and up, likewise.
pub fn v6_clients(n: u8, n_each: fn(u8) -> usize) -> Vec<(IpAddr, usize)> {
    let address = |host: u8| Ipv6Addr::new(0x2001, 0xdb8, 1, host.into(), 0, 0, 0, 1);
    (1..=n).map(|host| (address(host).into(), n_each(host))).collect()
}

/// unshare(1), which is ended wherever it does not become a network.
struct Keeper(Option<Child>);

impl Keeper {
    /// The first process of the new PID namespace, once it has made its folders;
    /// none where it may not.
    fn first_process(&mut self) -> Option<u32> {
        let keeper = self.0.as_mut()?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if keeper.try_wait().unwrap().is_some() {
                return None;
            }
            let children = format!("/proc/{0}/task/{0}/children", keeper.id());
            let children = fs::read_to_string(children).unwrap_or_default();
            if let Ok(init) = children.trim().parse::<u32>()
                && fs::exists(format!("/proc/{init}/root/run/ready")).unwrap_or(false)
            {
                return Some(init);
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("unshare came to nothing");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A network namespace that nothing but the file holds.
fn new_namespace() -> File {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    thread.join().unwrap()
}

fn within<T: Send>(namespace: &File, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            act()
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
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {complaint}");
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
