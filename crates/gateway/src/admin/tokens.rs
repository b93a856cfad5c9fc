//! Tokens of programs that use the API: 256 bits of chance, shown once, kept as a digest; a role, and an end if wanted.
//!
//! A right token always passes; wrong ones wait longer and longer by network. So an old token in one program's settings
//! cannot lock out its neighbours, and 256 bits need no lock besides. Proof: the tests below, `crates/vouchsafe/tests/api.rs`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{SettingsStore, StoreFault};
use vouchsafe_smtp::Tick;

use super::{Admins, Caller, Role, check_name, digest, hex, random_token, throttle};
use crate::delegate::lock;

const KIND: &str = "token";
/// Tokens at most.
const MOST: usize = 200;
/// Days a token may live, if its end is set.
const DAYS: std::ops::RangeInclusive<u32> = 1..=3650;
/// How old the stored time of the last use may become.
const STALE: Duration = Duration::from_secs(3600);
/// What tokens begin with, so that whoever finds one in a file knows what it opens.
const PREFIX: &str = "vouchsafe_";

/// A token without what opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRow {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
    /// Good until then; `None`: until it is removed.
    pub expires: Option<Timestamp>,
    /// Last used, at most an hour off.
    pub used: Option<Timestamp>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    row: TokenRow,
    digest: String,
}

/// All tokens, by digest.
pub struct Tokens {
    store: Arc<dyn SettingsStore>,
    known: Mutex<HashMap<String, TokenRow>>,
    loaded: OnceCell<()>,
}

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such token, or its time is over.
    Wrong,
    /// Too many wrong ones from this network.
    Wait(Duration),
    /// Nobody can tell now.
    Unavailable(StoreFault),
}

impl Tokens {
    /// Over the given store.
    pub fn new(store: Arc<dyn SettingsStore>) -> Tokens {
        Tokens { store, known: Mutex::default(), loaded: OnceCell::new() }
    }

