//! What leaves us: the octets as they came, whatever their number, and only what the next hop can carry.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use vouchsafe_core::attachments::{
    Access, Check, Detached, Detachment, FormFor, Keep, LinkRules, SealedBlob,
};
use vouchsafe_core::links::{LinkSecret, SHARED};
use vouchsafe_core::ports::{Accepted, Body, MailStore};
use vouchsafe_core::recipe::{Piece, Recipe, SlotCoding};
use vouchsafe_smtp::BodyKind;

use super::world::{Draft, Taken, World};

#[tokio::test(start_paused = true)]
async fn a_message_leaves_as_it_came_from_memory_and_from_the_store() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    let body = "Subject: x\r\n folded\r\n\r\n.\r\n..\r\nend\r\n";
    let draft = || world.message("alice@home.example", &["u@abroad.example"]).body(body);
    world.send(draft()).await;
    world.send_from_memory(draft()).await;
    world.until("delivered", 2).await;
    for taken in relay.taken() {
        assert_eq!(taken.content, format!("Received: by gate.example\r\n{body}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_message_is_streamed() {
    const CHUNKS: usize = 256;
    let world = World::new("");
    let relay = world.hop("relay.example");
    let line = Bytes::from("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(1024));
    let mut writer = world.store.body_writer().await.unwrap();
    for _ in 0..CHUNKS {
        writer.write(line.clone()).await.unwrap();
    }
    let body = Body::Spooled(writer.finish().await.unwrap());
    let accepted = world.accept_with(body);
    world.store.accept(accepted).await.unwrap();
    world.deliverer.wake();
    world.until("delivered", 1).await;
    let head = "Received: by gate.example\r\n".len();
    assert_eq!(relay.octets.load(Ordering::SeqCst), CHUNKS * line.len() + head);
}

#[tokio::test(start_paused = true)]
async fn eight_bit_content_is_returned_where_it_cannot_be_carried() {
    let world = World::new("");
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    relay.offers.lock().unwrap().clear();
    let draft = || {
        let draft = world.message("alice@home.example", &["u@abroad.example"]);
        draft.mail(|mail| mail.body = BodyKind::EightBitMime)
    };
    world.send(draft().body("Subject: x\r\n\r\nüber\r\n")).await;
    assert!(world.until("failed", 1).await[0].detail.contains("5.6.3"));
    world.until("delivered", 1).await;
    assert!(home.taken()[0].content.contains("\r\nStatus: 5.6.3\r\n"));
    // Declared 8BITMIME, but it is not: no reason to return it.
    world.send(draft().body("Subject: x\r\n\r\nplain\r\n")).await;
    world.until("delivered", 2).await;
    assert!(!relay.taken()[0].mail.contains("BODY="), "{}", relay.taken()[0].mail);
}

#[tokio::test(start_paused = true)]
async fn an_internationalized_recipient_is_returned_where_it_cannot_be_named() {
    let world = World::new("");
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    relay.offers.lock().unwrap().clear();
    world.send(world.message("alice@home.example", &["jörg@abroad.example", "bob@abroad.example"])).await;
    assert!(world.until("failed", 1).await[0].detail.contains("5.6.7"));
    world.until("delivered", 2).await;
    assert_eq!(relay.taken()[0].recipients, ["RCPT TO:<bob@abroad.example>"]);
    assert!(home.taken()[0].content.contains("Final-Recipient: utf-8; j\\x{F6}rg@abroad.example"));
}

#[tokio::test(start_paused = true)]
async fn many_recipients_go_in_transactions_of_a_hundred() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    let to: Vec<String> = (0..250).map(|n| format!("u{n}@abroad.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    world.send(world.message("alice@home.example", &to)).await;
    world.until("delivered", 250).await;
    let sizes: Vec<usize> = relay.taken().iter().map(|taken| taken.recipients.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
}

#[tokio::test(start_paused = true)]
async fn too_many_recipients_sends_the_rest_at_once() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    // Takes three recipients a transaction.
    let seen = std::sync::atomic::AtomicUsize::new(0);
    relay.says(move |line| {
        if line.starts_with("MAIL") {
            seen.store(0, Ordering::SeqCst);
        }
        let more = line.starts_with("RCPT") && seen.fetch_add(1, Ordering::SeqCst) >= 3;
        more.then(|| "452 4.5.3 Too many recipients".into())
    });
    let to: Vec<String> = (0..10).map(|n| format!("u{n}@abroad.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    world.send(world.message("alice@home.example", &to)).await;
    world.until("delivered", 10).await;
    assert_eq!((relay.taken().len(), world.count("deferred")), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn corrupt_octets_are_held_and_never_sent() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    relay.answers(".", "451 4.3.0 later");
    let id = world.send(world.message("alice@home.example", &["u@abroad.example"])).await;
    world.until("deferred", 1).await;
    world.store.corrupt(id);
    relay.says(|_| None);
    let held = world.until("held", 1).await;
    assert_eq!(held[0].blame, "us");
    assert!(relay.taken().is_empty());
}

const LINKED: &str = "[web]\naddress = \"127.0.0.1:8080\"\ndownloads = \"127.0.0.1:8443\"\npublic_url = \"https://files.example\"\n";

/// `Subject: hi`, a link, `end`, in place of content with a part cut out of its middle.
fn formed(world: &World, draft: Draft, per_recipient: bool) -> Accepted {
    let accepted = world.accepted(draft.body("Subject: hi\r\n\r\nCUT\r\nend\r\n"), true);
    let recipients = (0..accepted.envelope.recipients().len() as u32).collect();
    let pieces = vec![
        Piece::Body { from: 0, to: 15 },
        Piece::Slot(SlotCoding::Plain),
        Piece::Text(Bytes::from_static(b"\r\n")),
        Piece::Body { from: 20, to: 25 },
    ];
    let blob =
        SealedBlob { name: "b1".into(), len: 3, sha256: [1; 32], key: Vec::new(), keep: Keep::default() };
    let detached = Detachment {
        subject: "hi".into(),
        check: Check::Clear,
        parts: vec![Detached {
            blob,
            file_name: "a.bin".into(),
            media_type: "application/octet-stream".into(),
            position: 0,
        }],
        forms: vec![FormFor { recipients, recipe: Recipe::new(pieces).unwrap(), files: vec![0] }],
        links: LinkRules {
            per_recipient,
            blind: Vec::new(),
            expire: Duration::from_secs(86_400),
            access: Access::Link,
            downloads: None,
            secret: LinkSecret::new([7; 32]),
        },
    };
    Accepted { detached: Some(detached), ..accepted }
}

/// The link's token in a message that must be the form, with the size that was declared for it.
fn token(taken: &Taken) -> String {
    let (before, link) = taken.content.split_once("https://files.example/").unwrap();
    let (token, after) = link.split_at(32);
    assert_eq!((before, after), ("Received: by gate.example\r\nSubject: hi\r\n\r\n", "\r\nend\r\n"));
    assert!(taken.mail.contains(&format!("SIZE={}", taken.content.len())), "{}", taken.mail);
    token.to_owned()
}

#[tokio::test(start_paused = true)]
async fn every_recipient_gets_a_link_of_its_own_at_every_attempt() {
    let world = World::new(LINKED);
    let relay = world.hop("relay.example");
    let to = ["a@abroad.example", "b@abroad.example", "c@abroad.example"];
    let draft = || world.message("alice@home.example", &to);
    // From memory, with b put off; from the store when b is tried again.
    relay.answers("RCPT TO:<b@", "450 4.2.0 later");
    let accepted = formed(&world, draft(), true);
    let Body::Memory(body) = &accepted.body else { panic!("in memory") };
    let content = (accepted.head.clone(), body.clone());
    let deliveries = world.store.accept(accepted).await.unwrap();
    world.deliverer.offer(deliveries, Some(content));
    world.until("deferred", 1).await;
    relay.says(|_| None);
    world.until("delivered", 3).await;
    let taken = relay.taken();
    let recipients: Vec<_> = taken.iter().map(|taken| taken.recipients.clone()).collect();
    assert_eq!(
        recipients,
        [["RCPT TO:<a@abroad.example>"], ["RCPT TO:<c@abroad.example>"], ["RCPT TO:<b@abroad.example>"]]
    );
    let secret = LinkSecret::new([7; 32]);
    let tokens: Vec<String> = taken.iter().map(token).collect();
    assert_eq!(tokens, [0, 2, 1].map(|group| secret.token(group).to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_shared_link_needs_one_transaction() {
    let world = World::new(LINKED);
    let relay = world.hop("relay.example");
    let accepted =
        formed(&world, world.message("alice@home.example", &["a@abroad.example", "b@abroad.example"]), false);
    let deliveries = world.store.accept(accepted).await.unwrap();
    world.deliverer.offer(deliveries, None);
    world.until("delivered", 2).await;
    assert_eq!(relay.taken().len(), 1);
    assert_eq!(token(&relay.taken()[0]), LinkSecret::new([7; 32]).token(SHARED).to_string());
}

#[tokio::test(start_paused = true)]
async fn without_an_address_for_its_links_a_message_waits_and_is_never_returned() {
    let world = World::new("");
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    let accepted = formed(&world, world.message("alice@home.example", &["a@abroad.example"]), true);
    let deliveries = world.store.accept(accepted).await.unwrap();
    world.deliverer.offer(deliveries, None);
    let deferred = world.until("deferred", 1).await;
    assert!(deferred[0].detail.contains("web.public_url"), "{}", deferred[0].detail);
    let held = world.until("held", 1).await;
    assert!(held[0].detail.contains("web.public_url"), "{}", held[0].detail);
    assert!(relay.taken().is_empty());
    assert!(!home.taken().iter().any(|notice| notice.content.contains("Action: failed")));
}

#[tokio::test(start_paused = true)]
async fn a_notice_shows_no_link() {
    let world = World::new(LINKED);
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    relay.answers("RCPT", "550 5.1.1 no");
    let accepted = formed(&world, world.message("alice@home.example", &["a@abroad.example"]), true);
    let deliveries = world.store.accept(accepted).await.unwrap();
    world.deliverer.offer(deliveries, None);
    world.until("delivered", 1).await;
    let notice = &home.taken()[0].content;
    assert!(notice.contains("Subject: hi") && !notice.contains("files.example"), "{notice}");
}

impl World {
    fn accept_with(&self, body: Body) -> Accepted {
        Accepted { body, ..self.accepted(self.message("alice@home.example", &["u@abroad.example"]), false) }
    }
}
