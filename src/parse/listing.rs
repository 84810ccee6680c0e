//! Parsing of text listings in any dialect into connections.
//!
//! The parser keeps track of the table that a line belongs to and dispatches each
//! row to the parser of its dialect. docs/decisions/listing-readers.md has the run time for a
//! row, and the attempts to reduce it.
use std::io::BufRead;

use super::{
    capture::ByteOrder,
    line::{Line, LineReader},
};
use crate::model::{
    connection::{Connection, TcpState, TcpStates},
    protocol::Protocol,
};

use super::{
    conntrack, counts,
    detect::{self, Table},
    dialect::Dialect,
    error::{ParseError, RowErrorKind, UnreadableRow, UnsupportedFormat, quote},
    netstat::NetstatColumns,
    proc_net,
    row::{RowError, RowKind, fields},
    shell_text, solaris, ss,
    stats::ParseStats,
    table_list::{TableFamily, TableList},
    windows,
};

/// Parses all listings in `bytes` and passes each connection of these protocols to
/// `accept`.
pub(super) fn read(
    bytes: impl BufRead,
    origin: &str,
    (byte_order, protocol): (Option<ByteOrder>, Protocol),
    accept: &mut impl FnMut(&Connection) -> bool,
) -> Result<ParseStats, ParseError> {
    let mut lines = LineReader::new(bytes);
    let mut parser = ListingParser {
        accept,
        connection: Connection::UNSPECIFIED,
        protocol,
        byte_order,
        is_byte_order_known: byte_order.is_some(),
        pending_detection: None,
        table: None,
        is_recognized: false,
        netstat_columns: NetstatColumns::default(),
        ss_columns: ss::SsColumns::default(),
        solaris_columns: solaris::SolarisColumns::default(),
        line_number: 0,
        tables: TableList::default(),
        lists_connections: false,
        lists_only_listeners: false,
        n_listening: 0,
        is_unterminated: false,
        message: None,
        earlier_count: None,
        truncated: TruncatedAddresses::default(),
        first_line: None,
        row_start: Vec::new(),
        footer: None,
        unsupported: None,
        stats: ParseStats::default(),
    };
    let read_error = |source| ParseError::Read { origin: origin.to_owned(), source };
    loop {
        let number = lines.n_lines + 1;
        match lines.next_line().map_err(read_error)? {
            None => break,
            // Byte order marks of UTF-16.
            Some(
                Line::Complete([0xFF, 0xFE, ..] | [0xFE, 0xFF, ..])
                | Line::Unterminated([0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]),
            ) if number == 1 => {
                return Err(ParseError::Utf16 { origin: origin.to_owned() });
            }
            Some(Line::Complete([0xEF, 0xBB, 0xBF, line @ ..])) if number == 1 => {
                parser.parse_line(number, line);
            }
            Some(Line::Unterminated([0xEF, 0xBB, 0xBF, line @ ..])) if number == 1 => {
                parser.parse_unterminated_line(number, line.trim_ascii_end());
            }
            Some(Line::TooLong(line)) => parser.reject_long_line(number, line),
            Some(Line::Complete(line)) => {
                parser.parse_line(number, line);
            }
            Some(Line::Unterminated(line)) => {
                parser.parse_unterminated_line(number, line.trim_ascii_end());
            }
        }
        if let Some(format) = parser.unsupported {
            return Err(ParseError::UnsupportedFormat { origin: origin.to_owned(), format });
        }
        match parser.pending_detection.take() {
            None => {}
            Some(None) => {
                let ahead = lines.read_ahead().map_err(read_error)?;
                parser.byte_order = proc_net::detect_byte_order(ahead);
            }
            // The row that started the table is used for the detection as well.
            Some(Some(row)) => {
                let ahead = lines.read_ahead().map_err(read_error)?;
                let text = [&row[..], b"\n", ahead].concat();
                parser.byte_order = proc_net::detect_byte_order(&text);
                parser.parse_line(number, &row);
            }
        }
    }
    let row_start = std::mem::take(&mut parser.row_start);
    parser.reject_row_start(lines.n_lines, &row_start);
    parser.check_footer();
    parser.end_table();
    parser.check_visibility(origin)?;
    match (parser.is_recognized, parser.first_line) {
        (true, _) => Ok(parser.stats),
        (false, Some(first_line)) => {
            Err(ParseError::UnrecognizedListing { origin: origin.to_owned(), first_line })
        }
        (false, None) => Err(ParseError::Empty { origin: origin.to_owned() }),
    }
}

