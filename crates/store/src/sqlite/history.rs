//! The history's writer: events and verdicts queue in memory, a thread writes them together. Losable, so it never makes
//! mail wait: when the disk cannot follow, the oldest events are dropped and counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::oneshot;
use vouchsafe_core::ports::HistoryEvent;

use super::search;
use super::verdicts::{self, Change};

/// Events that wait at most: about 2 MB.
const WAITING: usize = 8_192;
/// Events that end the wait for more.
const ENOUGH: usize = 512;
/// How long an event may wait for company.
const LINGER: Duration = Duration::from_millis(250);
/// Events older than this, seen from the newest, leave: 30 days.
const KEEP_MICROSECONDS: i64 = 30 * 24 * 3600 * 1_000_000;
/// Events that leave at once: a round of housekeeping comes every ten seconds.
const PRUNED: i64 = 20_000;
/// Events kept at most.
const KEEP_EVENTS: i64 = 2_000_000;

/// Events on their way.
#[derive(Default)]
pub struct Inbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<HistoryEvent>,
    /// Of kept verdicts: a few large ones, each from a round of housekeeping.
    changes: Vec<Change>,
    dropped: u64,
    /// Told when everything that came before is written.
    barriers: Vec<oneshot::Sender<()>>,
    prune: bool,
    stop: bool,
}

impl Inbox {
    /// Takes an event; never blocks on the disk.
    pub fn push(&self, event: HistoryEvent) {
        let mut queue = self.lock();
        if queue.events.len() >= WAITING {
            queue.events.pop_front();
            queue.dropped += 1;
        }
        queue.events.push_back(event);
        let waiting = queue.events.len();
        drop(queue);
        // The first one starts the wait, the 512th ends it; those between need not wake anybody.
        if waiting == 1 || waiting == ENOUGH {
            self.changed.notify_one();
        }
    }

    /// Takes a change of the kept verdicts; never blocks on the disk.
    pub fn change(&self, change: Change) {
        self.lock().changes.push(change);
        self.changed.notify_one();
    }

    /// Resolves when everything pushed before is written (or dropped).
    pub fn barrier(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.lock().barriers.push(sender);
        self.changed.notify_one();
        receiver
    }

    /// Old events leave soon.
    pub fn prune(&self) {
        self.lock().prune = true;
        self.changed.notify_one();
    }

    /// The thread writes what waits and ends.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_one();
    }

    /// The thread.
    pub fn run(&self, connection: &mut Connection) {
        loop {
            let Queue { events, changes, barriers, prune, stop, .. } = self.take();
            if let Err(error) = write(connection, &events, &changes) {
                tracing::warn!(%error, events = events.len(), changes = changes.len(),
                    "events and verdicts are lost: the history cannot be written");
            }
            for barrier in barriers {
                let _ = barrier.send(());
            }
            if prune && let Err(error) = delete_old(connection) {
                tracing::warn!(%error, "the history cannot be pruned");
            }
            if stop {
                return;
            }
        }
    }

    fn take(&self) -> Queue {
        let mut queue = self.lock();
        while queue.events.is_empty() && queue.changes.is_empty() && !queue.is_urgent() {
            queue = self.changed.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        if queue.events.len() < ENOUGH && !queue.is_urgent() {
            let wait = self
                .changed
                .wait_timeout_while(queue, LINGER, |queue| queue.events.len() < ENOUGH && !queue.is_urgent());
            queue = wait.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        if queue.dropped > 0 {
            tracing::warn!(
                events = queue.dropped,
                "events are lost: they came faster than the disk takes them"
            );
            queue.dropped = 0;
        }
        let taken = std::mem::take(&mut *queue);
        queue.stop = taken.stop;
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Queue {
    fn is_urgent(&self) -> bool {
        self.stop || self.prune || !self.barriers.is_empty()
    }
}

fn write(
    connection: &mut Connection,
    events: &VecDeque<HistoryEvent>,
    changes: &[Change],
) -> rusqlite::Result<()> {
    if events.is_empty() && changes.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO event (at, session, message, kind, sender, recipient, blame, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let mut text = transaction.prepare_cached("INSERT INTO event_text (rowid, text) VALUES (?1, ?2)")?;
        for event in events {
            let HistoryEvent { at, session, message, kind, sender, recipient, blame, detail } = event;
            let message = message.map(|id| id.to_string());
            statement.execute(params![at.0, session, message, kind, sender, recipient, blame, detail])?;
            let words = search::text_of(kind, session, sender, recipient);
            text.execute(params![transaction.last_insert_rowid(), words])?;
        }
    }
    verdicts::apply(&transaction, changes)?;
    transaction.commit()
}

/// Age is counted from the newest event: the store has no clock.
fn delete_old(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let first: Option<i64> = transaction.query_row(
        "SELECT max(
            (SELECT max(id) FROM event) - ?1,
            (SELECT min(id) FROM event WHERE at >= (SELECT at FROM event ORDER BY id DESC LIMIT 1) - ?2))",
        [KEEP_EVENTS, KEEP_MICROSECONDS],
        |row| row.get(0),
    )?;
    if let Some(first) = first {
        // Each text leaves with its event: what is deleted there must have been there.
        let old = "SELECT id FROM event WHERE id < ?1 ORDER BY id LIMIT ?2";
        let old: Vec<i64> = transaction
            .prepare_cached(old)?
            .query_map([first, PRUNED], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in old {
            transaction.prepare_cached("DELETE FROM event_text WHERE rowid = ?1")?.execute([id])?;
            transaction.prepare_cached("DELETE FROM event WHERE id = ?1")?.execute([id])?;
        }
    }
    transaction.commit()?;
    connection.execute_batch("PRAGMA incremental_vacuum(1024); PRAGMA wal_checkpoint(PASSIVE)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema;
    use vouchsafe_core::Timestamp;

    fn event(at: i64) -> HistoryEvent {
        HistoryEvent {
            at: Timestamp(at),
            session: String::new(),
            message: None,
            kind: "login".to_owned(),
            sender: String::new(),
            recipient: String::new(),
            blame: String::new(),
            detail: String::new(),
        }
    }

    fn times(connection: &Connection) -> Vec<i64> {
        let mut statement = connection.prepare("SELECT at FROM event ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn events_leave_after_thirty_days() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = schema::open(&dir.path().join("history.db"), "NORMAL", schema::HISTORY).unwrap();
        delete_old(&mut connection).unwrap();
        let newest = 2 * KEEP_MICROSECONDS;
        let old = [1, newest - KEEP_MICROSECONDS - 1, newest - KEEP_MICROSECONDS, newest];
        write(&mut connection, &old.into_iter().map(event).collect(), &[]).unwrap();
        delete_old(&mut connection).unwrap();
        assert_eq!(times(&connection), old[2..]);
    }

    #[test]
    fn the_oldest_events_are_dropped_when_the_disk_cannot_follow() {
        let inbox = Inbox::default();
        for at in 0..10 + WAITING as i64 {
            inbox.push(event(at));
        }
        inbox.stop();
        let dir = tempfile::tempdir().unwrap();
        let mut connection = schema::open(&dir.path().join("history.db"), "NORMAL", schema::HISTORY).unwrap();
        inbox.run(&mut connection);
        let written = times(&connection);
        assert_eq!((written.len(), written[0]), (WAITING, 10));
    }
}
