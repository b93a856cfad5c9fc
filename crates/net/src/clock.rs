//! The system's clocks. On a paused runtime the monotonic one follows the runtime, so tests move it.

use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::Clock;
use vouchsafe_smtp::Tick;

/// Wall time from the system plus monotonic time from the runtime.
pub struct SystemClock {
    start: Instant,
    /// Wall time at `start`, for a clock that then follows the runtime.
    fixed: Option<Timestamp>,
}

impl SystemClock {
    /// Must be called inside a tokio runtime.
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now(), fixed: None }
    }
    /// Wall time too moves with the runtime from now on: on a paused runtime a week's retries take no time.
    pub fn following_the_runtime() -> SystemClock {
        let clock = SystemClock::new();
        SystemClock { fixed: Some(clock.now()), ..clock }
    }
    /// The runtime's instant at `tick`, for its timers.
    pub fn instant(&self, tick: Tick) -> Instant {
        self.start + std::time::Duration::from_micros(tick.0)
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn now(&self) -> Timestamp {
        if let Some(fixed) = self.fixed {
            return fixed + self.start.elapsed();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
    fn tick(&self) -> Tick {
        Tick(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}
