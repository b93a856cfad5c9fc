//! What a part's `Content-` fields say, and whether all parsers would read them so.
//!
//! Only these fields are kept; what else a header holds is passed by. Proof: tests below, `tests/scanner.rs`.

use crate::coding::Coding;
use crate::params::Value;
use crate::{charset, limits};

/// RFC 2183 §2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disposition {
    /// No such field.
    #[default]
    None,
    /// `inline`.
    Inline,
    /// `attachment`, and any word that is not known (RFC 2183 §2.8).
    Attachment,
}

/// Where a `Content-` field stands in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, in lower case.
    pub name: String,
    /// Its first octet.
    pub from: u64,
    /// Behind its last line end.
    pub to: u64,
}

/// The facts of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `text` of `text/plain`; in lower case, as the next.
    pub main: String,
    /// `plain`.
    pub sub: String,
    /// Parameters of the type, as they stand, but `name` and `boundary`.
    pub params: Vec<(String, String)>,
    /// `charset`.
    pub charset: Option<String>,
    /// `boundary`.
    pub boundary: Option<String>,
    /// Of a body, `None` if it is not known.
    pub coding: Option<Coding>,
    /// Disposition.
    pub disposition: Disposition,
    /// File name, decoded, as the sender wrote it: never a path, never shown before it is made safe ([`crate::name`]).
    pub name: Option<String>,
    /// `Content-ID`, without its brackets.
    pub content_id: Option<String>,
    /// `Content-Language`, its first.
    pub language: Option<String>,
    /// The fields, in their order.
    pub fields: Vec<Field>,
    /// Why parsers could read this part in different ways: then it is to be left as it is.
    pub ambiguous: Option<&'static str>,
}

impl Header {
    /// `type/subtype`.
    pub fn media_type(&self) -> String {
        format!("{}/{}", self.main, self.sub)
    }
    /// Is it of this type?
    pub fn is(&self, main: &str, sub: &str) -> bool {
        self.main == main && self.sub == sub
    }
    pub(crate) fn doubt(&mut self, why: &'static str) {
        self.ambiguous.get_or_insert(why);
    }
}

/// Gathers `Content-` fields as they come.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    fields: Vec<(Field, Vec<u8>)>,
    doubt: Option<&'static str>,
    octets: usize,
}

impl Gather {
    pub fn doubt(&mut self, why: &'static str) {
        self.doubt.get_or_insert(why);
    }

    pub fn octets(&self) -> usize {
        self.octets
    }

    /// A field with its folds, ending at `to`.
    pub fn field(&mut self, line: &[u8], from: u64, to: u64) {
        let Some(colon) = memchr::memchr(b':', line) else {
            return self.doubt("a header line that is no field");
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let trimmed = name.trim_ascii_end();
        if trimmed.is_empty() || !trimmed.iter().all(u8::is_ascii_graphic) {
            return self.doubt("a header line that is no field");
        }
        let name = String::from_utf8_lossy(trimmed).to_ascii_lowercase();
        if !name.starts_with("content-") {
            return;
        }
        if trimmed.len() < colon {
            self.doubt("blanks before the colon of a Content field");
        }
        if line.len() > limits::FIELD {
            self.doubt("a Content field that is too long");
        }
        self.octets += line.len();
        self.fields.push((Field { name, from, to }, value.to_vec()));
    }

    /// All fields have come. `digest`: the default type of a part is `message/rfc822` (RFC 2046 §5.1.5).
    pub fn finish(self, digest: bool) -> Header {
        let mut header =
            Header { ambiguous: self.doubt, coding: Some(Coding::SevenBit), ..Header::default() };
        for name in ["content-type", "content-transfer-encoding", "content-disposition", "content-id"] {
            if self.fields.iter().filter(|(field, _)| field.name == name).count() > 1 {
                header.doubt("a Content field that stands twice");
            }
        }
        let value = |name: &str| {
            let found = self.fields.iter().find(|(field, _)| field.name == name);
            found.map(|(_, value)| unfold(value))
        };
        if self.fields.iter().any(|(_, value)| value.contains(&0)) {
            header.doubt("NUL in a Content field");
        }
        content_type(&mut header, value("content-type"), digest);
        if let Some(word) = value("content-transfer-encoding") {
            header.coding = Coding::of(word.trim());
            if header.coding.is_none() {
                header.doubt("a transfer encoding that is not known");
            }
        }
        let type_name = header.name.take();
        if let Some(text) = value("content-disposition") {
            let disposition = Value::parse(&text);
            header.disposition = match disposition.main.as_str() {
                "inline" => Disposition::Inline,
                "" => Disposition::None,
                _ => Disposition::Attachment,
            };
            header.name = disposition.text("filename");
        }
        header.name = header.name.take().filter(|name| !name.trim().is_empty()).or(type_name);
        header.content_id = value("content-id").map(|id| id.trim().trim_matches(['<', '>']).to_owned());
        header.language = value("content-language")
            .and_then(|text| text.split(',').next().map(|first| first.trim().to_ascii_lowercase()));
        header.fields = self.fields.into_iter().map(|(field, _)| field).collect();
        header
    }
}

fn content_type(header: &mut Header, text: Option<String>, digest: bool) {
    let Some(text) = text else {
        let (main, sub) = if digest { ("message", "rfc822") } else { ("text", "plain") };
        (header.main, header.sub) = (main.to_owned(), sub.to_owned());
        return;
    };
    let value = Value::parse(&text);
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&c))
    };
    match value.main.split_once('/') {
        Some((main, sub)) if token(main) && token(sub) => {
            (header.main, header.sub) = (main.to_owned(), sub.to_owned());
        }
        _ => header.doubt("a type that is none"),
    }
    header.charset = value.text("charset");
    header.name = value.text("name").filter(|name| !name.trim().is_empty());
    if header.main == "multipart" {
        boundary(header, &value);
    }
    let kept = |(name, _): &(String, String)| !name.starts_with("name") && !name.starts_with("boundary");
    header.params = value.params.into_iter().filter(kept).collect();
}

