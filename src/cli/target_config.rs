//! Sources from command-line options: this host, files and SSH servers.
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    model::problem::Hints,
    model::problem::Problem,
    model::{
        connection::{TcpState, TcpStates},
        secret::Secret,
        verdict::Status,
    },
    parse::TableKind,
    run::Target,
    source::{
        BpfWalk, ConnectFn, Credentials, HostKeyPolicy, ListingRequest, RemoteShell, RshServer,
        Source, SshServer,
    },
    sys::{
        command_line, process, secret_file,
        user::{self, User},
    },
};

use super::{
    args::{SampleArgs, SelectionArgs, SourceKind, Timeout},
    config::REPORT_TIME,
    invocation::Invocation,
    server_name::ServerName,
};

/// Default time limit of a run.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default time limit of a run that may prompt for a password.
const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the time limit of the run and its status on timeout.
pub(super) fn timeout(args: &SampleArgs, invocation: &Invocation) -> Timeout {
    // An external client never prompts.
    let may_prompt =
        n_remote_servers(args) == 1 && invocation.interactive && args.ssh.rsh.is_none();
    let after = if may_prompt { INTERACTIVE_TIMEOUT } else { DEFAULT_TIMEOUT };
    args.timeout.unwrap_or(Timeout { after, status: Status::Unknown })
}

