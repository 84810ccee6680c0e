//! Real Icinga 2 instances, side by side, with folders of their own.
use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{
    Room,
    daemon::free_port,
    monitoring::{Daemon, bare, give_to_nagios, packaging, room_of_nagios, until},
    run,
};

pub const ICINGA: &str = "/usr/sbin/icinga2";
const FOLDERS: [&str; 6] = ["data/certs", "cache", "log", "run", "spool", "etc"];

/// An instance that is not running yet.
pub struct Instance {
    pub room: Room,
    pub name: &'static str,
    pub port: u16,
}

impl Instance {
    pub fn new(name: &'static str) -> Self {
        Self { room: room_of_nagios(&FOLDERS), name, port: free_port() }
    }

    /// The program with these folders.
    fn icinga(&self, args: &[&str]) -> Command {
        let mut command = bare(ICINGA);
        command.args(args).env("MP_STATE_PATH", self.room.path("state"));
        for (constant, folder) in [
            ("DataDir", "data"),
            ("CacheDir", "cache"),
            ("LogDir", "log"),
            ("InitRunDir", "run"),
            ("SpoolDir", "spool"),
            ("ConfigDir", "etc"),
            ("PidPath", "run/icinga2.pid"),
        ] {
            let path = self.room.path(folder);
            command.arg("-D").arg(format!("Configuration.{constant}={}", path.display()));
        }
        command
    }

    fn pki(&self, args: &[&str]) {
        let ran = run(&mut self.icinga(&[&["pki"][..], args].concat()));
        assert_eq!(ran.code, Some(0), "{args:?}: {}{}", ran.stdout, ran.stderr);
    }

    fn certificate(&self, end: &str) -> PathBuf {
        self.room.path(&format!("data/certs/{}.{end}", self.name))
    }

    /// Makes the authority for itself and `others`.
    pub fn certify(&self, others: &[&Self]) {
        self.pki(&["new-ca"]);
        let authority = self.room.path("data/ca/ca.crt");
        for instance in [&[self][..], others].concat() {
            let [key, request, certificate] =
                ["key", "csr", "crt"].map(|end| instance.certificate(end).display().to_string());
            instance.pki(&["new-cert", "--cn", instance.name, "--key", &key, "--csr", &request]);
            // Signed by another: that one's user reads and writes here.
            self.pki(&["sign-csr", "--csr", &request, "--cert", &certificate]);
            fs::copy(&authority, instance.room.path("data/certs/ca.crt")).unwrap();
        }
    }

    /// Validates the shipped CheckCommands with `objects` beside them; gives the
    /// file.
    pub fn validate(&self, objects: &str) -> String {
        let commands = packaged(&self.room, "topip.conf");
        let text = format!(
            "include <itl>\ninclude <plugins>\n\
             const PluginDir = \"{}\"\nconst NodeName = \"{}\"\n\
             include \"{}\"\n{objects}",
            self.room.path(".").display(),
            self.name,
            commands.display(),
        );
        let config = self.room.write("icinga2.conf", text);
        give_to_nagios(&self.room);
        let config = config.to_str().unwrap().to_owned();
        let ran = run(&mut self.icinga(&["daemon", "-C", "-c", &config]));
        assert_eq!(ran.code, Some(0), "{}", ran.stdout);
        config
    }

    /// Starts, with an interface to ask it by.
    pub fn start(self, objects: &str) -> Running {
        let interface = format!(
            "object ApiListener \"api\" {{\n bind_host = \"127.0.0.1\"\n bind_port = {}\n \
             accept_commands = true\n}}\n\
             object ApiUser \"test\" {{\n password = \"test\"\n permissions = [ \"*\" ]\n}}\n",
            self.port
        );
        let config = self.validate(&(interface + objects));
        let daemon = Daemon::start(self.icinga(&["daemon", "-c", &config]));
        let running = Running { _daemon: daemon, instance: self };
        until("Icinga", || running.get("status/IcingaApplication"));
        running
    }
}

/// A copy of a packaged file that the user nagios can read.
pub fn packaged(room: &Room, name: &str) -> PathBuf {
    let text = fs::read_to_string(packaging("icinga2").join(name)).unwrap();
    room.write(name, text)
}

/// An instance that runs until it is dropped.
pub struct Running {
    pub instance: Instance,
    _daemon: Daemon,
}

impl Running {
    fn curl(&self, path: &str, args: &[&str]) -> Option<Value> {
        let mut command = bare("curl");
        command.args(["-s", "-k", "-m", "10", "-u", "test:test", "-H", "Accept: application/json"]);
        command.args(args).arg(format!("https://127.0.0.1:{}/v1/{path}", self.instance.port));
        serde_json::from_str(&run(&mut command).stdout).ok()
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.curl(path, &[])
    }

    /// What is known of a service, `HOST!NAME`.
    pub fn service(&self, name: &str) -> Option<Value> {
        let name = name.replace(' ', "%20");
        let attrs = self.get(&format!("objects/services/{name}"))?["results"][0]["attrs"].take();
        attrs.is_object().then_some(attrs)
    }

    /// Has a service checked now; gives its result.
    pub fn check(&self, name: &str) -> Value {
        let end = |service: &Value| service["last_check_result"]["execution_end"].as_f64();
        let before = self.service(name).as_ref().and_then(end);
        let asked = format!("{{\"type\":\"Service\",\"service\":\"{name}\",\"force\":true}}");
        self.curl("actions/reschedule-check", &["-X", "POST", "-d", &asked]).expect("an answer");
        until(name, || {
            self.service(name).filter(|service| end(service) > before)
        })["last_check_result"]
            .take()
    }
}
