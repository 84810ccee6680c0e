//! The sudoers lines of the documents and packaged files, with the real sudo and visudo.
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{PACKAGE_DIR, TestDir, run, skip};

/// Returns the files in these directories and below.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Returns the sudoers lines of a file, also from comments, with continued lines joined.
fn sudoers_lines(path: &Path) -> Vec<String> {
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    // The manual pages escape backslashes.
    let is_manual = path.parent().is_some_and(|parent| parent.ends_with("man"));
    let text = if is_manual { text.replace("\\e", "\\") } else { text };
    let mut lines = text.lines().map(|line| line.trim_start_matches(['#', ' ']));
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if !line.contains(" ALL=(root) NOPASSWD: ") {
            continue;
        }
        let mut line = line.to_owned();
        while let Some(start) = line.strip_suffix('\\') {
            line = start.to_owned() + lines.next().unwrap();
        }
        found.push(line);
    }
    found
}

/// Returns the documented sudoers lines, each with its file.
fn documented_lines() -> Vec<(String, String)> {
    let root = Path::new(PACKAGE_DIR);
    let directories = ["man", "docs", "packaging"].map(|name| files(&root.join(name))).concat();
    let all = directories.into_iter().chain([root.join("README.md")]);
    let found: Vec<_> = all
        .flat_map(|path| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            sudoers_lines(&path).into_iter().map(move |line| (name.clone(), line))
        })
        .collect();
    for name in ["man/check_topip.1", "packaging/nrpe/topip.cfg", "packaging/nagios/topip_handler"]
    {
        assert!(found.iter().any(|(file, _)| file == name), "{name} has no sudoers line");
    }
    found
}

/// Returns whether `arguments` has an unescaped character that is special in sudoers(5). A
/// regular expression needs no escapes.
fn has_unescaped_character(arguments: &str) -> bool {
    if arguments.starts_with('^') {
        return false;
    }
    let mut is_escaped = false;
    for character in arguments.chars() {
        if !is_escaped && ",:=*?[".contains(character) {
            return true;
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    is_escaped
}

/// Returns the commands of a line as sudo splits them, each with its arguments.
fn commands(line: &str) -> Vec<(&str, &str)> {
    let (_, commands) = line.split_once(" NOPASSWD: ").unwrap();
    commands.split(", ").map(|command| command.split_once(' ').unwrap_or((command, ""))).collect()
}

#[test]
fn documented_lines_are_valid() {
    let visudo = "/usr/sbin/visudo";
    if !Path::new(visudo).exists() {
        return skip("visudo");
    }
    let dir = TestDir::new();
    for (file, line) in documented_lines() {
        let rule = dir.write("sudoers", format!("{line}\n"));
        fs::set_permissions(&rule, fs::Permissions::from_mode(0o440)).unwrap();
        let result = run(Command::new(visudo).args(["-c", "-f"]).arg(&rule));
        assert_eq!(result.code, Some(0), "{file}: {line}\n{}{}", result.stdout, result.stderr);
        fs::remove_file(rule).unwrap();
        for (_, arguments) in commands(&line) {
            assert!(!has_unescaped_character(arguments), "{file}: {line}");
        }
    }
}

/// sudo allows the command of each line, and nothing else.
#[test]
fn documented_lines_allow_their_commands() {
    if !rustix::process::geteuid().is_root() {
        return skip("root, for a mount namespace");
    }
    for program in ["/usr/bin/sudo", "/usr/sbin/conntrack", "/usr/bin/fail2ban-client"] {
        if !Path::new(program).exists() {
            return skip(program);
        }
    }
    let dir = TestDir::new();
    for (file, line) in documented_lines() {
        let (_, rule) = line.split_once(' ').unwrap();
        dir.write("sudoers", format!("nobody {rule}\n"));
        for (program, arguments) in commands(&line) {
            let arguments = match arguments.strip_prefix('^') {
                Some(_) => "set topip banip 2001:db8::7".to_owned(),
                None => arguments.replace('\\', ""),
            };
            let is_allowed = |arguments: &str| is_allowed(&dir, &format!("{program} {arguments}"));
            assert!(is_allowed(&arguments), "{file}: {line}");
            for other in [format!("{arguments} --help"), "--help".to_owned(), String::new()] {
                assert!(!is_allowed(&other), "{file}: {line} allows {other}");
            }
        }
    }
}

/// Returns whether the file `sudoers` in `dir` allows a command to the user nobody.
fn is_allowed(dir: &TestDir, command: &str) -> bool {
    let script = "
        mkdir -p /usr/lib/nagios/plugins
        mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d || exit 9
        mount -t tmpfs -o mode=755 tmpfs /usr/lib/nagios/plugins || exit 9
        cp /bin/true /usr/lib/nagios/plugins/check_topip
        install -m 440 sudoers /etc/sudoers.d/topip || exit 9
        exec setpriv --reuid=nobody --clear-groups sudo -n -l \"$@\"";
    let mut unshare = dir.program("unshare", &["-m", "sh", "-c", script, "sh"]);
    let result = run(unshare.args(command.split(' ')).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
    assert!(matches!(result.code, Some(0 | 1)), "{command}: {result:?}");
    result.code == Some(0)
}
