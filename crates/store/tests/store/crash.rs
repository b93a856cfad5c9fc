//! The crash sweep: each walk again and again, with the power failing (or the disk erring) at its 1st, 2nd, 3rd ...
//! disk call. Afterwards every message whose `accept` said `Ok` is there whole, none is partial, and no change is
//! done by halves. The sweep itself is tested: with one kind of sync left out it must find a loss.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use vouchsafe_core::attachments::{AttachmentStore, ShareNews, Telling};
use vouchsafe_core::links::Token;
use vouchsafe_core::ports::{Accepted, Body, MailStore, QueueFilter};
use vouchsafe_core::{MessageId, RecipientState};
use vouchsafe_store::disk::{Lie, Loss, SimDisk, Trouble};
use vouchsafe_store::sqlite::SqliteStore;

use crate::given::*;

/// Small, so that six messages fill one.
const SEGMENT: u64 = 32 * 1024;

/// What the store has promised so far.
#[derive(Default)]
struct Ledger {
    /// Accepted with `Ok`, not yet settled.
    kept: BTreeMap<MessageId, Bytes>,
    /// Asked for without an `Ok`: there whole, or not there.
    open: BTreeMap<MessageId, Bytes>,
    /// Settled with `Ok`: gone for good.
    gone: Vec<MessageId>,
    /// Of the two exactly one is in the queue: a message, and the notice that takes its place.
    pairs: Vec<(MessageId, MessageId)>,
}

type Walk = for<'a> fn(&'a SqliteStore, &'a mut Ledger) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// `prepare` runs undisturbed, `walk` with trouble.
struct Plan {
    prepare: Walk,
    walk: Walk,
}

impl Ledger {
    async fn accept(&mut self, store: &SqliteStore, number: u128) {
        self.accept_for(store, number, &["a@one.example", "b@far.test"]).await;
    }

    async fn accept_for(&mut self, store: &SqliteStore, number: u128, to: &[&str]) {
        let message = small(number, to);
        let Body::Memory(body) = &message.body else { panic!("small") };
        let body = body.clone();
        match store.accept(message).await {
            Ok(_) => self.kept.insert(id(number), body),
            Err(_) => self.open.insert(id(number), body),
        };
    }

    async fn accept_large(&mut self, store: &SqliteStore, number: u128) {
        let body = octets(id(number), 300_000);
        self.open.insert(id(number), body.clone());
        let Ok(spooled) = spool(store, &body).await else { return };
        if store.accept(accepted(id(number), &["a@one.example"], Body::Spooled(spooled))).await.is_ok() {
            self.open.remove(&id(number));
            self.kept.insert(id(number), body);
        }
    }

    /// Settles every claimed delivery of the messages that `which` chooses; the notice of a message has its number
    /// plus 1,000.
    async fn settle(&mut self, store: &SqliteStore, notices: bool, which: impl Fn(MessageId) -> bool) {
        let Ok(claimed) = store.claim(NOW, 1_000, Vec::new()).await else { return };
        let ours: Vec<MessageId> = self.kept.keys().copied().filter(|message| which(*message)).collect();
        let mut failed = Vec::new();
        for delivery in claimed {
            let message = delivery.message.id;
            if !which(message) {
                store.release(delivery.id);
                continue;
            }
            let mut settling = settlement(&delivery, RecipientState::Failed, NOW);
            if notices {
                let number = message.0.as_u128() - id(0).0.as_u128() + 1_000;
                self.open.insert(id(number), octets(id(number), 5_000));
                self.pairs.push((message, id(number)));
                settling.dsn.push(small(number, &["sender@from.test"]));
            }
            if store.settle(settling).await.is_err() {
                failed.push(message);
            } else if notices {
                let (message, notice) = self.pairs[self.pairs.len() - 1];
                let body = self.open.remove(&notice).unwrap();
                self.kept.insert(notice, body);
                assert!(self.kept.contains_key(&message));
            }
        }
        for message in ours {
            let body = self.kept.remove(&message).unwrap();
            if failed.contains(&message) {
                self.open.insert(message, body);
            } else {
                self.gone.push(message);
            }
        }
    }

