//! One transaction from the client's side: which replies came, and when the body may go.
//! Proof: `transcripts/client/deliver_*`.

use super::{Client, Command, Done, Task, lines};
use crate::extension::Capabilities;
use crate::params::RcptTo;
use crate::reply::Reply;
use crate::stuff::Stuffer;

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeliveryReplies {
    /// The reply to MAIL, if it was refused; then nobody was asked about.
    pub mail: Option<Reply>,
    /// The reply to each RCPT, in order; empty if MAIL was refused.
    pub recipients: Vec<Reply>,
    /// The reply that refused DATA, or the final reply to the dot. `None` if no recipient was taken.
    pub data: Option<Reply>,
    /// The reply that refused XFORWARD: the peer took us for the client.
    pub not_told: Option<Reply>,
    /// The session may be used for another transaction.
    pub reusable: bool,
}

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Delivery {
    mail: Option<Reply>,
    recipients: Vec<Option<Reply>>,
    data: Option<Reply>,
    not_told: Option<Reply>,
    /// While the body is being sent.
    pub(super) body: Option<Stuffer>,
    /// Octets of the body so far.
    pub(super) sent: u64,
}

impl Delivery {
    pub(super) fn new(recipients: &[RcptTo], peer: &Capabilities) -> Delivery {
        let first = |to: &RcptTo| (!lines::carries(peer, &to.mailbox)).then(lines::not_carried);
        let recipients = recipients.iter().map(first).collect();
        Delivery { mail: None, recipients, data: None, not_told: None, body: None, sent: 0 }
    }

    /// Every recipient has its answer, and it is no.
    pub(super) fn nobody_left(&self) -> bool {
        self.recipients.iter().all(|reply| reply.as_ref().is_some_and(|reply| !reply.is_positive()))
    }

    /// Nothing that is still to come changes an answer.
    pub(super) fn settled(&self) -> bool {
        self.mail.is_some() || self.data.is_some() || self.nobody_left()
    }

    pub(super) fn replies(self, reusable: bool) -> DeliveryReplies {
        let recipients = if self.mail.is_some() { Vec::new() } else { self.recipients };
        let data = self.data;
        DeliveryReplies {
            mail: self.mail,
            recipients: recipients.into_iter().flatten().collect(),
            data,
            not_told: self.not_told,
            reusable,
        }
    }
}

impl Client {
    /// What a fitting reply moves in a transaction.
    pub(super) fn heard_of_delivery(&mut self, command: Command, reply: Reply) {
        let Task::Delivery(delivery) = &mut self.task else { return };
        match command {
            Command::XForward => {
                delivery.not_told = Some(reply);
                return;
            }
            Command::Mail => delivery.mail = Some(reply),
            Command::Rcpt(index) => delivery.recipients[index] = Some(reply),
            Command::Data if reply.code == 354 && !delivery.settled() => {
                delivery.body = Some(Stuffer::new());
                self.deadline = self.now + self.config.timeouts.data_block;
                return;
            }
            // A peer that wants a body for nobody is not given one: the connection is closed.
            Command::Data if reply.code == 354 => return self.end_delivery(false),
            Command::Data if !delivery.settled() => delivery.data = Some(reply),
            Command::Dot => {
                // RFC 5321 §4.2.1: any 2yz means taken; to send it again would make two. But only after 250, or a
                // plain no, does the peer still stand where we think.
                let reusable = reply.code == 250 || (reply.code >= 400 && reply.code != 421);
                delivery.data = Some(reply);
                return self.end_delivery(reusable);
            }
            Command::Rset => return self.end_delivery(true),
            _ => {}
        }
        if delivery.settled() {
            let begun = delivery.mail.is_none();
            self.held.clear();
            match (self.awaiting.is_empty(), begun) {
                (true, true) => self.say(Command::Rset, |out| out.extend_from_slice(b"RSET")),
                (true, false) => self.end_delivery(true),
                (false, _) => {}
            }
        }
    }

    fn end_delivery(&mut self, reusable: bool) {
        let next = if reusable { Task::Ready } else { Task::Over };
        if let Task::Delivery(delivery) = std::mem::replace(&mut self.task, Task::Over) {
            self.done(Done::Delivery(delivery.replies(reusable)), next);
        }
    }
}
