//! Text of any dialect to connections: which table a line is in, and what
//! became of it.
use std::io::BufRead;

use crate::{capture::ByteOrder, connection::Connection};

use super::{
    Dialect, ParseError, Problem, Reading, Unreadable,
    line::{Line, LineReader},
    netstat::Columns,
    proc_net,
    recognise::{self, Table},
    solaris, ss, windows,
};

/// What a row is.
#[derive(Debug)]
pub(super) enum Row {
    Connection(Connection),
    /// Something known that is no TCP connection.
    Other,
    /// More of the row before it.
    Continuation,
}

/// What is wrong with a row, and the part of it that is.
pub(super) type Faulty<'a> = (Problem, &'a [u8]);

/// The words of a line.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Reads listings, one after the other, to the end of `bytes`.
pub(super) fn read(
    bytes: impl BufRead,
    origin: &str,
    byte_order: Option<ByteOrder>,
    counts: &mut impl FnMut(&Connection) -> bool,
) -> Result<Reading, ParseError> {
    let mut lines = LineReader::new(bytes);
    let mut listing = Listing {
        counts,
        byte_order,
        seen_order: byte_order,
        wants_byte_order: false,
        table: None,
        columns: Columns::default(),
        suspects: Suspects::default(),
        before: None,
        reading: Reading::default(),
    };
    let unreadable = |source| ParseError::Read { origin: origin.to_owned(), source };
    loop {
        let number = lines.number + 1;
        match lines.next_line().map_err(unreadable)? {
            None => break,
            // Byte order marks.
            Some(Line::Whole([0xFF, 0xFE, ..] | [0xFE, 0xFF, ..])) if number == 1 => {
                return Err(ParseError::Utf16 { origin: origin.to_owned() });
            }
            Some(Line::Whole([0xEF, 0xBB, 0xBF, line @ ..])) if number == 1 => {
                listing.line(number, line.trim_ascii_end());
            }
            Some(Line::TooLong(line)) => listing.too_long(number, line),
            Some(Line::Whole(line)) => listing.line(number, line.trim_ascii_end()),
        }
        if std::mem::take(&mut listing.wants_byte_order) {
            listing.find_byte_order(lines.ahead().map_err(unreadable)?);
        }
    }
    listing.end_table();
    match (listing.table, listing.before) {
        (Some(_), _) => Ok(listing.reading),
        (None, Some(first)) => Err(ParseError::NoListing { origin: origin.to_owned(), first }),
        (None, None) => Err(ParseError::Empty { origin: origin.to_owned() }),
    }
}

/// Where the reading of a text stands.
struct Listing<'c, C> {
    counts: &'c mut C,
    /// As it was told.
    byte_order: Option<ByteOrder>,
    /// As it was told, or else as the latest rows showed it.
    seen_order: Option<ByteOrder>,
    /// Whether the rows that come next are to be asked for it.
    wants_byte_order: bool,
    /// Of the latest heading, or of the latest row that came without.
    table: Option<Table>,
    columns: Columns,
    suspects: Suspects,
    /// The first line before any table.
    before: Option<String>,
    reading: Reading,
}

/// Connections of one table that count and whose addresses may be cut: whether
/// they are shows only at its end.
#[derive(Default)]
struct Suspects {
    n: u64,
    first: Option<u64>,
}

