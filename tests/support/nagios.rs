//! A real Nagios with the packaged files.
use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    CommandResult, TestDir,
    daemon::run_ok,
    monitoring::{
        Daemon, chown_to_nagios, daemon_command, nagios_test_dir, packaged_config, packaging_path,
        wait_until,
    },
    run,
};

pub const NAGIOS: &str = "/usr/sbin/nagios4";

const TEMPLATES: &str = "
define timeperiod {
    timeperiod_name  always
    alias            always
}
define host {
    host_name           localhost
    address             127.0.0.1
    check_period        always
    max_check_attempts  1
    contacts            nobody
    notification_period always
}
define contact {
    contact_name                   nobody
    host_notification_period       always
    service_notification_period    always
    host_notification_commands     topip_handler
    service_notification_commands  topip_handler
}
define service {
    name                generic-service
    check_period        always
    contacts            nobody
    notification_period always
    register            0
}
";

/// A Nagios that runs the service of the packaged services.cfg on a listing.
pub struct Nagios {
    pub dir: TestDir,
    _daemon: Daemon,
}

impl Nagios {
    /// Loads the packaged files and starts Nagios; the check has these options as well.
    pub fn start(options: &str) -> Self {
        let dir = nagios_test_dir(&["rw", "spool", "results", "state", "bin"]);
        let listing = dir.path("listing");
        dir.write("commands.cfg", packaged_config("nagios/topip.cfg", &dir));
        let services = packaged_config("nagios/services.cfg", &dir)
            .replace("!--inbound", &format!("!--input {} {options} --inbound", listing.display()))
            .replace("#event_handler ", "event_handler ")
            .replace("/usr/local/lib/topip_handler", &dir.path("topip_handler").to_string_lossy());
        dir.write("services.cfg", services);
        dir.write("templates.cfg", TEMPLATES);
        fs::copy(packaging_path("nagios/topip_handler"), dir.path("topip_handler")).unwrap();
        // Output of the event handler goes to a file.
        let handler_output = dir.path("said").display().to_string();
        dir.write("bin/logger", format!("#!/bin/sh\necho \"$*\" >>{handler_output}\n"));
        run_ok("chmod", &["755", dir.path("bin/logger").to_str().unwrap()]);
        let config = dir.write("nagios.cfg", Self::config(&dir));
        chown_to_nagios(&dir);

        let verified = run(daemon_command(NAGIOS).arg("-v").arg(&config));
        assert_eq!(verified.code, Some(0), "{}", verified.stdout);
        assert!(verified.stdout.contains("Total Warnings: 0"), "{}", verified.stdout);

        let mut command = daemon_command(NAGIOS);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.path("bin").display());
        command.arg(&config).env("PATH", path).env("MP_STATE_PATH", dir.path("state"));
        let nagios = Self { _daemon: Daemon::start(command), dir };
        wait_until("Nagios", || nagios.dir.path("rw/nagios.cmd").exists().then_some(()));
        nagios
    }

    fn config(dir: &TestDir) -> String {
        let at = |name: &str| dir.path(name).display().to_string();
        let mut config = String::new();
        for (key, file) in [
            ("log_file", "log"),
            ("cfg_file", "commands.cfg"),
            ("cfg_file", "templates.cfg"),
            ("cfg_file", "services.cfg"),
            ("object_cache_file", "objects.cache"),
            ("precached_object_file", "objects.precache"),
            ("status_file", "status.dat"),
            ("command_file", "rw/nagios.cmd"),
            ("query_socket", "rw/nagios.qh"),
            ("lock_file", "lock"),
            ("temp_file", "temp"),
            ("temp_path", "spool"),
            ("check_result_path", "results"),
        ] {
            config += &format!("{key}={}\n", at(file));
        }
        config
            + "status_update_interval=1\nnagios_user=nagios\nnagios_group=nagios\n\
               check_external_commands=1\ncheck_result_reaper_frequency=1\nuse_syslog=0\n\
               retain_state_information=0\ncheck_for_updates=0\nenable_notifications=0\n\
               execute_host_checks=0\nexecute_service_checks=0\nenable_event_handlers=1\n\
               illegal_macro_output_chars=`~$&|'\"<>\n"
    }

    /// Forces a check of the service and returns its status.
    pub fn check(&self) -> BTreeMap<String, String> {
        let before = self.service().get("last_check").cloned();
        // Nagios distinguishes checks by the second.
        thread::sleep(Duration::from_millis(1100));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let command =
            format!("[{now}] SCHEDULE_FORCED_SVC_CHECK;localhost;Connections per address;{now}\n");
        fs::write(self.dir.path("rw/nagios.cmd"), command).unwrap();
        wait_until("the result", || {
            let service = self.service();
            let last = service.get("last_check").cloned();
            (last != before && last.is_some_and(|last| last != "0")).then_some(service)
        })
    }

    /// Returns the service entry of status.dat.
    fn service(&self) -> BTreeMap<String, String> {
        let status = fs::read_to_string(self.dir.path("status.dat")).unwrap_or_default();
        let block = status.split("servicestatus {\n").nth(1).unwrap_or_default();
        let block = block.split("\n\t}").next().unwrap_or_default();
        let fields = block.lines().filter_map(|line| line.trim().split_once('='));
        fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Returns the output of the event handler, if it has run.
    pub fn handler_output(&self) -> Option<String> {
        fs::read_to_string(self.dir.path("said")).ok()
    }

    /// Runs the check as Nagios does, with another state directory.
    pub fn run_check(&self) -> CommandResult {
        let listing = self.dir.path("listing");
        let mut command = daemon_command(self.dir.path("check_topip"));
        command.args(["--input".as_ref(), listing.as_os_str()]);
        command.args(["--inbound", "--rule", "auto"]);
        // Run as nagios: files of nagios are not trusted by another user.
        let nagios = fs::metadata(self.dir.path(".")).unwrap();
        command.uid(nagios.uid()).gid(nagios.gid());
        run(command.env("MP_STATE_PATH", self.dir.path("ours")).current_dir(Path::new("/")))
    }
}