/// Parser state between two lines of a text.
struct ListingParser<'c, C> {
    accept: &'c mut C,
    /// Connection of the latest row.
    connection: Connection,
    /// Protocols whose flows are passed on.
    protocol: Protocol,
    /// Byte order of the capture, or else of the rows of the latest table; `None` if
    /// neither is known.
    byte_order: Option<ByteOrder>,
    /// True if the byte order of the capture is given, and is not detected.
    is_byte_order_known: bool,
    /// Request to detect the byte order in the next rows, with the row to parse after the
    /// detection, if there is one.
    pending_detection: Option<Option<Vec<u8>>>,
    /// Table of the latest heading, or of the latest row without a heading.
    table: Option<Table>,
    /// True if the text has a table that can hold TCP connections.
    is_recognized: bool,
    netstat_columns: NetstatColumns,
    ss_columns: ss::SsColumns,
    solaris_columns: solaris::SolarisColumns,
    /// Number of the latest line that is not a connection of the current table.
    line_number: u64,
    /// Tables so far, to detect snapshots.
    tables: TableList,
    /// True if a heading shows that connections are listed, not only listening sockets.
    lists_connections: bool,
    /// True if a heading shows that only listening sockets are listed.
    lists_only_listeners: bool,
    /// Number of rows that are listening sockets.
    n_listening: u64,
    /// True if the current line is the last one and has no terminator.
    is_unterminated: bool,
    /// First text before a table that may be a message of a tool, with its line number.
    message: Option<(u64, String)>,
    /// First text before a table that has the form of a count, with its line number. If
    /// counts follow, the text is an unreadable row.
    earlier_count: Option<(u64, Vec<u8>)>,
    truncated: TruncatedAddresses,
    /// First non-empty line, for error messages.
    first_line: Option<String>,
    /// Start of a row that was interrupted by the footer of `conntrack`.
    row_start: Vec<u8>,
    /// First footer of `conntrack` that reports flows, with its line number.
    footer: Option<(u64, Vec<u8>)>,
    /// Unsupported format of the text; `None` for a listing.
    unsupported: Option<UnsupportedFormat>,
    stats: ParseStats,
}

/// Counted connections of one table whose addresses may be truncated. A later row of the
/// table can show that the tool did not truncate addresses.
#[derive(Default)]
struct TruncatedAddresses {
    possibly: TruncatedRows,
    /// Rows whose visible part is not an address, so that the address is certainly truncated.
    certainly: TruncatedRows,
}

/// Number of rows, and the first of them.
#[derive(Default)]
struct TruncatedRows {
    count: u64,
    first_line: Option<u64>,
}

impl TruncatedRows {
    fn add(&mut self, line: u64) {
        self.count += 1;
        self.first_line.get_or_insert(line);
    }
}

impl TruncatedAddresses {
    fn record(&mut self, line: u64, is_address: bool) {
        self.possibly.add(line);
        if !is_address {
            self.certainly.add(line);
        }
    }
}

/// Parsed row and its dialect, if it is known.
type RowResult<'a> = Result<(RowKind, Option<Dialect>), RowError<'a>>;

