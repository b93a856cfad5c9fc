//! The default store: rows in SQLite, small bodies in segments, large ones in files of their own.
//!
//! `data_dir` holds `lock`, `queue.db` (every commit durable), `history.db` (losable), `segments/`, `bodies/`.
//! Three threads: the writer (`writer`, the only one that changes the queue), the reader, the history. Claims live in
//! memory: the lock makes this process the only one, a restart voids them. Body files are read and written on the
//! runtime's blocking threads, so `body_writer` and `open_body` want a tokio runtime.
//! Never knows what time it is. Proof: `tests/store/conformance.rs`, `tests/store/crash.rs`, `tests/store/sqlite.rs`.

mod body;
mod history;
mod incoming;
mod lock;
mod reader;
mod record;
mod records;
mod request;
mod row;
mod schema;
mod search;
mod segment;
mod shared;
mod shares;
mod tables;
mod upkeep;
mod verdicts;
mod writer;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use vouchsafe_core::attachments::{
    AttachmentStore, AuditRow, BlobRef, Check, Landing, Share, ShareChange, ShareFilter, UploadLog, Usage,
};
use vouchsafe_core::links::TokenHash;
use vouchsafe_core::ports::{
    Accepted, BodyReader, BodyWriter, BoxFuture, Delivery, GuardStore, History, HistoryEvent, HistoryFilter,
    KeptCounter, KeptVerdict, MailStore, QueueAction, QueueFilter, QueueRow, QueueStats, Reservation,
    SettingsStore, Settlement, StoreFault, User, VerdictStore,
};
use vouchsafe_core::{MessageId, RouteKey, Timestamp};

pub use lock::Lock;

use crate::Claims;
use crate::disk::{Disk, is_full};
use crate::space::Space;
use body::FileWriter;
use history::Inbox;
use incoming::Incoming;
use reader::Question;
use request::{Answer, Request, Setting, Settling};
use segment::{Live, Segments};
use shared::Shared;
use verdicts::Change;
use writer::Writer;

/// What an administrator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Octets of the file system that mail never takes.
    pub free_space: u64,
}

/// Why the store cannot be opened; the text is fit for the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// Another process has it: the server runs.
    Locked(PathBuf),
    /// The database was written by a later version.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The highest that this program knows.
        known: usize,
    },
    /// A file or folder cannot be used.
    Disk {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: String,
    },
    /// A database cannot be used.
    Database {
        /// Which.
        path: PathBuf,
        /// SQLite's words.
        error: String,
    },
}

impl std::fmt::Display for OpenFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenFault::Locked(dir) => {
                write!(
                    f,
                    "{} is in use by another vouchsafe: one server has one data directory",
                    dir.display()
                )
            }
            OpenFault::Newer { path, found, known } => write!(
                f,
                "{} was written by a later vouchsafe (schema version {found}, this one knows {known}): \
                 install that version, or restore the copy that it made beside it",
                path.display()
            ),
            OpenFault::Disk { path, error } => write!(f, "cannot use {}: {error}", path.display()),
            OpenFault::Database { path, error } => write!(f, "cannot open {}: {error}", path.display()),
        }
    }
}
impl std::error::Error for OpenFault {}

/// The store. Dropping it finishes what was asked and joins its threads.
pub struct SqliteStore {
    disk: Arc<dyn Disk>,
    bodies: PathBuf,
    space: Arc<Space>,
    shared: Arc<Shared>,
    requests: Sender<Request>,
    questions: Sender<Question>,
    inbox: Arc<Inbox>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: Lock,
}

