//! Makes the form of a message from which files were moved: what stays is told as stretches of the content as it came,
//! and around it stand the blocks and headers of ours.
//!
//! Only what must change is changed: the moved part goes with its delimiter, and a body text gains a block in its own
//! charset and transfer coding. Where that cannot be done without doubt, a part of its own takes the place of the first
//! moved one. Proof: `tests/rewrite.rs` (another parser finds the rest of the message as it was).

mod text;

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use vouchsafe_mime::{Part, name, quoted};

use crate::detach::Role;
use crate::recipe::{BadRecipe, Piece, Recipe, SlotCoding};
use crate::stub::{Block, File, Span};

/// Octets of a body text, as it came, that a block is put into; a larger one is left alone.
pub const TEXT: u64 = 512 * 1024;

/// A part and where it ends.
#[derive(Clone, Debug)]
pub struct Place {
    /// The part.
    pub part: Part,
    /// What it is to us.
    pub role: Role,
    /// Behind its last octet.
    pub body_end: u64,
}

/// A message from which files were moved. All offsets are those of the message as it came.
#[derive(Clone, Debug)]
pub struct Content<'a> {
    /// All parts, by their ids.
    pub places: &'a [Place],
    /// Parts that were moved, by their ids in order, with the files that they became.
    pub moved: &'a [(u32, File)],
    /// Octets of the message.
    pub len: u64,
    /// Stretches that were not kept, in order; each is the body of a moved part, or some of it.
    pub cuts: &'a [Range<u64>],
    /// The bodies that [`texts`] asked for, as they came.
    pub texts: &'a BTreeMap<u32, Bytes>,
    /// Name the files in a part of their own, too.
    pub manifest: bool,
}

/// The body texts that a block goes into: the first of each kind. Their octets are needed for [`form`].
pub fn texts(places: &[Place]) -> Vec<u32> {
    let first = |role: Role| places.iter().find(|place| place.role == role);
    let fits = |place: &&Place| place.body_end - place.part.body_at <= TEXT;
    [Role::Text, Role::Html].into_iter().filter_map(first).filter(fits).map(|place| place.part.id).collect()
}

/// A stretch of the message and what stands in its place.
struct Edit {
    range: Range<u64>,
    pieces: Vec<Piece>,
}

/// The form with this block.
pub fn form(content: &Content<'_>, block: &Block<'_>) -> Result<Recipe, BadRecipe> {
    let mut edits = vec![Edit { range: 0..0, pieces: vec![note(block.files)] }];
    let mut shown = 0;
    for role in [Role::Text, Role::Html] {
        let Some(place) = content.places.iter().find(|place| place.role == role) else { continue };
        let body = content.texts.get(&place.part.id);
        match body.and_then(|body| text::with_block(place, body, block)) {
            Some(made) => {
                shown += 1;
                edits.extend(made);
            }
            // Whoever reads this one would see no link.
            None => shown = usize::MAX / 2,
        }
    }
    let must_show = !(1..=2).contains(&shown);
    remove(content, block, must_show, &mut edits);
    assemble(content, edits)
}

/// What was done, for people and programs that look at headers.
fn note(files: &[File]) -> Piece {
    let octets: u64 = files.iter().map(|file| file.size).sum();
    let unit = if files.len() == 1 { "file" } else { "files" };
    Piece::Text(Bytes::from(format!("X-Vouchsafe-Detached: {} {unit}, {octets} octets\r\n", files.len())))
}

/// Takes the moved parts out; leaves a part of ours in their place where one is needed.
fn remove(content: &Content<'_>, block: &Block<'_>, must_show: bool, edits: &mut Vec<Edit>) {
    let is_moved = |id: u32| content.moved.iter().any(|(moved, _)| *moved == id);
    let mut replaced: Vec<u32> = Vec::new();
    for (at, (id, _)) in content.moved.iter().enumerate() {
        let place = &content.places[*id as usize];
        let part = &place.part;
        let Some(parent) = part.parent else {
            edits.extend(replace_message(place, block));
            return;
        };
        // RFC 2046 §5.1.1: a multipart has at least one part.
        let mut siblings = content.places.iter().filter(|other| other.part.parent == Some(parent));
        let would_be_empty = !replaced.contains(&parent) && siblings.all(|other| is_moved(other.part.id));
        let first = at == 0;
        if would_be_empty || first && (must_show || content.manifest) {
            replaced.push(parent);
            let named = first && content.manifest || !must_show;
            let fields = if named { NAMED_PART } else { PART };
            let mut pieces = vec![text_piece(fields.as_bytes())];
            pieces.extend(stub(block));
            edits.push(Edit { range: part.header_at..place.body_end, pieces });
        } else {
            edits.push(Edit { range: part.delimiter_at..place.body_end, pieces: Vec::new() });
        }
    }
}

