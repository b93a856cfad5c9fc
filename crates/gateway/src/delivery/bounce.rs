//! The end of a message that the administrator gives up: outside an attempt, by the same rules and with the same notice.
//!
//! What is being tried now is not touched: its recipients may be delivered while we write that they were not.
//! Proof: `tests/delivery/bounce.rs`, `transcripts/e2e/given_up_*.txt`.

use std::sync::Arc;

use vouchsafe_core::MessageId;
use vouchsafe_core::outcome::returned;
use vouchsafe_core::ports::{Delivery, MailStore, Settlement, StoreFault};

use super::Deliverer;
use super::attempt::Fate;
use super::board::Job;
use super::settlement::{notices, outcomes, rules, tell};

/// What came of giving a message up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Recipients that were given up.
    pub recipients: u64,
    /// Notices to the sender.
    pub notices: u64,
}

/// Why a message was not given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReturned {
    /// It is not in the queue.
    Missing,
    /// It is being tried just now.
    UnderWay,
    /// The store's fault; what had been given up before it stays so.
    Store(StoreFault),
}

/// Claims that are given back if nothing becomes of them.
struct Held {
    store: Arc<dyn MailStore>,
    rest: Vec<Delivery>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.rest.iter().for_each(|delivery| self.store.release(delivery.id));
    }
}

impl Deliverer {
    /// Gives all of a message up that is not being tried. Its sender gets the notice that a refusal at the next hop would
    /// have brought; strangers get none.
    ///
    /// Dropped half-way, each delivery is given up with its notice, or as it was.
    pub async fn give_up(&self, message: MessageId) -> Result<Returned, NotReturned> {
        let store = &self.deps.store;
        let claimed = store.claim_message(message).await.map_err(NotReturned::Store)?;
        let mut held = Held { store: store.clone(), rest: claimed.ok_or(NotReturned::UnderWay)? };
        if held.rest.is_empty() {
            return Err(NotReturned::Missing);
        }
        let settings = self.deps.settings.load_full();
        let mut done = Returned::default();
        while let Some(delivery) = held.rest.pop() {
            let id = delivery.id;
            let now = self.deps.clock.now();
            let rules = rules(&settings, &delivery);
            let fates: Vec<Fate> = (0..).zip(&delivery.recipients).map(fate).collect();
            let job = Job { delivery, content: None };
            let dsn = match rules.tells() {
                true => notices(self, &settings, &job, &fates, &[], rules, now).await,
                false => Vec::new(),
            };
            let delivery = &job.delivery;
            let (recipients, notices) = (fates.len() as u64, dsn.len() as u64);
            let settlement = Settlement {
                delivery: id,
                outcomes: outcomes(delivery, &fates, &[]),
                next_due: delivery.due,
                attempts: delivery.attempts,
                dsn,
            };
            // The store ends the claim, also where nobody waits for it any more.
            if let Err(fault) = store.settle(settlement).await {
                store.release(id);
                return Err(NotReturned::Store(fault));
            }
            for fate in &fates {
                tell(self, delivery, fate, now, now);
            }
            done.recipients += recipients;
            done.notices += notices;
        }
        self.due_at(None, done.notices > 0);
        Ok(done)
    }
}

fn fate((at, recipient): (usize, &vouchsafe_core::envelope::QueuedRecipient)) -> Fate {
    let (endpoint, host) = (String::new(), String::new());
    Fate { at, outcome: returned(&recipient.last_reply), endpoint, host, relayed: false }
}
