//! What every store must do, run on each of them.

use std::sync::Arc;
use std::time::Duration;

use vouchsafe_core::guard::Kind;
use vouchsafe_core::ports::{
    Body, GuardStore, History, HistoryEvent, HistoryFilter, KeptCounter, KeptVerdict, MailStore, QueueAction,
    QueueFilter, QueueStats, SettingsStore, StoreFault, User, VerdictStore,
};
use vouchsafe_core::{MessageId, RecipientState, RouteKey, Timestamp};
use vouchsafe_smtp::Reply;
use vouchsafe_store::disk::SimDisk;
use vouchsafe_store::memory::MemoryStore;
use vouchsafe_store::sqlite::SqliteStore;

use crate::given::*;

/// A store and what keeps it alive and in trouble.
trait Subject: MailStore + SettingsStore + History + VerdictStore + GuardStore {}
impl<T: MailStore + SettingsStore + History + VerdictStore + GuardStore> Subject for T {}

struct Given {
    store: Arc<dyn Subject>,
    set_full: Box<dyn Fn(bool)>,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Given {
    let store = MemoryStore::new();
    store.set_free(1 << 40);
    let same = store.clone();
    let set_full = Box::new(move |full: bool| same.fail(full.then(|| StoreFault::Full("test".to_owned()))));
    Given { store, set_full, _dir: None }
}

fn sqlite() -> Given {
    let dir = scratch();
    let disk = SimDisk::new();
    let store: Arc<SqliteStore> = open(dir.path(), Arc::new(disk.clone()));
    Given { store, set_full: Box::new(move |full| disk.set_full(full)), _dir: Some(dir) }
}

/// Each test below, for each store.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $test() { crate::given::run(super::$test(super::memory())) })* }
        mod on_disk { $(#[test] fn $test() { crate::given::run(super::$test(super::sqlite())) })* }
    };
}

suite! {
    what_goes_in_comes_out,
    a_large_body_is_kept_whole,
    a_dropped_writer_leaves_nothing_to_accept,
    an_accepted_message_can_be_claimed_at_once,
    claims_are_exclusive_until_released,
    a_cancelled_caller_leaves_no_claim,
    nothing_is_claimed_before_it_is_due,
    routes_are_served_in_turn,
    outcomes_are_kept_per_recipient,
    a_message_leaves_with_its_last_delivery,
    notices_are_queued_with_the_outcome,
    held_recipients_wait_for_the_administrator,
    a_message_is_claimed_whole_or_not_at_all,
    the_filter_chooses_recipients,
    a_delivery_deleted_during_its_attempt_stays_deleted,
    a_delivery_held_during_its_attempt_stays_held,
    an_unknown_delivery_is_missing,
    a_full_disk_refuses_and_keeps_nothing,
    parallel_reservations_cannot_overshoot,
    users_and_values_are_kept,
    history_is_searched_newest_first,
    slots_of_figures_are_replaced_and_leave,
    history_gives_the_events_of_trials_alone,
    verdicts_are_kept_by_delegate_until_they_expire,
    counters_of_the_guard_are_kept_until_they_are_cleared,
    many_callers_at_once_lose_nothing,
}

async fn list(store: &dyn Subject, filter: QueueFilter) -> Vec<vouchsafe_core::ports::QueueRow> {
    store.list(filter).await.unwrap()
}

async fn stats(store: &dyn Subject) -> QueueStats {
    store.stats().await.unwrap()
}

fn later(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

async fn what_goes_in_comes_out(given: Given) {
    let store = &*given.store;
    let message = small(1, &["a@one.example", "b@far.test", "c@one.example"]);
    let envelope = message.envelope.clone();
    assert!(store.accept(message).await.unwrap().is_empty());
    let mut claimed = store.claim(NOW, 10, Vec::new()).await.unwrap();
    claimed.sort_by_key(|delivery| delivery.id);
    assert_eq!(claimed.len(), 2);
    assert_eq!(claimed[0].route, RouteKey::Domain("one.example".to_owned()));
    assert_eq!(claimed[1].route, RouteKey::Relay);
    for delivery in &claimed {
        assert_eq!(delivery.message.id, id(1));
        assert_eq!(delivery.message.mail, envelope.mail);
        assert_eq!(delivery.message.origin, envelope.origin);
        assert_eq!(delivery.message.received_at, NOW);
        assert_eq!(delivery.message.size, HEAD.len() as u64 + 5_000);
        for recipient in &delivery.recipients {
            assert_eq!(recipient.to, envelope.recipients()[recipient.index as usize].0);
            assert_eq!((recipient.state, recipient.warned), (RecipientState::Pending, false));
        }
    }
    let indexes: Vec<u32> = claimed[0].recipients.iter().map(|recipient| recipient.index).collect();
    assert_eq!(indexes, [0, 2]);
    assert_eq!(content(store, id(1)).await.unwrap(), whole(&octets(id(1), 5_000)));
    assert!(matches!(store.open_body(id(2)).await, Err(StoreFault::Missing(_))));
}

async fn a_large_body_is_kept_whole(given: Given) {
    let store = &*given.store;
    let body = octets(id(1), 700_001);
    let spooled = spool(store, &body).await.unwrap();
    assert_eq!(spooled.len, 700_001);
    store.accept(accepted(id(1), &["a@one.example"], Body::Spooled(spooled))).await.unwrap();
    assert_eq!(content(store, id(1)).await.unwrap(), whole(&body));
    assert_eq!(stats(store).await.octets, HEAD.len() as u64 + 700_001);
}

async fn a_dropped_writer_leaves_nothing_to_accept(given: Given) {
    let store = &*given.store;
    let mut writer = store.body_writer().await.unwrap();
    writer.write(octets(id(1), 300_000)).await.unwrap();
    drop(writer);
    let invented = vouchsafe_core::ports::SpooledBody { name: "../lock".to_owned(), len: 3 };
    let refused = store.accept(accepted(id(1), &["a@one.example"], Body::Spooled(invented))).await;
    assert!(matches!(refused, Err(StoreFault::Missing(_))));
    assert_eq!(stats(store).await, QueueStats::default());
}

async fn an_accepted_message_can_be_claimed_at_once(given: Given) {
    let store = &*given.store;
    let mut message = small(1, &["a@one.example", "b@far.test"]);
    message.claim = true;
    let claimed = store.accept(message).await.unwrap();
    assert_eq!(claimed.len(), 2);
    assert!(store.claim(NOW, 10, Vec::new()).await.unwrap().is_empty());
    assert_eq!(store.next_due().await.unwrap(), None);
    store.release(claimed[1].id);
    assert_eq!(store.claim(NOW, 10, Vec::new()).await.unwrap(), claimed[1..]);
}

async fn claims_are_exclusive_until_released(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example"])).await.unwrap();
    let claimed = store.claim(NOW, 10, Vec::new()).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(store.claim(later(9_999), 10, Vec::new()).await.unwrap().is_empty());
    store.release(claimed[0].id);
    assert_eq!(store.claim(NOW, 10, Vec::new()).await.unwrap(), claimed);
}

async fn a_cancelled_caller_leaves_no_claim(given: Given) {
    let store = &*given.store;
    let mut message = small(1, &["a@one.example"]);
    message.claim = true;
    drop(store.accept(message));
    drop(store.claim(NOW, 10, Vec::new()));
    // A later request is answered after the earlier ones: the message is durable and free.
    store.act(QueueFilter::default(), QueueAction::Retry, NOW).await.unwrap();
    assert_eq!(store.claim(NOW, 10, Vec::new()).await.unwrap().len(), 1);
}

async fn nothing_is_claimed_before_it_is_due(given: Given) {
    let store = &*given.store;
    for (number, seconds) in [(1, 60), (2, 30)] {
        let mut message = small(number, &["a@one.example"]);
        message.due = later(seconds);
        store.accept(message).await.unwrap();
    }
    assert_eq!(store.next_due().await.unwrap(), Some(later(30)));
    assert!(store.claim(later(29), 10, Vec::new()).await.unwrap().is_empty());
    let claimed = store.claim(later(30), 10, Vec::new()).await.unwrap();
    assert_eq!(claimed[0].message.id, id(2));
    assert_eq!(store.next_due().await.unwrap(), Some(later(60)));
}

async fn routes_are_served_in_turn(given: Given) {
    let store = &*given.store;
    for number in 0..20 {
        store.accept(small(number, &["a@dead.example"])).await.unwrap();
    }
    store.accept(small(90, &["b@one.example"])).await.unwrap();
    store.accept(small(91, &["c@far.test"])).await.unwrap();
    let claimed = store.claim(NOW, 3, Vec::new()).await.unwrap();
    let mut routes: Vec<String> = claimed.iter().map(|delivery| delivery.route.to_string()).collect();
    routes.sort();
    assert_eq!(routes, ["domain:dead.example", "domain:one.example", "relay"]);
    let busy = vec![RouteKey::Domain("dead.example".to_owned())];
    assert!(store.claim(NOW, 3, busy).await.unwrap().is_empty());
    assert_eq!(store.claim(NOW, 100, Vec::new()).await.unwrap().len(), 19);
}

async fn outcomes_are_kept_per_recipient(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example", "b@one.example", "c@one.example"])).await.unwrap();
    let claimed = store.claim(NOW, 1, Vec::new()).await.unwrap();
    let mut settling = settlement(&claimed[0], RecipientState::Delivered, later(60));
    settling.outcomes.remove(2);
    settling.outcomes[1].state = RecipientState::Pending;
    settling.outcomes[1].warned = true;
    store.settle(settling).await.unwrap();
    assert!(store.claim(later(59), 1, Vec::new()).await.unwrap().is_empty());
    let again = store.claim(later(60), 1, Vec::new()).await.unwrap();
    assert_eq!((again[0].attempts, again[0].due), (1, later(60)));
    let rest: Vec<_> = again[0]
        .recipients
        .iter()
        .map(|recipient| (recipient.index, recipient.warned, recipient.last_reply.as_str()))
        .collect();
    assert_eq!(rest, [(1, true, "next hop said so"), (2, false, "")]);
}

async fn a_message_leaves_with_its_last_delivery(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example", "b@far.test"])).await.unwrap();
    let claimed = store.claim(NOW, 2, Vec::new()).await.unwrap();
    store.settle(settlement(&claimed[0], RecipientState::Failed, NOW)).await.unwrap();
    assert_eq!((stats(store).await.messages, stats(store).await.pending), (1, 1));
    content(store, id(1)).await.unwrap();
    store.settle(settlement(&claimed[1], RecipientState::Delivered, NOW)).await.unwrap();
    assert_eq!(stats(store).await, QueueStats::default());
    assert!(matches!(content(store, id(1)).await, Err(StoreFault::Missing(_))));
}

async fn notices_are_queued_with_the_outcome(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example"])).await.unwrap();
    let claimed = store.claim(NOW, 1, Vec::new()).await.unwrap();
    let mut settling = settlement(&claimed[0], RecipientState::Failed, NOW);
    let mut notice = small(2, &["sender@from.test"]);
    notice.envelope = envelope(id(2), "", &["sender@from.test"]);
    settling.dsn.push(notice);
    store.settle(settling).await.unwrap();
    let rows = list(store, QueueFilter::default()).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].message, rows[0].sender.as_str(), rows[0].route.as_str()), (id(2), "", "relay"));
    assert_eq!(content(store, id(2)).await.unwrap(), whole(&octets(id(2), 5_000)));
}

