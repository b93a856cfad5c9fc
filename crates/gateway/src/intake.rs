//! A message on its way in: header rules, space reserved, memory budget, own file for what is large.
//!
//! Memory per session is bounded (promise 5): at most [`SMALL_BODY`] and one read. Nothing here is durable; `finish`
//! gives a [`Body`] that `MailStore::accept` makes durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use vouchsafe_core::attachments::{BlobStore, SealedBlob};
use vouchsafe_core::detach::Rules;
use vouchsafe_core::headers::{Fix, HeaderFacts, HeaderScanner};
use vouchsafe_core::ports::{Body, MailStore, Reservation, SMALL_BODY, StoreFault};
use vouchsafe_core::trace::mark;
use vouchsafe_net::authentication::reading::{Read, Reading};
use vouchsafe_smtp::Reply;

use crate::detaching::{Detacher, Outcome};
use crate::spool::{CHUNK, Spool};

/// What a body may take from the budget at once.
const STEP: usize = 64 * 1024;
/// Header octets of a message. Past it: `552 5.3.4`.
const HEADER: u64 = 1024 * 1024;
/// Space reserved ahead of what has come in, when no SIZE was declared.
const AHEAD: u64 = 1024 * 1024;

/// How often a message may come by here: more is a loop, long before `limits.received_hops` is reached. Out, back in
/// from a mailing list and out again by a user's forward are three.
const OWN_HOPS: usize = 10;

/// Octets of bodies in memory, all sessions together.
pub struct Budget {
    left: AtomicU64,
}

impl Budget {
    /// `octets` for all.
    pub fn new(octets: u64) -> Arc<Budget> {
        Arc::new(Budget { left: AtomicU64::new(octets) })
    }
    fn take(&self, octets: u64) -> bool {
        let take = |left: u64| left.checked_sub(octets);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
    fn give(&self, octets: u64) {
        self.left.fetch_add(octets, Ordering::Relaxed);
    }
}

/// Large parts are moved to blobs.
pub struct Detach {
    /// Where to.
    pub blobs: Arc<dyn BlobStore>,
    /// Which.
    pub rules: Rules,
    /// Recipients differ in what they get: the raw octets of a moved part are kept, too.
    pub keep_raw: bool,
}

/// Where octets go that are not kept in the buffer.
enum Rest {
    /// As they are.
    Plain(Spool),
    /// Through the scanner, once the message is so large that a part may be.
    Detaching(Box<Detacher>),
}

/// The body of one transaction.
pub struct Intake {
    store: Arc<dyn MailStore>,
    budget: Arc<Budget>,
    held: u64,
    reservation: Box<dyn Reservation>,
    reserved: u64,
    scanner: HeaderScanner,
    reading: Option<Reading>,
    buffer: Vec<u8>,
    rest: Rest,
    /// Octets have gone to `rest`.
    begun: bool,
    /// Octets up to which nothing can be detached.
    least: u64,
    /// Octets of disk that one of the message may take.
    factor: u64,
    spill: bool,
    size: u64,
    max_hops: usize,
}

impl Intake {
    /// Begins a body for which so many octets are reserved.
    pub fn new(
        store: Arc<dyn MailStore>,
        budget: Arc<Budget>,
        (reservation, reserved): (Box<dyn Reservation>, u64),
        fix: Fix,
        max_hops: usize,
        hostname: &str,
        detach: Option<Detach>,
    ) -> Intake {
        let factor = if detach.as_ref().is_some_and(|detach| detach.keep_raw) { 2 } else { 1 };
        let least = detach.as_ref().map_or(u64::MAX, |detach| detach.rules.limits.least());
        let spool = Spool::new(Arc::clone(&store));
        let rest = match detach {
            Some(Detach { blobs, rules, keep_raw }) => {
                Rest::Detaching(Box::new(Detacher::new(blobs, rules, keep_raw, spool)))
            }
            None => Rest::Plain(spool),
        };
        Intake {
            store,
            budget,
            held: 0,
            reservation,
            reserved,
            scanner: HeaderScanner::new(fix).counting(mark(hostname)),
            reading: None,
            buffer: Vec::new(),
            rest,
            begun: false,
            least,
            factor,
            spill: false,
            size: 0,
            max_hops,
        }
    }

    /// Drops `Authentication-Results` of this name: only we may write them.
    pub fn drop_results_of(&mut self, name: &str) {
        self.scanner.drop_results_of(name);
    }

    /// Keeps From and Sender for the dot.
    pub fn keep_authors(&mut self) {
        self.scanner.keep_authors();
    }

    /// Reads the octets, as they come, for the checks at the dot.
    pub fn read_for_checks(&mut self) {
        self.reading = Some(Reading::default());
    }

