//! The guard: how many wrong logins may reach the delegate, and how many unknown recipients a client may name (DESIGN
//! section 4, FACTS section 2).
//!
//! Charged *before* a credential leaves us, given back on 235 or when nothing was sent. A counter clears only on 235 or
//! after a quiet time in which nothing was asked: Active Directory's own counter clears the same way, so a sliding
//! window would lock accounts. One of an account's places is kept for networks where it succeeded before.
//! Whom a counter is for is known by a keyed digest alone; the words for it are kept in memory, for lists, never stored.
//! Proof: the tests below, `crates/gateway/tests/guard.rs`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
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
    /// Unknown recipients per client: an IPv4 address, a /64.
    pub unknown_recipients: Budget,
}

impl Default for Budgets {
    fn default() -> Budgets {
        let hour = Duration::from_secs(3600);
        Budgets {
            account: Budget { failures: 3, quiet: Duration::from_secs(35 * 60) },
            address: Budget { failures: 20, quiet: hour },
            network: Budget { failures: 60, quiet: hour },
            unknown_recipients: Budget { failures: 50, quiet: hour },
        }
    }
}

/// A network where an account succeeded keeps its place for this long.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);
/// Counters remembered, of each kind.
const BOUND: usize = 100_000;

/// Who is over budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The account.
    Account,
    /// The client's address or network.
    Client,
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "GuardKind")]
pub enum Kind {
    /// Wrong logins of an account.
    Account,
    /// Wrong logins from an address.
    Address,
    /// Wrong logins from a network.
    Network,
    /// Unknown recipients named by a client.
    Recipients,
    /// Not a count: an account succeeded from a network.
    Known,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Account, Kind::Address, Kind::Network, Kind::Recipients, Kind::Known];

    /// The word for it, as it is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Account => "account",
            Kind::Address => "address",
            Kind::Network => "network",
            Kind::Recipients => "recipients",
            Kind::Known => "known",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Keyed digest of whom a counter is for.
pub type Digest = [u8; 16];

#[derive(Clone, Debug)]
struct Counter {
    charged: u32,
    /// Cleared then; each charge puts it off.
    until: Tick,
    /// Whom it is for; empty if it was kept from an earlier run.
    label: Box<str>,
}

/// A counter that changed, or one to be restored. `charged` 0: it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it counts.
    pub kind: Kind,
    /// For whom.
    pub digest: Digest,
    /// The count.
    pub charged: u32,
    /// Cleared after this long.
    pub left: Duration,
}

/// A counter for a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GuardRow")]
pub struct Row {
    /// What it counts.
    pub kind: Kind,
    /// For whom; `#` and a digest if it was kept from an earlier run.
    pub whom: String,
    /// The count.
    pub charged: u32,
    /// The budget.
    pub allowed: u32,
    /// Cleared after this many seconds without another.
    pub clears_in: u64,
}

/// A charge: to be settled with [`Guard::settle`]. Left unsettled it stays charged, which errs on the safe side.
#[derive(Debug)]
#[must_use = "a charge is settled when the delegate has answered"]
pub struct Charge {
    account: String,
    client: Option<IpAddr>,
    realm: String,
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
    key: [u8; 32],
    counters: [Bounded<Digest, Counter>; Kind::ALL.len()],
    changed: HashSet<(Kind, Digest)>,
}

impl Guard {
    /// An empty guard whose digests are made with this key.
    pub fn new(key: [u8; 32]) -> Guard {
        Guard { key, counters: Kind::ALL.map(|_| Bounded::new(BOUND)), changed: HashSet::new() }
    }

    /// Takes the key and the counters of an earlier run. What was counted in this one before is forgotten: digests of
    /// another key mean nothing.
    pub fn restore(&mut self, key: [u8; 32], entries: Vec<Entry>, now: Tick) {
        *self = Guard::new(key);
        for Entry { kind, digest, charged, left } in entries {
            let counter = Counter { charged, until: now + left, label: Box::default() };
            self.of(kind).insert(digest, counter);
        }
    }

    /// Charges a question about `account` from `client` (`None`: exempt, a trusted network).
    pub fn charge(
        &mut self,
        account: &str,
        client: Option<IpAddr>,
        budgets: &Budgets,
        now: Tick,
    ) -> Result<Charge, Over> {
        self.charge_apart("", account, client, budgets, now)
    }

