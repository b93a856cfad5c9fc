//! Messages from which files were moved, as a recipient gets them: another parser (`mail-parser`) finds the files gone,
//! all other parts as they were, and the links in every body that is shown.

use std::collections::BTreeMap;

use bytes::Bytes;
use mail_parser::{MessageParser, MimeHeaders, PartType};
use vouchsafe_core::Timestamp;
use vouchsafe_core::detach::{Limits, Role, Rules, role};
use vouchsafe_core::recipe::{Render, Rendered};
use vouchsafe_core::rewrite::{self, Content, Place};
use vouchsafe_core::stub::{Block, File, Language};
use vouchsafe_mime::{Event, Scanner, Sink};

const LINK: &str = "https://files.example.com/d/abcdefghijklmnopqrstuvwxyz234567";

#[derive(Default)]
struct Places(Vec<Place>);

impl Sink for Places {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin(part) => {
                let within = part.parent.and_then(|id| match self.0[id as usize].role {
                    Role::Container(container) => Some(container),
                    _ => None,
                });
                let rules = Rules {
                    limits: Limits { part_over: 0, message_over: 0 },
                    include: Vec::new(),
                    exclude: Vec::new(),
                };
                self.0.push(Place { role: role(&part, within, &rules), part: *part, body_end: 0 });
            }
            Event::End { id, body_end, .. } => self.0[id as usize].body_end = body_end,
            Event::Body(_) | Event::Frame(_) => {}
        }
    }
}

/// The message with its files moved; `cut`: their bodies are not even in the content any more.
fn rewritten(message: &str, language: Language, manifest: bool, cut: bool) -> String {
    let (mut scanner, mut places) = (Scanner::default(), Places::default());
    scanner.push(message.as_bytes(), &mut places);
    scanner.finish(&mut places);
    let places = places.0;
    let files = places.iter().filter(|place| place.role == Role::File);
    let moved: Vec<(u32, File)> =
        files.map(|place| (place.part.id, rewrite::file(&place.part, 31_457_280))).collect();
    let texts: BTreeMap<u32, Bytes> = rewrite::texts(&places)
        .into_iter()
        .map(|id| {
            let place = &places[id as usize];
            let body = &message.as_bytes()[place.part.body_at as usize..place.body_end as usize];
            (id, Bytes::copy_from_slice(body))
        })
        .collect();
    let mut cuts = Vec::new();
    let mut kept = message.as_bytes().to_vec();
    if cut {
        cuts.extend(
            moved.iter().map(|(id, _)| places[*id as usize].part.body_at..places[*id as usize].body_end),
        );
        for cut in cuts.iter().rev() {
            kept.drain(cut.start as usize..cut.end as usize);
        }
    }
    let names: Vec<File> = moved.iter().map(|(_, file)| file.clone()).collect();
    let content = Content {
        places: &places,
        moved: &moved,
        len: message.len() as u64,
        cuts: &cuts,
        texts: &texts,
        manifest,
    };
    let block = Block { files: &names, until: Timestamp(1_796_083_200_000_000), language };
    let recipe = rewrite::form(&content, &block).expect("a form");
    let (mut render, mut out, mut given) = (Render::new(&recipe, LINK), Vec::new(), false);
    loop {
        match render.step() {
            Rendered::Octets(octets) => out.extend_from_slice(&octets),
            Rendered::More => {
                assert!(!given, "the form asks for more than there is");
                given = true;
                render.push(Bytes::from(kept.clone()));
            }
            Rendered::End => return String::from_utf8_lossy(&out).into_owned(),
        }
    }
}

fn german(message: &str) -> String {
    let out = rewritten(message, Language::German, false, false);
    assert_eq!(out, rewritten(message, Language::German, false, true), "a cut body makes no difference");
    out
}

