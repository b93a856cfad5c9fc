//! The one writer: takes everything that waits, writes it together, answers all (group commit, no added delay).
//!
//! A batch is: records appended to the segment, one sync of it, one transaction, its commit, then the answers.
//! Promise 1: nothing is answered `Ok` before the commit. After a failed sync that segment, after a failed commit that
//! connection, is never used again. Proof: `tests/store/crash.rs`, `tests/store/conformance.rs`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rusqlite::{Connection, params};
use vouchsafe_core::ports::{Delivery, QueueAction, QueueFilter, StoreFault};
use vouchsafe_core::{MessageId, RouteKey, Timestamp};

use super::body::Opened;
use super::fault_of_io;
use super::incoming::Incoming;
use super::record::Record;
use super::records;
use super::request::{Answer, Request, Setting, Settling};
use super::segment::Segments;
use super::shared::Shared;
use super::shares;
use super::tables::{self, Changes, Failure, Whereabouts, fault_of};
use super::verdicts;
use crate::Claims;
use crate::disk::{Commit, Disk};
use crate::shares::{Ready, links_gone};

/// Requests taken together at most: bounds a transaction, and the time until the first of it is answered.
const BATCH: usize = 512;
/// Transactions after which the WAL is checkpointed. A transaction writes 10 to 30 pages: about 16 MB.
const CHECKPOINT_AFTER: u32 = 192;
/// A change, applied in the open transaction, and who waits for its commit.
enum Waiting {
    Accept {
        files: Option<String>,
        /// Holds its blobs until the commit.
        held: Option<Box<Ready>>,
        answer: Answer<Claims<Arc<Shared>>>,
        result: Result<Vec<Delivery>, StoreFault>,
    },
    Unit {
        files: Vec<String>,
        adopted: bool,
        answer: Answer<()>,
        result: Result<(), StoreFault>,
    },
    Count {
        answer: Answer<u64>,
        result: Result<u64, StoreFault>,
    },
}

/// A transaction that failed.
struct Lost {
    fault: StoreFault,
    /// The commit may have reached the disk all the same.
    in_doubt: bool,
}

/// The writer's thread.
pub struct Writer {
    /// `queue.db`, to write.
    pub connection: Connection,
    /// Path of `queue.db`.
    pub database: PathBuf,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Folder of large bodies.
    pub bodies: PathBuf,
    /// Segments.
    pub segments: Segments,
    /// Shared with the callers.
    pub shared: Arc<Shared>,
    /// Id of the next delivery.
    pub next_delivery: i64,
    /// Transactions since the last checkpoint.
    pub uncheckpointed: u32,
}

impl Writer {
    /// Works until told to stop, or until every caller has gone.
    pub fn run(mut self, requests: &Receiver<Request>) {
        let mut batch = Vec::new();
        while let Ok(request) = requests.recv() {
            batch.push(request);
            while batch.len() < BATCH {
                let Ok(request) = requests.try_recv() else { break };
                batch.push(request);
            }
            let stop = batch.iter().any(|request| matches!(request, Request::Stop));
            self.work(std::mem::take(&mut batch));
            if stop {
                break;
            }
        }
    }