    /// As [`Guard::charge`], counted apart from all others under a name of its own (`trial office: `): what is asked on
    /// trial takes no place from logins that count.
    pub fn charge_apart(
        &mut self,
        realm: &str,
        account: &str,
        client: Option<IpAddr>,
        budgets: &Budgets,
        now: Tick,
    ) -> Result<Charge, Over> {
        let account = format!("{realm}{}", account.to_lowercase());
        let client = client.map(|address| address.to_canonical());
        let places = client.map(|address| {
            let [address, network] = places_of(realm, address);
            [(Kind::Address, address, budgets.address), (Kind::Network, network, budgets.network)]
        });
        for (kind, whom, budget) in places.iter().flatten() {
            if self.left(*kind, whom, budget, now) == 0 {
                return Err(Over::Client);
            }
        }
        let known = client.is_none_or(|client| self.is_known(&account, client, now));
        // The last place is kept for networks that the account is known from.
        let kept = if known || budgets.account.failures < 2 { 0 } else { 1 };
        if self.left(Kind::Account, &account, &budgets.account, now) <= kept {
            return Err(Over::Account);
        }
        self.add(Kind::Account, &account, &budgets.account, now);
        for (kind, whom, budget) in places.iter().flatten() {
            self.add(*kind, whom, budget, now);
        }
        Ok(Charge { account, client, realm: realm.to_owned() })
    }

    /// Settles a charge.
    pub fn settle(&mut self, charge: Charge, ended: Ended, now: Tick) {
        let Charge { account, client, realm } = charge;
        if ended == Ended::Charged {
            return;
        }
        if let Some(client) = client {
            let [address, network] = places_of(&realm, client);
            self.give_back(Kind::Address, &address);
            self.give_back(Kind::Network, &network);
        }
        if ended == Ended::NotSent {
            self.give_back(Kind::Account, &account);
            return;
        }
        self.remove(Kind::Account, &account);
        if let Some(client) = client {
            let budget = Budget { failures: 1, quiet: KNOWN_FOR };
            let whom = known_name(&account, client);
            self.remove(Kind::Known, &whom);
            self.add(Kind::Known, &whom, &budget, now);
        }
    }

    /// Whether this client has named too many unknown recipients.
    pub fn guesses_recipients(&mut self, client: IpAddr, budget: &Budget, now: Tick) -> bool {
        // Asked for every recipient: where nobody is counted, no digest is made.
        let counted = !self.of(Kind::Recipients).is_empty();
        counted && self.left(Kind::Recipients, &client_name(client), budget, now) == 0
    }

    /// Counts an unknown recipient. True if that was the last one allowed.
    pub fn unknown_recipient(&mut self, client: IpAddr, budget: &Budget, now: Tick) -> bool {
        let name = client_name(client);
        self.add(Kind::Recipients, &name, budget, now);
        self.left(Kind::Recipients, &name, budget, now) == 0
    }

    /// Lifts what is held against an account or an address, by hand. True if there was something.
    pub fn lift(&mut self, account: &str, address: Option<IpAddr>) -> bool {
        let mut lifted = self.remove(Kind::Account, &account.to_lowercase());
        if let Some(address) = address.map(|address| address.to_canonical()) {
            lifted |= self.remove(Kind::Address, &address.to_string());
            lifted |= self.remove(Kind::Network, &network_of(address).to_string());
            lifted |= self.remove(Kind::Recipients, &client_name(address));
        }
        lifted
    }

    /// What is counted now, the fullest first.
    pub fn list(&self, budgets: &Budgets, now: Tick, limit: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        for (kind, counters) in Kind::ALL.into_iter().zip(&self.counters) {
            let allowed = match kind {
                Kind::Account => budgets.account.failures,
                Kind::Address => budgets.address.failures,
                Kind::Network => budgets.network.failures,
                Kind::Recipients => budgets.unknown_recipients.failures,
                Kind::Known => continue,
            };
            let live = counters.iter().filter(|(_, counter)| counter.charged > 0 && now < counter.until);
            rows.extend(live.map(|(digest, counter)| Row {
                kind,
                whom: match &*counter.label {
                    "" => format!("#{}", hex(&digest[..6])),
                    label => label.to_owned(),
                },
                charged: counter.charged,
                allowed,
                clears_in: counter.until.since(now).as_secs(),
            }));
        }
        rows.sort_by_key(|row| {
            u64::from(row.allowed.saturating_sub(row.charged)) * 1000 / u64::from(row.allowed.max(1))
        });
        rows.truncate(limit);
        rows
    }

