//! Bodies on the wire, the receiving half: the dot receiver and the BDAT counter, with their line-ending policy.
//!
//! Both hand back pieces of the caller's buffer, never copies; memory does not grow with the message. Only
//! CRLF.CRLF ends DATA (RFC 5321 §4.1.1.4): no false end with a bare CR, a bare LF or a NUL does, wherever the peer
//! cuts its segments. Proof: `transcripts/attacks/smuggle_*`, `transcripts/attacks/bdat_*`.

use memchr::memchr3;

/// What happens to a bare CR or bare LF in a body (a setting per listener, as Postfix has it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// The rest is consumed, the message answered `554 5.6.0`; nothing is kept.
    #[default]
    Reject,
    /// Made CRLF. A line that is a lone dot between bare newlines is stuffed content, never an end.
    Normalize,
}

/// What one step of a receiver found at the front of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The octets used are body, as they are.
    Octets,
    /// The octets used stand for these.
    Instead(&'static [u8]),
    /// The body (or this chunk of it) is whole.
    End,
    /// Nothing can be said before more octets come.
    More,
}

/// The one line ending that leaves here.
const CRLF: &[u8] = b"\r\n";

/// Reads a DATA body: finds its end, takes the stuffed dots away.
#[derive(Debug)]
pub struct DotReceiver {
    policy: BareNewline,
    /// A real CRLF (or the start of the body) came just before.
    line_start: bool,
    refused: bool,
}

impl DotReceiver {
    /// A receiver at the start of a body.
    pub fn new(policy: BareNewline) -> DotReceiver {
        DotReceiver { policy, line_start: true, refused: false }
    }
    /// True once the body held what must not be passed on; the rest is only searched for its end.
    pub fn refused(&self) -> bool {
        self.refused
    }
    /// Looks at the front of `input`; says how many octets were used and what they are.
    pub fn next(&mut self, input: &[u8]) -> (usize, Piece) {
        if self.line_start && input.first() == Some(&b'.') {
            return match input {
                [_] | [_, b'\r'] => (0, Piece::More),
                [_, b'\r', b'\n', ..] => (3, Piece::End),
                // RFC 5321 §4.5.2: the first dot of a longer line was put there by the sender's machine.
                _ => {
                    self.line_start = false;
                    (1, Piece::Instead(b""))
                }
            };
        }
        let at = clean(input, true);
        if at > 0 {
            self.line_start = input[..at].ends_with(CRLF);
            return (at, Piece::Octets);
        }
        match input {
            [] | [b'\r'] => (0, Piece::More),
            [octet, ..] => {
                // A bare newline never makes the dot behind it special.
                self.line_start = false;
                (1, replace(*octet, self.policy, &mut self.refused))
            }
        }
    }
}

/// Reads the chunks of a BDAT body (RFC 3030): counts, and holds the same policy on content. Dots are plain octets.
#[derive(Debug)]
pub struct ChunkReceiver {
    policy: BareNewline,
    remaining: u64,
    last: bool,
    /// What was handed out so far ends with CRLF, or is empty.
    line_start: bool,
    /// A CR was the last octet seen; the octet that tells what it is may be in the next chunk.
    held_cr: bool,
    refused: bool,
}

impl ChunkReceiver {
    /// A receiver before the first chunk.
    pub fn new(policy: BareNewline) -> ChunkReceiver {
        ChunkReceiver { policy, remaining: 0, last: false, line_start: true, held_cr: false, refused: false }
    }
    /// The next `size` octets are a chunk.
    pub fn begin(&mut self, size: u64, last: bool) {
        self.remaining = size;
        self.last = last;
    }
    /// True once the body held what must not be passed on.
    pub fn refused(&self) -> bool {
        self.refused
    }
    /// Looks at the front of `input`; says how many octets were used and what they are. `End` ends the chunk; before
    /// the end of the last one a missing CRLF is added, as what goes out by DATA must end in one.
    pub fn next(&mut self, input: &[u8]) -> (usize, Piece) {
        let held = std::mem::take(&mut self.held_cr);
        if self.remaining == 0 {
            return match (self.last, held) {
                (false, _) => {
                    self.held_cr = held;
                    (0, Piece::End)
                }
                (true, true) => self.bare(b'\r', 0),
                (true, false) if !self.line_start => {
                    self.line_start = true;
                    (0, Piece::Instead(CRLF))
                }
                (true, false) => (0, Piece::End),
            };
        }
        let input = &input[..usize::try_from(self.remaining).unwrap_or(usize::MAX).min(input.len())];
        let at = if held { 0 } else { clean(input, false) };
        self.remaining -= at as u64;
        if at > 0 {
            self.line_start = input[..at].ends_with(CRLF);
            return (at, Piece::Octets);
        }
        match input {
            [] => {
                self.held_cr = held;
                (0, Piece::More)
            }
            [b'\n', ..] if held => {
                self.remaining -= 1;
                self.line_start = true;
                (1, Piece::Instead(CRLF))
            }
            _ if held => self.bare(b'\r', 0),
            [b'\r'] => {
                self.remaining -= 1;
                self.held_cr = true;
                self.line_start = false;
                (1, Piece::Instead(b""))
            }
            [octet, ..] => {
                self.remaining -= 1;
                self.bare(*octet, 1)
            }
        }
    }

    fn bare(&mut self, octet: u8, used: usize) -> (usize, Piece) {
        self.line_start = true;
        (used, replace(octet, self.policy, &mut self.refused))
    }
}

