//! The scanner on messages written for the purpose and on generated ones: any split gives the same events, every octet
//! comes out once and in order, and what is nested lies inside its parent.

use proptest::prelude::*;
use vouchsafe_mime::{Event, Part, Scanner, Sink, limits};

#[derive(Default)]
struct Seen {
    parts: Vec<Part>,
    bodies: Vec<Vec<u8>>,
    ends: Vec<(u32, u64, Option<&'static str>)>,
    octets: Vec<u8>,
    open: Vec<u32>,
    most: usize,
}

impl Sink for Seen {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin(part) => {
                assert_eq!(part.body_at, self.octets.len() as u64, "all of the header was told");
                assert_eq!(part.id as usize, self.parts.len());
                assert_eq!(part.parent, self.open.last().copied());
                self.open.push(part.id);
                self.parts.push(*part);
                self.bodies.push(Vec::new());
            }
            Event::Body(octets) => {
                let leaf = *self.open.last().expect("a part is open") as usize;
                assert!(!self.parts[leaf].is_multipart && !octets.is_empty());
                self.bodies[leaf].extend_from_slice(octets);
                self.octets.extend_from_slice(octets);
                self.most = self.most.max(octets.len());
            }
            Event::Frame(octets) => self.octets.extend_from_slice(octets),
            Event::End { id, body_end, doubt } => {
                assert_eq!(self.open.pop(), Some(id));
                assert_eq!(body_end, self.octets.len() as u64);
                self.ends.push((id, body_end, doubt));
            }
        }
    }
}

fn scan(chunks: &[&[u8]]) -> Seen {
    let (mut scanner, mut seen) = (Scanner::default(), Seen::default());
    for chunk in chunks {
        scanner.push(chunk, &mut seen);
    }
    scanner.finish(&mut seen);
    assert!(seen.open.is_empty());
    seen
}

/// One line a part: depth, type, doubt, body.
fn outline(message: &str) -> Vec<String> {
    let seen = scan(&[message.as_bytes()]);
    assert_eq!(String::from_utf8_lossy(&seen.octets), message);
    let depth =
        |part: &Part| std::iter::successors(part.parent, |id| seen.parts[*id as usize].parent).count();
    let line = |part: &Part| {
        let end = seen.ends.iter().find(|(id, ..)| *id == part.id).expect("it ended");
        let doubt = part.header.ambiguous.or(end.2).map(|why| format!(" ({why})")).unwrap_or_default();
        let body = String::from_utf8_lossy(&seen.bodies[part.id as usize]).replace("\r\n", "|");
        let kind = part.header.media_type();
        format!("{}{kind}{doubt} {body}", "  ".repeat(depth(part))).trim_end().to_owned()
    };
    seen.parts.iter().map(line).collect()
}

#[test]
fn parts_and_their_bodies_are_found() {
    let message = "From: a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\none\r\ntwo\r\n\
        --b  \t\r\nContent-Type: multipart/alternative;\r\n boundary=\"c d\"\r\n\r\n--c d\r\nContent-Type: text/html\r\n\r\n\
        <p>\r\n\r\n--c d--\r\nepilogue\r\n--b\r\nContent-Type: application/x\r\n\r\n--b--\r\nend\r\n--b\r\nmore\r\n";
    assert_eq!(
        outline(message),
        [
            "multipart/mixed",
            "  text/plain one|two",
            "  multipart/alternative",
            "    text/html <p>|",
            "  application/x",
        ]
    );
}

#[test]
fn offsets_are_where_things_lie() {
    let message = "Content-Type: multipart/mixed; boundary=b\r\nX: y\r\n\r\n--b\r\nContent-Type: text/html;\r\n a=b\r\nY: z\r\n\r\n<p>\r\n--b\r\nContent-ID: <x>\r\n\r\n\r\n--b--";
    let seen = scan(&[message.as_bytes()]);
    let part = &seen.parts[1];
    assert_eq!(&message[part.delimiter_at as usize..part.header_at as usize], "--b\r\n");
    let field = &part.header.fields[0];
    assert_eq!(&message[field.from as usize..field.to as usize], "Content-Type: text/html;\r\n a=b\r\n");
    assert!(message[part.body_at as usize..].starts_with("<p>"));
    let part = &seen.parts[2];
    assert_eq!(&message[part.delimiter_at as usize..part.header_at as usize], "\r\n--b\r\n");
    let field = &part.header.fields[0];
    assert_eq!(&message[field.from as usize..field.to as usize], "Content-ID: <x>\r\n");
    assert_eq!(seen.bodies[2], b"");
}

#[test]
fn a_missing_end_ends_with_what_is_around_it() {
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n\
        --c\r\n\r\ninner\r\n--b\r\n\r\nouter";
    assert_eq!(
        outline(message),
        [
            "multipart/mixed",
            "  multipart/mixed",
            "    text/plain (the multipart around it does not end) inner",
            "  text/plain (the message ends before this part does) outer",
        ]
    );
}

#[test]
fn a_boundary_that_begins_another_is_told_from_it() {
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=bc\r\n\r\n\
        --bc\r\n\r\none\r\n--bc--\r\n--b\r\n\r\ntwo\r\n--b--";
    assert_eq!(
        outline(message),
        ["multipart/mixed", "  multipart/mixed", "    text/plain one", "  text/plain two"]
    );
}

