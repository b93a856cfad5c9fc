//! Puts a block into a body text: in its own charset and transfer coding where they can carry it, else in UTF-8.
//!
//! In a text it goes to the end, but above a signature; in HTML before the end of the body. What came is not coded anew,
//! but for base64 (a block may end within a group) and texts whose charset lacks a character.

use bytes::Bytes;
use vouchsafe_mime::{Coding, Decoder, charset, coding, name, quoted};

use super::{Edit, Place, quoted_octets, quoted_pieces, text_piece};
use crate::detach::Role;
use crate::recipe::{Piece, SlotCoding};
use crate::stub::{Block, Span};

/// Lines of a signature at most; what is longer is no signature.
const SIGNATURE: usize = 25;

/// Spans in a charset; `None` where the link stands.
type Coded = Vec<Option<Vec<u8>>>;

/// The edits that put the block into a body text; `None` if it cannot be done without doubt.
pub(super) fn with_block(place: &Place, body: &Bytes, block: &Block<'_>) -> Option<Vec<Edit>> {
    let header = &place.part.header;
    let label = header.charset.as_deref();
    let coding = header.coding?;
    if place.role == Role::Html {
        // In ASCII whatever the charset, so a charset that the HTML itself names stays true.
        let spans = in_charset(&block.html(), None)?;
        return charset::is_ascii_superset(label).then(|| splice(place, body, coding, spans)).flatten();
    }
    let spans = block.text();
    let own = charset::is_ascii_superset(label).then(|| in_charset(&spans, label)).flatten();
    let carries =
        |coded: &Coded| coding != Coding::SevenBit || coded.iter().flatten().all(|text| text.is_ascii());
    own.filter(carries)
        .and_then(|coded| splice(place, body, coding, coded))
        .or_else(|| in_utf8(place, body, coding, &spans))
        .or_else(|| {
            let plain = spans.into_iter().map(|span| match span {
                Span::Text(text) => Span::Text(name::ascii_text(&text)),
                Span::Link => Span::Link,
            });
            let coded = in_charset(&plain.collect::<Vec<_>>(), None)?;
            charset::is_ascii_superset(label).then(|| splice(place, body, coding, coded)).flatten()
        })
}

fn in_charset(spans: &[Span], label: Option<&str>) -> Option<Coded> {
    let coded = |span: &Span| match span {
        Span::Text(text) => charset::encode(label, text).map(Some),
        Span::Link => Some(None),
    };
    spans.iter().map(coded).collect()
}

/// Where the block goes in the decoded body, and what must stand before and behind it.
fn position(role: Role, text: &[u8]) -> (usize, &'static [u8], &'static [u8]) {
    if role == Role::Html {
        let last = |tag: &[u8]| text.windows(tag.len()).rposition(|window| window.eq_ignore_ascii_case(tag));
        return (last(b"</body>").or_else(|| last(b"</html>")).unwrap_or(text.len()), b"", b"");
    }
    if let Some(at) = signature(text) {
        return (at, b"", b"\r\n");
    }
    match text {
        [] => (0, b"", b""),
        [.., b'\r', b'\n'] => (text.len(), b"\r\n", b""),
        _ => (text.len(), b"\r\n\r\n", b""),
    }
}

/// RFC 3676 §4.3: a signature begins behind the last line that is `-- `.
fn signature(text: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"\r\n-- \r\n";
    let at = memchr::memmem::rfind(text, MARK)? + 2;
    let lines = memchr::memchr_iter(b'\n', &text[at..]).count();
    (lines <= SIGNATURE).then_some(at)
}