    /// What is wrong with the queue, if anything.
    async fn audit(&self, store: &SqliteStore) -> Result<(), String> {
        let rows = store.list(QueueFilter::default()).await.map_err(|fault| fault.to_string())?;
        let there = |message: MessageId| rows.iter().any(|row| row.message == message);
        if let Some(lost) = self.kept.keys().find(|message| !there(**message)) {
            return Err(format!("{lost} is lost"));
        }
        for row in &rows {
            let body = self.kept.get(&row.message).or_else(|| self.open.get(&row.message));
            let body = body.ok_or_else(|| format!("{} is back", row.message))?;
            let read =
                content(store, row.message).await.map_err(|fault| format!("{}: {fault}", row.message))?;
            if read != whole(body) {
                return Err(format!("{} is not what was accepted", row.message));
            }
        }
        if let Some((message, _)) =
            self.pairs.iter().find(|(message, notice)| there(*message) == there(*notice))
        {
            return Err(format!("{message} and its notice: settled by halves"));
        }
        Ok(())
    }
}

const LOSSES: [Loss; 4] = [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2)];

/// Runs the walk with trouble at every call; how many calls it has, or what went wrong first.
fn sweep(plan: &Plan, trouble: Trouble, losses: &[Loss], lie: Option<Lie>) -> Result<u64, String> {
    for at in 1.. {
        for loss in losses {
            let loss = match loss {
                Loss::Torn(seed) => Loss::Torn(seed * 1_000 + at),
                other => *other,
            };
            let reached = run(once(plan, trouble, at, loss, lie))
                .map_err(|why| format!("{trouble:?} at call {at}, {loss:?}: {why}"))?;
            if !reached {
                return Ok(at - 1);
            }
        }
    }
    unreachable!("a walk ends")
}

/// False if the walk has fewer calls than `at`.
async fn once(plan: &Plan, trouble: Trouble, at: u64, loss: Loss, lie: Option<Lie>) -> Result<bool, String> {
    let dir = scratch();
    let disk = SimDisk::new();
    let mut ledger = Ledger::default();
    let begin = || {
        SqliteStore::open_with_segments(dir.path(), Arc::new(disk.clone()), OPTIONS, SEGMENT)
            .map_err(|fault| fault.to_string())
    };
    if let Some(lie) = lie {
        disk.lie(lie);
    }
    let store = begin()?;
    (plan.prepare)(&store, &mut ledger).await;
    if !ledger.open.is_empty() {
        return Err("the preparation failed".to_owned());
    }
    let before = disk.calls();
    disk.trouble_at(at, trouble);
    (plan.walk)(&store, &mut ledger).await;
    // Answered when the writer has tidied up behind the walk.
    drop(store.claim(NOW, 0, Vec::new()).await);
    let reached = disk.calls() - before >= at;
    disk.calm();
    if trouble != Trouble::Crash {
        ledger.audit(&store).await.map_err(|why| format!("before the restart: {why}"))?;
        ledger.accept(&store, 900).await;
        if !ledger.kept.contains_key(&id(900)) {
            return Err("the store does not recover from a passing trouble".to_owned());
        }
    }
    drop(store);
    disk.crash(loss);
    let store = begin()?;
    ledger.audit(&store).await?;
    ledger.accept(&store, 901).await;
    ledger.accept_large(&store, 902).await;
    if !ledger.kept.contains_key(&id(902)) {
        return Err("the store is of no use after the restart".to_owned());
    }
    ledger.audit(&store).await?;
    Ok(reached)
}

/// The plan survives every kind of trouble, and has at least so many calls to fail at.
fn survives(plan: &Plan, calls: u64) {
    let crashes = sweep(plan, Trouble::Crash, &LOSSES, None).unwrap();
    assert!(crashes >= calls, "{crashes} calls");
    for trouble in [Trouble::Error, Trouble::Full] {
        sweep(plan, trouble, &[Loss::All], None).unwrap();
    }
}

fn nothing<'a>(_: &'a SqliteStore, _: &'a mut Ledger) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(std::future::ready(()))
}

fn accept_one<'a>(store: &'a SqliteStore, ledger: &'a mut Ledger) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(ledger.accept(store, 1))
}

fn accept_one_for_one<'a>(
    store: &'a SqliteStore,
    ledger: &'a mut Ledger,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(ledger.accept_for(store, 1, &["a@one.example"]))
}

fn accept_two_more<'a>(
    store: &'a SqliteStore,
    ledger: &'a mut Ledger,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move {
        for number in [2, 3] {
            ledger.accept(store, number).await;
        }
    })
}

