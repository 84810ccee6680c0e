//! A real munin-node on loopback, with its own directories.
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

use super::{CommandResult, MUNIN, TestDir, copy_program, daemon::free_port, run};

/// PATH of a daemon.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns whether all requirements are met. Reports a skipped test if not.
pub fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let programs = ["/usr/sbin/munin-node", "/usr/share/munin/munin-update", "/usr/bin/faketime"];
    let is_there = programs.iter().all(|program| Path::new(program).exists());
    if !is_root || !is_there {
        super::skip("root, munin-node, munin and faketime");
    }
    is_root && is_there
}

/// Makes a directory accessible to every user.
pub fn readable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The directories of a node.
pub struct Site {
    pub dir: TestDir,
}

impl Site {
    /// Creates the directories with these links to the plugin, and this file in
    /// plugin-conf.d.
    ///
    /// munin-node has no option for its plugin directory: it gets a copy of the Perl module
    /// that defines the path.
    pub fn new(links: &[&str], settings: &str) -> Self {
        let dir = TestDir::new();
        readable(&dir.path("."));
        for directory in
            ["etc/plugins", "etc/plugin-conf.d", "bin", "lib", "state", "perl/Munin/Common"]
        {
            fs::create_dir_all(dir.path(directory)).unwrap();
        }
        // As in the package, the plugin directory contains only a link.
        copy_program(MUNIN, &dir.path("bin/munin_topip"));
        symlink("../bin/munin_topip", dir.path("lib/topip_")).unwrap();
        // munin-node-configure recognizes a plugin by a link into that directory.
        for link in links {
            symlink(dir.path("lib/topip_"), dir.path("etc/plugins").join(link)).unwrap();
        }
        dir.write("etc/plugin-conf.d/topip", settings);
        let defaults = fs::read_to_string("/usr/share/perl5/Munin/Common/Defaults.pm").unwrap();
        let own = |name: &str| format!("q{{{}}}", dir.path(name).display());
        let defaults = defaults
            .replace("q{/etc/munin}", &own("etc"))
            .replace("q{/var/lib/munin-node/plugin-state}", &own("state"));
        dir.write("perl/Munin/Common/Defaults.pm", defaults);
        Self { dir }
    }

    fn perl(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            // The environment of a daemon that root started.
            .env("HOME", "/root")
            .env("PERL5LIB", self.dir.path("perl"))
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    fn config(&self, port: u16) -> PathBuf {
        let name = format!("node_{port}.conf");
        let at = |name: &str| self.dir.path(name).display().to_string();
        let (log, pid) = (at("node.log"), at("node.pid"));
        self.dir.write(
            &name,
            format!(
                "log_file {log}\nlog_level 4\npid_file {pid}\nbackground 0\nsetsid 0\n\
                 user root\ngroup root\nhost 127.0.0.1\nport {port}\nhost_name here.example\n\
                 allow ^127\\..*$\n"
            ),
        )
    }

    /// Starts a node and waits until it accepts connections.
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

    /// Returns the path of the plugin, which any user can run.
    pub fn plugin(&self) -> PathBuf {
        self.dir.path("lib/topip_")
    }

    /// Runs munin-run with additional variables.
    pub fn munin_run(&self, args: &[&str], env: &[(&str, &str)]) -> CommandResult {
        let mut command = self.perl("/usr/sbin/munin-run");
        command.arg("--ignore-systemd-properties").arg("--config").arg(self.config(1));
        command.arg("--servicedir").arg(self.dir.path("etc/plugins"));
        command.arg("--sconfdir").arg(self.dir.path("etc/plugin-conf.d"));
        run(command.args(args).envs(env.iter().copied()))
    }

    /// Runs munin-node-configure on the plugin directory.
    pub fn configure(&self, args: &[&str]) -> CommandResult {
        let mut command = self.perl("/usr/sbin/munin-node-configure");
        command.arg("--config").arg(self.config(1));
        command.arg("--libdir").arg(self.dir.path("lib"));
        command.arg("--servicedir").arg(self.dir.path("etc/plugins"));
        command.arg("--sconfdir").arg(self.dir.path("etc/plugin-conf.d"));
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
        // It leads its own process group, with a process for each client.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        self.child.wait().unwrap();
    }
}

impl Node<'_> {
    /// Returns the text of the node's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.site.dir.path("node.log")).unwrap_or_default()
    }

    /// Connects a client from 127.0.0.1.
    pub fn client(&self) -> Client {
        self.client_at([127, 0, 0, 1].into())
    }

    /// Connects a client from this address.
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

/// A client of a node.
pub struct Client {
    lines: BufReader<TcpStream>,
}

impl Client {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Sends a command and returns its reply of one line.
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.lines.get_mut(), "{command}").unwrap();
        self.line()
    }

    /// Sends a command and returns the lines of its reply, without the final dot.
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

/// Returns the value of a field in a reply.
pub fn value<'a>(answer: &'a str, field: &str) -> &'a str {
    let start = format!("{field}.value ");
    let line = answer.lines().find_map(|line| line.strip_prefix(start.as_str()));
    line.unwrap_or_else(|| panic!("no {field} in {answer}"))
}
