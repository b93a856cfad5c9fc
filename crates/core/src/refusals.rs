//! How many refusals a session may collect before the delegate closes it: what the setting says, or less, where the
//! delegate was seen to close earlier (FACTS section 5: Exchange closes at 5 errors, Postfix under stress at 1).
//!
//! Learned from two sessions in a row that were closed right behind a refusal, for one may be chance; given up step by
//! step, for stress passes. Pure. Proof: the tests below, `transcripts/delegate/`, `crates/gateway/tests/places.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// One more refusal is tried after this long without a session that was closed for them.
const FORGIVEN: Duration = Duration::from_secs(24 * 3600);

/// What is known of one delegate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Refusals that a session may collect; `None`: as the setting says.
    limit: Option<u32>,
    /// The last session was closed behind so many.
    closed_behind: Option<u32>,
    /// When that was last seen.
    seen: Timestamp,
}

impl Learned {
    /// Refusals that a session may collect now: never more than the setting, never fewer than one.
    pub fn allowed(&self, setting: u32, now: Timestamp) -> u32 {
        let learned = self.limit.map_or(setting, |limit| {
            let days = now.since(self.seen).as_micros() / FORGIVEN.as_micros();
            limit.saturating_add(u32::try_from(days).unwrap_or(u32::MAX))
        });
        learned.min(setting).max(1)
    }

    /// A session was closed right behind its `count`-th refusal, within what the setting allows. True: one fewer is taken
    /// from now on.
    pub fn closed_behind(&mut self, count: u32, setting: u32, now: Timestamp) -> bool {
        let twice = self.closed_behind.replace(count).is_some_and(|before| before.abs_diff(count) <= 1);
        let limit = count.saturating_sub(1).max(1);
        let fewer = twice && limit < self.allowed(setting, now);
        if fewer {
            self.limit = Some(limit);
        }
        if twice {
            self.seen = now;
        }
        fewer
    }

    /// A session stayed open behind its `count`-th refusal.
    pub fn went_on(&mut self, count: u32) {
        if self.closed_behind.is_some_and(|before| count >= before) {
            self.closed_behind = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn two_sessions_in_a_row_teach_and_one_does_not() {
        let mut learned = Learned::default();
        assert_eq!(learned.allowed(4, NOW), 4);
        assert!(!learned.closed_behind(3, 4, NOW));
        learned.went_on(3);
        assert!(!learned.closed_behind(3, 4, NOW));
        assert!(learned.closed_behind(3, 4, NOW));
        assert_eq!(learned.allowed(4, NOW), 2);
        // It closes at the first: there is nothing below one.
        assert!(!learned.closed_behind(1, 4, NOW));
        assert!(learned.closed_behind(1, 4, NOW));
        assert_eq!(learned.allowed(4, NOW), 1);
        assert!(!learned.closed_behind(1, 4, NOW));
    }

    #[test]
    fn it_is_never_above_the_setting_and_forgiven_in_time() {
        let mut learned = Learned::default();
        learned.closed_behind(5, 20, NOW);
        assert!(learned.closed_behind(5, 20, NOW));
        assert_eq!(learned.allowed(20, NOW), 4);
        assert_eq!(learned.allowed(3, NOW), 3);
        assert_eq!(learned.allowed(20, NOW + FORGIVEN * 2), 6);
        assert_eq!(learned.allowed(20, NOW + FORGIVEN * 400), 20);
    }
}
