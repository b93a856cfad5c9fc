//! What becomes of an answer: the cache, the test of a domain that accepts all, and whoever waits.
//!
//! What a yes is worth where every address is accepted stands in `core::catch_all` and in [`Shared::keep`].
//! Proof: `transcripts/e2e/catch_all_*`.

use std::sync::Arc;
use std::time::Duration;

use vouchsafe_config::CatchAll;
use vouchsafe_core::cache::Times;
use vouchsafe_core::catch_all::{self, Turn};
use vouchsafe_core::ports::Clock;
use vouchsafe_core::verdict::Verdict;
use vouchsafe_smtp::{Mailbox, Reply, Tick};

use super::{Probe, Purpose, Shared, State, unavailable};
use crate::delegate::lock;

/// An address in the same domain that nobody has.
fn made_up(mailbox: &Mailbox) -> Option<Mailbox> {
    let local: u64 = rand::random();
    Mailbox::parse(&format!("no-such-user-{local:016x}@{}", mailbox.domain()), true).ok()
}

impl Shared {
    pub(super) fn resolve(&self, probe: &Probe, verdict: &Verdict) {
        if let Verdict::Unavailable { cause, alert: true } = verdict {
            tracing::error!(blame = "delegate", delegate = %self.settings.name, recipient = %probe.mailbox, %cause,
                "the delegate's refusal is not about the recipient");
        }
        self.keep_and_tell(probe, verdict);
    }

    pub(super) fn keep_and_tell(&self, probe: &Probe, verdict: &Verdict) {
        let accepted = matches!(verdict, Verdict::Accept(_));
        let mailbox = &probe.mailbox;
        match (probe.purpose, &self.relay_gate) {
            (Purpose::MadeUp, _) => {
                let answer = matches!(verdict, Verdict::Reject { .. }) || accepted;
                return self.tested(mailbox, answer.then_some(accepted));
            }
            (Purpose::Relay(_), Some(gate)) => {
                if let Verdict::Unavailable { cause, .. } = verdict {
                    gate.missed(cause);
                }
                return;
            }
            _ => {}
        }
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        // A full mailbox is no guess.
        if accepted || (matches!(verdict, Verdict::Reject { .. }) && !verdict.is_brief()) {
            state.queue.answered(probe.network, !accepted, now);
        }
        if accepted {
            let domain = mailbox.domain_key();
            if state.domains.begin(&domain, now)
                && let Some(mailbox) = made_up(mailbox)
            {
                // The worker that we are in takes it next: no session is opened for it.
                let session = probe.session.clone();
                let made_up = Probe { mailbox, network: None, session, purpose: Purpose::MadeUp };
                state.queue.push(None, Arc::new(made_up), now);
            }
            if self.settings.catch_all != CatchAll::Accept && state.domains.is_open(&domain, now) {
                state.held.entry(domain).or_default().push((mailbox.clone(), verdict.clone()));
                return;
            }
        }
        let verdict = self.keep(&mut state, mailbox, verdict, now);
        drop(state);
        self.tell(&mailbox.key(), &verdict);
    }

    /// The made-up address was accepted, refused, or got no verdict; what was held for that goes on.
    pub(super) fn tested(&self, made_up: &Mailbox, accepted: Option<bool>) {
        let (name, domain) = (&self.settings.name, made_up.domain_key());
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        match state.domains.tested(&domain, accepted, now) {
            Turn::None => {}
            Turn::AcceptsAll(since) => {
                let life = match self.settings.catch_all {
                    CatchAll::Accept => catch_all::REMEMBERED,
                    CatchAll::Local | CatchAll::Defer => Duration::ZERO,
                };
                state.cache.distrust(&domain, since, life, &self.times, now);
                tracing::error!(blame = "delegate", delegate = %name, %domain, catch_all = ?self.settings.catch_all,
                    "the delegate accepts every address of this domain, made-up ones too: it cannot tell users apart");
            }
            Turn::Strict => {
                tracing::warn!(blame = "delegate", delegate = %name, %domain,
                    "the delegate tells users of this domain apart again");
            }
        }
        let held = state.held.remove(&domain).unwrap_or_default();
        let keep = |(mailbox, verdict): (Mailbox, Verdict)| {
            let verdict = self.keep(&mut state, &mailbox, &verdict, now);
            (mailbox.key(), verdict)
        };
        let told: Vec<_> = held.into_iter().map(keep).collect();
        drop(state);
        for (key, verdict) in told {
            self.tell(&key, &verdict);
        }
    }

    /// Puts a verdict into the cache and gives the one to tell: another, where a yes is worth nothing.
    fn keep(&self, state: &mut State, mailbox: &Mailbox, verdict: &Verdict, now: Tick) -> Verdict {
        let key = mailbox.key();
        let doubtful =
            matches!(verdict, Verdict::Accept(_)) && state.domains.accepts_all(&mailbox.domain_key(), now);
        if !doubtful {
            state.cache.put(&key, verdict, &self.times, now);
            return verdict.clone();
        }
        match self.instead_of_yes(mailbox) {
            Some(instead) => {
                // An older yes, given while users were told apart, is neither confirmed nor demoted by this.
                state.cache.put(&key, &unavailable(String::new()), &self.times, now);
                instead
            }
            None => {
                let times = Times { yes: self.times.yes.min(catch_all::REMEMBERED), ..self.times };
                state.cache.put(&key, verdict, &times, now);
                verdict.clone()
            }
        }
    }

    /// What stands for a yes while its domain accepts every address; `None`: the yes itself.
    pub(super) fn instead_of_yes(&self, mailbox: &Mailbox) -> Option<Verdict> {
        let name = &self.settings.name;
        match self.settings.catch_all {
            CatchAll::Accept => None,
            // The next source decides; if there is none left, nobody knows this recipient.
            CatchAll::Local => {
                let reply = Reply::new(550, (5, 1, 1), "No such user here");
                Some(Verdict::Reject { said: reply.clone(), tell: reply })
            }
            CatchAll::Defer => {
                let domain = mailbox.domain();
                Some(unavailable(format!("delegate {name} accepts every address of {domain}")))
            }
        }
    }

    pub(super) fn tell(&self, key: &str, verdict: &Verdict) {
        let flight = lock(&self.state).flights.remove(key);
        for waiter in flight.into_iter().flat_map(|flight| flight.waiters) {
            let _ = waiter.send(verdict.clone());
        }
    }
}
