//! Any peer at all: whatever it says, cut as it likes, the client machine neither panics nor sends a body unasked.

use proptest::prelude::*;
use vouchsafe_smtp::client::{Client, Config, Output, Timeouts, UseTls};
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, ReversePath, Secret, Tick};

const SAYINGS: [&str; 14] = [
    "220 mail.example\r\n",
    "250-mail.example\r\n250-PIPELINING\r\n250 AUTH LOGIN\r\n",
    "250 ok\r\n",
    "250-ok\r\n",
    "354 go\r\n",
    "550 5.1.1 no\r\n",
    "452 4.5.3 too many recipients\r\n",
    "421 4.3.2 busy\r\n",
    "235 2.7.0 in\r\n",
    "334 eA==\r\n",
    "535 5.7.8 no\r\n",
    "500 what?\r\n",
    "\r\n",
    "garbage",
];
const BODY: &[u8] = b"BODY\r\n";

fn mailbox() -> Mailbox {
    Mailbox::parse("b@x.example", false).expect("an address")
}

fn start(client: &mut Client, task: u8) {
    let now = Tick(0);
    match task % 3 {
        0 => client.callout(&ReversePath::Null, &[mailbox(), mailbox()], now),
        1 => client.authenticate("alice", &Secret::new(*b"secret"), now),
        _ => {
            let mail = MailFrom::new(ReversePath::Null);
            let to = RcptTo { mailbox: mailbox(), notify: None, orcpt: None };
            client.deliver(&mail, &[to.clone(), to], 6, now);
        }
    }
}

proptest! {
    #[test]
    fn any_peer_is_survived(said in proptest::collection::vec(0..SAYINGS.len(), 0..24), task in 0u8..3, cut in 1usize..30) {
        let config = Config {
            hello: "gate.example".to_owned(),
            lmtp: task == 2,
            tls: UseTls::Never,
            auth_in_clear: true,
            login: None,
            timeouts: Timeouts::default(),
            trace: true,
        };
        let mut client = Client::new(config, false, Tick(0));
        // Half of the peers begin as they should.
        let opening = if task % 2 == 0 { [SAYINGS[0], SAYINGS[1]].concat() } else { String::new() };
        let octets = opening + &said.iter().map(|n| SAYINGS[*n]).collect::<String>();
        let (mut written, mut wanted_body, mut faults, mut task) = (Vec::new(), false, 0, task);
        for piece in octets.as_bytes().chunks(cut) {
            client.receive(piece, Tick(1));
            loop {
                match client.poll() {
                    Output::Body => {
                        wanted_body = true;
                        client.body(BODY, true, Tick(1));
                    }
                    Output::Done(_) => {
                        start(&mut client, task);
                        task += 1;
                    }
                    Output::Fault(..) => {
                        faults += 1;
                        prop_assert!(client.outgoing().is_empty(), "nothing is said after a fault");
                        break;
                    }
                    Output::Wait { .. } => {
                        let outgoing = client.outgoing().to_vec();
                        client.wrote(outgoing.len(), Tick(1));
                        written.extend(outgoing);
                        break;
                    }
                    Output::Answer { .. } | Output::StartTls => {}
                }
            }
            prop_assert!(faults == 0 || !client.is_ready(), "a fault is the end");
        }
        let sent_body = written.windows(BODY.len()).any(|window| window == BODY);
        prop_assert!(wanted_body || !sent_body);
        prop_assert!(!sent_body || octets.contains("354"), "a body only behind 354");
    }
}