fn accept_one_large<'a>(
    store: &'a SqliteStore,
    ledger: &'a mut Ledger,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(ledger.accept_large(store, 1))
}

fn fill_a_segment<'a>(
    store: &'a SqliteStore,
    ledger: &'a mut Ledger,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move {
        for number in 1..6 {
            ledger.accept(store, number).await;
        }
    })
}

fn settle_all<'a>(store: &'a SqliteStore, ledger: &'a mut Ledger) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(ledger.settle(store, false, |_| true))
}

fn settle_all_with_notices<'a>(
    store: &'a SqliteStore,
    ledger: &'a mut Ledger,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(ledger.settle(store, true, |_| true))
}

fn leave_a_sparse_segment<'a>(
    store: &'a SqliteStore,
    ledger: &'a mut Ledger,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move {
        for number in 1..9 {
            ledger.accept(store, number).await;
        }
        ledger.settle(store, false, |message| (id(2)..=id(6)).contains(&message)).await;
    })
}

fn maintain<'a>(store: &'a SqliteStore, _: &'a mut Ledger) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    // A fault in housekeeping is nobody's loss: the audit tells.
    Box::pin(async move { drop(store.maintain(1 << 20).await) })
}

const ACCEPT: Plan = Plan { prepare: nothing, walk: accept_one };
const ACCEPT_AGAIN: Plan = Plan { prepare: accept_one, walk: accept_two_more };
const ACCEPT_LARGE: Plan = Plan { prepare: nothing, walk: accept_one_large };
const SETTLE: Plan = Plan { prepare: fill_a_segment, walk: settle_all };
const SETTLE_LARGE: Plan = Plan { prepare: accept_one_large, walk: settle_all };
const SETTLE_WITH_NOTICE: Plan = Plan { prepare: accept_one_for_one, walk: settle_all_with_notices };
const ROLL_OVER: Plan = Plan { prepare: fill_a_segment, walk: accept_two_more_after_six };
const COPY_FORWARD: Plan = Plan { prepare: leave_a_sparse_segment, walk: maintain };

fn accept_two_more_after_six<'a>(
    store: &'a SqliteStore,
    ledger: &'a mut Ledger,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move {
        for number in 11..14 {
            ledger.accept(store, number).await;
        }
    })
}

#[test]
fn promise_kept_a_small_message_survives_a_crash_at_every_call() {
    // create, preallocate, sync, sync folder, write, sync, commit (before, after).
    survives(&ACCEPT, 8);
    survives(&ACCEPT_AGAIN, 8);
}

#[test]
fn promise_kept_a_large_message_survives_a_crash_at_every_call() {
    // create, three writes, sync, sync folder, commit (before, after).
    survives(&ACCEPT_LARGE, 8);
}

#[test]
fn promise_kept_a_settlement_is_whole_or_not_at_all() {
    survives(&SETTLE, 10);
    survives(&SETTLE_LARGE, 3);
}

#[test]
fn promise_kept_a_notice_is_neither_lost_nor_doubled() {
    survives(&SETTLE_WITH_NOTICE, 4);
}

#[test]
fn promise_kept_across_a_new_segment() {
    survives(&ROLL_OVER, 16);
}

#[test]
fn promise_kept_while_records_are_copied_forward() {
    survives(&COPY_FORWARD, 5);
}

#[test]
fn without_the_segment_sync_the_sweep_finds_a_loss() {
    assert!(sweep(&ACCEPT_AGAIN, Trouble::Crash, &LOSSES, Some(Lie::Files("segments"))).is_err());
    assert!(sweep(&COPY_FORWARD, Trouble::Crash, &LOSSES, Some(Lie::Files("segments"))).is_err());
}

#[test]
fn without_the_body_sync_the_sweep_finds_a_loss() {
    assert!(sweep(&ACCEPT_LARGE, Trouble::Crash, &LOSSES, Some(Lie::Files("bodies"))).is_err());
}

#[test]
fn without_the_folder_sync_the_sweep_finds_a_loss() {
    assert!(sweep(&ACCEPT, Trouble::Crash, &LOSSES, Some(Lie::Folders)).is_err());
    assert!(sweep(&ACCEPT_LARGE, Trouble::Crash, &LOSSES, Some(Lie::Folders)).is_err());
}