/// Into the body as it is.
fn splice(place: &Place, body: &Bytes, coding: Coding, block: Coded) -> Option<Vec<Edit>> {
    let text = coding::decode(coding, body);
    let start = place.part.body_at;
    let at = |raw: usize| start + raw as u64..start + raw as u64;
    match coding {
        Coding::SevenBit | Coding::EightBit | Coding::Binary => {
            let (raw, before, behind) = position(place.role, &text.ok()?);
            let coded = block.into_iter().map(|span| match span {
                Some(octets) => Piece::Text(Bytes::from(octets)),
                None => Piece::Slot(SlotCoding::Plain),
            });
            let pieces = [text_piece(before)].into_iter().chain(coded).chain([text_piece(behind)]).collect();
            Some(vec![Edit { range: at(raw), pieces }])
        }
        Coding::QuotedPrintable => {
            let (raw, before, behind) = match text {
                Ok(text) => {
                    let (decoded, before, behind) = position(place.role, &text);
                    (raw_offset(body, decoded), before, behind)
                }
                // Unclean: at its end, on a line of its own.
                Err(_) => (body.len(), b"\r\n".as_slice(), b"".as_slice()),
            };
            let mut pieces = vec![text_piece(before)];
            pieces.extend(quoted_octets(&block));
            pieces.push(text_piece(behind));
            Some(vec![Edit { range: at(raw), pieces }])
        }
        Coding::Base64 => {
            let text = text.ok()?;
            let (at, before, behind) = position(place.role, &text);
            let mut texts = vec![[&text[..at], before].concat()];
            for span in block {
                match (span, texts.last_mut()) {
                    (Some(octets), Some(last)) => last.extend(octets),
                    (_, _) => texts.push(Vec::new()),
                }
            }
            if let Some(last) = texts.last_mut() {
                last.extend_from_slice(behind);
                last.extend_from_slice(&text[at..]);
            }
            let slot = SlotCoding::Base64(texts.into_iter().map(Bytes::from).collect());
            Some(vec![Edit { range: start..place.body_end, pieces: vec![Piece::Slot(slot)] }])
        }
    }
}

/// Where in the coded body its decoded octet `at` begins. The body is clean.
fn raw_offset(body: &[u8], at: usize) -> usize {
    let (mut decoder, mut out) = (Decoder::new(Coding::QuotedPrintable), Vec::new());
    let mut raw = 0;
    while out.len() < at && raw < body.len() {
        if decoder.push(&body[raw..=raw], &mut out).is_err() {
            return body.len();
        }
        raw += 1;
    }
    raw
}

/// The whole text in UTF-8 and quoted-printable, for a charset or coding that lacks a character of the block.
fn in_utf8(place: &Place, body: &Bytes, coding: Coding, spans: &[Span]) -> Option<Vec<Edit>> {
    let header = &place.part.header;
    let text = charset::decode_strictly(header.charset.as_deref(), &coding::decode(coding, body).ok()?)?;
    let (at, before, behind) = position(place.role, text.as_bytes());
    let mut fields = "Content-Type: text/plain; charset=utf-8".to_owned();
    for (name, value) in header.params.iter().filter(|(name, _)| ["format", "delsp"].contains(&name.as_str()))
    {
        if !value.is_empty() && value.bytes().all(|c| c.is_ascii_alphanumeric()) {
            fields += &format!("; {name}={value}");
        }
    }
    fields += "\r\nContent-Transfer-Encoding: quoted-printable\r\n";
    let gone = ["content-type", "content-transfer-encoding", "content-md5", "content-length"];
    let old = header.fields.iter().filter(|field| gone.contains(&field.name.as_str()));
    let first = place.part.header_at;
    let mut edits = vec![Edit { range: first..first, pieces: vec![text_piece(fields.as_bytes())] }];
    edits.extend(old.map(|field| Edit { range: field.from..field.to, pieces: Vec::new() }));
    let mut pieces =
        vec![Piece::Text(Bytes::from(quoted::encode(&text.as_bytes()[..at]))), text_piece(before)];
    pieces.extend(quoted_pieces(spans));
    pieces.push(text_piece(behind));
    pieces.push(Piece::Text(Bytes::from(quoted::encode(&text.as_bytes()[at..]))));
    edits.push(Edit { range: place.part.body_at..place.body_end, pieces });
    Some(edits)
}