/// Returns the targets to sample.
///
/// # Errors
///
/// Returns an error if the options cannot be used together, or if the settings for SSH
/// are incomplete.
pub(super) fn targets(
    args: &SampleArgs,
    invocation: &Invocation,
    timeout: Timeout,
    tcp_states: TcpStates,
) -> Result<Vec<Target>, Problem> {
    if args.ssh.password.is_some() || invocation.password.is_some() {
        // Process listings show the password until it is wiped; if that fails, until exit.
        let _ = command_line::wipe_passwords();
    }
    if !args.selection.netns.is_empty() && n_remote_servers(args) > 0 {
        let hint = "Network namespaces are read on this host only. Run check_topip on the server, \
                    for example with NRPE.";
        let message = "`--netns` cannot be used with servers that are checked over SSH";
        return Err(Problem::with_hints(message, vec![hint.to_owned()]));
    }
    require_flow_table(&args.selection)?;
    if let Some(path) = &args.selection.input {
        let source =
            if path == Path::new("-") { Source::Stdin } else { Source::File(path.clone()) };
        return Ok(vec![Target::new("input".to_owned(), vec![source])]);
    }
    if args.selection.hostname.is_empty() {
        return Ok(vec![local_target(args, tcp_states)]);
    }
    let ssh_client = if n_remote_servers(args) > 0 {
        Some(SshClient::new(args, invocation, timeout)?)
    } else {
        None
    };
    let mut targets: Vec<Target> = Vec::new();
    for server in &args.selection.hostname {
        let target = match &ssh_client {
            Some(ssh_client) if !server.is_local() => ssh_client.target(server)?,
            _ => local_target(args, tcp_states),
        };
        // A server that is named twice is sampled once.
        if targets.iter().all(|other| other.name != target.name) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// Checks that the table has the selected protocols.
///
/// # Errors
///
/// Returns an error if UDP is selected, but the source is a socket table.
fn require_flow_table(selection: &SelectionArgs) -> Result<(), Problem> {
    let SelectionArgs { protocol, source, input, .. } = selection;
    if !protocol.includes_udp() || *source == SourceKind::Conntrack || input.is_some() {
        return Ok(());
    }
    let message = format!("`--protocol` {} needs `--source` conntrack", protocol.name());
    let hint = "A socket table does not list UDP clients: a server has one socket for all of its \
                clients, also for QUIC. Connection tracking lists each flow.";
    Err(Problem::new(message, hint))
}

/// Returns the number of servers that need a login.
fn n_remote_servers(args: &SampleArgs) -> usize {
    args.selection.hostname.iter().filter(|server| !server.is_local()).count()
}

/// Returns this host as a target. The kernel filters by TCP state and by port if its
/// interface supports that.
fn local_target(args: &SampleArgs, tcp_states: TcpStates) -> Target {
    let with_listeners = args.selection.inbound;
    let tcp_states = if with_listeners { tcp_states.with_listen() } else { tcp_states };
    let netlink = Source::Netlink { tcp_states, ports: args.selection.port.clone() };
    let sources = match args.selection.source {
        // The kernel filters a dump by TCP state. A dump that omits most connections is as fast
        // as a walk; so is one that omits most by port, but which ports are busy is unknown.
        SourceKind::Auto if tcp_states.contains(TcpState::Established) => {
            let walk = BpfWalk { only_if_faster: true, with_listeners };
            vec![Source::BpfWalk(walk), netlink, Source::Proc]
        }
        SourceKind::Auto => vec![netlink, Source::Proc],
        SourceKind::Bpf => {
            vec![Source::BpfWalk(BpfWalk { only_if_faster: false, with_listeners })]
        }
        SourceKind::Netlink => vec![netlink],
        SourceKind::Proc => vec![Source::Proc],
        SourceKind::Conntrack => {
            let SelectionArgs { protocol, port, .. } = &args.selection;
            let ctnetlink = Source::Conntrack { protocol: *protocol, ports: port.clone() };
            vec![ctnetlink, Source::ConntrackProc]
        }
    };
    Target::new("localhost".to_owned(), sources).in_namespaces(args.selection.netns.clone())
}

/// SSH client for all servers of a run.
enum SshClient<'a> {
    BuiltIn(Box<SshSettings<'a>>),
    External(RshSettings<'a>),
}

impl<'a> SshClient<'a> {
    /// Returns the client that the options select.
    fn new(
        args: &'a SampleArgs,
        invocation: &Invocation,
        timeout: Timeout,
    ) -> Result<Self, Problem> {
        let Some(client) = &args.ssh.rsh else {
            return Ok(Self::BuiltIn(Box::new(SshSettings::new(args, invocation, timeout)?)));
        };
        if invocation.password.is_some() {
            let hint = "Unset it: the client of `--rsh` logs in by its own configuration.";
            return Err(Problem::new("`--rsh` cannot be used with TOPIP_PASSWORD", hint));
        }
        let timeout = timeout.after.saturating_sub(REPORT_TIME);
        Ok(Self::External(RshSettings { args, client, timeout }))
    }

    /// Returns one server as a target.
    fn target(&self, name: &ServerName) -> Result<Target, Problem> {
        match self {
            Self::BuiltIn(settings) => settings.target(name),
            Self::External(settings) => Ok(settings.target(name)),
        }
    }
}

/// Settings of an external SSH client.
struct RshSettings<'a> {
    args: &'a SampleArgs,
    client: &'a RemoteShell,
    timeout: Duration,
}

impl RshSettings<'_> {
    /// Returns one server as a target.
    fn target(&self, name: &ServerName) -> Target {
        let server = RshServer {
            host: name.host.clone(),
            port: name.port,
            user: name.user.clone().or_else(|| self.args.ssh.username.clone()),
            client: self.client.clone(),
            request: listing_request(self.args),
            timeout: self.timeout,
        };
        Target::new(server.name(), vec![Source::Rsh(Box::new(server))])
    }
}

/// Settings of the built-in SSH client.
struct SshSettings<'a> {
    args: &'a SampleArgs,
    user: Option<User>,
    credentials: Credentials,
    known_hosts: Vec<PathBuf>,
    timeout: Duration,
    connect: ConnectFn,
}

