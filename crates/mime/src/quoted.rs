//! Quoted-printable (RFC 2045 §6.7), strictly one way and properly the other.
//!
//! Strict means: what decoders are known to treat differently (blanks at a line's end, stray `=`, octets that should
//! have been encoded, bare CR or LF) is [`Unclean`]. Proof: tests below.

use crate::coding::Unclean;

/// Longest encoded line (RFC 2045 §6.7 rule 5).
const LINE: usize = 76;

/// Where the decoder stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// Behind a blank: no line end may follow.
    Blank,
    /// Behind a CR.
    Cr,
    /// Behind `=`.
    Escape,
    /// Behind `=` and a digit.
    Digit(u8),
    /// Behind `=` and CR.
    Soft,
}

/// A strict decoder.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    at: At,
}

impl Decoder {
    /// Decodes the next octets into `out`. After an error the body is not clean.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unclean> {
        let start = out.len();
        for &octet in octets {
            match self.step(octet, out) {
                Ok(at) => self.at = at,
                Err(unclean) => {
                    out.truncate(start);
                    return Err(unclean);
                }
            }
        }
        Ok(())
    }

    fn step(&self, octet: u8, out: &mut Vec<u8>) -> Result<At, Unclean> {
        match (self.at, octet) {
            (At::Text | At::Blank, b'=') => Ok(At::Escape),
            (At::Text, b'\r') => Ok(At::Cr),
            (At::Text | At::Blank, b' ' | b'\t') => {
                out.push(octet);
                Ok(At::Blank)
            }
            (At::Text | At::Blank, b'!'..=b'~') => {
                out.push(octet);
                Ok(At::Text)
            }
            (At::Blank, b'\r') => Err(Unclean("blanks at a line's end in quoted-printable")),
            (At::Text | At::Blank, _) => Err(Unclean("octets that quoted-printable does not carry")),
            (At::Cr, b'\n') => {
                out.extend_from_slice(b"\r\n");
                Ok(At::Text)
            }
            (At::Cr, _) => Err(Unclean("a bare carriage return in quoted-printable")),
            (At::Escape, b'\r') => Ok(At::Soft),
            (At::Escape, _) => digit(octet).map(At::Digit),
            (At::Digit(high), _) => {
                out.push(high << 4 | digit(octet)?);
                Ok(At::Text)
            }
            (At::Soft, b'\n') => Ok(At::Text),
            (At::Soft, _) => Err(Unclean("a stray = in quoted-printable")),
        }
    }

    /// The body has ended: was it clean?
    pub fn finish(&self) -> Result<(), Unclean> {
        match self.at {
            At::Text => Ok(()),
            At::Blank => Err(Unclean("blanks at a line's end in quoted-printable")),
            _ => Err(Unclean("quoted-printable ends in the middle of something")),
        }
    }
}

fn digit(octet: u8) -> Result<u8, Unclean> {
    match octet {
        b'0'..=b'9' => Ok(octet - b'0'),
        b'A'..=b'F' => Ok(octet - b'A' + 10),
        b'a'..=b'f' => Ok(octet - b'a' + 10),
        _ => Err(Unclean("a stray = in quoted-printable")),
    }
}

/// Encodes text whose lines end in CRLF; what is no line end is octets. The last line need not end.
pub fn encode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    let (mut line, mut rest) = (0, text);
    while let Some((&octet, behind)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            (line, rest) = (0, &rest[2..]);
            continue;
        }
        let line_ends = behind.is_empty() || behind.starts_with(b"\r\n");
        let plain = match octet {
            b'=' => false,
            b' ' | b'\t' => !line_ends,
            // A dot or a From at a line's start is changed by careless relays.
            b'.' | b'F' => line > 0,
            b'!'..=b'~' => true,
            _ => false,
        };
        let width = if plain { 1 } else { 3 };
        if line + width > LINE - usize::from(!line_ends) {
            out.extend_from_slice(b"=\r\n");
            line = 0;
        }
        match plain {
            true => out.push(octet),
            false => escape(octet, &mut out),
        }
        line += width;
        rest = behind;
    }
    out
}

fn escape(octet: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'=', DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]);
}

/// Encodes a text without line ends to stand anywhere in a line: on lines of its own, joined to its neighbours by soft
/// line ends.
pub fn encode_alone(text: &[u8]) -> Vec<u8> {
    let mut out = b"=\r\n".to_vec();
    out.extend(encode(text));
    out.extend_from_slice(b"=\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(chunks: &[&[u8]]) -> Result<Vec<u8>, Unclean> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for chunk in chunks {
            decoder.push(chunk, &mut out)?;
        }
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn clean_text_decodes() {
        assert_eq!(decode(&[b"Gr=C3=BC=c3=9Fe\r\nlong=\r\n line"]).unwrap(), "Grüße\r\nlong line".as_bytes());
    }

    #[test]
    fn what_decoders_read_differently_is_not_clean() {
        for body in
            ["a \r\n", "a ", "a=", "a=4", "a=4g", "a= \r\n", "\u{e4}", "a\nb", "a\rb", "a\0b", "a=\n", "\r"]
        {
            assert!(decode(&[body.as_bytes()]).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(
            text in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'='), any::<u8>()], 0..400),
            cut in 0usize..400,
        ) {
            let encoded = encode(&text);
            prop_assert!(encoded.split(|c| *c == b'\n').all(|line| line.len() <= LINE + 1));
            let (a, b) = encoded.split_at(cut.min(encoded.len()));
            prop_assert_eq!(decode(&[a, b]).unwrap(), &text[..]);
            let alone: Vec<u8> = text.iter().copied().filter(|c| !b"\r\n".contains(c)).collect();
            let mut around = b"a".to_vec();
            around.extend(encode_alone(&alone));
            around.push(b'z');
            let whole = [b"a".as_slice(), &alone, b"z"].concat();
            prop_assert_eq!(decode(&[&around]).unwrap(), whole);
        }
    }
}
