//! What a command line wants looked at, and how to get there.
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    model::{connection::TcpStates, secret::Secret, verdict::Status},
    parse::Subject,
    run::{Target, advice_on, chain},
    source::{Credentials, Dial, HostKeyPolicy, Server, Source},
    sys::{
        command_line, process, secret_file,
        user::{self, Account},
    },
};

use super::{
    applet::{Failure, Invocation},
    args::{HostKey, How, SampleArgs, Timeout},
    server_name::ServerName,
};

/// How long a run may take by itself, and where a person may have to be asked.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_WITH_PEOPLE: Duration = Duration::from_secs(60);

/// How long the run may take.
pub(super) fn timeout(args: &SampleArgs, invocation: &Invocation) -> Timeout {
    let asks = n_reached(args) == 1 && invocation.has_terminal;
    let after = if asks { PATIENCE_WITH_PEOPLE } else { PATIENCE };
    args.timeout.unwrap_or(Timeout { after, status: Status::Unknown })
}

/// What to look at.
pub(super) fn targets(
    args: &SampleArgs,
    invocation: &Invocation,
    timeout: Timeout,
    tcp_states: TcpStates,
) -> Result<Vec<Target>, Failure> {
    if args.login.password.is_some() || invocation.password.is_some() {
        // It has been seen by whoever looked; where this fails, it is seen longer.
        let _ = command_line::wipe_passwords();
    }
    if !args.look.netns.is_empty() && n_reached(args) > 0 {
        let more = "Network namespaces are of this host. Run check_topip there, by NRPE for one.";
        let problem = "--netns does not go with servers that are reached by SSH";
        return Err(Failure::new(problem, vec![more.to_owned()]));
    }
    if let Some(path) = &args.look.input {
        let source = match path == Path::new("-") {
            true => Source::StandardInput,
            false => Source::File(path.clone()),
        };
        return Ok(vec![Target::new("input".to_owned(), vec![source])]);
    }
    if args.look.hostname.is_empty() {
        return Ok(vec![here(args, tcp_states)]);
    }
    let way = if n_reached(args) > 0 { Some(Way::of(args, invocation, timeout)?) } else { None };
    let mut targets: Vec<Target> = Vec::new();
    for server in &args.look.hostname {
        let target = match &way {
            Some(way) if !server.is_here() => way.to(server)?,
            _ => here(args, tcp_states),
        };
        // Named twice, it is still one.
        if targets.iter().all(|other| other.name != target.name) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// How many servers have to be logged in to.
fn n_reached(args: &SampleArgs) -> usize {
    args.look.hostname.iter().filter(|server| !server.is_here()).count()
}

/// This machine. The kernel is asked only for what counts, as far as it can be
/// told what that is: states, and ports.
fn here(args: &SampleArgs, tcp_states: TcpStates) -> Target {
    let tcp_states = if args.look.inbound { tcp_states.and_listen() } else { tcp_states };
    let netlink = Source::Netlink { tcp_states, ports: args.look.port.clone() };
    let sources = match args.look.source {
        How::Auto => vec![netlink, Source::Proc],
        How::Netlink => vec![netlink],
        How::Proc => vec![Source::Proc],
        How::Conntrack => {
            vec![Source::Conntrack { ports: args.look.port.clone() }, Source::ConntrackProc]
        }
    };
    Target::new("localhost".to_owned(), sources).within(args.look.netns.clone())
}

/// How servers are reached: the same for all of them.
struct Way<'a> {
    args: &'a SampleArgs,
    account: Option<Account>,
    credentials: Credentials,
    known_hosts: Vec<PathBuf>,
    patience: Duration,
    dial: Dial,
}

impl<'a> Way<'a> {
    fn of(
        args: &'a SampleArgs,
        invocation: &Invocation,
        timeout: Timeout,
    ) -> Result<Self, Failure> {
        if cfg!(not(feature = "ssh")) {
            let more = vec!["Build it with the feature ssh, which is on by default.".to_owned()];
            return Err(Failure::new("this topip was built without SSH", more));
        }
        let dial = invocation.reach()?.dial;
        // From here on there are secrets; where it fails, a core dump may have them.
        let _ = process::hide_memory();
        let account = user::current();
        if account.is_none()
            && args.login.known_hosts.is_none()
            && args.login.host_key == HostKey::AcceptNew
        {
            let more = vec!["Name a file with --known-hosts.".to_owned()];
            let problem = "cannot accept new host keys: this user has no home to keep them in";
            return Err(Failure::new(problem, more));
        }
        let ssh = account.as_ref().map(|account| account.home.join(".ssh"));
        let in_home = |names: &[&str]| -> Vec<PathBuf> {
            ssh.iter().flat_map(|ssh| names.iter().map(move |name| ssh.join(name))).collect()
        };
        let credentials = Credentials {
            identities: args.login.identity.clone(),
            passphrase: args.login.passphrase_file.as_deref().map(secret).transpose()?,
            password: password(args, invocation)?,
            agent: invocation.variable("SSH_AUTH_SOCK").map(PathBuf::from),
            default_identities: in_home(&["id_ed25519", "id_ecdsa", "id_rsa"]),
            // Two that ask at once would read one another's answers.
            may_ask: invocation.has_terminal && n_reached(args) == 1,
        };
        let known_hosts = match &args.login.known_hosts {
            Some(file) => vec![file.clone()],
            None => {
                let system = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
                let user = in_home(&["known_hosts", "known_hosts2"]);
                user.into_iter().chain(system.map(PathBuf::from)).collect()
            }
        };
        // Who waits for it stops before that, and can say what it was at.
        Ok(Self { args, account, credentials, known_hosts, patience: timeout.after, dial })
    }

    fn to(&self, name: &ServerName) -> Result<Target, Failure> {
        let user = name.user.clone().or_else(|| self.args.login.username.clone());
        let user = user.or_else(|| self.account.as_ref().map(|account| account.name.clone()));
        let Some(user) = user else {
            let more = vec!["Name one with --username.".to_owned()];
            let problem = format!("cannot log in to {}: this user has no name", name.host);
            return Err(Failure::new(&problem, more));
        };
        let server = Server {
            host: name.host.clone(),
            port: name.port.unwrap_or(22),
            user,
            credentials: self.credentials.clone(),
            known_hosts: self.known_hosts.clone(),
            known_hosts_asked_for: self.args.login.known_hosts.is_some(),
            host_key_policy: match self.args.login.host_key {
                HostKey::Strict => HostKeyPolicy::Strict,
                HostKey::AcceptNew => HostKeyPolicy::AcceptNew,
                HostKey::Ignore => HostKeyPolicy::Ignore,
            },
            subject: match self.args.look.source {
                How::Conntrack => Subject::Flows,
                How::Auto | How::Netlink | How::Proc => Subject::Sockets,
            },
            command: self.args.login.command.clone(),
            patience: self.patience,
            dial: self.dial,
        };
        Ok(Target::new(server.name(), vec![Source::Ssh(Box::new(server))]))
    }
}

/// The password, from wherever it was given; what can be wiped is.
fn password(args: &SampleArgs, invocation: &Invocation) -> Result<Option<Secret>, Failure> {
    if let Some(password) = &args.login.password {
        return Ok(Some(password.clone()));
    }
    if let Some(file) = &args.login.password_file {
        return secret(file).map(Some);
    }
    Ok(invocation.password.clone())
}

/// The first line of a file that nobody else can read.
pub(super) fn secret(file: &Path) -> Result<Secret, Failure> {
    secret_file::read(file)
        .map_err(|error| Failure::new(&chain(&error), vec![advice_on(&error, error.advice())]))
}
