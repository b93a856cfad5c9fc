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
/// To whoever is farther away a wait of [`FINEST`] makes no difference; it lets in what is asked all at once.
const FAR: Duration = Duration::from_millis(16);
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
    /// When the first question came since.
    first: Option<Tick>,
    /// Batches that are expected back soon.
    soon: usize,
}

impl Stagger {
    /// How long a batch waits yet for questions to join it, where so many sessions take turns; zero: it leaves now.
    pub fn wait(&self, now: Tick, sessions: usize) -> Duration {
        let (Some(round), Some(left)) = (self.round, self.left) else { return Duration::ZERO };
        let gap = round / u32::try_from(sessions.max(1)).unwrap_or(u32::MAX);
        if gap < FINEST {
            return Duration::ZERO;
        }
        let even = gap.min(LONGEST).saturating_sub(now.since(left));
        // The answers of a batch come all at once, and so do the next questions: none is to miss this batch for the first.
        let first = self.first.filter(|_| round >= FAR);
        first.map_or(even, |first| even.max(FINEST.saturating_sub(now.since(first))))
    }

    /// A question came.
    pub fn asked(&mut self, now: Tick) {
        self.first.get_or_insert(now);
    }

    /// A batch leaves. True: it is expected back within [`SOON`]; tell when it is, or when that time has passed
    /// ([`Stagger::is_back`]).
    pub fn leaves(&mut self, now: Tick) -> bool {
        (self.left, self.first) = (Some(now), None);
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
    fn far_away_the_first_question_waits_for_those_that_come_with_it() {
        let asked = |round, at| {
            let mut stagger = far(round);
            stagger.asked(Tick(0) + at);
            stagger.asked(Tick(0) + at + MS / 2);
            move |now| stagger.wait(Tick(0) + now, 4)
        };
        let wait = asked(20 * MS, 30 * MS);
        assert_eq!([wait(30 * MS), wait(30 * MS + MS / 2), wait(31 * MS)], [MS, MS / 2, Duration::ZERO]);
        assert_eq!(asked(20 * MS, 2 * MS)(2 * MS), 3 * MS, "the even distance is longer");
        assert_eq!(asked(15 * MS, 30 * MS)(30 * MS), Duration::ZERO, "not far enough");
        let mut stagger = far(20 * MS);
        stagger.asked(Tick(0));
        stagger.leaves(Tick(0));
        assert_eq!(stagger.wait(Tick(0) + 30 * MS, 4), Duration::ZERO, "it has left");
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
