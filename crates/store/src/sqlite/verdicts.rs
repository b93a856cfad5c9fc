//! The SQL of kept verdicts and figures, in `history.db`, and of the guard's counters, in `queue.db`.
//!
//! Never decides what is worth keeping. Proof: the conformance suite.

use rusqlite::{Connection, Row, params};
use vouchsafe_core::Timestamp;
use vouchsafe_core::guard::Kind;
use vouchsafe_core::ports::{KeptCounter, KeptVerdict};
use vouchsafe_smtp::{Enhanced, Reply};

/// A change of what is kept beside the events.
pub enum Change {
    /// Keep, in place of what was kept.
    Save(String, Vec<KeptVerdict>),
    /// Forget these addresses.
    Remove(String, Vec<String>),
    /// Forget what is good no longer.
    Prune(Timestamp),
    /// Keep a slot of figures, and forget those before `oldest`.
    Slot {
        /// When it began.
        at: Timestamp,
        /// Its figures.
        text: String,
        /// Kept from here on.
        oldest: Timestamp,
    },
}

/// Makes changes, in their order.
pub fn apply(connection: &Connection, changes: &[Change]) -> rusqlite::Result<()> {
    for change in changes {
        match change {
            Change::Save(delegate, verdicts) => {
                let mut statement = connection.prepare_cached(
                    "INSERT OR REPLACE INTO verdict (delegate, address, code, enhanced, text, refresh, until, doubted)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?;
                for KeptVerdict { address, said, refresh, until, doubted } in verdicts {
                    let enhanced = said.enhanced.map_or_else(String::new, |enhanced| enhanced.to_string());
                    let (code, text) = (said.code, &*said.text);
                    statement.execute(params![
                        delegate, address, code, enhanced, text, refresh.0, until.0, doubted
                    ])?;
                }
            }
            Change::Remove(delegate, addresses) => {
                let mut statement =
                    connection.prepare_cached("DELETE FROM verdict WHERE delegate = ?1 AND address = ?2")?;
                for address in addresses {
                    statement.execute(params![delegate, address])?;
                }
            }
            Change::Prune(now) => {
                connection.prepare_cached("DELETE FROM verdict WHERE until <= ?1")?.execute([now.0])?;
            }
            Change::Slot { at, text, oldest } => {
                let keep = "INSERT OR REPLACE INTO slot (at, text) VALUES (?1, ?2)";
                connection.prepare_cached(keep)?.execute(params![at.0, text])?;
                connection.prepare_cached("DELETE FROM slot WHERE at < ?1")?.execute([oldest.0])?;
            }
        }
    }
    Ok(())
}

/// Everything kept for a delegate.
pub fn load(connection: &Connection, delegate: &str) -> rusqlite::Result<Vec<KeptVerdict>> {
    let mut statement = connection.prepare_cached(
        "SELECT address, code, enhanced, text, refresh, until, doubted FROM verdict WHERE delegate = ?1",
    )?;
    statement.query_map([delegate], verdict)?.collect()
}

fn verdict(row: &Row<'_>) -> rusqlite::Result<KeptVerdict> {
    let mut said = Reply::plain(row.get(1)?, row.get::<_, String>(3)?);
    let enhanced: String = row.get(2)?;
    let mut parts = enhanced.split('.');
    if let (Some(class), Some(subject), Some(detail)) = (parts.next(), parts.next(), parts.next()) {
        let parsed = class.parse().ok().zip(subject.parse().ok()).zip(detail.parse().ok());
        said.enhanced = parsed.map(|((class, subject), detail)| Enhanced(class, subject, detail));
    }
    Ok(KeptVerdict {
        address: row.get(0)?,
        said,
        refresh: Timestamp(row.get(4)?),
        until: Timestamp(row.get(5)?),
        doubted: row.get(6)?,
    })
}

/// All counters; a kind that this version does not know is left out.
pub fn counters(connection: &Connection) -> rusqlite::Result<Vec<KeptCounter>> {
    let mut statement = connection.prepare_cached("SELECT kind, digest, charged, until FROM guard")?;
    let rows = statement.query_map([], |row| {
        let kind = Kind::from_word(&row.get::<_, String>(0)?);
        let (digest, charged, until) = (row.get(1)?, row.get(2)?, Timestamp(row.get(3)?));
        Ok(kind.map(|kind| KeptCounter { kind, digest, charged, until }))
    })?;
    rows.filter_map(Result::transpose).collect()
}

/// Keeps counters in place of older ones; those with nothing charged and those cleared go.
pub fn save_counters(
    connection: &Connection,
    counters: &[KeptCounter],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO guard (kind, digest, charged, until) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for KeptCounter { kind, digest, charged, until } in counters {
        statement.execute(params![kind.word(), digest, charged, until.0])?;
    }
    connection.prepare_cached("DELETE FROM guard WHERE charged = 0 OR until <= ?1")?.execute([now.0])?;
    Ok(())
}