    /// All, by name.
    pub async fn list(&self) -> Result<Vec<TokenRow>, StoreFault> {
        self.load().await?;
        let mut all: Vec<TokenRow> = lock(&self.known).values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Makes one; what it returns is kept nowhere.
    pub async fn add(
        &self,
        name: &str,
        role: Role,
        days: Option<u32>,
        now: Timestamp,
    ) -> Result<String, String> {
        check_name(name)?;
        if days.is_some_and(|days| !DAYS.contains(&days)) {
            return Err(format!("a token lives {} to {} days; or give none", DAYS.start(), DAYS.end()));
        }
        let all = self.list().await.map_err(|fault| fault.to_string())?;
        if all.iter().any(|row| row.name == name) {
            return Err(format!("token {name} is there; choose another name, or remove it first"));
        }
        if all.len() >= MOST {
            return Err(format!("there are {MOST} tokens; remove one that is not used"));
        }
        let token = format!("{PREFIX}{}", random_token());
        let expires = days.map(|days| now + Duration::from_secs(u64::from(days) * 24 * 3600));
        let row = TokenRow { name: name.to_owned(), role, created: now, expires, used: None };
        self.keep(hex(&digest(&token)), row).await.map_err(|fault| fault.to_string())?;
        Ok(token)
    }

    /// Removes one.
    pub async fn remove(&self, name: &str) -> Result<(), String> {
        if !self.list().await.map_err(|fault| fault.to_string())?.iter().any(|row| row.name == name) {
            return Err(format!("no token {name}; `vouchsafe admin token list` shows them"));
        }
        let removed = self.store.remove_record(KIND, name.to_owned()).await;
        removed.map_err(|fault| fault.to_string())?;
        lock(&self.known).retain(|_, row| row.name != name);
        Ok(())
    }

    /// Who a token speaks for, if it is good at `now`; counts as used.
    async fn find(&self, token: &str, now: Timestamp) -> Result<Option<Caller>, StoreFault> {
        self.load().await?;
        let digest = hex(&digest(token));
        let Some(row) = lock(&self.known).get(&digest).cloned() else { return Ok(None) };
        if row.expires.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        // No account's name has a blank in it.
        let caller = Caller { name: format!("token {}", row.name), role: row.role };
        if row.used.is_none_or(|used| now.since(used) > STALE) {
            self.keep(digest, TokenRow { used: Some(now), ..row }).await?;
        }
        Ok(Some(caller))
    }

    async fn load(&self) -> Result<(), StoreFault> {
        let loading = self.loaded.get_or_try_init(|| async {
            let records = self.store.records(KIND, 0).await?;
            let read = records.iter().filter_map(|(_, text)| serde_json::from_str::<Record>(text).ok());
            lock(&self.known).extend(read.map(|record| (record.digest, record.row)));
            Ok(())
        });
        loading.await.copied()
    }

    async fn keep(&self, digest: String, row: TokenRow) -> Result<(), StoreFault> {
        let record = Record { row, digest };
        let text = serde_json::to_string(&record).map_err(|fault| StoreFault::Broken(fault.to_string()))?;
        self.store.put_record(KIND, record.row.name.clone(), text).await?;
        lock(&self.known).insert(record.digest, record.row);
        Ok(())
    }
}

impl Admins {
    /// Who a request's token speaks for.
    pub async fn by_token(
        &self,
        token: &str,
        client: Option<IpAddr>,
        (now, tick): (Timestamp, Tick),
    ) -> Result<Caller, Refusal> {
        if let Some(caller) = self.tokens.find(token, now).await.map_err(Refusal::Unavailable)? {
            return Ok(caller);
        }
        let key = format!("token {}", throttle::network(client));
        let mut throttle = lock(&self.throttle);
        let wait = throttle.wait(&key, tick);
        if !wait.is_zero() {
            return Err(Refusal::Wait(wait));
        }
        throttle.wrong(&key, tick);
        tracing::warn!(blame = "client", client = ?client, "wrong or expired API token");
        Err(Refusal::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_store::memory::MemoryStore;

    const DAY: i64 = 24 * 3600 * 1_000_000;

    #[tokio::test]
    async fn a_token_is_kept_as_a_digest_and_outlives_a_restart_but_not_its_end() {
        let store = MemoryStore::new();
        let tokens = Tokens::new(store.clone());
        let token = tokens.add("grafana", Role::ReadOnly, Some(2), Timestamp(0)).await.unwrap();
        let random = token.strip_prefix(PREFIX).unwrap().to_owned();
        let kept = store.records(KIND, 0).await.unwrap();
        assert!(random.len() == 64 && !format!("{kept:?}").contains(&random));
        let again = Tokens::new(store);
        let caller = again.find(&token, Timestamp(DAY)).await.unwrap().unwrap();
        assert_eq!(caller, Caller { name: "token grafana".to_owned(), role: Role::ReadOnly });
        assert_eq!(again.list().await.unwrap()[0].used, Some(Timestamp(DAY)));
        assert_eq!(again.find(&token, Timestamp(2 * DAY)).await.unwrap(), None);
        assert_eq!(again.find("guess", Timestamp(DAY)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_removed_token_opens_nothing_and_names_are_unique() {
        let tokens = Tokens::new(MemoryStore::new());
        let token = tokens.add("a", Role::Admin, None, Timestamp(0)).await.unwrap();
        assert!(tokens.add("a", Role::Admin, None, Timestamp(0)).await.is_err());
        assert!(tokens.add("b c", Role::Admin, None, Timestamp(0)).await.is_err());
        assert!(tokens.add("d", Role::Admin, Some(0), Timestamp(0)).await.is_err());
        tokens.remove("a").await.unwrap();
        assert!(tokens.remove("a").await.is_err());
        assert_eq!(tokens.find(&token, Timestamp(1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn wrong_tokens_wait_while_right_ones_pass() {
        let admins = Admins::new(MemoryStore::new());
        let token = admins.tokens().add("a", Role::Operator, None, Timestamp(0)).await.unwrap();
        let clocks = (Timestamp(0), Tick(1_000_000));
        for _ in 0..5 {
            assert_eq!(admins.by_token("guess", None, clocks).await, Err(Refusal::Wrong));
        }
        assert!(matches!(admins.by_token("guess", None, clocks).await, Err(Refusal::Wait(_))));
        assert!(admins.by_token(&token, None, clocks).await.is_ok());
    }
}
