//! Callouts: who exists? MAIL, RCPT, and DATA only where that is what is answered. No octet of a message is ever said.
//!
//! What an answer means is never decided here (`vouchsafe_core::verdict`). Proof: `transcripts/client/callout_*`.

use super::lines::{self, not_carried};
use super::{Client, Command, Done, FaultKind, Output, Task};
use crate::address::{Mailbox, ReversePath};
use crate::time::Tick;

impl Client {
    /// Asks about `recipients`: MAIL, RCPT.., RSET, in one write if the peer takes PIPELINING.
    pub fn callout(&mut self, sender: &ReversePath, recipients: &[Mailbox], now: Tick) {
        if self.start(Task::Callout, now) && self.begin_callout(sender, recipients) {
            self.say(Command::Rset, |out| out.extend_from_slice(b"RSET"));
        }
    }

    /// Asks about a recipient whom the peer refuses, if at all, in reply to DATA. Once it waits for a message the
    /// session is over: no octet of one is ever said.
    pub fn callout_by_data(&mut self, sender: &ReversePath, recipient: &Mailbox, now: Tick) {
        if self.start(Task::CalloutByData, now) {
            self.begin_callout(sender, std::slice::from_ref(recipient));
        }
    }

    /// Says MAIL and RCPT. False if there is nobody to ask about, or the session is over.
    fn begin_callout(&mut self, sender: &ReversePath, recipients: &[Mailbox]) -> bool {
        if sender.mailbox().is_some_and(|mailbox| !lines::carries(&self.capabilities, mailbox)) {
            self.fail(FaultKind::Local("the sender needs SMTPUTF8, which is not offered".to_owned()));
            return false;
        }
        let peer_utf8 = self.capabilities.smtputf8;
        let carried = |to: &Mailbox| peer_utf8 || !to.needs_utf8();
        let utf8 = peer_utf8
            && (recipients.iter().any(Mailbox::needs_utf8)
                || sender.mailbox().is_some_and(Mailbox::needs_utf8));
        for (index, _) in recipients.iter().enumerate().filter(|(_, to)| !carried(to)) {
            self.outputs.push_back(Output::Answer { index, reply: not_carried() });
        }
        if !recipients.iter().any(carried) {
            self.done(Done::Callout, Task::Ready);
            return false;
        }
        self.say(Command::Mail, |out| lines::mail_of_callout(sender, utf8, out));
        for (index, to) in recipients.iter().enumerate() {
            if carried(to) {
                self.say(Command::Rcpt(index), |out| lines::rcpt_of_callout(to, out));
            }
        }
        true
    }
}
