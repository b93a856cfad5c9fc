//! What a delegate is counted by: answers, how long clients waited for them, what was known already.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_core::Verdict;

/// Bounds by which waits for answers are counted: from a neighbour's cache to a client's patience.
pub const LATENCIES: [Duration; 13] = {
    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
    [
        ms(1),
        ms(3),
        ms(5),
        ms(10),
        ms(25),
        ms(50),
        ms(100),
        ms(250),
        ms(500),
        ms(1000),
        ms(2500),
        ms(5000),
        ms(10_000),
    ]
};

/// Since this delegate's settings were put in force.
#[derive(Default)]
pub struct Tally {
    answered: AtomicU64,
    /// By the smallest bound that they kept.
    within: [AtomicU64; LATENCIES.len()],
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
    /// How many of them waited at most 1, 3, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000 milliseconds.
    #[serde(default)]
    pub within: Vec<u64>,
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
    /// It closes sessions earlier than `refusals` says: so many refusals are collected in one.
    #[serde(default)]
    pub refusals_learned: Option<u64>,
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
        if let Some(index) = LATENCIES.iter().position(|bound| waited <= *bound) {
            self.within[index].fetch_add(1, Ordering::Relaxed);
        }
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.answered_us.fetch_add(waited, Ordering::Relaxed);
    }

    pub(super) fn health(&self) -> Health {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut sum = 0;
        let mut so_far = |count: &AtomicU64| {
            sum += read(count);
            sum
        };
        Health {
            answered: read(&self.answered),
            answered_us: read(&self.answered_us),
            within: self.within.iter().map(&mut so_far).collect(),
            remembered: read(&self.remembered),
            unanswered: read(&self.unanswered),
            ..Health::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_counted_under_every_bound_that_they_kept() {
        let tally = Tally::default();
        let unclear = Verdict::Unavailable { cause: "down".to_owned(), alert: false };
        let reply = vouchsafe_smtp::Reply::new(550, (5, 1, 1), "no");
        let no = Verdict::Reject { said: reply.clone(), tell: reply };
        for ms in [1, 4, 4, 60_000] {
            tally.asked(&no, Duration::from_millis(ms));
        }
        tally.asked(&unclear, Duration::from_millis(1));
        let health = tally.health();
        assert_eq!(health.within, [1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!((health.answered, health.unanswered), (4, 1));
    }
}
