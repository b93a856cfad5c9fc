//! How many refusals a session may collect at each delegate, as learned (`core::refusals`); known across restarts.
//!
//! Written behind by housekeeping. Proof: `tests/places.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use vouchsafe_config as settings;
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{SettingsStore, StoreFault};
use vouchsafe_core::refusals::Learned;

use super::lock;

/// Name of the lists in the store.
const KEY: &str = "refusals_learned";

/// Of all delegates.
pub struct Refusals {
    store: Arc<dyn SettingsStore>,
    learned: Mutex<BTreeMap<String, Learned>>,
    changed: AtomicBool,
}

impl Refusals {
    /// Nothing was learned yet.
    pub fn new(store: Arc<dyn SettingsStore>) -> Refusals {
        Refusals { store, learned: Mutex::default(), changed: AtomicBool::new(false) }
    }

    /// Refusals that a session may collect at this delegate.
    pub fn allowed(&self, delegate: &settings::Delegate, now: Timestamp) -> usize {
        let learned = lock(&self.learned).get(&delegate.name).copied().unwrap_or_default();
        learned.allowed(setting(delegate), now) as usize
    }

    /// A session was closed right behind its `count`-th refusal.
    pub(super) fn closed_behind(&self, delegate: &settings::Delegate, count: usize, now: Timestamp) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let mut learned = lock(&self.learned);
        let of_this = learned.entry(delegate.name.clone()).or_default();
        let fewer = of_this.closed_behind(count, setting(delegate), now);
        self.changed.store(true, Ordering::Release);
        if fewer {
            tracing::warn!(blame = "delegate", delegate = %delegate.name, closed_behind = count,
                allowed = of_this.allowed(setting(delegate), now), setting = delegate.refusals,
                "the delegate closes sessions behind few refusals; fewer are collected from now on");
        }
    }

    /// A session stayed open behind its `count`-th refusal.
    pub(super) fn went_on(&self, delegate: &settings::Delegate, count: usize) {
        if let Some(learned) = lock(&self.learned).get_mut(&delegate.name) {
            learned.went_on(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Takes up what an earlier run learned.
    pub(crate) async fn restore(&self) -> Result<(), StoreFault> {
        let kept = self.store.value(KEY).await?;
        // A text that is not ours teaches nothing: it is learned again.
        *lock(&self.learned) = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok(())
    }

    /// Writes what changed.
    pub(crate) async fn save(&self) {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return;
        }
        let Ok(text) = serde_json::to_string(&*lock(&self.learned)) else { return };
        if let Err(fault) = self.store.put_value(KEY, text).await {
            self.changed.store(true, Ordering::Release);
            tracing::warn!(blame = "us", %fault, "what was learned of the delegates cannot be stored; tried again shortly");
        }
    }
}

fn setting(delegate: &settings::Delegate) -> u32 {
    u32::try_from(delegate.refusals).unwrap_or(u32::MAX)
}
