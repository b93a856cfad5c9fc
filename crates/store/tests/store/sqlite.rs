//! What only the store on disk can do: restart, lock, notice damage, give space back, lose trust in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vouchsafe_core::ports::{
    Body, MailStore, QueueAction, QueueFilter, QueueStats, SettingsStore, StoreFault,
};
use vouchsafe_core::{MessageId, RecipientState};
use vouchsafe_store::disk::{Loss, RealDisk, SimDisk};
use vouchsafe_store::sqlite::{Lock, OpenFault, SqliteStore};

use crate::given::*;

async fn queued(store: &SqliteStore) -> Vec<MessageId> {
    let mut ids: Vec<_> =
        store.list(QueueFilter::default()).await.unwrap().iter().map(|row| row.message).collect();
    ids.dedup();
    ids
}

fn inside(disk: &SimDisk, folder: &Path) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|path| path.parent() == Some(folder)).collect()
}

#[test]
fn everything_is_there_after_a_restart_and_claims_are_void() {
    run(async {
        let dir = scratch();
        let large = octets(id(2), 300_000);
        let store = open(dir.path(), Arc::new(RealDisk));
        store.accept(small(1, &["a@one.example", "b@far.test"])).await.unwrap();
        let spooled = spool(&*store, &large).await.unwrap();
        store.accept(accepted(id(2), &["a@two.example"], Body::Spooled(spooled))).await.unwrap();
        let claimed = store.claim(NOW, 10, Vec::new()).await.unwrap();
        assert_eq!(claimed.len(), 3);
        let held = claimed.iter().find(|delivery| delivery.message.id == id(2)).unwrap();
        store.settle(settlement(held, RecipientState::Held, NOW)).await.unwrap();
        store.put_value("token", "t".to_owned()).await.unwrap();
        let before = (store.stats().await.unwrap(), store.list(QueueFilter::default()).await.unwrap());
        drop(store);

        let store = open(dir.path(), Arc::new(RealDisk));
        assert_eq!((store.stats().await.unwrap(), store.list(QueueFilter::default()).await.unwrap()), before);
        assert_eq!(store.value("token").await.unwrap().unwrap(), "t");
        let again = store.claim(NOW, 10, Vec::new()).await.unwrap();
        assert_eq!(again.len(), 2);
        for delivery in &again {
            assert!(claimed.contains(delivery));
        }
        assert_eq!(content(&*store, id(1)).await.unwrap(), whole(&octets(id(1), 5_000)));
        assert_eq!(content(&*store, id(2)).await.unwrap(), whole(&large));
    });
}

#[test]
fn the_data_directory_is_private_and_has_one_owner() {
    use std::os::unix::fs::PermissionsExt;
    let dir = scratch();
    let data = dir.path().join("data");
    let store = open(&data, Arc::new(RealDisk));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&data), mode(&data.join("segments")), mode(&data.join("bodies"))),
        (0o700, 0o700, 0o700)
    );
    let Err(refusal) = SqliteStore::open(&data, Arc::new(RealDisk), OPTIONS) else { panic!("two owners") };
    assert_eq!(refusal, OpenFault::Locked(data.clone()));
    assert!(refusal.to_string().contains("in use"), "{refusal}");
    assert!(matches!(Lock::take(&data), Err(OpenFault::Locked(_))));
    drop(store);
    drop(Lock::take(&data).unwrap());
    open(&data, Arc::new(RealDisk));
}

#[test]
fn a_rotten_record_is_corrupt_before_its_first_octet() {
    run(async {
        let dir = scratch();
        let disk = SimDisk::new();
        let store = open(dir.path(), Arc::new(disk.clone()));
        store.accept(small(1, &["a@one.example"])).await.unwrap();
        store.accept(small(2, &["a@one.example"])).await.unwrap();
        disk.rot(&inside(&disk, &dir.path().join("segments"))[0], 3_000);
        assert!(matches!(store.open_body(id(1)).await, Err(StoreFault::Corrupt(_))));
        assert_eq!(content(&*store, id(2)).await.unwrap(), whole(&octets(id(2), 5_000)));
        // It is not swept away by housekeeping either: the administrator decides.
        store.maintain(1 << 20).await.unwrap();
        assert_eq!(queued(&store).await, [id(1), id(2)]);
    });
}