impl SqliteStore {
    /// Opens the store in `dir`, making what is not there.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>, options: Options) -> Result<Arc<SqliteStore>, OpenFault> {
        SqliteStore::open_with_segments(dir, disk, options, segment::SEGMENT_SIZE)
    }

    /// As [`open`](SqliteStore::open), with segments of another size: a test fills small ones sooner.
    pub fn open_with_segments(
        dir: &Path,
        disk: Arc<dyn Disk>,
        options: Options,
        segment_size: u64,
    ) -> Result<Arc<SqliteStore>, OpenFault> {
        create_private_dir(dir).map_err(disk_fault(dir))?;
        let lock = Lock::take(dir)?;
        let (segments, bodies) = (dir.join("segments"), dir.join("bodies"));
        for folder in [&segments, &bodies] {
            disk.create_dir(folder).map_err(disk_fault(folder))?;
        }
        let (database, history_database) = (dir.join("queue.db"), dir.join("history.db"));
        let queue = schema::open(&database, "FULL", schema::QUEUE)?;
        let mut history = schema::open(&history_database, "NORMAL", schema::HISTORY)?;
        disk.sync_dir(dir).map_err(disk_fault(dir))?;

        let shared = Arc::new(Shared::default());
        let found = load(&queue, &shared).map_err(database_fault(&database))?;
        remove_orphans(&*disk, &bodies, &found.files).map_err(disk_fault(&bodies))?;
        let writer = Writer {
            next_delivery: tables::last_delivery(&queue).map_err(database_fault(&database))? + 1,
            connection: queue,
            database: database.clone(),
            segments: Segments::open(disk.clone(), segments.clone(), segment_size, found.live)
                .map_err(disk_fault(&segments))?,
            disk: disk.clone(),
            bodies: bodies.clone(),
            shared: shared.clone(),
            uncheckpointed: 0,
        };
        let queue_reader = schema::connect_to_read(&database).map_err(database_fault(&database))?;
        let history_reader =
            schema::connect_to_read(&history_database).map_err(database_fault(&history_database))?;

        let (requests, waiting) = channel();
        let (questions, asked) = channel();
        let inbox = Arc::new(Inbox::default());
        let events = inbox.clone();
        let threads = vec![
            spawn("store-writer", move || writer.run(&waiting)).map_err(disk_fault(dir))?,
            spawn("store-reader", move || reader::run(&queue_reader, &history_reader, &asked))
                .map_err(disk_fault(dir))?,
            spawn("store-history", move || events.run(&mut history)).map_err(disk_fault(dir))?,
        ];
        let (asked_disk, asked_dir) = (disk.clone(), dir.to_owned());
        let space = Space::new(options.free_space, move || asked_disk.free_space(&asked_dir));
        let threads = Mutex::new(threads);
        Ok(Arc::new(SqliteStore {
            disk,
            bodies,
            space,
            shared,
            requests,
            questions,
            inbox,
            threads,
            _lock: lock,
        }))
    }

    /// Sends a request now and returns the future of its answer: it is done whether or not that is polled.
    fn request<T: Send + 'static>(
        &self,
        request: impl FnOnce(Answer<T>) -> Request,
    ) -> BoxFuture<'static, Result<T, StoreFault>> {
        let (answer, wait) = oneshot::channel();
        answer_of(self.requests.send(request(answer)).is_ok(), wait)
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Answer<T>) -> Question,
    ) -> BoxFuture<'static, Result<T, StoreFault>> {
        let (answer, wait) = oneshot::channel();
        answer_of(self.questions.send(question(answer)).is_ok(), wait)
    }
}

