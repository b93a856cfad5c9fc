//! A store as a busy gateway leaves it: events with the addresses of a company's users and of a few hundred thousand
//! strangers, messages that wait. What stands in them follows from their numbers alone, so that every run fills the same.

use crate::Outcome;
use std::time::Duration;
use tokio::task::JoinSet;
use vouchsafe_core::policy::{self, Block, Client, Decision};
use vouchsafe_core::ports::{
    Accepted, Body, History, HistoryEvent, HistoryFilter, MailStore, RecipientOutcome, Settlement,
};
use vouchsafe_core::{Envelope, MessageId, Origin, RecipientState, Timestamp};
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, ReversePath};
use vouchsafe_store::sqlite::SqliteStore;

/// The domain whose mail the gateway takes.
pub const OURS: &str = "company.example";
/// Users there.
pub const USERS: u64 = 2_000;
/// Strangers that write to them or are written to.
const STRANGERS: u64 = 200_000;
/// Domains of the strangers.
const DOMAINS: u64 = 5_000;
/// Microseconds between two events: a million of them in some twelve days.
const APART: i64 = 1_000_000;
/// Events recorded before the history is waited for: it drops what comes faster than the disk takes it.
const BATCH: u64 = 4_096;

/// Records so many events; the last one is of `now`.
pub async fn history(store: &SqliteStore, events: u64, now: Timestamp) -> Outcome {
    for number in 0..events {
        store.record(event(number, time(number, events, now)));
        if number % BATCH == BATCH - 1 || number + 1 == events {
            // A search waits until everything before it is written.
            let written = store.search(HistoryFilter { limit: 1, ..HistoryFilter::default() });
            written.await.map_err(|fault| format!("the history: {fault}"))?;
        }
    }
    Ok(())
}

/// Puts so many messages into the queue: each was tried once and is due again in a day, one in ten is on hold.
pub async fn queue(store: &std::sync::Arc<SqliteStore>, messages: u64, now: Timestamp) -> Outcome {
    let mut waiting = JoinSet::new();
    for number in 0..messages {
        let store = store.clone();
        waiting.spawn(async move { wait(&store, number, now).await });
        if waiting.len() == 200 || number + 1 == messages {
            while let Some(done) = waiting.join_next().await {
                done.map_err(|error| error.to_string())??;
            }
        }
    }
    Ok(())
}

async fn wait(store: &SqliteStore, number: u64, now: Timestamp) -> Outcome {
    let parse =
        |address: &str| Mailbox::parse(address, false).map_err(|error| format!("{address}: {error:?}"));
    let inbound = !number.is_multiple_of(3);
    let (user, stranger) = (parse(&user(chance(number, 13)))?, parse(&stranger(chance(number, 14)))?);
    let (sender, mailbox) = if inbound { (stranger, user) } else { (user, stranger) };
    let client = Client { authenticated: true, ..Client::default() };
    let block = if inbound { Block::Named(OURS) } else { Block::None };
    let permit = match policy::decide(&client, &mailbox, block) {
        Decision::Permit(permit) => permit,
        Decision::Ask(ask) => ask.accept(),
        other => return Err(format!("{mailbox}: {other:?}")),
    };
    let received = Timestamp(now.0 - APART * number as i64);
    let mut envelope = Envelope::new(message(2 * number), received, origin(number), mail(sender));
    envelope.add(RcptTo { mailbox, notify: None, orcpt: None }, permit);
    let accepted = Accepted {
        envelope,
        head: bytes::Bytes::from_static(b"Received: by gate.bench.example\r\n"),
        body: Body::Memory(bytes::Bytes::from_static(b"Subject: waiting\r\n\r\nA little text.\r\n")),
        due: received,
        claim: true,
        detached: None,
        news: None,
    };
    let fault = |fault: vouchsafe_core::ports::StoreFault| format!("the queue: {fault}");
    for delivery in store.accept(accepted).await.map_err(fault)? {
        let held = number.is_multiple_of(10);
        let outcomes = vec![RecipientOutcome {
            index: 0,
            state: if held { RecipientState::Held } else { RecipientState::Pending },
            reply: "451 4.7.1 Greylisted, please try again later".to_owned(),
            warned: false,
        }];
        let next_due = now + Duration::from_secs(24 * 3600);
        let settlement =
            Settlement { delivery: delivery.id, outcomes, next_due, attempts: 1, dsn: Vec::new() };
        store.settle(settlement).await.map_err(fault)?;
    }
    Ok(())
}

fn origin(number: u64) -> Origin {
    Origin {
        session: session(2 * number),
        listener: "load".to_owned(),
        client: Some([192, 0, 2, (number % 200) as u8].into()),
        port: Some(40_000),
        helo: "pc.bench.example".to_owned(),
        esmtp: true,
        login: None,
        known_sender: true,
        proven: false,
    }
}

