//! Objects on a real S3 server, which runs in this process and keeps them in a folder: parts, crashes, refusals.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vouchsafe_core::attachments::{BlobRef, BlobStore, UploadLog};
use vouchsafe_core::ports::StoreFault;
use vouchsafe_smtp::Secret;
use vouchsafe_store::blobs::{Blobs, S3, S3Options};
use vouchsafe_store::memory::MemoryStore;
use vouchsafe_testkit::s3::{BUCKET, LOGIN, S3Server};

use crate::given::{id, octets, run};

/// The size of the first parts.
const PART: usize = 5 << 20;
const PREFIX: &str = "gateway/files";

/// A server with an empty bucket.
pub struct Server(S3Server);

impl Server {
    pub fn start() -> Server {
        Server(S3Server::start())
    }

    pub fn options(&self) -> S3Options {
        S3Options {
            prefix: PREFIX.to_owned(),
            endpoint: Some(self.0.endpoint()),
            login: Some((LOGIN.0.to_owned(), Secret::new(LOGIN.1))),
            ..S3Options::bucket(BUCKET)
        }
    }

    pub fn blobs(&self, log: Arc<dyn UploadLog>) -> Arc<Blobs> {
        Blobs::new(Arc::new(S3::new(&self.options(), log).unwrap()))
    }

    /// Uploads that the server knows. A part that was under way when its upload was aborted may stay behind for a while,
    /// at Amazon's, too.
    fn uploads(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.root()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".upload-") && name.ends_with(".json")).collect()
    }

    fn object(&self, name: &str) -> std::path::PathBuf {
        self.0.folder(PREFIX).join(name)
    }
}

async fn write(blobs: &dyn BlobStore, file: &Bytes, step: usize) -> Result<BlobRef, StoreFault> {
    let mut writer = blobs.create().await?;
    for chunk in file.chunks(step) {
        writer.write(file.slice_ref(chunk)).await?;
    }
    Ok(writer.seal().await?.reference())
}

