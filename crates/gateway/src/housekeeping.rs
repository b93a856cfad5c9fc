//! Housekeeping: the store tidies up; verdicts and the guard's counters are written behind, and once more at the end.
//!
//! What a crash loses of them is a few seconds of counters, and verdicts that are asked anew. Ticks end here: what is
//! kept has wall times, made from ages at the moment of writing.
//! Proof: `crates/gateway/tests/guard.rs`.

use std::time::Duration;

use vouchsafe_core::guard::Entry;
use vouchsafe_core::ports::{Clock, KeptCounter, StoreFault};

use crate::delegate::lock;
use crate::gateway::Gateway;
use crate::share_mails;

/// How often counters and verdicts are written.
const SAVE: Duration = Duration::from_secs(2);
/// Rounds of saving between two of tidying, and how much is tidied at once.
const TIDY: (u32, u64) = (5, 64 * 1024 * 1024);
/// Rounds of saving between two of telling senders of files what became of them.
const TELL: u32 = 30;
/// Name of the key in the store under which accounts and clients are digested.
const KEY: &str = "guard_key";

/// Runs until the gateway stops.
pub(crate) async fn run(gateway: &Gateway) {
    let mut stop = gateway.tasks.stop_signal();
    for round in 1_u32.. {
        tokio::select! {
            () = tokio::time::sleep(SAVE) => {}
            _ = stop.wait_for(|stopped| *stopped) => return,
        }
        save(gateway).await;
        gateway.delegates.test_relaying();
        gateway.meter.tick(gateway).await;
        if round.is_multiple_of(TIDY.0) {
            gateway.stores.verdicts.prune_verdicts(gateway.clock.now());
            if let Err(fault) = gateway.stores.mail.maintain(TIDY.1).await {
                tracing::error!(blame = "us", %fault, "housekeeping of the store failed");
            }
        }
        if round.is_multiple_of(TELL) {
            share_mails::round(gateway).await;
        }
    }
}

/// Writes what changed.
pub(crate) async fn save(gateway: &Gateway) {
    gateway.delegates.save();
    gateway.delegates.offers().save().await;
    gateway.delegates.refusals().save().await;
    let (tick, now) = (gateway.clock.tick(), gateway.clock.now());
    let changes = lock(&gateway.guard).take_changes(tick);
    if changes.is_empty() {
        return;
    }
    let counter = |entry: &Entry| KeptCounter {
        kind: entry.kind,
        digest: entry.digest,
        charged: entry.charged,
        until: now + entry.left,
    };
    let saved = gateway.stores.guard.save_counters(changes.iter().map(counter).collect(), now).await;
    if let Err(fault) = saved {
        tracing::error!(blame = "us", %fault, "the guard's counters cannot be stored; tried again shortly");
        lock(&gateway.guard).untake(&changes);
    }
}

/// Takes up what an earlier run counted: guard and meter. Before the first login is asked about.
pub(crate) async fn restore(gateway: &Gateway) -> Result<(), StoreFault> {
    let key = match gateway.stores.settings.value(KEY).await?.as_deref().and_then(from_hex) {
        Some(key) => key,
        None => {
            let key: [u8; 32] = rand::random();
            let text = key.iter().map(|octet| format!("{octet:02x}")).collect();
            gateway.stores.settings.put_value(KEY, text).await?;
            key
        }
    };
    let kept = gateway.stores.guard.load_counters().await?;
    let now = gateway.clock.now();
    let entry = |kept: KeptCounter| Entry {
        kind: kept.kind,
        digest: kept.digest,
        charged: kept.charged,
        left: kept.until.since(now),
    };
    let entries = kept.into_iter().filter(|kept| now < kept.until).map(entry).collect();
    lock(&gateway.guard).restore(key, entries, gateway.clock.tick());
    gateway.meter.restore(now).await
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let octet = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let octets: Vec<u8> = (0..32).map_while(octet).collect();
    octets.try_into().ok()
}