async fn held_recipients_wait_for_the_administrator(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example", "b@one.example"])).await.unwrap();
    let claimed = store.claim(NOW, 1, Vec::new()).await.unwrap();
    store.settle(settlement(&claimed[0], RecipientState::Held, later(5))).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), None);
    assert!(store.claim(later(9_999), 1, Vec::new()).await.unwrap().is_empty());
    let counts = stats(store).await;
    assert_eq!((counts.messages, counts.pending, counts.held), (1, 0, 2));
    assert_eq!(store.act(QueueFilter::default(), QueueAction::Retry, NOW).await.unwrap(), 0);
    assert_eq!(store.act(QueueFilter::default(), QueueAction::Release, later(7)).await.unwrap(), 1);
    let claimed = store.claim(later(7), 1, Vec::new()).await.unwrap();
    assert_eq!(claimed[0].recipients.len(), 2);
    assert_eq!(stats(store).await.held, 0);
}

async fn a_message_is_claimed_whole_or_not_at_all(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example", "b@far.test"])).await.unwrap();
    store.accept(small(2, &["a@one.example"])).await.unwrap();
    let filter = QueueFilter { address: Some("a@one".to_owned()), ..QueueFilter::default() };
    store.act(filter, QueueAction::Hold, NOW).await.unwrap();
    // The other route's delivery is being tried.
    let tried = store.claim(NOW, 10, Vec::new()).await.unwrap();
    assert_eq!(tried.len(), 1);
    assert!(store.claim_message(id(1)).await.unwrap().is_none());
    store.release(tried[0].id);
    let all = store.claim_message(id(1)).await.unwrap().unwrap();
    assert_eq!(all.len(), 2, "held or not");
    assert!(store.claim_message(id(1)).await.unwrap().is_none(), "claimed once");
    assert!(store.claim(NOW, 10, Vec::new()).await.unwrap().is_empty());
    for delivery in &all {
        store.release(delivery.id);
    }
    assert_eq!(store.claim(NOW, 10, Vec::new()).await.unwrap().len(), 1, "what was held stays so");
    assert_eq!(store.claim_message(id(9)).await.unwrap().unwrap().len(), 0);
}

