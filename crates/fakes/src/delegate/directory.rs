//! The accounts behind a delegate, counted as Active Directory counts: a wrong login adds one, a right one or a quiet
//! time clears, and at the threshold the account is locked, for the right password too (FACTS section 2).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

/// All accounts that somebody tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    accounts: BTreeMap<String, Account>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Account {
    failures: u32,
    last: Option<Instant>,
    recent: VecDeque<Instant>,
}

impl Directory {
    /// Whether the account is locked now.
    pub(super) fn is_locked(&mut self, name: &str, (threshold, quiet): (u32, Duration)) -> bool {
        let account = self.accounts.entry(name.to_lowercase()).or_default();
        if account.last.is_some_and(|last| last.elapsed() >= quiet) {
            account.failures = 0;
        }
        account.failures >= threshold
    }

    /// A right login.
    pub(super) fn succeeded(&mut self, name: &str) {
        self.accounts.remove(&name.to_lowercase());
    }

    /// A wrong login: true if it locked the account, and how many there were within 30 minutes.
    pub(super) fn failed(&mut self, name: &str, lockout: (u32, Duration)) -> (bool, usize) {
        let was_locked = self.is_locked(name, lockout);
        let account = self.accounts.entry(name.to_lowercase()).or_default();
        let now = Instant::now();
        account.failures += 1;
        account.last = Some(now);
        account.recent.push_back(now);
        while account.recent.front().is_some_and(|first| now - *first >= HALF_AN_HOUR) {
            account.recent.pop_front();
        }
        (!was_locked && account.failures >= lockout.0, account.recent.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_fifth_failure_locks_until_it_was_quiet() {
        let (mut directory, lockout) = (Directory::default(), (5, HALF_AN_HOUR));
        for n in 1..=5 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(directory.failed("Alice", lockout), (n == 5, n));
        }
        assert!(directory.is_locked("alice", lockout));
        tokio::time::sleep(HALF_AN_HOUR).await;
        assert!(!directory.is_locked("alice", lockout));
        assert_eq!(directory.failed("alice", lockout), (false, 1));
    }
}
