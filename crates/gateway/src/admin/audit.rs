//! Who changed what, when: kept in the queue's database, durable, the newest ten thousand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::StoreFault;

use super::Admins;

const KIND: &str = "audit";
/// Entries kept.
const KEEP: usize = 10_000;

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Account, token or `command line`.
    pub by: String,
    /// What, in a sentence without secrets.
    pub what: String,
    /// `done`, or why not.
    pub outcome: String,
}

impl Admins {
    /// Keeps an entry.
    pub async fn record(&self, entry: &Entry) -> Result<(), StoreFault> {
        // Two in the same microsecond are told apart by chance.
        let key = format!("{:020}-{:08x}", entry.at.0, rand::random::<u32>());
        self.save(KIND, &key, entry).await?;
        if rand::random::<u8>() == 0 {
            self.store.prune_records(KIND, KEEP).await?;
        }
        Ok(())
    }

    /// The newest entries whose words contain `text`, newest first.
    pub async fn audit(&self, text: &str, limit: usize) -> Result<Vec<Entry>, StoreFault> {
        let text = text.to_lowercase();
        let entries = self.load::<Entry>(KIND).await?.into_iter().map(|(_, entry)| entry);
        let fits = |entry: &Entry| {
            [&entry.by, &entry.what, &entry.outcome].iter().any(|part| part.to_lowercase().contains(&text))
        };
        Ok(entries.filter(fits).take(limit).collect())
    }
}
