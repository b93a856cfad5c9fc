//! Charsets by their label: to Unicode and back. What a label does not name is taken for what its octets look like.
//! Never fails: octets that mean nothing become U+FFFD. Proof: tests below.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

fn encoding(label: Option<&str>) -> Option<&'static Encoding> {
    // RFC 2045 §5.2: us-ascii when none is named.
    Encoding::for_label_no_replacement(label.unwrap_or("us-ascii").trim().as_bytes())
}

/// Octets as text. An unknown label: UTF-8 if they are that, else Windows-1252.
pub fn decode(label: Option<&str>, octets: &[u8]) -> String {
    let named = encoding(label).filter(|_| label.is_some());
    let encoding = match named {
        Some(encoding) => encoding,
        None if std::str::from_utf8(octets).is_ok() => UTF_8,
        None => WINDOWS_1252,
    };
    encoding.decode_without_bom_handling(octets).0.into_owned()
}

/// Octets as text, if the label is known and every octet means something in it. US-ASCII is meant literally.
pub fn decode_strictly(label: Option<&str>, octets: &[u8]) -> Option<String> {
    if is_ascii(label) {
        return octets.is_ascii().then(|| String::from_utf8_lossy(octets).into_owned());
    }
    let text = encoding(label)?.decode_without_bom_handling_and_without_replacement(octets)?;
    Some(text.into_owned())
}

/// Text in this charset; `None` if the charset is unknown or lacks a character.
pub fn encode(label: Option<&str>, text: &str) -> Option<Vec<u8>> {
    if text.is_ascii() && is_ascii_superset(label) {
        return Some(text.as_bytes().to_vec());
    }
    if is_ascii(label) {
        return None;
    }
    let encoding = encoding(label)?;
    if encoding.output_encoding() != encoding {
        return None;
    }
    let (octets, _, lossy) = encoding.encode(text);
    (!lossy).then(|| octets.into_owned())
}

/// US-ASCII is named, or nothing is.
pub fn is_ascii(label: Option<&str>) -> bool {
    label.is_none_or(|label| ["us-ascii", "ascii"].iter().any(|name| label.trim().eq_ignore_ascii_case(name)))
}

/// ASCII text stands for itself at the start of a line. An unknown charset is taken to be so, unless its name says wide
/// units or a shifted alphabet.
pub fn is_ascii_superset(label: Option<&str>) -> bool {
    match encoding(label) {
        Some(encoding) => encoding.is_ascii_compatible() || encoding == encoding_rs::ISO_2022_JP,
        None => {
            let label = label.unwrap_or_default().to_ascii_lowercase();
            ![
                "utf-7", "utf7", "utf-16", "utf16", "utf-32", "utf32", "ucs", "ebcdic", "cp037", "hz-",
                "iso-2022",
            ]
            .iter()
            .any(|wide| label.contains(wide))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_become_text_by_label_or_by_their_looks() {
        assert_eq!(decode(Some("ISO-8859-1"), b"\xfcber"), "über");
        assert_eq!(decode(Some("shift_jis"), b"\x93\xfa\x96{"), "日本");
        assert_eq!(decode(Some("nonsense"), "über".as_bytes()), "über");
        assert_eq!(decode(None, b"\xfcber"), "über");
    }

    #[test]
    fn text_that_a_charset_lacks_is_not_encoded() {
        assert_eq!(encode(Some("iso-8859-1"), "über"), Some(b"\xfcber".to_vec()));
        assert_eq!(encode(Some("iso-8859-1"), "日"), None);
        assert_eq!(encode(None, "plain"), Some(b"plain".to_vec()));
        assert_eq!(encode(Some("us-ascii"), "ü"), None);
        assert_eq!(encode(Some("utf-16le"), "x"), None);
        assert_eq!(encode(Some("unknown-8bit"), "x"), Some(b"x".to_vec()));
        assert!(encode(Some("iso-2022-jp"), "日本").unwrap().is_ascii());
    }

    #[test]
    fn strict_decoding_refuses_what_means_nothing() {
        assert_eq!(decode_strictly(Some("utf-8"), b"\xff"), None);
        assert_eq!(decode_strictly(None, "ü".as_bytes()), None);
        assert_eq!(decode_strictly(Some("utf-16le"), b"a\0"), Some("a".to_owned()));
    }
}
