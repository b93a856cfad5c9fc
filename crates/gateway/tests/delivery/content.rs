//! What leaves us: the octets as they came, whatever their number, and only what the next hop can carry.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use vouchsafe_core::ports::{Accepted, Body, MailStore};
use vouchsafe_smtp::BodyKind;

use super::world::World;

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

impl World {
    fn accept_with(&self, body: Body) -> Accepted {
        Accepted { body, ..self.accepted(self.message("alice@home.example", &["u@abroad.example"]), false) }
    }
}
