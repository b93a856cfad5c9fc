//! Blobs: names, lengths and digests over whatever keeps the octets ([`Objects`]: files, S3, memory), encrypted if so wanted.
//!
//! A name is random and says nothing. The digest is made while the octets come in, beside their writing. What its maker
//! still holds is left out of [`BlobStore::list`], so that the collection of orphans never meets a blob on its way to
//! `accept`. Never knows what a share is. Proof: `tests/store/blobs.rs`, `tests/store/crash.rs`.

mod files;
mod memory;
mod s3;
mod sealed;

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};
use vouchsafe_core::attachments::{BlobReader, BlobRef, BlobStore, BlobWriter, Keep, SealedBlob};
use vouchsafe_core::ports::{BoxFuture, StoreFault};

pub use s3::{S3, S3Options};
pub use sealed::MasterKeys;
use sealed::Opening;

use crate::disk::Disk;
use crate::sqlite::OpenFault;

/// Chunks from this size on are digested beside their writing; for smaller ones it is not worth a thread.
const BESIDE: usize = 32 * 1024;

/// What keeps octets under names.
pub trait Objects: Send + Sync {
    /// Begins an object that does not exist.
    fn begin(&self, name: &str) -> BoxFuture<'_, Result<Box<dyn ObjectWriter>, StoreFault>>;
    /// Reads `range`, which lies within the object.
    fn read(&self, name: &str, range: Range<u64>) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>>;
    /// Removes an object; fine if it is not there.
    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Names behind `after` in an order of its own; a page may be shorter or longer than `limit`, but not empty before
    /// the end.
    fn list(&self, after: &str, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>>;
    /// See [`BlobStore::try_out`].
    fn try_out(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// See [`BlobStore::abort_cut_off`].
    fn abort_cut_off(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// An object being written. Dropped without `finish`, it leaves nothing.
pub trait ObjectWriter: Send {
    /// Appends.
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Makes it durable, name included.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreFault>>;
}

/// The blobs of one gateway.
pub struct Blobs {
    objects: Arc<dyn Objects>,
    held: Arc<Held>,
    /// With them, what is written is encrypted.
    keys: Option<MasterKeys>,
}

impl Blobs {
    /// Over objects of any kind.
    pub fn new(objects: Arc<dyn Objects>) -> Arc<Blobs> {
        Arc::new(Blobs { objects, held: Arc::default(), keys: None })
    }

    /// As files under `folder`, which is made if it is not there.
    pub fn files(disk: Arc<dyn Disk>, folder: &Path) -> Result<Arc<Blobs>, OpenFault> {
        Ok(Blobs::new(Arc::new(files::Files::open(disk, folder)?)))
    }

    /// The same, with what is written from now on encrypted. What was written before is read as it is.
    pub fn encrypted(&self, keys: MasterKeys) -> Arc<Blobs> {
        Arc::new(Blobs { objects: self.objects.clone(), held: self.held.clone(), keys: Some(keys) })
    }

    /// In memory.
    pub fn memory() -> Arc<Blobs> {
        Blobs::new(Arc::new(memory::Memory::default()))
    }
}

impl BlobStore for Blobs {
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreFault>> {
        Box::pin(async move {
            let name = uuid::Uuid::now_v7().simple().to_string();
            let hold = self.held.hold(&name);
            let object = self.objects.begin(&name).await?;
            let (object, key) = match &self.keys {
                Some(keys) => sealed::seal(keys, &name, object)?,
                None => (object, Vec::new()),
            };
            Ok(Box::new(Writer { object, hold, name, key, len: 0, digest: Digesting::default() })
                as Box<dyn BlobWriter>)
        })
    }

    fn open(
        &self,
        blob: BlobRef,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>> {
        Box::pin(async move {
            let range = range.start..range.end.min(blob.len);
            if range.is_empty() {
                return Ok(Box::new(Nothing) as Box<dyn BlobReader>);
            }
            if blob.key.is_empty() {
                return self.objects.read(&blob.name, range).await;
            }
            let opening = Opening::new(self.keys.as_ref(), &blob, range)?;
            let object = self.objects.read(&blob.name, opening.sealed_range()).await?;
            Ok(opening.reader(object))
        })
    }

    fn delete(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.objects.delete(&name).await })
    }

    fn try_out(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.objects.try_out()
    }

    fn abort_cut_off(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.objects.abort_cut_off()
    }

    fn list(&self, after: String, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        Box::pin(async move {
            let mut after = after;
            loop {
                let found = self.objects.list(&after, limit).await?;
                let Some(last) = found.last() else { return Ok(found) };
                after = last.clone();
                let held = self.held.names();
                let free: Vec<String> = found.into_iter().filter(|name| !held.contains(name)).collect();
                if !free.is_empty() {
                    return Ok(free);
                }
            }
        })
    }
}

/// Blobs whose makers hold them.
#[derive(Default)]
struct Held(Mutex<HashSet<String>>);

/// One of them; let go when dropped.
struct Hold {
    held: Arc<Held>,
    name: String,
}

impl Held {
    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn hold(self: &Arc<Held>, name: &str) -> Hold {
        self.names().insert(name.to_owned());
        Hold { held: self.clone(), name: name.to_owned() }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.names().remove(&self.name);
    }
}

struct Writer {
    object: Box<dyn ObjectWriter>,
    hold: Hold,
    name: String,
    /// See [`SealedBlob::key`].
    key: Vec<u8>,
    len: u64,
    digest: Digesting,
}

impl BlobWriter for Writer {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            self.len += chunk.len() as u64;
            self.digest.update(&chunk).await?;
            self.object.write(chunk).await
        })
    }

    fn seal(self: Box<Self>) -> BoxFuture<'static, Result<SealedBlob, StoreFault>> {
        Box::pin(async move {
            let Writer { object, hold, name, key, len, digest } = *self;
            // Promise 1: the octets are durable before a row names them.
            object.finish().await?;
            let sha256 = digest.finish().await?;
            Ok(SealedBlob { name, len, sha256, key, keep: Keep(Some(Arc::new(hold))) })
        })
    }
}

/// A digest in the making; one chunk may be on its way through it.
enum Digesting {
    Here(Sha256),
    Away(JoinHandle<Sha256>),
}

impl Default for Digesting {
    fn default() -> Digesting {
        Digesting::Here(Sha256::new())
    }
}

impl Digesting {
    async fn back(&mut self) -> Result<Sha256, StoreFault> {
        match self {
            Digesting::Here(digest) => Ok(digest.clone()),
            Digesting::Away(job) => job.await.map_err(|error| StoreFault::Broken(format!("digest: {error}"))),
        }
    }

    async fn update(&mut self, chunk: &Bytes) -> Result<(), StoreFault> {
        let mut digest = self.back().await?;
        *self = if chunk.len() < BESIDE {
            digest.update(chunk);
            Digesting::Here(digest)
        } else {
            let chunk = chunk.clone();
            Digesting::Away(spawn_blocking(move || {
                digest.update(&chunk);
                digest
            }))
        };
        Ok(())
    }

    async fn finish(mut self) -> Result<[u8; 32], StoreFault> {
        Ok(self.back().await?.finalize().into())
    }
}

struct Nothing;

impl BlobReader for Nothing {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// A blob that a row names and that is not there, or too short.
fn cut_short(name: &str) -> StoreFault {
    StoreFault::Corrupt(format!("blob {name}: it ends too early"))
}
