//! The writer's housekeeping: dead segments removed, sparse ones copied forward, the write-ahead log kept short.
//!
//! Never changes what the queue says. Proof: `tests/store/crash.rs` (copy forward), `tests/store/sqlite.rs`.

use vouchsafe_core::MessageId;
use vouchsafe_core::ports::StoreFault;

use super::record::Record;
use super::segment::{self, Place};
use super::tables::{self, fault_of};
use super::writer::Writer;
use super::{fault_of_io, schema};

/// Octets of the write-ahead log above which housekeeping cuts it.
const MOST_LOG: u64 = 64 << 20;
/// Octets copied forward in one transaction.
const MOVE_BATCH: u64 = 4 << 20;

impl Writer {
    /// Frees what is dead, copies sparse segments forward, gives pages back.
    pub fn maintain(&mut self, budget: u64) -> Result<(), StoreFault> {
        self.segments.sweep();
        let sparse = self.segments.sparse(budget);
        let rows = tables::in_segments(&self.connection, &sparse).map_err(|error| fault_of(&error))?;
        let mut moving = Vec::new();
        let mut octets = 0;
        for (message, place) in rows {
            let file = self.segments.open_segment(place.segment);
            let content = file.and_then(|file| segment::read(&*file, place));
            let content = content.map_err(|error| fault_of_io("segment", &error))?;
            let Some(record) = content.filter(|content| content.id == message).and_then(segment::again)
            else {
                tracing::error!(%message, segment = place.segment, "a record does not match its checksum; it stays");
                continue;
            };
            octets += place.len;
            moving.push((message, place, record));
            if octets >= MOVE_BATCH {
                self.move_forward(std::mem::take(&mut moving))?;
                octets = 0;
            }
        }
        self.move_forward(moving)?;
        let tidied = self.connection.execute_batch("PRAGMA incremental_vacuum(1024)");
        tidied.map_err(|error| fault_of(&error))?;
        // The log keeps its length, so that a commit overwrites it; unless a long reader has let it grow.
        let log = std::fs::metadata(self.database.with_extension("db-wal")).map_or(0, |meta| meta.len());
        self.checkpoint(if log > MOST_LOG {
            "PRAGMA wal_checkpoint(TRUNCATE)"
        } else {
            "PRAGMA wal_checkpoint(PASSIVE)"
        });
        Ok(())
    }

    /// Copies records into the current segment, syncs, points their rows there, and removes what became empty.
    fn move_forward(&mut self, mut moving: Vec<(MessageId, Place, Record)>) -> Result<(), StoreFault> {
        if moving.is_empty() {
            return Ok(());
        }
        let mut records: Vec<&mut Record> = moving.iter_mut().map(|(_, _, record)| record).collect();
        let places = self.segments.append(&mut records).map_err(|error| fault_of_io("segment", &error))?;
        let moved = self.connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            moving
                .iter()
                .zip(&places)
                .try_for_each(|((message, _, _), to)| tables::moved(&self.connection, *message, *to))
        });
        let committed = moved.map_err(|error| fault_of(&error)).and_then(|()| self.commit());
        for place in places {
            self.segments.born(place);
        }
        if let Err(fault) = committed {
            // The rows may say either place: both segments stay until the next start.
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("ROLLBACK");
            }
            self.reconnect();
            return Err(fault);
        }
        for (_, from, _) in &moving {
            self.segments.died(from.segment, from.len);
        }
        self.segments.sweep();
        Ok(())
    }

    /// Moves the write-ahead log into the database.
    pub fn checkpoint(&mut self, pragma: &str) {
        self.uncheckpointed = 0;
        if let Err(error) = self.connection.execute_batch(pragma) {
            tracing::warn!(%error, "the write-ahead log cannot be checkpointed now");
        }
    }

    /// After a failed commit the connection is not trusted any more.
    pub fn reconnect(&mut self) {
        match schema::connect(&self.database, "FULL") {
            Ok(connection) => self.connection = connection,
            Err(error) => tracing::error!(%error, "the database cannot be opened again"),
        }
    }
}
