//! Real Icinga 2, single and distributed, with the packaged files.
use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
};

use serde_json::Value;

use crate::support::{
    crowd,
    icinga::{ICINGA, Instance, packaged},
    monitoring::{daemon_command, is_possible, packaging_path, wait_until},
    run,
};

/// Returns a listing with a listening socket.
fn flood() -> String {
    let flood = crowd(30, &[("203.0.113.7", 152)]);
    format!("{flood}tcp 0 0 0.0.0.0:443 0.0.0.0:* LISTEN\n")
}

fn host(name: &str, more: &str) -> String {
    format!("object Host \"{name}\" {{\n check_command = \"passive\"\n {more}\n}}\n")
}

/// Returns the command line of a check result.
fn command(result: &Value) -> Vec<&str> {
    result["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[test]
fn packaged_zones_are_valid() {
    if is_possible(&[ICINGA]) {
        let master = Instance::new("master.example.org");
        let zones = packaged(&master.dir, "zones.conf");
        master.validate(&format!("include \"{}\"\n", zones.display()));
    }
}

#[test]
fn containers_command_is_valid() {
    if is_possible(&[ICINGA]) {
        let master = Instance::new("master.example.org");
        let command = packaging_path("containers").join("icinga2.conf");
        let command = fs::read_to_string(command).unwrap();
        let host = "object Host \"node\" { check_command = \"topip-containers\" }\n";
        master.validate(&(command + host));
    }
}

#[test]
fn master_and_agent_run_the_check() {
    if !is_possible(&[ICINGA, "/usr/bin/curl"]) {
        return;
    }
    let (master, agent) = (Instance::new("master"), Instance::new("agent"));
    master.certify(&[&agent]);
    let zones = |agent_at: &str| {
        format!(
            "object Endpoint \"master\" {{ }}\nobject Endpoint \"agent\" {{ {agent_at} }}\n\
             object Zone \"master\" {{ endpoints = [ \"master\" ] }}\n\
             object Zone \"agent\" {{\n endpoints = [ \"agent\" ]\n parent = \"master\"\n}}\n"
        )
    };
    let listing = agent.dir.write("listing", flood());
    let input = format!("vars.topip_input = \"{}\"", listing.display());
    let services = packaged(&master.dir, "services.conf");
    let address = format!("host = \"127.0.0.1\"\n port = {}", agent.port);
    let nobody_there = "vars.topip_groups[\"shop\"] = [ \"127.0.0.2:1\", \"127.0.0.3:1\" ]\n \
                        vars.topip_password = \"secret\"\n vars.topip_verbose = 3";
    let objects = [
        // Checks run only on request.
        "object CheckerComponent \"checker\" { }\n\
         object IcingaApplication \"app\" { enable_service_checks = false }\n",
        &zones(&address),
        &host("master", &input),
        &host("agent", &format!("vars.agent_endpoint = \"agent\"\n {input}\n zone = \"master\"")),
        &host("shop", nobody_there),
        &host("far", "address = \"127.0.0.4\"\n vars.topip_by_ssh = true\n vars.topip_username = \"monitor\""),
        &host("rsh", "address = \"192.0.2.5\"\n vars.topip_by_ssh = true\n vars.topip_rsh = \"/bin/false 'a b'\""),
        // A command endpoint requires its service to be in a zone.
        &format!("include \"{}\"\n", services.display()),
    ]
    .concat();
    let agent = agent.start(&zones(""));
    let master = master.start(&objects);

    for (service, source) in [("master!topip", "master"), ("agent!topip", "agent")] {
        if source == "agent" {
            wait_until("the agent", || {
                let status = master.get("objects/endpoints/agent")?;
                status["results"][0]["attrs"]["connected"].as_bool().filter(|it| *it)
            });
        }
        let first = master.check(service);
        assert_eq!(first["state"], 1.0, "{first}");
        let second = master.check(service);
        assert_eq!(second["state"], 2.0, "{second}");
        assert_eq!(second["check_source"], source, "{second}");
        let known = master.service(service).unwrap();
        // Two attempts are two samples.
        assert_eq!(known["state_type"], 1.0, "{known}");

        let mut direct_check = daemon_command(agent.instance.dir.path("check_topip"));
        direct_check.args(["--inbound", "--rule", "auto", "--state-file"]);
        direct_check
            .arg(agent.instance.dir.path(&format!("ours-{source}")))
            .arg("--input")
            .arg(&listing);
        // Run as nagios: files of nagios are not trusted by another user.
        let nagios = fs::metadata(agent.instance.dir.path(".")).unwrap();
        direct_check.uid(nagios.uid()).gid(nagios.gid());
        let _ = run(&mut direct_check);
        let direct_check = run(&mut direct_check).stdout;
        let (line, long) = direct_check.split_once('\n').unwrap();
        let (text, perfdata) = line.split_once(" | ").unwrap();
        let output = second["output"].as_str().unwrap();
        assert!(output.starts_with(text), "{output}");
        assert!(output.ends_with(long.trim_end()), "{output}\nexpected: {long}");
        let metrics: Vec<_> = second["performance_data"].as_array().unwrap().iter().collect();
        assert_eq!(metrics, perfdata.split(' ').collect::<Vec<_>>());
    }

    // Options are passed correctly, and the password is not on the command line.
    let result = master.check("shop!topip shop");
    assert_eq!(result["state"], 3.0, "{result}");
    let line = command(&result).join(" ");
    assert!(line.contains("--hostname 127.0.0.2:1 --hostname 127.0.0.3:1"), "{line}");
    assert!(line.contains("--inbound --rule auto -vvv"), "{line}");
    assert!(!result.to_string().contains("secret"), "{result}");
    let result = master.check("far!topip");
    let line = command(&result).join(" ");
    assert!(line.contains("--hostname 127.0.0.4"), "{line}");
    assert!(line.contains("--username monitor"), "{line}");
    let result = master.check("rsh!topip");
    assert!(command(&result).join("|").contains("|--rsh|/bin/false 'a b'|"), "{result}");
    let output = result["output"].as_str().unwrap();
    assert!(
        output.starts_with("TOPIP UNKNOWN - 192.0.2.5: false: ended with exit status 1\n"),
        "{output}"
    );
}

/// The command line that Icinga runs for variables of a service and of its template.
#[test]
fn variables_become_arguments() {
    if !is_possible(&[ICINGA, "/usr/bin/curl"]) {
        return;
    }
    const THRESHOLDS: &str = "--critical 99 --limit 9 --warning 50 --warning addresses=900";
    let cases = [
        ("inherited", "", "THRESHOLDS -vv"),
        // An empty value replaces the value of the template.
        ("null", "vars.topip_warning = null", "--critical 99 --limit 9 -vv"),
        ("empty", "vars.topip_warning = \"\"", "--critical 99 --limit 9 -vv"),
        ("no-array", "vars.topip_warning = [ ]", "--critical 99 --limit 9 -vv"),
        (
            "no-limits",
            "vars += { topip_warning = null, topip_limit = null, topip_critical = null }",
            "-vv",
        ),
        (
            "zero",
            "vars += { topip_warning = 0, topip_limit = \"0\" }",
            "--critical 99 --limit 0 --warning 0 -vv",
        ),
        // Verbosity as a number and as a string.
        ("number", "vars.topip_verbose = 1", "THRESHOLDS -v"),
        ("string", "vars.topip_verbose = \"1\"", "THRESHOLDS -v"),
        ("three", "vars.topip_verbose = \"3\"", "THRESHOLDS -vvv"),
        ("terse", "vars.topip_verbose = null", "THRESHOLDS"),
    ];
    let master = Instance::new("master");
    master.certify(&[]);
    let mut objects = "object CheckerComponent \"checker\" { }\n\
         object IcingaApplication \"app\" { enable_service_checks = false }\n\
         template Service \"limits\" {\n check_command = \"topip\"\n host_name = \"master\"\n \
         vars.topip_warning = [ \"50\", \"addresses=900\" ]\n vars.topip_critical = 99\n \
         vars.topip_limit = 9\n vars.topip_verbose = \"2\"\n}\n"
        .to_owned();
    objects += "object Endpoint \"master\" { }\n\
                object Zone \"master\" { endpoints = [ \"master\" ] }\n";
    objects += &host("master", "");
    for (name, variables, _) in cases {
        objects += &format!("object Service \"{name}\" {{\n import \"limits\"\n {variables}\n}}\n");
    }
    // The settings are of two sections, and the command line overrides them.
    let listing = master.dir.write("listing", crowd(30, &[]));
    let input = format!("input = {}", listing.display());
    let text = format!("[a]\n{input}\nlimit = 7\n[b]\nlabel = 198.51.100.1=first\n");
    let settings = master.dir.write("topip.ini", text);
    let locations = ["a", "b"].map(|section| format!("{section}@{}", settings.display()));
    let [a, b] = &locations;
    objects += &format!(
        "object Service \"settings\" {{\n import \"limits\"\n \
         vars.topip_extra_opts = [ \"{a}\", \"{b}\" ]\n}}\n"
    );
    // A host without an address must not become a check of this host.
    objects += &host("homeless", "");
    objects += "object Service \"ssh\" {\n host_name = \"homeless\"\n \
                check_command = \"topip-by-ssh\"\n}\n";
    let master = master.start(&objects);
    for (name, _, expected) in cases {
        let result = master.check(&format!("master!{name}"));
        let expected = expected.replace("THRESHOLDS", THRESHOLDS);
        assert_eq!(command(&result)[1..].join(" "), expected, "{name}");
        let output = result["output"].as_str().unwrap();
        assert!(!output.contains("cannot read"), "{name}: {output}");
    }
    let result = master.check("master!settings");
    let expected = format!("--critical 99 --extra-opts {a} --extra-opts {b} --limit 9 ");
    assert!(command(&result)[1..].join(" ").starts_with(&expected), "{result}");
    let output = result["output"].as_str().unwrap();
    let expected = "TOPIP OK - 198.51.100.1 (first) has 1 connection, limit 9 (fixed)";
    assert!(output.starts_with(expected), "{output}");
    let result = master.check("homeless!ssh");
    assert_eq!(result["state"], 3.0, "{result}");
    let output = result["output"].as_str().unwrap();
    assert!(output.starts_with("TOPIP UNKNOWN - cannot read --hostname (empty): "), "{output}");
}