/// Headers of a part of ours that is read like a body.
const PART: &str = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\
    Content-Disposition: inline\r\n\r\n";
/// Of one that is found like a file.
const NAMED_PART: &str = "Content-Type: text/plain; charset=utf-8; name=\"vouchsafe-attachments.txt\"\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\
    Content-Disposition: attachment; filename=\"vouchsafe-attachments.txt\"\r\n\r\n";

/// The message was one file and becomes a text.
fn replace_message(place: &Place, block: &Block<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (at, field) in place.part.header.fields.iter().enumerate() {
        let ours =
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n";
        let pieces = if at == 0 { vec![text_piece(ours.as_bytes())] } else { Vec::new() };
        edits.push(Edit { range: field.from..field.to, pieces });
    }
    edits.push(Edit { range: place.part.body_at..place.body_end, pieces: stub(block) });
    edits
}

fn stub(block: &Block<'_>) -> Vec<Piece> {
    quoted_pieces(&block.text())
}

fn text_piece(octets: &[u8]) -> Piece {
    Piece::Text(Bytes::copy_from_slice(octets))
}

/// Spans in UTF-8 and quoted-printable. A link that does not stand alone on its line gets one by soft line ends.
fn quoted_pieces(spans: &[Span]) -> Vec<Piece> {
    let octets: Vec<Option<Vec<u8>>> = spans
        .iter()
        .map(|span| match span {
            Span::Text(text) => Some(text.as_bytes().to_vec()),
            Span::Link => None,
        })
        .collect();
    quoted_octets(&octets)
}

/// Octets, and links where there are none, in quoted-printable.
fn quoted_octets(spans: &[Option<Vec<u8>>]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        let Some(octets) = span else {
            pieces.push(Piece::Slot(SlotCoding::QuotedPrintable));
            continue;
        };
        let mut coded = Vec::new();
        if at > 0 && !octets.starts_with(b"\r\n") {
            coded.extend_from_slice(b"=\r\n");
        }
        coded.extend(quoted::encode(octets));
        if at + 1 < spans.len() && !octets.ends_with(b"\r\n") {
            coded.extend_from_slice(b"=\r\n");
        }
        pieces.push(Piece::Text(Bytes::from(coded)));
    }
    pieces
}

/// The pieces in order, with what is left of the message between them.
fn assemble(content: &Content<'_>, mut edits: Vec<Edit>) -> Result<Recipe, BadRecipe> {
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let kept = |raw: u64| {
        let cut: u64 = content.cuts.iter().map(|cut| cut.end.min(raw).saturating_sub(cut.start)).sum();
        raw - cut
    };
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    for edit in edits.into_iter().chain([Edit { range: content.len..content.len, pieces: Vec::new() }]) {
        if edit.range.start < at {
            return Err(BadRecipe::Order);
        }
        let (from, to) = (kept(at), kept(edit.range.start));
        if to - from != edit.range.start - at {
            return Err(BadRecipe::Order);
        }
        if from < to {
            pieces.push(Piece::Body { from, to });
        }
        for piece in edit.pieces {
            match (pieces.last_mut(), piece) {
                (_, Piece::Text(text)) if text.is_empty() => {}
                (Some(Piece::Text(before)), Piece::Text(text)) => {
                    *before = Bytes::from([&before[..], &text[..]].concat());
                }
                (_, piece) => pieces.push(piece),
            }
        }
        at = edit.range.end;
    }
    Recipe::new(pieces)
}

/// A part's name as people see it, and its type, for [`File`].
pub fn file(part: &Part, size: u64) -> File {
    let media_type = part.header.media_type();
    File { name: name::safe(part.header.name.as_deref(), &media_type), media_type, size }
}
