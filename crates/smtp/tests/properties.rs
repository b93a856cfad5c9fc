//! Properties of the parsers and of the server machine: no octets make them panic, what is parsed prints as it was,
//! and any cut of the input gives the same replies, the same questions and the same stored octets.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use vouchsafe_smtp::data::BareNewline;
use vouchsafe_smtp::limits::Limits;
use vouchsafe_smtp::sasl::{self, Plain};
use vouchsafe_smtp::server::{Answer, Config, Output, Question, Server};
use vouchsafe_smtp::{Mailbox, Reply, Secret, Tick};

fn config(bare_newline: BareNewline) -> Arc<Config> {
    let limits = Limits { errors: 10_000, commands: 10_000, ..Limits::default() };
    Arc::new(Config {
        hostname: "gate.example".to_owned(),
        starttls: true,
        mechanisms: vec!["PLAIN".to_owned()],
        auth_in_clear: true,
        auth_required: false,
        message_size: Some(300),
        bare_newline,
        close_on_early_data: false,
        greet_wait: Duration::ZERO,
        xclient: true,
        limits,
    })
}

/// All that is seen from outside: octets sent, things asked about, messages stored, and whether it closed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    sent: Vec<u8>,
    asked: Vec<String>,
    messages: Vec<Vec<u8>>,
    closed: bool,
}

/// Says yes to everything and feeds the machine piece by piece.
fn converse<'a>(config: &Arc<Config>, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut server = Server::new(config.clone(), false, Tick(0));
    let (mut seen, mut body, mut answers) = (Seen::default(), Vec::new(), Vec::new());
    let mut pieces = pieces.filter(|piece| !piece.is_empty());
    loop {
        match server.poll() {
            Output::Send(reply) => reply.write_to(&mut seen.sent),
            Output::Ask(id, Question::Recipients(all)) => {
                for (index, one) in all.iter().enumerate() {
                    seen.asked.push(format!("{one:?}"));
                    answers.push((id, Answer::Recipient { index, reply: Reply::new(250, (2, 1, 5), "OK") }));
                }
            }
            Output::Ask(id, Question::Client(claim)) => {
                seen.asked.push(format!("{claim:?}"));
                answers.push((id, Answer::Anew(config.clone())));
            }
            Output::Ask(id, question) => {
                if question == Question::Commit {
                    seen.messages.push(std::mem::take(&mut body));
                }
                seen.asked.push(format!("{question:?}"));
                answers.push((id, Answer::Yes(Reply::new(250, (2, 0, 0), "OK"))));
            }
            Output::Body(octets) => body.extend_from_slice(octets),
            Output::Dropped => body.clear(),
            Output::Close(_) => {
                seen.closed = true;
                return seen;
            }
            Output::Idle { .. } if !answers.is_empty() => {
                let (id, answer) = answers.remove(0);
                server.answer(id, answer, Tick(0));
            }
            Output::Idle { .. } => match pieces.next() {
                Some(piece) => server.receive(piece, Tick(0)),
                None => return seen,
            },
            Output::Cancel(_) | Output::BodyEnd | Output::StartTls => {}
        }
    }
}

/// What bodies are made of when someone wants to confuse us.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec!["\r\n", "\r", "\n", ".", "..", "\r\n.", "a", "bc", "\0", "\u{e9}"]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

