//! Transfer codings (RFC 2045 §6) and one strict decoder for all of them.
//! Never guesses: a body that is not clean is not to be taken out of its message. Proof: `base64`, `quoted`, tests below.

use std::fmt;

use crate::{base64, quoted};

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `7bit`, also when none is named.
    SevenBit,
    /// `8bit`.
    EightBit,
    /// `binary`.
    Binary,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
}

impl Coding {
    /// By the word of `Content-Transfer-Encoding`, in any case.
    pub fn of(word: &str) -> Option<Coding> {
        let known = [
            ("7bit", Coding::SevenBit),
            ("8bit", Coding::EightBit),
            ("binary", Coding::Binary),
            ("base64", Coding::Base64),
            ("quoted-printable", Coding::QuotedPrintable),
        ];
        known.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, coding)| coding)
    }

    /// The body's octets are the content's.
    pub fn is_identity(self) -> bool {
        matches!(self, Coding::SevenBit | Coding::EightBit | Coding::Binary)
    }
}

/// Why a body does not decode beyond doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclean(pub &'static str);

impl fmt::Display for Unclean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A strict decoder of any coding. A clone is a note of where the body stood.
#[derive(Clone, Debug)]
pub enum Decoder {
    /// Content as it is, without NUL (RFC 5322 §4 and RFC 2045 §2.8: readers stop or drop it).
    Identity,
    /// Base64.
    Base64(base64::Decoder),
    /// Quoted-printable.
    Quoted(quoted::Decoder),
}

impl Decoder {
    /// A decoder at a body's start.
    pub fn new(coding: Coding) -> Decoder {
        match coding {
            Coding::SevenBit | Coding::EightBit | Coding::Binary => Decoder::Identity,
            Coding::Base64 => Decoder::Base64(base64::Decoder::default()),
            Coding::QuotedPrintable => Decoder::Quoted(quoted::Decoder::default()),
        }
    }

    /// Decodes the next octets into `out`; nothing of them on an error.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unclean> {
        match self {
            Decoder::Identity if memchr::memchr(0, octets).is_some() => Err(Unclean("NUL in the body")),
            Decoder::Identity => {
                out.extend_from_slice(octets);
                Ok(())
            }
            Decoder::Base64(decoder) => decoder.push(octets, out),
            Decoder::Quoted(decoder) => decoder.push(octets, out),
        }
    }

    /// The body has ended: was it clean?
    pub fn finish(&self) -> Result<(), Unclean> {
        match self {
            Decoder::Identity => Ok(()),
            Decoder::Base64(decoder) => decoder.finish(),
            Decoder::Quoted(decoder) => decoder.finish(),
        }
    }

    /// Whether the raw octets so far could be written again from the decoded ones, with at most `changes` changes of
    /// line length.
    pub fn is_restorable(&self, changes: usize) -> bool {
        match self {
            Decoder::Identity => true,
            Decoder::Base64(decoder) => decoder.layout().is_some_and(|seen| seen <= changes),
            Decoder::Quoted(_) => false,
        }
    }
}

/// Writes raw octets again from decoded ones, for what [`Decoder::is_restorable`].
#[derive(Debug)]
pub enum Restorer {
    /// They are the same.
    Identity,
    /// Base64 in its lines.
    Base64(base64::Restorer),
}

impl Restorer {
    /// For what `decoder` was given so far; `None` if that cannot be written again.
    pub fn new(decoder: Decoder) -> Option<Restorer> {
        match decoder {
            Decoder::Identity => Some(Restorer::Identity),
            Decoder::Base64(decoder) if decoder.layout().is_some() => {
                Some(Restorer::Base64(base64::Restorer::new(decoder)))
            }
            _ => None,
        }
    }

    /// The next decoded octets.
    pub fn push(&mut self, decoded: &[u8], raw: &mut Vec<u8>) {
        match self {
            Restorer::Identity => raw.extend_from_slice(decoded),
            Restorer::Base64(restorer) => restorer.push(decoded, raw),
        }
    }

    /// All decoded octets were given.
    pub fn finish(self, raw: &mut Vec<u8>) {
        if let Restorer::Base64(restorer) = self {
            restorer.finish(raw);
        }
    }
}

/// A whole body decoded; only for bodies whose size the caller has bounded.
pub fn decode(coding: Coding, body: &[u8]) -> Result<Vec<u8>, Unclean> {
    let (mut decoder, mut out) = (Decoder::new(coding), Vec::new());
    decoder.push(body, &mut out)?;
    decoder.finish()?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_known_in_any_case_and_nothing_else_is() {
        assert_eq!(Coding::of("BASE64"), Some(Coding::Base64));
        assert_eq!(Coding::of("quoted-Printable"), Some(Coding::QuotedPrintable));
        assert_eq!(Coding::of("x-uuencode"), None);
    }

    #[test]
    fn identity_passes_all_but_nul() {
        assert_eq!(decode(Coding::Binary, b"\xff\r\n").unwrap(), b"\xff\r\n");
        assert!(decode(Coding::EightBit, b"a\0").is_err());
    }
}
