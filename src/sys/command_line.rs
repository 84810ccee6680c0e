//! This process's own command line and environment, as others can see them.
#![expect(clippy::disallowed_methods, reason = "the process's memory is a file")]
use std::{
    fs::{self, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt,
};

use zeroize::Zeroizing;

/// Overwrites the passwords in the command line that `ps` shows, and in the
/// environment, which this user's other processes can read.
///
/// They stand there from the start of the process until now, which is long
/// enough to be read: this makes it shorter, and no more.
///
/// # Errors
///
/// Where the kernel does not let the process write to its own memory that way.
pub fn wipe_passwords() -> io::Result<()> {
    let [line, environment] = places()?;
    let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem")?;
    let read = |place: &Range<u64>| {
        // One that grows while it is read would leave copies behind.
        let length = usize::try_from(place.end - place.start).map_err(io::Error::other)?;
        let mut text = Zeroizing::new(vec![0; length]);
        memory.read_exact_at(&mut text, place.start).map(|()| text)
    };
    let in_line = passwords(&read(&line)?).into_iter().map(|it| (line.start, it));
    let variables = variables(&read(&environment)?);
    let in_environment = variables.into_iter().map(|it| (environment.start, it));
    for (start, password) in in_line.chain(in_environment) {
        let cover = vec![b'x'; password.len()];
        memory.write_all_at(&cover, start + password.start as u64)?;
    }
    Ok(())
}

/// Where they are: behind `-p` and `--password`, in the same word or the next.
fn passwords(command_line: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut is_next = false;
    for word in command_line.split(|&byte| byte == 0) {
        let whole = at..at + word.len();
        at = whole.end + 1;
        if std::mem::take(&mut is_next) {
            found.push(whole);
        } else if let Some(password) = word.strip_prefix(b"--password=") {
            found.push(whole.end - password.len()..whole.end);
        } else if word == b"--password" {
            is_next = true;
        } else if word.starts_with(b"-") && !word.starts_with(b"--") {
            // Flags may stand before it in one word: -vp, -vpSECRET.
            let flags = word[1..].iter().take_while(|byte| b"v46".contains(byte)).count();
            if word.get(1 + flags) == Some(&b'p') {
                is_next = word.len() == flags + 2;
                found.push(whole.start + flags + 2..whole.end);
            }
        }
    }
    found
}

/// Where they are in an environment. Munin's is that of its option.
fn variables(environment: &[u8]) -> Vec<Range<usize>> {
    let names = [&b"TOPIP_PASSWORD="[..], b"password="];
    let mut at = 0;
    let variables = environment.split(|&byte| byte == 0).map(|variable| {
        let whole = at..at + variable.len();
        at = whole.end + 1;
        let name = names.iter().find(|name| variable.starts_with(name))?;
        Some(whole.start + name.len()..whole.end)
    });
    variables.flatten().collect()
}

/// Where command line and environment are in memory: `arg_start` to `env_end` of
/// proc(5), fields 48 to 51 of `stat`.
fn places() -> io::Result<[Range<u64>; 2]> {
    let unlike = || io::Error::other("/proc/self/stat is not as it is known");
    let stat = fs::read("/proc/self/stat")?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    // The second field is the name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ").ok_or_else(unlike)?;
    let fields: Vec<u64> =
        fields.split_whitespace().skip(48 - 3).map_while(|field| field.parse().ok()).collect();
    match fields[..] {
        [a, b, c, d, ..] if a <= b && c <= d => Ok([a..b, c..d]),
        _ => Err(unlike()),
    }
}

#[cfg(fuzzing)]
#[expect(missing_docs, reason = "a door for the fuzzer")]
pub mod fuzzing {
    pub fn passwords(command_line: &[u8]) -> Vec<std::ops::Range<usize>> {
        crate::passwords(command_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_wherever_they_stand() {
        let check = |words: &[&str], expected: &[&str]| {
            let line = words.join("\0") + "\0";
            let found: Vec<_> = passwords(line.as_bytes())
                .into_iter()
                .map(|at| &line[at])
                .filter(|it| !it.is_empty())
                .collect();
            assert_eq!(found, expected);
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
    fn passwords_of_the_environment() {
        let environment =
            b"HOME=/\0TOPIP_PASSWORD=one\0password=two\0PASSWORD=no\0password_file=no\0";
        let found = variables(environment).into_iter().map(|at| &environment[at]);
        assert_eq!(found.collect::<Vec<_>>(), [&b"one"[..], b"two"]);
    }
}
