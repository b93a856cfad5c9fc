//! The guard: how many wrong logins may reach the delegate (DESIGN section 4, FACTS section 2).
//!
//! Charged *before* a credential leaves us, given back on 235 or when nothing was sent. A counter clears only on 235 or
//! after a quiet time in which nothing was asked: Active Directory's own counter clears the same way, so a sliding
//! window would lock accounts. One of an account's places is kept for networks where it succeeded before.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vouchsafe_smtp::Tick;

use crate::bounded::Bounded;

/// Failures allowed until a quiet time has gone by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// This many.
    pub failures: u32,
    /// Cleared after this long without a question.
    pub quiet: Duration,
}

/// The settings of `[guard]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Per mapped, case-folded account. Below the delegate's own lock-out threshold (usually 5 in 30 min).
    pub account: Budget,
    /// Per client address.
    pub address: Budget,
    /// Per client network (/24, /64).
    pub network: Budget,
}

impl Default for Budgets {
    fn default() -> Budgets {
        let hour = Duration::from_secs(3600);
        Budgets {
            account: Budget { failures: 3, quiet: Duration::from_secs(35 * 60) },
            address: Budget { failures: 20, quiet: hour },
            network: Budget { failures: 60, quiet: hour },
        }
    }
}

/// A network where an account succeeded keeps its place for this long.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);
/// Accounts, addresses and networks remembered.
const BOUND: usize = 100_000;
/// Networks remembered for an account.
const NETWORKS: usize = 8;

/// Who is over budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The account.
    Account,
    /// The client's address or network.
    Client,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counter {
    charged: u32,
    last: Tick,
}

impl Counter {
    fn left(&self, budget: &Budget, now: Tick) -> u32 {
        let charged = if now.since(self.last) >= budget.quiet { 0 } else { self.charged };
        budget.failures.saturating_sub(charged)
    }
    fn charge(&mut self, budget: &Budget, now: Tick) {
        if now.since(self.last) >= budget.quiet {
            self.charged = 0;
        }
        self.charged += 1;
        self.last = now;
    }
}

/// A charge: to be settled with [`Guard::settle`]. Left unsettled it stays charged, which errs on the safe side.
#[derive(Debug)]
#[must_use = "a charge is settled when the delegate has answered"]
pub struct Charge {
    account: String,
    client: Option<(IpAddr, IpNet)>,
}

/// How a charged question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// 235: everything is given back.
    Accepted,
    /// Nothing was sent: this charge is given back.
    NotSent,
    /// Refused, or sent without a clear answer: it stays.
    Charged,
}

/// Counters of one gateway.
#[derive(Debug)]
pub struct Guard {
    accounts: Bounded<String, Counter>,
    addresses: Bounded<IpAddr, Counter>,
    networks: Bounded<IpNet, Counter>,
    known: Bounded<String, Vec<(IpNet, Tick)>>,
}

impl Default for Guard {
    fn default() -> Guard {
        Guard {
            accounts: Bounded::new(BOUND),
            addresses: Bounded::new(BOUND),
            networks: Bounded::new(BOUND),
            known: Bounded::new(BOUND),
        }
    }
}

impl Guard {
    /// Charges a question about `account` from `client` (`None`: exempt, a trusted network).
    pub fn charge(
        &mut self,
        account: &str,
        client: Option<IpAddr>,
        budgets: &Budgets,
        now: Tick,
    ) -> Result<Charge, Over> {
        let account = account.to_lowercase();
        let client = client.map(|address| (address.to_canonical(), network_of(address)));
        if let Some((address, network)) = client {
            let spent = |counter: Option<&mut Counter>, budget: &Budget| {
                counter.is_some_and(|counter| counter.left(budget, now) == 0)
            };
            if spent(self.addresses.get_mut(&address), &budgets.address)
                || spent(self.networks.get_mut(&network), &budgets.network)
            {
                return Err(Over::Client);
            }
        }
        let known = client.is_none_or(|(_, network)| {
            self.known.get_mut(&account).is_some_and(|seen| {
                seen.iter().any(|(at, when)| *at == network && now.since(*when) < KNOWN_FOR)
            })
        });
        // The last place is kept for networks that the account is known from.
        let kept = if known || budgets.account.failures < 2 { 0 } else { 1 };
        let mut counter = self.accounts.get_mut(&account).copied().unwrap_or_default();
        if counter.left(&budgets.account, now) <= kept && counter.charged > 0 {
            return Err(Over::Account);
        }
        counter.charge(&budgets.account, now);
        self.accounts.insert(account.clone(), counter);
        if let Some((address, network)) = client {
            let mut counter = self.addresses.get_mut(&address).copied().unwrap_or_default();
            counter.charge(&budgets.address, now);
            self.addresses.insert(address, counter);
            let mut counter = self.networks.get_mut(&network).copied().unwrap_or_default();
            counter.charge(&budgets.network, now);
            self.networks.insert(network, counter);
        }
        Ok(Charge { account, client })
    }

