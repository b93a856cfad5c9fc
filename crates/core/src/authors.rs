//! Whom a message says it is from: the addresses in From and Sender, where all readers agree on them.
//!
//! Strict on purpose: what mail programs could read in different ways is not read at all. Groups and source routes are
//! among that. Never changes a message. Proof: the tests below, `transcripts/e2e/send_as_from_*`.

use vouchsafe_smtp::Mailbox;

/// Octets of all From and Sender fields that are kept; more cannot be read.
pub const FIELDS: usize = 16 * 1024;

/// The fields as they were written, from the colon on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    from: Vec<Vec<u8>>,
    sender: Vec<Vec<u8>>,
    octets: usize,
    torn: bool,
}

/// Which field it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// From.
    From,
    /// Sender.
    Sender,
}

impl Claims {
    /// Such a field begins.
    pub fn begin(&mut self, claim: Claim) {
        self.fields(claim).push(Vec::new());
    }

    /// Octets of the field that began last.
    pub fn push(&mut self, claim: Claim, octets: &[u8]) {
        self.octets += octets.len();
        if self.octets <= FIELDS
            && let Some(field) = self.fields(claim).last_mut()
        {
            field.extend_from_slice(octets);
        }
    }

    /// A line that is no field ended the header: some mail programs read on behind it.
    pub fn tear(&mut self) {
        self.torn = true;
    }

    fn fields(&mut self, claim: Claim) -> &mut Vec<Vec<u8>> {
        match claim {
            Claim::From => &mut self.from,
            Claim::Sender => &mut self.sender,
        }
    }

    /// The addresses of all From fields, none if there is no such field; `None`: they cannot be read.
    pub fn authors(&self) -> Option<Vec<Mailbox>> {
        if self.torn {
            return None;
        }
        let mut all = Vec::new();
        for field in &self.from {
            all.extend(self.read(field)?);
        }
        Some(all)
    }

    /// The address of the one Sender field.
    pub fn sender(&self) -> Option<Mailbox> {
        let [field] = &self.sender[..] else { return None };
        match &mut self.read(field)?[..] {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    fn read(&self, field: &[u8]) -> Option<Vec<Mailbox>> {
        if self.octets > FIELDS {
            return None;
        }
        addresses(std::str::from_utf8(field.strip_prefix(b":")?).ok()?)
    }
}

/// The addresses of a list (RFC 5322 §3.4), at least one.
fn addresses(list: &str) -> Option<Vec<Mailbox>> {
    let mut found = Vec::new();
    let mut entry = Entry::default();
    let mut rest = list.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' | '\n' => {}
            '(' => comment(&mut rest)?,
            '"' => {
                entry.text.push('"');
                quoted(&mut rest, &mut entry.text)?;
                entry.quoted = true;
            }
            '<' if entry.angle.is_none() => entry.angle = Some(angle(&mut rest)?),
            ',' => found.push(std::mem::take(&mut entry).address()?),
            '<' | '>' | ':' | ';' | '\\' | ')' => return None,
            c if c.is_control() && c != '\t' => return None,
            c if entry.angle.is_some() && !c.is_whitespace() => return None,
            c => entry.text.push(c),
        }
    }
    found.push(entry.address()?);
    Some(found)
}

/// One of the list: what stands outside the brackets, and in them.
#[derive(Default)]
struct Entry {
    text: String,
    quoted: bool,
    angle: Option<String>,
}

impl Entry {
    fn address(self) -> Option<Mailbox> {
        let written = match &self.angle {
            // A name that looks like an address is taken for one by some.
            Some(_) if !self.quoted && self.text.contains('@') => return None,
            Some(inside) => inside.trim(),
            None => self.text.trim(),
        };
        Mailbox::parse(written, true).ok()
    }
}

/// Behind `(`, up to its end.
fn comment(rest: &mut std::str::Chars<'_>) -> Option<()> {
    let mut depth = 1;
    while depth > 0 {
        match rest.next()? {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => _ = rest.next()?,
            _ => {}
        }
    }
    Some(())
}

/// Behind `"`, up to its end, which is taken too.
fn quoted(rest: &mut std::str::Chars<'_>, into: &mut String) -> Option<()> {
    loop {
        let c = rest.next()?;
        into.push(c);
        match c {
            '"' => return Some(()),
            '\\' => into.push(rest.next()?),
            _ => {}
        }
    }
}

/// Behind `<`, up to `>`.
fn angle(rest: &mut std::str::Chars<'_>) -> Option<String> {
    let mut inside = String::new();
    loop {
        match rest.next()? {
            '>' => return Some(inside),
            '"' => {
                inside.push('"');
                quoted(rest, &mut inside)?;
            }
            '\r' | '\n' => {}
            c => inside.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Option<Vec<String>> {
        let found = addresses(list)?;
        Some(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lists_are_read_with_names_comments_and_folds() {
        let both = Some(vec!["alice@example.com".to_owned(), "bob@example.com".to_owned()]);
        for list in [
            " alice@example.com, bob@example.com\r\n",
            " Alice <alice@example.com>,\r\n\t\"Bob, Jr. <x@y>\" <bob@example.com>\r\n",
            " =?utf-8?q?Al=C3=AFce?= < alice@example.com > (at home (mostly)), <bob@example.com>",
            " (a\\) b@c) alice@example.com, \"bob@else.example\" <bob@example.com>",
        ] {
            assert_eq!(read(list), both, "{list}");
        }
        assert_eq!(read("\"a b\"@example.com"), Some(vec!["\"a b\"@example.com".to_owned()]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for list in [
            "",
            " ",
            "alice",
            "alice@example.com,",
            "boss@example.com <alice@example.com>",
            "<alice@example.com> boss@example.com",
            "<alice@example.com> <boss@example.com>",
            "<boss@example.com <alice@example.com>>",
            "<@route.example:alice@example.com>",
            "Group: alice@example.com;",
            "alice@example.com; boss@example.com",
            "\"alice@example.com",
            "(alice@example.com",
            "<alice@example.com",
            "alice@example.com\0",
            "alice @example.com",
        ] {
            assert_eq!(read(list), None, "{list:?}");
        }
    }

    #[test]
    fn fields_past_the_limit_cannot_be_read() {
        let mut claims = Claims::default();
        assert_eq!(claims.authors(), Some(Vec::new()));
        claims.begin(Claim::From);
        claims.push(Claim::From, b": alice@example.com\r\n");
        assert_eq!(claims.authors().map(|authors| authors.len()), Some(1));
        claims.begin(Claim::Sender);
        claims.push(Claim::Sender, &vec![b' '; FIELDS]);
        assert_eq!((claims.authors(), claims.sender()), (None, None));
    }
}