async fn the_filter_chooses_recipients(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example", "b@one.example"])).await.unwrap();
    store.accept(small(2, &["a@far.test"])).await.unwrap();
    let only_b = QueueFilter { address: Some("B@ONE".to_owned()), ..QueueFilter::default() };
    assert_eq!(store.act(only_b.clone(), QueueAction::Hold, NOW).await.unwrap(), 1);
    let held = QueueFilter { held: Some(true), ..QueueFilter::default() };
    let rows = list(store, held.clone()).await;
    assert_eq!(rows[0].recipients, [("b@one.example".to_owned(), RecipientState::Held, String::new())]);
    let by_sender = QueueFilter { address: Some("from.test".to_owned()), limit: 1, ..QueueFilter::default() };
    assert_eq!(list(store, by_sender).await.len(), 1);
    let by_message = QueueFilter { message: Some(id(2)), ..QueueFilter::default() };
    assert_eq!(list(store, by_message.clone()).await[0].message, id(2));
    assert_eq!(store.act(by_message, QueueAction::Delete, NOW).await.unwrap(), 1);
    assert_eq!(store.act(held, QueueAction::Delete, NOW).await.unwrap(), 1);
    let rows = list(store, QueueFilter::default()).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].recipients[0].0, "a@one.example");
    assert_eq!(stats(store).await.held, 0);
    let nobody = QueueFilter { message: Some(id(77)), ..QueueFilter::default() };
    assert!(list(store, nobody).await.is_empty());
}

