//! The ports in memory, for deterministic tests and for trying out: no thread, no disk, no clock.
//!
//! Every future is complete when it is made, so the order of effects is the order of calls. Never durable: promise 1
//! is not kept across the end of the process. Proof: the conformance suite that the SQLite store passes too.

mod shares;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;
use vouchsafe_core::attachments::Form;
use vouchsafe_core::guard::{Digest, Kind};
use vouchsafe_core::ports::{
    Accepted, Body, BodyReader, BodyWriter, BoxFuture, Delivery, GuardStore, History, HistoryEvent,
    HistoryFilter, KeptCounter, KeptVerdict, MailStore, Message, QueueAction, QueueFilter, QueueRow,
    QueueStats, Reservation, SettingsStore, Settlement, SpooledBody, StoreFault, User, VerdictStore,
};
use vouchsafe_core::trial;
use vouchsafe_core::{MessageId, QueuedRecipient, RecipientState, RouteKey, Timestamp};

use crate::queue::{self, Branch, Matcher};
use crate::schedule::Schedule;
use crate::shares::Ready;
use crate::space::Space;
use crate::{CHUNK, Claims, GiveBack, limit_of};

/// Events kept; the oldest leave first.
const EVENTS: usize = 100_000;

/// A store that forgets everything when it is dropped.
pub struct MemoryStore {
    state: Mutex<State>,
    space: Arc<Space>,
    free: Arc<AtomicU64>,
    own: Weak<MemoryStore>,
}

#[derive(Default)]
struct State {
    fault: Option<StoreFault>,
    next_delivery: i64,
    next_body: u64,
    messages: HashMap<MessageId, Stored>,
    deliveries: BTreeMap<i64, Row>,
    schedule: Schedule,
    /// Finished large bodies that no message has adopted yet.
    spooled: HashMap<String, Vec<Bytes>>,
    users: BTreeMap<String, User>,
    values: HashMap<&'static str, String>,
    records: BTreeMap<(&'static str, String), String>,
    events: VecDeque<HistoryEvent>,
    slots: BTreeMap<Timestamp, String>,
    verdicts: BTreeMap<(String, String), KeptVerdict>,
    counters: HashMap<(Kind, Digest), KeptCounter>,
    shares: shares::Shares,
}

struct Stored {
    message: Message,
    chunks: Vec<Bytes>,
    /// Deliveries that are still in the queue.
    open: usize,
    corrupt: bool,
}

struct Row {
    message: MessageId,
    route: RouteKey,
    attempts: u32,
    due: Timestamp,
    recipients: Vec<QueuedRecipient>,
    form: Option<Arc<Form>>,
}

impl MemoryStore {
    /// An empty store with plenty of space.
    pub fn new() -> Arc<MemoryStore> {
        let free = Arc::new(AtomicU64::new(u64::MAX / 2));
        let asked = free.clone();
        let space = Space::new(0, move || Ok(asked.load(Ordering::SeqCst)));
        Arc::new_cyclic(|own| MemoryStore { state: Mutex::default(), space, free, own: own.clone() })
    }

    /// From now on every change is answered with this fault (a full or a broken disk); `None` mends it.
    pub fn fail(&self, fault: Option<StoreFault>) {
        self.lock().fault = fault;
    }

    /// What reservations are judged by, in octets.
    pub fn set_free(&self, octets: u64) {
        self.free.store(octets, Ordering::SeqCst);
    }

    /// Makes the body of a message fail its checksum from now on.
    pub fn corrupt(&self, message: MessageId) {
        if let Some(stored) = self.lock().messages.get_mut(&message) {
            stored.corrupt = true;
        }
    }

