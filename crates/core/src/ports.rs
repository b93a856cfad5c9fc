//! The ports: what the gateway needs of the outside, grouped by transaction. `vouchsafe_store` implements them.
//!
//! Futures are boxed: one per message or per large chunk, none per octet. No runtime is named here.

use crate::attachments::{Detachment, Form, ShareNews};
use crate::envelope::{Envelope, MessageId, Origin, QueuedRecipient, RecipientState, RouteKey};
use crate::guard;
use crate::time::Timestamp;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use vouchsafe_smtp::{MailFrom, Reply};

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bodies up to this many octets are given to [`MailStore::accept`] in memory and land in a segment; larger ones
/// are streamed to a file of their own (DEPENDENCIES section 6: at 1 MB one committer is the limit).
pub const SMALL_BODY: usize = 256 * 1024;

/// What a store cannot do, typed by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Too little space, or a reservation was refused: `452 4.3.1`.
    Full(String),
    /// A disk or database error: `451 4.3.0`; the store has taken the file out of use.
    Broken(String),
    /// No such message, delivery, user.
    Missing(String),
    /// Bytes at rest do not match their checksum: hold and alarm, never send.
    Corrupt(String),
}

impl std::fmt::Display for StoreFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreFault::Full(why) => write!(f, "no space: {why}"),
            StoreFault::Broken(why) => write!(f, "store fault: {why}"),
            StoreFault::Missing(what) => write!(f, "not found: {what}"),
            StoreFault::Corrupt(what) => write!(f, "corrupt at rest: {what}"),
        }
    }
}
impl std::error::Error for StoreFault {}

/// Space promised to one transaction; given back when dropped.
pub trait Reservation: Send + Sync {
    /// Makes the reservation at least `octets` large, or refuses with [`StoreFault::Full`].
    fn grow(&mut self, octets: u64) -> Result<(), StoreFault>;
}

/// A large body being written. Dropped without `finish`, it leaves nothing behind.
pub trait BodyWriter: Send {
    /// Appends a chunk (callers batch to about 256 KiB). Syncs by itself every 64 MB, so that the dot is quick.
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Reads back what was written, as far as it is there. Bounded by the caller: at most 256 KiB at once.
    fn read(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, StoreFault>>;
    /// Cuts it back to `len` octets; the next chunk is appended there.
    fn truncate(&mut self, len: u64) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Makes it durable (file and folder). The message counts only after `accept`.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<SpooledBody, StoreFault>>;
}

/// A finished large body that `accept` will adopt; dropped unaccepted it is removed at the next start at the latest.
#[derive(Debug)]
pub struct SpooledBody {
    /// The store's name for it.
    pub name: String,
    /// Octets.
    pub len: u64,
}

/// The content of a message: without the head that we put on top.
#[derive(Debug)]
pub enum Body {
    /// At most [`SMALL_BODY`] octets.
    Memory(Bytes),
    /// Larger, or the memory budget was used up.
    Spooled(SpooledBody),
}

/// A message to be made durable: promise 1 begins when `accept` returns `Ok`.
#[derive(Debug)]
pub struct Accepted {
    /// Envelope with permits.
    pub envelope: Envelope,
    /// Trace and other headers put on top, ending in CRLF; at most 64 KiB.
    pub head: Bytes,
    /// The content.
    pub body: Body,
    /// When the first attempt is due.
    pub due: Timestamp,
    /// Return the deliveries as claimed, so that they can be sent at once from memory.
    pub claim: bool,
    /// Parts that were moved to blobs, already durable; an equal blob that is there takes the place of a fresh one.
    pub detached: Option<Detachment>,
    /// Set where it is our mail to a sender of files: neither queued without having been noted, nor noted without being
    /// queued. [`StoreFault::Missing`] if the files have gone.
    pub news: Option<ShareNews>,
}

/// What is known of a message, in every form the queue needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Id.
    pub id: MessageId,
    /// Arrival.
    pub received_at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// MAIL, parsed.
    pub mail: MailFrom,
    /// Octets of head + body.
    pub size: u64,
}

