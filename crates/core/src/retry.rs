//! When a delivery is tried again, when its sender is warned, when it is given up (RFC 5321 §4.5.4.1).
//!
//! Pure: time and chance are arguments.

use std::time::Duration;

use crate::time::Timestamp;

/// The largest part of a wait that chance takes off, so that what failed together does not come back together. Off and
/// never on: an administrator who reads "15m" sees an attempt within 15 minutes.
const JITTER: f64 = 0.1;

/// The wait if the settings name none.
const DEFAULT: Duration = Duration::from_secs(1800);

/// When the next attempt is due after `attempts` failed ones (at least 1). `schedule` holds the waits, the last
/// repeats; `jitter` is drawn from 0 to 1.
pub fn next_due(attempts: u32, now: Timestamp, schedule: &[Duration], jitter: f64) -> Timestamp {
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let wait = schedule.get(place).or(schedule.last()).copied().unwrap_or(DEFAULT);
    now + wait.mul_f64(1.0 - JITTER * jitter.clamp(0.0, 1.0))
}

/// True when a message has been in the queue for `expire` or longer.
pub fn expired(received_at: Timestamp, now: Timestamp, expire: Duration) -> bool {
    now.since(received_at) >= expire
}

/// True when its sender should be told that it is late; `None` is never.
pub fn warning_due(received_at: Timestamp, now: Timestamp, warn_after: Option<Duration>) -> bool {
    warn_after.is_some_and(|after| now.since(received_at) >= after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn waits_follow_the_schedule_and_the_last_repeats() {
        let schedule = [60, 600, 3600].map(Duration::from_secs);
        let wait = |attempts| next_due(attempts, NOW, &schedule, 0.0).since(NOW).as_secs();
        assert_eq!([0, 1, 2, 3, 4, u32::MAX].map(wait), [60, 60, 600, 3600, 3600, 3600]);
        assert_eq!(next_due(1, NOW, &[], 0.0).since(NOW), DEFAULT);
    }

    #[test]
    fn jitter_takes_off_at_most_a_tenth_and_adds_nothing() {
        let schedule = [Duration::from_secs(100)];
        let wait = |jitter| next_due(1, NOW, &schedule, jitter).since(NOW).as_secs();
        assert_eq!([0.0, 0.5, 1.0, 7.0, -7.0].map(wait), [100, 95, 90, 90, 100]);
    }

    #[test]
    fn warning_and_expiry_come_when_their_time_has_passed() {
        let hour = Duration::from_secs(3600);
        let later = NOW + hour;
        assert!(expired(NOW, later, hour) && !expired(NOW, later - Duration::from_micros(1), hour));
        assert!(warning_due(NOW, later, Some(hour)) && !warning_due(NOW, NOW, Some(hour)));
        assert!(!warning_due(NOW, later, None));
    }
}