fn segment() -> impl Strategy<Value = Vec<u8>> {
    let envelope = |count: usize| {
        let recipients = "RCPT TO:<c@d.example>\r\n".repeat(count);
        format!("RSET\r\nMAIL FROM:<a@b.example>\r\n{recipients}").into_bytes()
    };
    prop_oneof![
        "[ -~]{0,30}".prop_map(|text| format!("NOOP {text}\r\n").into_bytes()),
        "[A-CE-Za-z:<>@ ]{0,20}".prop_map(|text| format!("X{text}\r\n").into_bytes()),
        "(MAIL FROM|RCPT TO):<[a-z\"@.%!\\[\\]]{0,12}>( [A-Z]{1,6}=[!-~]{0,9})?"
            .prop_map(|text| (text + "\r\n").into_bytes()),
        Just(b"EHLO client.example\r\n".to_vec()),
        "XCLIENT( (ADDR|HELO|LOGIN|PORT)=[!-~]{0,12}){0,3}"
            .prop_map(|text| (text + "\r\nEHLO c\r\n").into_bytes()),
        Just(b"XCLIENT ADDR=192.0.2.7 HELO=x\r\nEHLO c\r\n".to_vec()),
        Just(b"NOOP\nNOOP\r\0\r\n".to_vec()),
        (1_usize..60, content()).prop_map(move |(count, body)| [
            envelope(count),
            b"DATA\r\n".to_vec(),
            body,
            b"\r\n.\r\n".to_vec()
        ]
        .concat()),
        (content(), content()).prop_map(move |(one, two)| {
            let head = |chunk: &[u8], last: &str| format!("BDAT {}{last}\r\n", chunk.len()).into_bytes();
            [envelope(1), head(&one, ""), one, head(&two, " LAST"), two].concat()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_dialogue(
        segments in prop::collection::vec(segment(), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        normalize in any::<bool>(),
    ) {
        let config = config(if normalize { BareNewline::Normalize } else { BareNewline::Reject });
        let input = [b"EHLO client.example\r\n".to_vec(), segments.concat()].concat();
        let whole = converse(&config, [&input[..]].into_iter());
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).collect();
        places.extend([0, input.len()]);
        places.sort_unstable();
        prop_assert_eq!(&whole, &converse(&config, places.windows(2).map(|pair| &input[pair[0]..pair[1]])));
        prop_assert_eq!(&whole, &converse(&config, input.chunks(1)));
    }

    #[test]
    fn stored_messages_hold_only_crlf(
        body in content(),
        normalize in any::<bool>(),
    ) {
        let config = config(if normalize { BareNewline::Normalize } else { BareNewline::Reject });
        let envelope = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n".to_vec();
        let seen = converse(&config, [&[envelope, body, b"\r\n.\r\n".to_vec()].concat()[..]].into_iter());
        for message in seen.messages {
            let text = String::from_utf8_lossy(&message).replace("\r\n", "");
            prop_assert!(!text.contains(['\r', '\n', '\0']));
        }
    }

    #[test]
    fn random_octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..600), size in 1_usize..50) {
        converse(&config(BareNewline::Reject), octets.chunks(size));
    }

    #[test]
    fn random_lines_never_panic(lines in prop::collection::vec("(MAIL FROM:|RCPT TO:|AUTH |BDAT |EHLO )?\\PC{0,60}", 0..20)) {
        converse(&config(BareNewline::Normalize), [lines.join("\r\n").as_bytes()].into_iter());
    }

    #[test]
    fn an_address_prints_as_it_was_parsed(text in "(\"([ -~]|\\\\[ -~]){0,9}\"|[a-z.!%+]{1,9})@([a-z]{1,5}(\\.[a-z]{1,5}){0,3}|\\[[0-9.]{7,9}\\])") {
        if let Ok(mailbox) = Mailbox::parse(&text, false) {
            prop_assert_eq!(mailbox.as_str(), &text);
            prop_assert_eq!(format!("{}@{}", mailbox.local(), mailbox.domain()), text.clone());
            prop_assert_eq!(Mailbox::parse(mailbox.as_str(), true), Ok(mailbox));
        }
    }

    #[test]
    fn random_text_is_no_trouble_as_an_address(text in "\\PC{0,40}", utf8 in any::<bool>()) {
        let _ = Mailbox::parse(&text, utf8);
    }

    #[test]
    fn plain_comes_back(authzid in "[^\\x00-\\x1f\\x7f-\\x9f]{0,9}", authcid in "[^\\x00-\\x1f\\x7f-\\x9f]{1,9}", password in "[^\\x00]{1,9}") {
        let plain = Plain { authzid, authcid, password: Secret::new(password) };
        let response = sasl::encode_plain(&plain).expect("no NUL in it");
        let wire = sasl::encode_base64(response.expose());
        let decoded = sasl::decode_base64(wire.as_bytes()).expect("our own base64");
        prop_assert_eq!(sasl::decode_plain(decoded.expose()), Ok(plain));
    }

    #[test]
    fn random_sasl_responses_never_panic(
        octets in prop::collection::vec(any::<u8>(), 0..100),
        text in "(n,a=|n,,n=|y,,n=|user=|username=\"|NTLMSSP\\x00\\x03\\x00\\x00\\x00)?\\PC{0,40}",
    ) {
        for mechanism in sasl::Mechanism::ALL {
            for response in [&octets[..], text.as_bytes()] {
                if let Ok(Some(name)) = sasl::Names::new(mechanism).read(response) {
                    prop_assert!(!name.is_empty() && !name.chars().any(char::is_control));
                }
            }
        }
    }
}
