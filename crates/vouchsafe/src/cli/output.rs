//! Where commands write: plain tables for people, one JSON value for scripts.
//! Text from peers is made harmless here once more, whatever it went through before.

use std::io::{self, Write};

use serde_json::Value;
use vouchsafe_smtp::reply::printable;

/// Standard output, or a test's buffer.
pub struct Output<'a> {
    /// `--json`
    pub json: bool,
    /// Where it goes.
    pub to: &'a mut dyn Write,
}

impl Output<'_> {
    /// Text for people, or the value for scripts.
    pub fn give(&mut self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) -> io::Result<()> {
        let said = match self.json {
            true => format!("{:#}\n", value()),
            false => text(),
        };
        self.to.write_all(said.as_bytes())?;
        self.to.flush()
    }

    /// One line of a stream: a line of text, or one JSON value a line.
    pub fn line(&mut self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) -> io::Result<()> {
        let said = match self.json {
            true => value().to_string(),
            false => text(),
        };
        self.to.write_all(said.as_bytes())?;
        self.to.write_all(b"\n")?;
        self.to.flush()
    }
}

/// Columns as wide as their widest cell, two blanks apart; the last one runs on.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            if at + 1 == row.len() {
                line.push_str(cell);
            } else {
                line.push_str(&format!("{cell:<width$}  ", width = widths[at]));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// One line, harmless, at most `max` characters.
pub fn cell(text: &str, max: usize) -> String {
    printable(text.as_bytes(), max)
}

/// `1.5 MB`; octets below a thousand are exact.
pub fn size(octets: u64) -> String {
    let units = [("TB", 1_000_000_000_000_u64), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, factor)| octets >= *factor) {
        None => format!("{octets} B"),
        Some((unit, factor)) => {
            let tenths = octets / (factor / 10);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

/// `1 message`, `2 messages`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["a".to_owned(), "long value".to_owned()], vec!["wide one".to_owned(), String::new()]];
        assert_eq!(table(&["K", "V"], &rows), "K         V\na         long value\nwide one\n");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([0, 999, 1500, 2_000_000_000].map(size), ["0 B", "999 B", "1.5 kB", "2.0 GB"]);
    }
}