fn mail(sender: Mailbox) -> MailFrom {
    MailFrom::new(ReversePath::Mailbox(sender))
}

/// When the event of this number was, of so many.
pub fn time(number: u64, events: u64, now: Timestamp) -> Timestamp {
    Timestamp(now.0 - APART * (events - 1 - number) as i64)
}

/// The event of this number.
pub fn event(number: u64, at: Timestamp) -> HistoryEvent {
    let (kind, blame, detail) = match chance(number, 1) % 1000 {
        0..350 => ("accepted", "", "mx"),
        350..700 => ("delivered", "", "250 2.0.0 Ok: queued as 4F2A1C03"),
        700..850 => ("refused", "client", "550 5.1.1 No such user (office said: 550 5.1.1 User unknown)"),
        850..910 => ("deferred", "next hop", "451 4.7.1 Greylisted, please try again later"),
        910..980 => ("login", "client", "refused by office: 535 5.7.8 Authentication failed"),
        980..995 => ("failed", "next hop", "550 5.7.1 Rejected as spam"),
        _ => ("held", "next hop", "554 5.7.1 Message refused"),
    };
    let (user, stranger) = (user(chance(number, 2)), stranger(squared(chance(number, 3), STRANGERS)));
    let inbound = !chance(number, 4).is_multiple_of(4);
    let (sender, recipient) = match kind {
        "login" => (String::new(), user),
        _ if inbound => (stranger, user),
        _ => (user, stranger),
    };
    HistoryEvent {
        at,
        session: session(number),
        message: (kind != "refused" && kind != "login").then(|| message(number)),
        kind: kind.to_owned(),
        sender,
        recipient,
        blame: blame.to_owned(),
        detail: detail.to_owned(),
    }
}

/// The session of an event.
pub fn session(number: u64) -> String {
    format!("{:012x}", chance(number / 3, 5) >> 16)
}

/// The message of an event.
pub fn message(number: u64) -> MessageId {
    let number = number / 2;
    let high = 0x0190_0000_0000_7000_u128 + (u128::from(number) << 16);
    MessageId(uuid::Uuid::from_u128(high << 64 | 0x8000_u128 << 48 | u128::from(chance(number, 6) >> 16)))
}

/// Address of a user of ours.
pub fn user(number: u64) -> String {
    format!("{}@{OURS}", name(number % USERS))
}

/// Address of a stranger.
pub fn stranger(number: u64) -> String {
    let domain = domain(chance(number, 7));
    match number % 10 {
        0 => format!("info@{domain}"),
        1 => format!("bounce-{number}@{domain}"),
        _ => format!("{}@{domain}", name(chance(number, 8))),
    }
}

/// A domain of strangers; a few have most of them.
pub fn domain(number: u64) -> String {
    let number = squared(number, DOMAINS);
    let top = ["com", "example", "net", "org", "co.uk", "de"][(number % 6) as usize];
    format!("{}{}.{top}", syllables(number, 9), syllables(number, 10))
}

/// `first.last`, sometimes with a number.
fn name(number: u64) -> String {
    let figures = if number.is_multiple_of(7) { (number % 90 + 10).to_string() } else { String::new() };
    format!("{}.{}{figures}", syllables(number % 211, 11), syllables(number, 12))
}

/// Two or three syllables.
fn syllables(number: u64, salt: u64) -> String {
    const BEGIN: [&str; 20] = [
        "b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "sch", "st",
        "br",
    ];
    const END: [&str; 15] =
        ["a", "e", "i", "o", "u", "an", "er", "in", "on", "us", "el", "ar", "ien", "ott", "ann"];
    let mut chance = chance(number, salt);
    let count = 2 + chance % 2;
    let mut word = String::new();
    for _ in 0..count {
        chance /= 2;
        word.push_str(BEGIN[(chance % 20) as usize]);
        word.push_str(END[(chance / 20 % 15) as usize]);
        chance /= 300;
    }
    word
}

/// Below `most`, the low ones far more often.
fn squared(chance: u64, most: u64) -> u64 {
    let share = (chance >> 11) as f64 / (1_u64 << 53) as f64;
    (share * share * most as f64) as u64
}

/// The same for the same number and salt; else anything (splitmix64).
pub fn chance(number: u64, salt: u64) -> u64 {
    let mut mixed =
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(salt.wrapping_mul(0xD1B5_4A32_D192_ED03));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_again_and_differ_from_each_other() {
        let all: Vec<HistoryEvent> = (0..1000).map(|number| event(number, Timestamp(1))).collect();
        assert_eq!(all[7], event(7, Timestamp(1)));
        let senders: std::collections::BTreeSet<&str> = all.iter().map(|event| &*event.sender).collect();
        assert!(senders.len() > 600, "{}", senders.len());
        assert!(all.iter().any(|event| event.kind == "held"));
    }
}
