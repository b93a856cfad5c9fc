//! The verdict cache of one delegate (DESIGN section 4). Pure: time is an argument.
//!
//! A yes is refreshed after `refresh` and served, stale, until `yes` is over, through an outage too. A single "no" never
//! demotes a live yes: it is asked again after [`SECOND_LOOK`], the second demotes. Unavailable is never stored. Yes and
//! no are bounded apart, so that a dictionary run evicts no yes. Yes entries are handed out to be kept across restarts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use vouchsafe_smtp::{Reply, Tick};

use crate::bounded::Bounded;
use crate::verdict::Verdict;

/// After a first "no" to an address that has a live yes, the address is asked again this much later.
pub const SECOND_LOOK: Duration = Duration::from_secs(600);

/// A yes that lives no longer than this was said while its domain accepted every address: it proves nothing.
const UNPROVEN: Duration = Duration::from_secs(3600);

/// How long verdicts live (`delegate.NAME.verdicts`).
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A yes is good for this long.
    pub yes: Duration,
    /// A yes is asked again, behind the client's back, after this long.
    pub refresh: Duration,
    /// A no is good for this long.
    pub no: Duration,
}

/// What the cache knows of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Use it.
    Fresh(Verdict),
    /// Use it, and ask again behind it.
    Stale(Verdict),
    /// Ask.
    Missing,
}

#[derive(Debug)]
struct Yes {
    /// A delegate says the same to most: then it is kept once.
    said: Arc<Reply>,
    until: Tick,
    refresh_at: Tick,
    doubted: bool,
}

#[derive(Debug)]
struct No {
    said: Reply,
    tell: Reply,
    until: Tick,
}

/// A yes as it is kept across restarts: times are counted from the moment it is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The delegate's words.
    pub said: Reply,
    /// Asked again after this long.
    pub refresh_in: Duration,
    /// Good for this long.
    pub left: Duration,
    /// A first "no" came since.
    pub doubted: bool,
}

/// Verdicts by case-folded address.
#[derive(Debug)]
pub struct VerdictCache {
    yes: Bounded<Box<str>, Yes>,
    no: Bounded<Box<str>, No>,
    /// Addresses whose yes came, changed or went since [`VerdictCache::take_changes`].
    changed: HashSet<Box<str>>,
    /// The words of the last yes.
    last: Option<Arc<Reply>>,
}

impl VerdictCache {
    /// A cache with at most `bound` yes and `bound` no entries.
    pub fn new(bound: usize) -> VerdictCache {
        VerdictCache {
            yes: Bounded::new(bound),
            no: Bounded::new(bound),
            changed: HashSet::new(),
            last: None,
        }
    }

    /// Looks an address up. A stale entry is handed out as stale once per refresh interval try: the caller asks again.
    pub fn get(&mut self, key: &str, now: Tick) -> Lookup {
        if let Some(entry) = self.yes.get_mut(key) {
            if now < entry.until {
                let verdict = Verdict::Accept((*entry.said).clone());
                return if now < entry.refresh_at { Lookup::Fresh(verdict) } else { Lookup::Stale(verdict) };
            }
            self.yes.remove(key);
            self.changed.insert(key.into());
        }
        match self.no.get_mut(key) {
            Some(entry) if now < entry.until => {
                Lookup::Fresh(Verdict::Reject { said: entry.said.clone(), tell: entry.tell.clone() })
            }
            Some(_) => {
                self.no.remove(key);
                Lookup::Missing
            }
            None => Lookup::Missing,
        }
    }

    /// The same words as those of the last yes are kept once.
    fn shared(&mut self, said: &Reply) -> Arc<Reply> {
        match &self.last {
            Some(last) if **last == *said => Arc::clone(last),
            _ => Arc::clone(self.last.insert(Arc::new(said.clone()))),
        }
    }

    /// Records what the delegate said. A "no" that may soon change (mailbox full, disabled) lives a minute.
    pub fn put(&mut self, key: &str, verdict: &Verdict, times: &Times, now: Tick) {
        match verdict {
            Verdict::Accept(said) => {
                self.no.remove(key);
                let refresh_at = now + times.refresh.min(times.yes);
                let said = self.shared(said);
                let entry = Yes { said, until: now + times.yes, refresh_at, doubted: false };
                self.yes.insert(key.into(), entry);
                self.changed.insert(key.into());
            }
            Verdict::Reject { said, tell } => {
                if let Some(entry) = self.yes.get_mut(key)
                    && now < entry.until
                    && !entry.doubted
                {
                    entry.doubted = true;
                    entry.refresh_at = now + SECOND_LOOK;
                    self.changed.insert(key.into());
                    return;
                }
                if self.yes.remove(key).is_some() {
                    self.changed.insert(key.into());
                }
                let life = if verdict.is_brief() { times.no.min(Duration::from_secs(60)) } else { times.no };
                let entry = No { said: said.clone(), tell: tell.clone(), until: now + life };
                self.no.insert(key.into(), entry);
            }
            // Promise 3: no verdict. A stale yes goes on being served; it is asked again a little later.
            _ => {
                if let Some(entry) = self.yes.get_mut(key) {
                    entry.refresh_at = entry.refresh_at.max(now + Duration::from_secs(30));
                }
            }
        }
    }