    /// Everything recorded in the history, oldest first.
    pub fn events(&self) -> Vec<HistoryEvent> {
        self.lock().events.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn claims(&self, deliveries: Vec<Delivery>) -> Claims<Weak<MemoryStore>> {
        Claims::new(deliveries, self.own.clone())
    }
}

impl GiveBack for Weak<MemoryStore> {
    fn give_back(&self, delivery: i64) {
        if let Some(store) = self.upgrade() {
            store.release(delivery);
        }
    }
}

impl State {
    fn check(&self) -> Result<(), StoreFault> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn accept(&mut self, accepted: Accepted) -> Result<Vec<Delivery>, StoreFault> {
        let Accepted { envelope, head, body, due, claim, detached, news } = accepted;
        if envelope.recipients().is_empty() {
            return Err(StoreFault::Broken("an envelope without recipients".to_owned()));
        }
        let head_len = head.len() as u64;
        let mut chunks = vec![head];
        match body {
            Body::Memory(bytes) => chunks.push(bytes),
            Body::Spooled(SpooledBody { name, .. }) => {
                let spooled = self.spooled.remove(&name);
                chunks.extend(spooled.ok_or_else(|| StoreFault::Missing(format!("body {name}")))?);
            }
        }
        let message = Message {
            id: envelope.id,
            received_at: envelope.received_at,
            origin: envelope.origin.clone(),
            mail: envelope.mail.clone(),
            size: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        };
        let detached = detached
            .map(|detached| Ready::new(detached, &envelope, message.size - head_len, due))
            .transpose()?;
        for change in news.iter().flat_map(|news| news.changes()) {
            self.shares.change(&change, "", due)?;
        }
        let mut deliveries = Vec::new();
        let branches = queue::branches(&envelope, detached.as_ref());
        let open = branches.len();
        for Branch { route, form, recipients } in branches {
            self.next_delivery += 1;
            let id = self.next_delivery;
            let form = form.and_then(|number| detached.as_ref()?.form(number));
            self.schedule.insert(id, &route, due, true, claim);
            self.deliveries
                .insert(id, Row { message: message.id, route, attempts: 0, due, recipients, form });
            deliveries.extend(claim.then_some(id).and_then(|id| self.delivery_of(id, &message)));
        }
        if let Some(detached) = detached {
            self.shares.insert(&detached);
        }
        self.messages.insert(message.id, Stored { message, chunks, open, corrupt: false });
        Ok(deliveries)
    }

    fn settle(&mut self, settlement: Settlement) -> Result<(), StoreFault> {
        let Settlement { delivery: id, outcomes, next_due, attempts, dsn } = settlement;
        if self.schedule.is_gone(id) {
            self.schedule.unclaim(id);
            return Ok(());
        }
        let row = self.deliveries.get_mut(&id).ok_or_else(|| missing(id))?;
        queue::settle(&mut row.recipients, outcomes);
        row.attempts = attempts;
        row.due = next_due;
        for notice in dsn {
            self.accept(notice)?;
        }
        self.schedule.unclaim(id);
        self.place(id);
        Ok(())
    }

    /// Keeps every delivery that `act` changes, which is true then; how many. It is told whether they are claimed.
    fn change_each(&mut self, act: impl Fn(&mut Delivery, bool) -> bool) -> u64 {
        let ids: Vec<i64> = self.deliveries.keys().copied().collect();
        let mut changed = 0;
        for id in ids {
            let Some(mut delivery) = self.delivery(id) else { continue };
            if !act(&mut delivery, self.schedule.is_claimed(id)) {
                continue;
            }
            if let Some(row) = self.deliveries.get_mut(&id) {
                row.recipients = delivery.recipients;
                row.due = delivery.due;
            }
            self.place(id);
            changed += 1;
        }
        changed
    }

    /// After a change of a row: the schedule follows it, and what is finished leaves.
    fn place(&mut self, id: i64) {
        let Some(row) = self.deliveries.get(&id) else { return };
        if !row.recipients.is_empty() {
            let pending = queue::count(&row.recipients, RecipientState::Pending) > 0;
            return self.schedule.set(id, row.due, pending);
        }
        let message = row.message;
        self.schedule.forget(id);
        self.deliveries.remove(&id);
        if let Entry::Occupied(mut stored) = self.messages.entry(message) {
            stored.get_mut().open -= 1;
            if stored.get().open == 0 {
                stored.remove();
            }
        }
    }

