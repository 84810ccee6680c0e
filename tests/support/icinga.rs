//! Real Icinga 2 instances, each with its own directories.
use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{
    TestDir,
    daemon::free_port,
    monitoring::{
        Daemon, chown_to_nagios, daemon_command, nagios_test_dir, packaging_path, wait_until,
    },
    run,
};

pub const ICINGA: &str = "/usr/sbin/icinga2";
const DIRECTORIES: [&str; 6] = ["data/certs", "cache", "log", "run", "spool", "etc"];

/// An instance that is not running yet.
pub struct Instance {
    pub dir: TestDir,
    pub name: &'static str,
    pub port: u16,
}

impl Instance {
    pub fn new(name: &'static str) -> Self {
        Self { dir: nagios_test_dir(&DIRECTORIES), name, port: free_port() }
    }

    /// Returns the icinga2 command with the directories of this instance.
    fn icinga(&self, args: &[&str]) -> Command {
        let mut command = daemon_command(ICINGA);
        command.args(args).env("MP_STATE_PATH", self.dir.path("state"));
        for (constant, directory) in [
            ("DataDir", "data"),
            ("CacheDir", "cache"),
            ("LogDir", "log"),
            ("InitRunDir", "run"),
            ("SpoolDir", "spool"),
            ("ConfigDir", "etc"),
            ("PidPath", "run/icinga2.pid"),
        ] {
            let path = self.dir.path(directory);
            command.arg("-D").arg(format!("Configuration.{constant}={}", path.display()));
        }
        command
    }

    fn pki(&self, args: &[&str]) {
        let result = run(&mut self.icinga(&[&["pki"][..], args].concat()));
        assert_eq!(result.code, Some(0), "{args:?}: {}{}", result.stdout, result.stderr);
    }

    fn certificate(&self, end: &str) -> PathBuf {
        self.dir.path(&format!("data/certs/{}.{end}", self.name))
    }

    /// Creates a certificate authority, and certificates for this instance and `others`.
    pub fn certify(&self, others: &[&Self]) {
        self.pki(&["new-ca"]);
        let authority = self.dir.path("data/ca/ca.crt");
        for instance in [&[self][..], others].concat() {
            let [key, request, certificate] =
                ["key", "csr", "crt"].map(|end| instance.certificate(end).display().to_string());
            instance.pki(&["new-cert", "--cn", instance.name, "--key", &key, "--csr", &request]);
            // The signing instance writes the certificate as its own user.
            self.pki(&["sign-csr", "--csr", &request, "--cert", &certificate]);
            fs::copy(&authority, instance.dir.path("data/certs/ca.crt")).unwrap();
        }
    }

    /// Validates the packaged CheckCommands together with `objects`, and returns the path
    /// of the configuration file.
    pub fn validate(&self, objects: &str) -> String {
        let commands = packaged(&self.dir, "topip.conf");
        let text = format!(
            "include <itl>\ninclude <plugins>\n\
             const PluginDir = \"{}\"\nconst NodeName = \"{}\"\n\
             include \"{}\"\n{objects}",
            self.dir.path(".").display(),
            self.name,
            commands.display(),
        );
        let config = self.dir.write("icinga2.conf", text);
        chown_to_nagios(&self.dir);
        let config = config.to_str().unwrap().to_owned();
        let result = run(&mut self.icinga(&["daemon", "-C", "-c", &config]));
        assert_eq!(result.code, Some(0), "{}", result.stdout);
        config
    }

    /// Starts the instance with an API listener.
    pub fn start(self, objects: &str) -> RunningInstance {
        let interface = format!(
            "object ApiListener \"api\" {{\n bind_host = \"127.0.0.1\"\n bind_port = {}\n \
             accept_commands = true\n}}\n\
             object ApiUser \"test\" {{\n password = \"test\"\n permissions = [ \"*\" ]\n}}\n",
            self.port
        );
        let config = self.validate(&(interface + objects));
        let daemon = Daemon::start(self.icinga(&["daemon", "-c", &config]));
        let running = RunningInstance { _daemon: daemon, instance: self };
        wait_until("Icinga", || running.get("status/IcingaApplication"));
        running
    }
}

/// Copies a packaged file, so that the user nagios can read it.
pub fn packaged(dir: &TestDir, name: &str) -> PathBuf {
    let text = fs::read_to_string(packaging_path("icinga2").join(name)).unwrap();
    dir.write(name, text)
}

/// An instance that runs until it is dropped.
pub struct RunningInstance {
    pub instance: Instance,
    _daemon: Daemon,
}

impl RunningInstance {
    fn curl(&self, path: &str, args: &[&str]) -> Option<Value> {
        let mut command = daemon_command("curl");
        command.args(["-s", "-k", "-m", "10", "-u", "test:test", "-H", "Accept: application/json"]);
        command.args(args).arg(format!("https://127.0.0.1:{}/v1/{path}", self.instance.port));
        serde_json::from_str(&run(&mut command).stdout).ok()
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.curl(path, &[])
    }

    /// Returns the attributes of a service, named `HOST!NAME`.
    pub fn service(&self, name: &str) -> Option<Value> {
        let name = name.replace(' ', "%20");
        let attrs = self.get(&format!("objects/services/{name}"))?["results"][0]["attrs"].take();
        attrs.is_object().then_some(attrs)
    }

    /// Forces a check of a service and returns its result.
    pub fn check(&self, name: &str) -> Value {
        let end = |service: &Value| service["last_check_result"]["execution_end"].as_f64();
        let before = self.service(name).as_ref().and_then(end);
        let request = format!("{{\"type\":\"Service\",\"service\":\"{name}\",\"force\":true}}");
        self.curl("actions/reschedule-check", &["-X", "POST", "-d", &request]).expect("an answer");
        wait_until(name, || {
            self.service(name).filter(|service| end(service) > before)
        })["last_check_result"]
            .take()
    }
}
