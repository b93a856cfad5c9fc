//! The scanner beside another parser (`mail-parser`), on the messages of `tests/corpus` and on generated ones: they see
//! the same parts at the same places, with the same types, names and contents.
//!
//! Where the two are known to differ the reference is at fault (it loses a boundary behind a fold, DEPENDENCIES section
//! 4), or the scanner does on purpose not look (attached messages).

use std::fs;

use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;
use vouchsafe_mime::{Coding, Event, Part, Scanner, Sink, coding};

#[derive(Default)]
struct Leaves(Vec<(Part, Vec<u8>)>, Vec<u32>);

impl Sink for Leaves {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin(part) => self.0.push((*part, Vec::new())),
            Event::Body(octets) => self.0.last_mut().expect("a part has begun").1.extend_from_slice(octets),
            Event::End { id, doubt: Some(_), .. } => self.1.push(id),
            Event::Frame(_) | Event::End { .. } => {}
        }
    }
}

/// Parts without parts, but those whose end is in doubt: the reference does not even decode some of them.
fn scan(message: &[u8]) -> Vec<(Part, Vec<u8>)> {
    let (mut scanner, mut leaves) = (Scanner::default(), Leaves::default());
    message.chunks(1000).for_each(|chunk| scanner.push(chunk, &mut leaves));
    scanner.finish(&mut leaves);
    let doubtful = leaves.1;
    leaves.0.into_iter().filter(|(part, _)| !part.is_multipart && !doubtful.contains(&part.id)).collect()
}

/// (where the body begins, type, name, decoded content).
type Leaf = (u64, String, Option<String>, Vec<u8>);

fn ours(message: &[u8]) -> Vec<Leaf> {
    let decoded = |(part, body): (Part, Vec<u8>)| {
        let coding = part.header.coding.unwrap_or(Coding::Binary);
        let content = coding::decode(coding, &body).expect("a clean body");
        (part.body_at, part.header.media_type(), part.header.name, content)
    };
    scan(message).into_iter().map(decoded).collect()
}

fn theirs(message: &[u8]) -> Vec<Leaf> {
    let parsed = MessageParser::new().parse(message).expect("a message");
    let mut leaves = Vec::new();
    for part in &parsed.parts {
        if matches!(part.body, PartType::Multipart(_)) {
            continue;
        }
        let kind = part.content_type().map(|kind| {
            format!("{}/{}", kind.c_type, kind.c_subtype.as_deref().unwrap_or_default()).to_lowercase()
        });
        let raw = &message[part.offset_body as usize..part.offset_end as usize];
        let content = match part.encoding {
            mail_parser::Encoding::None => raw.to_vec(),
            mail_parser::Encoding::Base64 => coding::decode(Coding::Base64, raw).expect("base64"),
            mail_parser::Encoding::QuotedPrintable => {
                coding::decode(Coding::QuotedPrintable, raw).expect("quoted-printable")
            }
        };
        // What it decodes itself, where it does not read text.
        if let PartType::Binary(decoded) | PartType::InlineBinary(decoded) = &part.body {
            assert_eq!(decoded.as_ref(), content, "strict decoding gives what the reference gives");
        }
        leaves.push((
            u64::from(part.offset_body),
            kind.unwrap_or_else(|| "text/plain".to_owned()),
            part.attachment_name().map(str::to_owned),
            content,
        ));
    }
    leaves
}

#[test]
fn the_corpus_is_seen_as_the_reference_sees_it() {
    let mut seen = 0;
    for entry in fs::read_dir("tests/corpus").unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let message = fs::read(&path).unwrap();
        if stem == "folded-boundary" {
            assert_eq!(ours(&message).len(), 2, "the reference loses this boundary");
            assert_eq!(ours(&message)[1].2.as_deref(), Some("日本.txt"));
        } else {
            let (ours, mut theirs) = (ours(&message), theirs(&message));
            if stem == "no-end" {
                assert_eq!((ours.len(), theirs.len()), (1, 2));
                theirs.pop();
            }
            assert_eq!(ours, theirs, "{stem}");
        }
        seen += 1;
    }
    assert!(seen >= 10);
}

