//! A circuit breaker: a dead server costs milliseconds, and one trial at a time finds out that it is back.

use std::time::Duration;

use vouchsafe_smtp::Tick;

/// Failures in a row before it opens.
const FAILURES: u32 = 3;
/// First wait when open; doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(5);
/// Longest wait between trials.
const LONGEST: Duration = Duration::from_secs(60);

/// Closed: all go. Open: none go until the wait is over; then one trial goes.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Tick>,
}

impl Breaker {
    /// Whether a question may go to the server now. When half open, the first one to ask is the trial and the others
    /// wait as if it were open.
    pub fn allows(&mut self, now: Tick) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                self.open_until = Some(now + FIRST);
                true
            }
        }
    }
    /// The server answered, whatever it said.
    pub fn succeeded(&mut self) {
        *self = Breaker::default();
    }
    /// The server could not be asked. True when this opened the breaker.
    pub fn failed(&mut self, now: Tick) -> bool {
        self.failures += 1;
        if self.failures < FAILURES {
            return false;
        }
        let doubled = FIRST * 2_u32.saturating_pow((self.failures - FAILURES).min(8));
        self.open_until = Some(now + doubled.min(LONGEST));
        self.failures == FAILURES
    }
    /// Whether it is open: for status pages.
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_three_failures_and_lets_one_trial_through() {
        let mut breaker = Breaker::default();
        assert!(!breaker.failed(Tick(0)) && !breaker.failed(Tick(0)));
        assert!(breaker.allows(Tick(0)));
        assert!(breaker.failed(Tick(0)));
        assert!(!breaker.allows(Tick(1)));
        let later = Tick(0) + FIRST;
        assert!(breaker.allows(later) && !breaker.allows(later));
        breaker.succeeded();
        assert!(breaker.allows(later));
    }
}