/// One line a part: type, name, and of a text its content.
fn outline(message: &str) -> Vec<String> {
    let parsed = MessageParser::new().parse(message.as_bytes()).expect("a message");
    let line = |part: &mail_parser::MessagePart<'_>| {
        let kind = part.content_type().map_or("text/plain".to_owned(), |kind| {
            format!("{}/{}", kind.c_type, kind.c_subtype.as_deref().unwrap_or_default())
        });
        let text = match &part.body {
            PartType::Text(text) | PartType::Html(text) => text.replace("\r\n", "|"),
            _ => String::new(),
        };
        format!("{kind} {} {text}", part.attachment_name().unwrap_or_default()).trim_end().to_owned()
    };
    parsed.parts.iter().map(line).collect()
}

const FILE: &str = "Content-Type: application/pdf; name=\"Übersicht.pdf\"\r\nContent-Disposition: attachment\r\n\
    Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n";

fn mixed(body: &str) -> String {
    format!(
        "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{body}\r\n--b\r\n{FILE}\r\n--b--\r\n"
    )
}

fn block(name: &str) -> String {
    let rule = "-".repeat(60);
    format!(
        "{rule}|1 Datei zum Herunterladen (31,4 MB)|Verfügbar bis 1. Dezember 2026||{LINK}||- {name} (PDF, 31,4 MB)|{rule}|"
    )
}

#[test]
fn a_block_goes_into_the_text_in_its_own_charset_and_coding() {
    let folded = block("Uebersicht.pdf").replace("Verfügbar", "Verfuegbar");
    for (fields, body, want) in [
        (
            "text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit",
            "Grüße",
            format!("Grüße||{}", block("Übersicht.pdf")),
        ),
        (
            "text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit",
            "Grüße\r\n",
            format!("Grüße||{}", block("Übersicht.pdf")),
        ),
        ("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit", "", block("Übersicht.pdf")),
        (
            "text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable",
            "Gr=FC=DFe von einem Satz, der l=E4nger ist als eine Zeile und umgebrochen=\r\n wird",
            format!(
                "Grüße von einem Satz, der länger ist als eine Zeile und umgebrochen wird||{}",
                block("Übersicht.pdf")
            ),
        ),
        (
            "text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64",
            "R3LDvMOfZQ==\r\n",
            format!("Grüße||{}", block("Übersicht.pdf")),
        ),
        // The charset lacks a character: UTF-8, and quoted-printable instead of 7bit.
        ("text/plain; format=flowed", "plain = 5", format!("plain = 5||{}", block("Übersicht.pdf"))),
        (
            "text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit",
            "a\r\n-- \r\nme",
            format!("a|{}|-- |me", block("Übersicht.pdf")),
        ),
        // Nobody knows the charset: letters of ASCII.
        ("text/plain; charset=x-user\r\nContent-Transfer-Encoding: 8bit", "a", format!("a||{folded}")),
        // Not clean: at the end.
        (
            "text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable",
            "a=\r\nb \r\nc",
            format!("ab|c|{}", block("Übersicht.pdf")),
        ),
    ] {
        let out = german(&mixed(&format!("Content-Type: {fields}\r\n\r\n{body}")));
        let lines = outline(&out);
        assert_eq!(lines[0], "multipart/mixed");
        assert_eq!(lines[1], format!("text/plain  {want}"), "{fields}\n{out}");
        assert_eq!(lines.len(), 2, "{out}");
        assert!(out.starts_with("X-Vouchsafe-Detached: 1 file, 31457280 octets\r\nSubject: x\r\n"));
        assert!(out.split("\r\n").all(|line| line.len() <= 78 || !fields.contains("printable")), "{out}");
    }
    let flowed = german(&mixed("Content-Type: text/plain; format=flowed\r\n\r\nplain"));
    assert!(flowed.contains("Content-Type: text/plain; charset=utf-8; format=flowed\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nplain\r\n"), "{flowed}");
}

