//! How soon somebody may try a password again: each wrong one doubles the wait, up to a quarter of an hour.
//!
//! Counted for a client network, and for a name from that network: nobody can lock an account for everyone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use vouchsafe_smtp::Tick;

/// Wrong ones that cost nothing.
const FREE: u32 = 4;
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Keys remembered; past it those whose wait is over leave.
const KEYS: usize = 4096;

/// Wrong attempts by key.
#[derive(Default)]
pub struct Throttle {
    counts: HashMap<String, (u32, Tick)>,
}

impl Throttle {
    /// How long this key has to wait yet; zero: it may try.
    pub fn wait(&self, key: &str, now: Tick) -> Duration {
        self.counts
            .get(key)
            .map_or(Duration::ZERO, |(_, until)| Duration::from_micros(until.0.saturating_sub(now.0)))
    }

    /// A wrong one, or one under way: it counts as wrong until it is known to be [`right`](Self::right) or is
    /// [taken back](Self::take_back), so that guesses made at the same time count each other.
    pub fn wrong(&mut self, key: &str, now: Tick) {
        if self.counts.len() >= KEYS {
            self.counts.retain(|_, (_, until)| until.0 > now.0);
        }
        let (count, until) = self.counts.entry(key.to_owned()).or_insert((0, now));
        // Quiet for as long as the longest wait: forgiven.
        if now.0.saturating_sub(until.0) > micros(LONGEST) {
            *count = 0;
        }
        *count += 1;
        let wait = match count.checked_sub(FREE) {
            None | Some(0) => Duration::ZERO,
            Some(over) => Duration::from_secs(1 << over.min(10)).min(LONGEST),
        };
        *until = Tick(now.0 + micros(wait));
    }

    /// Nobody could tell whether it was right: it does not count.
    pub fn take_back(&mut self, key: &str, now: Tick) {
        if let Some((count, until)) = self.counts.get_mut(key) {
            *count = count.saturating_sub(1);
            // The wait for others that were wrong stays.
            if *count <= FREE {
                *until = now;
            }
        }
    }

    /// A right one.
    pub fn right(&mut self, key: &str) {
        self.counts.remove(key);
    }
}

/// The network that attempts are counted for: /24, /64.
pub fn network(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        None => "local".to_owned(),
        Some(IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0")
        }
        Some(IpAddr::V6(v6)) => format!("{:x?}", &v6.segments()[..4]),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_one_past_the_free_ones_doubles_the_wait() {
        let mut throttle = Throttle::default();
        let now = Tick(1_000_000);
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                throttle.wrong("a", now);
                throttle.wait("a", now).as_secs()
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 2, 4, 8]);
        assert!(throttle.wait("b", now).is_zero());
        (0..20).for_each(|_| throttle.wrong("a", now));
        assert_eq!(throttle.wait("a", now), LONGEST);
        throttle.right("a");
        assert!(throttle.wait("a", now).is_zero());
    }

    #[test]
    fn what_nobody_could_judge_costs_nothing() {
        let mut throttle = Throttle::default();
        let now = Tick(1_000_000);
        for _ in 0..50 {
            throttle.wrong("a", now);
            throttle.take_back("a", now);
        }
        (0..FREE).for_each(|_| throttle.wrong("a", now));
        assert!(throttle.wait("a", now).is_zero());
        throttle.wrong("a", now);
        assert!(!throttle.wait("a", now).is_zero());
    }

    #[test]
    fn a_quiet_while_is_forgiven() {
        let mut throttle = Throttle::default();
        (0..6).for_each(|_| throttle.wrong("a", Tick(0)));
        let later = Tick(micros(LONGEST) * 3);
        throttle.wrong("a", later);
        assert!(throttle.wait("a", later).is_zero());
    }
}
