//! Monotonic time as the machines see it. Wall time is another type (`vouchsafe_core::Timestamp`): the two never convert.

use std::ops::Add;
use std::time::Duration;

/// Microseconds on a monotonic clock whose zero means nothing. For deadlines only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Time that went by since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;
    fn add(self, d: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}
