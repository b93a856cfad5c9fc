//! A structured field's value and its parameters: `type/subtype; name=value; name*0*=utf-8''%41`.
//!
//! Reads what real senders write, and tells ([`Value::odd`]) when the grammar of RFC 2045 §5.1 or RFC 2231 was left, for
//! then parsers differ. Proof: tests below and of `header`.

use crate::{charset, limits, words};

/// A value with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Value {
    /// What stands before the first `;`, in lower case.
    pub main: String,
    /// Names in lower case, with values as they stand between the quotes.
    pub params: Vec<(String, String)>,
    /// The grammar was left, a name stands twice, or there is a comment.
    pub odd: bool,
}

impl Value {
    /// Reads a field's value, unfolded.
    pub fn parse(text: &str) -> Value {
        let mut cursor = Cursor { text, odd: false };
        let main = cursor.until(b";").trim().to_ascii_lowercase();
        let mut value = Value { odd: main.contains(['(', '"', ' ', '\t']), main, params: Vec::new() };
        while cursor.next_param() {
            let name = cursor.until(b"=;").trim().to_ascii_lowercase();
            if name.is_empty() && !cursor.text.starts_with('=') {
                continue;
            }
            let token = name.bytes().all(|c| c.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&c));
            cursor.odd |= !token || name.is_empty() || value.params.iter().any(|(seen, _)| *seen == name);
            if !cursor.text.starts_with('=') {
                cursor.odd = true;
                continue;
            }
            cursor.text = &cursor.text[1..];
            let content = cursor.value();
            value.params.push((name, content));
        }
        value.odd |= cursor.odd;
        value
    }

    /// A parameter written plainly.
    pub fn plain(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }

    /// A parameter in an extended or continued form of RFC 2231.
    pub fn is_extended(&self, name: &str) -> bool {
        self.params.iter().any(|(seen, _)| seen.strip_prefix(name).is_some_and(|tail| tail.starts_with('*')))
    }

    /// A parameter that people read, decoded: RFC 2231 wins over RFC 2047 over plain.
    pub fn text(&self, name: &str) -> Option<String> {
        let text = self.extended(name).or_else(|| self.plain(name).map(words::decode))?;
        Some(text.chars().take(limits::NAME).collect())
    }

    /// RFC 2231 §3 and §4: `name*=`, or `name*0=`, `name*1*=` and so on up to the first that is missing.
    fn extended(&self, name: &str) -> Option<String> {
        if let Some(value) = self.plain(&format!("{name}*")) {
            let (label, content) = labelled(value);
            return Some(charset::decode(label, &unescape(content)));
        }
        let (mut octets, mut label) = (Vec::new(), None);
        for at in 0..limits::NAME {
            let value = match (self.plain(&format!("{name}*{at}*")), self.plain(&format!("{name}*{at}"))) {
                (Some(value), _) if at == 0 => {
                    let (named, content) = labelled(value);
                    label = Some(named.unwrap_or("utf-8"));
                    unescape(content)
                }
                (Some(value), _) => unescape(value),
                (None, Some(value)) => value.as_bytes().to_vec(),
                (None, None) if at == 0 => return None,
                (None, None) => break,
            };
            octets.extend(value);
        }
        Some(match label {
            Some(label) => charset::decode(Some(label), &octets),
            None => words::decode(&charset::decode(None, &octets)),
        })
    }
}

/// `charset'language'content`.
fn labelled(value: &str) -> (Option<&str>, &str) {
    let mut fields = value.splitn(3, '\'');
    match (fields.next(), fields.next(), fields.next()) {
        (Some(label), Some(_), Some(content)) => (Some(label).filter(|label| !label.is_empty()), content),
        _ => (None, value),
    }
}

/// `%41`; what is no escape stays.
fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&octet, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| octet == b'%') {
            Some(escaped) => {
                out.push(escaped);
                rest = &behind[2..];
            }
            None => {
                out.push(octet);
                rest = behind;
            }
        }
    }
    out
}