/// A delivery row: (message, route, form) with its recipients; claimed whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Row id.
    pub id: i64,
    /// The message.
    pub message: Message,
    /// The route.
    pub route: RouteKey,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due: Timestamp,
    /// Recipients that are still pending or held (all, in `show`).
    pub recipients: Vec<QueuedRecipient>,
    /// What its recipients get in place of the content; `None`: the content as it is.
    pub form: Option<Arc<Form>>,
}

/// What happened to one recipient in an attempt or by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientOutcome {
    /// Place in the message.
    pub index: u32,
    /// New state.
    pub state: RecipientState,
    /// Words for `queue show` and the history.
    pub reply: String,
    /// A delay notice has now been sent.
    pub warned: bool,
}

/// The end of a claim. Delivered and failed recipients leave the queue for the history; a delivery without pending
/// or held recipients is removed, a message without deliveries too. One transaction with `dsn`.
#[derive(Debug)]
pub struct Settlement {
    /// The delivery row.
    pub delivery: i64,
    /// Outcomes; recipients not named stay as they are.
    pub outcomes: Vec<RecipientOutcome>,
    /// The next attempt for what is still pending.
    pub next_due: Timestamp,
    /// Attempts to record (`attempts + 1` after a real attempt).
    pub attempts: u32,
    /// Notices due because of these outcomes, queued in the same transaction: neither lost nor doubled.
    pub dsn: Vec<Accepted>,
}

/// One row of `queue list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueRow {
    /// Message id.
    pub message: MessageId,
    /// Delivery row id.
    pub delivery: i64,
    /// `relay` or `domain:NAME`.
    pub route: String,
    /// Reverse path, empty for `<>`.
    pub sender: String,
    /// Pending or held recipients: (address, state, last reply).
    pub recipients: Vec<(String, RecipientState, String)>,
    /// Octets.
    pub size: u64,
    /// Arrival.
    pub received_at: Timestamp,
    /// Next attempt.
    pub due: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// Large parts were moved to links on this route.
    #[serde(default)]
    pub linked: bool,
}

/// What a queue query asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QueueFilter {
    /// Only this message.
    pub message: Option<MessageId>,
    /// Only addresses (sender or recipient) that contain this, case-folded.
    pub address: Option<String>,
    /// Only held (true) or only pending (false).
    pub held: Option<bool>,
    /// At most this many rows; 0 means 1,000.
    pub limit: usize,
}

/// What an administrator does to queued recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueAction {
    /// Due now.
    Retry,
    /// Pending becomes held.
    Hold,
    /// Held becomes pending and due now.
    Release,
    /// Removed without a DSN.
    Delete,
}

/// Numbers for logs, `452`, and the overview.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueStats {
    /// Messages.
    pub messages: u64,
    /// Delivery rows with a pending recipient.
    pub pending: u64,
    /// Held recipients.
    pub held: u64,
    /// Octets of bodies at rest.
    pub octets: u64,
}

/// A body at rest, read in order.
pub trait BodyReader: Send {
    /// The next chunk (head first, then content), at most 256 KiB; `None` at the end. A record whose checksum fails is
    /// [`StoreFault::Corrupt`] before its first octet is given out (own files: at the end, before the last chunk).
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>>;
}

