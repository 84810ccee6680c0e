//! The example files in `packaging` are accepted by their programs.
use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::support::{CommandResult, LOG, PACKAGE_DIR, TestDir, crowd, run, skip};

fn packaged(name: &str) -> String {
    fs::read_to_string(Path::new(PACKAGE_DIR).join("packaging").join(name)).unwrap()
}

#[test]
fn systemd_units_are_valid() {
    let dir = TestDir::new();
    let service = packaged("systemd/topip-log.service").replace("/usr/bin/topip_log", LOG);
    let service = dir.write("topip-log.service", service);
    let timer = dir.write("topip-log.timer", packaged("systemd/topip-log.timer"));
    let mut verify = Command::new("systemd-analyze");
    // The program that it starts may not be installed.
    let loader = packaged("systemd/topip-bpf.service").replace("/usr/sbin/bpftool", "/bin/true");
    let loader = dir.write("topip-bpf.service", loader);
    verify.args(["verify", "--man=no"]).arg(&service).arg(&timer).arg(&loader);
    if verify.output().is_err() {
        return skip("systemd-analyze");
    }
    let result = run(&mut verify);
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
}

#[test]
fn logrotate_configuration_is_valid() {
    let dir = TestDir::new();
    let config = dir.write("topip", packaged("logrotate/topip"));
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let mut debug = Command::new("logrotate");
    debug.arg("-d").arg("-s").arg(dir.path("state")).arg(&config);
    if debug.output().is_err() {
        return skip("logrotate");
    }
    let result = run(&mut debug);
    assert_eq!(result.code, Some(0), "{}", result.stderr);
    assert!(
        result.stderr.contains("Handling 1 logs") && !result.stderr.contains("error"),
        "{}",
        result.stderr
    );
}

/// A line of crontab(5) has five time fields, a user and a command for sh; the options must
/// exist.
#[test]
fn cron_lines_are_valid() {
    let text = packaged("cron.d/topip");
    assert!(text.ends_with('\n'), "cron does not read a last line without an end");
    assert!(!text.contains('%'), "cron replaces it");
    let jobs: Vec<_> =
        text.lines().filter(|it| !it.starts_with('#') && it.contains(" root ")).collect();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        let (times, command) = job.split_once(" root ").unwrap();
        let is_time = |it: &str| it.bytes().all(|it| it.is_ascii_digit() || it == b'*');
        assert!(times.split(' ').count() == 5 && times.split(' ').all(is_time), "{job}");
        // After purge, both are gone.
        let guards = ["test ! -x /usr/bin/topip_log || ", "test ! -e /var/log/topip.log || "];
        assert!(guards.iter().any(|guard| command.starts_with(guard)), "{job}");
        let result = run_job(command, None);
        assert!(matches!(result.code, Some(0 | 1)), "{job}: {}", result.stderr);
    }
}

/// Runs a command of cron, with these options in place of those in /etc/default/topip.
fn run_job(command: &str, defaults: Option<&str>) -> CommandResult {
    let dir = TestDir::new();
    dir.write("listing", crowd(30, &[]));
    dir.write("topip.ini", "[topip_log]\nlog = own.log\ninput = listing\n");
    if let Some(defaults) = defaults {
        dir.write("defaults", defaults);
    }
    let command = command
        .replace("/usr/bin/topip_log", LOG)
        .replace("/etc/default/topip", "./defaults")
        .replace("/var/log/topip.log", "none/log");
    run(&mut dir.program("/bin/sh", &["-c", &command]))
}

#[test]
fn cron_reads_the_options_of_the_default_file() {
    let text = packaged("cron.d/topip");
    let job = text.lines().find(|line| line.starts_with("* * * * * root ")).unwrap();
    let command = job.strip_prefix("* * * * * root ").unwrap();
    let defaults = packaged("default/topip");
    let result = run_job(command, Some(&defaults));
    assert!(matches!(result.code, Some(0 | 1)), "{}", result.stderr);
    let with_settings = "TOPIP_LOG_OPTS=\"--extra-opts=@topip.ini -v\"\n";
    let result = run_job(command, Some(with_settings));
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
    assert!(result.stdout.contains("30 connections from 30 addresses"), "{}", result.stdout);
}

