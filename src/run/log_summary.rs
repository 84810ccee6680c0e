//! Goes through a log: who was it about, how often, and how badly.
use std::path::{Path, PathBuf};

use chrono::TimeZone;

use crate::{
    alert_log::{
        entry::Entry,
        parse::{Clock, LineError},
        stats::{Grouping, Offenders},
    },
    output::Trouble,
    parse::line::Line,
    storage::log_reader::{self, Finder, LogFile, LogReaderError, Pending},
};

use super::error::trouble;

/// How many lines pass between two looks at how far it is.
const STRIDE: u64 = 4096;
/// How many damaged lines are named.
const NAMED: usize = 10;
/// How much of such a line is shown, in letters.
const SHOWN: usize = 60;

/// What a review is asked for.
#[derive(Clone, Debug)]
pub struct Review {
    /// The logs, each with what was rotated away from it; `-` is standard input.
    pub logs: Vec<PathBuf>,
    /// What was before does not count; in seconds since 1970-01-01 UTC.
    pub since: Option<i64>,
    /// Nor does what was then or later.
    pub until: Option<i64>,
    /// How addresses are put together.
    pub grouping: Grouping,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Reviewed {
    /// Whom the alerts were about.
    pub offenders: Offenders,
    /// How many lines are none of a log.
    pub damaged: u64,
    /// The first of them, each with its place and what is wrong with it.
    pub damages: Vec<String>,
    /// What could not be read.
    pub troubles: Vec<Trouble>,
}

/// Reads the logs of `review`, whose local times are of `zone`. From time to
/// time `progress` is told how many bytes of how many have been read.
pub fn review(
    review: &Review,
    zone: &impl TimeZone,
    progress: &mut impl FnMut(u64, Option<u64>),
) -> Reviewed {
    let mut finder = Finder::default();
    let files: Vec<_> = review.logs.iter().flat_map(|path| find(&mut finder, path)).collect();
    let size = |file: &Result<Found, _>| file.as_ref().map_or(Some(0), Found::size);
    let total: Option<u64> = files.iter().map(size).sum();
    let offenders = Offenders::new(review.grouping);
    let mut reviewed = Reviewed { offenders, ..Reviewed::default() };
    let mut before = 0;
    for file in files {
        let outcome = file.and_then(Found::open).and_then(|mut file| {
            let mut progress = |read| progress(before + read, total);
            reviewed.read(&mut file, review, zone, &mut progress)?;
            before += file.read();
            Ok(())
        });
        reviewed.troubles.extend(outcome.err().map(|error| trouble(&error, error.advice())));
    }
    reviewed
}

/// What is read in turn.
enum Found {
    StandardInput,
    File(Pending),
}

impl Found {
    fn size(&self) -> Option<u64> {
        match self {
            Self::StandardInput => None,
            Self::File(file) => file.size,
        }
    }

    fn open(self) -> Result<LogFile, LogReaderError> {
        match self {
            Self::StandardInput => log_reader::standard_input(),
            Self::File(file) => file.open(),
        }
    }
}

fn find(finder: &mut Finder, path: &Path) -> Vec<Result<Found, LogReaderError>> {
    if path == Path::new("-") {
        return vec![Ok(Found::StandardInput)];
    }
    finder.find(path).into_iter().map(|file| file.map(Found::File)).collect()
}

impl Reviewed {
    fn read(
        &mut self,
        file: &mut LogFile,
        review: &Review,
        zone: &impl TimeZone,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), LogReaderError> {
        let mut clock = Clock::new(zone.clone());
        loop {
            if file.line().is_multiple_of(STRIDE) {
                progress(file.read());
            }
            let Some(line) = file.next_line()? else {
                return Ok(());
            };
            match entry(&line, &mut clock) {
                Ok(Some(entry)) => self.add(&entry, review),
                Ok(None) => {}
                Err(problem) => {
                    let beginning = beginning(&line);
                    self.damage(
                        &format!("line {} of {}: {problem}", file.line(), file.name),
                        &beginning,
                    );
                }
            }
        }
    }

    fn add(&mut self, entry: &Entry, Review { since, until, .. }: &Review) {
        let when = entry.when.timestamp();
        let is_in =
            since.is_none_or(|since| when >= since) && until.is_none_or(|until| when < until);
        if is_in {
            self.offenders.add(entry);
        }
    }

    fn damage(&mut self, problem: &str, text: &str) {
        self.damaged += 1;
        if self.damages.len() < NAMED {
            self.damages.push(format!("{problem}: {text}"));
        }
    }
}

/// What a line tells; nothing, where it is blank.
fn entry(line: &Line<'_>, clock: &mut Clock<impl TimeZone>) -> Result<Option<Entry>, String> {
    let bytes = match line {
        Line::Whole(bytes) => bytes,
        // Its address may be the beginning of another.
        Line::Unended(_) => return Err("it has no line end".to_owned()),
        Line::TooLong(_) => return Err("it is too long".to_owned()),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| LineError::Form.to_string())?;
    clock.parse(text).map(Some).map_err(|error| error.to_string())
}

/// The beginning of a line, whatever is in it.
fn beginning(line: &Line<'_>) -> String {
    let (Line::Whole(bytes) | Line::Unended(bytes) | Line::TooLong(bytes)) = line;
    let bytes = &bytes[..bytes.len().min(4 * SHOWN)];
    String::from_utf8_lossy(bytes).chars().take(SHOWN).collect()
}
