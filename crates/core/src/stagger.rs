//! When the next batch leaves for a delegate that is far away: evenly over the time that its answers take.
//!
//! Whoever asks all at once is answered all at once, and asks again all at once. If each session left with the first few
//! questions, the rest would wait for a whole round. Near delegates are asked without any wait.

use std::time::Duration;

use vouchsafe_smtp::Tick;

/// Batches nearer together than this are not held apart: no timer is finer.
const FINEST: Duration = Duration::from_millis(1);
/// No batch is held back for longer, however long answers take.
const LONGEST: Duration = Duration::from_millis(10);

/// The departures to one delegate.
#[derive(Debug, Default)]
pub struct Stagger {
    /// How long a first answer takes, of late at the least.
    round: Option<Duration>,
    /// When the last batch left.
    left: Option<Tick>,
}

impl Stagger {
    /// How long a batch waits yet for questions to join it, where so many sessions take turns; zero: it leaves now.
    pub fn wait(&self, now: Tick, sessions: usize) -> Duration {
        let (Some(round), Some(left)) = (self.round, self.left) else { return Duration::ZERO };
        let gap = round / u32::try_from(sessions.max(1)).unwrap_or(u32::MAX);
        match gap {
            gap if gap < FINEST => Duration::ZERO,
            gap => gap.min(LONGEST).saturating_sub(now.since(left)),
        }
    }

    /// A batch leaves.
    pub fn leaves(&mut self, now: Tick) {
        self.left = Some(now);
    }

    /// A batch had its first answer after this time. A tarpit or a busy machine makes one slow, none fast: the fastest
    /// counts, and is forgotten by an eighth at each that was slower.
    pub fn answered(&mut self, took: Duration) {
        self.round = Some(self.round.map_or(took, |round| took.min(round + round / 8)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn far(round: Duration) -> Stagger {
        let mut stagger = Stagger::default();
        stagger.answered(round);
        stagger.leaves(Tick(0));
        stagger
    }

    #[test]
    fn sessions_leave_at_even_distances() {
        let stagger = far(20 * MS);
        assert_eq!(stagger.wait(Tick(0), 4), 5 * MS);
        assert_eq!(stagger.wait(Tick(0) + 3 * MS, 4), 2 * MS);
        assert_eq!(stagger.wait(Tick(0) + 5 * MS, 4), Duration::ZERO);
        assert_eq!(stagger.wait(Tick(0) + 90 * MS, 4), Duration::ZERO);
    }

    #[test]
    fn nothing_is_held_back_before_the_first_answer_or_near_by() {
        assert_eq!(Stagger::default().wait(Tick(0), 4), Duration::ZERO);
        assert_eq!(far(3 * MS).wait(Tick(0), 4), Duration::ZERO);
        assert_eq!(far(20 * MS).wait(Tick(0), 21), Duration::ZERO);
    }

    #[test]
    fn a_tarpit_is_not_taken_for_distance() {
        let mut stagger = far(MS);
        stagger.answered(Duration::from_secs(5));
        assert_eq!(stagger.wait(Tick(0), 1), MS + MS / 8);
        assert_eq!(far(Duration::from_secs(5)).wait(Tick(0), 4), LONGEST);
    }
}
