//! Replies as they come off the wire: bounded, strict, made printable.
//!
//! Only CRLF ends a line; three digits, then a blank, a hyphen or the end; all lines of a reply carry the same code.
//! Everything else is garbage, and garbage ends the connection: a peer that is out of step is never guessed at.
//! Proof: `transcripts/client/reply_*`.

use crate::reply::{Enhanced, Reply, printable};
use memchr::memchr;

/// Octets kept of one line; the rest of it is read and thrown away.
pub const REPLY_LINE: usize = 4 * 1024;
/// Lines in one reply.
pub const REPLY_LINES: usize = 100;
/// Octets in one reply, line ends included.
pub const REPLY_OCTETS: usize = 64 * 1024;

/// Octets that came and the reply being put together of them.
#[derive(Default)]
pub(super) struct Incoming {
    buffer: Vec<u8>,
    /// Where the first octet not yet taken stands.
    start: usize,
    /// Where the search for the line's end goes on: octets that come one by one are looked at once.
    scanned: usize,
    partial: Partial,
}

/// The lines of a reply whose last line has not come yet.
#[derive(Default)]
struct Partial {
    code: u16,
    lines: usize,
    octets: usize,
    enhanced: Option<Enhanced>,
    text: String,
}

impl Incoming {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// True if nothing is left that was not taken, not even part of a line.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.buffer.len() && self.partial.lines == 0
    }

    /// Gives memory back when nothing is left.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Incoming::default();
        }
    }

    /// The next whole reply, `keep` octets of each line at the most. `seen` gets each of its lines. `Err` says what is
    /// wrong with the octets.
    pub(super) fn next(&mut self, keep: usize, mut seen: impl FnMut(&[u8])) -> Result<Option<Reply>, String> {
        loop {
            let Some(end) = memchr(b'\n', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                if self.partial.octets + (self.buffer.len() - self.start) > REPLY_OCTETS {
                    return Err(format!("a reply of more than {REPLY_OCTETS} octets"));
                }
                if self.start > 0 {
                    self.buffer.drain(..self.start);
                    self.scanned -= self.start;
                    self.start = 0;
                }
                return Ok(None);
            };
            let end = self.scanned + end;
            let whole = &self.buffer[self.start..=end];
            let Some(line) = whole.strip_suffix(b"\r\n") else {
                return Err(format!("a line without CR: {}", printable(whole, 80)));
            };
            self.partial.octets += whole.len();
            seen(&line[..line.len().min(REPLY_LINE)]);
            let done = self.partial.add(line, keep);
            self.start = end + 1;
            self.scanned = self.start;
            if done? {
                let partial = std::mem::take(&mut self.partial);
                let Partial { code, enhanced, text, .. } = partial;
                return Ok(Some(Reply { code, enhanced, text: text.into() }));
            }
        }
    }
}

impl Partial {
    /// Takes a line without its CRLF; true if it is the last one.
    fn add(&mut self, line: &[u8], keep: usize) -> Result<bool, String> {
        let odd = || Err(format!("not a reply: {}", printable(line, 80)));
        let (code, rest) = match line {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
                let digit = |octet: &u8| u16::from(octet - b'0');
                (100 * digit(a) + 10 * digit(b) + digit(c), rest)
            }
            _ => return odd(),
        };
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return odd(),
        };
        if self.lines > 0 && code != self.code {
            return Err(format!("{} and {code} in one reply", self.code));
        }
        self.code = code;
        self.lines += 1;
        if self.lines > REPLY_LINES {
            return Err(format!("a reply of more than {REPLY_LINES} lines"));
        }
        if self.octets > REPLY_OCTETS {
            return Err(format!("a reply of more than {REPLY_OCTETS} octets"));
        }
        let text = &text[..text.len().min(keep)];
        let (enhanced, text) = split_enhanced(text);
        self.enhanced = self.enhanced.or(enhanced);
        if self.lines > 1 {
            self.text.push('\n');
        }
        match std::str::from_utf8(text) {
            Ok(plain) if plain.bytes().all(|octet| matches!(octet, b' '..=b'~')) => self.text.push_str(plain),
            _ => self.text.push_str(&printable(text, keep)),
        }
        Ok(last)
    }
}