    /// A domain is found to accept every address: what it said yes to since `since` lives no longer than `life`.
    /// `times` are those with which it was put in.
    pub fn distrust(&mut self, domain: &str, since: Tick, life: Duration, times: &Times, now: Tick) {
        let (from, until) = (since + times.yes, now + life);
        let changed = &mut self.changed;
        self.yes.retain(|key, entry| {
            if entry.until >= from && entry.until > until && is_in(key, domain) {
                entry.until = until;
                entry.refresh_at = entry.refresh_at.min(until);
                changed.insert(key.clone());
            }
            true
        });
    }

    /// Puts back what an earlier run knew, but for what this one knows already.
    pub fn restore(&mut self, key: &str, kept: Kept, times: &Times, now: Tick) {
        if !kept.left.is_zero() && self.yes.get_mut(key).is_none() && self.no.get_mut(key).is_none() {
            let entry = Yes {
                said: self.shared(&kept.said),
                until: now + kept.left.min(times.yes),
                refresh_at: now + kept.refresh_in.min(times.refresh),
                doubted: kept.doubted,
            };
            self.yes.insert(key.into(), entry);
        }
    }

    /// The yes entries that came, changed or went (`None`) since this was asked last.
    pub fn take_changes(&mut self, now: Tick) -> Vec<(Box<str>, Option<Kept>)> {
        let changed = std::mem::take(&mut self.changed);
        let entry = |key: Box<str>| {
            let kept = self.yes.peek(&*key).map(|entry| Kept {
                said: (*entry.said).clone(),
                refresh_in: entry.refresh_at.since(now),
                left: entry.until.since(now),
                doubted: entry.doubted,
            });
            (key, kept)
        };
        changed.into_iter().map(entry).collect()
    }

    /// Forgets an address, a domain (`@example.com`), or all (empty). Returns how many entries went.
    pub fn flush(&mut self, what: &str) -> usize {
        let what = what.to_lowercase();
        self.forget(|key| what.is_empty() || key == what || what.starts_with('@') && key.ends_with(&what))
    }

    /// Forgets every address that is to go. Returns how many entries went.
    pub fn forget(&mut self, gone: impl Fn(&str) -> bool) -> usize {
        let before = self.yes.len() + self.no.len();
        let keep = |key: &str| !gone(key);
        let changed = &mut self.changed;
        self.yes.retain(|key, _| {
            let kept = keep(key);
            if !kept {
                changed.insert(key.clone());
            }
            kept
        });
        self.no.retain(|key, _| keep(key));
        before - self.yes.len() - self.no.len()
    }

    /// Addresses that contain `text` and exist as far as is known: a yes that is live, undoubted, and was not said by
    /// a domain that accepted every address.
    pub fn known_good(&self, text: &str, times: &Times, now: Tick) -> Vec<String> {
        let text = text.to_lowercase();
        let least = if times.yes > UNPROVEN { UNPROVEN } else { Duration::ZERO };
        let good =
            |key: &str, entry: &Yes| key.contains(&text) && !entry.doubted && entry.until.since(now) > least;
        self.yes.iter().filter(|(key, entry)| good(key, entry)).map(|(key, _)| key.to_string()).collect()
    }

    /// Entries that contain `text`: (address, verdict), at most `limit`.
    pub fn search(&self, text: &str, limit: usize) -> Vec<(String, String)> {
        let text = text.to_lowercase();
        let yes = self.yes.iter().map(|(key, entry)| (key, &*entry.said));
        let no = self.no.iter().map(|(key, entry)| (key, &entry.said));
        yes.chain(no)
            .filter(|(key, _)| key.contains(&text))
            .take(limit)
            .map(|(key, said)| (key.to_string(), said.to_string()))
            .collect()
    }
}