#[test]
fn text_and_html_both_get_it() {
    for (coding, html) in [
        ("7bit", "<html><body>\r\n<p>hello</p>\r\n</BODY>\r\n</html>"),
        ("quoted-printable", "<html><body class=3D\"a\"><p>hello</p></bo=\r\ndy></html>"),
        ("base64", "PGh0bWw+PGJvZHk+PHA+aGVsbG88L3A+PC9ib2R5PjwvaHRtbD4="),
    ] {
        let message = mixed(&format!(
            "Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: 8bit\r\n\r\nhello\r\n--c\r\nContent-Type: text/html; charset=iso-8859-1\r\n\
            Content-Transfer-Encoding: {coding}\r\n\r\n{html}\r\n--c--"
        ));
        let out = german(&message);
        let lines = outline(&out);
        assert_eq!(lines.len(), 4, "{out}");
        assert_eq!(lines[2], format!("text/plain  hello||{}", block("Übersicht.pdf")));
        let html = &lines[3];
        assert_eq!(html.matches(LINK).count(), 2, "{html}");
        assert!(
            html.contains(&format!("<a href=\"{LINK}\"")) && html.contains("&#220;bersicht.pdf"),
            "{html}"
        );
        let end = html.to_lowercase().find("</body>").expect("the end of the body");
        assert!(html.find("Herunterladen</a>").expect("the button") < end && html.contains("<p>hello</p>"));
    }
}

#[test]
fn html_without_a_place_for_the_block_is_not_left_without_a_link() {
    let message = mixed(
        "Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nhello\r\n--c\r\n\
        Content-Type: text/html; charset=utf-16le\r\nContent-Transfer-Encoding: base64\r\n\r\naABpAA==\r\n--c--",
    );
    let lines = outline(&german(&message));
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[4], format!("text/plain  {}", block("Übersicht.pdf")));
}

#[test]
fn a_message_that_is_one_file_becomes_a_text() {
    let message = format!("Subject: scan\r\nMIME-Version: 1.0\r\n{FILE}");
    let out = german(&message);
    assert_eq!(outline(&out), [format!("text/plain  {}", block("Übersicht.pdf"))]);
    assert!(
        out.contains("\r\nSubject: scan\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n")
    );
    assert!(!out.contains("Content-Disposition"));
}

#[test]
fn without_a_body_the_first_file_gives_its_place() {
    let message = mixed(FILE);
    let lines = outline(&german(&message));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("2 Dateien zum Herunterladen (62,9 MB)"), "{lines:?}");
}

#[test]
fn a_manifest_keeps_the_place_of_the_first_file() {
    let message = mixed("Content-Type: text/plain; charset=utf-8\r\n\r\nhello");
    let lines = outline(&rewritten(&message, Language::English, true, true));
    assert_eq!(lines.len(), 3);
    assert!(lines[2].starts_with("text/plain vouchsafe-attachments.txt ----"), "{lines:?}");
    assert!(lines[2].contains(LINK) && lines[1].contains(LINK));
}

#[test]
fn a_multipart_never_becomes_empty() {
    let inner = format!("Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n{FILE}\r\n--c--");
    let message = mixed(&format!("Content-Type: text/plain\r\n\r\nhello\r\n--b\r\n{inner}"));
    let lines = outline(&german(&message));
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[3].starts_with("text/plain vouchsafe-attachments.txt"));
}

#[test]
fn what_is_not_touched_stays_octet_for_octet() {
    let keep = "Content-Type: image/png; name=a.png\r\nContent-ID: <a>\r\nX-Odd: \t fold\r\n  ed\r\n\r\n\u{1} raw -- octets \r\n\r\n";
    let message = mixed(&format!(
        "Content-Type: text/plain\r\n\r\nhello\r\n--b\r\n{keep}\r\n--b\r\n{FILE}\r\n--b\r\n{keep}"
    ));
    let out = german(&message);
    assert_eq!(out.matches(keep).count(), 2, "{out}");
    assert_eq!(outline(&out).len(), 4);
}
