//! Tables, and the report that they are written to.
use std::{fmt, fs, path::Path};

/// A Markdown table. The first column is text, the others are numbers.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, first: &str, rest: impl IntoIterator<Item = String>) {
        let first = std::iter::once(first.to_owned());
        self.rows.push(first.chain(rest).map(|cell| cell.replace('|', "\\|")).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|---|{}", "--:|".repeat(self.head.len() - 1))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

/// The output of the benchmark.
pub struct Report {
    documents: Option<&'static Path>,
}

impl Report {
    /// Creates a report that is printed, and also written into the documents if `writes` is set.
    pub fn new(writes: bool) -> Self {
        let documents = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"));
        Self { documents: writes.then_some(documents) }
    }

    /// Prints `text`. In performance.md, it replaces the text between the comments
    /// `<!-- name -->` and `<!-- end -->`.
    pub fn section(&self, name: &str, text: &str) {
        println!("\n{text}");
        let Some(documents) = self.documents else { return };
        let file = documents.join("performance.md");
        let whole = fs::read_to_string(&file).unwrap();
        let begin = format!("<!-- {name} -->\n");
        let (before, rest) = whole.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once("<!-- end -->\n").expect("the section has an end comment");
        fs::write(&file, format!("{before}{begin}{text}<!-- end -->\n{after}")).unwrap();
    }

    pub fn plot(&self, svg: &str) {
        match self.documents {
            Some(documents) => fs::write(documents.join("performance.svg"), svg).unwrap(),
            None => println!("\nThe word write gives a plot, and puts all this into docs."),
        }
    }
}

/// Formats a command as Markdown code.
pub fn code(command: &str) -> String {
    format!("`{command}`")
}

/// Formats a number in groups of three digits: 1 000 000.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(<[u8]>::to_vec).collect();
    String::from_utf8(groups.join(&b' ')).unwrap()
}
