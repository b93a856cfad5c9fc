//! What a delegate remembers of the addresses that speak to it, over all their connections: wrong logins and unknown
//! recipients, as Xeams counts them (FACTS section 4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// So many within the time, then a punishment of that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many are too many.
    pub most: u32,
    /// Within which they count, and how long the punishment lasts.
    pub time: Duration,
}

/// All addresses that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    wrong_logins: HashMap<IpAddr, Tally>,
    unknown_recipients: HashMap<IpAddr, Tally>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    count: u32,
    first: Option<Instant>,
    punished: Option<Instant>,
}

impl Tally {
    fn is_punished(&self) -> bool {
        self.punished.is_some_and(|end| Instant::now() < end)
    }
    /// One more; true if it was the one too many.
    fn add(&mut self, budget: Budget) -> bool {
        let now = Instant::now();
        if self.first.is_none_or(|first| now - first >= budget.time) {
            *self = Tally { count: 0, first: Some(now), punished: None };
        }
        self.count += 1;
        let tripped = self.count >= budget.most && !self.is_punished();
        if tripped {
            self.punished = Some(now + budget.time);
        }
        tripped
    }
}

impl Sources {
    /// Every login from there is wrong just now.
    pub(super) fn logins_blocked(&self, source: IpAddr) -> bool {
        self.wrong_logins.get(&source).is_some_and(Tally::is_punished)
    }
    /// Counts a wrong login.
    pub(super) fn wrong_login(&mut self, source: IpAddr, budget: Budget) -> bool {
        self.wrong_logins.entry(source).or_default().add(budget)
    }
    /// The address is taken for a dictionary attack.
    pub(super) fn shut_out(&self, source: IpAddr) -> bool {
        self.unknown_recipients.get(&source).is_some_and(Tally::is_punished)
    }
    /// Counts an unknown recipient.
    pub(super) fn unknown_recipient(&mut self, source: IpAddr, budget: Budget) -> bool {
        self.unknown_recipients.entry(source).or_default().add(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test(start_paused = true)]
    async fn the_fifth_is_one_too_many_until_the_time_is_over() {
        let (mut sources, source) = (Sources::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let budget = Budget { most: 5, time: Duration::from_secs(600) };
        let tripped: Vec<bool> = (0..6).map(|_| sources.wrong_login(source, budget)).collect();
        assert_eq!(tripped, [false, false, false, false, true, false]);
        assert!(sources.logins_blocked(source) && !sources.shut_out(source));
        tokio::time::sleep(budget.time).await;
        assert!(!sources.logins_blocked(source));
        assert!(!sources.wrong_login(source, budget));
    }
}
