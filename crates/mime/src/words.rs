//! Encoded words (RFC 2047) in file names: against RFC 2047 §5 they are common inside quoted parameters.
//! Never fails: what is no encoded word stays as it stands. Proof: tests below, `tests/reference.rs`.

use crate::{charset, coding};

/// A word's charset and octets.
struct Word<'a> {
    charset: &'a str,
    octets: Vec<u8>,
}

/// The text with its encoded words decoded. Neighbours of one charset are joined before their octets are read: many
/// senders cut within a character.
pub fn decode(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    let mut pending: Option<Word<'_>> = None;
    while let Some(at) = rest.find("=?") {
        let Some((word, behind)) = parse(&rest[at..]) else {
            flush(&mut pending, &mut out);
            out.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
            continue;
        };
        let between = &rest[..at];
        // RFC 2047 §6.2: blanks between two encoded words are not shown.
        let joins = pending.is_some() && between.bytes().all(|c| c.is_ascii_whitespace());
        if !joins {
            flush(&mut pending, &mut out);
            out.push_str(between);
        }
        match &mut pending {
            Some(before) if before.charset.eq_ignore_ascii_case(word.charset) => {
                before.octets.extend(word.octets);
            }
            _ => {
                flush(&mut pending, &mut out);
                pending = Some(word);
            }
        }
        rest = behind;
    }
    flush(&mut pending, &mut out);
    out.push_str(rest);
    out
}

fn flush(pending: &mut Option<Word<'_>>, out: &mut String) {
    if let Some(word) = pending.take() {
        out.push_str(&charset::decode(Some(word.charset), &word.octets));
    }
}

/// `=?charset*language?B?text?=` at the start, and what follows it.
fn parse(text: &str) -> Option<(Word<'_>, &str)> {
    let mut fields = text.strip_prefix("=?")?.splitn(3, '?');
    let (charset, coding, tail) = (fields.next()?, fields.next()?, fields.next()?);
    let end = tail.find("?=")?;
    let charset = charset.split('*').next().unwrap_or_default();
    if charset.is_empty() || charset.contains(char::is_whitespace) {
        return None;
    }
    let content = &tail.as_bytes()[..end];
    let octets = match coding {
        "B" | "b" => base64(content)?,
        "Q" | "q" => q(content)?,
        _ => return None,
    };
    Some((Word { charset, octets }, &tail[end + 2..]))
}

/// Padding that is missing is added: names are shown, not run.
fn base64(content: &[u8]) -> Option<Vec<u8>> {
    let mut padded: Vec<u8> =
        content.iter().copied().filter(|c| !c.is_ascii_whitespace() && *c != b'=').collect();
    while !padded.len().is_multiple_of(4) {
        padded.push(b'=');
    }
    coding::decode(coding::Coding::Base64, &padded).ok()
}

fn q(content: &[u8]) -> Option<Vec<u8>> {
    let spaced: Vec<u8> =
        content.iter().flat_map(|&c| if c == b'_' || c == b' ' { *b"=20" } else { [c, 0, 0] }).collect();
    let spaced: Vec<u8> = spaced.into_iter().filter(|c| *c != 0).collect();
    coding::decode(coding::Coding::QuotedPrintable, &spaced).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded_and_the_rest_stays() {
        for (text, want) in [
            ("=?utf-8?B?w7xiZXI=?=", "über"),
            ("=?UTF-8?b?w7xiZXI?=", "über"),
            ("=?iso-8859-1*de?Q?=FCber_uns?=", "über uns"),
            ("a =?utf-8?q?b?= c", "a b c"),
            ("=?utf-8?q?a?= =?utf-8?q?b?=.pdf", "ab.pdf"),
            ("=?utf-8?B?w7w=?=\t=?iso-8859-1?Q?=FC?=", "üü"),
            ("=?utf-8?Q?=C3?= =?utf-8?Q?=BC?=", "ü"),
            ("=?broken", "=?broken"),
            ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
            ("=?utf-8?Q?=zz?= =?x", "=?utf-8?Q?=zz?= =?x"),
            ("=?shift_jis?B?k/qWew==?=.txt", "日本.txt"),
        ] {
            assert_eq!(decode(text), want, "{text}");
        }
    }
}