#[test]
fn the_end_of_a_rotten_file_is_never_given_out() {
    run(async {
        let dir = scratch();
        let disk = SimDisk::new();
        let store = open(dir.path(), Arc::new(disk.clone()));
        let spooled = spool(&*store, &octets(id(1), 600_000)).await.unwrap();
        store.accept(accepted(id(1), &["a@one.example"], Body::Spooled(spooled))).await.unwrap();
        disk.rot(&inside(&disk, &dir.path().join("bodies"))[0], 10);
        let mut reader = store.open_body(id(1)).await.unwrap();
        let mut given = 0;
        let fault = loop {
            match reader.next().await {
                Ok(Some(chunk)) => given += chunk.len(),
                Ok(None) => panic!("the end was given out"),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(fault, StoreFault::Corrupt(_)));
        assert!(given < 600_000);
    });
}

#[test]
fn a_torn_tail_is_cut_and_the_rest_is_kept() {
    run(async {
        let dir = scratch();
        for seed in 0..20 {
            let disk = SimDisk::new();
            let data = dir.path().join(seed.to_string());
            let store = open(&data, Arc::new(disk.clone()));
            store.accept(small(1, &["a@one.example"])).await.unwrap();
            // write, sync: the process dies at the sync.
            disk.trouble_at(2, vouchsafe_store::disk::Trouble::Crash);
            assert!(store.accept(small(2, &["a@one.example"])).await.is_err());
            drop(store);
            disk.crash(Loss::Torn(seed));
            let store = open(&data, Arc::new(disk.clone()));
            assert_eq!(queued(&store).await, [id(1)]);
            store.accept(small(3, &["a@one.example"])).await.unwrap();
            for number in [1, 3] {
                assert_eq!(content(&*store, id(number)).await.unwrap(), whole(&octets(id(number), 5_000)));
            }
        }
    });
}

#[test]
fn a_segment_whose_sync_failed_is_never_written_again() {
    run(async {
        let dir = scratch();
        let disk = SimDisk::new();
        let folder = dir.path().join("segments");
        let store = open(dir.path(), Arc::new(disk.clone()));
        store.accept(small(1, &["a@one.example"])).await.unwrap();
        let first = inside(&disk, &folder);
        disk.break_syncs(true);
        assert!(matches!(store.accept(small(2, &["a@one.example"])).await, Err(StoreFault::Broken(_))));
        disk.break_syncs(false);
        store.accept(small(3, &["a@one.example"])).await.unwrap();
        assert_eq!(inside(&disk, &folder).len(), 2, "a new segment");
        assert!(inside(&disk, &folder).starts_with(&first));
        drop(store);
        disk.crash(Loss::All);
        let store = open(dir.path(), Arc::new(disk));
        assert_eq!(queued(&store).await, [id(1), id(3)]);
        for number in [1, 3] {
            assert_eq!(content(&*store, id(number)).await.unwrap(), whole(&octets(id(number), 5_000)));
        }
    });
}

#[test]
fn a_body_whose_sync_failed_is_refused_and_removed() {
    run(async {
        let dir = scratch();
        let disk = SimDisk::new();
        let store = open(dir.path(), Arc::new(disk.clone()));
        disk.break_syncs(true);
        assert!(matches!(spool(&*store, &octets(id(1), 300_000)).await, Err(StoreFault::Broken(_))));
        assert!(inside(&disk, &dir.path().join("bodies")).is_empty());
    });
}

#[test]
fn what_nobody_needs_leaves_the_disk() {
    run(async {
        let dir = scratch();
        let disk = SimDisk::new();
        let (segments, bodies) = (dir.path().join("segments"), dir.path().join("bodies"));
        let store =
            SqliteStore::open_with_segments(dir.path(), Arc::new(disk.clone()), OPTIONS, 32 * 1024).unwrap();
        for number in 1..=14 {
            store.accept(small(number, &["a@one.example"])).await.unwrap();
        }
        let spooled = spool(&*store, &octets(id(20), 300_000)).await.unwrap();
        store.accept(accepted(id(20), &["a@one.example"], Body::Spooled(spooled))).await.unwrap();
        let never_accepted = spool(&*store, &octets(id(21), 300_000)).await.unwrap();
        assert_eq!((inside(&disk, &segments).len(), inside(&disk, &bodies).len()), (3, 2));
        let first = QueueFilter { message: Some(id(1)), ..QueueFilter::default() };
        for number in (2..=6).chain([20]) {
            let filter = QueueFilter { message: Some(id(number)), ..first.clone() };
            assert_eq!(store.act(filter, QueueAction::Delete, NOW).await.unwrap(), 1);
        }
        store.maintain(1 << 20).await.unwrap();
        // One of the first segment's messages lives on, elsewhere.
        assert_eq!(inside(&disk, &segments).len(), 2);
        assert_eq!(inside(&disk, &bodies), [bodies.join(&never_accepted.name)]);
        assert_eq!(content(&*store, id(1)).await.unwrap(), whole(&octets(id(1), 5_000)));
        drop(store);
        let store =
            SqliteStore::open_with_segments(dir.path(), Arc::new(disk.clone()), OPTIONS, 32 * 1024).unwrap();
        assert!(inside(&disk, &bodies).is_empty(), "an orphan is removed at the start");
        assert_eq!(store.act(QueueFilter::default(), QueueAction::Delete, NOW).await.unwrap(), 9);
        store.maintain(1 << 20).await.unwrap();
        assert!(inside(&disk, &segments).is_empty());
        assert_eq!(store.stats().await.unwrap(), QueueStats::default());
    });
}

#[test]
fn a_later_schema_is_refused_in_words() {
    let dir = scratch();
    drop(open(dir.path(), Arc::new(RealDisk)));
    let connection = rusqlite::Connection::open(dir.path().join("queue.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let Err(refusal) = SqliteStore::open(dir.path(), Arc::new(RealDisk), OPTIONS) else { panic!("taken") };
    assert!(refusal.to_string().contains("schema version 99"), "{refusal}");
}

#[test]
fn a_row_that_cannot_be_read_does_not_stop_the_queue() {
    run(async {
        let dir = scratch();
        let store = open(dir.path(), Arc::new(RealDisk));
        for number in 1..=3 {
            store.accept(small(number, &["a@one.example"])).await.unwrap();
        }
        drop(store);
        let connection = rusqlite::Connection::open(dir.path().join("queue.db")).unwrap();
        connection.execute("UPDATE delivery SET recipients = '[{' WHERE id = 2", []).unwrap();
        drop(connection);
        let store = open(dir.path(), Arc::new(RealDisk));
        let claimed = store.claim(NOW, 10, Vec::new()).await.unwrap();
        let ids: Vec<_> = claimed.iter().map(|delivery| delivery.message.id).collect();
        assert_eq!(ids, [id(1), id(3)]);
        assert_eq!(queued(&store).await, [id(1), id(3)]);
        for delivery in &claimed {
            store.settle(settlement(delivery, RecipientState::Delivered, NOW)).await.unwrap();
        }
        assert_eq!(store.stats().await.unwrap().messages, 1);
    });
}