    /// Takes octets. An error refuses the message.
    pub fn push(&mut self, octets: &[u8]) -> Result<(), Reply> {
        self.size += octets.len() as u64;
        if let Some(reading) = &mut self.reading {
            reading.push(octets);
        }
        if self.size * self.factor > self.reserved {
            let more = self.size * self.factor + AHEAD.min(self.size);
            self.reservation.grow(more).map_err(|fault| refusal(&fault))?;
            self.reserved = more;
        }
        if self.scanner.in_body() {
            self.buffer.extend_from_slice(octets);
        } else {
            self.scanner.push(octets, &mut self.buffer);
            let HeaderFacts { received, own, .. } = self.scanner.facts();
            if *received > self.max_hops || *own > OWN_HOPS {
                return Err(Reply::new(554, (5, 4, 6), "Too many hops: this message runs in a loop"));
            }
            if !self.scanner.in_body() && self.size > HEADER {
                return Err(Reply::new(552, (5, 3, 4), "Message header is too large"));
            }
        }
        let header = self.reading.as_ref().map_or(0, Reading::held);
        while self.held < (self.buffer.len() + header) as u64 && !self.spill {
            if self.budget.take(STEP as u64) {
                self.held += STEP as u64;
            } else {
                self.spill = true;
            }
        }
        Ok(())
    }

    /// Whether `flush` has something to do.
    pub fn is_full(&self) -> bool {
        // Each chunk goes through the hands of other threads, for its digest and to the disk: small ones would wait for them.
        let enough = match (self.spill, self.begun) {
            (true, _) => STEP,
            (false, true) => CHUNK,
            (false, false) => SMALL_BODY + 1,
        };
        self.buffer.len() >= enough
    }

    /// Moves what is buffered to the message's own file. An error refuses the message.
    pub async fn flush(&mut self) -> Result<(), Reply> {
        self.write().await.map_err(|fault| refusal(&fault))
    }

    async fn write(&mut self) -> Result<(), StoreFault> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.begun = true;
        let octets = std::mem::take(&mut self.buffer);
        match &mut self.rest {
            Rest::Plain(spool) => spool.push(octets).await?,
            Rest::Detaching(detacher) => detacher.take(&octets).await?,
        }
        self.budget.give(std::mem::take(&mut self.held));
        self.spill = false;
        Ok(())
    }

    /// The dot has come: facts of the header and the whole body. The space stays reserved until the third is dropped,
    /// the memory until the body is.
    pub async fn finish(mut self) -> Result<Finished, StoreFault> {
        let mut tail = std::mem::take(&mut self.buffer);
        self.scanner.finish(&mut tail);
        self.buffer = tail;
        let facts = self.scanner.facts().clone();
        let read = self.reading.take().map(Reading::finish);
        let content = if self.begun || self.buffer.len() as u64 > self.least {
            self.write().await?;
            match std::mem::replace(&mut self.rest, Rest::Plain(Spool::new(Arc::clone(&self.store)))) {
                Rest::Plain(spool) => Content::Body(spool.finish(false).await?),
                Rest::Detaching(detacher) => {
                    let outcome = detacher.finish().await?;
                    match outcome.moved.is_empty() {
                        true => Content::Body(outcome.spool.finish(false).await?),
                        false => Content::Detached(Box::new(outcome)),
                    }
                }
            }
        } else {
            Content::Body(Body::Memory(Bytes::from(std::mem::take(&mut self.buffer))))
        };
        Ok(Finished { facts, read, content, keep: self })
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.budget.give(self.held);
    }
}

/// What came, and what it has become.
pub(crate) enum Content {
    /// As it came.
    Body(Body),
    /// Parts of it were moved.
    Detached(Box<Outcome>),
}

/// A whole body, not yet durable.
pub struct Finished {
    /// What its header has.
    pub facts: HeaderFacts,
    /// What its signatures are checked against.
    pub read: Option<Read>,
    /// The content.
    pub(crate) content: Content,
    /// Keeps reservation and budget until the message is durable.
    pub keep: Intake,
}

impl Finished {
    /// Without an envelope, for who measures: makes the content durable, and gives the files that were taken out of it.
    pub async fn at_rest(self) -> Result<Vec<SealedBlob>, StoreFault> {
        match self.content {
            Content::Body(_) => Ok(Vec::new()),
            Content::Detached(outcome) => {
                outcome.spool.finish(true).await?;
                Ok(outcome.moved.into_iter().map(|moved| moved.blob).collect())
            }
        }
    }
}

/// What the client is told of a store's fault: bland words, the log has the cause.
pub fn refusal(fault: &StoreFault) -> Reply {
    tracing::error!(blame = "us", %fault, "message not taken");
    match fault {
        StoreFault::Full(_) => Reply::new(452, (4, 3, 1), "Insufficient system storage, try again later"),
        _ => Reply::new(451, (4, 3, 0), "Local error in processing, try again later"),
    }
}
