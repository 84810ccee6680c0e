//! Text of any dialect to connections: which table a line is in, and what
//! became of it.
use std::io::BufRead;

use super::{
    capture::ByteOrder,
    line::{Line, LineReader},
};
use crate::model::connection::Connection;

use super::{
    conntrack,
    detect::{self, Table},
    fast_path::{Form, Swift},
    netstat::Columns,
    proc_net,
    reader::{Dialect, ParseError, Problem, Reading, Unfit, Unreadable},
    row::{Faulty, Row, fields},
    solaris, ss, windows,
};

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
        is_told: byte_order.is_some(),
        wants_rows: None,
        table: None,
        found_one: false,
        columns: Columns::default(),
        ss_columns: ss::Columns::default(),
        suspects: Suspects::default(),
        first: None,
        head: Vec::new(),
        footer: None,
        unfit: None,
        reading: Reading::default(),
    };
    let unreadable = |source| ParseError::Read { origin: origin.to_owned(), source };
    loop {
        let (n_rows, length) = listing.ordinary(lines.buffered());
        lines.skip(n_rows, length);
        let number = lines.number + 1;
        match lines.next_line().map_err(unreadable)? {
            None => break,
            // Byte order marks.
            Some(
                Line::Whole([0xFF, 0xFE, ..] | [0xFE, 0xFF, ..])
                | Line::Unended([0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]),
            ) if number == 1 => {
                return Err(ParseError::Utf16 { origin: origin.to_owned() });
            }
            Some(Line::Whole([0xEF, 0xBB, 0xBF, line @ ..])) if number == 1 => {
                listing.line(number, line.trim_ascii_end());
            }
            Some(Line::Unended([0xEF, 0xBB, 0xBF, line @ ..])) if number == 1 => {
                listing.unended(number, line.trim_ascii_end());
            }
            Some(Line::TooLong(line)) => listing.too_long(number, line),
            Some(Line::Whole(line)) => {
                listing.line(number, line.trim_ascii_end());
            }
            Some(Line::Unended(line)) => listing.unended(number, line.trim_ascii_end()),
        }
        if let Some(unfit) = listing.unfit {
            return Err(ParseError::Unfit { origin: origin.to_owned(), unfit });
        }
        match listing.wants_rows.take() {
            None => {}
            Some(None) => {
                let ahead = lines.ahead().map_err(unreadable)?;
                listing.byte_order = proc_net::byte_order_ahead(ahead);
            }
            // The row that showed the table is one of those that are asked.
            Some(Some(row)) => {
                let ahead = lines.ahead().map_err(unreadable)?;
                let text = [&row[..], b"\n", ahead].concat();
                listing.byte_order = proc_net::byte_order_ahead(&text);
                listing.line(number, &row);
            }
        }
    }
    let head = std::mem::take(&mut listing.head);
    listing.give_up_head(lines.number, &head);
    listing.give_up_footer();
    listing.end_table();
    match (listing.found_one, listing.first) {
        (true, _) => Ok(listing.reading),
        (false, Some(first)) => Err(ParseError::NoListing { origin: origin.to_owned(), first }),
        (false, None) => Err(ParseError::Empty { origin: origin.to_owned() }),
    }
}

/// Where the reading of a text stands.
struct Listing<'c, C> {
    counts: &'c mut C,
    /// As it was told, or else as the rows of the latest table showed it.
    byte_order: Option<ByteOrder>,
    is_told: bool,
    /// Set where the rows that come next are to be asked for it, with the row
    /// that is to be read then.
    wants_rows: Option<Option<Vec<u8>>>,
    /// Of the latest heading, or of the latest row that came without.
    table: Option<Table>,
    /// Whether any table could have held TCP connections.
    found_one: bool,
    columns: Columns,
    ss_columns: ss::Columns,
    suspects: Suspects,
    /// The first line that is not empty.
    first: Option<String>,
    /// The beginning of a row, which something else came into.
    head: Vec<u8>,
    /// The first line that says that there were flows.
    footer: Option<(u64, Vec<u8>)>,
    /// What it is in place of a listing.
    unfit: Option<Unfit>,
    reading: Reading,
}

/// Connections of one table that count and whose addresses may be cut: whether
/// they are shows only at its end.
#[derive(Default)]
struct Suspects {
    n: u64,
    first: Option<u64>,
}

/// A row, and the dialect that it is in.
type Read<'a> = Result<(Row, Option<Dialect>), Faulty<'a>>;

