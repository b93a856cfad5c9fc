//! "*" mode at one delegate: puts the two probes before the questions of a session, and believes no yes for a domain
//! without a block of its own unless that session's host has refused both (`core::relay_probe`).
//!
//! The probes ride in the queue and the batches of all recipients: no connection is made for them alone while there are
//! questions. Proof: `transcripts/e2e/any_domain_*`.

use std::sync::Mutex;

use vouchsafe_config as settings;
use vouchsafe_core::relay_probe::{Answer, Gate, Proof, Standing, Turn};
use vouchsafe_core::verdict::Verdict;
use vouchsafe_smtp::{Mailbox, Reply, Tick};

use super::lock;

pub(super) struct RelayGate {
    delegate: String,
    settings: settings::AnyDomain,
    gate: Mutex<Gate>,
}

/// What one session has answered to the two addresses.
#[derive(Debug, Default)]
pub(super) struct Shown {
    answers: [Option<Answer>; 2],
    words: String,
}

impl RelayGate {
    /// `None`: this delegate decides for named domains only.
    pub fn of(delegate: &settings::Delegate) -> Option<RelayGate> {
        let settings = delegate.any_domain.clone()?;
        Some(RelayGate { delegate: delegate.name.clone(), settings, gate: Mutex::default() })
    }

    /// Whether this address is in a domain without a block of its own.
    pub fn decides(&self, mailbox: &Mailbox) -> bool {
        self.is_any(&mailbox.domain_key())
    }

    /// As [`RelayGate::decides`], for the key of a cached verdict.
    pub fn decides_key(&self, key: &str) -> bool {
        self.is_any(key.rsplit_once('@').map_or("", |(_, domain)| domain))
    }

    fn is_any(&self, domain: &str) -> bool {
        !self.settings.named.iter().any(|named| named == domain)
    }

    /// The addresses that must be refused.
    pub fn probes(&self) -> &[Mailbox; 2] {
        &self.settings.probes
    }

    /// A test is due although nobody asks: whoever is told so makes it.
    pub fn is_due(&self, now: Tick) -> bool {
        let mut gate = lock(&self.gate);
        let due = gate.is_due(now);
        if due {
            gate.order(now);
        }
        due
    }

    /// Why a stranger's question does not go to the delegate now.
    pub fn closed(&self, now: Tick) -> Option<Verdict> {
        let gate = lock(&self.gate);
        let standing = (!gate.asks(now)).then(|| gate.standing(now))?;
        Some(self.not_believed(&standing))
    }

    /// The host must show it on this session, before it is asked anything else about such domains.
    pub fn must_show(&self, host: &str, now: Tick) -> bool {
        lock(&self.gate).must_show(host, now)
    }

    /// The probes go out.
    pub fn begin(&self, host: &str, now: Tick) {
        lock(&self.gate).begin(host, now);
    }

    /// What this yes for a domain without a block of its own is worth; `None`: it counts.
    pub fn doubts(&self, host: &str, now: Tick) -> Option<Verdict> {
        let gate = lock(&self.gate);
        (!gate.believes(host, now)).then(|| self.not_believed(&gate.standing(now)))
    }

    /// An answer to a probe; true if the delegate is found to relay for us now.
    pub fn answered(
        &self,
        host: &str,
        shown: &mut Shown,
        index: usize,
        verdict: &Verdict,
        said: &Reply,
        now: Tick,
    ) -> bool {
        let answer = match verdict {
            Verdict::Accept(_) => Answer::Accepted,
            Verdict::Reject { .. } => Answer::Refused,
            Verdict::Unavailable { .. } | Verdict::PassOn { .. } => Answer::Unclear,
        };
        shown.answers[index] = Some(answer);
        // The words of the answer that decides: a yes over an unclear one over a refusal.
        if shown.words.is_empty() || answer != Answer::Refused {
            shown.words = format!("{said} to {}", self.settings.probes[index]);
        }
        match shown.answers {
            [Some(one), Some(two)] => self.end(host, [one, two], &shown.words, now),
            _ => false,
        }
    }

    /// The session is over: a test that has no clear end yet gets none.
    pub fn ended(&self, host: &str, shown: &Shown, why: &str, now: Tick) {
        if shown.answers.iter().any(Option::is_none) {
            let answers = shown.answers.map(Option::unwrap_or_default);
            self.end(host, answers, if shown.words.is_empty() { why } else { &shown.words }, now);
        }
    }

    fn end(&self, host: &str, answers: [Answer; 2], words: &str, now: Tick) -> bool {
        let turn = lock(&self.gate).end(host, answers, words, now);
        let delegate = &self.delegate;
        match turn {
            Turn::None => {}
            Turn::Opened => {
                tracing::info!(%delegate, %host, "the delegate refuses what is not its own: it decides for any domain");
            }
            Turn::Closed => tracing::error!(blame = "delegate", %delegate, %host, said = %words,
                "the delegate would take mail from us for domains of others: strangers' mail for domains without a \
                 block of their own is put off until it refuses it; take this gateway out of the delegate's relay list"),
        }
        turn == Turn::Closed
    }

    /// The session for a test could not be opened.
    pub fn missed(&self, why: &str) {
        lock(&self.gate).missed(why);
    }

    /// The delegate could not be reached: who answers next has to show it.
    pub fn doubt(&self) {
        lock(&self.gate).doubt();
    }

    /// By hand: tested at the next question or round.
    pub fn test_again(&self) {
        lock(&self.gate).test_again();
    }

    pub fn proof(&self, now: Tick) -> Option<Proof> {
        lock(&self.gate).proof(now)
    }

    pub fn standing(&self, now: Tick) -> Standing {
        lock(&self.gate).standing(now)
    }

    /// Promise 3: not proven is neither a yes nor a no.
    fn not_believed(&self, standing: &Standing) -> Verdict {
        let name = &self.delegate;
        let cause = match standing {
            Standing::Relays(words) => format!("delegate {name} takes mail for domains of others: {words}"),
            Standing::Unproven(words) if !words.is_empty() => {
                format!("delegate {name} has not shown yet that it refuses domains of others: {words}")
            }
            _ => format!("delegate {name} has not shown yet that it refuses domains of others"),
        };
        // The alert was given when the test ended.
        Verdict::Unavailable { cause, alert: false }
    }
}