    /// What changed since this was asked last, to be stored.
    pub fn take_changes(&mut self, now: Tick) -> Vec<Entry> {
        let changed = std::mem::take(&mut self.changed);
        let entry = |(kind, digest)| {
            let counter = self.counters[kind as usize].peek(&digest);
            let (charged, until) = counter.map_or((0, now), |counter| (counter.charged, counter.until));
            Entry { kind, digest, charged, left: until.since(now) }
        };
        changed.into_iter().map(entry).collect()
    }

    /// Entries that could not be stored: they are given out again.
    pub fn untake(&mut self, entries: &[Entry]) {
        self.changed.extend(entries.iter().map(|entry| (entry.kind, entry.digest)));
    }

    fn of(&mut self, kind: Kind) -> &mut Bounded<Digest, Counter> {
        &mut self.counters[kind as usize]
    }

    fn digest(&self, kind: Kind, whom: &str) -> Digest {
        let mut digest = Sha256::new();
        digest.update(self.key);
        digest.update([kind as u8]);
        digest.update(whom.as_bytes());
        let whole: [u8; 32] = digest.finalize().into();
        std::array::from_fn(|at| whole[at])
    }

    fn left(&mut self, kind: Kind, whom: &str, budget: &Budget, now: Tick) -> u32 {
        let digest = self.digest(kind, whom);
        let live = self.of(kind).get_mut(&digest).filter(|counter| now < counter.until);
        budget.failures.saturating_sub(live.map_or(0, |counter| counter.charged))
    }

    fn add(&mut self, kind: Kind, whom: &str, budget: &Budget, now: Tick) {
        let digest = self.digest(kind, whom);
        let live = self.of(kind).get_mut(&digest).filter(|counter| now < counter.until);
        let charged = live.map_or(0, |counter| counter.charged).saturating_add(1);
        self.of(kind).insert(digest, Counter { charged, until: now + budget.quiet, label: whom.into() });
        self.changed.insert((kind, digest));
    }

    fn give_back(&mut self, kind: Kind, whom: &str) {
        let digest = self.digest(kind, whom);
        if let Some(counter) = self.of(kind).get_mut(&digest) {
            counter.charged = counter.charged.saturating_sub(1);
            self.changed.insert((kind, digest));
        }
    }

    fn remove(&mut self, kind: Kind, whom: &str) -> bool {
        let digest = self.digest(kind, whom);
        let gone = self.of(kind).remove(&digest).is_some();
        if gone {
            self.changed.insert((kind, digest));
        }
        gone
    }

    fn is_known(&mut self, account: &str, client: IpAddr, now: Tick) -> bool {
        let digest = self.digest(Kind::Known, &known_name(account, client));
        self.of(Kind::Known).get_mut(&digest).is_some_and(|seen| now < seen.until)
    }
}

/// What is charged beside an account.
fn places_of(realm: &str, client: IpAddr) -> [String; 2] {
    [format!("{realm}{client}"), format!("{realm}{}", network_of(client))]
}

/// A NUL is in no account's name.
fn known_name(account: &str, client: IpAddr) -> String {
    format!("{account}\0{}", network_of(client))
}

/// Who names recipients: an IPv4 address, a /64.
fn client_name(client: IpAddr) -> String {
    let client = client.to_canonical();
    if client.is_ipv4() { client.to_string() } else { network_of(client).to_string() }
}

