//! A real Postfix on loopback, which stores the mail it receives, and Dovecot, which
//! authenticates users.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    TestDir,
    daemon::{free_port, run_ok, wait_for_server},
    skip,
};

/// Password of the user `monitor`.
pub const PASSWORD: &str = "correct-horse";

/// A mail server that runs until it is dropped.
pub struct Postfix {
    pub dir: TestDir,
    /// Port without TLS, without login.
    pub clear: u16,
    /// Port that offers STARTTLS, without login.
    pub offering: u16,
    /// Port with implicit TLS, without login.
    pub wrapped: u16,
    /// Port with STARTTLS, login required.
    pub submission: u16,
    /// Like `submission`, with AUTH LOGIN only.
    pub old_submission: u16,
    /// Port without TLS, login required.
    pub clear_submission: u16,
    children: Vec<Child>,
}

const MASTER: &str = "\
127.0.0.1:CLEAR inet n - n - - smtpd
127.0.0.1:OFFERING inet n - n - - smtpd -o smtpd_tls_security_level=may
127.0.0.1:WRAPPED inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:SUBMISSION inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o USERS
127.0.0.1:OLD inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o USERS -o smtpd_sasl_mechanism_filter=login
127.0.0.1:BARE inet n - n - - smtpd -o USERS
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
";

const USERS: &str = "smtpd_sasl_auth_enable=yes -o { smtpd_recipient_restrictions = \
                     permit_sasl_authenticated, reject }";

impl Postfix {
    /// Starts a mail server, if the requirements are met.
    pub fn start() -> Option<Self> {
        if !is_possible() {
            return None;
        }
        let dir = TestDir::new();
        for directory in ["conf", "queue", "data", "mail"] {
            fs::create_dir(dir.path(directory)).unwrap();
        }
        // The daemons' users need access.
        fs::set_permissions(dir.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        run_ok("chown", &["postfix", dir.path("data").to_str().unwrap()]);
        run_ok("chown", &["nobody", dir.path("mail").to_str().unwrap()]);
        certificate(&dir);
        let [clear, offering, wrapped, submission, old_submission, clear_submission] =
            [(); 6].map(|()| free_port());
        let master = [
            ("CLEAR", clear.to_string()),
            ("OFFERING", offering.to_string()),
            ("WRAPPED", wrapped.to_string()),
            ("SUBMISSION", submission.to_string()),
            ("OLD", old_submission.to_string()),
            ("BARE", clear_submission.to_string()),
            ("USERS", USERS.to_owned()),
        ];
        let master =
            master.iter().fold(MASTER.to_owned(), |text, (name, value)| text.replace(name, value));
        dir.write("conf/master.cf", master);
        dir.write("conf/main.cf", main_cf(&dir));
        let dovecot = start(Command::new("dovecot").arg("-F").arg("-c").arg(dovecot_conf(&dir)));
        let postfix =
            start(Command::new("postfix").arg("-c").arg(dir.path("conf")).arg("start-fg"));
        let server = Self {
            dir,
            clear,
            offering,
            wrapped,
            submission,
            old_submission,
            clear_submission,
            children: vec![dovecot, postfix],
        };
        // The port that is opened last.
        wait_for_server(SocketAddr::from((Ipv4Addr::LOCALHOST, clear_submission)));
        wait_until("Dovecot's socket", || server.dir.path("auth").exists().then_some(()));
        Some(server)
    }

    /// Waits until `n` mails have been delivered, and returns them.
    pub fn mails(&self, n: usize) -> Vec<String> {
        wait_until(&format!("{n} mails"), || {
            let paths = self.delivered();
            (paths.len() == n)
                .then(|| paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect())
        })
    }

    fn delivered(&self) -> Vec<PathBuf> {
        let directory = self.dir.path("mail/box/new");
        let entries = fs::read_dir(directory).into_iter().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
        paths
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // The master process has its own session.
        if let Ok(pid) = fs::read_to_string(self.dir.path("queue/pid/master.pid")) {
            let _ =
                Command::new("kill").args(["-KILL", "--", &format!("-{}", pid.trim())]).status();
        }
        for child in &mut self.children {
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            child.wait().unwrap();
        }
    }
}

fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let programs = ["/usr/sbin/postfix", "/usr/sbin/dovecot", "/usr/bin/openssl"];
    let is_possible = is_root && programs.iter().all(|program| Path::new(program).exists());
    if !is_possible {
        skip("root, Postfix, Dovecot and openssl");
    }
    is_possible
}

fn certificate(dir: &TestDir) {
    let path = |name: &str| dir.path(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("key.pem"), path("cert.pem"));
    let mut args = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    args.extend(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    args.extend(["-addext", "subjectAltName=DNS:localhost"]);
    args.extend(["-keyout", &key, "-out", &certificate]);
    run_ok("openssl", &args);
}

fn main_cf(dir: &TestDir) -> String {
    let dir = dir.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    format!(
        "compatibility_level = 3.6\n\
         queue_directory = {dir}/queue\n\
         data_directory = {dir}/data\n\
         daemon_directory = /usr/lib/postfix/sbin\n\
         command_directory = /usr/sbin\n\
         maillog_file = {dir}/maillog\n\
         maillog_file_prefixes = {dir}\n\
         inet_interfaces = loopback-only\n\
         inet_protocols = ipv4\n\
         myhostname = mail.test\n\
         mydestination =\n\
         mynetworks = 127.0.0.0/8\n\
         alias_maps =\n\
         local_recipient_maps =\n\
         virtual_mailbox_domains = example.com\n\
         virtual_mailbox_base = {dir}/mail\n\
         virtual_mailbox_maps = static:box/\n\
         virtual_uid_maps = static:65534\n\
         virtual_gid_maps = static:65534\n\
         smtpd_tls_cert_file = {dir}/cert.pem\n\
         smtpd_tls_key_file = {dir}/key.pem\n\
         smtpd_sasl_type = dovecot\n\
         smtpd_sasl_path = {dir}/auth\n\
         smtpd_helo_required = yes\n\
         smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname\n\
         smtpd_recipient_restrictions = check_recipient_access \
         inline:{{ {{nobody@example.com = 550 5.1.1 no such user}}, \
         {{later@example.com = 451 4.7.1 greylisted, come back later}} }}, \
         permit_mynetworks, reject_unauth_destination\n"
    )
}

fn dovecot_conf(dir: &TestDir) -> PathBuf {
    let directory = dir.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    dir.write(
        "dovecot.conf",
        format!(
            "base_dir = {directory}/dovecot\n\
             log_path = {directory}/dovecot.log\n\
             protocols =\n\
             ssl = no\n\
             auth_mechanisms = plain login\n\
             disable_plaintext_auth = no\n\
             passdb {{\n driver = static\n args = user=monitor password={PASSWORD}\n}}\n\
             userdb {{\n driver = static\n args = uid=65534 gid=65534 home=/\n}}\n\
             service auth {{\n unix_listener {directory}/auth {{\n mode = 0666\n }}\n}}\n"
        ),
    )
}

/// Starts a daemon with a minimal environment and its own process group.
fn start(command: &mut Command) -> Child {
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn wait_until<T>(event: &str, found: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "timed out waiting for {event}");
        thread::sleep(Duration::from_millis(20));
    }
}