    fn delivery(&self, id: i64) -> Option<Delivery> {
        let row = self.deliveries.get(&id)?;
        self.delivery_of(id, &self.messages.get(&row.message)?.message)
    }

    fn delivery_of(&self, id: i64, message: &Message) -> Option<Delivery> {
        let row = self.deliveries.get(&id)?;
        Some(Delivery {
            id,
            message: message.clone(),
            route: row.route.clone(),
            attempts: row.attempts,
            due: row.due,
            recipients: row.recipients.clone(),
            form: row.form.clone(),
        })
    }
}

fn missing(delivery: i64) -> StoreFault {
    StoreFault::Missing(format!("delivery {delivery}"))
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl MailStore for MemoryStore {
    fn reserve(&self, octets: u64, stranger: bool) -> Result<Box<dyn Reservation>, StoreFault> {
        if let Some(fault @ StoreFault::Full(_)) = self.lock().fault.clone() {
            return Err(fault);
        }
        Ok(Box::new(self.space.reserve(octets, stranger)?))
    }

    fn body_writer(&self) -> BoxFuture<'_, Result<Box<dyn BodyWriter>, StoreFault>> {
        ready(self.lock().check().map(|()| {
            let writer = MemoryWriter { store: self.own.clone(), chunks: Vec::new() };
            Box::new(writer) as Box<dyn BodyWriter>
        }))
    }

    fn accept(&self, accepted: Accepted) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>> {
        let mut state = self.lock();
        let result = state.check().and_then(|()| state.accept(accepted));
        let result = result.map(|deliveries| self.claims(deliveries));
        Box::pin(async move { result.map(Claims::take) })
    }

    fn claim(
        &self,
        now: Timestamp,
        max: usize,
        busy: Vec<RouteKey>,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>> {
        let mut state = self.lock();
        let ids = state.schedule.claim(now, max, &busy);
        let claims = self.claims(ids.into_iter().filter_map(|id| state.delivery(id)).collect());
        Box::pin(async move { Ok(claims.take()) })
    }

    fn claim_message(&self, message: MessageId) -> BoxFuture<'_, Result<Option<Vec<Delivery>>, StoreFault>> {
        let mut state = self.lock();
        let of_it = |(id, row): (&i64, &Row)| (row.message == message).then_some(*id);
        let ids: Vec<i64> = state.deliveries.iter().filter_map(of_it).collect();
        if !state.schedule.claim_all(&ids) {
            return ready(Ok(None));
        }
        let claims = self.claims(ids.into_iter().filter_map(|id| state.delivery(id)).collect());
        Box::pin(async move { Ok(Some(claims.take())) })
    }

    fn release(&self, delivery: i64) {
        self.lock().schedule.unclaim(delivery);
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        ready(Ok(self.lock().schedule.next_due()))
    }

    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        ready(state.check().and_then(|()| state.settle(settlement)))
    }

    fn open_body(&self, message: MessageId) -> BoxFuture<'_, Result<Box<dyn BodyReader>, StoreFault>> {
        let state = self.lock();
        ready(match state.messages.get(&message) {
            None => Err(StoreFault::Missing(format!("message {message}"))),
            Some(stored) if stored.corrupt => Err(StoreFault::Corrupt(format!("message {message}"))),
            Some(stored) => Ok(Box::new(MemoryReader { chunks: stored.chunks.clone().into() })),
        })
    }