impl<C: FnMut(&Connection) -> bool> Listing<'_, C> {
    /// Reads the ordinary rows that a text begins with, up to the first line that
    /// is to be looked at closely; gives how many, and how long they are.
    fn ordinary(&mut self, text: &[u8]) -> (u64, usize) {
        let Some(form) = self.form() else { return (0, 0) };
        let (n_rows, length) = Swift::new(form).rows(text, |connection| {
            self.connection(connection, form.dialect());
        });
        if n_rows > 0 {
            self.note_dialect(form.dialect());
        }
        (n_rows, length)
    }

    fn form(&self) -> Option<Form> {
        match self.table? {
            Table::Ss => Some(Form::Ss { has_state: self.ss_columns.have_state() }),
            Table::Protocol => Some(Form::Netstat { is_wide: self.columns.is_wide() }),
            Table::ProcNet => Some(Form::ProcNet(self.order())),
            Table::Solaris | Table::Conntrack | Table::Elsewhere => None,
        }
    }

    /// Reads a line; says whether it was a row, or should have been one.
    fn line(&mut self, number: u64, line: &[u8]) -> bool {
        // Of a row that something came into, the line end alone may be left.
        if line.is_empty() && self.head.is_empty() {
            return false;
        }
        self.note_first(line);
        if self.table.is_none_or(|table| table == Table::Conntrack) {
            if let Some(at) = conntrack::footer(line) {
                self.begin(Table::Conntrack);
                self.note_dialect(Dialect::Conntrack);
                if self.footer.is_none() && conntrack::tells_of_flows(line) {
                    self.footer = Some((number, line[at..].to_vec()));
                }
                let before = std::mem::replace(&mut self.head, line[..at].to_vec());
                self.give_up_head(number, &before);
                return true;
            }
            if !self.head.is_empty() {
                let row = [&std::mem::take(&mut self.head), line].concat();
                return self.line(number, &row);
            }
            self.unfit = conntrack::unfit(line);
        }
        if detect::may_be_heading(line) {
            match detect::heading(line) {
                Some(table) => self.heading(table, line),
                None if self.table.is_some() && detect::begins_row(line) => {
                    let is_whole = fields(line).count() > 3;
                    let problem = if is_whole { Problem::Endpoint } else { Problem::MissingField };
                    self.give_up(number, (problem, line));
                    return true;
                }
                // A tool that complains, or is ended, where its listing should go on.
                None if self.is_foreign(line) => {
                    self.give_up(number, (Problem::Row, line));
                    return true;
                }
                // "Active Internet connections", in any language that has one.
                None if self.table == Some(Table::Elsewhere) && detect::names_internet(line) => {
                    self.table = None;
                }
                // Underlines, names of programs.
                None => {}
            }
            return false;
        }
        let row = match self.table {
            None | Some(Table::Elsewhere) => self.headless(line, (Problem::Row, line)),
            Some(table) => self.row(table, line).or_else(|faulty| self.headless(line, faulty)),
        };
        match (row, self.table) {
            (Ok((row, dialect)), _) => self.take(number, &row, dialect),
            // Broken rows may come first; a shell's banner is not of the listing.
            (Err(faulty), None) if detect::begins_row(line) => self.give_up(number, faulty),
            (Err(_), None) => return false,
            (Err(_), Some(Table::Elsewhere)) => self.reading.other += 1,
            (Err(faulty), Some(_)) => self.give_up(number, faulty),
        }
        true
    }

    /// Whether a line without a digit is none that a table has: no underline, no
    /// title, no name of a program, which Windows puts below its rows.
    fn is_foreign(&self, line: &[u8]) -> bool {
        let is_within = self.table.is_some_and(|table| table != Table::Elsewhere);
        let is_known = line.starts_with(b"Activ")
            || line.starts_with(b"Aktiv")
            || line.starts_with(b"Some tcp sockets")
            || detect::names_internet(line);
        is_within && line[0].is_ascii_alphabetic() && !is_known
    }

    /// The last line, where its end is missing. What was read of a row stands;
    /// but a heading that breaks off says that rows are missing.
    fn unended(&mut self, number: u64, line: &[u8]) {
        if !line.is_empty() && !self.line(number, line) && self.table.is_some() {
            self.give_up(number, (Problem::MissingField, line));
        }
    }

    fn heading(&mut self, table: Table, line: &[u8]) {
        // The columns below "Active UNIX domain sockets" begin as those of TCP.
        let is_of_title = table == Table::Protocol
            && self.table == Some(Table::Elsewhere)
            && !detect::has_addresses(line);
        if !is_of_title {
            self.begin(table);
        }
        if table == Table::Ss {
            self.ss_columns = ss::Columns::of_heading(line);
        }
    }

    /// A row of a table that begins without a heading.
    fn headless<'a>(&mut self, line: &'a [u8], faulty: Faulty<'a>) -> Read<'a> {
        match detect::row(line) {
            Some(table) if self.may_go_on_as(table, line) => {
                self.begin(table);
                if let Some(row) = &mut self.wants_rows {
                    *row = Some(line.to_vec());
                    return Ok((Row::Continuation, None));
                }
                self.row(table, line)
            }
            _ => Err(faulty),
        }
    }

    fn may_go_on_as(&self, table: Table, line: &[u8]) -> bool {
        match self.table {
            None => true,
            // Its rows are like no other's.
            Some(other) if table == Table::Conntrack => other != table,
            // /proc/net/udp has rows like those of tcp.
            Some(Table::Elsewhere) => table != Table::ProcNet,
            // A row of netstat that lacks its end looks like one of ss.
            Some(Table::Protocol) if line.trim_ascii_start().starts_with(b"tcp") => false,
            Some(other) => other != table,
        }
    }

    fn row<'a>(&mut self, table: Table, line: &'a [u8]) -> Read<'a> {
        Ok(match table {
            Table::Elsewhere => (Row::Other, None),
            Table::Ss => (self.ss_columns.row(line)?, Some(Dialect::Ss)),
            Table::Solaris => (solaris::row(line)?, Some(Dialect::Solaris)),
            Table::Conntrack => (conntrack::row(line)?, Some(Dialect::Conntrack)),
            Table::ProcNet => (proc_net::row(line, self.order())?, Some(Dialect::ProcNet)),
            Table::Protocol if detect::is_windows(line) => {
                (windows::row(line)?, Some(Dialect::Windows))
            }
            Table::Protocol => {
                let (row, dialect) = self.columns.row(line)?;
                (row, Some(dialect))
            }
        })
    }

    fn order(&self) -> ByteOrder {
        self.byte_order.unwrap_or(ByteOrder::NATIVE)
    }

    fn take(&mut self, number: u64, row: &Row, dialect: Option<Dialect>) {
        match (row, dialect) {
            (Row::Connection(connection), Some(dialect)) => {
                let counts = self.connection(connection, dialect);
                self.note_dialect(dialect);
                if counts && connection.peer_cut.is_some() {
                    self.suspects.n += 1;
                    self.suspects.first.get_or_insert(number);
                }
            }
            (Row::Other, dialect) => {
                self.reading.other += 1;
                // Nothing else shows what a table of flows is.
                if dialect == Some(Dialect::Conntrack) {
                    self.note_dialect(Dialect::Conntrack);
                }
            }
            (Row::Continuation | Row::Connection(_), _) => {}
        }
    }

    fn note_dialect(&mut self, dialect: Dialect) {
        if !self.reading.dialects.contains(&dialect) {
            self.reading.dialects.push(dialect);
        }
    }

    /// Gives a connection on; says whether it counts.
    fn connection(&mut self, connection: &Connection, dialect: Dialect) -> bool {
        self.reading.rows += 1;
        let counts = (self.counts)(connection);
        if counts && dialect == Dialect::ProcNet && self.byte_order.is_none() {
            self.reading.assumed = Some(ByteOrder::NATIVE);
        }
        counts
    }

    fn give_up(&mut self, number: u64, faulty: Faulty<'_>) {
        self.reading.unreadable += 1;
        if self.reading.first_unreadable.is_none() {
            self.reading.first_unreadable = Some(Unreadable::new(number, faulty));
        }
    }

    /// The beginning of a row whose rest did not come.
    fn give_up_head(&mut self, number: u64, head: &[u8]) {
        if !head.is_empty() {
            self.give_up(number, (Problem::MissingField, head));
        }
    }

    /// What says that there were flows, where the listing went elsewhere.
    fn give_up_footer(&mut self) {
        let Reading { rows, other, unreadable, .. } = self.reading;
        if let Some((number, footer)) = self.footer.take()
            && rows + other + unreadable == 0
        {
            self.give_up(number, (Problem::MissingRows, &footer));
        }
    }

    fn too_long(&mut self, number: u64, line: &[u8]) {
        self.note_first(line);
        if self.table.is_some() {
            self.give_up(number, (Problem::TooLong, line));
        }
    }

    fn note_first(&mut self, line: &[u8]) {
        if self.first.is_none() {
            let line = line.trim_ascii();
            let quoted = &line[..line.len().min(Unreadable::QUOTED)];
            self.first = Some(String::from_utf8_lossy(quoted).into_owned());
        }
    }

    fn begin(&mut self, table: Table) {
        self.end_table();
        self.table = Some(table);
        self.found_one |= table != Table::Elsewhere;
        self.ss_columns = ss::Columns::default();
        if table == Table::ProcNet && !self.is_told {
            self.wants_rows = Some(None);
        }
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
}