impl<C: FnMut(&Connection) -> bool> Listing<'_, C> {
    fn line(&mut self, number: u64, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        if recognise::may_be_heading(line) {
            match recognise::heading(line) {
                Some(table) => self.begin(table),
                // "Active Internet connections", underlines, names of programs.
                None => self.note_before(line),
            }
            return;
        }
        let row = match self.table {
            Some(table) => self.row(table, line),
            None => Err((Problem::Row, line)),
        };
        match row.or_else(|faulty| self.headless(line, faulty)) {
            Ok((row, dialect)) => self.take(number, &row, dialect),
            Err(faulty) if self.table.is_some() => self.give_up(number, faulty),
            // A shell's banner, say.
            Err(_) => self.note_before(line),
        }
    }

    /// A row of a table that begins without a heading.
    fn headless<'a>(
        &mut self,
        line: &'a [u8],
        faulty: Faulty<'a>,
    ) -> Result<(Row, Option<Dialect>), Faulty<'a>> {
        match recognise::row(line) {
            Some(table) if self.table != Some(table) => {
                self.begin(table);
                if std::mem::take(&mut self.wants_byte_order) {
                    self.find_byte_order(line);
                }
                self.row(table, line)
            }
            _ => Err(faulty),
        }
    }

    fn row<'a>(
        &mut self,
        table: Table,
        line: &'a [u8],
    ) -> Result<(Row, Option<Dialect>), Faulty<'a>> {
        Ok(match table {
            Table::Elsewhere => (Row::Other, None),
            Table::Ss => (ss::row(line)?, Some(Dialect::Ss)),
            Table::Solaris => (solaris::row(line)?, Some(Dialect::Solaris)),
            Table::ProcNet => {
                let order = self.seen_order.unwrap_or(ByteOrder::NATIVE);
                (proc_net::row(line, order)?, Some(Dialect::ProcNet))
            }
            Table::Protocol if is_windows(line) => (windows::row(line)?, Some(Dialect::Windows)),
            Table::Protocol => {
                let (row, dialect) = self.columns.row(line)?;
                (row, Some(dialect))
            }
        })
    }

    fn take(&mut self, number: u64, row: &Row, dialect: Option<Dialect>) {
        match row {
            Row::Continuation => {}
            Row::Other => self.reading.other += 1,
            Row::Connection(connection) => {
                let counts = (self.counts)(connection);
                if counts && connection.peer_cut.is_some() {
                    self.suspects.n += 1;
                    self.suspects.first.get_or_insert(number);
                }
                if let Some(dialect) = dialect.filter(|it| !self.reading.dialects.contains(it)) {
                    self.reading.dialects.push(dialect);
                }
            }
        }
    }

    fn give_up(&mut self, number: u64, faulty: Faulty<'_>) {
        self.reading.unreadable += 1;
        if self.reading.first_unreadable.is_none() {
            self.reading.first_unreadable = Some(Unreadable::new(number, faulty));
        }
    }

    fn too_long(&mut self, number: u64, line: &[u8]) {
        match self.table {
            Some(_) => self.give_up(number, (Problem::TooLong, line)),
            None => self.note_before(line),
        }
    }

    fn note_before(&mut self, line: &[u8]) {
        if self.table.is_none() && self.before.is_none() {
            let line = line.trim_ascii();
            let quoted = &line[..line.len().min(Unreadable::QUOTED)];
            self.before = Some(String::from_utf8_lossy(quoted).into_owned());
        }
    }

    fn begin(&mut self, table: Table) {
        self.end_table();
        self.table = Some(table);
        self.wants_byte_order = table == Table::ProcNet && self.byte_order.is_none();
    }

    /// A table that had a row wider than it could have been cut was not cut.
    fn end_table(&mut self) {
        let suspects = std::mem::take(&mut self.suspects);
        let columns = std::mem::take(&mut self.columns);
        if !columns.are_wide() {
            self.reading.cut += suspects.n;
            self.reading.first_cut = self.reading.first_cut.or(suspects.first);
        }
    }

    /// Finds the byte order in the rows that come next, where it was not told.
    fn find_byte_order(&mut self, rows: &[u8]) {
        self.seen_order = proc_net::byte_order(rows).or(self.seen_order);
        self.reading.assumed = match self.seen_order {
            Some(_) => None,
            None => Some(ByteOrder::NATIVE),
        };
    }
}

/// Windows alone writes its protocols in capitals.
fn is_windows(line: &[u8]) -> bool {
    let word = line.trim_ascii_start();
    word.starts_with(b"TCP") || word.starts_with(b"UDP")
}
