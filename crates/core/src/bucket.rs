//! Token buckets: how often somebody may do something, with a burst and a steady rate. Pure; the time is an argument.

use std::hash::Hash;
use std::time::Duration;

use vouchsafe_smtp::Tick;

use crate::bounded::Bounded;

/// Whom buckets are remembered for; whoever is forgotten starts with a full one.
const KEYS: usize = 65_536;

/// A bucket for everybody.
#[derive(Debug)]
pub struct Buckets<K> {
    /// Until when it is in debt: full at `now`, empty at `now + burst * every`.
    debts: Bounded<K, Tick>,
    burst: u32,
    every: Duration,
}

impl<K: Hash + Eq> Buckets<K> {
    /// `burst` at once, then one `every` so long.
    pub fn new(burst: u32, every: Duration) -> Buckets<K> {
        Buckets { debts: Bounded::new(KEYS), burst, every }
    }

    /// How long until there is something to take; zero: now.
    pub fn wait(&self, key: &K, now: Tick) -> Duration {
        let debt = self.debts.peek(key).map_or(0, |until| until.0.saturating_sub(now.0));
        Duration::from_micros((debt + micros(self.every)).saturating_sub(micros(self.every * self.burst)))
    }

    /// Takes one, or tells how long until there is one.
    pub fn take(&mut self, key: K, now: Tick) -> Result<(), Duration> {
        match self.wait(&key, now) {
            Duration::ZERO => {
                let debt = self.debts.peek(&key).map_or(now.0, |until| until.0.max(now.0));
                self.debts.insert(key, Tick(debt + micros(self.every)));
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_at_a_time() {
        let mut buckets = Buckets::new(3, Duration::from_secs(10));
        let at = |seconds: u64| Tick(1_000_000 * (100 + seconds));
        for _ in 0..3 {
            assert_eq!(buckets.take("a", at(0)), Ok(()));
        }
        assert_eq!(buckets.take("a", at(4)), Err(Duration::from_secs(6)));
        assert_eq!(buckets.take("b", at(4)), Ok(()));
        assert_eq!(buckets.take("a", at(10)), Ok(()));
        assert_eq!(buckets.wait(&"a", at(10)), Duration::from_secs(10));
        for _ in 0..3 {
            assert_eq!(buckets.take("a", at(100)), Ok(()));
        }
        assert!(buckets.take("a", at(100)).is_err());
    }
}
