//! Figures over time, in one process on a clock that stands still until told: minutes, slots of ten, a restart between.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use vouchsafe_core::figures::Span;
use vouchsafe_core::ports::{Clock, HistoryEvent};
use vouchsafe_fakes::PipeDialer;
use vouchsafe_gateway::control::{Control, Request, Response};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_store::memory::MemoryStore;

async fn start(dir: &Path, store: &Arc<MemoryStore>, clock: &Arc<SystemClock>) -> (Supervisor, Control) {
    let settings = common::settings_of(&format!(
        "hostname = \"gate.example\"\ndata_dir = {:?}\n[[listener]]\nname = \"mx\"\nkind = \"mx\"\n\
         address = \"127.0.0.1:2525\"\n[[listener]]\nname = \"mail clients\"\nkind = \"submission\"\n\
         address = \"127.0.0.1:2587\"\n",
        dir.display().to_string()
    ));
    let dial = Arc::new(PipeDialer::new());
    let gateway = Gateway::new(settings, Stores::of(store.clone()), dial, clock.clone());
    let control = Control::new(Arc::clone(&gateway));
    let supervisor = Supervisor::new(gateway).expect("a self-signed certificate");
    supervisor.start_tasks().await.expect("a store");
    (supervisor, control)
}

fn happens(control: &Control, kind: &str, detail: &str) {
    let gateway = control.gateway();
    gateway.record(HistoryEvent {
        at: gateway.clock.now(),
        session: "00000000000a".to_owned(),
        message: None,
        kind: kind.to_owned(),
        sender: String::new(),
        recipient: "bob@example.com".to_owned(),
        blame: "client".to_owned(),
        detail: detail.to_owned(),
    });
}

/// The sum of a figure over a span, and how many slots it has.
async fn sum(control: &Control, span: Span, name: &str) -> (u64, usize) {
    let Response::Figures { names, slots, .. } = control.run(Request::Figures { span }).await else {
        panic!("figures are answered with figures");
    };
    let index = names.iter().position(|known| known == name).expect("the figure is known");
    (slots.iter().map(|(_, values)| values[index]).sum(), slots.len())
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_counted_by_minute_and_outlives_a_restart_in_slots() {
    let dir = tempfile::tempdir().expect("a folder");
    let (store, clock) = (MemoryStore::new(), Arc::new(SystemClock::following_the_runtime()));
    let (supervisor, control) = start(dir.path(), &store, &clock).await;
    // From the first moment on.
    happens(&control, "accepted", "mx");
    happens(&control, "accepted", "mail clients");
    happens(&control, "refused", "550 5.1.1 No such user (said: 550)");
    for span in [Span::Hour, Span::Day, Span::Month] {
        assert_eq!(sum(&control, span, "received").await.0, 1, "the minute that runs is told");
    }
    sleep(Duration::from_secs(63)).await;
    happens(&control, "accepted", "mx");
    assert_eq!(sum(&control, Span::Hour, "received").await, (2, 61), "each once");
    sleep(Duration::from_secs(63)).await;
    assert_eq!(sum(&control, Span::Hour, "received").await.0, 2);
    assert_eq!(sum(&control, Span::Hour, "submitted").await.0, 1);
    assert_eq!(sum(&control, Span::Hour, "refused_unknown").await.0, 1);
    happens(&control, "delivered", "250 Ok");
    assert!(supervisor.stop().await, "all tasks end in time");
    let (_supervisor, control) = start(dir.path(), &store, &clock).await;
    sleep(Duration::from_secs(63)).await;
    happens(&control, "delivered", "250 Ok");
    sleep(Duration::from_secs(63)).await;
    assert_eq!(sum(&control, Span::Day, "delivered").await, (2, 145));
    assert_eq!(sum(&control, Span::Month, "received").await, (2, 121));
}