fn answer_of<T: Send + 'static>(
    sent: bool,
    wait: oneshot::Receiver<Result<T, StoreFault>>,
) -> BoxFuture<'static, Result<T, StoreFault>> {
    Box::pin(async move {
        let answer = if sent { wait.await.ok() } else { None };
        answer.unwrap_or_else(|| Err(StoreFault::Broken("the store has stopped".to_owned())))
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn create_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn disk_fault<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> OpenFault {
    move |error| OpenFault::Disk { path: path.to_owned(), error: error.to_string() }
}

fn database_fault(path: &Path) -> impl FnOnce(rusqlite::Error) -> OpenFault {
    move |error| OpenFault::Database { path: path.to_owned(), error: error.to_string() }
}

/// What a disk error means to the caller.
pub(crate) fn fault_of_io(what: &str, error: &io::Error) -> StoreFault {
    let words = format!("{what}: {error}");
    if is_full(error) { StoreFault::Full(words) } else { StoreFault::Broken(words) }
}

/// What the rows say of files.
#[derive(Default)]
struct Found {
    live: BTreeMap<i64, Live>,
    files: HashSet<String>,
}

fn load(queue: &rusqlite::Connection, shared: &Shared) -> rusqlite::Result<Found> {
    let mut found = Found::default();
    let mut index = shared.index();
    let (mut messages, mut octets) = (0, 0);
    let mut effects = Vec::new();
    tables::load_index(
        queue,
        |place, file, size| {
            messages += 1;
            octets += size;
            found.files.extend(file);
            if let Some(place) = place {
                let live = found.live.entry(place.segment).or_default();
                live.records += 1;
                live.octets += place.len;
                live.written = live.written.max(place.offset + place.len);
            }
        },
        |effect| effects.push(effect),
    )?;
    for effect in &effects {
        index.apply(effect);
    }
    index.messages = messages;
    index.octets = octets;
    Ok(found)
}

/// Removes large bodies that no row names: their `accept` never came, or the crash came before their removal.
fn remove_orphans(disk: &dyn Disk, bodies: &Path, named: &HashSet<String>) -> io::Result<()> {
    for (name, _) in disk.list(bodies)? {
        if !named.contains(&name) {
            disk.remove(&bodies.join(name))?;
        }
    }
    Ok(())
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let _ = self.requests.send(Request::Stop);
        let _ = self.questions.send(Question::Stop);
        self.inbox.stop();
        let threads = self.threads.get_mut().map(std::mem::take).unwrap_or_default();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl MailStore for SqliteStore {
    fn reserve(&self, octets: u64, stranger: bool) -> Result<Box<dyn Reservation>, StoreFault> {
        Ok(Box::new(self.space.reserve(octets, stranger)?))
    }

    fn body_writer(&self) -> BoxFuture<'_, Result<Box<dyn BodyWriter>, StoreFault>> {
        let created = FileWriter::create(self.disk.clone(), self.shared.clone(), self.bodies.clone());
        Box::pin(async move { Ok(Box::new(created.await?) as Box<dyn BodyWriter>) })
    }

    fn accept(&self, accepted: Accepted) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>> {
        let claim = accepted.claim;
        match Incoming::prepare(accepted, &self.shared) {
            Ok(incoming) => {
                let incoming = Box::new(incoming);
                let answer = self.request(|answer| Request::Accept { incoming, claim, answer });
                Box::pin(async move { answer.await.map(Claims::take) })
            }
            Err(fault) => Box::pin(std::future::ready(Err(fault))),
        }
    }

    fn claim(
        &self,
        now: Timestamp,
        max: usize,
        busy: Vec<RouteKey>,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>> {
        let answer = self.request(|answer| Request::Claim { now, max, busy, answer });
        Box::pin(async move { answer.await.map(Claims::take) })
    }

    fn claim_message(&self, message: MessageId) -> BoxFuture<'_, Result<Option<Vec<Delivery>>, StoreFault>> {
        let answer = self.request(|answer| Request::ClaimMessage(message, answer));
        Box::pin(async move { Ok(answer.await?.map(Claims::take)) })
    }

    fn release(&self, delivery: i64) {
        self.shared.index().schedule.unclaim(delivery);
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        Box::pin(std::future::ready(Ok(self.shared.index().schedule.next_due())))
    }

    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), StoreFault>> {
        let Settlement { delivery, outcomes, next_due, attempts, dsn } = settlement;
        let notices: Result<Vec<Incoming>, StoreFault> =
            dsn.into_iter().map(|notice| Incoming::prepare(notice, &self.shared)).collect();
        match notices {
            Ok(notices) => {
                let settling = Box::new(Settling { delivery, outcomes, next_due, attempts, notices });
                self.request(|answer| Request::Settle { settling, answer })
            }
            Err(fault) => Box::pin(std::future::ready(Err(fault))),
        }
    }

    fn open_body(&self, message: MessageId) -> BoxFuture<'_, Result<Box<dyn BodyReader>, StoreFault>> {
        let opened = self.request(|answer| Request::Open(message, answer));
        Box::pin(async move { opened.await?.reader().await })
    }

    fn list(&self, filter: QueueFilter) -> BoxFuture<'_, Result<Vec<QueueRow>, StoreFault>> {
        self.ask(|answer| Question::List(filter, answer))
    }

    fn act(
        &self,
        filter: QueueFilter,
        action: QueueAction,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreFault>> {
        self.request(|answer| Request::Act { filter, action, now, answer })
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreFault>> {
        Box::pin(std::future::ready(Ok(self.shared.index().stats())))
    }

    fn free_space(&self) -> Option<u64> {
        self.space.free().ok()
    }

    fn maintain(&self, budget: u64) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.inbox.prune();
        self.request(|answer| Request::Maintain(budget, answer))
    }
}