    /// Settles a charge.
    pub fn settle(&mut self, charge: Charge, ended: Ended, now: Tick) {
        let back = |counter: Option<&mut Counter>| {
            if let Some(counter) = counter {
                counter.charged = counter.charged.saturating_sub(1);
            }
        };
        if ended == Ended::Charged {
            return;
        }
        if let Some((address, network)) = charge.client {
            back(self.addresses.get_mut(&address));
            back(self.networks.get_mut(&network));
        }
        if ended == Ended::NotSent {
            back(self.accounts.get_mut(&charge.account));
            return;
        }
        self.accounts.remove(&charge.account);
        if let Some((_, network)) = charge.client {
            let mut seen = self.known.remove(&charge.account).unwrap_or_default();
            seen.retain(|(at, _)| *at != network);
            seen.insert(0, (network, now));
            seen.truncate(NETWORKS);
            self.known.insert(charge.account, seen);
        }
    }

    /// Lifts what is held against an account or an address, by hand. True if there was something.
    pub fn lift(&mut self, account: &str, address: Option<IpAddr>) -> bool {
        let mut lifted = self.accounts.remove(&account.to_lowercase()).is_some();
        if let Some(address) = address {
            lifted |= self.addresses.remove(&address.to_canonical()).is_some();
            lifted |= self.networks.remove(&network_of(address)).is_some();
        }
        lifted
    }
}

/// /24 of an IPv4 address, /64 of an IPv6 one.
fn network_of(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let length = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, length).map_or(IpNet::from(address), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn from(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from((0x0a00_0000 + n * 256).to_be_bytes()))
    }

    /// Active Directory's counter: locks at 5 failures, resets after 30 minutes without one.
    #[derive(Default)]
    struct Directory {
        failures: u32,
        last: Tick,
        locked: bool,
    }
    impl Directory {
        fn fail(&mut self, now: Tick) {
            if now.since(self.last) >= MINUTE * 30 {
                self.failures = 0;
            }
            self.failures += 1;
            self.last = now;
            self.locked |= self.failures >= 5;
        }
    }

    #[test]
    fn a_thousand_guesses_in_a_day_never_lock_the_account() {
        let (mut guard, mut directory) = (Guard::default(), Directory::default());
        let mut asked = 0;
        for n in 0..1000_u32 {
            let now = Tick(0) + MINUTE * n * 86 / 60;
            if let Ok(charge) = guard.charge("Alice@Example.com", from(n), &Budgets::default(), now) {
                directory.fail(now);
                asked += 1;
                guard.settle(charge, Ended::Charged, now);
            }
        }
        assert!(!directory.locked && asked > 10, "{asked} asked");
    }

    #[test]
    fn fifty_at_once_are_charged_before_they_leave() {
        let mut guard = Guard::default();
        let sent: Vec<_> =
            (0..50).filter_map(|n| guard.charge("a", from(n), &Budgets::default(), Tick(0)).ok()).collect();
        assert!(sent.len() <= 3);
    }

    #[test]
    fn the_right_password_from_a_known_network_gets_in_during_an_attack() {
        let mut guard = Guard::default();
        let charge = guard.charge("a", from(7), &Budgets::default(), Tick(0)).unwrap();
        guard.settle(charge, Ended::Accepted, Tick(0));
        for n in 100..200 {
            if let Ok(charge) = guard.charge("a", from(n), &Budgets::default(), Tick(1)) {
                guard.settle(charge, Ended::Charged, Tick(1));
            }
        }
        assert_eq!(guard.charge("a", from(300), &Budgets::default(), Tick(2)).err(), Some(Over::Account));
        assert!(guard.charge("a", from(7), &Budgets::default(), Tick(2)).is_ok());
    }

    #[test]
    fn an_address_that_guesses_many_accounts_is_stopped() {
        let mut guard = Guard::default();
        let asked = (0..100)
            .filter(|n| guard.charge(&format!("u{n}"), from(1), &Budgets::default(), Tick(0)).is_ok());
        assert_eq!(asked.count(), 20);
        assert!(guard.lift("", from(1)));
        assert!(guard.charge("u99", from(1), &Budgets::default(), Tick(0)).is_ok());
    }

    #[test]
    fn an_outage_costs_nothing() {
        let mut guard = Guard::default();
        for _ in 0..100 {
            let charge = guard.charge("a", from(1), &Budgets::default(), Tick(0)).unwrap();
            guard.settle(charge, Ended::NotSent, Tick(0));
        }
    }
}
