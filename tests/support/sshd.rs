//! Real SSH servers on loopback, with temporary users and keys.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{
    CHECK, CommandResult, TestDir,
    daemon::{free_port, run_ok, wait_for_server},
    run,
};

/// A user of this host that exists as long as the value.
pub struct Account {
    pub name: String,
    pub home: PathBuf,
}

/// Serializes useradd: it locks the user database, and fails if it is locked.
fn lock_user_database() -> MutexGuard<'static, ()> {
    static LIST: Mutex<()> = Mutex::new(());
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    pub fn new(dir: &TestDir, shell: &str) -> Self {
        static N: AtomicU32 = AtomicU32::new(0);
        let name = format!("tt{}x{}", std::process::id(), N.fetch_add(1, Ordering::Relaxed));
        let home = dir.path(&name);
        fs::create_dir_all(home.join(".ssh")).unwrap();
        // Other users need access, down to the home directory.
        fs::set_permissions(dir.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        let _list = lock_user_database();
        run_ok("useradd", &["-M", "-d", home.to_str().unwrap(), "-s", shell, &name]);
        run_ok("usermod", &["-p", "*", &name]);
        let account = Self { name, home };
        account.chown_home();
        account
    }

    /// Makes the user the owner of all files in the home directory.
    pub fn chown_home(&self) {
        run_ok("chown", &["-R", &format!("{0}:{0}", self.name), self.home.to_str().unwrap()]);
        run_ok("chmod", &["-R", "go-rwx", self.home.to_str().unwrap()]);
    }

    pub fn set_password(&self, password: &str) {
        let output = Command::new("openssl").args(["passwd", "-6", password]).output().unwrap();
        let hash = String::from_utf8(output.stdout).unwrap();
        let _list = lock_user_database();
        run_ok("usermod", &["-p", hash.trim(), &self.name]);
    }

    /// Adds a public key to authorized_keys.
    pub fn authorize(&self, key: &Path, options: &str) {
        let public = fs::read_to_string(key.with_added_extension("pub")).unwrap();
        let file = self.home.join(".ssh/authorized_keys");
        let old = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, old + format!("{options} {public}").trim_start()).unwrap();
        self.chown_home();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _list = lock_user_database();
        // No assertion here: a panic during a panic would abort all tests.
        let deleted = Command::new("userdel").args(["-f", &self.name]).output();
        if !deleted.is_ok_and(|output| output.status.success()) {
            eprintln!("the user {} is left behind", self.name);
        }
    }
}

/// Creates a key pair in `dir` and returns the path of the private key.
pub fn create_key(dir: &TestDir, name: &str, args: &[&str]) -> PathBuf {
    let path = dir.path(name);
    let mut all = vec!["-q", "-f", path.to_str().unwrap()];
    all.extend(args);
    if !args.contains(&"-N") {
        all.extend(["-N", ""]);
    }
    run_ok("ssh-keygen", &all);
    path
}

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    /// Private files of its host keys, if known.
    pub host_keys: Vec<PathBuf>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It leads its own process group, including sessions.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        self.child.wait().unwrap();
    }
}

impl Server {
    /// Starts OpenSSH with an ed25519 host key and `options`.
    pub fn openssh(dir: &TestDir, options: &str) -> Self {
        let keys = vec![create_key(dir, &format!("host_{}", free_port()), &["-t", "ed25519"])];
        Self::openssh_with(dir, keys, options, None)
    }

    /// Starts OpenSSH with these host keys, through `wrapper` if given.
    pub fn openssh_with(
        dir: &TestDir,
        host_keys: Vec<PathBuf>,
        options: &str,
        wrapper: Option<&str>,
    ) -> Self {
        fs::create_dir_all("/run/sshd").unwrap();
        let port = free_port();
        // For MaxStartups, sshd uses the last line.
        let has_max_startups = options.contains("MaxStartups");
        let startups = if has_max_startups { "" } else { "MaxStartups 200\n" };
        let keys: String =
            host_keys.iter().map(|key| format!("HostKey {}\n", key.display())).collect();
        // Listening on other addresses requires a network namespace.
        let has_listen_address = options.contains("ListenAddress");
        let listen = if has_listen_address { "" } else { "ListenAddress 127.0.0.1\n" };
        let config = dir.write(
            &format!("sshd_{port}"),
            format!(
                // sshd uses the first of two lines with the same keyword.
                "{options}\nPort {port}\n{listen}{keys}PidFile none\nUsePAM no\n\
                 StrictModes no\n{startups}MaxSessions 100\nLogLevel VERBOSE\n"
            ),
        );
        let mut command = match wrapper {
            None => Command::new("/usr/sbin/sshd"),
            Some(script) => {
                let mut sh = Command::new("unshare");
                sh.args(["-m", "sh", "-c", &format!("{script}\nexec /usr/sbin/sshd \"$@\""), "sh"]);
                sh
            }
        };
        command.args(["-D", "-f"]).arg(config).arg("-E").arg(dir.path(&format!("log_{port}")));
        Self::start(command, port, host_keys)
    }

