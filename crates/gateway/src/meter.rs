//! The meter: counts what goes into the history on its way there, and closes a minute when it is over.
//!
//! An event costs the mail path one atomic addition. Levels are read once a minute. What a crash loses is the minute that
//! had begun. Proof: `tests/meter.rs`, `vouchsafe_core::figures`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use vouchsafe_config::{ListenerKind, Settings};
use vouchsafe_core::Timestamp;
use vouchsafe_core::figures::{self, COUNT, Figure, Ring, SLOT, Slot, Span, Values, start_of, summed};
use vouchsafe_core::ports::{
    BoxFuture, Clock, History, HistoryEvent, HistoryFilter, QueueFilter, StoreFault,
};

use crate::delegate::{Delegate, Health, lock};
use crate::gateway::Gateway;

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// Counts and keeps figures; the history that the gateway writes to.
pub struct Meter {
    history: Arc<dyn History>,
    settings: Arc<ArcSwap<Settings>>,
    /// Ever, since the start.
    counts: [AtomicU64; COUNT],
    /// The minute that runs.
    minute: AtomicI64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ring: Ring,
    /// Counts when the last minute was closed; `None` where none was since the start.
    last: Option<Values>,
}

impl Meter {
    /// In front of a history.
    pub fn new(history: Arc<dyn History>, settings: Arc<ArcSwap<Settings>>) -> Arc<Meter> {
        Arc::new(Meter {
            history,
            settings,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            minute: AtomicI64::new(0),
            state: Mutex::default(),
        })
    }

    /// What was counted since the start; levels are 0.
    pub fn counts(&self) -> Values {
        std::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed))
    }

    /// Takes up the slot that an earlier run had begun.
    pub(crate) async fn restore(&self, now: Timestamp) -> Result<(), StoreFault> {
        let at = start_of(now, SLOT);
        if let Some((at, text)) = self.history.slots(at).await?.into_iter().next() {
            lock(&self.state).ring.resume(Slot::from_text(at, &text));
        }
        Ok(())
    }

    /// Closes the minute if it is over; to be called every few seconds.
    pub(crate) async fn tick(&self, gateway: &Gateway) {
        let now = gateway.clock.now();
        let minute = start_of(now, MINUTE).0;
        // At the first look the minute of the start runs.
        let before = self.minute.swap(minute, Ordering::Relaxed);
        if before != 0 && before != minute {
            self.close_at(gateway, now).await;
        }
    }

    /// Closes the minute that runs: the gateway stops.
    pub(crate) async fn close(&self, gateway: &Gateway) {
        self.close_at(gateway, gateway.clock.now()).await;
    }

    async fn close_at(&self, gateway: &Gateway, now: Timestamp) {
        let levels = levels(gateway, now).await;
        let slot = {
            let mut state = lock(&self.state);
            let mut counts = self.counts();
            add_delegates(&mut counts, gateway);
            let last = state.last.replace(counts).unwrap_or([0; COUNT]);
            state.ring.close(now, &since(levels, &counts, &last))
        };
        self.history.keep_slot(slot.at, slot.to_text(), now - Span::Month.length());
    }

    /// What the minute that runs has come to.
    async fn running(&self, gateway: &Gateway, now: Timestamp) -> Slot {
        let levels = levels(gateway, now).await;
        let mut counts = self.counts();
        add_delegates(&mut counts, gateway);
        let last = lock(&self.state).last.unwrap_or([0; COUNT]);
        Slot { at: now, values: since(levels, &counts, &last) }
    }

    /// The slots of a span that ends now, the oldest first, with the minute that runs.
    pub async fn span(&self, gateway: &Gateway, span: Span) -> Result<Vec<Slot>, StoreFault> {
        let now = gateway.clock.now();
        let from = now - span.length();
        let running = self.running(gateway, now).await;
        let mut fine: Vec<Slot> = match span {
            Span::Hour => lock(&self.state).ring.minutes(),
            Span::Day | Span::Month => {
                let kept = self.history.slots(from).await?;
                kept.into_iter().map(|(at, text)| Slot::from_text(at, &text)).collect()
            }
        };
        fine.push(running);
        Ok(summed(&fine, from, now, span.step()))
    }
}

/// Levels as they are, counts from `last` on.
fn since(levels: Values, counts: &Values, last: &Values) -> Values {
    let mut values = levels;
    for figure in Figure::ALL.iter().filter(|figure| !figure.is_level()) {
        let index = *figure as usize;
        // A delegate whose settings changed counts anew.
        values[index] = counts[index].saturating_sub(last[index]);
    }
    values
}

/// Delegates count by themselves.
fn add_delegates(counts: &mut Values, gateway: &Gateway) {
    for health in healths(gateway).values() {
        counts[Figure::Asked as usize] += health.answered;
        counts[Figure::AskedTime as usize] += health.answered_us;
        counts[Figure::Remembered as usize] += health.remembered;
        counts[Figure::Unanswered as usize] += health.unanswered;
    }
}

/// How the delegates are, by name.
pub fn healths(gateway: &Gateway) -> BTreeMap<String, Health> {
    let all = gateway.delegates.all();
    all.iter().map(|(name, delegate): (_, &Arc<Delegate>)| (name.clone(), delegate.health())).collect()
}

/// When the oldest message of the queue came.
pub async fn oldest(gateway: &Gateway) -> Result<Option<Timestamp>, StoreFault> {
    let first = QueueFilter { limit: 1, ..QueueFilter::default() };
    Ok(gateway.stores.mail.list(first).await?.first().map(|row| row.received_at))
}

async fn levels(gateway: &Gateway, now: Timestamp) -> Values {
    let mut values = [0; COUNT];
    let mut set = |figure: Figure, value: u64| values[figure as usize] = value;
    let mail = &gateway.stores.mail;
    if let Ok(stats) = mail.stats().await {
        set(Figure::Queue, stats.messages);
        set(Figure::OnHold, stats.held);
        set(Figure::Stored, stats.octets);
        if stats.messages > 0
            && let Ok(Some(oldest)) = oldest(gateway).await
        {
            set(Figure::Oldest, now.since(oldest).as_secs());
        }
    }
    set(Figure::Free, mail.free_space().unwrap_or_default());
    set(Figure::Sessions, gateway.running.count() as u64);
    let healths = healths(gateway);
    set(Figure::DelegateSessions, healths.values().map(|health| health.sessions).sum());
    set(Figure::BreakersOpen, healths.values().filter(|health| !health.reachable).count() as u64);
    values
}

impl History for Meter {
    fn record(&self, event: HistoryEvent) {
        let from_clients = || {
            let settings = self.settings.load();
            let listener = settings.listeners.iter().find(|listener| listener.name == event.detail);
            listener.is_some_and(|listener| listener.kind != ListenerKind::Mx)
        };
        if let Some(figure) = figures::of_event(&event, event.kind == "accepted" && from_clients()) {
            self.counts[figure as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.history.record(event);
    }

    fn search(&self, filter: HistoryFilter) -> BoxFuture<'_, Result<Vec<HistoryEvent>, StoreFault>> {
        self.history.search(filter)
    }

    fn trials(&self, limit: usize) -> BoxFuture<'_, Result<Vec<HistoryEvent>, StoreFault>> {
        self.history.trials(limit)
    }

    fn keep_slot(&self, at: Timestamp, text: String, oldest: Timestamp) {
        self.history.keep_slot(at, text, oldest);
    }

    fn slots(&self, since: Timestamp) -> BoxFuture<'_, Result<Vec<(Timestamp, String)>, StoreFault>> {
        self.history.slots(since)
    }
}
