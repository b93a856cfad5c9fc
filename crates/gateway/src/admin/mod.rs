//! Administrators: who may use the page and the API, as what, and what they did.
//!
//! Never shows a hash, a secret or a token again; whoever is asked about a name that does not exist answers as late as
//! for one that does. Proof: `crates/vouchsafe/tests/web.rs`.

pub mod accounts;
pub mod audit;
pub mod control;
pub mod rights;
pub mod sessions;
pub mod throttle;
pub mod tokens;
pub mod totp;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use vouchsafe_core::ports::{SettingsStore, StoreFault};
use vouchsafe_smtp::Tick;

use crate::delegate::lock;
use crate::passwords::Passwords;

/// What somebody may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    ReadOnly,
    /// Look, and act on queue, verdicts, bans and local users.
    Operator,
    /// Everything: settings, tests, administrators.
    Admin,
}

impl Role {
    /// All, the smallest first.
    pub const ALL: [Role; 3] = [Role::ReadOnly, Role::Operator, Role::Admin];

    /// Its word: on the command line, in records, in forms.
    pub fn word(self) -> &'static str {
        match self {
            Role::ReadOnly => "read_only",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// As people read it.
    pub fn label(self) -> &'static str {
        match self {
            Role::ReadOnly => "read-only",
            role => role.word(),
        }
    }

    /// The role of a word or a label.
    pub fn of_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word || role.label() == word)
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Account or token, `command line` for the socket.
    pub name: String,
    /// As what.
    pub role: Role,
}

impl Caller {
    /// Whoever may open the control socket may everything: it is the machine's own user.
    pub fn command_line() -> Caller {
        Caller { name: "command line".to_owned(), role: Role::Admin }
    }
}

/// The administrators of a gateway.
pub struct Admins {
    store: Arc<dyn SettingsStore>,
    passwords: Passwords,
    sessions: sessions::Sessions,
    tokens: tokens::Tokens,
    throttle: Mutex<throttle::Throttle>,
    /// The digest of the one-time password, while there is no account.
    first: Mutex<Option<[u8; 32]>>,
    tests: Mutex<VecDeque<Tick>>,
}

/// Tests that pages and API may start in a minute: each reaches another server.
const TESTS: usize = 10;

impl Admins {
    /// Over the given store.
    pub fn new(store: Arc<dyn SettingsStore>) -> Admins {
        Admins {
            sessions: sessions::Sessions::new(Arc::clone(&store)),
            tokens: tokens::Tokens::new(Arc::clone(&store)),
            store,
            passwords: Passwords::default(),
            throttle: Mutex::default(),
            first: Mutex::default(),
            tests: Mutex::default(),
        }
    }

    /// Their sessions.
    pub fn sessions(&self) -> &sessions::Sessions {
        &self.sessions
    }

    /// Tokens of programs.
    pub fn tokens(&self) -> &tokens::Tokens {
        &self.tokens
    }

    /// Takes one of the tests of this minute; false: they are used up.
    pub fn may_test(&self, now: Tick) -> bool {
        let mut tests = lock(&self.tests);
        while tests.front().is_some_and(|first| now.0.saturating_sub(first.0) > 60_000_000) {
            tests.pop_front();
        }
        if tests.len() >= TESTS {
            return false;
        }
        tests.push_back(now);
        true
    }

    async fn load<T: DeserializeOwned>(&self, kind: &'static str) -> Result<Vec<(String, T)>, StoreFault> {
        let records = self.store.records(kind, 0).await?;
        let read = |(key, text): (String, String)| match serde_json::from_str(&text) {
            Ok(record) => Ok((key, record)),
            Err(fault) => Err(StoreFault::Corrupt(format!("{kind} {key}: {fault}"))),
        };
        records.into_iter().map(read).collect()
    }

    async fn save(&self, kind: &'static str, key: &str, record: &impl Serialize) -> Result<(), StoreFault> {
        let text = serde_json::to_string(record).map_err(|fault| StoreFault::Broken(fault.to_string()))?;
        self.store.put_record(kind, key.to_owned(), text).await
    }
}

/// A name for a person or a token.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 128 {
        return Err("a name has 1 to 128 letters; choose another".to_owned());
    }
    if name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("a name has no spaces; choose another".to_owned());
    }
    Ok(())
}

/// 256 bits of chance as text.
pub(crate) fn random_token() -> String {
    let octets: [u8; 32] = rand::random();
    hex(&octets)
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What is kept of a token: who reads the store cannot use it.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_contain_those_before_them() {
        assert!(Role::Admin > Role::Operator && Role::Operator > Role::ReadOnly);
        assert_eq!(Role::of_word("read-only"), Some(Role::ReadOnly));
        assert_eq!(Role::of_word("root"), None);
    }
}
