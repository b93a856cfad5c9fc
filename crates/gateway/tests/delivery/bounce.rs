//! What the administrator gives up: with a notice, and never while it is being tried.

use std::time::Duration;

use vouchsafe_core::MessageId;
use vouchsafe_core::ports::{MailStore, QueueAction, QueueFilter, StoreFault};
use vouchsafe_gateway::delivery::{NotReturned, Returned};

use super::world::World;

#[tokio::test(start_paused = true)]
async fn what_waits_is_given_up_with_one_notice_a_route() {
    let world = World::new("");
    let home = world.hop("home.example");
    world.hop("relay.example").down(true);
    let to = ["bob@abroad.example", "carol@abroad.example"];
    let id = world.send(world.message("alice@home.example", &to)).await;
    world.until("deferred", 2).await;
    assert_eq!(world.deliverer.give_up(id).await, Ok(Returned { recipients: 2, notices: 1 }));
    world.until("failed", 2).await;
    world.until("delivered", 1).await;
    let notice = home.taken().remove(0).content;
    assert!(notice.contains("given up by the administrator; last attempt: "), "{notice}");
    assert!(notice.contains("\r\nAction: failed\r\n") && notice.contains("bob@abroad.example"), "{notice}");
    assert!(world.queue().await.is_empty());
    assert_eq!(world.deliverer.give_up(id).await, Err(NotReturned::Missing));
    let nobody = MessageId::at(world.clock.now());
    assert_eq!(world.deliverer.give_up(nobody).await, Err(NotReturned::Missing));
}

#[tokio::test(start_paused = true)]
async fn what_is_being_tried_is_left_alone_until_it_is_held() {
    let world = World::new("");
    let relay = world.hop("relay.example");
    relay.answers("RCPT", "hang");
    let id = world.send(world.message("alice@home.example", &["bob@abroad.example"])).await;
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.deliverer.give_up(id).await, Err(NotReturned::UnderWay));
    world.store.act(QueueFilter::default(), QueueAction::Hold, world.clock.now()).await.expect("held");
    relay.says(|_| None);
    world.until("deferred", 1).await;
    assert_eq!(world.deliverer.give_up(id).await, Ok(Returned { recipients: 1, notices: 1 }));
    assert_eq!(relay.taken().len(), 0, "nobody got it");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_leaves_the_message_as_it_was() {
    let world = World::new("");
    world.hop("relay.example").down(true);
    let id = world.send(world.message("alice@home.example", &["bob@abroad.example"])).await;
    world.until("deferred", 1).await;
    world.store.fail(Some(StoreFault::Broken("as told".to_owned())));
    assert!(matches!(world.deliverer.give_up(id).await, Err(NotReturned::Store(_))));
    world.store.fail(None);
    assert_eq!(world.queue().await.len(), 1);
    assert_eq!(world.deliverer.give_up(id).await, Ok(Returned { recipients: 1, notices: 1 }));
}
