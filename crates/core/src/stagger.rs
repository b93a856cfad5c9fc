//! When the next batch leaves. For a delegate that is far away: evenly over the time that its answers take. For one near by:
//! when the one before is back.
//!
//! Whoever asks all at once is answered all at once, and asks again all at once. If each session left with the first few
//! questions, the rest would wait for a whole round. Near by no timer is fine enough for even distances, and a session
//! for each question costs both sides more than the short wait for the answers that are coming already.

use std::time::Duration;

use vouchsafe_smtp::Tick;

/// Batches nearer together than this are not held apart: no timer is finer.
const FINEST: Duration = Duration::from_millis(1);
/// No batch is held back for longer, however long answers take.
const LONGEST: Duration = Duration::from_millis(10);

/// Whoever answers within this time is near by.
const NEAR: Duration = Duration::from_millis(1);
/// A batch that a delegate near by has had for longer is waited for no more.
pub const SOON: Duration = Duration::from_millis(2);

/// The departures to one delegate.
#[derive(Debug, Default)]
pub struct Stagger {
    /// How long a first answer takes, of late at the least.
    round: Option<Duration>,
    /// When the last batch left.
    left: Option<Tick>,
    /// Batches that are expected back soon.
    soon: usize,
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

    /// A batch leaves. True: it is expected back within [`SOON`]; tell when it is, or when that time has passed
    /// ([`Stagger::is_back`]).
    pub fn leaves(&mut self, now: Tick) -> bool {
        self.left = Some(now);
        let near = self.round.is_some_and(|round| round < NEAR);
        self.soon += usize::from(near);
        near
    }

    /// A batch that was expected soon is back, or will not be soon.
    pub fn is_back(&mut self) {
        self.soon -= 1;
    }

    /// Whether questions that fill no batch wait for one that is expected soon.
    pub fn gathers(&self) -> bool {
        self.soon > 0
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
    fn near_by_the_next_batch_waits_for_the_one_before() {
        let mut stagger = Stagger::default();
        assert!(!stagger.leaves(Tick(0)), "nothing is known yet");
        stagger.answered(MS / 4);
        assert!(!stagger.gathers());
        assert!(stagger.leaves(Tick(0)) && stagger.gathers());
        stagger.is_back();
        assert!(!stagger.gathers());
        assert!(!far(MS).leaves(Tick(0)));
    }

    #[test]
    fn a_tarpit_is_not_taken_for_distance() {
        let mut stagger = far(MS);
        stagger.answered(Duration::from_secs(5));
        assert_eq!(stagger.wait(Tick(0), 1), MS + MS / 8);
        assert_eq!(far(Duration::from_secs(5)).wait(Tick(0), 4), LONGEST);
    }
}
