//! Replies: three digits, an enhanced status code, text (RFC 5321 §4.2, RFC 2034, RFC 3463).
//! Text from a peer passes [`printable`] before it becomes part of a reply of ours.

use std::borrow::Cow;
use std::fmt;

/// Enhanced status code X.Y.Z of RFC 3463. Details go up to 999, so `u16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// One reply, ours or a peer's. `text` may hold several lines, parted by `\n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced status code; its class equals the code's first digit in every reply of ours.
    pub enhanced: Option<Enhanced>,
    /// Text without code and without enhanced code; printable.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status code, e.g. `Reply::new(550, (5, 1, 1), "No such user")`.
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<Cow<'static, str>>) -> Reply {
        debug_assert_eq!(u16::from(enhanced.0), code / 100, "RFC 2034: the classes agree");
        Reply { code, enhanced: Some(Enhanced(enhanced.0, enhanced.1, enhanced.2)), text: text.into() }
    }
    /// A reply that has no enhanced code: banner, EHLO, 3yz, 251 and the like (RFC 2034 §3).
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, enhanced: None, text: text.into() }
    }
    /// 2yz or 3yz.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }
    /// 4yz: try again later.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }
    /// 5yz: do not try again.
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }
    /// The reply as it goes on the wire, all lines with CRLF, appended to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let sep = if lines.peek().is_some() { '-' } else { ' ' };
            out.extend_from_slice(format!("{}{sep}", self.code).as_bytes());
            if let Some(enhanced) = self.enhanced {
                out.extend_from_slice(format!("{enhanced} ").as_bytes());
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Code, enhanced code and first line, as logs, pages and DSNs show it: `550 5.1.1 No such user`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in self.text.split('\n') {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

/// A peer's octets made fit for logs, pages and replies: one line, no control or bidi characters, at most
/// `max` characters (an ellipsis marks a cut).
pub fn printable(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    for (n, c) in text.trim_end_matches(['\r', '\n']).chars().enumerate() {
        if n == max {
            out.push('…');
            break;
        }
        let odd = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        out.push(if odd { '?' } else { c });
    }
    out
}
