//! "*" mode: does the delegate refuse what is not its own? (DESIGN section 4, FACTS section 6 number 10). Pure: time is
//! an argument.
//!
//! Where the delegate decides for any domain, a delegate that relays for us would make us an open relay. So two addresses
//! in domains of others are asked about, on the session whose answers are to be believed: only a host that clearly
//! refused both is believed, one 250 closes the mode for all hosts, and it stays closed until a later test refuses both.
//! Tested at the start, every hour, and again after the delegate could not be reached. A test without a clear end changes
//! nothing, for up to [`GOOD_FOR`]: recipients that are known go on through an outage.
//! Proof: the tests below, `transcripts/e2e/any_domain_*`.

use std::collections::BTreeMap;
use std::time::Duration;

use vouchsafe_smtp::Tick;

/// How often a host is tested.
pub const EVERY: Duration = Duration::from_secs(3600);
/// How soon a test without a clear end is tried again.
pub const RETRY: Duration = Duration::from_secs(60);
/// How long a proof that cannot be renewed is good.
pub const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);

/// Proof that the delegate was seen to refuse what is not its own, lately. Made here alone; the policy makes no permit
/// for a domain without a block of its own unless it is shown one (promise 2).
#[derive(Debug)]
pub struct Proof(());

/// What the delegate said to one of the two addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// A clear no: no such user, or relaying denied.
    Refused,
    /// It would take mail for a domain that is not its own.
    Accepted,
    /// Neither.
    #[default]
    Unclear,
}

/// What a test changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// It is open now.
    Opened,
    /// The delegate relays: it is closed now, or still.
    Closed,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Strangers' mail for any domain is asked about.
    Open,
    /// Not tested yet, or without a clear end; with the last words.
    Unproven(String),
    /// The delegate takes mail for domains of others; with its host and words.
    Relays(String),
}

#[derive(Clone, Copy, Debug, Default)]
struct Host {
    begun: Option<Tick>,
    /// The last test came to a clear end.
    ended: bool,
    refused: Option<Tick>,
    /// It was out of reach since: whoever answers there now has to show it again.
    in_doubt: bool,
}

/// What is known of the hosts of one delegate.
#[derive(Debug, Default)]
pub struct Gate {
    hosts: BTreeMap<String, Host>,
    begun: Option<Tick>,
    ended: bool,
    under_way: bool,
    relays: Option<String>,
    words: String,
}

impl Gate {
    /// A test is due although nobody asks.
    pub fn is_due(&self, now: Tick) -> bool {
        is_over(self.begun, self.ended, now)
    }

    /// Somebody is asked to make the test.
    pub fn order(&mut self, now: Tick) {
        (self.begun, self.ended, self.under_way) = (Some(now), false, true);
    }

    /// The test could not be begun.
    pub fn missed(&mut self, words: &str) {
        self.under_way = false;
        if self.relays.is_none() {
            words.clone_into(&mut self.words);
        }
    }

    /// The next questions to this host must come behind a test on the same session.
    pub fn must_show(&self, host: &str, now: Tick) -> bool {
        let due = self.hosts.get(host).is_none_or(|known| is_over(known.begun, known.ended, now));
        due || !self.believes(host, now)
    }

    /// A question of a stranger may go to the delegate: it can be believed, or will be tested on the way.
    pub fn asks(&self, now: Tick) -> bool {
        self.proof(now).is_some() || self.under_way || self.is_due(now)
    }

    /// A test of this host begins.
    pub fn begin(&mut self, host: &str, now: Tick) {
        let known = self.hosts.entry(host.to_owned()).or_default();
        (known.begun, known.ended) = (Some(now), false);
        self.order(now);
    }

    /// A test of this host has ended, with the words of the answer that counts.
    pub fn end(&mut self, host: &str, answers: [Answer; 2], words: &str, now: Tick) -> Turn {
        let was_open = self.proof(now).is_some();
        let known = self.hosts.entry(host.to_owned()).or_default();
        self.under_way = false;
        self.words = words.to_owned();
        if answers.contains(&Answer::Accepted) {
            *known = Host { ended: true, refused: None, ..*known };
            self.ended = true;
            self.relays = Some(format!("{host} said {words}"));
            return Turn::Closed;
        }
        if answers != [Answer::Refused; 2] {
            return Turn::None;
        }
        *known = Host { ended: true, refused: Some(now), in_doubt: false, ..*known };
        self.ended = true;
        self.relays = None;
        if was_open { Turn::None } else { Turn::Opened }
    }

    /// The delegate could not be reached: what comes back may be another machine. What is known goes on meanwhile.
    pub fn doubt(&mut self) {
        for host in self.hosts.values_mut() {
            (host.in_doubt, host.begun) = (true, None);
        }
    }

    /// By hand: the next question is behind a test, whatever is known. A mode that is closed stays so until then.
    pub fn test_again(&mut self) {
        self.doubt();
        self.begun = None;
    }

    /// A yes of this host, said now, counts.
    pub fn believes(&self, host: &str, now: Tick) -> bool {
        self.relays.is_none()
            && self.hosts.get(host).is_some_and(|known| known.is_good(now) && !known.in_doubt)
    }

    /// The proof, while there is one.
    pub fn proof(&self, now: Tick) -> Option<Proof> {
        let open = self.relays.is_none() && self.hosts.values().any(|known| known.is_good(now));
        open.then_some(Proof(()))
    }

