//! Whether mail can be taken now: the listeners are bound, the store can be written and has room, nobody has said stop.
//!
//! Whoever may connect may ask, so the store is tried at most every few seconds. Proof:
//! `crates/web/tests/pages/readiness.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use vouchsafe_core::ports::Clock;
use vouchsafe_smtp::Tick;

use crate::gateway::Gateway;

/// How long an answer of the store counts.
const FRESH: Duration = Duration::from_secs(5);
/// How long it may take for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The small value that is written.
const KEY: &str = "ready";

/// What is known of it.
#[derive(Default)]
pub struct Readiness {
    listening: AtomicBool,
    /// Held while the store is tried, so that many who ask try it once.
    tried: Mutex<Option<(Tick, Result<(), String>)>>,
}

impl Readiness {
    /// All listeners are bound.
    pub(crate) fn listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }
}

impl Gateway {
    /// `Ok` if mail can be taken; else why not.
    pub async fn ready(&self) -> Result<(), String> {
        if *self.tasks.stop_signal().borrow() {
            return Err("stopping".to_owned());
        }
        if !self.readiness.listening.load(Ordering::Relaxed) {
            return Err("the listeners are not bound yet".to_owned());
        }
        let mut tried = self.readiness.tried.lock().await;
        let now = self.clock.tick();
        if let Some((at, outcome)) = &*tried
            && now.since(*at) < FRESH
        {
            return outcome.clone();
        }
        let outcome = match tokio::time::timeout(PATIENCE, self.try_store()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("the store has not answered for {} s", PATIENCE.as_secs())),
        };
        *tried = Some((self.clock.tick(), outcome.clone()));
        outcome
    }

    async fn try_store(&self) -> Result<(), String> {
        // Given back at once: only whether there is room counts.
        self.stores.mail.reserve(1, false).map_err(|fault| fault.to_string())?;
        let now = self.clock.now().rfc3339();
        self.stores.settings.put_value(KEY, now).await.map_err(|fault| fault.to_string())
    }
}