#[derive(Clone, Debug)]
enum Tree {
    Leaf { kind: &'static str, coding: u8, name: Option<(u8, &'static str)>, content: Vec<u8> },
    Multi { sub: &'static str, preamble: bool, parts: Vec<Tree> },
}

fn tree() -> impl Strategy<Value = Tree> {
    let names = prop_oneof![Just("plain.pdf"), Just("with space.doc"), Just("Grüße.txt"), Just("日本語.xls")];
    let leaf = (
        prop_oneof![Just("application/pdf"), Just("image/png"), Just("application/octet-stream")],
        0u8..3,
        proptest::option::of((0u8..3, names)),
        proptest::collection::vec(any::<u8>(), 0..300),
    )
        .prop_map(|(kind, coding, name, content)| Tree::Leaf { kind, coding, name, content });
    leaf.prop_recursive(4, 24, 4, |inner| {
        let sub = prop_oneof![Just("mixed"), Just("alternative"), Just("related")];
        (sub, any::<bool>(), proptest::collection::vec(inner, 1..4))
            .prop_map(|(sub, preamble, parts)| Tree::Multi { sub, preamble, parts })
    })
}

fn write(tree: &Tree, next: &mut u32, out: &mut Vec<u8>) {
    match tree {
        Tree::Multi { sub, preamble, parts } => {
            *next += 1;
            let boundary = format!("b{next}");
            out.extend(format!("Content-Type: multipart/{sub}; boundary=\"{boundary}\"\r\n\r\n").bytes());
            if *preamble {
                out.extend(b"preamble\r\n");
            }
            for part in parts {
                out.extend(format!("--{boundary}\r\n").bytes());
                write(part, next, out);
                out.extend(b"\r\n");
            }
            out.extend(format!("--{boundary}--\r\n").bytes());
        }
        Tree::Leaf { kind, coding, name, content } => {
            out.extend(format!("Content-Type: {kind}\r\n").bytes());
            if let Some((form, name)) = name {
                let octets = |plain: &dyn Fn(u8) -> bool, lead: &str| -> String {
                    let one = |c: u8| {
                        if plain(c) { char::from(c).to_string() } else { format!("{lead}{c:02X}") }
                    };
                    name.bytes().map(one).collect()
                };
                let letter = |c: u8| c.is_ascii_alphanumeric();
                let param = match form {
                    0 => format!("filename=\"=?utf-8?Q?{}?=\"", octets(&letter, "=")),
                    1 => format!("filename*=utf-8''{}", octets(&letter, "%")),
                    _ => {
                        let escaped = octets(&letter, "%");
                        let (a, b) = escaped.split_at(escaped.find('%').unwrap_or(2));
                        format!("filename*0*=utf-8''{a};\r\n filename*1*={b}")
                    }
                };
                out.extend(format!("Content-Disposition: attachment; {param}\r\n").bytes());
            }
            let (word, body) = match coding {
                0 => ("base64", {
                    use std::fmt::Write as _;
                    let mut body = String::new();
                    for line in content.chunks(57) {
                        write!(body, "{}\r\n", base64_simd_encode(line)).expect("a string takes it");
                    }
                    body.into_bytes()
                }),
                1 => ("quoted-printable", vouchsafe_mime::quoted::encode(content)),
                _ => ("8bit", content.iter().map(|c| b'a' + c % 26).collect()),
            };
            out.extend(format!("Content-Transfer-Encoding: {word}\r\n\r\n").bytes());
            out.extend(body);
        }
    }
}

fn base64_simd_encode(octets: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(octets)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn generated_messages_are_seen_as_the_reference_sees_them(tree in tree()) {
        let mut message = b"From: a@example.com\r\nMIME-Version: 1.0\r\n".to_vec();
        write(&tree, &mut 0, &mut message);
        prop_assert_eq!(ours(&message), theirs(&message), "{}", String::from_utf8_lossy(&message));
    }

    /// Whatever comes in, nothing panics and decoding never gives more than came in.
    #[test]
    fn octets_of_any_kind_are_taken(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for (part, body) in scan(&octets) {
            if let Some(coding) = part.header.coding
                && let Ok(content) = coding::decode(coding, &body)
            {
                prop_assert!(content.len() <= body.len());
            }
        }
    }
}
