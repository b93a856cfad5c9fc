//! A queued message as a recipe: which stretches of its content to send, which texts to put between, where a link goes.
//!
//! A form of a message is made once, at the dot, and kept with the queue; what stands in a slot is known only when the
//! message is sent. The head that we put on top is no part of it: it is sent first, whatever the form. Never reads a
//! body: [`Render`] is fed its chunks in order. Proof: tests below.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

/// Pieces of a form at most; a form that needs more is not made (RELIABILITY section 4: limits on parts).
pub const PIECES: usize = 50_000;
/// Octets of an encoded form at most.
pub const FORM: usize = 4 * 1024 * 1024;
/// First octet of an encoded form: the version.
const VERSION: u8 = 1;
/// RFC 2045 §6.8: encoded lines are at most 76 characters long.
const LINE: usize = 76;

/// How a link is written into the message, so that nothing around it must be encoded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotCoding {
    /// As it is: for 7bit and 8bit, in text and HTML alike.
    Plain,
    /// Quoted-printable: an equals sign becomes `=3D`. The line it stands in is the form's business; a link is at most
    /// 2,000 octets and may be longer than a line.
    QuotedPrintable,
    /// Whole lines of base64: the link stands between each two of these texts, and all is encoded together, ending in
    /// CRLF. What stands before must end with a line of whole groups, or be nothing.
    Base64(Vec<Bytes>),
}

/// A piece of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A stretch of the content, without the head: octets `from..to`.
    Body {
        /// First octet.
        from: u64,
        /// Behind the last octet.
        to: u64,
    },
    /// Octets of ours.
    Text(Bytes),
    /// The recipient's link.
    Slot(SlotCoding),
}

/// A form of a message. Its stretches of content are in order and do not overlap.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recipe(Vec<Piece>);

/// Why there is no such form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecipe {
    /// A stretch is empty, or begins before the end of the one before.
    Order,
    /// More than [`PIECES`] pieces or [`FORM`] octets.
    TooLarge,
    /// Octets at rest that are no form.
    Corrupt,
}

impl std::fmt::Display for BadRecipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadRecipe::Order => "the pieces of a form are out of order",
            BadRecipe::TooLarge => "a form has too many pieces",
            BadRecipe::Corrupt => "a form at rest cannot be read",
        })
    }
}
impl std::error::Error for BadRecipe {}

impl Recipe {
    /// A form of these pieces.
    pub fn new(pieces: Vec<Piece>) -> Result<Recipe, BadRecipe> {
        let mut end = 0;
        for piece in &pieces {
            if let Piece::Body { from, to } = piece {
                if *from < end || to <= from {
                    return Err(BadRecipe::Order);
                }
                end = *to;
            }
        }
        if pieces.len() > PIECES {
            return Err(BadRecipe::TooLarge);
        }
        let recipe = Recipe(pieces);
        if recipe.encode().len() > FORM { Err(BadRecipe::TooLarge) } else { Ok(recipe) }
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// True if a link stands in it.
    pub fn has_slot(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Slot(_)))
    }

    /// Content octets that must be there: the end of the last stretch.
    pub fn content_end(&self) -> u64 {
        let ends = self.0.iter().map(|piece| if let Piece::Body { to, .. } = piece { *to } else { 0 });
        ends.max().unwrap_or(0)
    }

    /// Octets of the form with this link, without the head.
    pub fn len(&self, link: &str) -> u64 {
        let len = |piece: &Piece| match piece {
            Piece::Body { from, to } => to - from,
            Piece::Text(text) => text.len() as u64,
            Piece::Slot(coding) => fill(coding, link).len() as u64,
        };
        self.0.iter().map(len).sum()
    }

    /// For the queue: a version, then pieces with their lengths.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = vec![VERSION];
        for piece in &self.0 {
            match piece {
                Piece::Body { from, to } => {
                    octets.push(1);
                    put(&mut octets, *from);
                    put(&mut octets, to - from);
                }
                Piece::Text(text) => {
                    octets.push(2);
                    put_text(&mut octets, text);
                }
                Piece::Slot(SlotCoding::Plain) => octets.push(3),
                Piece::Slot(SlotCoding::QuotedPrintable) => octets.push(4),
                Piece::Slot(SlotCoding::Base64(texts)) => {
                    octets.push(5);
                    put(&mut octets, texts.len() as u64);
                    texts.iter().for_each(|text| put_text(&mut octets, text));
                }
            }
        }
        octets
    }

    /// From the queue.
    pub fn decode(octets: Bytes) -> Result<Recipe, BadRecipe> {
        Recipe::read(octets).and_then(|recipe| Recipe::new(recipe.0).ok()).ok_or(BadRecipe::Corrupt)
    }

    fn read(mut octets: Bytes) -> Option<Recipe> {
        if octets.is_empty() || octets.len() > FORM || octets.split_to(1)[0] != VERSION {
            return None;
        }
        let mut pieces = Vec::new();
        while !octets.is_empty() {
            pieces.push(match octets.split_to(1)[0] {
                1 => {
                    let from = take(&mut octets)?;
                    let to = from.checked_add(take(&mut octets)?)?;
                    Piece::Body { from, to }
                }
                2 => Piece::Text(take_text(&mut octets)?),
                3 => Piece::Slot(SlotCoding::Plain),
                4 => Piece::Slot(SlotCoding::QuotedPrintable),
                5 => {
                    let count = take(&mut octets)?;
                    let texts = (0..count).map(|_| take_text(&mut octets)).collect::<Option<Vec<_>>>()?;
                    Piece::Slot(SlotCoding::Base64(texts))
                }
                _ => return None,
            });
        }
        Some(Recipe(pieces))
    }
}

