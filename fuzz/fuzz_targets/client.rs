//! The client machine before a peer that says anything: any cut gives the same outcome, and only the octets of a reply
//! of ours to a question of ours are an answer.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vouchsafe_smtp::client::{Client, Config, Done, Output, Timeouts, UseTls};
use vouchsafe_smtp::{Mailbox, ReversePath, Secret, Tick};

/// What was said, and what came of it.
fn converse(login: bool, peer: &[u8], piece: usize) -> (Vec<u8>, Vec<Output>) {
    let config = Config {
        hello: "gate.example".to_owned(),
        lmtp: false,
        tls: UseTls::IfOffered,
        auth_in_clear: true,
        login: login.then(|| ("alice".to_owned(), Secret::new("secret".to_owned()))),
        timeouts: Timeouts { command: Duration::from_secs(60), ..Timeouts::default() },
        trace: false,
    };
    let recipients = ["bob@d.example", "\"c d\"@d.example", "e@d.example"]
        .map(|text| Mailbox::parse(text, false).expect("an address"));
    let (mut client, now) = (Client::new(config, false, Tick(0)), Tick(0));
    let (mut said, mut outputs) = (Vec::new(), Vec::new());
    let mut pieces = peer.chunks(piece);
    loop {
        let output = client.poll();
        match &output {
            Output::Wait { .. } => {
                let written = client.outgoing().len();
                said.extend_from_slice(client.outgoing());
                client.wrote(written, now);
                match pieces.next() {
                    Some(octets) => client.receive(octets, now),
                    None => return (said, outputs),
                }
                continue;
            }
            Output::Done(Done::Open | Done::Callout) => client.callout(&ReversePath::Null, &recipients, now),
            Output::StartTls | Output::Body | Output::Done(_) | Output::Fault(..) => {
                outputs.push(output);
                return (said, outputs);
            }
            Output::Answer { index, .. } => assert!(*index < recipients.len()),
        }
        outputs.push(output);
    }
}

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece, login, peer) = input;
    let whole = converse(login, peer, peer.len().max(1));
    let cut = converse(login, peer, usize::from(piece).max(1));
    assert_eq!(whole.1, cut.1);
    assert!(whole.0.starts_with(&cut.0) || cut.0.starts_with(&whole.0));
});