    fn list(&self, filter: QueueFilter) -> BoxFuture<'_, Result<Vec<QueueRow>, StoreFault>> {
        let state = self.lock();
        let limit = limit_of(filter.limit);
        let matcher = Matcher::new(filter);
        let rows = state.deliveries.keys().filter_map(|&id| matcher.row(&state.delivery(id)?));
        ready(Ok(rows.take(limit).collect()))
    }

    fn act(
        &self,
        filter: QueueFilter,
        action: QueueAction,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<u64, StoreFault>> {
        let mut state = self.lock();
        if let Err(fault) = state.check() {
            return ready(Err(fault));
        }
        let matcher = Matcher::new(filter);
        let act = |delivery: &mut Delivery, claimed| queue::act(&matcher, action, delivery, claimed, now);
        ready(Ok(state.change_each(act)))
    }

    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreFault>> {
        let state = self.lock();
        ready(Ok(QueueStats {
            messages: state.messages.len() as u64,
            pending: state.schedule.pending(),
            held: state
                .deliveries
                .values()
                .map(|row| queue::count(&row.recipients, RecipientState::Held))
                .sum(),
            octets: state.messages.values().map(|stored| stored.message.size).sum(),
        }))
    }

    fn maintain(&self, _budget: u64) -> BoxFuture<'_, Result<(), StoreFault>> {
        ready(Ok(()))
    }
}

struct MemoryWriter {
    store: Weak<MemoryStore>,
    chunks: Vec<Bytes>,
}

impl BodyWriter for MemoryWriter {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>> {
        let fault = self.store.upgrade().map_or(Ok(()), |store| store.lock().check());
        self.chunks.push(chunk);
        ready(fault)
    }

    fn read(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, StoreFault>> {
        let whole = self.chunks.concat();
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(whole.len());
        let (from, to) = (at(range.start), at(range.end));
        ready(Ok(Bytes::copy_from_slice(&whole[from..to.min(from + CHUNK).max(from)])))
    }

    fn truncate(&mut self, len: u64) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut left = usize::try_from(len).unwrap_or(usize::MAX);
        for chunk in &mut self.chunks {
            chunk.truncate(left);
            left -= chunk.len();
        }
        ready(Ok(()))
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<SpooledBody, StoreFault>> {
        let Some(store) = self.store.upgrade() else {
            return ready(Err(StoreFault::Broken("the store has gone".to_owned())));
        };
        let mut state = store.lock();
        if let Err(fault) = state.check() {
            return ready(Err(fault));
        }
        state.next_body += 1;
        let name = format!("body-{}", state.next_body);
        let len = self.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        state.spooled.insert(name.clone(), self.chunks);
        ready(Ok(SpooledBody { name, len }))
    }
}

struct MemoryReader {
    chunks: VecDeque<Bytes>,
}

impl BodyReader for MemoryReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        while let Some(mut first) = self.chunks.pop_front() {
            if first.len() > CHUNK {
                let rest = first.split_off(CHUNK);
                self.chunks.push_front(rest);
            }
            if !first.is_empty() {
                return ready(Ok(Some(first)));
            }
        }
        ready(Ok(None))
    }
}

impl SettingsStore for MemoryStore {
    fn users(&self) -> BoxFuture<'_, Result<Vec<User>, StoreFault>> {
        ready(Ok(self.lock().users.values().cloned().collect()))
    }

    fn put_user(&self, user: User) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        ready(state.check().map(|()| drop(state.users.insert(user.name.clone(), user))))
    }

    fn remove_user(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        ready(state.check().and_then(|()| match state.users.remove(&name) {
            Some(_) => Ok(()),
            None => Err(StoreFault::Missing(format!("user {name}"))),
        }))
    }

    fn value(&self, key: &'static str) -> BoxFuture<'_, Result<Option<String>, StoreFault>> {
        ready(Ok(self.lock().values.get(key).cloned()))
    }

    fn put_value(&self, key: &'static str, value: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        ready(state.check().map(|()| drop(state.values.insert(key, value))))
    }

    fn records(
        &self,
        kind: &'static str,
        newest: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreFault>> {
        let newest = if newest == 0 { usize::MAX } else { newest };
        let state = self.lock();
        let of_kind = state.records.iter().rev().filter(|((of, _), _)| *of == kind).take(newest);
        ready(Ok(of_kind.map(|((_, key), text)| (key.clone(), text.clone())).collect()))
    }

    fn put_record(
        &self,
        kind: &'static str,
        key: String,
        text: String,
    ) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        ready(state.check().map(|()| drop(state.records.insert((kind, key), text))))
    }

    fn remove_record(&self, kind: &'static str, key: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        ready(state.check().map(|()| drop(state.records.remove(&(kind, key)))))
    }

    fn prune_records(&self, kind: &'static str, keep: usize) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        let of_kind = state.records.keys().rev().filter(|(of, _)| *of == kind);
        let gone: Vec<_> = of_kind.skip(keep).cloned().collect();
        ready(state.check().map(|()| gone.iter().for_each(|key| drop(state.records.remove(key)))))
    }
}

