//! What the tests are about: messages, stores, and a way to wait.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use vouchsafe_core::policy::{self, Block, Client, Decision};
use vouchsafe_core::ports::{
    Accepted, Body, BodyReader, Delivery, MailStore, RecipientOutcome, Settlement, SpooledBody, StoreFault,
};
use vouchsafe_core::{Envelope, MessageId, Origin, RecipientState, Timestamp};
use vouchsafe_smtp::{BodyKind, MailFrom, Mailbox, Notify, Orcpt, RcptTo, Ret, ReversePath};
use vouchsafe_store::disk::Disk;
use vouchsafe_store::sqlite::{Options, SqliteStore};

pub const HEAD: &[u8] = b"Received: by gate.example\r\n";
pub const NOW: Timestamp = Timestamp(1_795_415_738_000_000);

pub fn id(number: u128) -> MessageId {
    MessageId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number))
}

/// Runs a test body on a runtime of its own.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A folder for the databases; in memory where there is one, since what is tested is not SQLite's own syncs.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn mail(from: &str) -> MailFrom {
    MailFrom {
        reverse_path: match from {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(Mailbox::parse(text, true).unwrap()),
        },
        size: Some(1234),
        body: BodyKind::EightBitMime,
        smtputf8: true,
        auth: Some("who".to_owned()),
        ret: Some(Ret::Hdrs),
        envid: Some("QQ314159".to_owned()),
    }
}

pub fn envelope(id: MessageId, from: &str, to: &[&str]) -> Envelope {
    let origin = Origin {
        session: "s-1".to_owned(),
        listener: "mx".to_owned(),
        client: Some("192.0.2.7".parse().unwrap()),
        port: Some(40_123),
        helo: "pc.example".to_owned(),
        esmtp: false,
        login: Some("alice".to_owned()),
        known_sender: true,
        proven: false,
    };
    let mut envelope = Envelope::new(id, NOW, origin, mail(from));
    for address in to {
        let mailbox = Mailbox::parse(address, true).unwrap();
        let domain = mailbox.domain_key();
        let block = if domain.ends_with(".example") { Block::Named(&domain) } else { Block::None };
        let user = Client { authenticated: true, ..Client::default() };
        let permit = match policy::decide(&user, &mailbox, block) {
            Decision::Permit(permit) => permit,
            Decision::Ask(ask) => ask.accept(),
            _ => panic!("users may relay"),
        };
        let notify = Some(Notify { success: true, failure: true, delay: false });
        let orcpt = Some(Orcpt { address_type: "rfc822".to_owned(), xtext: format!("x+2B{address}") });
        envelope.add(RcptTo { mailbox, notify, orcpt }, permit);
    }
    envelope
}

pub fn accepted(id: MessageId, to: &[&str], body: Body) -> Accepted {
    let envelope = envelope(id, "sender@from.test", to);
    Accepted {
        envelope,
        head: Bytes::from_static(HEAD),
        body,
        due: NOW,
        claim: false,
        detached: None,
        news: None,
    }
}

/// A body that tells its message and its place: no two octets in a row are alike by accident.
pub fn octets(id: MessageId, len: usize) -> Bytes {
    let seed = id.0.as_u128() as u64 | 1;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octets = Vec::with_capacity(len + 8);
    while octets.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend_from_slice(&state.to_le_bytes());
    }
    octets.truncate(len);
    octets.into()
}

pub fn small(number: u128, to: &[&str]) -> Accepted {
    accepted(id(number), to, Body::Memory(octets(id(number), 5_000)))
}

pub async fn spool(store: &dyn MailStore, octets: &Bytes) -> Result<SpooledBody, StoreFault> {
    let mut writer = store.body_writer().await?;
    for chunk in octets.chunks(100_000) {
        writer.write(octets.slice_ref(chunk)).await?;
    }
    writer.finish().await
}

pub async fn read_all(mut reader: Box<dyn BodyReader>) -> Result<Vec<u8>, StoreFault> {
    let mut octets = Vec::new();
    while let Some(chunk) = reader.next().await? {
        assert!(!chunk.is_empty() && chunk.len() <= 256 * 1024);
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

pub async fn content(store: &dyn MailStore, id: MessageId) -> Result<Vec<u8>, StoreFault> {
    read_all(store.open_body(id).await?).await
}

pub fn whole(body: &Bytes) -> Vec<u8> {
    [HEAD, body].concat()
}

/// The same outcome for every recipient.
pub fn settlement(delivery: &Delivery, state: RecipientState, next_due: Timestamp) -> Settlement {
    let outcomes = delivery
        .recipients
        .iter()
        .map(|recipient| RecipientOutcome {
            index: recipient.index,
            state,
            reply: "next hop said so".to_owned(),
            warned: false,
        })
        .collect();
    Settlement { delivery: delivery.id, outcomes, next_due, attempts: delivery.attempts + 1, dsn: Vec::new() }
}

pub const OPTIONS: Options = Options { free_space: 0 };

pub fn open(dir: &std::path::Path, disk: Arc<dyn Disk>) -> Arc<SqliteStore> {
    SqliteStore::open(dir, disk, OPTIONS).unwrap()
}
