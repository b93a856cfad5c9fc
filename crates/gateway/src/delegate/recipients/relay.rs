//! A delegate that decides for any domain, at one session: the two addresses that it must refuse go before the questions,
//! and no yes counts without them. What follows from the answers stands in `delegate::relay_gate`.
//! Proof: `transcripts/e2e/any_domain_*`.

use std::sync::Arc;

use vouchsafe_core::ports::Clock;
use vouchsafe_core::verdict::Verdict;
use vouchsafe_smtp::Reply;

use super::asking::Kept;
use super::{Probe, Purpose, Question, Shared};
use crate::delegate::lock;
use crate::delegate::relay_gate::{RelayGate, Shown};

pub(super) fn relay_probes(gate: &RelayGate, session: &str) -> [Question; 2] {
    [0, 1].map(|n| {
        let (mailbox, session) = (gate.probes()[n].clone(), session.to_owned());
        Arc::new(Probe { mailbox, network: None, session, purpose: Purpose::Relay(n) })
    })
}

impl Shared {
    /// Whether this batch may be asked at this host only behind the two addresses that it must refuse.
    pub(super) fn must_show(&self, batch: &[Question], host: &str) -> bool {
        let Some(gate) = &self.relay_gate else { return false };
        let concerned =
            |probe: &Question| matches!(probe.purpose, Purpose::Relay(_)) || gate.decides(&probe.mailbox);
        batch.iter().any(concerned) && gate.must_show(host, self.means.clock.tick())
    }

    /// Puts the two addresses before the batch where they must be; what has no room then goes back. True if they are there.
    pub(super) fn behind_probes(&self, mut batch: Vec<Question>, kept: &Kept) -> (Vec<Question>, bool) {
        let host = kept.endpoint.to_string();
        let must_show = self.must_show(&batch, &host);
        let Some(gate) = &self.relay_gate else { return (batch, false) };
        let session = batch.first().map(|probe| probe.session.clone()).unwrap_or_default();
        batch.retain(|probe| !matches!(probe.purpose, Purpose::Relay(_)));
        if !must_show {
            return (batch, false);
        }
        let room = self.room(Some(kept)).saturating_sub(2);
        self.again(batch.split_off(room.min(batch.len())));
        gate.begin(&host, self.means.clock.tick());
        (relay_probes(gate, &session).into_iter().chain(batch).collect(), true)
    }

    /// An answer to one of the two addresses. A delegate that relays has said yes to anything since the last test.
    pub(super) fn shown(&self, host: &str, shown: &mut Shown, index: usize, verdict: &Verdict, said: &Reply) {
        let Some(gate) = &self.relay_gate else { return };
        if gate.answered(host, shown, index, verdict, said, self.means.clock.tick()) {
            lock(&self.state).cache.forget(|key| gate.decides_key(key));
        }
    }

    /// What a verdict is worth: a yes for a domain without a block of its own only from a host that has shown it.
    pub(super) fn believed(&self, host: &str, probe: &Probe, verdict: Verdict) -> Verdict {
        let gate = self.relay_gate.as_ref().filter(|gate| gate.decides(&probe.mailbox));
        match (gate, &verdict) {
            (Some(gate), Verdict::Accept(_)) => gate.doubts(host, self.means.clock.tick()).unwrap_or(verdict),
            _ => verdict,
        }
    }
}