async fn a_delivery_deleted_during_its_attempt_stays_deleted(given: Given) {
    let store = &*given.store;
    for number in [1, 2] {
        store.accept(small(number, &["a@one.example"])).await.unwrap();
    }
    let claimed = store.claim(NOW, 2, Vec::new()).await.unwrap();
    assert_eq!(store.act(QueueFilter::default(), QueueAction::Delete, NOW).await.unwrap(), 2);
    assert_eq!(stats(store).await, QueueStats::default());
    let mut failed = settlement(&claimed[0], RecipientState::Failed, NOW);
    failed.dsn.push(small(3, &["sender@from.test"]));
    store.settle(failed).await.unwrap();
    store.release(claimed[1].id);
    assert!(list(store, QueueFilter::default()).await.is_empty());
    assert!(store.claim(later(9_999), 2, Vec::new()).await.unwrap().is_empty());
}

async fn a_delivery_held_during_its_attempt_stays_held(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example"])).await.unwrap();
    let claimed = store.claim(NOW, 1, Vec::new()).await.unwrap();
    assert_eq!(store.act(QueueFilter::default(), QueueAction::Retry, NOW).await.unwrap(), 0);
    assert_eq!(store.act(QueueFilter::default(), QueueAction::Hold, NOW).await.unwrap(), 1);
    store.settle(settlement(&claimed[0], RecipientState::Pending, later(1))).await.unwrap();
    assert!(store.claim(later(9_999), 1, Vec::new()).await.unwrap().is_empty());
    assert_eq!(stats(store).await.held, 1);
}

