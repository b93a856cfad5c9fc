//! The SQL of small records: administrators, their sessions, versions of the settings, the audit log.
//!
//! Never looks into a record's text: what it means is its owner's business. Proof: the conformance suite.

use rusqlite::{Connection, params};

/// Adds or replaces.
pub fn put(connection: &Connection, kind: &str, key: &str, text: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO record (kind, key, text) VALUES (?1, ?2, ?3)")?
        .execute(params![kind, key, text])?;
    Ok(())
}

/// Removes.
pub fn remove(connection: &Connection, kind: &str, key: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM record WHERE kind = ?1 AND key = ?2")?.execute([kind, key])?;
    Ok(())
}

/// Keeps the highest keys.
pub fn prune(connection: &Connection, kind: &str, keep: usize) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM record WHERE kind = ?1
             AND key <= (SELECT key FROM record WHERE kind = ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![kind, i64::try_from(keep).unwrap_or(i64::MAX)])?;
    Ok(())
}

/// The highest keys first; 0: all.
pub fn load(connection: &Connection, kind: &str, newest: usize) -> rusqlite::Result<Vec<(String, String)>> {
    let limit = if newest == 0 { -1 } else { i64::try_from(newest).unwrap_or(i64::MAX) };
    let mut statement = connection
        .prepare_cached("SELECT key, text FROM record WHERE kind = ?1 ORDER BY key DESC LIMIT ?2")?;
    statement.query_map(params![kind, limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
