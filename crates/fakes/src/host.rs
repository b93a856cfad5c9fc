//! What both fakes have: behaviour that can be changed while they run, counters that can be waited for, a dialogue,
//! a switch that takes the host down, connections counted by source.

use crate::dialogue::{Dialogue, Line};
use crate::fault::{Action, Fault, Point};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;

/// Lines of dialogue kept unless asked otherwise.
pub(crate) const DIALOGUE: usize = 10_000;

/// The parts of a behaviour that the shared code looks at.
pub(crate) trait Faults {
    fn faults(&self) -> &[Fault];
}

/// State shared by all sessions of one fake.
pub(crate) struct Host<B, C> {
    behaviour: RwLock<Arc<B>>,
    counters: watch::Sender<C>,
    down: watch::Sender<bool>,
    dialogue: Option<Mutex<Dialogue>>,
    sessions: AtomicU64,
    open: Mutex<HashMap<IpAddr, u32>>,
}

/// A mutex whose holder panicked in a failed test still guards sound data here: counters and lines.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B: Faults + Clone, C: Default + Clone> Host<B, C> {
    pub(crate) fn new(behaviour: B, dialogue: usize) -> Host<B, C> {
        Host {
            behaviour: RwLock::new(Arc::new(behaviour)),
            counters: watch::Sender::new(C::default()),
            down: watch::Sender::new(false),
            dialogue: (dialogue > 0).then(|| Mutex::new(Dialogue::new(dialogue))),
            sessions: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }
    pub(crate) fn behaviour(&self) -> Arc<B> {
        self.behaviour.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub(crate) fn change(&self, change: impl FnOnce(&mut B)) {
        let mut slot = self.behaviour.write().unwrap_or_else(PoisonError::into_inner);
        let mut behaviour = B::clone(&slot);
        change(&mut behaviour);
        *slot = Arc::new(behaviour);
    }
    pub(crate) fn count(&self, change: impl FnOnce(&mut C)) {
        self.counters.send_modify(change);
    }
    pub(crate) fn counters(&self) -> C {
        self.counters.borrow().clone()
    }
    /// Cancel safe.
    pub(crate) async fn wait(&self, mut until: impl FnMut(&C) -> bool) -> C {
        let mut counters = self.counters.subscribe();
        let now = counters.wait_for(|counters| until(counters)).await;
        now.map(|counters| counters.clone()).unwrap_or_default()
    }
    pub(crate) fn set_down(&self, down: bool) {
        self.down.send_replace(down);
    }
    pub(crate) fn is_down(&self) -> bool {
        *self.down.borrow()
    }
    /// Returns when the host is taken down.
    pub(crate) async fn until_down(&self) {
        // The sender lives as long as `self`, so the wait ends only by the switch.
        let _ = self.down.subscribe().wait_for(|down| *down).await;
    }
    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }
    pub(crate) fn log(&self, session: u64, from_peer: bool, text: impl FnOnce() -> String) {
        if let Some(dialogue) = &self.dialogue {
            lock(dialogue).push(session, from_peer, text());
        }
    }
    pub(crate) fn dialogue(&self) -> Vec<Line> {
        self.dialogue.as_ref().map(|dialogue| lock(dialogue).lines()).unwrap_or_default()
    }
    pub(crate) fn clear_dialogue(&self) {
        if let Some(dialogue) = &self.dialogue {
            lock(dialogue).clear();
        }
    }
    /// The fault due at this point, if any.
    pub(crate) fn fault(&self, point: Point) -> Option<Action> {
        self.behaviour().faults().iter().find_map(|fault| fault.due(point).cloned())
    }
    /// Counts a connection of `source`; the guard's number includes it, and gives it back when dropped.
    pub(crate) fn enter(self: &Arc<Self>, source: IpAddr) -> Entered<B, C> {
        let mut open = lock(&self.open);
        let of_source = open.entry(source).or_insert(0);
        *of_source += 1;
        let number = *of_source;
        drop(open);
        Entered { host: self.clone(), source, number }
    }
}

/// A counted connection.
pub(crate) struct Entered<B, C> {
    host: Arc<Host<B, C>>,
    source: IpAddr,
    /// Connections of this source, this one included, when it came.
    pub(crate) number: u32,
}

impl<B, C> Drop for Entered<B, C> {
    fn drop(&mut self) {
        let mut open = lock(&self.host.open);
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}