/// The enhanced code of a line and the text without it. It stands in front (`5.1.1 ...`, `#5.1.0 ...`) or, kept in
/// the text, in parentheses anywhere (`no such user (#5.1.1)`).
fn split_enhanced(text: &[u8]) -> (Option<Enhanced>, &[u8]) {
    let front = text.strip_prefix(b"#").unwrap_or(text);
    if let Some((enhanced, rest)) = parse_enhanced(front) {
        match rest {
            [] => return (Some(enhanced), rest),
            [b' ', rest @ ..] => return (Some(enhanced), rest),
            _ => {}
        }
    }
    let mut rest = text;
    while let Some(at) = memchr(b'(', rest) {
        rest = &rest[at + 1..];
        let inner = rest.strip_prefix(b"#").unwrap_or(rest);
        if let Some((enhanced, [b')', ..])) = parse_enhanced(inner) {
            return (Some(enhanced), text);
        }
    }
    (None, text)
}

/// `class "." subject "." detail` (RFC 3463 §2) in front of `text`, and what stands behind it.
fn parse_enhanced(text: &[u8]) -> Option<(Enhanced, &[u8])> {
    let [class @ (b'2' | b'4' | b'5'), b'.', rest @ ..] = text else { return None };
    let (subject, rest) = parse_number(rest)?;
    let [b'.', rest @ ..] = rest else { return None };
    let (detail, rest) = parse_number(rest)?;
    Some((Enhanced(class - b'0', subject, detail), rest))
}

/// One to three digits.
fn parse_number(text: &[u8]) -> Option<(u16, &[u8])> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) {
        return None;
    }
    let number = text[..digits].iter().fold(0, |n, octet| 10 * n + u16::from(octet - b'0'));
    Some((number, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Result<Option<Reply>, String> {
        let mut incoming = Incoming::default();
        incoming.push(bytes);
        incoming.next(REPLY_LINE, |_| ())
    }

    fn enhanced(line: &str) -> Option<Enhanced> {
        parse(line.as_bytes()).unwrap().unwrap().enhanced
    }

    #[test]
    fn enhanced_codes_are_found_where_servers_put_them() {
        assert_eq!(enhanced("550 5.1.10 RESOLVER\r\n"), Some(Enhanced(5, 1, 10)));
        assert_eq!(enhanced("550 sorry, no mailbox here (#5.1.1)\r\n"), Some(Enhanced(5, 1, 1)));
        assert_eq!(enhanced("550 #5.1.0 Address rejected.\r\n"), Some(Enhanced(5, 1, 0)));
        assert_eq!(enhanced("550 5.1.1\r\n"), Some(Enhanced(5, 1, 1)));
        assert_eq!(enhanced("550 no (really) (5.2.1) one\r\n"), Some(Enhanced(5, 2, 1)));
    }

    #[test]
    fn what_only_looks_like_an_enhanced_code_is_text() {
        for line in [
            "550 5.1 x\r\n",
            "550 5.1.1234 x\r\n",
            "550 10.5.1.1 x\r\n",
            "550 3.1.1 x\r\n",
            "550 5.1.1.1\r\n",
        ] {
            assert_eq!(enhanced(line), None, "{line}");
        }
    }

    #[test]
    fn lines_of_a_reply_are_joined_without_their_codes() {
        let reply = parse(b"550-5.1.1 one\r\n550 5.1.1 two\r\n").unwrap().unwrap();
        assert_eq!(reply, Reply::new(550, (5, 1, 1), "one\ntwo"));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_replies(cut in 0usize..60, other in 0usize..60) {
            let whole = b"250-a\r\n250 b\r\n550 5.1.1 no\r\n354\r\n421 4.3.2 bye\r\n";
            let all = |pieces: &[&[u8]]| {
                let mut incoming = Incoming::default();
                let mut replies = Vec::new();
                for piece in pieces {
                    incoming.push(piece);
                    while let Some(reply) = incoming.next(REPLY_LINE, |_| ()).unwrap() {
                        replies.push(reply);
                    }
                }
                assert!(incoming.is_empty());
                replies
            };
            let cut = cut.min(whole.len());
            let (head, tail) = whole.split_at(cut);
            let (middle, end) = tail.split_at(other.min(tail.len()));
            prop_assert_eq!(all(&[whole]), all(&[head, middle, end]));
        }

        #[test]
        fn no_octets_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut incoming = Incoming::default();
            incoming.push(&bytes);
            while let Ok(Some(_)) = incoming.next(REPLY_LINE, |_| ()) {}
        }
    }
}