async fn an_unknown_delivery_is_missing(given: Given) {
    let store = &*given.store;
    store.accept(small(1, &["a@one.example"])).await.unwrap();
    let claimed = store.claim(NOW, 1, Vec::new()).await.unwrap();
    store.settle(settlement(&claimed[0], RecipientState::Delivered, NOW)).await.unwrap();
    let again = store.settle(settlement(&claimed[0], RecipientState::Delivered, NOW)).await;
    assert!(matches!(again, Err(StoreFault::Missing(_))));
    store.release(claimed[0].id);
    let twice = store.accept(small(2, &[])).await;
    assert!(matches!(twice, Err(StoreFault::Broken(_))), "an envelope without recipients");
}

async fn a_full_disk_refuses_and_keeps_nothing(given: Given) {
    let store = &*given.store;
    (given.set_full)(true);
    assert!(matches!(store.reserve(1, false), Err(StoreFault::Full(_))));
    assert!(matches!(store.accept(small(1, &["a@one.example"])).await, Err(StoreFault::Full(_))));
    assert!(matches!(spool(store, &octets(id(1), 300_000)).await, Err(StoreFault::Full(_))));
    assert_eq!(stats(store).await, QueueStats::default());
    (given.set_full)(false);
    store.accept(small(1, &["a@one.example"])).await.unwrap();
    assert_eq!(content(store, id(1)).await.unwrap(), whole(&octets(id(1), 5_000)));
}

async fn parallel_reservations_cannot_overshoot(given: Given) {
    // 2^40 octets are free, a quarter of it for strangers; 20 sessions at once want 2^36 each.
    let rush = |stranger: bool| {
        let stores: Vec<_> = (0..20).map(|_| given.store.clone()).collect();
        let threads: Vec<_> = stores
            .into_iter()
            .map(|store| std::thread::spawn(move || store.reserve(1 << 36, stranger)))
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        let (kept, refused): (Vec<_>, Vec<_>) = answers.partition(Result::is_ok);
        assert!(refused.iter().all(|answer| matches!(answer, Err(StoreFault::Full(_)))));
        kept
    };
    let strangers = rush(true);
    assert_eq!(strangers.len(), 4);
    let users = rush(false);
    assert_eq!(users.len(), 12);
    drop(strangers);
    drop(users);
    let mut reservation = given.store.reserve(0, true).unwrap();
    assert!(reservation.grow((1 << 38) + 1).is_err());
    reservation.grow(1 << 38).unwrap();
}

async fn users_and_values_are_kept(given: Given) {
    let store = &*given.store;
    let user =
        |name: &str, hash: &str| User { name: name.to_owned(), password_hash: hash.to_owned(), created: NOW };
    store.put_user(user("bob", "$1")).await.unwrap();
    store.put_user(user("alice", "$2")).await.unwrap();
    store.put_user(user("bob", "$3")).await.unwrap();
    assert_eq!(store.users().await.unwrap(), [user("alice", "$2"), user("bob", "$3")]);
    store.remove_user("bob".to_owned()).await.unwrap();
    assert!(matches!(store.remove_user("bob".to_owned()).await, Err(StoreFault::Missing(_))));
    assert_eq!(store.users().await.unwrap().len(), 1);
    assert_eq!(store.value("token").await.unwrap(), None);
    store.put_value("token", "one".to_owned()).await.unwrap();
    store.put_value("token", "two".to_owned()).await.unwrap();
    assert_eq!(store.value("token").await.unwrap(), Some("two".to_owned()));
    for (key, text) in [("1", "one"), ("3", "three"), ("2", "two"), ("3", "tree")] {
        store.put_record("note", key.to_owned(), text.to_owned()).await.unwrap();
    }
    store.put_record("other", "9".to_owned(), "else".to_owned()).await.unwrap();
    let record = |key: &str, text: &str| (key.to_owned(), text.to_owned());
    assert_eq!(store.records("note", 2).await.unwrap(), [record("3", "tree"), record("2", "two")]);
    store.prune_records("note", 2).await.unwrap();
    store.remove_record("note", "3".to_owned()).await.unwrap();
    assert_eq!(store.records("note", 0).await.unwrap(), [record("2", "two")]);
    assert_eq!(store.records("other", 0).await.unwrap().len(), 1);
}