/// A multipart whose boundary is not beyond doubt is not looked into.
fn boundary(header: &mut Header, value: &Value) {
    match value.plain("boundary") {
        _ if value.odd => header.doubt("a multipart's type that leaves the grammar"),
        _ if value.is_extended("boundary") => header.doubt("a boundary in an extended form"),
        None | Some("") => header.doubt("a multipart without a boundary"),
        Some(boundary) if boundary.len() > limits::BOUNDARY => header.doubt("a boundary that is too long"),
        Some(boundary) if boundary.ends_with([' ', '\t']) || !boundary.is_ascii() => {
            header.doubt("a boundary that RFC 2046 does not allow");
        }
        Some(boundary) => header.boundary = Some(boundary.to_owned()),
    }
}

/// RFC 5322 §2.2.3; octets above 127 are UTF-8 (RFC 6532) or what they look like.
fn unfold(value: &[u8]) -> String {
    let octets: Vec<u8> = value.iter().copied().filter(|c| !b"\r\n".contains(c)).collect();
    charset::decode(None, &octets).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fields: &[&str]) -> Header {
        let mut gather = Gather::default();
        for field in fields {
            gather.field(field.as_bytes(), 0, field.len() as u64);
        }
        gather.finish(false)
    }

    #[test]
    fn facts_are_read() {
        let pdf = header(&[
            "Content-Type: application/PDF;\r\n\tname=\"=?utf-8?Q?=C3=BC.pdf?=\"; x=y\r\n",
            "Subject: none of ours\r\n",
            "Content-Transfer-Encoding: BASE64\r\n",
            "content-disposition: attachment; size=3\r\n",
            "Content-ID: <a@b>\r\n",
            "Content-Language: de-AT, en\r\n",
        ]);
        assert!(pdf.is("application", "pdf") && pdf.ambiguous.is_none());
        assert_eq!(pdf.name.as_deref(), Some("ü.pdf"));
        assert_eq!((pdf.coding, pdf.disposition), (Some(Coding::Base64), Disposition::Attachment));
        assert_eq!((pdf.content_id.as_deref(), pdf.language.as_deref()), (Some("a@b"), Some("de-at")));
        assert_eq!(pdf.params, [("x".to_owned(), "y".to_owned())]);
        assert_eq!(pdf.fields.len(), 5);
        assert!(header(&[]).is("text", "plain"));
    }

    #[test]
    fn what_parsers_could_disagree_on_is_ambiguous() {
        for fields in [
            &["Content-Type: text/plain\r\n", "Content-Type: text/html\r\n"][..],
            &["Content-Transfer-Encoding: base64\r\n", "Content-Transfer-Encoding: 7bit\r\n"],
            &["Content-Transfer-Encoding: x-uuencode\r\n"],
            &["Content-Transfer-Encoding: base64 (really)\r\n"],
            &["Content-Type: text\r\n"],
            &["Content-Type: multipart/mixed\r\n"],
            &["Content-Type: multipart/mixed; boundary=\"\"\r\n"],
            &["Content-Type: multipart/mixed; boundary=a; boundary=b\r\n"],
            &["Content-Type: multipart/mixed; boundary*=us-ascii''a\r\n"],
            &["Content-Type: multipart/mixed; boundary*0=a; boundary=a\r\n"],
            &["Content-Type: multipart/mixed; boundary=a (c)\r\n"],
            &["Content-Type: multipart/mixed; boundary=\"a \"\r\n"],
            &["Content-Type : text/plain\r\n"],
            &["no field\r\n"],
            &["Content-Type: text/plain\0\r\n"],
        ] {
            assert!(header(fields).ambiguous.is_some(), "{fields:?}");
        }
    }

    #[test]
    fn a_folded_boundary_is_read() {
        let folded = header(&["Content-Type: multipart/mixed;\r\n boundary=\r\n\t\"a b\"\r\n"]);
        assert_eq!((folded.boundary.as_deref(), folded.ambiguous), (Some("a b"), None));
    }
}
