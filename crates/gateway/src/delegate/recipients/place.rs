//! A worker's place among the recipient sessions of a delegate.
//!
//! Given back however the worker ends: by itself, cancelled with the runtime, or by a panic. What it was asking about
//! then gets the answer that it has, none, so that nobody joins a flight that never lands.
//! Proof: `tests/places.rs`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use vouchsafe_core::fair::{Batch, Held};
use vouchsafe_core::ports::Clock;
use vouchsafe_core::stagger::SOON;

use super::{Idler, Question, Shared, State, unavailable};
use crate::delegate::lock;

/// How an idle worker's wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idled {
    /// It looks at the queue again.
    Woken,
    /// There is nothing to do, it is counted no longer.
    Over,
}

/// Counted in `State::workers` from its making to its end.
pub(super) struct Place {
    shared: Arc<Shared>,
    asking: Vec<Question>,
    held: Held,
    /// Started or woken, and counted in `State::coming`.
    coming: bool,
    /// The batch that it asks is expected back soon.
    soon: bool,
    /// Listed in `State::idle`, unless somebody woke it.
    idle: Option<u64>,
    given_back: bool,
}

impl Place {
    /// The caller has counted it, as coming too, under the lock that it holds.
    pub fn counted(shared: &Arc<Shared>) -> Place {
        Place {
            shared: Arc::clone(shared),
            asking: Vec::new(),
            held: Held::default(),
            coming: true,
            soon: false,
            idle: None,
            given_back: false,
        }
    }

    /// It was started or woken, and has not looked at the queue yet.
    pub fn is_coming(&self) -> bool {
        self.coming
    }

    /// How long a batch of so many is still held back, so that what is asked meanwhile leaves with it.
    pub fn held_back(&self, room: usize) -> Option<Duration> {
        let state = lock(&self.shared.state);
        let waiting = state.queue.len();
        if waiting == 0 || waiting >= room {
            return None;
        }
        let wait = state.stagger.wait(self.shared.means.clock.tick(), state.cap.now());
        (!wait.is_zero()).then_some(wait)
    }

    /// The next batch. `Err`: there is nothing to do, and the worker is listed as idle until it is told.
    pub fn take(&mut self, room: usize) -> Result<Vec<Question>, oneshot::Receiver<()>> {
        let mut state = lock(&self.shared.state);
        state.coming -= usize::from(std::mem::take(&mut self.coming));
        let places = self.shared.places(&state);
        let Some(Batch { items, held }) = state.queue.take(room.max(1), places) else {
            let (wake, woken) = oneshot::channel();
            state.idlers += 1;
            let number = state.idlers;
            state.idle.push(Idler { number, wake });
            self.idle = Some(number);
            return Err(woken);
        };
        self.asking.clone_from(&items);
        self.held = held;
        self.soon = state.stagger.leaves(self.shared.means.clock.tick());
        self.shared.muster(&mut state);
        Ok(items)
    }

    /// Sees the batch through. What was to wait for its end goes another way once that is late.
    pub async fn ask<T>(&mut self, batch: impl Future<Output = T>) -> T {
        let mut batch = pin!(batch);
        let early = if self.soon { timeout(SOON, &mut batch).await.ok() } else { None };
        let asked = match early {
            Some(asked) => asked,
            None => {
                self.late();
                batch.await
            }
        };
        // Every question of the batch has its answer, or stands in the queue again.
        self.asking.clear();
        give_back(&mut lock(&self.shared.state), &mut self.soon, &mut self.held);
        asked
    }

    /// What waits for the batch waits no more.
    fn late(&mut self) {
        if std::mem::take(&mut self.soon) {
            let mut state = lock(&self.shared.state);
            state.stagger.is_back();
            self.shared.muster(&mut state);
        }
    }

    /// More workers than the delegate takes sessions: this one ends.
    pub fn is_one_too_many(&mut self) -> bool {
        let mut state = lock(&self.shared.state);
        let too_many = state.workers > state.cap.now();
        if too_many {
            state.workers -= 1;
            self.given_back = true;
            // What this one gave back is for the others, should they all be idle.
            self.shared.muster(&mut state);
        }
        too_many
    }

    /// The wait of an idle worker has ended.
    pub fn idled(&mut self, stopped: bool) -> Idled {
        let mut state = lock(&self.shared.state);
        let listed = self.idle.take();
        let Some(at) = state.idle.iter().position(|idler| Some(idler.number) == listed) else {
            // Whoever took it off the list counted it as coming.
            self.coming = true;
            return Idled::Woken;
        };
        state.idle.remove(at);
        if !stopped && state.queue.ready(1, self.shared.places(&state)) > 0 {
            return Idled::Woken;
        }
        state.workers -= 1;
        self.given_back = true;
        Idled::Over
    }
}

/// A batch is over.
fn give_back(state: &mut State, soon: &mut bool, held: &mut Held) {
    if std::mem::take(soon) {
        state.stagger.is_back();
    }
    state.queue.done(std::mem::take(held));
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.given_back {
            return;
        }
        {
            let mut state = lock(&self.shared.state);
            state.workers -= 1;
            let listed = state.idle.iter().position(|idler| Some(idler.number) == self.idle);
            match listed {
                Some(at) => drop(state.idle.remove(at)),
                None => state.coming -= usize::from(self.coming || self.idle.is_some()),
            }
            give_back(&mut state, &mut self.soon, &mut self.held);
        }
        let name = &self.shared.settings.name;
        for question in self.asking.drain(..) {
            let verdict = unavailable(format!("delegate {name}: the question was broken off"));
            self.shared.keep_and_tell(&question, &verdict);
        }
        // What waits is for a new worker; where this one was cancelled there is no runtime left to start it in.
        if std::thread::panicking() {
            self.shared.muster(&mut lock(&self.shared.state));
        }
    }
}