#[test]
fn what_some_parsers_take_for_a_delimiter_is_a_doubt() {
    for line in ["--bx", "--b --", "--b-", "--b--x", "--b\nx", &format!("--b{}", " ".repeat(900))] {
        let message = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n{line}\r\ntwo\r\n--b\r\n\r\nthree\r\n--b--"
        );
        let lines = outline(&message);
        assert!(lines[1].contains("almost a delimiter"), "{line:?}: {lines:?}");
        assert_eq!(lines[2], "  text/plain three");
    }
}

#[test]
fn a_header_that_does_not_end_is_a_doubt() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let lines = outline(&format!("{head}--b\r\nContent-Type: text/html\r\n--b\r\n\r\ntwo\r\n--b--"));
    assert!(lines[1].contains("without an empty line"), "{lines:?}");
    assert_eq!(lines[2], "  text/plain two");
    let lines =
        outline(&format!("{head}--b\r\nno field at all\r\n\r\none\r\n--b\r\nContent-Type: text/html"));
    assert!(lines[1].contains("is no field"), "{lines:?}");
    assert!(lines[2].contains("without an empty line"), "{lines:?}");
}

#[test]
fn a_message_alone_is_a_part() {
    assert_eq!(outline("Subject: x\r\n\r\n--b\r\nbody"), ["text/plain --b|body"]);
    assert_eq!(outline("Subject: x\r\n"), ["text/plain"]);
    assert_eq!(outline(""), ["text/plain"]);
    assert!(outline("hello\r\nworld")[0].contains("is no field"));
}

#[test]
fn an_attached_message_is_not_looked_into() {
    let message = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n--b--\r\n";
    let lines = outline(message);
    assert_eq!(lines.len(), 2);
    assert!(lines[1].starts_with("  message/rfc822"), "{lines:?}");
}

/// Also: a boundary in use, an encoded multipart, one nested too deep.
// covers: mime.depth, mime.boundary
#[test]
fn what_is_not_looked_into_is_a_body_of_its_own() {
    let inner = |fields: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{fields}\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--"
        )
    };
    for fields in [
        "Content-Type: multipart/mixed; boundary=b",
        "Content-Type: multipart/mixed; boundary=c\r\nContent-Transfer-Encoding: base64",
        "Content-Type: multipart/mixed",
        &format!("Content-Type: multipart/mixed; boundary={}", "c".repeat(limits::BOUNDARY + 1)),
    ] {
        let lines = outline(&inner(fields));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].contains('('), "{lines:?}");
    }
    let mut deep = String::new();
    for at in 0..=limits::DEPTH {
        deep += &format!("Content-Type: multipart/mixed; boundary=b{at}\r\n\r\n--b{at}\r\n");
    }
    let lines = outline(&(deep + "\r\nx"));
    assert_eq!(lines.len(), limits::DEPTH + 1);
    assert!(lines[limits::DEPTH].contains("too deep"));
}

// covers: mime.parts
#[test]
fn past_its_limit_of_parts_the_rest_is_passed_on() {
    let parts = "--b\r\n\r\nx\r\n".repeat(limits::PARTS as usize + 5);
    let seen = scan(&[b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", parts.as_bytes()]);
    assert_eq!(seen.parts.len(), limits::PARTS as usize);
    assert!(seen.octets.ends_with(b"--b\r\n\r\nx\r\n"));
}

// covers: mime.field, mime.fields
#[test]
fn a_field_that_never_ends_is_not_kept() {
    let (mut scanner, mut seen) = (Scanner::default(), Seen::default());
    scanner.push(b"Content-Type: text/plain; a=", &mut seen);
    for _ in 0..100 {
        scanner.push(&[b'x'; 10_000], &mut seen);
    }
    scanner.push(b"\r\n\r\n", &mut seen);
    scanner.finish(&mut seen);
    assert_eq!(seen.parts[0].header.ambiguous, Some("a Content field that is too long"));
    let fields = format!("Content-X: {}\r\n", "x".repeat(10_000)).repeat(40);
    assert!(scan(&[fields.as_bytes(), b"\r\n"]).parts[0].header.ambiguous.is_some());
}

/// Tokens that make messages with delimiters everywhere.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => Just("--b\r\n"),
        2 => Just("\r\n"),
        2 => Just("\r\n--b--"),
        2 => Just("\r\n--bb\r\n\r\n"),
        1 => Just("--bb--\r\n"),
        2 => Just("Content-Type: multipart/mixed; boundary=bb\r\n\r\n"),
        1 => Just("Content-Type: text/html\r\n"),
        1 => Just("Content-Disposition: attachment;\r\n filename=x\r\n"),
        1 => Just("\r"),
        1 => Just("\n"),
        1 => Just("-"),
        1 => Just("--"),
        1 => Just(" \t"),
        2 => Just("text: "),
        1 => Just("b"),
    ];
    proptest::collection::vec(token, 0..40).prop_map(|tokens| {
        let mut message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        tokens.into_iter().for_each(|token| message.extend_from_slice(token.as_bytes()));
        message
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_split_gives_the_same_parts_and_every_octet_once(
        message in prop_oneof![message(), proptest::collection::vec(any::<u8>(), 0..200)],
        cuts in proptest::collection::vec(0usize..400, 0..8),
        by_octets in any::<bool>(),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(message.len())).collect();
        cuts.extend([0, message.len()]);
        if by_octets {
            cuts = (0..=message.len()).collect();
        }
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &message[w[0]..w[1]]).collect();
        let (whole, split) = (scan(&[&message]), scan(&chunks));
        prop_assert_eq!(&split.octets, &message);
        prop_assert_eq!(&whole.octets, &message);
        prop_assert_eq!(whole.parts, split.parts);
        prop_assert_eq!(whole.bodies, split.bodies);
        prop_assert_eq!(whole.ends, split.ends);
    }
}