impl AttachmentStore for SqliteStore {
    fn landing(&self, link: TokenHash) -> BoxFuture<'_, Result<Option<Landing>, StoreFault>> {
        self.ask(|answer| Question::Landing(link, answer))
    }

    fn sender_share(&self, link: TokenHash) -> BoxFuture<'_, Result<Option<Share>, StoreFault>> {
        self.ask(|answer| Question::SenderShare(link, answer))
    }

    fn shares(&self, filter: ShareFilter) -> BoxFuture<'_, Result<Vec<Share>, StoreFault>> {
        self.ask(|answer| Question::Shares(filter, answer))
    }

    fn change(
        &self,
        change: ShareChange,
        who: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::Share(change, who, now), answer))
    }

    fn usage(&self, owner: String, domain: String) -> BoxFuture<'_, Result<Usage, StoreFault>> {
        self.ask(|answer| Question::Usage(owner, domain, answer))
    }

    fn doomed_blobs(&self, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        self.ask(|answer| Question::Doomed(limit, answer))
    }

    fn forget_blobs(&self, names: Vec<String>) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::ForgetBlobs(names), answer))
    }

    fn unknown_blobs(&self, names: Vec<String>) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        self.ask(|answer| Question::Unknown(names, answer))
    }

    fn unchecked_blobs(&self, limit: usize) -> BoxFuture<'_, Result<Vec<BlobRef>, StoreFault>> {
        self.ask(|answer| Question::Unchecked(limit, answer))
    }

    fn set_check(
        &self,
        blob: String,
        check: Check,
        detail: String,
        who: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::Check { blob, check, detail, who, now }, answer))
    }

    fn messages_of(&self, blob: String) -> BoxFuture<'_, Result<Vec<MessageId>, StoreFault>> {
        self.ask(|answer| Question::MessagesOf(blob, answer))
    }

    fn audit(
        &self,
        after: i64,
        message: Option<MessageId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<AuditRow>, StoreFault>> {
        self.ask(|answer| Question::Audit(after, message, limit, answer))
    }
}

impl UploadLog for SqliteStore {
    fn upload_begun(&self, name: String, upload: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::Upload(name, Some(upload)), answer))
    }

    fn upload_ended(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::Upload(name, None), answer))
    }

    fn uploads(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreFault>> {
        self.ask(Question::Uploads)
    }
}