    /// Starts Dropbear with these additional arguments.
    pub fn dropbear(dir: &TestDir, args: &[&str]) -> Self {
        let port = free_port();
        let host_key = dir.path(&format!("dropbear_{port}"));
        run_ok("dropbearkey", &["-t", "ed25519", "-f", host_key.to_str().unwrap()]);
        let mut command = Command::new("dropbear");
        let address = format!("127.0.0.1:{port}");
        command
            .args(["-F", "-E", "-p", &address, "-P", "/dev/null", "-r"])
            .arg(host_key)
            .args(args);
        Self::start(command, port, Vec::new())
    }

    fn start(mut command: Command, port: u16, host_keys: Vec<PathBuf>) -> Self {
        let child = command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let server = Self { child, port, host_keys };
        wait_for_server(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        server
    }

    /// Returns the known_hosts lines for `host`, which may be a pattern.
    pub fn known_hosts_lines(&self, host: &str) -> String {
        self.host_keys
            .iter()
            .map(|key| {
                let public = fs::read_to_string(key.with_added_extension("pub")).unwrap();
                let words: Vec<_> = public.split_whitespace().take(2).collect();
                format!("[{host}]:{} {}\n", self.port, words.join(" "))
            })
            .collect()
    }

    /// Returns the name of the server in messages: `[127.0.0.1]:2222`.
    pub fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// Returns the address and port: `127.0.0.1:2222`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// An agent that runs until it is dropped.
pub struct Agent {
    child: Child,
    pub socket: PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Agent {
    /// Starts OpenSSH's agent without keys.
    pub fn new(dir: &TestDir) -> Self {
        Self::start(dir, Command::new("ssh-agent"))
    }

    /// Starts the agent as a user; root may use it too.
    pub fn for_user(dir: &TestDir, account: &Account) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &account.name, "--clear-groups", "ssh-agent"]);
        Self::start(dir, command)
    }

    fn start(dir: &TestDir, mut command: Command) -> Self {
        let socket = dir.path("agent");
        let child = command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { child, socket };
        while !agent.socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        agent
    }

    /// Adds a private key, and its certificate if there is one.
    pub fn add(&self, key: &Path) {
        let output = Command::new("ssh-add").arg(key).env("SSH_AUTH_SOCK", &self.socket).output();
        assert!(output.unwrap().status.success(), "{}", key.display());
    }
}

/// A server, a user that may log in with `key`, and their directory.
pub struct SshFixture {
    pub account: Account,
    pub server: Server,
    pub key: PathBuf,
    pub dir: TestDir,
}

impl SshFixture {
    pub fn new(shell: &str, options: &str) -> Self {
        let dir = TestDir::new();
        let account = Account::new(&dir, shell);
        let key = create_key(&dir, "id", &["-t", "ed25519"]);
        account.authorize(&key, "");
        let server = Server::openssh(&dir, options);
        dir.write("known_hosts", server.known_hosts_lines("127.0.0.1"));
        Self { account, server, key, dir }
    }

    /// Runs the check of that server as that user, with additional `args`.
    pub fn check(&self, args: &[&str]) -> CommandResult {
        run(&mut self.command(args))
    }

    /// Like [`check`](Self::check), with the accepted key.
    pub fn check_by_key(&self, args: &[&str]) -> CommandResult {
        self.check(&[&["-i", "id"], args].concat())
    }

    /// Returns the name of the state file, which depends on the server.
    pub fn state_file(&self) -> String {
        format!("state_{}", self.server.port)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let server = format!("{}@{}", self.account.name, self.server.address());
        let mut command = Command::new(CHECK);
        command
            .args(["-s", &server, "--known-hosts", "known_hosts"])
            .args(["--state-file", &self.state_file()])
            .args(["--no-default-excludes"])
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.dir.path("."))
            .stdin(Stdio::null());
        command
    }
}

/// Returns whether all requirements are met. Reports a skipped test if not.
pub fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let has_sshd = Path::new("/usr/sbin/sshd").exists();
    if !is_root || !has_sshd {
        super::skip("root and OpenSSH's server");
    }
    is_root && has_sshd
}

/// Asserts that a command whose output does not end is UNKNOWN. It depends on the speed of
/// the machine which of the two limits is reached: the timeout or the number of bytes.
#[track_caller]
pub fn assert_endless_output_unknown(command: &str, result: &CommandResult) {
    assert_eq!(result.code, Some(3), "{command}: {result:?}");
    let line = result.status_line();
    let is_late = line.contains(" gave no answer in 3 s (while running ");
    assert!(
        is_late || line.ends_with(": the command wrote more than 256 MiB"),
        "{command}: {result:?}"
    );
}
