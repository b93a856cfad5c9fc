//! Sessions of clients that run now: a row each from begin to end, bounded by `limits.sessions`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_core::Timestamp;

use crate::delegate::lock;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningSession {
    /// Its id, the one in log, trace and history.
    pub session: String,
    /// The client, or the front end that spoke for it first.
    pub client: Option<IpAddr>,
    /// The listener that took it.
    pub listener: String,
    /// Since when.
    pub since: Timestamp,
}

/// All of them.
#[derive(Clone, Default)]
pub struct Running {
    rows: Arc<Mutex<HashMap<u64, RunningSession>>>,
}

/// A session's row; it goes when this is dropped.
pub(crate) struct Row {
    running: Running,
    key: u64,
}

impl Running {
    /// A session begins.
    pub(crate) fn begin(&self, row: RunningSession) -> Row {
        let key = u64::from_str_radix(&row.session, 16).unwrap_or_else(|_| rand::random());
        lock(&self.rows).insert(key, row);
        Row { running: self.clone(), key }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.rows).len()
    }

    /// Those whose client, id or listener contains `text`, the oldest first, at most `limit`.
    pub fn list(&self, text: &str, limit: usize) -> Vec<RunningSession> {
        let fits = |row: &&RunningSession| {
            text.is_empty()
                || row.client.is_some_and(|client| client.to_string().contains(text))
                || row.session.contains(text)
                || row.listener.contains(text)
        };
        let mut found: Vec<RunningSession> = lock(&self.rows).values().filter(fits).cloned().collect();
        found.sort_unstable_by(|a, b| (a.since, &a.session).cmp(&(b.since, &b.session)));
        found.truncate(limit);
        found
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        lock(&self.running.rows).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_listed_until_it_ends() {
        let running = Running::default();
        let row = |session: &str, at, client: &str| RunningSession {
            session: session.to_owned(),
            client: client.parse().ok(),
            listener: "mx".to_owned(),
            since: Timestamp(at),
        };
        let first = running.begin(row("0000000000aa", 2, "192.0.2.1"));
        let _second = running.begin(row("0000000000bb", 1, "198.51.100.9"));
        assert_eq!(running.list("", 10).first().map(|row| row.session.as_str()), Some("0000000000bb"));
        assert_eq!(running.list("192.0", 10).len(), 1);
        assert_eq!(running.list("", 1).len(), 1);
        drop(first);
        assert_eq!(running.count(), 1);
    }
}