    fn work(&mut self, mut batch: Vec<Request>) {
        let stored = self.append(&mut batch);
        let (writes, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(Request::is_write);
        if !writes.is_empty() {
            self.write(writes, stored);
        }
        for request in others {
            self.serve(request);
        }
        if self.uncheckpointed >= CHECKPOINT_AFTER {
            self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
        }
    }

    /// Appends all records of the batch and syncs them. On a fault the requests that have records are to be refused.
    fn append(&mut self, batch: &mut [Request]) -> Result<(), StoreFault> {
        let mut records: Vec<&mut Record> =
            batch.iter_mut().flat_map(Request::incomings).filter_map(Incoming::record).collect();
        if records.is_empty() {
            return Ok(());
        }
        let places = self.segments.append(&mut records).map_err(|error| {
            tracing::error!(%error, "a segment cannot be written; it is taken out of use");
            fault_of_io("segment", &error)
        })?;
        let small =
            batch.iter_mut().flat_map(Request::incomings).filter(|incoming| incoming.file().is_none());
        for (incoming, place) in small.zip(places) {
            incoming.set_place(place);
        }
        Ok(())
    }

    fn write(&mut self, writes: Vec<Request>, stored: Result<(), StoreFault>) {
        let mut changes = Changes::default();
        let mut waiting = Vec::with_capacity(writes.len());
        let committed = self.transact(writes, &stored, &mut changes, &mut waiting);
        if let Err(lost) = &committed {
            tracing::error!(fault = %lost.fault, "a transaction has been rolled back");
            for wait in &mut waiting {
                wait.spoil(lost);
            }
            // Rows that may be there after the next start keep their segment.
            let born = std::mem::take(&mut changes).born;
            changes.born.extend(born.into_iter().filter(|_| lost.in_doubt));
            self.reconnect();
        }
        for place in &changes.born {
            self.segments.born(*place);
        }
        for (segment, len) in &changes.died {
            self.segments.died(*segment, *len);
        }
        if !changes.index.is_empty() {
            let mut index = self.shared.index();
            for effect in &changes.index {
                index.apply(effect);
            }
        }
        let mut files = changes.files;
        for wait in waiting {
            wait.answer(&self.shared, &mut files);
        }
        // After the answers: nobody waits for it, and what a crash leaves is removed at the next start.
        for file in files {
            let _ = self.disk.remove(&self.bodies.join(file));
        }
        if !changes.died.is_empty() {
            self.segments.sweep();
        }
    }

    /// One transaction for all of them. `waiting` has an entry for each, even if the transaction fails.
    fn transact(
        &mut self,
        writes: Vec<Request>,
        stored: &Result<(), StoreFault>,
        changes: &mut Changes,
        waiting: &mut Vec<Waiting>,
    ) -> Result<(), Lost> {
        let mut broken =
            self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| fault_of(&error)).err();
        for mut request in writes {
            let refused = match (&broken, stored) {
                (Some(fault), _) => Some(fault.clone()),
                (None, Err(fault)) if request.has_record() => Some(fault.clone()),
                _ => None,
            };
            if let Err(fault) = self.apply(request, refused, changes, waiting) {
                broken = Some(fault);
            }
        }
        let committed = match broken {
            Some(fault) => Err(Lost { fault, in_doubt: false }),
            None => self.commit().map_err(|fault| {
                let in_doubt = !matches!(fault, StoreFault::Full(_));
                Lost { fault, in_doubt }
            }),
        };
        self.uncheckpointed += 1;
        if committed.is_err() && !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        committed
    }

    /// Promise 1: what was written in the transaction is durable when this returns.
    pub fn commit(&mut self) -> Result<(), StoreFault> {
        self.disk.commit(Commit::Before).map_err(|error| fault_of_io("commit", &error))?;
        self.connection.execute_batch("COMMIT").map_err(|error| fault_of(&error))?;
        self.disk.commit(Commit::After).map_err(|error| fault_of_io("commit", &error))
    }

    /// Applies one change, unless it is refused already. An error ends the transaction.
    fn apply(
        &mut self,
        request: Request,
        refused: Option<StoreFault>,
        changes: &mut Changes,
        waiting: &mut Vec<Waiting>,
    ) -> Result<(), StoreFault> {
        match request {
            Request::Accept { mut incoming, claim, answer } => {
                let done = match refused {
                    Some(fault) => Ok(Err(fault)),
                    None => sort(self.accept(&mut incoming, claim, changes)),
                };
                let (result, broken) = split(done);
                let files = incoming.file().map(str::to_owned);
                let held = incoming.detached.take();
                waiting.push(Waiting::Accept { files, held, answer, result });
                broken
            }
            Request::Settle { settling, answer } => {
                let mut settling = *settling;
                let files = settling.notices.iter().filter_map(Incoming::file).map(str::to_owned).collect();
                let done = match refused {
                    Some(fault) => Ok(Err(fault)),
                    None => sort(self.settle(&mut settling, changes)),
                };
                let (result, broken) = split(done);
                let adopted = matches!(result, Ok(true));
                waiting.push(Waiting::Unit { files, adopted, answer, result: result.map(drop) });
                broken
            }
            Request::Act { filter, action, now, answer } => {
                let done = match refused {
                    Some(fault) => Ok(Err(fault)),
                    None => sort(self.act(filter, action, now, changes)),
                };
                let (result, broken) = split(done);
                waiting.push(Waiting::Count { answer, result });
                broken
            }
            Request::Set(setting, answer) => {
                let done = match refused {
                    Some(fault) => Ok(Err(fault)),
                    None => sort(set(&self.connection, setting, changes)),
                };
                let (result, broken) = split(done);
                waiting.push(Waiting::Unit { files: Vec::new(), adopted: false, answer, result });
                broken
            }
            Request::Claim { .. }
            | Request::ClaimMessage(..)
            | Request::Open(..)
            | Request::Maintain(..)
            | Request::Stop => Ok(()),
        }
    }