async fn history_gives_the_events_of_trials_alone(given: Given) {
    let store = &*given.store;
    let event = |number: u64, kind: &str| HistoryEvent {
        at: later(number),
        session: format!("s-{number}"),
        message: None,
        kind: kind.to_owned(),
        sender: String::new(),
        recipient: "a@one.example".to_owned(),
        blame: String::new(),
        detail: "recipient would have been refused by office: 550 no".to_owned(),
    };
    let events = [event(1, "trial"), event(2, "refused"), event(3, "trial"), event(4, "trial")];
    for event in events.clone() {
        store.record(event);
    }
    assert_eq!(store.trials(2).await.unwrap(), [events[3].clone(), events[2].clone()]);
    assert_eq!(store.trials(100).await.unwrap().len(), 3);
}

async fn history_is_searched_newest_first(given: Given) {
    let store = &*given.store;
    let event = |number: u128, session: &str, recipient: &str| HistoryEvent {
        at: later(number as u64),
        session: session.to_owned(),
        message: (number > 1).then(|| id(number)),
        kind: "refused".to_owned(),
        sender: "Sender@From.test".to_owned(),
        recipient: recipient.to_owned(),
        blame: "client".to_owned(),
        detail: "550 no".to_owned(),
    };
    let events = [
        event(1, "s-1", "a@one.example"),
        event(2, "s-2", "b@one.example"),
        event(3, "s-3", "C@two.example"),
    ];
    for event in events.clone() {
        store.record(event);
    }
    let found = |text: &str, limit| {
        store.search(HistoryFilter { text: text.to_owned(), limit, ..HistoryFilter::default() })
    };
    assert_eq!(found("", 2).await.unwrap(), [events[2].clone(), events[1].clone()]);
    assert_eq!(found("ONE.example", 0).await.unwrap(), [events[1].clone(), events[0].clone()]);
    assert_eq!(found("c@TWO", 0).await.unwrap(), [events[2].clone()]);
    assert_eq!(found("s-1", 0).await.unwrap(), [events[0].clone()]);
    assert_eq!(found(&id(2).to_string(), 0).await.unwrap(), [events[1].clone()]);
    assert_eq!(found("from.test", 0).await.unwrap().len(), 3);
    assert!(found("550", 0).await.unwrap().is_empty());
    // Few letters, a part of an id, what only looks like an expression.
    assert_eq!(found("-3", 0).await.unwrap(), [events[2].clone()]);
    assert_eq!(found(&id(3).to_string()[..31], 0).await.unwrap().len(), 2);
    // With the hyphens that JSON has.
    assert_eq!(found(&id(3).0.hyphenated().to_string()[..35], 0).await.unwrap().len(), 2);
    assert!(found("one\" OR \"two", 0).await.unwrap().is_empty());
    store.record(HistoryEvent { kind: "delivered".to_owned(), ..event(4, "s-4", "a@one.example") });
    let filtered = |text: &str, kind: &str, since: Option<u64>, until: Option<u64>| {
        store.search(HistoryFilter {
            text: text.to_owned(),
            kind: kind.to_owned(),
            since: since.map(later),
            until: until.map(later),
            limit: 0,
        })
    };
    assert_eq!(filtered("one.example", "refused", None, None).await.unwrap().len(), 2);
    assert_eq!(filtered("", "delivered", None, None).await.unwrap().len(), 1);
    assert_eq!(filtered("", "", Some(2), Some(4)).await.unwrap(), [events[2].clone(), events[1].clone()]);
    assert_eq!(filtered("one.example", "", Some(2), Some(3)).await.unwrap(), [events[1].clone()]);
    assert!(filtered("", "", Some(5), None).await.unwrap().is_empty());
}

