//! A real Nagios with the files of the package.
use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Ran, Room,
    daemon::do_run,
    monitoring::{Daemon, bare, give_to_nagios, packaging, room_of_nagios, shipped, until},
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

/// Nagios, which runs the service of the shipped services.cfg on a listing.
pub struct Nagios {
    pub room: Room,
    _daemon: Daemon,
}

impl Nagios {
    /// Loads the shipped files, and starts.
    pub fn start() -> Self {
        let room = room_of_nagios(&["rw", "spool", "results", "state", "bin"]);
        let listing = room.path("listing");
        room.write("commands.cfg", shipped("nagios/topip.cfg", &room));
        let services = shipped("nagios/services.cfg", &room)
            .replace("!--inbound", &format!("!--input {} --inbound", listing.display()))
            .replace("#event_handler ", "event_handler ")
            .replace("/usr/local/lib/topip_handler", &room.path("topip_handler").to_string_lossy());
        room.write("services.cfg", services);
        room.write("templates.cfg", TEMPLATES);
        fs::copy(packaging("nagios/topip_handler"), room.path("topip_handler")).unwrap();
        // What the handler hands over goes to a file.
        let said = room.path("said").display().to_string();
        room.write("bin/logger", format!("#!/bin/sh\necho \"$*\" >>{said}\n"));
        do_run("chmod", &["755", room.path("bin/logger").to_str().unwrap()]);
        let config = room.write("nagios.cfg", Self::config(&room));
        give_to_nagios(&room);

        let verified = run(bare(NAGIOS).arg("-v").arg(&config));
        assert_eq!(verified.code, Some(0), "{}", verified.stdout);
        assert!(verified.stdout.contains("Total Warnings: 0"), "{}", verified.stdout);

        let mut command = bare(NAGIOS);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", room.path("bin").display());
        command.arg(&config).env("PATH", path).env("MP_STATE_PATH", room.path("state"));
        let nagios = Self { _daemon: Daemon::start(command), room };
        until("Nagios", || nagios.room.path("rw/nagios.cmd").exists().then_some(()));
        nagios
    }

    fn config(room: &Room) -> String {
        let at = |name: &str| room.path(name).display().to_string();
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

    /// Has the service checked now; gives what Nagios knows of it then.
    pub fn check(&self) -> BTreeMap<String, String> {
        let before = self.service().get("last_check").cloned();
        // Nagios tells checks apart by the second.
        thread::sleep(Duration::from_millis(1100));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let command =
            format!("[{now}] SCHEDULE_FORCED_SVC_CHECK;localhost;Connections per address;{now}\n");
        fs::write(self.room.path("rw/nagios.cmd"), command).unwrap();
        until("the result", || {
            let service = self.service();
            let last = service.get("last_check").cloned();
            (last != before && last.is_some_and(|last| last != "0")).then_some(service)
        })
    }

    /// The service in status.dat.
    fn service(&self) -> BTreeMap<String, String> {
        let status = fs::read_to_string(self.room.path("status.dat")).unwrap_or_default();
        let block = status.split("servicestatus {\n").nth(1).unwrap_or_default();
        let block = block.split("\n\t}").next().unwrap_or_default();
        let fields = block.lines().filter_map(|line| line.trim().split_once('='));
        fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// What the event handler has handed over, once it has.
    pub fn said(&self) -> Option<String> {
        fs::read_to_string(self.room.path("said")).ok()
    }

    /// The check as Nagios runs it, with another state folder.
    pub fn ours(&self) -> Ran {
        let listing = self.room.path("listing");
        let mut command = bare(self.room.path("check_topip"));
        command.args(["--input".as_ref(), listing.as_os_str()]);
        command.args(["--inbound", "--rule", "lognormal"]);
        // As Nagios does: what is nagios's, nobody else takes for his own.
        let nagios = fs::metadata(self.room.path(".")).unwrap();
        command.uid(nagios.uid()).gid(nagios.gid());
        run(command.env("MP_STATE_PATH", self.room.path("ours")).current_dir(Path::new("/")))
    }
}
