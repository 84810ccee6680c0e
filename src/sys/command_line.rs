//! This process's own command line and environment, as other processes can read
//! them.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the process's memory is a file"
)]
use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt,
};

use zeroize::Zeroizing;

/// Overwrites the passwords in the command line, which `ps` shows, and in the
/// environment, which other processes of this user can read.
///
/// The passwords are readable from the start of the process until this call. The
/// call shortens that time; it does not prevent the exposure.
///
/// # Errors
///
/// Returns an error if the kernel does not let the process write to its own
/// memory through `/proc/self/mem`.
pub fn wipe_passwords() -> io::Result<()> {
    let [command_line, environment] = memory_ranges()?;
    let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem")?;
    let in_command_line = password_ranges(&read_range(&memory, &command_line)?)
        .into_iter()
        .map(|password| (command_line.start, password));
    let in_environment = password_variable_ranges(&read_range(&memory, &environment)?)
        .into_iter()
        .map(|password| (environment.start, password));
    for (start, password) in in_command_line.chain(in_environment) {
        let mask = vec![b'x'; password.len()];
        memory.write_all_at(&mask, start + password.start as u64)?;
    }
    Ok(())
}

fn read_range(memory: &File, range: &Range<u64>) -> io::Result<Zeroizing<Vec<u8>>> {
    // The buffer has its final size: a buffer that grows would leave copies of the
    // passwords in freed memory.
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = Zeroizing::new(vec![0; length]);
    memory.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

/// Returns the ranges of the passwords in a command line: the values of `-p` and
/// `--password`, in the same argument or the next one.
fn password_ranges(command_line: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut offset = 0;
    let mut is_value = false;
    for argument in command_line.split(|&byte| byte == 0) {
        let range = offset..offset + argument.len();
        offset = range.end + 1;
        if std::mem::take(&mut is_value) {
            ranges.push(range);
        } else if let Some(password) = argument.strip_prefix(b"--password=") {
            ranges.push(range.end - password.len()..range.end);
        } else if argument == b"--password" {
            is_value = true;
        } else if argument.starts_with(b"-") && !argument.starts_with(b"--") {
            // Flags may precede -p in one argument: -vp, -vpSECRET.
            let n_flags = argument[1..].iter().take_while(|byte| b"v46".contains(byte)).count();
            if argument.get(1 + n_flags) == Some(&b'p') {
                is_value = argument.len() == n_flags + 2;
                ranges.push(range.start + n_flags + 2..range.end);
            }
        }
    }
    ranges
}

/// Returns the ranges of the passwords in an environment. The variable `password`
/// is the one that Munin sets for the option of that name.
fn password_variable_ranges(environment: &[u8]) -> Vec<Range<usize>> {
    let prefixes = [&b"TOPIP_PASSWORD="[..], b"password="];
    let mut offset = 0;
    let ranges = environment.split(|&byte| byte == 0).map(|variable| {
        let range = offset..offset + variable.len();
        offset = range.end + 1;
        let prefix = prefixes.iter().find(|prefix| variable.starts_with(prefix))?;
        Some(range.start + prefix.len()..range.end)
    });
    ranges.flatten().collect()
}

/// Returns the addresses of the command line and of the environment in memory:
/// `arg_start` to `env_end` of proc(5), fields 48 to 51 of `stat`.
fn memory_ranges() -> io::Result<[Range<u64>; 2]> {
    let stat = fs::read("/proc/self/stat")?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    // The second field is the command name in parentheses, which may contain any
    // character.
    let (_, fields) = stat.rsplit_once(") ").ok_or_else(unknown_stat_format)?;
    let fields: Vec<u64> =
        fields.split_whitespace().skip(48 - 3).map_while(|field| field.parse().ok()).collect();
    match fields[..] {
        [arg_start, arg_end, env_start, env_end, ..]
            if arg_start <= arg_end && env_start <= env_end =>
        {
            Ok([arg_start..arg_end, env_start..env_end])
        }
        _ => Err(unknown_stat_format()),
    }
}

fn unknown_stat_format() -> io::Error {
    io::Error::other("/proc/self/stat: unknown format")
}

#[cfg(fuzzing)]
#[expect(missing_docs, reason = "a hook for the fuzzer")]
pub mod fuzzing {
    pub fn password_ranges(command_line: &[u8]) -> Vec<std::ops::Range<usize>> {
        super::password_ranges(command_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found_in_every_option_form() {
        let check = |arguments: &[&str], expected: &[&str]| {
            let command_line = arguments.join("\0") + "\0";
            let passwords: Vec<_> = password_ranges(command_line.as_bytes())
                .into_iter()
                .map(|range| &command_line[range])
                .filter(|it| !it.is_empty())
                .collect();
            assert_eq!(passwords, expected);
        };
        check(&["check_topip", "-p", "one", "-s", "web1"], &["one"]);
        check(
            &["check_topip", "-ptwo", "--password=three", "--password", "four", "-v"],
            &["two", "three", "four"],
        );
        check(&["check_topip", "-vvp", "five", "-v4psix"], &["five", "six"]);
        check(&["p", "--password-file", "p", "-u", "p", "-n", "-p"], &[]);
        check(
            &["check_topip", "-p=seven", "-p", "-8", "-p", "--nine"],
            &["=seven", "-8", "--nine"],
        );
    }

    #[test]
    fn passwords_are_found_in_the_environment() {
        let environment =
            b"HOME=/\0TOPIP_PASSWORD=one\0password=two\0PASSWORD=no\0password_file=no\0";
        let passwords =
            password_variable_ranges(environment).into_iter().map(|range| &environment[range]);
        assert_eq!(passwords.collect::<Vec<_>>(), [&b"one"[..], b"two"]);
    }
}
