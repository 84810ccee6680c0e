//! A real munin-node on loopback, with folders of its own.
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketType};

use super::{MUNIN, Ran, Room, copy_of, daemon::free_port, run};

/// The environment of a daemon.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether all that is needed is there; says aloud what is not.
pub fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let programs = ["/usr/sbin/munin-node", "/usr/share/munin/munin-update", "/usr/bin/faketime"];
    let is_there = programs.iter().all(|program| Path::new(program).exists());
    if !is_root || !is_there {
        super::skip("root, munin-node, munin and faketime");
    }
    is_root && is_there
}

/// Lets every user in.
pub fn readable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The folders of a node.
pub struct Site {
    pub room: Room,
}

impl Site {
    /// A site with these links to the plugin, and this file in plugin-conf.d.
    ///
    /// munin-node has no option for where its plugins are: it gets a copy of the
    /// file that says so.
    pub fn new(links: &[&str], settings: &str) -> Self {
        let room = Room::new();
        readable(&room.path("."));
        for folder in
            ["etc/plugins", "etc/plugin-conf.d", "bin", "lib", "state", "perl/Munin/Common"]
        {
            fs::create_dir_all(room.path(folder)).unwrap();
        }
        // As the package has it: the folder of plugins has a link, and nothing else.
        copy_of(MUNIN, &room.path("bin/munin_topip"));
        symlink("../bin/munin_topip", room.path("lib/topip_")).unwrap();
        // munin-node-configure knows a plugin by a link into that folder.
        for link in links {
            symlink(room.path("lib/topip_"), room.path("etc/plugins").join(link)).unwrap();
        }
        room.write("etc/plugin-conf.d/topip", settings);
        let defaults = fs::read_to_string("/usr/share/perl5/Munin/Common/Defaults.pm").unwrap();
        let own = |name: &str| format!("q{{{}}}", room.path(name).display());
        let defaults = defaults
            .replace("q{/etc/munin}", &own("etc"))
            .replace("q{/var/lib/munin-node/plugin-state}", &own("state"));
        room.write("perl/Munin/Common/Defaults.pm", defaults);
        Self { room }
    }

    fn perl(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            // As a daemon has it that root started.
            .env("HOME", "/root")
            .env("PERL5LIB", self.room.path("perl"))
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    fn config(&self, port: u16) -> PathBuf {
        let name = format!("node_{port}.conf");
        let at = |name: &str| self.room.path(name).display().to_string();
        let (log, pid) = (at("node.log"), at("node.pid"));
        self.room.write(
            &name,
            format!(
                "log_file {log}\nlog_level 4\npid_file {pid}\nbackground 0\nsetsid 0\n\
                 user root\ngroup root\nhost 127.0.0.1\nport {port}\nhost_name here.example\n\
                 allow ^127\\..*$\n"
            ),
        )
    }

    /// Starts a node, and waits until it answers.
    pub fn node(&self) -> Node<'_> {
        let port = free_port();
        let child = self
            .perl("/usr/sbin/munin-node")
            .args(["--foreground", "--config"])
            .arg(self.config(port))
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let node = Node { child, port, site: self };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "no munin-node: {}", node.log());
            thread::sleep(Duration::from_millis(20));
        }
        node
    }

    /// The plugin, where any user can run it.
    pub fn plugin(&self) -> PathBuf {
        self.room.path("lib/topip_")
    }

    /// munin-run, with `env` beside.
    pub fn munin_run(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.perl("/usr/sbin/munin-run");
        command.arg("--ignore-systemd-properties").arg("--config").arg(self.config(1));
        command.arg("--servicedir").arg(self.room.path("etc/plugins"));
        command.arg("--sconfdir").arg(self.room.path("etc/plugin-conf.d"));
        run(command.args(args).envs(env.iter().copied()))
    }

    /// munin-node-configure on the folder with the plugin.
    pub fn configure(&self, args: &[&str]) -> Ran {
        let mut command = self.perl("/usr/sbin/munin-node-configure");
        command.arg("--config").arg(self.config(1));
        command.arg("--libdir").arg(self.room.path("lib"));
        command.arg("--servicedir").arg(self.room.path("etc/plugins"));
        command.arg("--sconfdir").arg(self.room.path("etc/plugin-conf.d"));
        run(command.args(args))
    }
}

/// A munin-node that runs until it is dropped.
pub struct Node<'a> {
    child: Child,
    pub port: u16,
    site: &'a Site,
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        // It leads a group of its own, with a process for each client.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        self.child.wait().unwrap();
    }
}

impl Node<'_> {
    /// What stands in the node's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.site.room.path("node.log")).unwrap_or_default()
    }

    /// A client, such as a master, at 127.0.0.1.
    pub fn client(&self) -> Client {
        self.client_at([127, 0, 0, 1].into())
    }

    /// A client that has this address.
    pub fn client_at(&self, from: IpAddr) -> Client {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
        rustix::net::connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Client { lines: BufReader::new(stream) };
        assert_eq!(client.line(), "# munin node at here.example", "{}", self.log());
        client
    }
}

/// Somebody who talks to a node.
pub struct Client {
    lines: BufReader<TcpStream>,
}

impl Client {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Asks what is answered by one line.
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.lines.get_mut(), "{command}").unwrap();
        self.line()
    }

    /// Asks what is answered by lines up to a dot; the dot is left out.
    pub fn ask_all(&mut self, command: &str) -> String {
        let mut answer = self.ask(command);
        if answer == "." {
            return String::new();
        }
        answer.push('\n');
        loop {
            match self.line().as_str() {
                "." => return answer,
                line => answer += &format!("{line}\n"),
            }
        }
    }
}

/// The value of a field in an answer.
pub fn value<'a>(answer: &'a str, field: &str) -> &'a str {
    let start = format!("{field}.value ");
    let line = answer.lines().find_map(|line| line.strip_prefix(start.as_str()));
    line.unwrap_or_else(|| panic!("no {field} in {answer}"))
}