    /// How it stands.
    pub fn standing(&self, now: Tick) -> Standing {
        match (&self.relays, self.proof(now)) {
            (Some(words), _) => Standing::Relays(words.clone()),
            (None, Some(_)) => Standing::Open,
            (None, None) => Standing::Unproven(self.words.clone()),
        }
    }
}

impl Host {
    fn is_good(&self, now: Tick) -> bool {
        self.refused.is_some_and(|at| now.since(at) < GOOD_FOR)
    }
}

fn is_over(begun: Option<Tick>, ended: bool, now: Tick) -> bool {
    begun.is_none_or(|begun| now.since(begun) >= if ended { EVERY } else { RETRY })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Answer::{Accepted, Refused, Unclear};

    const BOTH: [Answer; 2] = [Refused; 2];

    fn at(seconds: u64) -> Tick {
        Tick(0) + Duration::from_secs(seconds)
    }

    /// A gate that a test of host `a` has ended for.
    fn tested(answers: [Answer; 2]) -> (Gate, Turn) {
        let mut gate = Gate::default();
        assert!(gate.is_due(at(0)) && gate.asks(at(0)) && gate.must_show("a", at(0)));
        gate.begin("a", at(0));
        let turn = gate.end("a", answers, "words", at(5));
        (gate, turn)
    }

    #[test]
    fn only_two_clear_refusals_open_it() {
        assert!(Gate::default().proof(at(0)).is_none());
        let (gate, turn) = tested(BOTH);
        assert_eq!((turn, gate.standing(at(5))), (Turn::Opened, Standing::Open));
        assert!(gate.believes("a", at(5)) && !gate.must_show("a", at(5)) && !gate.is_due(at(5)));
        for answers in [[Refused, Unclear], [Unclear, Refused], [Unclear; 2]] {
            let (gate, turn) = tested(answers);
            assert_eq!((turn, gate.standing(at(5))), (Turn::None, Standing::Unproven("words".to_owned())));
            assert!(!gate.believes("a", at(5)));
        }
    }

    #[test]
    fn one_yes_closes_it_for_all_hosts_until_a_later_test_refuses_both() {
        for answers in [[Refused, Accepted], [Accepted, Unclear]] {
            let (mut gate, _) = tested(BOTH);
            gate.begin("b", at(100));
            assert_eq!(gate.end("b", answers, "250 Ok", at(100)), Turn::Closed);
            assert_eq!(gate.standing(at(100)), Standing::Relays("b said 250 Ok".to_owned()));
            assert!(!gate.believes("a", at(100)) && !gate.asks(at(100)) && gate.proof(at(100)).is_none());
            // Neither time nor a test without a clear end opens it.
            let later = at(100) + GOOD_FOR * 2;
            gate.begin("a", later);
            assert_eq!(gate.end("a", [Refused, Unclear], "450 later", later), Turn::None);
            assert!(gate.proof(later).is_none());
            gate.begin("a", later);
            assert_eq!(gate.end("a", BOTH, "554 no", later), Turn::Opened);
            // Host b has still to show it.
            assert!(gate.believes("a", later) && !gate.believes("b", later) && gate.must_show("b", later));
        }
    }

    #[test]
    fn every_hour_and_a_minute_after_no_clear_end() {
        let (gate, _) = tested(BOTH);
        assert!(!gate.must_show("a", at(3599)) && gate.must_show("a", at(3600)) && gate.is_due(at(3600)));
        let (gate, _) = tested([Unclear; 2]);
        assert!(!gate.is_due(at(59)) && gate.is_due(at(60)));
        assert!(!gate.asks(at(59)) && gate.asks(at(60)));
        let mut gate = Gate::default();
        gate.order(at(0));
        assert!(gate.asks(at(1)));
        gate.missed("nobody there");
        assert!(!gate.asks(at(1)) && gate.asks(at(60)));
        assert_eq!(gate.standing(at(1)), Standing::Unproven("nobody there".to_owned()));
        let (gate, _) = tested([Accepted; 2]);
        assert!(!gate.asks(at(3599)) && gate.asks(at(3600)));
    }

    #[test]
    fn a_test_without_a_clear_end_changes_nothing_for_a_day() {
        let (mut gate, _) = tested(BOTH);
        gate.begin("a", at(3600));
        assert_eq!(gate.end("a", [Unclear; 2], "450 later", at(3600)), Turn::None);
        assert!(gate.believes("a", at(3600)));
        assert!(gate.proof(at(5) + GOOD_FOR).is_none() && !gate.believes("a", at(5) + GOOD_FOR));
    }

    #[test]
    fn after_an_outage_or_on_another_host_a_yes_counts_only_behind_a_test() {
        let (mut gate, _) = tested(BOTH);
        assert!(!gate.believes("b", at(10)) && gate.must_show("b", at(10)));
        gate.doubt();
        assert!(gate.must_show("a", at(10)) && !gate.believes("a", at(10)));
        // What is known already goes on.
        assert!(gate.proof(at(10)).is_some());
        gate.begin("a", at(10));
        assert_eq!(gate.end("a", BOTH, "no", at(10)), Turn::None);
        assert!(gate.believes("a", at(10)));
    }

    #[test]
    fn by_hand_it_is_tested_at_once_but_not_opened() {
        let (mut gate, _) = tested([Accepted; 2]);
        assert!(!gate.asks(at(10)));
        gate.test_again();
        assert!(gate.is_due(at(10)) && gate.asks(at(10)) && gate.proof(at(10)).is_none());
    }
}
