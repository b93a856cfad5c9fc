//! What a delegate is counted by: answers, how long clients waited for them, what was known already.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_core::Verdict;

/// Since this delegate's settings were put in force.
#[derive(Default)]
pub struct Tally {
    answered: AtomicU64,
    answered_us: AtomicU64,
    remembered: AtomicU64,
    unanswered: AtomicU64,
}

/// How a delegate is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// It is asked; false while it is left alone.
    pub reachable: bool,
    /// Questions that it answered.
    pub answered: u64,
    /// Microseconds that clients waited for those, in all.
    pub answered_us: u64,
    /// Questions answered from memory.
    pub remembered: u64,
    /// Questions that it did not answer.
    pub unanswered: u64,
    /// Sessions for recipients that are open there.
    pub sessions: u64,
    /// As many as there may be now.
    pub sessions_at_most: u64,
    /// Questions about recipients that wait for a session.
    pub waiting: u64,
}

impl Tally {
    /// Known already.
    pub(super) fn remembered(&self, verdict: &Verdict) {
        let count = match verdict {
            Verdict::Unavailable { .. } => &self.unanswered,
            _ => &self.remembered,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// It was asked, and the client waited so long.
    pub(super) fn asked(&self, verdict: &Verdict, waited: Duration) {
        if let Verdict::Unavailable { .. } = verdict {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.answered_us.fetch_add(waited, Ordering::Relaxed);
    }

    pub(super) fn health(&self) -> Health {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Health {
            answered: read(&self.answered),
            answered_us: read(&self.answered_us),
            remembered: read(&self.remembered),
            unanswered: read(&self.unanswered),
            ..Health::default()
        }
    }
}
