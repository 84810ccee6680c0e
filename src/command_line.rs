//! This process's own command line, as other users can see it.
#![expect(clippy::disallowed_methods, reason = "the process's memory is a file")]
use std::{
    fs::{self, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt,
};

/// Overwrites the passwords in the command line that `ps` shows.
///
/// They stand there from the start of the process until now, which is long
/// enough to be read: this makes it shorter, and no more.
///
/// # Errors
///
/// Where the kernel does not let the process write to its own memory that way.
pub fn wipe_passwords() -> io::Result<()> {
    let (start, command_line) = (address()?, fs::read("/proc/self/cmdline")?);
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    for password in passwords(&command_line) {
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

/// Where the command line is in memory: `arg_start` of proc(5), field 48 of
/// `stat`.
fn address() -> io::Result<u64> {
    let unlike = || io::Error::other("/proc/self/stat is not as it is known");
    let stat = fs::read("/proc/self/stat")?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    // The second field is the name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ").ok_or_else(unlike)?;
    let field = fields.split_whitespace().nth(48 - 3).ok_or_else(unlike)?;
    field.parse().map_err(|_| unlike())
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
    }
}
