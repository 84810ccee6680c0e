//! Regular expressions that are compiled at their first use.
use std::sync::OnceLock;

use regex::bytes::Regex;

/// Regular expression that is compiled at its first use.
pub(super) struct LazyRegex {
    pattern: &'static str,
    compiled: OnceLock<Regex>,
}

impl LazyRegex {
    pub(super) const fn new(pattern: &'static str) -> Self {
        Self { pattern, compiled: OnceLock::new() }
    }

    pub(super) fn is_match(&self, line: &[u8]) -> bool {
        let compile = || Regex::new(self.pattern).expect("the pattern is a literal");
        self.compiled.get_or_init(compile).is_match(line)
    }
}
