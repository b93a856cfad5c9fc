//! What callers ask of the writer, and where the answer goes.

use std::sync::Arc;

use tokio::sync::oneshot;
use vouchsafe_core::attachments::{Check, ShareChange};
use vouchsafe_core::ports::{KeptCounter, QueueAction, QueueFilter, RecipientOutcome, StoreFault, User};
use vouchsafe_core::{MessageId, RouteKey, Timestamp};

use super::body::Opened;
use super::incoming::Incoming;
use super::shared::Shared;
use crate::Claims;

/// Where an answer goes; the caller may have left.
pub type Answer<T> = oneshot::Sender<Result<T, StoreFault>>;

/// What callers want of the writer.
pub enum Request {
    /// Queue a message.
    Accept {
        /// The message.
        incoming: Box<Incoming>,
        /// Return its deliveries claimed.
        claim: bool,
        /// The answer.
        answer: Answer<Claims<Arc<Shared>>>,
    },
    /// End an attempt.
    Settle {
        /// What happened.
        settling: Box<Settling>,
        /// The answer.
        answer: Answer<()>,
    },
    /// Act on the queue by hand.
    Act {
        /// On what.
        filter: QueueFilter,
        /// What.
        action: QueueAction,
        /// Now.
        now: Timestamp,
        /// The answer: deliveries changed.
        answer: Answer<u64>,
    },
    /// Change a user or a value.
    Set(Setting, Answer<()>),
    /// Claim what is due.
    Claim {
        /// Now.
        now: Timestamp,
        /// At most so many.
        max: usize,
        /// Routes to leave alone.
        busy: Vec<RouteKey>,
        /// The answer.
        answer: Answer<Claims<Arc<Shared>>>,
    },
    /// Claim a message; nothing while it is being tried.
    ClaimMessage(MessageId, Answer<Option<Claims<Arc<Shared>>>>),
    /// Find and open a body.
    Open(MessageId, Answer<Opened>),
    /// Housekeeping.
    Maintain(u64, Answer<()>),
    /// The store is being dropped.
    Stop,
}

/// A settlement, its notices made ready.
pub struct Settling {
    /// The delivery.
    pub delivery: i64,
    /// Outcomes.
    pub outcomes: Vec<RecipientOutcome>,
    /// Next attempt.
    pub next_due: Timestamp,
    /// Attempts to record.
    pub attempts: u32,
    /// Notices.
    pub notices: Vec<Incoming>,
}

/// A change of what is small.
pub enum Setting {
    /// Add or replace.
    PutUser(User),
    /// Remove.
    RemoveUser(String),
    /// Set.
    PutValue(&'static str, String),
    /// Add or replace a record: kind, key, text.
    PutRecord(&'static str, String, String),
    /// Remove a record.
    RemoveRecord(&'static str, String),
    /// Keep the highest keys of a kind.
    PruneRecords(&'static str, usize),
    /// Keep the guard's counters; those cleared by then go.
    SaveCounters(Vec<KeptCounter>, Timestamp),
    /// Change a share; by whom, when.
    Share(ShareChange, String, Timestamp),
    /// What is said of a blob.
    Check {
        /// The blob.
        blob: String,
        /// What.
        check: Check,
        /// Why.
        detail: String,
        /// Who says so.
        who: String,
        /// When.
        now: Timestamp,
    },
    /// Doomed blobs that are deleted.
    ForgetBlobs(Vec<String>),
    /// An upload begins, with its id, or ends.
    Upload(String, Option<String>),
}

impl Request {
    /// True if it belongs into the transaction.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Request::Accept { .. } | Request::Settle { .. } | Request::Act { .. } | Request::Set(..)
        )
    }

    /// The messages that it brings.
    pub fn incomings(&mut self) -> Vec<&mut Incoming> {
        match self {
            Request::Accept { incoming, .. } => vec![incoming],
            Request::Settle { settling, .. } => settling.notices.iter_mut().collect(),
            _ => Vec::new(),
        }
    }

    /// True if one of them goes to a segment.
    pub fn has_record(&mut self) -> bool {
        self.incomings().into_iter().any(|incoming| incoming.record().is_some())
    }
}
