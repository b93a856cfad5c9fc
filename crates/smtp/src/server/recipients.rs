//! Server side of RCPT: a run of pipelined RCPTs as one question, its replies in command order (RFC 2920 §3.2).
//! Never decides who may relay (`vouchsafe_core::policy`), never waits (the machine asks).
//!
//! Proof: `transcripts/server/rcpt_*`, `transcripts/server/pipelining_*`.

use std::collections::VecDeque;

use crate::reply::Reply;

/// RCPTs under way, in command order.
#[derive(Default)]
pub(super) struct Batch {
    slots: VecDeque<Slot>,
    /// Asked slots that left already: the index of the first asked one that is still here.
    gone: usize,
    asked: usize,
}

enum Slot {
    /// Refused by the machine itself.
    Local(Reply),
    /// Part of the question; the answer when it is there.
    Asked(Option<Reply>),
}

/// A reply that may leave now.
pub(super) enum Ready {
    Local(Reply),
    Answered(Reply),
}

impl Batch {
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.slots.push_back(Slot::Local(reply));
    }
    pub(super) fn ask(&mut self) {
        self.asked += 1;
        self.slots.push_back(Slot::Asked(None));
    }
    /// Commands in the batch.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
    /// Commands that became part of the question.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }
    /// Is an answer still awaited?
    pub(super) fn waits(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Asked(None)))
    }
    /// Sets the answer of the asked recipient `index`; a second answer and an odd index are ignored.
    pub(super) fn answer(&mut self, index: usize, reply: Reply) {
        let Some(nth) = index.checked_sub(self.gone) else { return };
        let mut asked = self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Asked(answer) => Some(answer),
            Slot::Local(_) => None,
        });
        if let Some(answer @ None) = asked.nth(nth) {
            *answer = Some(reply);
        }
    }
    /// Answers all that have none yet.
    pub(super) fn answer_rest(&mut self, reply: &Reply) {
        for slot in &mut self.slots {
            if let Slot::Asked(answer) = slot {
                answer.get_or_insert_with(|| reply.clone());
            }
        }
    }
    /// The next reply in command order, if it is known.
    pub(super) fn pop(&mut self) -> Option<Ready> {
        match self.slots.pop_front()? {
            Slot::Local(reply) => Some(Ready::Local(reply)),
            Slot::Asked(Some(reply)) => {
                self.gone += 1;
                Some(Ready::Answered(reply))
            }
            waiting @ Slot::Asked(None) => {
                self.slots.push_front(waiting);
                None
            }
        }
    }
}
