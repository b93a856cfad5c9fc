//! The mechanisms that each delegate was last seen to offer, known across restarts; what listeners announce follows from
//! them (`vouchsafe_core::mechanisms`).
//!
//! Noted at every AUTH session, written behind by housekeeping. A list without any mechanism is no list: a delegate under
//! maintenance takes nothing away. Never asks by itself. Proof: `transcripts/e2e/auth_*`, `tests/sasl.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use vouchsafe_config::{Delegate, LoginName, LoginSource, Settings};
use vouchsafe_core::Endpoint;
use vouchsafe_core::mechanisms::{self, Source};
use vouchsafe_core::ports::{SettingsStore, StoreFault};
use vouchsafe_smtp::sasl::Mechanism;

use super::lock;

/// Name of the lists in the store.
const KEY: &str = "mechanisms_seen";
/// Mechanisms kept of a list, and octets of a name: a delegate may offer anything.
const KEPT: (usize, usize) = (32, 32);

/// What one delegate offered last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// The endpoint that offered it: another server's list tells nothing.
    server: String,
    mechanisms: Vec<String>,
}

/// Lists of all delegates.
pub struct Offers {
    store: Arc<dyn SettingsStore>,
    seen: Mutex<BTreeMap<String, Seen>>,
    version: AtomicU64,
    saved: AtomicU64,
}

impl Offers {
    /// Nothing was seen yet.
    pub fn new(store: Arc<dyn SettingsStore>) -> Offers {
        Offers { store, seen: Mutex::default(), version: AtomicU64::new(0), saved: AtomicU64::new(0) }
    }

    /// Changes whenever a list did.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What listeners with logins announce under these settings.
    pub fn announced(&self, settings: &Settings) -> Vec<Mechanism> {
        self.with_sources(settings, mechanisms::announced)
    }

    /// Whether this source of logins takes the mechanism.
    pub fn takes(&self, settings: &Settings, source: &LoginSource, mechanism: Mechanism) -> bool {
        let alone = settings.relay.logins.only() == Some(source);
        let taken = |sources: &[Source<'_>]| {
            let at = settings.relay.logins.sources().iter().position(|other| *other == source);
            at.is_some_and(|at| mechanisms::offered(&sources[at], alone).contains(&mechanism))
        };
        self.with_sources(settings, taken)
    }

    fn with_sources<T>(&self, settings: &Settings, told: impl FnOnce(&[Source<'_>]) -> T) -> T {
        let seen = lock(&self.seen);
        let of = |source: &LoginSource| match source {
            LoginSource::Local => Source::Local,
            LoginSource::Delegate(name) => match settings.delegates.get(name) {
                None => Source::Local,
                Some(delegate) => Source::Delegate {
                    configured: &delegate.mechanisms,
                    seen: list(&seen, delegate),
                    names_as_is: delegate.login_name == LoginName::AsIs,
                },
            },
        };
        let sources: Vec<Source<'_>> = settings.relay.logins.sources().into_iter().map(of).collect();
        told(&sources)
    }

    /// Whether nothing is known of what this delegate offers.
    pub fn is_unseen(&self, delegate: &Delegate) -> bool {
        list(&lock(&self.seen), delegate).is_none()
    }

    /// Notes what an endpoint of a delegate offers now.
    pub fn note(&self, delegate: &str, endpoint: &Endpoint, offered: &[String]) {
        if offered.is_empty() {
            return;
        }
        let short = |name: &&String| name.len() <= KEPT.1;
        let mechanisms = offered.iter().filter(short).take(KEPT.0).cloned().collect();
        let new = Seen { server: endpoint.to_string(), mechanisms };
        let mut seen = lock(&self.seen);
        if seen.get(delegate) != Some(&new) {
            tracing::info!(delegate, server = %new.server, mechanisms = %new.mechanisms.join(" "),
                "mechanisms that the delegate offers");
            seen.insert(delegate.to_owned(), new);
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Takes up what an earlier run saw.
    pub(crate) async fn restore(&self) -> Result<(), StoreFault> {
        let kept = self.store.value(KEY).await?;
        // A text that is not ours tells nothing: the lists are seen again at the next login.
        let kept = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        *lock(&self.seen) = kept;
        self.version.fetch_add(1, Ordering::AcqRel);
        self.saved.store(self.version(), Ordering::Release);
        Ok(())
    }

    /// Writes what changed.
    pub(crate) async fn save(&self) {
        let version = self.version();
        if self.saved.load(Ordering::Acquire) == version {
            return;
        }
        let Ok(text) = serde_json::to_string(&*lock(&self.seen)) else { return };
        match self.store.put_value(KEY, text).await {
            Ok(()) => self.saved.store(version, Ordering::Release),
            Err(fault) => tracing::warn!(blame = "us", %fault,
                "the mechanisms of the delegates cannot be stored; tried again shortly"),
        }
    }
}

fn list<'a>(seen: &'a BTreeMap<String, Seen>, delegate: &Delegate) -> Option<&'a [String]> {
    let found = seen.get(&delegate.name)?;
    delegate.auth.iter().any(|endpoint| endpoint.to_string() == found.server).then_some(&found.mechanisms)
}