impl<'a> SshSettings<'a> {
    /// Collects the settings from options, environment and the current user.
    fn new(
        args: &'a SampleArgs,
        invocation: &Invocation,
        timeout: Timeout,
    ) -> Result<Self, Problem> {
        if cfg!(not(feature = "ssh")) {
            let hints =
                vec!["Build topip with the feature ssh, which is enabled by default.".to_owned()];
            return Err(Problem::with_hints("this topip was built without SSH", hints));
        }
        let connect = invocation.require_remote_support()?.connect;
        // Secrets are in memory from here on; if this fails, a core dump may contain them.
        let _ = process::disable_dumping();
        let user = user::current();
        if user.is_none()
            && args.ssh.known_hosts.is_none()
            && args.ssh.host_key == HostKeyPolicy::AcceptNew
        {
            let hints = vec!["Name a file with `--known-hosts`.".to_owned()];
            let message = "cannot accept new host keys: this user has no home directory for them";
            return Err(Problem::with_hints(message, hints));
        }
        let ssh_dir = user.as_ref().map(|user| user.home_dir.join(".ssh"));
        let credentials = Credentials {
            identities: args.ssh.identity.clone(),
            passphrase: args.ssh.passphrase_file.as_deref().map(read_secret).transpose()?,
            password: password(args, invocation)?,
            agent: invocation.env_var("SSH_AUTH_SOCK").map(PathBuf::from),
            default_identities: files_in(ssh_dir.as_deref(), &["id_ed25519", "id_ecdsa", "id_rsa"]),
            // Two simultaneous prompts would read each other's answers.
            interactive: invocation.interactive && n_remote_servers(args) == 1,
        };
        let known_hosts = match &args.ssh.known_hosts {
            Some(path) => vec![path.clone()],
            None => {
                let system_files = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
                let user_files = files_in(ssh_dir.as_deref(), &["known_hosts", "known_hosts2"]);
                user_files.into_iter().chain(system_files.map(PathBuf::from)).collect()
            }
        };
        // The targets' deadline is earlier, so that the report can name the activity.
        Ok(Self { args, user, credentials, known_hosts, timeout: timeout.after, connect })
    }

    /// Returns one server as a target.
    fn target(&self, name: &ServerName) -> Result<Target, Problem> {
        let port = name.port.unwrap_or(22);
        let user = name.user.clone().or_else(|| self.args.ssh.username.clone());
        let user = user.or_else(|| self.user.as_ref().map(|user| user.name.clone()));
        let Some(user) = user else {
            let hints = vec!["Give a login name with `--username`.".to_owned()];
            let server = SshServer::name_of(&name.host, port);
            let message = format!("cannot log in to {server}: this user has no name");
            return Err(Problem::with_hints(&message, hints));
        };
        let server = SshServer {
            host: name.host.clone(),
            port,
            user,
            credentials: self.credentials.clone(),
            known_hosts: self.known_hosts.clone(),
            known_hosts_explicit: self.args.ssh.known_hosts.is_some(),
            host_key_policy: self.args.ssh.host_key,
            request: listing_request(self.args),
            timeout: self.timeout,
            connect: self.connect,
        };
        Ok(Target::new(server.name(), vec![Source::Ssh(Box::new(server))]))
    }
}

/// Returns the listing to request from each server.
fn listing_request(args: &SampleArgs) -> ListingRequest {
    ListingRequest {
        table_kind: match args.selection.source {
            SourceKind::Conntrack => TableKind::Flows,
            SourceKind::Auto | SourceKind::Netlink | SourceKind::Bpf | SourceKind::Proc => {
                TableKind::Sockets
            }
        },
        protocol: args.selection.protocol,
        command: args.ssh.command.clone(),
    }
}

/// Returns the paths of the files in `dir`; empty if `dir` is `None`.
fn files_in(dir: Option<&Path>, file_names: &[&str]) -> Vec<PathBuf> {
    let Some(dir) = dir else {
        return Vec::new();
    };
    file_names.iter().map(|name| dir.join(name)).collect()
}

/// Returns the password from the option, the file or the environment, in this order.
fn password(args: &SampleArgs, invocation: &Invocation) -> Result<Option<Secret>, Problem> {
    if let Some(password) = &args.ssh.password {
        return Ok(Some(password.clone()));
    }
    if let Some(path) = &args.ssh.password_file {
        return read_secret(path).map(Some);
    }
    Ok(invocation.password.clone())
}

/// Reads the first line of a file that only its owner may read.
///
/// # Errors
///
/// Returns an error if the file is not readable, or not protected from other users.
pub(super) fn read_secret(path: &Path) -> Result<Secret, Problem> {
    secret_file::read(path).map_err(|error| error.to_problem())
}
