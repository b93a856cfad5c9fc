//! A large message, made while it is sent or written: plain text, or attachments in base64.
//!
//! The same octets come again and again, so that making them costs the load nothing; the files differ in their first line,
//! so that none is taken for another.

use std::borrow::Cow;
use vouchsafe_smtp::sasl::encode_base64;

/// Octets of content in a line of base64, and the line with its end.
const CONTENT: usize = 57;
const LINE: u64 = 78;
/// Lines of a piece: about 256 KiB.
const LINES: usize = 3360;
const BOUNDARY: &str = "=_bench";

/// The message.
pub struct Made {
    to: String,
    /// Attachments; 0: text.
    parts: u64,
    /// Pieces of each attachment, or of the text.
    pieces: u64,
    piece: Vec<u8>,
}

impl Made {
    /// Of about `size` octets in so many attachments.
    pub fn new(to: &str, size: u64, parts: u64) -> Made {
        let piece = if parts == 0 { text() } else { noise() };
        let pieces = size / parts.max(1) / piece.len() as u64;
        Made { to: to.to_owned(), parts, pieces: pieces.max(1), piece }
    }

    /// The whole message in order, without dot stuffing, which it does not need.
    pub fn pieces(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let one = |octets: Vec<u8>| std::iter::once(Cow::Owned(octets));
        let parts = (0..self.parts.max(1)).flat_map(move |part| one(self.part(part)).chain(self.body()));
        let end = if self.parts == 0 { String::new() } else { format!("--{BOUNDARY}--\r\n") };
        one(self.head()).chain(parts).chain(one(end.into_bytes()))
    }

    /// The lines of one attachment behind its first, or of the text.
    pub fn body(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        (0..self.pieces).map(|_| Cow::Borrowed(&self.piece[..]))
    }

    fn head(&self) -> Vec<u8> {
        let to = &self.to;
        let head = format!("From: load@bench.example\r\nTo: {to}\r\nSubject: large\r\n");
        let rest = match self.parts {
            // By it the sink tells whether it came whole.
            0 => format!("X-Len: {}\r\n\r\n", self.pieces * self.piece.len() as u64),
            _ => format!(
                "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\r\n\r\n--{BOUNDARY}\r\n\
                 Content-Type: text/plain\r\n\r\nHere they are.\r\n"
            ),
        };
        (head + &rest).into_bytes()
    }

    /// What stands before the content of an attachment.
    fn part(&self, number: u64) -> Vec<u8> {
        if self.parts == 0 {
            return Vec::new();
        }
        let mut first = [0; CONTENT];
        first[..8].copy_from_slice(&number.to_be_bytes());
        format!(
            "--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=part{number}.bin\r\n\r\n{}\r\n",
            encode_base64(&first)
        )
        .into_bytes()
    }
}

fn text() -> Vec<u8> {
    [[b'y'; LINE as usize - 2].as_slice(), b"\r\n"].concat().repeat(LINES)
}

/// Lines of base64 that no compression makes smaller.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut lines = Vec::with_capacity(LINES * LINE as usize);
    for _ in 0..LINES {
        let mut content = [0; CONTENT];
        for octet in &mut content {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            *octet = (state >> 56) as u8;
        }
        lines.extend_from_slice(encode_base64(&content).as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_are_as_large_as_told_and_differ() {
        let made = Made::new("user1@bench.example", 2_000_000, 3);
        let message = made.pieces().collect::<Vec<_>>().concat();
        let text = String::from_utf8(message).expect("base64 is ASCII");
        let files: Vec<&str> = text
            .split("\r\n\r\n")
            .filter(|part| part.contains("--=_bench") && part.len() > 500_000)
            .collect();
        assert_eq!(files.len(), 3);
        for file in &files {
            let lines: Vec<&str> = file.split("\r\n").take_while(|line| !line.starts_with("--")).collect();
            assert_eq!(lines.len() as u64, made.pieces * LINES as u64 + 1);
            assert!(lines.iter().all(|line| line.len() as u64 == LINE - 2));
        }
        assert_ne!(files[0][..76], files[1][..76]);
        assert!(text.ends_with("--=_bench--\r\n"));
        assert!(text.len() > 1_500_000 && text.len() < 2_100_000, "{}", text.len());
    }

    #[test]
    fn text_says_its_length() {
        let message = Made::new("user1@bench.example", 600_000, 0).pieces().collect::<Vec<_>>().concat();
        let text = String::from_utf8(message).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head ends");
        assert!(head.ends_with(&format!("X-Len: {}", body.len())), "{head}");
    }
}