struct Cursor<'a> {
    text: &'a str,
    odd: bool,
}

impl<'a> Cursor<'a> {
    /// Text up to one of these octets.
    fn until(&mut self, ends: &[u8]) -> &'a str {
        let end = self.text.bytes().position(|c| ends.contains(&c)).unwrap_or(self.text.len());
        let (taken, rest) = self.text.split_at(end);
        self.text = rest;
        taken
    }

    /// Moves behind the `;`.
    fn next_param(&mut self) -> bool {
        match self.text.strip_prefix(';') {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> String {
        self.text = self.text.trim_start();
        if !self.text.starts_with('"') {
            let value = self.until(b";").trim();
            self.odd |=
                value.is_empty() || !value.bytes().all(|c| c > b' ' && !b"()<>@,;:\\\"/[]?=".contains(&c));
            return value.to_owned();
        }
        let (mut value, mut characters) = (String::new(), self.text[1..].char_indices());
        let end = loop {
            match characters.next() {
                // `\` before other letters: C:\file from old Windows, not an escape.
                Some((_, '\\')) => match characters.next() {
                    Some((_, c @ ('"' | '\\'))) => value.push(c),
                    Some((_, c)) => value.extend(['\\', c]),
                    None => break None,
                },
                Some((at, '"')) => break Some(at + 2),
                Some((_, c)) => value.push(c),
                None => break None,
            }
        };
        self.odd |= end.is_none();
        self.text = &self.text[end.unwrap_or(self.text.len())..];
        self.odd |= !self.until(b";").trim().is_empty();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        Value::parse(text).text("filename")
    }

    #[test]
    fn names_are_read_in_all_their_forms() {
        for (text, want) in [
            ("attachment; filename=a.pdf", "a.pdf"),
            ("attachment; filename=\"a b.pdf\"", "a b.pdf"),
            ("attachment; filename=a b.pdf; x=y", "a b.pdf"),
            (r#"attachment; filename="a\"b\\c.pdf""#, r#"a"b\c.pdf"#),
            (r#"attachment; filename="C:\temp\a.pdf""#, r"C:\temp\a.pdf"),
            ("attachment; filename*=utf-8'de'%C3%BCber.pdf", "über.pdf"),
            ("attachment; filename=x; filename*=iso-8859-1''%FCber.pdf", "über.pdf"),
            ("attachment; filename*0=\"long \"; filename*1=\"name.pdf\"", "long name.pdf"),
            ("attachment; filename*1*=%BCber.pdf; filename*0*=utf-8''%C3", "über.pdf"),
            ("attachment; filename*0*=utf-8''a%20; filename*1=\"b%20.pdf\"", "a b%20.pdf"),
            ("attachment; filename=\"=?utf-8?B?w7xiZXI=?=.pdf\"", "über.pdf"),
            ("attachment; filename=\"über.pdf\"", "über.pdf"),
            ("attachment; filename*=%zz", "%zz"),
        ] {
            assert_eq!(name(text).as_deref(), Some(want), "{text}");
        }
        assert_eq!(name("attachment; filename"), None);
    }

    #[test]
    fn what_leaves_the_grammar_is_odd() {
        for text in [
            "text/plain (comment)",
            "text/plain; a",
            "text/plain; =b",
            "text/plain; a=b c",
            "text/plain; a=\"b",
            "text/plain; a=\"b\"c",
            "text/plain; a=b; A=c",
            "text/plain; a=(x)b",
            "text/plain; a=",
            "text/plain; a b=c",
        ] {
            assert!(Value::parse(text).odd, "{text}");
        }
        for text in
            ["text/plain", "text/plain;", "text/plain; a=b;; c=\"d\" ; e*=f''%20", "TEXT/Plain ; A = b"]
        {
            assert!(!Value::parse(text).odd, "{text}: {:?}", Value::parse(text));
        }
    }
}
