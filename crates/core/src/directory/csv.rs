//! Tables: fields in quotes or not (RFC 4180), parted by comma, semicolon or tab, the first row naming the columns. A file
//! of bare addresses, one a line, is a table of one column without a head.

use vouchsafe_smtp::Mailbox;

use super::{ATTRIBUTES, Found, holds_addresses};

pub(super) fn read(text: &str, found: &mut Found) -> Result<(), String> {
    // PowerShell's `#TYPE` line, and comments of a list of ours.
    let first = text.lines().find(|line| !is_skipped(line)).unwrap_or_default();
    let separator = [';', '\t'].into_iter().find(|mark| first.contains(*mark)).unwrap_or(',');
    let mut rows = Rows { rest: text, separator, line: 1 }.filter(|(_, row)| !row.is_empty());
    let Some((line, head)) = rows.next() else { return Err("holds no line".to_owned()) };
    let columns: Vec<usize> =
        head.iter().enumerate().filter(|(_, name)| holds_addresses(name)).map(|(at, _)| at).collect();
    if columns.is_empty() {
        if head.len() > 1 || Mailbox::parse(head[0].trim(), true).is_err() {
            let names = ATTRIBUTES[..5].join(", ");
            return Err(format!("has no column that holds addresses ({names} ...) in line {line}"));
        }
        found.take(&head[0], line);
        rows.for_each(|(line, row)| take_all(&row[0], line, found));
        return Ok(());
    }
    for (line, row) in rows {
        for value in columns.iter().filter_map(|at| row.get(*at)) {
            take_all(value, line, found);
        }
    }
    Ok(())
}

/// Several values in one field, as exports write them.
fn take_all(field: &str, line: usize, found: &mut Found) {
    // The names in an X.500 address may hold blanks and semicolons: what follows it, up to the next kind, is its own.
    let mut foreign = false;
    for value in field.split([' ', ';', ',', '|', '\n', '\r', '{', '}']).filter(|value| !value.is_empty()) {
        match value.split_once(':') {
            Some((kind, _)) => foreign = !kind.eq_ignore_ascii_case("smtp"),
            None if foreign => continue,
            None => {}
        }
        found.take(value, line);
    }
}

fn is_skipped(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// Rows of fields, each with the line on which it begins.
struct Rows<'a> {
    rest: &'a str,
    separator: char,
    line: usize,
}

impl Iterator for Rows<'_> {
    type Item = (usize, Vec<String>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let begun = self.line;
        if is_skipped(self.rest.split('\n').next().unwrap_or_default()) {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            self.line += 1;
            return Some((begun, Vec::new()));
        }
        let (mut row, mut field, mut quoted) = (Vec::new(), String::new(), false);
        let mut octets = self.rest.char_indices().peekable();
        let mut end = self.rest.len();
        while let Some((at, c)) = octets.next() {
            self.line += usize::from(c == '\n');
            match c {
                '"' if quoted && octets.next_if(|(_, next)| *next == '"').is_some() => field.push('"'),
                '"' if quoted || field.is_empty() => quoted = !quoted,
                '\n' if !quoted => {
                    end = at + 1;
                    break;
                }
                '\r' if !quoted => {}
                c if c == self.separator && !quoted => row.push(std::mem::take(&mut field)),
                c => field.push(c),
            }
        }
        self.rest = &self.rest[end..];
        row.push(field);
        Some((begun, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Vec<String> {
        let mut found = Found::default();
        read(text, &mut found).unwrap();
        assert_eq!(found.odd, []);
        found.addresses.into_iter().collect()
    }

    #[test]
    fn columns_are_found_by_name_and_fields_hold_several_values() {
        let text = "DisplayName;mail;proxyAddresses\nBob \"B\" X;bob@example.com;SMTP:bob@example.com,smtp:b@example.com\n\
                    \"two\nlines\";carol@example.com;X500:/o=Corp/cn=Carol Smith,c=de\n";
        assert_eq!(read_all(text), ["b@example.com", "bob@example.com", "carol@example.com"]);
    }

    #[test]
    fn bare_addresses_need_no_head() {
        assert_eq!(
            read_all("# a list\nb@example.com\r\n\r\nA@example.com"),
            ["a@example.com", "b@example.com"]
        );
    }

    #[test]
    fn a_table_without_addresses_is_told() {
        let told = read("name,telephone\nbob,1\n", &mut Found::default()).unwrap_err();
        assert!(told.starts_with("has no column that holds addresses (proxyaddresses, mail,"), "{told}");
        assert!(read("\n\n", &mut Found::default()).is_err());
    }

    #[test]
    fn lines_are_counted_through_quotes() {
        let mut found = Found::default();
        read("x,mail\n\"a\n\nb\",good@example.com\nc,bad\n", &mut found).unwrap();
        assert_eq!(found.odd, [(5, "bad".to_owned())]);
    }
}