impl<C: FnMut(&Connection) -> bool> ListingParser<'_, C> {
    /// Parses a line. Returns true if the line is a row or a broken row.
    fn parse_line(&mut self, number: u64, line: &[u8]) -> bool {
        // Nearly all lines of a long listing are connections of the current table.
        if let Some(table) = self.table.filter(|&table| table != Table::Conntrack) {
            if let Ok((RowKind::Connection, dialect)) = self.parse_row(table, line) {
                self.record_row(number, line, RowKind::Connection, dialect);
                return true;
            }
        }
        self.parse_other_line(number, line.trim_ascii_end())
    }

    /// Parses a line that is not a connection of the current table: a heading, another row,
    /// a broken row, or text that is not part of a listing. Returns true if the line is a row
    /// or a broken row.
    fn parse_other_line(&mut self, number: u64, line: &[u8]) -> bool {
        self.line_number = number;
        // After a footer inside a row, the rest of the row may be the line terminator only.
        if line.is_empty() && self.row_start.is_empty() {
            return false;
        }
        self.record_first_line(line);
        if self.table.is_none_or(|table| table == Table::Conntrack) {
            if let Some(at) = conntrack::footer_offset(line) {
                self.start_table(Table::Conntrack);
                self.record_dialect(Dialect::Conntrack);
                if self.footer.is_none() && conntrack::footer_reports_flows(line) {
                    self.footer = Some((number, line[at..].to_vec()));
                }
                let previous = std::mem::replace(&mut self.row_start, line[..at].to_vec());
                self.reject_row_start(number, &previous);
                return true;
            }
            if !self.row_start.is_empty() {
                let row = [&std::mem::take(&mut self.row_start), line].concat();
                return self.parse_line(number, &row);
            }
            self.unsupported = conntrack::unsupported_format(line);
        }
        if detect::may_be_heading(line) {
            match detect::detect_heading(line) {
                Some(table) => self.apply_heading(table, line),
                None if detect::is_internet_title(line) => {
                    self.apply_title(line);
                    if self.table == Some(Table::Other) {
                        self.table = None;
                    }
                }
                None if detect::has_cut_endpoints(line) => {
                    self.unsupported = Some(UnsupportedFormat::CutEndpoints);
                }
                None if self.skip_shell_text(line) => {}
                None if self.table.is_some() && detect::starts_like_row(line) => {
                    let is_complete = fields(line).count() > 3;
                    let kind = if is_complete {
                        RowErrorKind::InvalidEndpoint
                    } else {
                        RowErrorKind::MissingField
                    };
                    self.reject_row(number, (kind, line));
                    return true;
                }
                // An error message of the tool or of a shell within the listing.
                None if self.is_unexpected_text(line) || shell_text::is_missing_table(line) => {
                    self.reject_row(number, (RowErrorKind::UnrecognizedRow, line));
                    return true;
                }
                None if self.table.is_none() && detect::looks_like_row_part(line) => {
                    self.reject_row(number, (RowErrorKind::UnrecognizedRow, line));
                    return true;
                }
                // An underline, a program name of Windows, or a message.
                None => self.record_message(number, line),
            }
            return false;
        }
        let row = match self.table {
            None | Some(Table::Other) => {
                self.row_without_heading(line, (RowErrorKind::UnrecognizedRow, line))
            }
            Some(table) => {
                self.parse_row(table, line).or_else(|error| self.row_without_heading(line, error))
            }
        };
        match (row, self.table) {
            (Ok((row, dialect)), _) => self.record_row(number, line, row, dialect),
            (Err(_), Some(Table::Other)) => self.stats.n_other += 1,
            (Err(_), _) if self.skip_shell_text(line) => return false,
            // The first row may be broken; other text before a table is a banner.
            (Err(error), None)
                if detect::looks_like_row_part(line) || shell_text::is_missing_table(line) =>
            {
                self.reject_row(number, error);
            }
            (Err(_), None) => {
                self.record_message(number, line);
                if self.earlier_count.is_none() && counts::is_row(line) {
                    self.earlier_count = Some((number, line.to_vec()));
                }
                return false;
            }
            (Err(_), Some(Table::Netstat)) if self.is_windows_component(line) => return false,
            (Err(error), Some(_)) => self.reject_row(number, error),
        }
        true
    }

    /// Skips text of a shell session and messages about other tables. Returns false for other
    /// text.
    fn skip_shell_text(&mut self, line: &[u8]) -> bool {
        if shell_text::ends_table(line) {
            self.end_table();
            self.table = None;
            return true;
        }
        shell_text::is_harmless_message(line)
    }

    /// Returns true if a line is the name of a service, program or library, which
    /// `netstat -b` of Windows prints below the row.
    fn is_windows_component(&self, line: &[u8]) -> bool {
        let is_name = line.starts_with(b" ") || line.starts_with(b"[") || fields(line).count() == 1;
        is_name
            && self.stats.dialects.contains(&Dialect::Windows)
            && !detect::looks_like_row_part(line)
    }

    /// Records the kinds of rows that the title of a table of internet connections names.
    fn apply_title(&mut self, line: &[u8]) {
        let has_options = line.contains(&b'(');
        self.lists_connections |= !has_options || detect::is_connections_title(line);
        self.lists_only_listeners |= detect::is_listeners_title(line);
    }

    /// Records a line before a table if it may be a message of a tool.
    fn record_message(&mut self, number: u64, line: &[u8]) {
        if self.table.is_none() && self.message.is_none() && shell_text::may_be_message(line) {
            self.message = Some((number, quote(line.trim_ascii())));
        }
    }

    /// Returns true if a line without digits does not belong to a listing: it is not an
    /// underline, a title, or a program name, which Windows prints below its rows.
    fn is_unexpected_text(&self, line: &[u8]) -> bool {
        let is_in_table = self.table.is_some_and(|table| table != Table::Other);
        // The user has interrupted the tool, or rows are omitted.
        if is_in_table && (line.starts_with(b"^C") || shell_text::is_omission(line)) {
            return true;
        }
        let is_known = line.starts_with(b"Activ")
            || line.starts_with(b"Aktiv")
            || line.starts_with(b"Some tcp sockets")
            || detect::is_internet_title(line);
        is_in_table && line[0].is_ascii_alphabetic() && !is_known
    }

    /// Parses the last line if it has no terminator. A row that can be parsed is
    /// accepted; any other line in a table means that rows are missing.
    fn parse_unterminated_line(&mut self, number: u64, line: &[u8]) {
        self.is_unterminated = true;
        if line.is_empty() || self.parse_line(number, line) || self.table.is_none() {
            return;
        }
        let is_complete = shell_text::is_harmless_message(line)
            || (line.ends_with(b"]") && self.is_windows_component(line));
        if !is_complete {
            self.reject_row(number, (RowErrorKind::MissingField, line));
        }
    }

    /// Starts the table of a heading.
    fn apply_heading(&mut self, table: Table, line: &[u8]) {
        // The columns below "Active UNIX domain sockets" also start with "Proto".
        let is_below_title = table == Table::Netstat
            && self.table == Some(Table::Other)
            && !detect::has_address_columns(line);
        if !is_below_title {
            self.start_table(table);
        }
        match table {
            Table::Ss => self.ss_columns = ss::SsColumns::from_heading(line),
            Table::Solaris => {
                self.solaris_columns = solaris::SolarisColumns::from_heading(line);
                self.lists_connections = true;
            }
            Table::Netstat => {
                self.netstat_columns = NetstatColumns::from_heading(line);
                // Windows indents its heading, and cannot list listening sockets alone.
                self.lists_connections |= line.starts_with(b" ");
            }
            Table::ProcNet | Table::Conntrack | Table::Counts | Table::Other => {}
        }
    }

    /// Parses the first row of a table without a heading. Returns `error` if the line
    /// does not start another table.
    fn row_without_heading<'a>(&mut self, line: &'a [u8], error: RowError<'a>) -> RowResult<'a> {
        match detect::detect_row(line) {
            Some(table) if self.can_switch_to(table, line) => {
                self.start_table(table);
                if let Some(row) = &mut self.pending_detection {
                    *row = Some(line.to_vec());
                    return Ok((RowKind::Continuation, None));
                }
                self.parse_row(table, line)
            }
            _ => Err(error),
        }
    }

    /// Returns true if a row of `table` may follow the current table without a heading.
    fn can_switch_to(&self, table: Table, line: &[u8]) -> bool {
        match self.table {
            None => true,
            // No other table has rows like those of conntrack.
            Some(current) if table == Table::Conntrack => current != table,
            // The rows of /proc/net/udp look like those of /proc/net/tcp.
            Some(Table::Other) => table != Table::ProcNet,
            // A truncated row of netstat looks like a row of ss.
            Some(Table::Netstat) if line.trim_ascii_start().starts_with(b"tcp") => false,
            Some(current) => current != table,
        }
    }

    fn parse_row<'a>(&mut self, table: Table, line: &'a [u8]) -> RowResult<'a> {
        Ok(match table {
            Table::Other => (RowKind::Other, None),
            Table::Ss => {
                (self.ss_columns.parse_row(line, &mut self.connection)?, Some(Dialect::Ss))
            }
            Table::Solaris => (
                self.solaris_columns.parse_row(line, &mut self.connection)?,
                Some(Dialect::Solaris),
            ),
            Table::Conntrack => {
                let row = conntrack::parse_row(line, self.protocol, &mut self.connection)?;
                (row, Some(Dialect::Conntrack))
            }
            Table::Counts => {
                (counts::parse_row(line, &mut self.connection)?, Some(Dialect::Counts))
            }
            Table::ProcNet => {
                let byte_order = self.byte_order_or_native();
                (
                    proc_net::parse_row(line, byte_order, &mut self.connection)?,
                    Some(Dialect::ProcNet),
                )
            }
            Table::Netstat if detect::is_windows_row(line) => {
                (windows::parse_row(line, &mut self.connection)?, Some(Dialect::Windows))
            }
            Table::Netstat => {
                let (row, dialect) = self.netstat_columns.parse_row(line, &mut self.connection)?;
                (row, Some(dialect))
            }
        })
    }

    fn byte_order_or_native(&self) -> ByteOrder {
        self.byte_order.unwrap_or(ByteOrder::NATIVE)
    }

    /// Counts a row and passes on its connection.
    fn record_row(&mut self, number: u64, line: &[u8], row: RowKind, dialect: Option<Dialect>) {
        match (row, dialect) {
            (RowKind::UnknownState, Some(dialect))
                if self.is_unterminated && dialect != Dialect::Ss =>
            {
                let word = fields(line).last().unwrap_or(line);
                self.reject_row(number, (RowErrorKind::UnknownTcpState, word));
            }
            // The end of the last address may be missing.
            (RowKind::Connection, Some(Dialect::Counts)) if self.is_unterminated => {
                self.reject_row(number, (RowErrorKind::MissingField, line));
            }
            (RowKind::Connection | RowKind::UnknownState, Some(dialect)) => {
                let is_counted = self.accept_connection(dialect);
                self.record_dialect(dialect);
                if let Some(truncated) = self.connection.peer_truncated.filter(|_| is_counted) {
                    self.truncated.record(number, truncated.is_address);
                }
            }
            (RowKind::Other, dialect) => {
                self.stats.n_other += 1;
                // A flow table without TCP flows is still a flow table.
                if dialect == Some(Dialect::Conntrack) {
                    self.record_dialect(Dialect::Conntrack);
                }
            }
            (RowKind::Continuation | RowKind::Connection | RowKind::UnknownState, _) => {}
        }
    }

    fn record_dialect(&mut self, dialect: Dialect) {
        if !self.stats.dialects.contains(&dialect) {
            self.stats.dialects.push(dialect);
        }
    }

    /// Passes on a connection. Returns true if the connection is counted.
    fn accept_connection(&mut self, dialect: Dialect) -> bool {
        self.stats.n_rows += 1;
        let is_counted = (self.accept)(&self.connection);
        if is_counted {
            let is_ipv6 = self.connection.peer.is_ipv6() | self.netstat_columns.is_tcp6;
            let tcp_state = self.connection.tcp_state;
            let is_udp = tcp_state.is_some_and(|tcp_state| TcpStates::UDP.contains(tcp_state));
            let family = TableFamily { is_ipv6, is_udp };
            if !self.tables.has_family(family) {
                self.tables.record_family(dialect, family);
            }
        } else if self.connection.tcp_state == Some(TcpState::Listen) {
            self.n_listening += 1;
        }
        if is_counted && dialect == Dialect::ProcNet {
            self.tables.record_local_address(self.connection.local.ip());
            if self.byte_order.is_none() {
                self.stats.assumed_byte_order = Some(ByteOrder::NATIVE);
            }
        }
        is_counted
    }

    /// Counts a row that cannot be parsed.
    fn reject_row(&mut self, number: u64, error: RowError<'_>) {
        self.stats.n_unreadable += 1;
        if self.stats.first_unreadable.is_none() {
            self.stats.first_unreadable = Some(UnreadableRow::new(number, error));
        }
    }

    /// Counts the start of a row whose rest is missing, unless it is empty.
    fn reject_row_start(&mut self, number: u64, row_start: &[u8]) {
        if !row_start.is_empty() {
            self.reject_row(number, (RowErrorKind::MissingField, row_start));
        }
    }

    /// Counts the row before the first readable count as unreadable, unless the row is from a
    /// heading.
    fn reject_earlier_count(&mut self) {
        let Some((number, line)) = self.earlier_count.take() else { return };
        if let Err(error) = counts::parse_row(&line, &mut self.connection) {
            self.reject_row(number, error);
        }
    }

    /// Counts the footer as an unreadable row if the footer reports flows but the listing has
    /// none. The listing was then written to a different file than the footer.
    fn check_footer(&mut self) {
        let ParseStats { n_rows, n_other, n_unreadable, .. } = self.stats;
        let Some((number, footer)) = self.footer.take() else { return };
        if n_rows + n_other + n_unreadable == 0 {
            self.reject_row(number, (RowErrorKind::MissingRows, &footer));
        }
    }

    /// Counts a line in a table that is longer than the buffer.
    fn reject_long_line(&mut self, number: u64, line: &[u8]) {
        self.record_first_line(line);
        if self.table.is_some() {
            self.reject_row(number, (RowErrorKind::LineTooLong, line));
        }
    }

    fn record_first_line(&mut self, line: &[u8]) {
        if self.first_line.is_none() {
            self.first_line = Some(quote(line.trim_ascii()));
        }
    }

    /// Checks that a listing without connections can show connections.
    ///
    /// # Errors
    ///
    /// Returns an error if the listing has listening sockets only, or if a message of a tool
    /// is followed by no rows.
    fn check_visibility(&mut self, origin: &str) -> Result<(), ParseError> {
        let ParseStats { n_rows, n_unreadable, .. } = self.stats;
        if !self.is_recognized || n_unreadable > 0 || n_rows > self.n_listening {
            return Ok(());
        }
        let origin = origin.to_owned();
        if let Some((line, text)) = self.message.take().filter(|_| n_rows == 0) {
            return Err(ParseError::ToolFailed { origin, line, text });
        }
        if !self.lists_connections && (n_rows > 0 || self.lists_only_listeners) {
            return Err(ParseError::ListenersOnly { origin });
        }
        Ok(())
    }

    /// Ends the current table and starts `table`.
    fn start_table(&mut self, table: Table) {
        // The footer of conntrack may precede the last rows.
        if table != Table::Conntrack || self.table != Some(table) {
            self.end_table();
        }
        self.table = Some(table);
        // Some parsers do not write all fields, so fields of the previous table are cleared.
        self.connection = Connection::UNSPECIFIED;
        self.is_recognized |= table != Table::Other;
        self.lists_connections |= matches!(table, Table::ProcNet | Table::Counts);
        if table == Table::Counts {
            self.reject_earlier_count();
        }
        self.ss_columns = ss::SsColumns::default();
        self.solaris_columns = solaris::SolarisColumns::default();
        if table == Table::ProcNet && !self.is_byte_order_known {
            self.pending_detection = Some(None);
        }
    }

    /// Adds the possibly truncated addresses of the table to the statistics. If a row wider
    /// than the truncation width shows that the tool did not truncate, adds only those that
    /// cannot be parsed as addresses.
    fn end_table(&mut self) {
        self.tables.end_table(self.line_number, self.byte_order);
        self.stats.repeated_table_line = self.tables.repeated_line;
        let truncated = std::mem::take(&mut self.truncated);
        let columns = std::mem::take(&mut self.netstat_columns);
        let TruncatedAddresses { possibly, certainly } = truncated;
        let truncated = if columns.is_untruncated() { certainly } else { possibly };
        self.stats.n_truncated += truncated.count;
        self.stats.first_truncated_line = self.stats.first_truncated_line.or(truncated.first_line);
    }
}
