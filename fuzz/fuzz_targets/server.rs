//! The server machine, with everything granted: any cut gives the same dialogue, and no message holds a bare CR, LF or NUL.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vouchsafe_smtp::data::BareNewline;
use vouchsafe_smtp::limits::Limits;
use vouchsafe_smtp::server::{Answer, Config, Output, Question, Server};
use vouchsafe_smtp::{Reply, Tick};

/// What was sent, and the messages that were committed.
fn converse(config: &Arc<Config>, input: &[u8], piece: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut server = Server::new(config.clone(), false, Tick(0));
    let (mut sent, mut messages, mut body, mut answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut pieces = input.chunks(piece);
    loop {
        match server.poll() {
            Output::Send(reply) => reply.write_to(&mut sent),
            Output::Ask(id, Question::Recipients(all)) => answers.extend(
                (0..all.len())
                    .map(|index| (id, Answer::Recipient { index, reply: Reply::new(250, (2, 1, 5), "Ok") })),
            ),
            Output::Ask(id, Question::Client(_)) => answers.push((id, Answer::Anew(config.clone()))),
            Output::Ask(id, question) => {
                if question == Question::Commit {
                    messages.push(std::mem::take(&mut body));
                }
                answers.push((id, Answer::Yes(Reply::new(250, (2, 0, 0), "Ok"))));
            }
            Output::Body(octets) => body.extend_from_slice(octets),
            Output::Dropped => body.clear(),
            Output::Close(_) => return (sent, messages),
            Output::Idle { .. } if !answers.is_empty() => {
                let (id, answer) = answers.remove(0);
                server.answer(id, answer, Tick(0));
            }
            Output::Idle { .. } => match pieces.next() {
                Some(octets) => server.receive(octets, Tick(0)),
                None => return (sent, messages),
            },
            Output::Cancel(_) | Output::BodyEnd | Output::StartTls => {}
        }
    }
}

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece, normalize, octets) = input;
    let config = Arc::new(Config {
        hostname: "gate.example".to_owned(),
        starttls: false,
        mechanisms: vec!["PLAIN".to_owned()],
        auth_in_clear: true,
        auth_required: false,
        message_size: Some(1000),
        bare_newline: if normalize { BareNewline::Normalize } else { BareNewline::Reject },
        close_on_early_data: false,
        greet_wait: Duration::ZERO,
        xclient: true,
        limits: Limits::default(),
    });
    let whole = converse(&config, octets, octets.len().max(1));
    assert_eq!(whole, converse(&config, octets, usize::from(piece).max(1)));
    for message in whole.1 {
        let mut before = 0;
        for octet in message.iter().copied().chain([0x20]) {
            assert!(octet != 0 && (before == b'\r') == (octet == b'\n'), "{message:?}");
            before = octet;
        }
    }
});
