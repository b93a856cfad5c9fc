//! What the callers and the writer share: the schedule, the numbers, the finished bodies that wait for `accept`.
//!
//! The writer changes it after its commit and before it answers, so a caller never sees what is not durable.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use vouchsafe_core::ports::QueueStats;
use vouchsafe_core::{RouteKey, Timestamp};

use crate::GiveBack;
use crate::schedule::Schedule;

/// The queue in brief.
#[derive(Default)]
pub struct Index {
    /// What is due when.
    pub schedule: Schedule,
    /// Messages.
    pub messages: u64,
    /// Octets of head and body of all messages.
    pub octets: u64,
    /// Held recipients.
    pub held: u64,
}

/// A finished large body that no message has adopted yet.
pub struct Finished {
    /// Octets.
    pub len: u64,
    /// CRC32C.
    pub crc: u32,
}

/// Shared by callers and writer.
#[derive(Default)]
pub struct Shared {
    index: Mutex<Index>,
    finished: Mutex<HashMap<String, Finished>>,
}

impl Shared {
    /// The queue in brief.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The finished bodies by name.
    pub fn finished(&self) -> MutexGuard<'_, HashMap<String, Finished>> {
        self.finished.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Index {
    /// The numbers for the overview.
    pub fn stats(&self) -> QueueStats {
        QueueStats {
            messages: self.messages,
            pending: self.schedule.pending(),
            held: self.held,
            octets: self.octets,
        }
    }

    /// A committed change.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Message { octets } => {
                self.messages += 1;
                self.octets += octets;
            }
            Effect::Delivery { id, route, due, pending, held, claimed } => {
                self.schedule.insert(*id, route, *due, *pending, *claimed);
                self.held += held;
            }
            Effect::Changed { id, due, pending, held_before, held } => {
                self.schedule.set(*id, *due, *pending);
                self.held = (self.held + held).saturating_sub(*held_before);
            }
            Effect::ClaimEnded { id } => self.schedule.unclaim(*id),
            Effect::Finished { id, held_before } => {
                self.schedule.forget(*id);
                self.held = self.held.saturating_sub(*held_before);
            }
            Effect::MessageGone { octets } => {
                self.messages = self.messages.saturating_sub(1);
                self.octets = self.octets.saturating_sub(*octets);
            }
        }
    }
}

/// What a committed transaction means for the index.
pub enum Effect {
    /// A message was queued.
    Message {
        /// Head and body.
        octets: u64,
    },
    /// A delivery was queued.
    Delivery {
        /// Row id.
        id: i64,
        /// Its route.
        route: RouteKey,
        /// First attempt.
        due: Timestamp,
        /// Has a pending recipient.
        pending: bool,
        /// Held recipients.
        held: u64,
        /// The caller got it claimed.
        claimed: bool,
    },
    /// A delivery stays, changed.
    Changed {
        /// Row id.
        id: i64,
        /// Next attempt.
        due: Timestamp,
        /// Has a pending recipient.
        pending: bool,
        /// Held recipients before.
        held_before: u64,
        /// Held recipients now.
        held: u64,
    },
    /// Its claim has ended.
    ClaimEnded {
        /// Row id.
        id: i64,
    },
    /// A delivery has left.
    Finished {
        /// Row id.
        id: i64,
        /// Held recipients before.
        held_before: u64,
    },
    /// A message has left.
    MessageGone {
        /// Head and body.
        octets: u64,
    },
}

impl GiveBack for std::sync::Arc<Shared> {
    fn give_back(&self, delivery: i64) {
        self.index().schedule.unclaim(delivery);
    }
}