    fn accept(
        &mut self,
        incoming: &mut Incoming,
        claim: bool,
        changes: &mut Changes,
    ) -> Result<Vec<Delivery>, Failure> {
        let first = self.next_delivery;
        self.next_delivery += incoming.branches.len() as i64;
        if incoming.detached.is_none() && incoming.news.is_none() {
            return tables::insert(&self.connection, incoming, first, claim, changes);
        }
        // Many rows: all of them, or none.
        let mark = changes.mark();
        self.connection.execute_batch("SAVEPOINT acceptance")?;
        let inserted = tables::insert(&self.connection, incoming, first, claim, changes);
        if inserted.is_err() {
            changes.rewind(mark);
            self.connection.execute_batch("ROLLBACK TO acceptance")?;
        }
        self.connection.execute_batch("RELEASE acceptance")?;
        inserted
    }

    /// True if it was recorded; false if the delivery was deleted by hand during the attempt: then nothing is, and no
    /// notice is sent.
    fn settle(&mut self, settling: &mut Settling, changes: &mut Changes) -> Result<bool, Failure> {
        let id = settling.delivery;
        let mark = changes.mark();
        let savepoint = !settling.notices.is_empty();
        if savepoint {
            self.connection.execute_batch("SAVEPOINT settlement")?;
        }
        let outcomes = std::mem::take(&mut settling.outcomes);
        let mut result =
            tables::settle(&self.connection, id, outcomes, settling.next_due, settling.attempts, changes)
                .map(|()| true);
        if matches!(result, Err(Failure::Request(StoreFault::Missing(_))))
            && self.shared.index().schedule.is_claimed(id)
        {
            changes.index.push(super::shared::Effect::ClaimEnded { id });
            result = Ok(false);
        }
        if matches!(result, Ok(true)) {
            for notice in &mut settling.notices {
                if let Err(failure) = self.accept(notice, false, changes) {
                    result = Err(failure);
                    break;
                }
            }
        }
        if savepoint {
            if result.is_err() {
                changes.rewind(mark);
                self.connection.execute_batch("ROLLBACK TO settlement")?;
            }
            self.connection.execute_batch("RELEASE settlement")?;
        }
        result
    }

    fn act(
        &mut self,
        filter: QueueFilter,
        action: QueueAction,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<u64, Failure> {
        let shared = self.shared.clone();
        let claimed = move |id| shared.index().schedule.is_claimed(id);
        tables::act(&self.connection, filter, action, now, claimed, changes)
    }

    /// What does not change the queue, after what does.
    fn serve(&mut self, request: Request) {
        match request {
            Request::Claim { now, max, busy, answer } => {
                let result = self.claim(now, max, &busy);
                // A caller that has gone gives its claims back: the answer is dropped.
                let _ = answer.send(result);
            }
            Request::ClaimMessage(message, answer) => {
                let _ = answer.send(self.claim_message(message));
            }
            Request::Open(message, answer) => {
                let _ = answer.send(self.open(message));
            }
            Request::Maintain(budget, answer) => {
                let _ = answer.send(self.maintain(budget));
            }
            _ => {}
        }
    }

    fn claim(
        &mut self,
        now: Timestamp,
        max: usize,
        busy: &[RouteKey],
    ) -> Result<Claims<Arc<Shared>>, StoreFault> {
        let ids = self.shared.index().schedule.claim(now, max, busy);
        let mut deliveries = Vec::with_capacity(ids.len());
        for (at, &id) in ids.iter().enumerate() {
            match tables::load(&self.connection, id) {
                Ok(delivery) => deliveries.extend(delivery),
                Err(failure) => {
                    let mut index = self.shared.index();
                    for id in &ids[at..] {
                        index.schedule.unclaim(*id);
                    }
                    drop(index);
                    drop(Claims::new(deliveries, self.shared.clone()));
                    return Err(fault_of_failure(failure));
                }
            }
        }
        Ok(Claims::new(deliveries, self.shared.clone()))
    }

    fn claim_message(&mut self, message: MessageId) -> Result<Option<Claims<Arc<Shared>>>, StoreFault> {
        let deliveries = tables::of_message(&self.connection, message).map_err(fault_of_failure)?;
        let ids: Vec<i64> = deliveries.iter().map(|delivery| delivery.id).collect();
        let claimed = self.shared.index().schedule.claim_all(&ids);
        Ok(claimed.then(|| Claims::new(deliveries, self.shared.clone())))
    }

    /// Opened here, so that a segment found is not removed before it is open.
    fn open(&self, message: MessageId) -> Result<Opened, StoreFault> {
        let found = tables::find_body(&self.connection, message).map_err(fault_of_failure)?;
        match found.ok_or_else(|| StoreFault::Missing(format!("message {message}")))? {
            Whereabouts::Segment(place) => {
                let file = self.segments.open_segment(place.segment);
                let file = file.map_err(|error| lost(message, &error))?;
                Ok(Opened::Record { file, place, message })
            }
            Whereabouts::File { name, len, crc, head } => {
                let file = self.disk.open(&self.bodies.join(name));
                let file = file.map_err(|error| lost(message, &error))?;
                Ok(Opened::File { file, len, crc, head: head.into(), message })
            }
        }
    }
}

impl Waiting {
    fn spoil(&mut self, lost: &Lost) {
        let Lost { fault, in_doubt } = lost;
        match self {
            Waiting::Accept { files, result, .. } => {
                *result = Err(fault.clone());
                files.take_if(|_| *in_doubt);
            }
            Waiting::Unit { adopted, result, .. } => {
                *result = Err(fault.clone());
                *adopted = *in_doubt;
            }
            Waiting::Count { result, .. } => *result = Err(fault.clone()),
        }
    }