/// The power fails at every call between a blob's first octet and the answer to its message: afterwards either the
/// message is not there, or each of its links leads to the whole file.
async fn links_after_a_crash(at: u64, loss: Loss, lie: Option<Lie>) -> Result<bool, String> {
    let dir = scratch();
    let disk = SimDisk::new();
    let file = octets(id(7), 300_000);
    if let Some(lie) = lie {
        disk.lie(lie);
    }
    let begin = || {
        let blobs = vouchsafe_store::blobs::Blobs::files(Arc::new(disk.clone()), &dir.path().join("blobs"));
        (open(dir.path(), Arc::new(disk.clone())), blobs.unwrap())
    };
    let (store, blobs) = begin();
    let before = disk.calls();
    disk.trouble_at(at, Trouble::Crash);
    let accepted = match crate::shares::detached(&*blobs, 1, &file).await {
        Ok(message) => store.accept(message).await.is_ok(),
        Err(_) => false,
    };
    let reached = disk.calls() - before >= at;
    disk.calm();
    drop((store, blobs));
    disk.crash(loss);
    let (store, blobs) = begin();
    let there = !store.list(QueueFilter::default()).await.map_err(|fault| fault.to_string())?.is_empty();
    if accepted && !there {
        return Err("the message is lost".to_owned());
    }
    for recipient in [0, 2] {
        match crate::shares::fetch(&*store, &*blobs, 1, recipient).await {
            Ok(octets) if there && octets == file => {}
            Err(vouchsafe_core::ports::StoreFault::Missing(_)) if !there => {}
            other => return Err(format!("there: {there}, its link: {:?}", other.map(|octets| octets.len()))),
        }
    }
    Ok(reached)
}

fn sweep_links(lie: Option<Lie>) -> Result<u64, String> {
    for at in 1.. {
        for loss in LOSSES {
            let reached = run(links_after_a_crash(at, loss, lie));
            if !reached.map_err(|why| format!("crash at call {at}, {loss:?}: {why}"))? {
                return Ok(at - 1);
            }
        }
    }
    unreachable!("a walk ends")
}

#[test]
fn promise_kept_no_link_can_point_at_nothing() {
    // sync folder, create, three writes, sync, sync shelf; then the message.
    let calls = sweep_links(None).unwrap();
    assert!(calls >= 12, "{calls} calls");
}

/// The power fails at every call while a sender of files is told by mail: afterwards the mail is in the queue and it is
/// noted that he was told, or neither.
async fn news_after_a_crash(at: u64, loss: Loss) -> Result<bool, String> {
    let dir = scratch();
    let disk = SimDisk::new();
    let begin = || open(dir.path(), Arc::new(disk.clone()));
    let store = begin();
    let blobs = vouchsafe_store::blobs::Blobs::memory();
    store.accept(crate::shares::detached(&*blobs, 1, &octets(id(7), 100)).await.unwrap()).await.unwrap();
    let link = Token::new([9; 20]).hash();
    let news = Some(ShareNews { message: id(1), what: Telling::Receipt, link });
    let before = disk.calls();
    disk.trouble_at(at, Trouble::Crash);
    let told = store.accept(Accepted { news, ..small(2, &["sender@from.test"]) }).await.is_ok();
    let reached = disk.calls() - before >= at;
    disk.calm();
    drop(store);
    disk.crash(loss);
    let store = begin();
    let queue = store.list(QueueFilter::default()).await.map_err(|fault| fault.to_string())?;
    let queued = queue.iter().any(|row| row.message == id(2));
    let noted = store.sender_share(link).await.map_err(|fault| fault.to_string())?;
    let noted = noted.is_some_and(|share| share.receipted);
    match (told, queued, noted) {
        (_, true, true) | (false, false, false) => Ok(reached),
        state => Err(format!("(told, queued, noted) is {state:?}")),
    }
}

#[test]
fn promise_kept_mail_to_a_sender_of_files_is_neither_lost_nor_doubled() {
    for at in 1.. {
        for loss in LOSSES {
            if !run(news_after_a_crash(at, loss))
                .map_err(|why| format!("at call {at}, {loss:?}: {why}"))
                .unwrap()
            {
                // write, sync, commit (before, after).
                assert!(at > 4, "{} calls", at - 1);
                return;
            }
        }
    }
}

#[test]
fn without_the_syncs_of_a_blob_the_sweep_finds_a_link_to_nothing() {
    assert!(sweep_links(Some(Lie::Files("blobs"))).is_err());
    assert!(sweep_links(Some(Lie::Folders)).is_err());
}
