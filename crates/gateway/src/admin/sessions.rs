//! Sessions of the page: a random id in a cookie, its digest here. Listed, ended one by one, gone after idle time.
//!
//! Kept in memory and, so that a restart logs nobody out, in the store; there the time of the last use is at most
//! a few minutes old.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{SettingsStore, StoreFault};

use super::{digest, hex, random_token};
use crate::delegate::lock;

const KIND: &str = "session";
/// Longest life, whatever the use (ASVS 7.3.2).
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How old the stored time of the last use may become.
const STALE: Duration = Duration::from_secs(300);
/// Sessions of one account; the oldest ends for a new one.
const PER_ACCOUNT: usize = 20;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// What tells it from others; not what opens it.
    pub id: String,
    /// Whose.
    pub account: String,
    /// Since when.
    pub created: Timestamp,
    /// Last used.
    pub seen: Timestamp,
    /// Client address.
    pub client: String,
    /// What the browser says it is, cut.
    pub agent: String,
}

/// All sessions.
pub struct Sessions {
    store: Arc<dyn SettingsStore>,
    open: Mutex<HashMap<String, Session>>,
    loaded: OnceCell<()>,
}

impl Sessions {
    /// Over the given store.
    pub fn new(store: Arc<dyn SettingsStore>) -> Sessions {
        Sessions { store, open: Mutex::default(), loaded: OnceCell::new() }
    }

    /// A new session; the token for its cookie.
    pub async fn begin(
        &self,
        account: &str,
        client: String,
        agent: &str,
        now: Timestamp,
    ) -> Result<String, StoreFault> {
        self.load().await?;
        let mut own: Vec<Session> = self.list().await?.into_iter().filter(|s| s.account == account).collect();
        own.sort_by_key(|session| session.seen);
        for session in own.iter().rev().skip(PER_ACCOUNT - 1) {
            self.end(&session.id).await?;
        }
        let token = random_token();
        let id = hex(&digest(&token));
        let agent = agent.chars().filter(|c| !c.is_control()).take(120).collect();
        let session = Session { id, account: account.to_owned(), created: now, seen: now, client, agent };
        self.keep(&session).await?;
        lock(&self.open).insert(session.id.clone(), session);
        Ok(token)
    }

    /// The session of a cookie's token, if it is not over; counts as used.
    pub async fn find(
        &self,
        token: &str,
        now: Timestamp,
        idle: Duration,
    ) -> Result<Option<Session>, StoreFault> {
        self.load().await?;
        let id = hex(&digest(token));
        let Some(found) = lock(&self.open).get(&id).cloned() else { return Ok(None) };
        if now.since(found.seen) > idle || now.since(found.created) > LONGEST {
            self.end(&id).await?;
            return Ok(None);
        }
        let used = Session { seen: now, ..found.clone() };
        if now.since(found.seen) > STALE || found.seen == found.created {
            self.keep(&used).await?;
        }
        if let Some(open) = lock(&self.open).get_mut(&id) {
            open.seen = now;
        }
        Ok(Some(used))
    }

    /// The session of a cookie's token, if it is not over; does not count as used.
    pub async fn look(
        &self,
        token: &str,
        now: Timestamp,
        idle: Duration,
    ) -> Result<Option<Session>, StoreFault> {
        self.load().await?;
        let found = lock(&self.open).get(&hex(&digest(token))).cloned();
        Ok(found.filter(|found| now.since(found.seen) <= idle && now.since(found.created) <= LONGEST))
    }

    /// All, the last used first.
    pub async fn list(&self) -> Result<Vec<Session>, StoreFault> {
        self.load().await?;
        let mut all: Vec<Session> = lock(&self.open).values().cloned().collect();
        all.sort_by_key(|session| std::cmp::Reverse(session.seen));
        Ok(all)
    }

    /// Ends one; false if it was over already.
    pub async fn end(&self, id: &str) -> Result<bool, StoreFault> {
        self.load().await?;
        self.store.remove_record(KIND, id.to_owned()).await?;
        Ok(lock(&self.open).remove(id).is_some())
    }

    /// Ends all of an account but the one with this id.
    pub async fn end_all(&self, account: &str, but: Option<&str>) -> Result<(), StoreFault> {
        for session in self.list().await? {
            if session.account == account && Some(session.id.as_str()) != but {
                self.end(&session.id).await?;
            }
        }
        Ok(())
    }

    async fn load(&self) -> Result<(), StoreFault> {
        let loading = self.loaded.get_or_try_init(|| async {
            let records = self.store.records(KIND, 0).await?;
            let read = records.iter().filter_map(|(_, text)| serde_json::from_str::<Session>(text).ok());
            lock(&self.open).extend(read.map(|session| (session.id.clone(), session)));
            Ok(())
        });
        loading.await.copied()
    }

    async fn keep(&self, session: &Session) -> Result<(), StoreFault> {
        let text = serde_json::to_string(session).map_err(|fault| StoreFault::Broken(fault.to_string()))?;
        self.store.put_record(KIND, session.id.clone(), text).await
    }
}
