//! The rules of the queue that both stores share: what a message's deliveries are, outcomes, filters, actions. Pure.

use vouchsafe_core::outcome::LinksGone;
use vouchsafe_core::ports::{Delivery, QueueAction, QueueFilter, QueueRow, RecipientOutcome};
use vouchsafe_core::{Envelope, QueuedRecipient, RecipientState, RouteKey};

use crate::shares::Ready;

/// Recipients that are one delivery: of one route, with one form.
pub struct Branch {
    /// The route.
    pub route: RouteKey,
    /// The number of their form; `None`: they get the content as it is.
    pub form: Option<u32>,
    /// The recipients.
    pub recipients: Vec<QueuedRecipient>,
}

/// The recipients of an envelope by route and form, in the order of their first RCPT.
pub fn branches(envelope: &Envelope, detached: Option<&Ready>) -> Vec<Branch> {
    let mut branches: Vec<Branch> = Vec::new();
    for (index, (to, permit)) in (0u32..).zip(envelope.recipients()) {
        let recipient = QueuedRecipient {
            index,
            to: to.clone(),
            state: RecipientState::Pending,
            last_reply: String::new(),
            warned: false,
        };
        let form = detached.and_then(|detached| detached.form_of(index));
        match branches.iter_mut().find(|branch| branch.route == *permit.route() && branch.form == form) {
            Some(branch) => branch.recipients.push(recipient),
            None => {
                branches.push(Branch { route: permit.route().clone(), form, recipients: vec![recipient] })
            }
        }
    }
    branches
}

/// Applies the outcomes of an attempt; finished recipients leave.
///
/// A recipient that was held by hand during the attempt stays held when the outcome is "try again", and why its link leads
/// nowhere stays told.
pub fn settle(recipients: &mut Vec<QueuedRecipient>, outcomes: Vec<RecipientOutcome>) {
    for outcome in outcomes {
        let Some(recipient) = recipients.iter_mut().find(|recipient| recipient.index == outcome.index) else {
            continue;
        };
        let stays = recipient.state == RecipientState::Held && outcome.state == RecipientState::Pending;
        if !stays {
            recipient.state = outcome.state;
        }
        if !(stays && LinksGone::of(&recipient.last_reply).is_some()) {
            recipient.last_reply = outcome.reply;
        }
        recipient.warned = outcome.warned;
    }
    recipients.retain(is_open);
}

/// True if the recipient is still in the queue.
fn is_open(recipient: &QueuedRecipient) -> bool {
    matches!(recipient.state, RecipientState::Pending | RecipientState::Held)
}

/// Recipients in `state`.
pub fn count(recipients: &[QueuedRecipient], state: RecipientState) -> u64 {
    recipients.iter().filter(|recipient| recipient.state == state).count() as u64
}

/// A filter made ready: the address is case-folded once.
pub struct Matcher {
    filter: QueueFilter,
    address: Option<String>,
}

impl Matcher {
    /// Makes a filter ready.
    pub fn new(filter: QueueFilter) -> Matcher {
        let address = filter.address.as_deref().map(str::to_lowercase);
        Matcher { filter, address }
    }

    /// The row of `queue list`, or `None` if no recipient matches. It names the recipients that [`act`] with the same
    /// filter would touch, and no other.
    pub fn row(&self, delivery: &Delivery) -> Option<QueueRow> {
        let recipients: Vec<_> = delivery
            .recipients
            .iter()
            .filter(|recipient| self.matches(delivery, recipient))
            .map(|recipient| {
                (recipient.to.mailbox.as_str().to_owned(), recipient.state, recipient.last_reply.clone())
            })
            .collect();
        (!recipients.is_empty()).then(|| QueueRow {
            message: delivery.message.id,
            delivery: delivery.id,
            route: delivery.route.to_string(),
            sender: delivery.message.mail.reverse_path.as_str().to_owned(),
            recipients,
            size: delivery.message.size,
            received_at: delivery.message.received_at,
            due: delivery.due,
            attempts: delivery.attempts,
            linked: delivery.form.is_some(),
        })
    }

    fn matches(&self, delivery: &Delivery, recipient: &QueuedRecipient) -> bool {
        let message = self.filter.message.is_none_or(|id| id == delivery.message.id);
        let held = self.filter.held.is_none_or(|held| held == (recipient.state == RecipientState::Held));
        let address = self.address.as_ref().is_none_or(|text| {
            delivery.message.mail.reverse_path.as_str().to_lowercase().contains(text)
                || recipient.to.mailbox.key().contains(text)
        });
        message && held && address
    }
}

/// Does what the administrator wants to the matching recipients; true if that changed anything.
///
/// While a delivery is `claimed`, Retry does nothing (it is being tried). Hold, Release and Delete act at once: the
/// attempt in flight still ends, and a recipient that it delivers is delivered.
pub fn act(
    matcher: &Matcher,
    action: QueueAction,
    delivery: &mut Delivery,
    claimed: bool,
    now: vouchsafe_core::Timestamp,
) -> bool {
    let matched: Vec<bool> =
        delivery.recipients.iter().map(|recipient| matcher.matches(delivery, recipient)).collect();
    let mut touched = false;
    for (recipient, _) in delivery.recipients.iter_mut().zip(&matched).filter(|(_, matched)| **matched) {
        let (wanted, next) = match action {
            QueueAction::Retry => (RecipientState::Pending, RecipientState::Pending),
            QueueAction::Hold => (RecipientState::Pending, RecipientState::Held),
            QueueAction::Release => (RecipientState::Held, RecipientState::Pending),
            QueueAction::Delete => (recipient.state, RecipientState::Failed),
        };
        if recipient.state == wanted && !(action == QueueAction::Retry && claimed) {
            recipient.state = next;
            touched = true;
        }
    }
    if touched && matches!(action, QueueAction::Retry | QueueAction::Release) {
        delivery.due = now;
    }
    delivery.recipients.retain(is_open);
    touched
}

/// Holds all that would get a link, with these words; true if there is such. What was held already gets the words, too:
/// whoever releases it must have read them.
pub fn hold_linked(delivery: &mut Delivery, words: &str) -> bool {
    if !delivery.form.as_ref().is_some_and(|form| form.recipe.has_slot()) {
        return false;
    }
    for recipient in &mut delivery.recipients {
        recipient.state = RecipientState::Held;
        words.clone_into(&mut recipient.last_reply);
    }
    true
}
