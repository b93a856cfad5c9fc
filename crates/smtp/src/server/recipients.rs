//! Server side of RCPT: a run of pipelined RCPTs as one question, its replies in command order (RFC 2920 §3.2).
//! Never decides who may relay (`vouchsafe_core::policy`), never waits (the machine asks).
//!
//! Proof: `transcripts/server/rcpt_*`, `transcripts/server/pipelining_*`.

use std::collections::VecDeque;

use super::{RECIPIENT_BATCH, replies};
use crate::command::after_keyword;
use crate::params::RcptTo;
use crate::reply::Reply;

/// RCPTs under way, in command order.
pub(super) struct Batch {
    slots: VecDeque<Slot>,
    /// What is asked, until the question leaves.
    question: Vec<RcptTo>,
    /// Asked slots that left already: the index of the first asked one that is still here.
    gone: usize,
    /// Recipients that the transaction may still take.
    room: usize,
    /// Recipients that may be asked about at once.
    most: usize,
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
    pub(super) fn new(room: usize, most: usize) -> Batch {
        Batch { slots: VecDeque::new(), question: Vec::new(), gone: 0, room, most }
    }
    /// Takes one more RCPT by its argument. The error is the client's mistake; the machine counts it.
    pub(super) fn take(&mut self, argument: &str, smtputf8: bool, hostname: &str) -> Result<(), Reply> {
        let path =
            after_keyword(argument, "TO").ok_or_else(|| replies::syntax("RCPT TO:<address> expected"))?;
        let recipient = RcptTo::parse(path, smtputf8, hostname)?;
        if self.room == 0 {
            self.refuse(replies::too_many_recipients());
        } else {
            self.slots.push_back(Slot::Asked(None));
            self.question.push(recipient);
        }
        Ok(())
    }
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.slots.push_back(Slot::Local(reply));
    }
    /// No further RCPT belongs to this question.
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() == RECIPIENT_BATCH || (self.room > 0 && self.question.len() == self.most)
    }
    /// The recipients to ask about.
    pub(super) fn question(&mut self) -> Vec<RcptTo> {
        std::mem::take(&mut self.question)
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