impl SettingsStore for SqliteStore {
    fn users(&self) -> BoxFuture<'_, Result<Vec<User>, StoreFault>> {
        self.ask(Question::Users)
    }

    fn put_user(&self, user: User) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::PutUser(user), answer))
    }

    fn remove_user(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::RemoveUser(name), answer))
    }

    fn value(&self, key: &'static str) -> BoxFuture<'_, Result<Option<String>, StoreFault>> {
        self.ask(|answer| Question::Value(key, answer))
    }

    fn put_value(&self, key: &'static str, value: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::PutValue(key, value), answer))
    }

    fn records(
        &self,
        kind: &'static str,
        newest: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreFault>> {
        self.ask(|answer| Question::Records(kind, newest, answer))
    }

    fn put_record(
        &self,
        kind: &'static str,
        key: String,
        text: String,
    ) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::PutRecord(kind, key, text), answer))
    }

    fn remove_record(&self, kind: &'static str, key: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::RemoveRecord(kind, key), answer))
    }

    fn prune_records(&self, kind: &'static str, keep: usize) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::PruneRecords(kind, keep), answer))
    }
}

impl History for SqliteStore {
    fn record(&self, event: HistoryEvent) {
        self.inbox.push(event);
    }

    fn search(&self, filter: HistoryFilter) -> BoxFuture<'_, Result<Vec<HistoryEvent>, StoreFault>> {
        let written = self.inbox.barrier();
        Box::pin(async move {
            // An error means that the history's thread has ended: what it wrote can still be read.
            let _ = written.await;
            self.ask(|answer| Question::Events(filter, answer)).await
        })
    }

    fn trials(&self, limit: usize) -> BoxFuture<'_, Result<Vec<HistoryEvent>, StoreFault>> {
        let written = self.inbox.barrier();
        Box::pin(async move {
            let _ = written.await;
            self.ask(|answer| Question::Trials(limit, answer)).await
        })
    }

    fn keep_slot(&self, at: Timestamp, text: String, oldest: Timestamp) {
        self.inbox.change(Change::Slot { at, text, oldest });
    }

    fn slots(&self, since: Timestamp) -> BoxFuture<'_, Result<Vec<(Timestamp, String)>, StoreFault>> {
        let written = self.inbox.barrier();
        Box::pin(async move {
            let _ = written.await;
            self.ask(|answer| Question::Slots(since, answer)).await
        })
    }
}

impl VerdictStore for SqliteStore {
    fn load_verdicts(&self, delegate: String) -> BoxFuture<'_, Result<Vec<KeptVerdict>, StoreFault>> {
        let written = self.inbox.barrier();
        Box::pin(async move {
            let _ = written.await;
            self.ask(|answer| Question::Verdicts(delegate, answer)).await
        })
    }

    fn save_verdicts(&self, delegate: &str, verdicts: Vec<KeptVerdict>) {
        self.inbox.change(Change::Save(delegate.to_owned(), verdicts));
    }

    fn remove_verdicts(&self, delegate: &str, addresses: Vec<String>) {
        self.inbox.change(Change::Remove(delegate.to_owned(), addresses));
    }

    fn prune_verdicts(&self, now: Timestamp) {
        self.inbox.change(Change::Prune(now));
    }
}

impl GuardStore for SqliteStore {
    fn load_counters(&self) -> BoxFuture<'_, Result<Vec<KeptCounter>, StoreFault>> {
        self.ask(Question::Counters)
    }

    fn save_counters(
        &self,
        counters: Vec<KeptCounter>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.request(|answer| Request::Set(Setting::SaveCounters(counters, now), answer))
    }
}

/// The newest record of a kind in a data directory, whoever runs on it; `None` where there is none yet.
pub fn peek_record(dir: &Path, kind: &str) -> Result<Option<String>, StoreFault> {
    let path = dir.join("queue.db");
    if !path.exists() {
        return Ok(None);
    }
    let read = || {
        let connection = schema::connect_to_read(&path)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version < RECORDS_SINCE {
            return Ok(None);
        }
        Ok(records::load(&connection, kind, 1)?.into_iter().next().map(|(_, text)| text))
    };
    read().map_err(|error: rusqlite::Error| tables::fault_of(&error))
}

/// The version of `queue.db` that brought records.
const RECORDS_SINCE: i64 = 3;