/// Messages and their queue.
pub trait MailStore: Send + Sync {
    /// Promises space for `octets`, or refuses early. `stranger`: unauthenticated mail may take a quarter of what is free.
    fn reserve(&self, octets: u64, stranger: bool) -> Result<Box<dyn Reservation>, StoreFault>;
    /// Starts a large body.
    fn body_writer(&self) -> BoxFuture<'_, Result<Box<dyn BodyWriter>, StoreFault>>;
    /// Makes a message durable. `Ok` comes only after the syncs (promise 1); the deliveries are returned if claimed.
    /// Not cancel safe in effect: once called, it ends durable or not at all, whether or not the future is polled on.
    fn accept(&self, accepted: Accepted) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>>;
    /// Claims up to `max` due deliveries, fairly by route, none of `busy` routes. A claim ends with `settle` or `release`.
    fn claim(
        &self,
        now: Timestamp,
        max: usize,
        busy: Vec<RouteKey>,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>>;
    /// Claims every delivery of a message, held ones too; `None` while one of them is being tried. Each claim ends with
    /// `settle` or `release`.
    fn claim_message(&self, message: MessageId) -> BoxFuture<'_, Result<Option<Vec<Delivery>>, StoreFault>>;
    /// Gives a claim back untried: due as before.
    fn release(&self, delivery: i64);
    /// When the next unclaimed pending delivery is due.
    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>>;
    /// Ends a claim. `Ok` only when durable.
    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Opens a body.
    fn open_body(&self, message: MessageId) -> BoxFuture<'_, Result<Box<dyn BodyReader>, StoreFault>>;
    /// Lists deliveries, oldest first.
    fn list(&self, filter: QueueFilter) -> BoxFuture<'_, Result<Vec<QueueRow>, StoreFault>>;
    /// Acts on every matching delivery; the count of deliveries changed.
    fn act(
        &self,
        filter: QueueFilter,
        action: QueueAction,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreFault>>;
    /// Numbers.
    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreFault>>;
    /// Octets that the file system has left; `None` where there is none.
    fn free_space(&self) -> Option<u64> {
        None
    }
    /// Housekeeping: frees segments, copies sparse ones forward, removes orphans; at most about `budget` octets of work.
    fn maintain(&self, budget: u64) -> BoxFuture<'_, Result<(), StoreFault>>;
}

/// A local user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Login name, case-folded.
    pub name: String,
    /// Argon2id PHC string.
    pub password_hash: String,
    /// When it was added.
    pub created: Timestamp,
}

/// Small things that must survive a restart and change together.
pub trait SettingsStore: Send + Sync {
    /// All local users, by name.
    fn users(&self) -> BoxFuture<'_, Result<Vec<User>, StoreFault>>;
    /// Adds or replaces a user.
    fn put_user(&self, user: User) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Removes a user.
    fn remove_user(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// A small named value (instance token, last-seen mechanism list ...).
    fn value(&self, key: &'static str) -> BoxFuture<'_, Result<Option<String>, StoreFault>>;
    /// Sets a small named value.
    fn put_value(&self, key: &'static str, value: String) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// The records of a kind (administrators, their sessions, versions of the settings ...) as (key, text), the
    /// highest key first, at most `newest`; 0: all.
    fn records(
        &self,
        kind: &'static str,
        newest: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreFault>>;
    /// Adds or replaces a record. `Ok` only when durable.
    fn put_record(
        &self,
        kind: &'static str,
        key: String,
        text: String,
    ) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Removes a record; one that is not there is gone already.
    fn remove_record(&self, kind: &'static str, key: String) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Removes all records of a kind but those with the `keep` highest keys.
    fn prune_records(&self, kind: &'static str, keep: usize) -> BoxFuture<'_, Result<(), StoreFault>>;
}

/// One line of history: why was this mail refused, when was it delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEvent {
    /// When.
    pub at: Timestamp,
    /// Session id, empty if none.
    pub session: String,
    /// Message id, if one was given.
    pub message: Option<MessageId>,
    /// `accepted`, `refused`, `delivered`, `deferred`, `failed`, `held`, `login`, `send_as`, `trial`, `scan`.
    pub kind: String,
    /// Sender, empty for `<>`.
    pub sender: String,
    /// Recipient or login name.
    pub recipient: String,
    /// Who is to blame: `client`, `delegate`, `next_hop`, `us`, or empty.
    pub blame: String,
    /// Words: replies, causes.
    pub detail: String,
}

/// What is looked for in the history. What is empty or `None` restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryFilter {
    /// The session, the sender or a recipient contains it, or the message's id begins with it, case-folded.
    #[serde(default)]
    pub text: String,
    /// Only events of this kind.
    #[serde(default)]
    pub kind: String,
    /// Only events at or after.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Only events before.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// At most this many, the newest; 0 means 1,000.
    #[serde(default)]
    pub limit: usize,
}

impl HistoryFilter {
    /// The same with its text as [`HistoryFilter::fits`] wants it: in lower case, without space around it.
    pub fn folded(self) -> HistoryFilter {
        HistoryFilter { text: self.text.trim().to_lowercase(), ..self }
    }

    /// Whether a folded filter lets this event through.
    pub fn fits(&self, event: &HistoryEvent) -> bool {
        let holds = |words: &str| words.to_lowercase().contains(&self.text);
        self.since.is_none_or(|since| since <= event.at)
            && self.until.is_none_or(|until| event.at < until)
            && (self.kind.is_empty() || event.kind == self.kind)
            && (self.text.is_empty()
                || [&event.session, &event.sender, &event.recipient].into_iter().any(|words| holds(words))
                || event.message.is_some_and(|id| id.begins_with(&self.text)))
    }
}

/// What happened; batched, losable in a crash (never part of a promise but 8).
pub trait History: Send + Sync {
    /// Records; returns at once.
    fn record(&self, event: HistoryEvent);
    /// The newest events that fit, newest first.
    fn search(&self, filter: HistoryFilter) -> BoxFuture<'_, Result<Vec<HistoryEvent>, StoreFault>>;
    /// Keeps a slot of figures ([`crate::figures`]) in place of an earlier state of itself, and drops those before
    /// `oldest`; returns at once.
    fn keep_slot(&self, at: Timestamp, text: String, oldest: Timestamp);
    /// The slots at or after `since`, the oldest first.
    fn slots(&self, since: Timestamp) -> BoxFuture<'_, Result<Vec<(Timestamp, String)>, StoreFault>>;
    /// The newest `limit` events of trials, newest first.
    fn trials(&self, limit: usize) -> BoxFuture<'_, Result<Vec<HistoryEvent>, StoreFault>>;
}

/// A recipient that a delegate accepted, to be known after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptVerdict {
    /// The address, case-folded.
    pub address: String,
    /// The delegate's words.
    pub said: Reply,
    /// Asked again then.
    pub refresh: Timestamp,
    /// Good until then.
    pub until: Timestamp,
    /// A first "no" came since.
    pub doubted: bool,
}

/// Yes verdicts across restarts; batched, losable in a crash: what is lost is asked again.
pub trait VerdictStore: Send + Sync {
    /// Everything kept for a delegate, after all that was saved before.
    fn load_verdicts(&self, delegate: String) -> BoxFuture<'_, Result<Vec<KeptVerdict>, StoreFault>>;
    /// Keeps verdicts in place of older ones about the same addresses; returns at once.
    fn save_verdicts(&self, delegate: &str, verdicts: Vec<KeptVerdict>);
    /// Forgets addresses; returns at once.
    fn remove_verdicts(&self, delegate: &str, addresses: Vec<String>);
    /// Forgets what is good no longer, of all delegates; returns at once.
    fn prune_verdicts(&self, now: Timestamp);
}

/// A counter of the guard, to be known after a restart. Whom it is for is known by a keyed digest alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCounter {
    /// What it counts.
    pub kind: guard::Kind,
    /// For whom.
    pub digest: guard::Digest,
    /// The count; a counter saved with 0 goes.
    pub charged: u32,
    /// Cleared then.
    pub until: Timestamp,
}

/// The guard's counters across restarts.
pub trait GuardStore: Send + Sync {
    /// All counters.
    fn load_counters(&self) -> BoxFuture<'_, Result<Vec<KeptCounter>, StoreFault>>;
    /// Keeps counters in place of older ones, and drops all that are cleared by `now`. `Ok` only when durable.
    fn save_counters(
        &self,
        counters: Vec<KeptCounter>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>>;
}

/// The clocks; the system's are in `vouchsafe_net::clock`, a test's stands still until told.
pub trait Clock: Send + Sync {
    /// Wall clock.
    fn now(&self) -> Timestamp;
    /// Monotonic clock.
    fn tick(&self) -> vouchsafe_smtp::Tick;
}
