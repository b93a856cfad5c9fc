//! Destinations: limits, kept sessions, failover, back-off, and that none waits for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vouchsafe_core::ports::{MailStore, QueueAction, QueueFilter, StoreFault};

use super::world::{World, settings};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_dead_destination_delays_no_other() {
    let world = World::new("[limits]\ndeliveries = 10\ndeliveries_per_destination = 10");
    let relay = world.hop("relay.example");
    world.hop("home.example").answers("BANNER", "hang");
    for n in 0..2000 {
        world.send(world.message("a@abroad.example", &[&format!("u{n}@home.example")])).await;
    }
    world.pass(SECOND).await;
    for n in 0..200 {
        world.send(world.message("alice@home.example", &[&format!("u{n}@abroad.example")])).await;
    }
    let start = world.clock.now();
    let delivered = world.until("delivered", 200).await;
    assert!(delivered[199].at.since(start) < SECOND);
    assert_eq!(relay.taken().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_is_tried_by_one_and_at_growing_intervals() {
    let world = World::new("");
    let home = world.hop("home.example");
    home.answers("BANNER", "421 4.3.2 not now");
    for n in 0..50 {
        world.send(world.message("a@abroad.example", &[&format!("u{n}@home.example")])).await;
    }
    world.pass(Duration::from_secs(3600)).await;
    let tries = home.connections.load(Ordering::SeqCst);
    assert!((5..60).contains(&tries), "{tries} connections in an hour");
    home.says(|_| None);
    world.until("delivered", 50).await;
}

#[tokio::test(start_paused = true)]
async fn mail_that_comes_during_a_back_off_waits_for_its_end_only() {
    let world = World::new("[queue]\nretry = [\"1h\"]");
    let home = world.hop("home.example");
    home.down(true);
    world.send(world.message("a@abroad.example", &["first@home.example"])).await;
    world.until("deferred", 1).await;
    world.send(world.message("a@abroad.example", &["second@home.example"])).await;
    let deferred = world.until("deferred", 2).await;
    assert_eq!(world.queue().await.iter().map(|row| row.attempts).sum::<u32>(), 1, "{deferred:#?}");
    home.down(false);
    let start = world.clock.now();
    world.until("delivered", 1).await;
    assert!(world.clock.now().since(start) < SECOND * 20);
    assert_eq!(home.taken()[0].recipients, ["RCPT TO:<second@home.example>"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_by_hand_waits_for_no_back_off() {
    let world = World::new("[queue]\nretry = [\"1h\"]");
    let home = world.hop("home.example");
    home.down(true);
    for n in 0..10 {
        world.send(world.message("a@abroad.example", &[&format!("u{n}@home.example")])).await;
    }
    world.until("deferred", 10).await;
    home.down(false);
    let start = world.clock.now();
    let all = QueueFilter::default();
    assert_eq!(world.store.act(all, QueueAction::Retry, start).await.unwrap(), 10);
    world.deliverer.try_now();
    world.until("delivered", 10).await;
    assert!(world.clock.now().since(start) < SECOND);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_kept_and_renewed_after_a_hundred_messages() {
    let world = World::new("[limits]\ndeliveries_per_destination = 1");
    let relay = world.hop("relay.example");
    for n in 0..250 {
        world.send_from_memory(world.message("alice@home.example", &[&format!("u{n}@abroad.example")])).await;
    }
    world.until("delivered", 250).await;
    assert_eq!(relay.connections.load(Ordering::SeqCst), 3);
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(relay.open.load(Ordering::SeqCst), 0, "an idle session is ended");
}

#[tokio::test(start_paused = true)]
async fn a_destination_gets_no_more_sessions_than_its_limit() {
    let world = World::new("[limits]\ndeliveries_per_destination = 4");
    let relay = world.hop("relay.example");
    for n in 0..300 {
        world.send(world.message("alice@home.example", &[&format!("u{n}@abroad.example")])).await;
    }
    world.until("delivered", 300).await;
    assert_eq!(relay.most_open.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_answers_gets_its_sessions_at_once() {
    let world = World::new("[limits]\ndeliveries_per_destination = 4");
    let relay = world.hop("relay.example");
    relay.answers(".", "hang");
    for n in 0..8 {
        world.send_from_memory(world.message("alice@home.example", &[&format!("u{n}@abroad.example")])).await;
    }
    world.pass(SECOND).await;
    assert_eq!(relay.open.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn all_destinations_together_keep_the_limit_and_each_gets_its_turn() {
    let world = World::new("[limits]\ndeliveries = 1\ndeliveries_per_destination = 1");
    let (relay, home, far) =
        (world.hop("relay.example"), world.hop("home.example"), world.hop("far1.example"));
    for n in 0..100 {
        for domain in ["abroad.example", "home.example", "far.example"] {
            world.send(world.message("alice@home.example", &[&format!("u{n}@{domain}")])).await;
        }
    }
    world.until("delivered", 30).await;
    for hop in [&relay, &home, &far] {
        assert!(!hop.taken().is_empty());
    }
    world.until("delivered", 300).await;
    assert_eq!(world.count("deferred"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_next_hop_that_takes_no_more_sessions_defers_nothing() {
    let world = World::new("[limits]\ndeliveries_per_destination = 10");
    let relay = world.hop("relay.example");
    let watched = Arc::downgrade(&relay);
    relay.says(move |line| {
        let open = watched.upgrade().map_or(0, |hop| hop.open.load(Ordering::SeqCst));
        (line == "BANNER" && open > 2).then(|| "421 4.3.2 too many connections".into())
    });
    for n in 0..300 {
        world.send(world.message("alice@home.example", &[&format!("u{n}@abroad.example")])).await;
    }
    world.until("delivered", 300).await;
    let deferred = world.until("deferred", 0).await;
    assert!(deferred.is_empty(), "{deferred:#?}");
}

#[tokio::test(start_paused = true)]
async fn next_hops_fail_over_in_order_and_back() {
    let world = World::new("");
    let (first, second) = (world.hop("far1.example"), world.hop("far2.example"));
    first.down(true);
    world.send(world.message("a@abroad.example", &["u@far.example"])).await;
    world.until("delivered", 1).await;
    assert_eq!((first.taken().len(), second.taken().len()), (0, 1));
    first.down(false);
    world.pass(Duration::from_secs(600)).await;
    world.send(world.message("a@abroad.example", &["u@far.example"])).await;
    world.until("delivered", 2).await;
    assert_eq!((first.taken().len(), second.taken().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn failover_happens_only_on_what_says_nothing_about_the_message() {
    for (verb, reply, second_asked) in [
        ("BANNER", "554 5.3.2 no service", true),
        ("MAIL", "451 4.3.2 Service not active", true),
        ("RCPT", "close", true),
        ("RCPT", "550 5.1.1 No such user", false),
        ("RCPT", "450 4.2.1 Later", false),
        (".", "554 5.6.0 Bad message", false),
        (".", "close", false),
    ] {
        let world = World::new("");
        let (first, second) = (world.hop("far1.example"), world.hop("far2.example"));
        first.answers(verb, reply);
        world.send(world.message("a@abroad.example", &["u@far.example"]).notify(false, false, false)).await;
        world.pass(SECOND * 5).await;
        assert_eq!(second.taken().len(), usize::from(second_asked), "{verb} {reply}");
        assert_eq!(world.count("delivered"), usize::from(second_asked), "{verb} {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_session_that_the_peer_closed_costs_no_delay() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    let messages = Arc::new(AtomicUsize::new(0));
    let counted = messages.clone();
    // Every second MAIL of a session is answered by closing it.
    relay.says(move |line| {
        let second = line.starts_with("MAIL") && counted.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        second.then(|| "421 4.4.2 idle too long".into())
    });
    for n in 0..5 {
        world.send(world.message("alice@home.example", &[&format!("u{n}@abroad.example")])).await;
        world.until("delivered", n + 1).await;
    }
    let deferred = world.until("deferred", 0).await;
    assert!(deferred.is_empty(), "{deferred:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_record_a_delivery_does_not_double_it() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    world.send_from_memory(world.message("alice@home.example", &["u@abroad.example"])).await;
    world.store.fail(Some(StoreFault::Broken("disk".into())));
    world.pass(Duration::from_secs(3600)).await;
    assert_eq!((relay.taken().len(), world.count("delivered")), (1, 0));
    world.store.fail(None);
    world.until("delivered", 1).await;
    world.pass(Duration::from_secs(3600)).await;
    assert_eq!(relay.taken().len(), 1);
    assert!(world.queue().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn mail_without_a_next_hop_waits_in_clear_words_and_follows_the_settings() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    let home = world.hop("home.example");
    world.send(world.message("alice@home.example", &["u@gone.example"])).await;
    let deferred = world.until("deferred", 1).await;
    assert_eq!(
        (deferred[0].blame.as_str(), deferred[0].detail.as_str()),
        ("us", "no next hop is set for it")
    );
    let more = "[[domain]]\nname = \"gone.example\"\nrecipients = [\"any\"]\nnext_hop = { host = \"home.example\", tls = \"off\" }\n";
    world.settings.store(Arc::new(settings(more)));
    world.deliverer.wake();
    world.until("delivered", 1).await;
    assert_eq!((home.taken().len(), relay.taken().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_attempts_end_and_the_rest_stays_in_the_store() {
    let world = World::new("[limits]\ndeliveries_per_destination = 1");
    let relay = world.hop("relay.example");
    for n in 0..20 {
        world.send_from_memory(world.message("alice@home.example", &[&format!("u{n}@abroad.example")])).await;
    }
    let taken_before = relay.taken().len();
    let store = world.stop().await;
    let left = store.list(QueueFilter::default()).await.unwrap().len();
    assert!(taken_before < 20 && left > 0);
    assert_eq!(relay.taken().len() + left, 20, "what was taken is settled, what was not is kept");
    let again = store.claim(vouchsafe_core::Timestamp(i64::MAX), 100, Vec::new()).await.unwrap();
    assert_eq!(again.len(), left, "no claim is left behind");
}
