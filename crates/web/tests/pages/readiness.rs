//! `/healthz` and `/readyz`: the program runs; and mail can be taken, or why not.

use axum::http::StatusCode;
use vouchsafe_core::ports::StoreFault;
use vouchsafe_fakes::PipeDialer;

use crate::world::World;

const LISTENER: &str = "[[listener]]\nname = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:0\"\n";

async fn started() -> World {
    let world = World::new(LISTENER, PipeDialer::new()).await;
    world.supervisor.start(None).await.expect("it can listen on loopback");
    world
}

/// Asks `/readyz`; `/healthz` answers the same whatever that says.
async fn asked(world: &mut World) -> (StatusCode, String) {
    let health = world.try_get("/healthz").await;
    assert_eq!((health.status, &*health.body), (StatusCode::OK, "ok\n"));
    let ready = world.try_get("/readyz").await;
    (ready.status, ready.body)
}

fn not_ready(why: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
}

#[tokio::test]
async fn before_it_listens_and_after_it_was_told_to_stop_it_is_not_ready() {
    let mut world = World::new(LISTENER, PipeDialer::new()).await;
    assert_eq!(asked(&mut world).await, not_ready("the listeners are not bound yet"));
    world.supervisor.start(None).await.expect("it can listen on loopback");
    assert_eq!(asked(&mut world).await, (StatusCode::OK, "ready\n".to_owned()));
    assert!(world.supervisor.stop().await);
    assert_eq!(asked(&mut world).await, not_ready("stopping"));
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_not_ready() {
    let mut world = started().await;
    let fault = StoreFault::Broken("queue.db: the disk does not take it".to_owned());
    world.store.fail(Some(fault.clone()));
    assert_eq!(asked(&mut world).await, not_ready(&fault.to_string()));
}

#[tokio::test]
async fn a_full_disk_is_not_ready() {
    let mut world = started().await;
    world.store.set_free(0);
    let (status, why) = asked(&mut world).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.starts_with("not ready: no space: "), "{why}");
}

#[tokio::test]
async fn many_that_ask_try_the_store_once() {
    let mut world = started().await;
    assert_eq!(asked(&mut world).await.0, StatusCode::OK);
    world.store.fail(Some(StoreFault::Full(String::new())));
    assert_eq!(asked(&mut world).await.0, StatusCode::OK, "the answer of a moment ago counts");
}