/// /24 of an IPv4 address, /64 of an IPv6 one.
pub(crate) fn network_of(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let length = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, length).map_or(IpNet::from(address), |network| network.trunc())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn guard() -> Guard {
        Guard::new([7; 32])
    }

    fn from(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from((0x0a00_0000 + n * 256).to_be_bytes()))
    }

    #[test]
    fn what_is_counted_apart_takes_no_place_from_the_others() {
        let (mut guard, budgets) = (guard(), Budgets::default());
        for _ in 0..2 {
            let charge = guard.charge_apart("trial d: ", "Alice", from(1), &budgets, Tick(0)).unwrap();
            guard.settle(charge, Ended::Charged, Tick(0));
        }
        assert_eq!(
            guard.charge_apart("trial d: ", "alice", from(1), &budgets, Tick(0)).unwrap_err(),
            Over::Account
        );
        let counted = guard.list(&budgets, Tick(0), 10);
        assert!(counted.iter().all(|row| row.whom.starts_with("trial d: ")), "{counted:?}");
        let charge = guard.charge("alice", from(1), &budgets, Tick(0)).unwrap();
        guard.settle(charge, Ended::Accepted, Tick(0));
        assert_eq!(guard.list(&budgets, Tick(0), 10).len(), counted.len());
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
        let (mut guard, mut directory) = (guard(), Directory::default());
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
        let mut guard = guard();
        let sent: Vec<_> =
            (0..50).filter_map(|n| guard.charge("a", from(n), &Budgets::default(), Tick(0)).ok()).collect();
        assert!(sent.len() <= 3);
    }

    #[test]
    fn the_right_password_from_a_known_network_gets_in_during_an_attack() {
        let mut guard = guard();
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
        let mut guard = guard();
        let asked = (0..100)
            .filter(|n| guard.charge(&format!("u{n}"), from(1), &Budgets::default(), Tick(0)).is_ok());
        assert_eq!(asked.count(), 20);
        assert!(guard.lift("", from(1)));
        assert!(guard.charge("u99", from(1), &Budgets::default(), Tick(0)).is_ok());
    }

    #[test]
    fn an_outage_costs_nothing() {
        let mut guard = guard();
        for _ in 0..100 {
            let charge = guard.charge("a", from(1), &Budgets::default(), Tick(0)).unwrap();
            guard.settle(charge, Ended::NotSent, Tick(0));
        }
    }

    #[test]
    fn a_budget_of_one_asks_once() {
        let one = Budget { failures: 1, quiet: MINUTE };
        let (mut guard, budgets) = (guard(), Budgets { account: one, ..Budgets::default() });
        let charge = guard.charge("a", from(1), &budgets, Tick(0)).unwrap();
        guard.settle(charge, Ended::Charged, Tick(0));
        assert!(guard.charge("a", from(1), &budgets, Tick(0)).is_err());
        assert!(guard.charge("a", from(1), &budgets, Tick(0) + MINUTE).is_ok());
    }

    #[test]
    fn counters_and_known_networks_survive_a_restart_but_names_do_not() {
        let budgets = Budgets::default();
        let mut guard = guard();
        let charge = guard.charge("a", from(7), &budgets, Tick(0)).unwrap();
        guard.settle(charge, Ended::Accepted, Tick(0));
        for n in 1..3 {
            let charge = guard.charge("a", from(n), &budgets, Tick(0)).unwrap();
            guard.settle(charge, Ended::Charged, Tick(0));
        }
        let kept = guard.take_changes(Tick(0));
        assert!(guard.take_changes(Tick(0)).is_empty());
        let mut next = Guard::new([1; 32]);
        next.restore([7; 32], kept, Tick(0));
        assert_eq!(next.charge("a", from(9), &budgets, Tick(0)).err(), Some(Over::Account));
        assert!(next.list(&budgets, Tick(0), 100).iter().all(|row| row.whom.starts_with('#')));
        assert!(next.charge("a", from(7), &budgets, Tick(0)).is_ok());
        assert!(next.lift("A", None));
    }

    #[test]
    fn a_client_may_name_so_many_unknown_recipients() {
        let (mut guard, budget) = (guard(), Budget { failures: 2, quiet: MINUTE });
        let client = IpAddr::from([192, 0, 2, 1]);
        assert!(!guard.unknown_recipient(client, &budget, Tick(0)));
        assert!(!guard.guesses_recipients(client, &budget, Tick(0)));
        assert!(guard.unknown_recipient(client, &budget, Tick(0)));
        assert!(guard.guesses_recipients(client, &budget, Tick(0)));
        assert!(!guard.guesses_recipients(IpAddr::from([192, 0, 2, 2]), &budget, Tick(0)));
        assert!(!guard.guesses_recipients(client, &budget, Tick(0) + MINUTE));
    }
}