async fn read(blobs: &dyn BlobStore, blob: &BlobRef) -> Result<Vec<u8>, StoreFault> {
    let mut reader = blobs.open(blob.clone(), 0..blob.len).await?;
    let mut octets = Vec::new();
    while let Some(chunk) = reader.next().await? {
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

#[test]
fn small_and_large_objects_come_back_whole_and_leave_no_upload() {
    run(async {
        let server = Server::start();
        let store = MemoryStore::new();
        let blobs = server.blobs(store.clone());
        for (size, step) in [
            (0, 1),
            (1, 1),
            (PART - 1, 70_001),
            (PART, 300_000),
            (PART + 1, PART),
            (2 * PART, 256 << 10),
            (2 * PART + 1, 3 * PART),
        ] {
            let file = octets(id(1), size);
            let blob = write(&*blobs, &file, step).await.unwrap();
            assert!(read(&*blobs, &blob).await.unwrap() == file, "{size} octets in steps of {step}");
            assert!(server.object(&blob.name).is_file());
        }
        assert!(store.uploads().await.unwrap().is_empty());
        assert!(server.uploads().is_empty(), "{:?}", server.uploads());
    });
}

#[test]
fn an_upload_is_in_the_log_before_its_first_part_and_aborted_when_it_was_cut_off() {
    run(async {
        let server = Server::start();
        let store = MemoryStore::new();
        let blobs = server.blobs(store.clone());
        let mut writer = blobs.create().await.unwrap();
        writer.write(octets(id(1), 2 * PART + 1)).await.unwrap();
        let uploads = store.uploads().await.unwrap();
        assert_eq!(uploads.len(), 1);
        // Its writer is at work: not touched.
        blobs.abort_cut_off().await.unwrap();
        assert_eq!(store.uploads().await.unwrap(), uploads);
        assert!(!server.uploads().is_empty());
        drop(writer);
        assert!(blobs.list(String::new(), 10).await.unwrap().is_empty());
        blobs.abort_cut_off().await.unwrap();
        assert!(store.uploads().await.unwrap().is_empty());
        assert!(server.uploads().is_empty(), "{:?}", server.uploads());
    });
}

#[test]
fn after_a_restart_the_log_is_enough() {
    run(async {
        let server = Server::start();
        let store = MemoryStore::new();
        let before = server.blobs(store.clone());
        let mut writer = before.create().await.unwrap();
        writer.write(octets(id(1), 2 * PART + 1)).await.unwrap();
        // A crash drops nothing in order.
        std::mem::forget(writer);
        let after = server.blobs(store.clone());
        after.abort_cut_off().await.unwrap();
        assert!(store.uploads().await.unwrap().is_empty() && server.uploads().is_empty());
    });
}

#[test]
fn an_object_that_was_cut_or_is_gone_is_corrupt_not_short() {
    run(async {
        let server = Server::start();
        let blobs = server.blobs(MemoryStore::new());
        let blob = write(&*blobs, &octets(id(1), 300_000), 65_536).await.unwrap();
        let path = server.object(&blob.name);
        let whole = std::fs::read(&path).unwrap();
        for kept in [299_999, 100, 0] {
            std::fs::write(&path, &whole[..kept]).unwrap();
            let fault = read(&*blobs, &blob).await.unwrap_err();
            assert!(matches!(fault, StoreFault::Corrupt(_)), "{kept} octets: {fault:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(&*blobs, &blob).await, Err(StoreFault::Corrupt(_))));
    });
}

#[test]
fn what_is_wrong_with_bucket_or_key_is_told_with_what_to_do() {
    run(async {
        let server = Server::start();
        let told = async |options: S3Options| {
            let blobs = Blobs::new(Arc::new(S3::new(&options, MemoryStore::new()).unwrap()));
            blobs.try_out().await.map_err(|fault| fault.to_string())
        };
        told(server.options()).await.unwrap();
        assert!(!server.object("vouchsafe-check").exists());
        let login = Some((LOGIN.0.to_owned(), Secret::new("not the key")));
        let wrong = told(S3Options { login, ..server.options() }).await.unwrap_err();
        assert!(wrong.contains("the key must be right") && !wrong.contains("not the key"), "{wrong}");
        let gone = told(S3Options { bucket: "other".to_owned(), ..server.options() }).await.unwrap_err();
        assert!(gone.contains("bucket other") && gone.contains("is there such a bucket"), "{gone}");
    });
}

#[test]
fn a_server_that_goes_away_is_a_fault_and_no_object() {
    run(async {
        let server = Server::start();
        let store = MemoryStore::new();
        let blobs = server.blobs(store.clone());
        let mut writer = blobs.create().await.unwrap();
        writer.write(octets(id(1), 2 * PART + 1)).await.unwrap();
        drop(server);
        assert!(matches!(writer.seal().await, Err(StoreFault::Broken(_))));
        // Tried again when the server is back.
        assert!(blobs.abort_cut_off().await.is_err());
        assert_eq!(store.uploads().await.unwrap().len(), 1);
    });
}

/// The size that `HOW_MUCH` says, in GiB, through a server in this process: for measuring, not for every day.
#[test]
#[ignore = "for measuring: HOW_MUCH=4 cargo test --release -p vouchsafe-store --test store -- --ignored giant"]
fn a_giant_needs_no_more_memory_than_its_parts() {
    run(async {
        let server = Server::start();
        let blobs = server.blobs(MemoryStore::new());
        let gib: u64 = std::env::var("HOW_MUCH").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        let chunk = octets(id(1), 256 * 1024);
        let begun = std::time::Instant::now();
        let mut writer = blobs.create().await.unwrap();
        for _ in 0..gib * 4096 {
            writer.write(chunk.clone()).await.unwrap();
        }
        let blob = writer.seal().await.unwrap();
        let written = begun.elapsed();
        let mut reader = blobs.open(blob.reference(), 0..blob.len).await.unwrap();
        while let Some(chunk) = reader.next().await.unwrap() {
            assert!(!chunk.is_empty());
        }
        let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        println!("{gib} GiB written in {written:?}, read in {:?}; {peak}", begun.elapsed() - written);
    });
}