    /// Answers; adds the files that nobody has adopted to `orphans`. If the caller has gone, its claims are given
    /// back when the answer is dropped.
    fn answer(self, shared: &Arc<Shared>, orphans: &mut Vec<String>) {
        match self {
            Waiting::Accept { files, held, answer, result } => {
                drop(held);
                if result.is_err() {
                    orphans.extend(files);
                }
                let _ = answer.send(result.map(|deliveries| Claims::new(deliveries, shared.clone())));
            }
            Waiting::Unit { files, adopted, answer, result } => {
                if !adopted {
                    orphans.extend(files);
                }
                let _ = answer.send(result);
            }
            Waiting::Count { answer, result } => {
                let _ = answer.send(result);
            }
        }
    }
}

fn set(connection: &Connection, setting: Setting, changes: &mut Changes) -> Result<(), Failure> {
    match setting {
        Setting::PutUser(user) => {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO user (name, password_hash, created) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![user.name, user.password_hash, user.created.0])?;
        }
        Setting::RemoveUser(name) => {
            let removed = connection.prepare_cached("DELETE FROM user WHERE name = ?1")?.execute([&name])?;
            if removed == 0 {
                return Err(Failure::Request(StoreFault::Missing(format!("user {name}"))));
            }
        }
        Setting::PutValue(key, value) => {
            connection
                .prepare_cached("INSERT OR REPLACE INTO value (key, value) VALUES (?1, ?2)")?
                .execute(params![key, value])?;
        }
        Setting::PutRecord(kind, key, text) => records::put(connection, kind, &key, &text)?,
        Setting::RemoveRecord(kind, key) => records::remove(connection, kind, &key)?,
        Setting::PruneRecords(kind, keep) => records::prune(connection, kind, keep)?,
        Setting::SaveCounters(counters, now) => verdicts::save_counters(connection, &counters, now)?,
        Setting::Share(change, who, now) => {
            shares::change(connection, &change, &who, now)?;
            if let Some((message, words)) = links_gone(&change, &who) {
                tables::hold_linked(connection, message, &words, changes)?;
            }
        }
        Setting::Check { blob, check, detail, who, now } => {
            shares::set_check(connection, &blob, check, &detail, &who, now)?;
        }
        Setting::ForgetBlobs(names) => shares::forget_blobs(connection, &names)?,
        Setting::Upload(name, upload) => shares::upload(connection, &name, upload.as_deref())?,
    }
    Ok(())
}

/// Outer: the transaction's fault. Inner: this request's.
fn sort<T>(result: Result<T, Failure>) -> Result<Result<T, StoreFault>, StoreFault> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Failure::Request(fault)) => Ok(Err(fault)),
        Err(Failure::Database(error)) => Err(fault_of(&error)),
    }
}

fn split<T>(
    done: Result<Result<T, StoreFault>, StoreFault>,
) -> (Result<T, StoreFault>, Result<(), StoreFault>) {
    match done {
        Ok(result) => (result, Ok(())),
        Err(fault) => (Err(fault.clone()), Err(fault)),
    }
}

/// The fault for a caller of a read.
pub fn fault_of_failure(failure: Failure) -> StoreFault {
    match failure {
        Failure::Request(fault) => fault,
        Failure::Database(error) => fault_of(&error),
    }
}

/// A row names a file that is not there: as bad as a wrong checksum. Anything else may pass.
fn lost(message: MessageId, error: &io::Error) -> StoreFault {
    match error.kind() {
        io::ErrorKind::NotFound => StoreFault::Corrupt(format!("message {message}: its body is gone")),
        _ => fault_of_io("body", error),
    }
}