impl History for MemoryStore {
    fn record(&self, event: HistoryEvent) {
        let mut state = self.lock();
        if state.events.len() == EVENTS {
            state.events.pop_front();
        }
        state.events.push_back(event);
    }

    fn search(&self, filter: HistoryFilter) -> BoxFuture<'_, Result<Vec<HistoryEvent>, StoreFault>> {
        let filter = filter.folded();
        let state = self.lock();
        let found = state.events.iter().rev().filter(|event| filter.fits(event));
        let found = found.take(limit_of(filter.limit));
        ready(Ok(found.cloned().collect()))
    }

    fn trials(&self, limit: usize) -> BoxFuture<'_, Result<Vec<HistoryEvent>, StoreFault>> {
        let state = self.lock();
        let found = state.events.iter().rev().filter(|event| event.kind == trial::KIND).take(limit);
        ready(Ok(found.cloned().collect()))
    }

    fn keep_slot(&self, at: Timestamp, text: String, oldest: Timestamp) {
        let mut state = self.lock();
        state.slots.insert(at, text);
        state.slots.retain(|at, _| oldest <= *at);
    }

    fn slots(&self, since: Timestamp) -> BoxFuture<'_, Result<Vec<(Timestamp, String)>, StoreFault>> {
        let found = self.lock().slots.range(since..).map(|(at, text)| (*at, text.clone())).collect();
        ready(Ok(found))
    }
}

impl VerdictStore for MemoryStore {
    fn load_verdicts(&self, delegate: String) -> BoxFuture<'_, Result<Vec<KeptVerdict>, StoreFault>> {
        let state = self.lock();
        let of = state.verdicts.iter().filter(|((name, _), _)| *name == delegate);
        ready(Ok(of.map(|(_, verdict)| verdict.clone()).collect()))
    }

    fn save_verdicts(&self, delegate: &str, verdicts: Vec<KeptVerdict>) {
        let mut state = self.lock();
        for verdict in verdicts {
            state.verdicts.insert((delegate.to_owned(), verdict.address.clone()), verdict);
        }
    }

    fn remove_verdicts(&self, delegate: &str, addresses: Vec<String>) {
        let mut state = self.lock();
        for address in addresses {
            state.verdicts.remove(&(delegate.to_owned(), address));
        }
    }

    fn prune_verdicts(&self, now: Timestamp) {
        self.lock().verdicts.retain(|_, verdict| now < verdict.until);
    }
}

impl GuardStore for MemoryStore {
    fn load_counters(&self) -> BoxFuture<'_, Result<Vec<KeptCounter>, StoreFault>> {
        ready(Ok(self.lock().counters.values().cloned().collect()))
    }

    fn save_counters(
        &self,
        counters: Vec<KeptCounter>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        ready(state.check().map(|()| {
            for counter in counters {
                state.counters.insert((counter.kind, counter.digest), counter);
            }
            state.counters.retain(|_, counter| counter.charged > 0 && now < counter.until);
        }))
    }
}
