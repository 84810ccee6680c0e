//! Real SSH servers on loopback, with users and keys to throw away.
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
    CHECK, Ran, Room,
    daemon::{do_run, free_port, wait_for},
    run,
};

/// A user of this machine, for as long as the test runs.
pub struct Account {
    pub name: String,
    pub home: PathBuf,
}

/// One at a time: useradd locks the list, and fails where it is locked.
fn list_of_users() -> MutexGuard<'static, ()> {
    static LIST: Mutex<()> = Mutex::new(());
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    pub fn new(room: &Room, shell: &str) -> Self {
        static N: AtomicU32 = AtomicU32::new(0);
        let name = format!("tt{}x{}", std::process::id(), N.fetch_add(1, Ordering::Relaxed));
        let home = room.path(&name);
        fs::create_dir_all(home.join(".ssh")).unwrap();
        // Others have to get in, down to the home folder.
        fs::set_permissions(room.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        let _list = list_of_users();
        do_run("useradd", &["-M", "-d", home.to_str().unwrap(), "-s", shell, &name]);
        do_run("usermod", &["-p", "*", &name]);
        let account = Self { name, home };
        account.own();
        account
    }

    /// Gives all that is in the home folder to its user.
    pub fn own(&self) {
        do_run("chown", &["-R", &format!("{0}:{0}", self.name), self.home.to_str().unwrap()]);
        do_run("chmod", &["-R", "go-rwx", self.home.to_str().unwrap()]);
    }

    pub fn set_password(&self, password: &str) {
        let output = Command::new("openssl").args(["passwd", "-6", password]).output().unwrap();
        let hash = String::from_utf8(output.stdout).unwrap();
        let _list = list_of_users();
        do_run("usermod", &["-p", hash.trim(), &self.name]);
    }

    /// Lets in whoever has the private key.
    pub fn authorize(&self, key: &Path, options: &str) {
        let public = fs::read_to_string(key.with_added_extension("pub")).unwrap();
        let file = self.home.join(".ssh/authorized_keys");
        let old = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, old + format!("{options} {public}").trim_start()).unwrap();
        self.own();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _list = list_of_users();
        // Not asserted: a test that fails already would end all of them.
        let deleted = Command::new("userdel").args(["-f", &self.name]).output();
        if !deleted.is_ok_and(|output| output.status.success()) {
            eprintln!("the user {} is left behind", self.name);
        }
    }
}

/// Makes a key pair in `room`; gives the private key's path.
pub fn key(room: &Room, name: &str, args: &[&str]) -> PathBuf {
    let path = room.path(name);
    let mut all = vec!["-q", "-f", path.to_str().unwrap()];
    all.extend(args);
    if !args.contains(&"-N") {
        all.extend(["-N", ""]);
    }
    do_run("ssh-keygen", &all);
    path
}

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    /// Its host key's public file, where it has one.
    pub host_keys: Vec<PathBuf>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It leads a group of its own, sessions and all.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        self.child.wait().unwrap();
    }
}

impl Server {
    /// OpenSSH with an ed25519 host key and `options`.
    pub fn openssh(room: &Room, options: &str) -> Self {
        let keys = vec![key(room, &format!("host_{}", free_port()), &["-t", "ed25519"])];
        Self::openssh_with(room, keys, options, None)
    }

    /// OpenSSH with these host keys, started by `wrapper` where there is one.
    pub fn openssh_with(
        room: &Room,
        host_keys: Vec<PathBuf>,
        options: &str,
        wrapper: Option<&str>,
    ) -> Self {
        fs::create_dir_all("/run/sshd").unwrap();
        let port = free_port();
        let keys: String =
            host_keys.iter().map(|key| format!("HostKey {}\n", key.display())).collect();
        // To be reached from outside takes a namespace of one's own.
        let is_told = options.contains("ListenAddress");
        let listen = if is_told { "" } else { "ListenAddress 127.0.0.1\n" };
        let config = room.write(
            &format!("sshd_{port}"),
            format!(
                // Of two lines about the same, the first one counts.
                "{options}\nPort {port}\n{listen}{keys}PidFile none\nUsePAM no\n\
                 StrictModes no\nMaxStartups 200\nMaxSessions 100\nLogLevel VERBOSE\n"
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
        command.args(["-D", "-f"]).arg(config).arg("-E").arg(room.path(&format!("log_{port}")));
        Self::start(command, port, host_keys)
    }

    pub fn dropbear(room: &Room) -> Self {
        let port = free_port();
        let host_key = room.path(&format!("dropbear_{port}"));
        do_run("dropbearkey", &["-t", "ed25519", "-f", host_key.to_str().unwrap()]);
        let mut command = Command::new("dropbear");
        let address = format!("127.0.0.1:{port}");
        command.args(["-F", "-E", "-p", &address, "-P", "/dev/null", "-r"]).arg(host_key);
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
        wait_for(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        server
    }

    /// A line of known_hosts for `host`, which may be a pattern.
    pub fn known(&self, host: &str) -> String {
        self.host_keys
            .iter()
            .map(|key| {
                let public = fs::read_to_string(key.with_added_extension("pub")).unwrap();
                let words: Vec<_> = public.split_whitespace().take(2).collect();
                format!("[{host}]:{} {}\n", self.port, words.join(" "))
            })
            .collect()
    }

    /// `127.0.0.1:2222`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// A server, a user who may log in by `key`, and the folder of it all.
pub struct World {
    pub account: Account,
    pub server: Server,
    pub key: PathBuf,
    pub room: Room,
}

impl World {
    pub fn new(shell: &str, options: &str) -> Self {
        let room = Room::new();
        let account = Account::new(&room, shell);
        let key = key(&room, "id", &["-t", "ed25519"]);
        account.authorize(&key, "");
        let server = Server::openssh(&room, options);
        room.write("known_hosts", server.known("127.0.0.1"));
        Self { account, server, key, room }
    }

    /// The check on that server as that user, with `args` beside.
    pub fn check(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// The same with the key that is let in.
    pub fn check_by_key(&self, args: &[&str]) -> Ran {
        self.check(&[&["-i", "id"], args].concat())
    }

    /// Its name in the room; another server has another.
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
            .current_dir(self.room.path("."))
            .stdin(Stdio::null());
        command
    }
}

/// Whether all that is needed is there; says aloud what is not.
pub fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let has_sshd = Path::new("/usr/sbin/sshd").exists();
    if !is_root || !has_sshd {
        super::skip("root and OpenSSH's server");
    }
    is_root && has_sshd
}