async fn slots_of_figures_are_replaced_and_leave(given: Given) {
    let store = &*given.store;
    store.keep_slot(later(600), "received=1".to_owned(), NOW);
    store.keep_slot(later(1200), "received=2".to_owned(), NOW);
    store.keep_slot(later(1200), "received=3".to_owned(), NOW);
    let both = [(later(600), "received=1".to_owned()), (later(1200), "received=3".to_owned())];
    assert_eq!(store.slots(NOW).await.unwrap(), both);
    assert_eq!(store.slots(later(601)).await.unwrap(), both[1..]);
    store.keep_slot(later(1800), String::new(), later(1200));
    assert_eq!(store.slots(NOW).await.unwrap().len(), 2);
}

async fn verdicts_are_kept_by_delegate_until_they_expire(given: Given) {
    let store = &*given.store;
    let verdict = |address: &str, until: u64, text: &'static str| KeptVerdict {
        address: address.to_owned(),
        said: Reply::new(250, (2, 1, 5), text),
        refresh: NOW,
        until: later(until),
        doubted: until == 20,
    };
    let plain = KeptVerdict { said: Reply::plain(250, "Ok"), ..verdict("c@x.example", 30, "") };
    store.save_verdicts("office", vec![verdict("a@x.example", 10, "old"), verdict("b@x.example", 20, "b")]);
    store.save_verdicts("office", vec![verdict("a@x.example", 10, "new"), plain.clone()]);
    store.save_verdicts("other", vec![verdict("a@x.example", 30, "other")]);
    let kept = store.load_verdicts("office".to_owned()).await.unwrap();
    assert_eq!(kept, [verdict("a@x.example", 10, "new"), verdict("b@x.example", 20, "b"), plain.clone()]);
    store.prune_verdicts(later(10));
    store.remove_verdicts("office", vec!["b@x.example".to_owned(), "none@x.example".to_owned()]);
    assert_eq!(store.load_verdicts("office".to_owned()).await.unwrap(), [plain]);
    assert_eq!(store.load_verdicts("other".to_owned()).await.unwrap().len(), 1);
}

async fn counters_of_the_guard_are_kept_until_they_are_cleared(given: Given) {
    let store = &*given.store;
    let counter = |kind, digest, charged, until| KeptCounter {
        kind,
        digest: [digest; 16],
        charged,
        until: later(until),
    };
    let (account, known) = (counter(Kind::Account, 1, 2, 20), counter(Kind::Known, 1, 1, 30));
    store.save_counters(vec![counter(Kind::Account, 1, 1, 10), known.clone()], NOW).await.unwrap();
    store.save_counters(vec![account.clone(), counter(Kind::Address, 9, 1, 15)], NOW).await.unwrap();
    let mut kept = store.load_counters().await.unwrap();
    kept.sort_by_key(|kept| kept.until);
    assert_eq!(kept, [counter(Kind::Address, 9, 1, 15), account, known.clone()]);
    store.save_counters(vec![counter(Kind::Account, 1, 0, 20)], later(15)).await.unwrap();
    assert_eq!(store.load_counters().await.unwrap(), [known]);
}

async fn many_callers_at_once_lose_nothing(given: Given) {
    let store = given.store.clone();
    let mut waiting = Vec::new();
    for number in 0..500u128 {
        let mut message = small(number, &["a@one.example"]);
        message.claim = number % 2 == 0;
        waiting.push((number, store.accept(message)));
    }
    let mut settling = Vec::new();
    for (_, answer) in waiting {
        for delivery in answer.await.unwrap() {
            settling.push(store.settle(settlement(&delivery, RecipientState::Delivered, NOW)));
        }
    }
    for answer in settling {
        answer.await.unwrap();
    }
    let rows = list(&*store, QueueFilter::default()).await;
    let ids: Vec<MessageId> = rows.iter().map(|row| row.message).collect();
    let odd: Vec<MessageId> = (0..500).filter(|number| number % 2 == 1).map(id).collect();
    assert_eq!(ids, odd);
    for message in odd {
        assert_eq!(content(&*store, message).await.unwrap(), whole(&octets(message, 5_000)));
    }
}