/// What a bare CR, a bare LF or a NUL becomes. A NUL is never passed on (RFC 5321 §2.3.8 and §4.1.1.4 know only
/// CRLF; RFC 5322 §4 calls NUL obsolete, and readers end their strings there).
fn replace(octet: u8, policy: BareNewline, refused: &mut bool) -> Piece {
    if octet != 0 && policy == BareNewline::Normalize {
        return Piece::Instead(CRLF);
    }
    *refused = true;
    Piece::Instead(b"")
}

/// How many octets at the front are clean: whole CRLFs and no other CR, LF or NUL, and, with `dots`, up to the
/// first dot behind a CRLF. A CR at the very end is not yet clean. One search a line: a byte loop is ten times slower.
fn clean(input: &[u8], dots: bool) -> usize {
    let mut from = 0;
    while let Some(offset) = memchr3(b'\r', b'\n', 0, &input[from..]) {
        let at = from + offset;
        if input[at] != b'\r' || input.get(at + 1) != Some(&b'\n') {
            return at;
        }
        from = at + 2;
        if dots && input.get(from) == Some(&b'.') {
            return from;
        }
    }
    input.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `size`; gives the body, what came behind its end, and whether it was refused.
    fn dot(policy: BareNewline, input: &[u8], size: usize) -> Option<(Vec<u8>, Vec<u8>, bool)> {
        let mut receiver = DotReceiver::new(policy);
        let (mut buffer, mut body, mut rest) = (Vec::new(), Vec::new(), input.chunks(size));
        loop {
            let (used, piece) = receiver.next(&buffer);
            match piece {
                Piece::Octets => body.extend_from_slice(&buffer[..used]),
                Piece::Instead(octets) => body.extend_from_slice(octets),
                Piece::More => buffer.extend_from_slice(rest.next()?),
                Piece::End => {
                    let behind = [&buffer[used..], &rest.collect::<Vec<_>>().concat()[..]].concat();
                    return Some((body, behind, receiver.refused()));
                }
            }
            buffer.drain(..used);
        }
    }

    fn bdat(policy: BareNewline, chunks: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut receiver = ChunkReceiver::new(policy);
        let mut body = Vec::new();
        for (n, chunk) in chunks.iter().enumerate() {
            receiver.begin(chunk.len() as u64, n + 1 == chunks.len());
            let mut from = 0;
            loop {
                // One octet more than was counted must never be looked at.
                let (used, piece) = receiver.next(&[&chunk[from..], &b"\n"[..]].concat());
                match piece {
                    Piece::Octets => body.extend_from_slice(&chunk[from..from + used]),
                    Piece::Instead(octets) => body.extend_from_slice(octets),
                    Piece::More => panic!("all octets are there"),
                    Piece::End => break,
                }
                from += used;
            }
            assert_eq!(from, chunk.len());
        }
        (body, receiver.refused())
    }

    #[test]
    fn dots_are_unstuffed_and_only_a_true_end_ends_at_any_cut() {
        let input = b".\r.\r\n..\r\n.a\r\n\r\n...\r\nb\r\n.\r\nQUIT\r\n";
        for size in 1..=input.len() {
            let (body, rest, refused) = dot(BareNewline::Normalize, input, size).unwrap();
            assert_eq!(body, b"\r\n.\r\n.\r\na\r\n\r\n..\r\nb\r\n", "{size}");
            assert_eq!((rest, refused), (b"QUIT\r\n".to_vec(), false));
        }
        assert_eq!(dot(BareNewline::Reject, b".\r\n", 1), Some((vec![], vec![], false)));
    }

    #[test]
    fn a_false_end_is_content_or_a_fault() {
        for end in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\r.\r\n",
            b"\r\n.\n",
            b"\r\n.\r",
            b"\r.\r",
            b"\r.\n",
            b"\n.\r",
            b"\r\n\0.\r\n",
        ] {
            let input = [b"a", end, b"b\r\n.\r\n"].concat();
            for size in 1..=input.len() {
                assert!(dot(BareNewline::Reject, &input, size).unwrap().2, "{end:?}");
                let (body, rest, _) = dot(BareNewline::Normalize, &input, size).unwrap();
                assert!(body.ends_with(b"b\r\n") && rest.is_empty(), "{end:?}");
            }
        }
    }

    #[test]
    fn chunks_are_counted_and_normalized_across_their_edges() {
        let normal = |chunks: &[&[u8]]| bdat(BareNewline::Normalize, chunks);
        assert_eq!(normal(&[b"a\r", b"\n.\r\n"]), (b"a\r\n.\r\n".to_vec(), false));
        assert_eq!(normal(&[b"a\r", b"", b"b\n"]), (b"a\r\nb\r\n".to_vec(), false));
        assert_eq!(normal(&[b"a\r", b""]), (b"a\r\n".to_vec(), false));
        assert_eq!(normal(&[b"a", b"b"]), (b"ab\r\n".to_vec(), false));
        assert_eq!(normal(&[b""]), (b"".to_vec(), false));
        assert!(normal(&[b"a\0b"]).1);
        assert_eq!(bdat(BareNewline::Reject, &[b"a\r", b"\n"]), (b"a\r\n".to_vec(), false));
        for bad in [&[&b"a\r"[..], b"b"][..], &[b"a\r"], &[b"\n"], &[b"a\r\r\n"]] {
            assert!(bdat(BareNewline::Reject, bad).1, "{bad:?}");
        }
    }
}