/// LEB128.
fn put(octets: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        octets.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    octets.push(number as u8);
}

fn put_text(octets: &mut Vec<u8>, text: &[u8]) {
    put(octets, text.len() as u64);
    octets.extend_from_slice(text);
}

fn take(octets: &mut Bytes) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let octet = *octets.first()?;
        let _ = octets.split_to(1);
        let bits = u64::from(octet & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if octet < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take_text(octets: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(take(octets)?).ok()?;
    (len <= octets.len()).then(|| octets.split_to(len))
}

/// What stands in a slot.
fn fill(coding: &SlotCoding, link: &str) -> Bytes {
    match coding {
        SlotCoding::Plain => Bytes::copy_from_slice(link.as_bytes()),
        SlotCoding::QuotedPrintable => Bytes::from(link.replace('=', "=3D")),
        SlotCoding::Base64(texts) => {
            let texts: Vec<&[u8]> = texts.iter().map(|text| &text[..]).collect();
            Bytes::from(base64_lines(&texts.join(link.as_bytes())))
        }
    }
}

/// Base64 in lines of 76 characters, each ending in CRLF.
pub(crate) fn base64_lines(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut lines = String::new();
    for line in octets.chunks(LINE / 4 * 3) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet))
                << (8 * (3 - group.len()));
            for place in 0..4 {
                let at = (bits >> (18 - 6 * place)) as usize & 0x3f;
                lines.push(if place <= group.len() { char::from(ALPHABET[at]) } else { '=' });
            }
        }
        lines.push_str("\r\n");
    }
    lines
}

/// Writes a form for one recipient: fed with the content, chunk by chunk in order, it says what to send. Holds no more
/// than the chunk it was given.
#[derive(Debug)]
pub struct Render {
    pieces: VecDeque<Ready>,
    /// The chunk at hand and where in the content it begins.
    chunk: Bytes,
    at: u64,
}

#[derive(Debug)]
enum Ready {
    Stretch(Range<u64>),
    Octets(Bytes),
}

/// What [`Render::step`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// Send this.
    Octets(Bytes),
    /// Give me the next chunk of the content.
    More,
    /// That was all. What is left of the content is not sent.
    End,
}

impl Render {
    /// A form with this link in its slots.
    pub fn new(recipe: &Recipe, link: &str) -> Render {
        let ready = |piece: &Piece| match piece {
            Piece::Body { from, to } => Ready::Stretch(*from..*to),
            Piece::Text(text) => Ready::Octets(text.clone()),
            Piece::Slot(coding) => Ready::Octets(fill(coding, link)),
        };
        Render { pieces: recipe.0.iter().map(ready).collect(), chunk: Bytes::new(), at: 0 }
    }

    /// Takes the next chunk of the content; only after [`Rendered::More`].
    pub fn push(&mut self, chunk: Bytes) {
        self.at += self.chunk.len() as u64;
        self.chunk = chunk;
    }

