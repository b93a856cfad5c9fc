//! Delivery: claims what is due, sends it to the next hop, settles what became of it.
//!
//! A crash between the next hop's 250 and our record of it may duplicate a message, never lose it (promise 1).
//! Decides nothing about a refusal (`vouchsafe_core::outcome`). Proof: `tests/delivery*.rs`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;
use vouchsafe_config::Settings;
use vouchsafe_core::Endpoint;
use vouchsafe_core::ports::{Clock, Delivery, History, MailStore};
use vouchsafe_net::client::{Connector, Hello, TraceSink};

/// Makes the sink for one session's dialogue with a next hop; `|_| None` where nobody listens.
pub type TraceFactory = Arc<dyn Fn(&Endpoint) -> TraceSink + Send + Sync>;

/// What delivery works with.
pub struct Deps {
    /// The queue.
    pub store: Arc<dyn MailStore>,
    /// What happened.
    pub history: Arc<dyn History>,
    /// Wall clock and monotonic clock.
    pub clock: Arc<dyn Clock>,
    /// The settings of the moment.
    pub settings: Arc<ArcSwap<Settings>>,
    /// Opens connections.
    pub connector: Arc<Connector>,
    /// How we greet.
    pub hello: Hello,
    /// Dialogues for `vouchsafe trace`.
    pub trace: TraceFactory,
}

/// Sends the queue. One per gateway.
pub struct Deliverer {
    deps: Deps,
}

impl Deliverer {
    /// A deliverer that does nothing until [`run`](Self::run).
    pub fn new(deps: Deps) -> Arc<Deliverer> {
        Arc::new(Deliverer { deps })
    }

    /// Room to take freshly accepted deliveries without going through the disk: reception asks before
    /// `accept(claim: true)`.
    pub fn has_room(&self) -> bool {
        false
    }

    /// Takes over claimed deliveries; `content` is (head, body) where it is still in memory, else it is read from the
    /// store. What cannot be taken is given back to the store.
    pub fn offer(&self, deliveries: Vec<Delivery>, content: Option<(Bytes, Bytes)>) {
        drop(content);
        deliveries.iter().for_each(|delivery| self.deps.store.release(delivery.id));
    }

    /// Something became due: call it after an `accept` without claim, after `retry` and `release` by hand, and after
    /// a change of settings.
    pub fn wake(&self) {}

    /// Runs until `stop` becomes true, then finishes the attempts under way (30 s at most).
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let _ = stop.wait_for(|stopped| *stopped).await;
    }
}
