//! Bodies on their way out through DATA: dot-stuffed from parsed lines (RFC 5321 §4.5.2).
//!
//! What leaves here holds CRLF as its only line end, no NUL, and `CRLF . CRLF` once: at its end. Content at rest
//! should hold no bare CR, bare LF or NUL; if it does, they become CRLF or go, so that no peer, however it reads
//! them, sees an end that is none (CVE-2023-51764 and its kin). Everything else passes untouched.
//! Proof: the tests below, `transcripts/client/deliver_dot_*`.

use memchr::memchr3;

/// Stuffs a body that comes in chunks.
#[derive(Debug)]
pub struct Stuffer {
    /// The next octet starts a line.
    line_start: bool,
    /// The last octet was a CR whose LF may still come.
    after_cr: bool,
}

impl Default for Stuffer {
    fn default() -> Stuffer {
        Stuffer::new()
    }
}

impl Stuffer {
    /// At the start of a body.
    pub fn new() -> Stuffer {
        Stuffer { line_start: true, after_cr: false }
    }

    /// Appends a chunk to `out` as it goes on the wire.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        out.reserve(chunk.len() + chunk.len() / 64 + 8);
        let mut rest = chunk;
        if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        loop {
            let end = memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
            self.text(&rest[..end], out);
            let Some(&octet) = rest.get(end) else { return };
            rest = &rest[end + 1..];
            if octet == 0 {
                continue;
            }
            out.extend_from_slice(b"\r\n");
            self.line_start = true;
            if octet == b'\r' {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
        }
    }

    /// Ends the last line if it has no end, and appends the final dot.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }

    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if let Some(first) = text.first() {
            if self.line_start && *first == b'.' {
                out.push(b'.');
            }
            self.line_start = false;
            out.extend_from_slice(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuff(chunks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut stuffer = Stuffer::new();
        for chunk in chunks {
            stuffer.push(chunk, &mut out);
        }
        stuffer.finish(&mut out);
        out
    }

    #[test]
    fn dots_at_line_starts_are_doubled_and_no_others() {
        assert_eq!(stuff(&[b".a\r\n..\r\nb.\r\n"]), b"..a\r\n...\r\nb.\r\n.\r\n");
    }

    #[test]
    fn a_body_without_line_end_gets_one() {
        assert_eq!(stuff(&[b"a"]), b"a\r\n.\r\n");
        assert_eq!(stuff(&[]), b".\r\n");
        assert_eq!(stuff(&[b"a\r"]), b"a\r\n.\r\n");
    }

    #[test]
    fn no_stored_octets_make_an_end_before_the_end() {
        let ends: [&[u8]; 3] = [b"\r\n", b"\n", b"\r"];
        let fills: [&[u8]; 3] = [b"", b"\0", b"\0\0"];
        for before in ends {
            for after in ends {
                for (fill, other) in fills.iter().flat_map(|f| fills.iter().map(move |o| (f, o))) {
                    let body = [b"a", before, fill, b".", other, after, b"MAIL FROM:<x@y>\r\n"].concat();
                    assert_eq!(stuff(&[&body]), b"a\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\n", "{body:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_octets(
            body in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(0), Just(b'a')], 0..40),
            cut in 0usize..40,
        ) {
            let (head, tail) = body.split_at(cut.min(body.len()));
            prop_assert_eq!(stuff(&[&body]), stuff(&[head, tail]));
            let bytewise: Vec<&[u8]> = body.chunks(1).collect();
            let whole = stuff(&bytewise);
            prop_assert_eq!(stuff(&[&body]), whole.clone());
            let end = whole.windows(5).position(|w| w == b"\r\n.\r\n");
            prop_assert!(end.is_none_or(|at| at + 5 == whole.len()));
            prop_assert!(!whole.contains(&0));
        }
    }
}
