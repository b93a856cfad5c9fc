//! Who is told what, and when: delay warnings, expiry, NOTIFY, RET.

use std::time::Duration;

use vouchsafe_smtp::Ret;

use super::world::World;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_late_message_is_warned_of_once_and_fails_when_its_time_is_up() {
    let world = World::new("[queue]\nwarn_after = \"4h\"\nexpire = \"5d\"");
    let home = world.hop("home.example");
    world.hop("relay.example").down(true);
    let start = world.clock.now();
    world.send(world.message("alice@home.example", &["bob@abroad.example"])).await;
    world.pass(HOUR * 4 - Duration::from_secs(60)).await;
    assert!(home.taken().is_empty());
    world.pass(HOUR * 5).await;
    let warning = home.taken().remove(0).content;
    assert!(
        warning.contains("\r\nAction: delayed\r\n") && warning.contains("\r\nStatus: 4.4.1\r\n"),
        "{warning}"
    );
    assert!(warning.contains("\r\nWill-Retry-Until: "), "{warning}");
    let failed = world.until("failed", 1).await;
    assert_eq!(failed[0].at.since(start).as_secs() / 3600, 5 * 24);
    world.pass(HOUR).await;
    let taken = home.taken();
    assert_eq!(taken.len(), 2, "one warning, one bounce");
    assert!(taken[1].content.contains("\r\nStatus: 5.4.7\r\n"), "{}", taken[1].content);
    assert!(world.queue().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn strangers_get_no_warning_and_what_expires_is_held() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    world.hop("home.example").down(true);
    world.send(world.message("eve@abroad.example", &["bob@home.example"]).stranger()).await;
    let held = world.until("held", 1).await;
    assert!(held[0].detail.contains("expired: "), "{}", held[0].detail);
    assert!(relay.taken().is_empty());
    assert_eq!(world.held().await, 1);
}

#[tokio::test(start_paused = true)]
async fn notify_chooses_failure_and_delay_notices() {
    for (failure, delay) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::new("");
        let home = world.hop("home.example");
        world.hop("relay.example").down(true);
        let draft = world.message("alice@home.example", &["bob@abroad.example"]);
        world.send(draft.notify(false, failure, delay)).await;
        world.until("failed", 1).await;
        world.pass(HOUR).await;
        let told = |action| home.taken().iter().any(|n| n.content.contains(&format!("Action: {action}\r\n")));
        assert_eq!((told("failed"), told("delayed")), (failure, delay));
    }
}

#[tokio::test(start_paused = true)]
async fn notify_success_is_answered_relayed_when_the_next_hop_has_no_dsn() {
    let world = World::new("");
    let (home, relay) = (world.hop("home.example"), world.hop("relay.example"));
    let draft = || world.message("alice@home.example", &["bob@abroad.example"]).notify(true, true, false);
    world.send(draft()).await;
    world.until("delivered", 2).await;
    assert!(home.taken()[0].content.contains("\r\nAction: relayed\r\n"));
    // A stranger's wish would be backscatter on order.
    world.send(draft().stranger()).await;
    world.until("delivered", 3).await;
    // With DSN the next hop takes the duty over.
    world.pass(HOUR).await;
    relay.offers.lock().unwrap().push("DSN");
    world.send(draft()).await;
    world.until("delivered", 4).await;
    world.pass(HOUR).await;
    assert_eq!((home.taken().len(), relay.taken().len()), (1, 3));
    assert!(relay.taken()[2].recipients[0].contains("NOTIFY=SUCCESS"), "{:?}", relay.taken()[2]);
}

#[tokio::test(start_paused = true)]
async fn ret_full_returns_the_whole_message_up_to_64_kib() {
    for (size, whole) in [(1000, true), (100_000, false)] {
        let world = World::new("");
        let home = world.hop("home.example");
        world.hop("relay.example").answers("RCPT", "550 5.1.1 No such user");
        let body = format!("Subject: hi\r\n\r\n{}END\r\n", "x\r\n".repeat(size / 3));
        let draft = world.message("alice@home.example", &["bob@abroad.example"]).body(body);
        world.send(draft.mail(|mail| mail.ret = Some(Ret::Full))).await;
        world.until("delivered", 1).await;
        let bounce = home.taken().remove(0).content;
        assert_eq!(bounce.contains("END"), whole);
        assert_eq!(bounce.contains("Content-Type: message/rfc822\r\n"), whole);
        assert!(bounce.contains("Subject: hi"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_survives_an_unreadable_message() {
    let world = World::new("");
    let home = world.hop("home.example");
    world.hop("relay.example").down(true);
    let id = world.send(world.message("alice@home.example", &["bob@abroad.example"])).await;
    world.until("deferred", 1).await;
    world.store.corrupt(id);
    world.until("failed", 1).await;
    world.pass(HOUR).await;
    assert!(home.taken().last().unwrap().content.contains("Action: failed"));
}
