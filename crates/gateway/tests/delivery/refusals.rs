//! What a refusal leads to: bounce, hold, or another try.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::world::World;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn a_thousand_forged_messages_refused_at_the_dot_make_no_notice_and_are_held() {
    let world = World::new("");
    let home = world.hop("home.example");
    let relay = world.hop("relay.example");
    home.answers(".", "554 5.7.1 this looks like spam");
    for n in 0..1000 {
        let forged = format!("victim{n}@innocent.example");
        world.send(world.message(&forged, &["bob@home.example"]).stranger()).await;
    }
    let held = world.until("held", 1000).await;
    assert!(
        held[0].detail.contains("refused by next hop: 554 5.7.1 this looks like spam"),
        "{}",
        held[0].detail
    );
    assert_eq!(held[0].blame, "next_hop");
    world.pass(DAY * 6).await;
    assert_eq!((world.held().await, world.queue().await.len()), (1000, 1000));
    assert_eq!(world.count("held"), 1000);
    assert!(relay.taken().is_empty() && home.taken().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_known_sender_gets_a_bounce() {
    let world = World::new("");
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    relay.answers("RCPT", "550 5.1.1 No such user");
    world.send(world.message("alice@home.example", &["bob@abroad.example"])).await;
    let failed = world.until("failed", 1).await;
    assert_eq!((failed[0].recipient.as_str(), failed[0].blame.as_str()), ("bob@abroad.example", "next_hop"));
    world.until("delivered", 1).await;
    let bounce = home.taken().remove(0);
    assert!(bounce.mail.starts_with("MAIL FROM:<>"), "{}", bounce.mail);
    assert!(bounce.recipients[0].starts_with("RCPT TO:<alice@home.example>"));
    for line in [
        "Subject: Undelivered mail",
        "Final-Recipient: rfc822; bob@abroad.example",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; relay.example",
        "Diagnostic-Code: smtp; 550 5.1.1 No such user",
        "Received: by gate.example",
        "Subject: hi",
    ] {
        assert!(bounce.content.contains(&format!("\r\n{line}\r\n")), "{line} in\n{}", bounce.content);
    }
    assert!(!bounce.content.contains("Hello"), "the header only");
    assert!(world.queue().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_recipient_has_its_own_end() {
    let world = World::new("");
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    relay.says(|line| match line {
        _ if line.contains("no@") => Some("550 5.1.1 No such user".into()),
        _ if line.contains("late@") => Some("450 4.2.1 Later".into()),
        _ => None,
    });
    let to = ["yes@abroad.example", "no@abroad.example", "late@abroad.example"];
    world.send(world.message("alice@home.example", &to)).await;
    world.until("failed", 1).await;
    assert_eq!(world.until("deferred", 1).await[0].recipient, "late@abroad.example");
    relay.says(|_| None);
    world.until("delivered", 3).await;
    let got: Vec<_> = relay.taken().iter().flat_map(|taken| taken.recipients.clone()).collect();
    assert_eq!(got, ["RCPT TO:<yes@abroad.example>", "RCPT TO:<late@abroad.example>"]);
    assert_eq!(home.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_route_bounces_nothing() {
    for (verb, reply) in [
        ("BANNER", "554 5.7.1 Go away"),
        ("EHLO", "550 5.7.1 Not from there"),
        ("MAIL", "550 5.7.1 Client was not authenticated"),
        ("MAIL", "530 5.7.0 Authentication required"),
        ("RCPT", "530 5.7.0 Authentication required"),
    ] {
        let world = World::new("");
        let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
        relay.answers(verb, reply);
        world
            .send(world.message("alice@home.example", &["bob@abroad.example"]).notify(false, true, false))
            .await;
        let deferred = world.until("deferred", 4).await;
        assert!(deferred[0].detail.contains(&reply[..9]), "{}", deferred[0].detail);
        world.pass(DAY * 6).await;
        assert_eq!((world.count("failed"), world.held().await), (0, 1), "{verb} {reply}");
        assert!(home.taken().is_empty(), "{verb} {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_refusal_of_several_messages_is_the_routes_fault() {
    let world = World::new("");
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    relay.says(|line| {
        line.starts_with("RCPT").then(|| format!("554 5.7.1 {}: Relay access denied", &line[8..]))
    });
    for n in 0..6 {
        world.send(world.message("alice@home.example", &[&format!("u{n}@abroad.example")])).await;
        world.pass(Duration::from_secs(1)).await;
    }
    assert_eq!((world.count("failed"), world.count("deferred")), (2, 4));
    world.pass(DAY).await;
    assert_eq!(home.taken().iter().filter(|n| n.content.contains("Undelivered")).count(), 2);
    relay.says(|_| None);
    world.pass(DAY).await;
    assert_eq!(relay.taken().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn soft_bounce_holds_instead() {
    let world = World::new("[queue]\nsoft_bounce = true");
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    relay.answers("RCPT", "550 5.1.1 No such user");
    world.send(world.message("alice@home.example", &["bob@abroad.example"])).await;
    assert!(world.until("held", 1).await[0].detail.contains("soft_bounce: 550 5.1.1"));
    world.pass(DAY).await;
    assert!(home.taken().is_empty());
}

#[tokio::test(start_paused = true)]
async fn strangers_are_bounced_where_they_are_proven_or_the_settings_say_always() {
    for (policy, proven, bounces) in [
        ("never", false, 0),
        ("never", true, 0),
        ("verified", false, 0),
        ("verified", true, 1),
        ("always", false, 1),
    ] {
        let world = World::new(&format!("[queue]\nbounce_strangers = \"{policy}\""));
        let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
        home.answers("RCPT", "550 5.1.1 No such user");
        let message = world.message("eve@abroad.example", &["bob@home.example"]);
        let message = if proven { message.proven_stranger() } else { message.stranger() };
        world.send(message).await;
        world.until(if bounces == 1 { "failed" } else { "held" }, 1).await;
        world.pass(DAY).await;
        assert_eq!((relay.taken().len(), world.held().await), (bounces, 1 - bounces), "{policy} {proven}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_is_refused_makes_no_notice() {
    let world = World::new("");
    world.hop("relay.example").answers("RCPT", "550 5.1.1 No such user");
    world.hop("home.example").answers("RCPT", "550 5.1.1 No such user");
    world.send(world.message("alice@home.example", &["bob@abroad.example"])).await;
    let failed = world.until("failed", 2).await;
    assert_eq!((failed[1].sender.as_str(), failed[1].recipient.as_str()), ("", "alice@home.example"));
    world.pass(DAY).await;
    assert!(world.queue().await.is_empty());
    assert_eq!(world.count("failed"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_temporary_refusal_is_tried_again_by_the_schedule() {
    let world = World::new("[queue]\nretry = [\"5m\", \"15m\", \"1h\"]");
    let relay = world.hop("relay.example");
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    relay.says(move |line| {
        let late = line == "." && counted.fetch_add(1, Ordering::SeqCst) < 3;
        late.then(|| "451 4.3.0 later".into())
    });
    world.send(world.message("alice@home.example", &["bob@abroad.example"])).await;
    let deferred = world.until("deferred", 3).await;
    let waits: Vec<u64> = deferred.windows(2).map(|w| w[1].at.since(w[0].at).as_secs()).collect();
    assert!((270..=300).contains(&waits[0]) && (810..=900).contains(&waits[1]), "{waits:?}");
    world.until("delivered", 1).await;
    assert_eq!(tries.load(Ordering::SeqCst), 4);
}
