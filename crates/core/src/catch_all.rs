//! Domains of which a delegate accepts every address: a yes tells nothing there (DESIGN section 4). Pure: time is an
//! argument.
//!
//! A made-up address is to be asked about beside a domain's first accepted recipient, at most once in [`REMEMBERED`];
//! what came of it is remembered that long. Proof: `transcripts/e2e/catch_all_*`.

use std::time::Duration;

use vouchsafe_smtp::Tick;

use crate::bounded::Bounded;

/// How long the outcome of a test is remembered, how soon a domain is tested again at the earliest, and how long a yes
/// lives that was given while the domain accepts all.
pub const REMEMBERED: Duration = Duration::from_secs(3600);
/// Domains remembered.
const BOUND: usize = 10_000;

#[derive(Clone, Copy, Debug, Default)]
struct Domain {
    accepts_all: bool,
    /// The last test that came to something.
    answered: Option<Tick>,
    /// The last test that was begun.
    begun: Tick,
    under_way: bool,
}

/// What is known of the domains at one delegate.
#[derive(Debug)]
pub struct Domains {
    known: Bounded<Box<str>, Domain>,
}

impl Default for Domains {
    fn default() -> Domains {
        Domains { known: Bounded::new(BOUND) }
    }
}

/// What a test changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// The domain accepts all; what was accepted since then is in doubt.
    AcceptsAll(Tick),
    /// The domain tells users apart again.
    Strict,
}

impl Domains {
    /// A recipient of this domain was accepted: true if a made-up one is to be asked about now.
    pub fn begin(&mut self, domain: &str, now: Tick) -> bool {
        match self.known.get_mut(domain) {
            Some(known) if now.since(known.begun) < REMEMBERED => false,
            Some(known) => {
                known.begun = now;
                known.under_way = true;
                true
            }
            None => {
                let first = Domain { begun: now, under_way: true, ..Domain::default() };
                self.known.insert(domain.into(), first);
                true
            }
        }
    }

    /// A test is under way, and nothing is remembered of an earlier one.
    pub fn is_open(&mut self, domain: &str, now: Tick) -> bool {
        self.known.get_mut(domain).is_some_and(|known| known.under_way && !known.is_fresh(now))
    }

    /// The domain is known to accept every address.
    pub fn accepts_all(&mut self, domain: &str, now: Tick) -> bool {
        self.known.get_mut(domain).is_some_and(|known| known.accepts_all && known.is_fresh(now))
    }

    /// The made-up address was accepted or refused; `None`: no verdict, what is remembered stands.
    pub fn tested(&mut self, domain: &str, accepted: Option<bool>, now: Tick) -> Turn {
        let Some(known) = self.known.get_mut(domain) else { return Turn::None };
        known.under_way = false;
        let Some(accepted) = accepted else { return Turn::None };
        let before = known.answered.replace(now).map(|at| (known.accepts_all, at));
        known.accepts_all = accepted;
        match (accepted, before) {
            (true, Some((true, _))) => Turn::None,
            (true, Some((false, at))) => Turn::AcceptsAll(at),
            (true, None) => Turn::AcceptsAll(Tick(0)),
            (false, Some((true, _))) => Turn::Strict,
            (false, _) => Turn::None,
        }
    }

    /// Forgets a domain (`@example.com`) or all (empty).
    pub fn flush(&mut self, what: &str) {
        let domain = what.strip_prefix('@').map(str::to_lowercase);
        self.known.retain(|name, _| !what.is_empty() && domain.as_deref() != Some(&**name));
    }
}

impl Domain {
    fn is_fresh(&self, now: Tick) -> bool {
        self.answered.is_some_and(|at| now.since(at) < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_tested_once_an_hour_and_turns_are_told() {
        let (mut domains, hour) = (Domains::default(), |n: u32| Tick(0) + REMEMBERED * n);
        assert!(domains.begin("x", hour(1)) && !domains.begin("x", hour(1)));
        assert!(domains.is_open("x", hour(1)) && !domains.accepts_all("x", hour(1)));
        assert_eq!(domains.tested("x", Some(false), hour(1)), Turn::None);
        assert!(domains.begin("x", hour(2)));
        assert_eq!(domains.tested("x", Some(true), hour(2)), Turn::AcceptsAll(hour(1)));
        assert!(domains.accepts_all("x", hour(2)) && !domains.accepts_all("x", hour(3)));
        assert!(domains.begin("x", hour(3)));
        assert_eq!(domains.tested("x", None, hour(3)), Turn::None);
        assert!(!domains.begin("x", hour(3)) && domains.begin("x", hour(4)));
        assert_eq!(domains.tested("x", Some(false), hour(4)), Turn::Strict);
        domains.flush("@X");
        assert!(domains.begin("x", hour(4)));
    }
}