/// The example has every setting as a comment, and each setting is accepted.
#[test]
fn settings_example_is_valid() {
    let text = packaged("topip.ini");
    let dir = TestDir::new();
    dir.write("listing", crowd(30, &[]));
    dir.write("topip.ini", &text);
    let is_setting = |line: &&str| {
        line.starts_with('#') && line[1..].starts_with(|it: char| it.is_ascii_lowercase())
    };
    assert!(text.lines().filter(is_setting).count() > 15, "{text}");
    let uncommented: Vec<_> =
        text.lines().map(|line| if is_setting(&line) { &line[1..] } else { line }).collect();
    dir.write("all.ini", uncommented.join("\n"));
    for section in ["site", "web", "ssh", "check_topip", "topip_log"] {
        let option = format!("--extra-opts={section}@topip.ini");
        let result = dir.check(&["--input", "listing", "--state-file", "state", &option]);
        assert_eq!(result.code, Some(0), "{}", result.stdout);
        // The settings are read before an unknown option is reported.
        let args = [format!("--extra-opts={section}@all.ini"), "--typo".to_owned()];
        let expected = "unknown option --typo";
        assert_eq!(dir.check(&args).code_and_status(), format!("3 TOPIP UNKNOWN - {expected}"));
        let result = dir.run_log(&args);
        assert!(
            result.stderr.starts_with(&format!("topip_log: {expected}\n")),
            "{}",
            result.stderr
        );
    }
}

/// The line in sudoers is what NRPE and Icinga run, and check_topip accepts it.
#[test]
fn sudoers_line_matches_nrpe_and_icinga() {
    let sudoers = packaged("containers/sudoers");
    let (_, allowed) = sudoers.split_once("NOPASSWD: ").unwrap();
    let allowed = allowed.trim();
    let nrpe = packaged("containers/nrpe.cfg");
    assert!(nrpe.ends_with(&format!("]=sudo -n {allowed}\n")), "{nrpe}");
    let icinga = packaged("containers/icinga2.conf");
    let (program, args) = allowed.split_once(' ').unwrap();
    let words: Vec<_> = args.split(' ').map(|word| format!("\"{word}\"")).collect();
    let words = words.join(", ");
    assert!(icinga.contains(&format!("\"sudo\", \"-n\", PluginDir + \"/check_topip\", {words}\n")));
    assert!(program.ends_with("/check_topip"));
    let result = TestDir::new().check(&args.split(' ').collect::<Vec<_>>());
    assert!(!result.stdout.contains("check_topip --help"), "{}", result.stdout);

    let dir = TestDir::new();
    let file = dir.write("sudoers", sudoers);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
    let mut visudo = Command::new("/usr/sbin/visudo");
    visudo.arg("-c").arg("-f").arg(&file);
    if visudo.output().is_err() {
        return skip("visudo");
    }
    let result = run(&mut visudo);
    assert_eq!(result.code, Some(0), "{}{}", result.stdout, result.stderr);
}

#[test]
fn systemd_unit_for_containers_is_valid() {
    let dir = TestDir::new();
    let service = packaged("systemd/topip-log.service").replace("/usr/bin/topip_log", LOG);
    let service = dir.write("topip-log.service", service);
    fs::create_dir(dir.path("topip-log.service.d")).unwrap();
    let more = packaged("containers/topip-log.conf").replace("/usr/bin/topip_log", LOG);
    dir.write("topip-log.service.d/containers.conf", &more);
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&service);
    if verify.output().is_err() {
        return skip("systemd-analyze");
    }
    let result = run(&mut verify);
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
    let command = more.lines().filter_map(|line| line.strip_prefix("ExecStart=/")).next().unwrap();
    let command = command.strip_suffix(" $TOPIP_LOG_OPTS").unwrap();
    let result = TestDir::new().run_log(&command.split(' ').skip(1).collect::<Vec<_>>());
    assert!(matches!(result.code, Some(0 | 1)), "{}", result.stderr);
}

/// Returns the sources of the files that a table of Cargo.toml lists. The .rpm has those of
/// `packaging` from a copy with other paths in them.
fn package_sources(table: &str) -> BTreeSet<String> {
    let sources = table.lines().filter_map(|line| {
        let line = line.trim_start();
        let source = line.strip_prefix("[\"").or_else(|| line.strip_prefix("{ source = \""))?;
        Some(source.split('"').next()?.replace("target/release/packaging/", "packaging/"))
    });
    sources.collect()
}

#[test]
fn rpm_has_the_files_of_the_debian_package() {
    let manifest = fs::read_to_string(Path::new(PACKAGE_DIR).join("Cargo.toml")).unwrap();
    let (_, tables) = manifest.split_once("\n[package.metadata.deb]\n").unwrap();
    let (deb, rpm) = tables.split_once("\n[package.metadata.generate-rpm]\n").unwrap();
    let (rpm, _) = rpm.split_once("\n]\n").unwrap();
    let mut expected = package_sources(deb);
    assert!(expected.len() > 30, "{expected:?}");
    for debian in [
        "packaging/debian/copyright",
        "packaging/debian/lintian-overrides",
        "target/release/topip-remote",
    ] {
        assert!(expected.remove(debian), "{debian}");
    }
    // In the Debian package, debhelper installs the units, and the copyright file refers to
    // the licenses in Debian.
    expected.extend(["LICENSE-*", "packaging/systemd/*"].map(str::to_owned));
    assert_eq!(package_sources(rpm), expected);
}