    /// What to do next.
    pub fn step(&mut self) -> Rendered {
        while let Some(piece) = self.pieces.front_mut() {
            match piece {
                Ready::Octets(octets) => {
                    let octets = std::mem::take(octets);
                    self.pieces.pop_front();
                    if !octets.is_empty() {
                        return Rendered::Octets(octets);
                    }
                }
                Ready::Stretch(stretch) => {
                    let skipped = stretch.start - self.at;
                    let here = self.chunk.len() as u64;
                    if skipped >= here {
                        return Rendered::More;
                    }
                    let end = (stretch.end - self.at).min(here);
                    // Both are at most the chunk's length.
                    let octets = self.chunk.slice(skipped as usize..end as usize);
                    stretch.start = self.at + end;
                    if stretch.start == stretch.end {
                        self.pieces.pop_front();
                    }
                    return Rendered::Octets(octets);
                }
            }
        }
        Rendered::End
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINK: &str = "https://files.example/d/abc=def";

    fn render(recipe: &Recipe, content: &[u8], chunk: usize) -> Option<Vec<u8>> {
        let mut render = Render::new(recipe, LINK);
        let mut chunks = content.chunks(chunk.max(1));
        let mut sent = Vec::new();
        loop {
            match render.step() {
                Rendered::Octets(octets) => sent.extend_from_slice(&octets),
                Rendered::More => render.push(Bytes::copy_from_slice(chunks.next()?)),
                Rendered::End => return Some(sent),
            }
        }
    }

    #[test]
    fn pieces_are_sent_in_order_with_the_link_in_each_coding() {
        let recipe = Recipe::new(vec![
            Piece::Body { from: 0, to: 3 },
            Piece::Slot(SlotCoding::Plain),
            Piece::Text(Bytes::from_static(b"|")),
            Piece::Slot(SlotCoding::QuotedPrintable),
            Piece::Body { from: 5, to: 6 },
            Piece::Slot(SlotCoding::Base64(vec![Bytes::from_static(b"<"), Bytes::from_static(b">")])),
        ])
        .unwrap();
        let expected = "abchttps://files.example/d/abc=def|https://files.example/d/abc=3DdeffPGh0dHBzOi8vZmlsZXMuZXhhbXBsZS9kL2FiYz1kZWY+\r\n";
        assert_eq!(render(&recipe, b"abcdefgh", 2).unwrap(), expected.as_bytes());
        assert_eq!(recipe.len(LINK), expected.len() as u64);
        assert_eq!(recipe.content_end(), 6);
        assert_eq!(render(&recipe, b"abcde", 2), None);
    }

    #[test]
    fn base64_is_cut_into_lines_of_76() {
        let lines = base64_lines(&[b'x'; 58]);
        let lens: Vec<usize> = lines.split("\r\n").map(str::len).collect();
        assert_eq!(lens, [76, 4, 0]);
        assert!(lines.ends_with("eA==\r\n"), "{lines}");
    }

    #[test]
    fn stretches_out_of_order_and_octets_that_are_no_form_are_refused() {
        let two = |a: (u64, u64), b: (u64, u64)| {
            Recipe::new(vec![Piece::Body { from: a.0, to: a.1 }, Piece::Body { from: b.0, to: b.1 }])
        };
        assert!(two((0, 4), (4, 5)).is_ok());
        assert_eq!(two((0, 4), (3, 5)), Err(BadRecipe::Order));
        assert_eq!(two((0, 4), (9, 9)), Err(BadRecipe::Order));
        let text = Piece::Text(Bytes::from(vec![b'x'; FORM]));
        assert_eq!(Recipe::new(vec![text]), Err(BadRecipe::TooLarge));
        for bad in [
            &b""[..],
            b"\x02",
            b"\x01\x09",
            b"\x01\x02\x05abc",
            b"\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01",
        ] {
            assert_eq!(Recipe::decode(Bytes::from_static(bad)), Err(BadRecipe::Corrupt), "{bad:?}");
        }
    }

    fn piece() -> impl Strategy<Value = (u8, u16, u16, Vec<Vec<u8>>)> {
        (
            0u8..5,
            any::<u16>(),
            1u16..2_000,
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..4),
        )
    }

    fn recipe() -> impl Strategy<Value = Recipe> {
        prop::collection::vec(piece(), 0..20).prop_map(|pieces| {
            let mut at = 0u64;
            let mut made = Vec::new();
            for (kind, skip, len, texts) in pieces {
                let texts: Vec<Bytes> = texts.into_iter().map(Bytes::from).collect();
                made.push(match kind {
                    0 => {
                        let from = at + u64::from(skip % 300);
                        at = from + u64::from(len);
                        Piece::Body { from, to: at }
                    }
                    1 => Piece::Text(texts[0].clone()),
                    2 => Piece::Slot(SlotCoding::Plain),
                    3 => Piece::Slot(SlotCoding::QuotedPrintable),
                    _ => Piece::Slot(SlotCoding::Base64(texts)),
                });
            }
            Recipe::new(made).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_form_at_rest_is_the_form(recipe in recipe()) {
            prop_assert_eq!(Recipe::decode(Bytes::from(recipe.encode())).unwrap(), recipe);
        }

        #[test]
        fn any_octets_are_a_form_or_refused(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(recipe) = Recipe::decode(Bytes::from(octets)) {
                prop_assert_eq!(Recipe::decode(Bytes::from(recipe.encode())).unwrap(), recipe);
            }
        }

        #[test]
        fn chunks_make_no_difference(recipe in recipe(), chunk in 1usize..5_000, extra in 0usize..50) {
            let len = recipe.content_end() as usize + extra;
            let content: Vec<u8> = (0..len).map(|at| (at * 7 % 251) as u8).collect();
            let sent = render(&recipe, &content, chunk).unwrap();
            prop_assert_eq!(sent.len() as u64, recipe.len(LINK));
            prop_assert_eq!(Some(sent), render(&recipe, &content, usize::MAX));
        }
    }
}