fn is_in(key: &str, domain: &str) -> bool {
    key.strip_suffix(domain).is_some_and(|local| local.ends_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        yes: Duration::from_secs(7 * 86_400),
        refresh: Duration::from_secs(6 * 3600),
        no: Duration::from_secs(900),
    };
    const HOUR: Duration = Duration::from_secs(3600);

    fn yes() -> Verdict {
        Verdict::Accept(Reply::new(250, (2, 1, 5), "Ok"))
    }
    fn no() -> Verdict {
        let reply = Reply::new(550, (5, 1, 1), "No such user");
        Verdict::Reject { said: reply.clone(), tell: reply }
    }
    fn unavailable() -> Verdict {
        Verdict::Unavailable { cause: "gone".into(), alert: false }
    }

    #[test]
    fn stale_yes_is_served_while_refreshing_and_through_an_outage() {
        let mut cache = VerdictCache::new(100);
        cache.put("a@x", &yes(), &TIMES, Tick(0));
        let later = Tick(0) + HOUR * 7;
        assert_eq!(cache.get("a@x", later), Lookup::Stale(yes()));
        cache.put("a@x", &unavailable(), &TIMES, later);
        assert_eq!(cache.get("a@x", later), Lookup::Fresh(yes()));
        assert_eq!(cache.get("a@x", later + HOUR), Lookup::Stale(yes()));
        assert_eq!(cache.get("a@x", Tick(0) + TIMES.yes), Lookup::Missing);
    }

    #[test]
    fn known_good_are_live_undoubted_and_not_of_a_domain_that_accepts_all() {
        let mut cache = VerdictCache::new(100);
        for address in ["a@x", "doubted@x", "b@all", "c@y"] {
            cache.put(address, &yes(), &TIMES, Tick(0));
        }
        cache.put("doubted@x", &no(), &TIMES, Tick(0));
        cache.put("no@x", &no(), &TIMES, Tick(0));
        cache.distrust("all", Tick(0), HOUR, &TIMES, Tick(0));
        let mut good = cache.known_good("", &TIMES, Tick(0));
        good.sort_unstable();
        assert_eq!(good, ["a@x", "c@y"]);
        assert_eq!(cache.known_good("@X", &TIMES, Tick(0)), ["a@x"]);
        assert!(cache.known_good("", &TIMES, Tick(0) + TIMES.yes).is_empty());
    }

    #[test]
    fn a_single_no_never_demotes_a_live_yes_but_the_second_does() {
        let mut cache = VerdictCache::new(100);
        cache.put("a@x", &yes(), &TIMES, Tick(0));
        cache.put("a@x", &no(), &TIMES, Tick(0) + HOUR);
        assert_eq!(cache.get("a@x", Tick(0) + HOUR), Lookup::Fresh(yes()));
        let second = Tick(0) + HOUR + SECOND_LOOK;
        assert_eq!(cache.get("a@x", second), Lookup::Stale(yes()));
        cache.put("a@x", &no(), &TIMES, second);
        assert_eq!(cache.get("a@x", second), Lookup::Fresh(no()));
    }

    #[test]
    fn unavailable_is_never_remembered_as_no() {
        let mut cache = VerdictCache::new(100);
        cache.put("a@x", &unavailable(), &TIMES, Tick(0));
        assert_eq!(cache.get("a@x", Tick(0)), Lookup::Missing);
    }

    #[test]
    fn a_dictionary_run_evicts_no_yes() {
        let mut cache = VerdictCache::new(100);
        cache.put("a@x", &yes(), &TIMES, Tick(0));
        for n in 0..10_000 {
            cache.put(&format!("guess{n}@x"), &no(), &TIMES, Tick(0));
        }
        assert_eq!(cache.get("a@x", Tick(1)), Lookup::Fresh(yes()));
    }

    #[test]
    fn flush_takes_an_address_a_domain_or_all() {
        let mut cache = VerdictCache::new(100);
        for key in ["a@x", "b@x", "a@y"] {
            cache.put(key, &yes(), &TIMES, Tick(0));
        }
        assert_eq!(cache.flush("A@X"), 1);
        assert_eq!(cache.flush("@x"), 1);
        assert_eq!(cache.flush(""), 1);
    }

    #[test]
    fn yes_entries_survive_a_restart_and_keep_their_age() {
        let mut cache = VerdictCache::new(100);
        cache.put("a@x", &yes(), &TIMES, Tick(0));
        cache.put("b@x", &no(), &TIMES, Tick(0));
        let kept = cache.take_changes(Tick(0) + HOUR);
        assert!(cache.take_changes(Tick(0) + HOUR).is_empty());
        let mut next = VerdictCache::new(100);
        for (key, kept) in kept {
            next.restore(&key, kept.expect("a yes"), &TIMES, Tick(0));
        }
        assert_eq!(next.get("b@x", Tick(0)), Lookup::Missing);
        assert_eq!(next.get("a@x", Tick(0)), Lookup::Fresh(yes()));
        assert_eq!(next.get("a@x", Tick(0) + HOUR * 5), Lookup::Stale(yes()));
        assert_eq!(next.get("a@x", Tick(0) + (TIMES.yes - HOUR)), Lookup::Missing);
        assert_eq!(next.take_changes(Tick(0)), [("a@x".into(), None)]);
    }

    #[test]
    fn a_domain_that_accepts_all_shortens_what_it_said_since() {
        let mut cache = VerdictCache::new(100);
        cache.put("old@x", &yes(), &TIMES, Tick(0));
        cache.put("new@x", &yes(), &TIMES, Tick(0) + HOUR);
        cache.put("new@sub.x", &yes(), &TIMES, Tick(0) + HOUR);
        cache.distrust("x", Tick(0) + HOUR, HOUR, &TIMES, Tick(0) + HOUR);
        let later = Tick(0) + HOUR * 3;
        assert_eq!(cache.get("new@x", later), Lookup::Missing);
        assert_eq!(cache.get("old@x", later), Lookup::Fresh(yes()));
        assert_eq!(cache.get("new@sub.x", later), Lookup::Fresh(yes()));
    }
}
