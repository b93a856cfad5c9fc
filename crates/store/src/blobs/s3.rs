//! Objects in a bucket of S3, or of what speaks like it: `PREFIX/NAME`, in parts while the octets come in.
//!
//! What fits one part is put whole. Otherwise the upload's id is in the log before its first part is sent, so that
//! whoever gave up, or crashed, leaves something to abort ([`Objects::abort_cut_off`]); an object is there when its parts
//! are complete, and not before. An upload that a crash cut off before its id was known has no parts and costs nothing;
//! a rule of the bucket that aborts old uploads takes it away.
//! Never decides what is deleted. Proof: `tests/store/s3.rs` and the suite of `tests/store/shares.rs`, on a real server.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload,
    RetryConfig,
};
use tokio::task::JoinSet;
use vouchsafe_core::attachments::{BlobReader, UploadLog};
use vouchsafe_core::ports::{BoxFuture, StoreFault};
use vouchsafe_smtp::Secret;
use vouchsafe_smtp::reply::printable;

use super::{ObjectWriter, Objects, cut_short};
use crate::CHUNK;

/// The least that S3 takes as a part that is not the last.
const LEAST_PART: usize = 5 << 20;
/// The most parts of an object.
const MOST_PARTS: usize = 10_000;
/// Octets that all uploads together hold in memory; past it a message is refused with `452`.
const UPLOAD_MEMORY: u64 = 256 << 20;
/// A connection is there after this long, or is tried anew.
const CONNECT: Duration = Duration::from_secs(10);
/// The server sends something within this long; how long our reader takes does not count.
const SILENCE: Duration = Duration::from_secs(60);
/// A part has been sent after this long: the largest at 1 Mbit/s.
const PART_TIME: Duration = Duration::from_secs(600);
/// A client waits meanwhile.
const RETRY: Duration = Duration::from_secs(60);
/// Tries after the first.
const RETRIES: usize = 4;
/// Characters of the server's words that a fault repeats.
const WORDS: usize = 400;

/// Where objects are kept.
pub struct S3Options {
    /// The bucket; it must exist.
    pub bucket: String,
    /// Before every name; may be empty.
    pub prefix: String,
    /// `https://host:port` of a server that is not Amazon's.
    pub endpoint: Option<String>,
    /// Of the bucket.
    pub region: String,
    /// Access key id and its key; `None`: as the environment or the machine's role say (`AWS_ACCESS_KEY_ID` ...).
    pub login: Option<(String, Secret)>,
}

impl S3Options {
    /// Of a bucket at Amazon's, with the environment's credentials.
    pub fn bucket(bucket: &str) -> S3Options {
        S3Options {
            bucket: bucket.to_owned(),
            prefix: String::new(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            login: None,
        }
    }

    /// `read`: no time for the whole answer, since our reader may be slow.
    fn client(&self, read: bool) -> Result<AmazonS3, StoreFault> {
        let client = ClientOptions::new().with_connect_timeout(CONNECT);
        let client = match read {
            true => client.with_timeout_disabled().with_read_timeout(SILENCE),
            false => client.with_timeout(PART_TIME),
        };
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY };
        let builder = match &self.login {
            Some((id, key)) => AmazonS3Builder::new()
                .with_access_key_id(id)
                .with_secret_access_key(String::from_utf8_lossy(key.expose())),
            None => AmazonS3Builder::from_env(),
        };
        let builder = match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false),
            None => builder,
        };
        let plain = self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        builder
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_client_options(client.with_allow_http(plain))
            .with_retry(retry)
            .build()
            .map_err(|error| fault(&self.bucket, &error))
    }
}

/// Octets of the part with this place. They grow, so that 10,000 parts hold 400 GiB while those of most
/// objects need little memory. Some stores want equal parts: up to 4.8 GiB they are.
fn part_size(part: usize) -> usize {
    match part {
        0..1_000 => LEAST_PART,
        1_000..2_000 => LEAST_PART * 2,
        2_000..4_000 => LEAST_PART * 4,
        _ => LEAST_PART * 12,
    }
}

/// A bucket.
pub struct S3 {
    inner: Arc<Inner>,
}

struct Inner {
    /// For answers of any length.
    reads: AmazonS3,
    /// For requests of any length.
    writes: AmazonS3,
    bucket: String,
    prefix: Path,
    log: Arc<dyn UploadLog>,
    /// Names whose writers are at work.
    live: Mutex<HashSet<String>>,
    /// Octets that writers hold in memory.
    buffered: AtomicU64,
}

impl Inner {
    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    fn live(&self) -> MutexGuard<'_, HashSet<String>> {
        self.live.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What an error means to the caller, in words for the administrator.
fn fault(bucket: &str, error: &Error) -> StoreFault {
    let words = printable(error.to_string().as_bytes(), WORDS);
    let says = |codes: &[&str]| codes.iter().any(|code| words.contains(code));
    let advice = if says(&["SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied", "403 Forbidden"]) {
        ": the key must be right, and allowed to put, get, list and delete objects there and to abort uploads"
    } else if says(&["NoSuchBucket", "PermanentRedirect"]) || matches!(error, Error::NotFound { .. }) {
        ": is there such a bucket, in this region, at this endpoint?"
    } else {
        ""
    };
    StoreFault::Broken(format!("bucket {bucket}: {words}{advice}"))
}

impl S3 {
    /// Asks nothing yet; see [`BlobStore::try_out`](vouchsafe_core::attachments::BlobStore::try_out).
    pub fn new(options: &S3Options, log: Arc<dyn UploadLog>) -> Result<S3, StoreFault> {
        Ok(S3 {
            inner: Arc::new(Inner {
                reads: options.client(true)?,
                writes: options.client(false)?,
                bucket: options.bucket.clone(),
                prefix: Path::from(options.prefix.as_str()),
                log,
                live: Mutex::default(),
                buffered: AtomicU64::new(0),
            }),
        })
    }
}

impl Objects for S3 {
    fn begin(&self, name: &str) -> BoxFuture<'_, Result<Box<dyn ObjectWriter>, StoreFault>> {
        let inner = self.inner.clone();
        inner.live().insert(name.to_owned());
        let upload = Upload {
            path: inner.path(name),
            inner,
            name: name.to_owned(),
            id: None,
            parts: Vec::new(),
            full: Vec::new(),
            tail: BytesMut::new(),
            filled: 0,
            sending: JoinSet::new(),
            in_flight: 0,
        };
        Box::pin(std::future::ready(Ok(Box::new(upload) as Box<dyn ObjectWriter>)))
    }

    fn read(&self, name: &str, range: Range<u64>) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        Box::pin(async move {
            let path = inner.path(&name);
            let wanted =
                GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
            let left = range.end - range.start;
            let stream = match inner.reads.get_opts(&path, wanted).await {
                Ok(found) => found.into_stream(),
                Err(Error::NotFound { .. }) => {
                    return Err(StoreFault::Corrupt(format!("blob {name}: it is gone")));
                }
                Err(error) => {
                    // A stretch behind the end is refused in many ways.
                    let short = inner.reads.head(&path).await.is_ok_and(|meta| meta.size < range.end);
                    return Err(if short { cut_short(&name) } else { fault(&inner.bucket, &error) });
                }
            };
            Ok(Box::new(ObjectReader { inner, name, stream, left, chunk: Bytes::new() })
                as Box<dyn BlobReader>)
        })
    }

    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), StoreFault>> {
        let (inner, path) = (self.inner.clone(), self.inner.path(name));
        Box::pin(async move {
            match inner.writes.delete(&path).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(fault(&inner.bucket, &error)),
            }
        })
    }

    fn list(&self, after: &str, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        let inner = self.inner.clone();
        let after = (!after.is_empty()).then(|| inner.path(after));
        Box::pin(async move {
            let prefix = (!inner.prefix.as_ref().is_empty()).then_some(&inner.prefix);
            let found = match &after {
                Some(after) => inner.reads.list_with_offset(prefix, after),
                None => inner.reads.list(prefix),
            };
            let own = inner.prefix.as_ref().len() + usize::from(prefix.is_some());
            let mut names = Vec::new();
            let mut found = found.take(limit);
            while let Some(meta) = found.next().await {
                let meta = meta.map_err(|error| fault(&inner.bucket, &error))?;
                names.extend(meta.location.as_ref().get(own..).map(str::to_owned));
            }
            Ok(names)
        })
    }

    /// Lists, puts, reads and deletes a small object: whether bucket, endpoint and key are right.
    fn try_out(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let path = inner.path("vouchsafe-check");
            let told = |error: Error| fault(&inner.bucket, &error);
            if let Some(first) = inner.reads.list(Some(&inner.prefix)).next().await {
                first.map_err(told)?;
            }
            inner.writes.put(&path, PutPayload::from_static(b"vouchsafe")).await.map_err(told)?;
            inner.reads.get_range(&path, 0..5).await.map_err(told)?;
            inner.writes.delete(&path).await.map_err(told)
        })
    }

    fn abort_cut_off(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let mut result = Ok(());
            for (name, id) in inner.log.uploads().await? {
                if inner.live().contains(&name) {
                    continue;
                }
                match inner.writes.abort_multipart(&inner.path(&name), &id).await {
                    // Complete, or aborted before: an object without a row is an orphan like any other.
                    Ok(()) | Err(Error::NotFound { .. }) => inner.log.upload_ended(name).await?,
                    Err(error) => result = Err(fault(&inner.bucket, &error)),
                }
            }
            result
        })
    }
}

/// An object on its way: one part is being sent while the next one fills.
struct Upload {
    inner: Arc<Inner>,
    name: String,
    path: Path,
    /// The upload, once the first part is full.
    id: Option<String>,
    parts: Vec<PartId>,
    /// Full blocks of the part that fills, and the block that fills: copied together, since chunks may be of any size.
    full: Vec<Bytes>,
    tail: BytesMut,
    filled: usize,
    /// The part that is being sent; aborted when this is dropped.
    sending: JoinSet<object_store::Result<PartId>>,
    in_flight: usize,
}

impl Upload {
    fn fault(&self, error: &Error) -> StoreFault {
        fault(&self.inner.bucket, error)
    }

    /// Waits for the part that is being sent.
    async fn sent(&mut self) -> Result<(), StoreFault> {
        let Some(done) = self.sending.join_next().await else { return Ok(()) };
        let part = done.map_err(|error| StoreFault::Broken(format!("upload: {error}")))?;
        self.parts.push(part.map_err(|error| self.fault(&error))?);
        self.inner.buffered.fetch_sub(self.in_flight as u64, Ordering::Relaxed);
        self.in_flight = 0;
        Ok(())
    }

    /// Sends the part that has filled.
    async fn send(&mut self) -> Result<(), StoreFault> {
        self.sent().await?;
        let place = self.parts.len();
        if place == MOST_PARTS {
            return Err(StoreFault::Full(format!("blob {}: it is larger than S3 takes", self.name)));
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let begun = self.inner.writes.create_multipart(&self.path).await;
                let id = begun.map_err(|error| self.fault(&error))?;
                self.inner.log.upload_begun(self.name.clone(), id.clone()).await?;
                self.id.insert(id).clone()
            }
        };
        self.in_flight = self.filled;
        let part = self.take();
        let (inner, path) = (self.inner.clone(), self.path.clone());
        self.sending.spawn(async move { inner.writes.put_part(&path, &id, place, part).await });
        Ok(())
    }

    fn take(&mut self) -> PutPayload {
        let mut blocks = std::mem::take(&mut self.full);
        blocks.push(self.tail.split().freeze());
        self.filled = 0;
        PutPayload::from_iter(blocks)
    }

    fn append(&mut self, octets: &[u8]) {
        let mut octets = octets;
        while !octets.is_empty() {
            if self.tail.capacity() == self.tail.len() {
                self.full.push(self.tail.split().freeze());
                self.tail = BytesMut::with_capacity(CHUNK);
            }
            let count = octets.len().min(self.tail.capacity() - self.tail.len());
            let (now, later) = octets.split_at(count);
            self.tail.extend_from_slice(now);
            self.filled += count;
            octets = later;
        }
    }
}

impl ObjectWriter for Upload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            let mut chunk = chunk;
            while !chunk.is_empty() {
                let next = self.parts.len() + self.sending.len();
                let size = part_size(next);
                if self.filled == size {
                    self.send().await?;
                    continue;
                }
                let octets = chunk.split_to(chunk.len().min(size - self.filled));
                let held = self.inner.buffered.fetch_add(octets.len() as u64, Ordering::Relaxed);
                self.append(&octets);
                if held > UPLOAD_MEMORY {
                    let words = format!("uploads to bucket {} are too slow for so many", self.inner.bucket);
                    return Err(StoreFault::Full(words));
                }
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreFault>> {
        Box::pin(async move {
            if self.id.is_none() && self.filled <= LEAST_PART {
                self.in_flight = self.filled;
                let whole = self.take();
                let put = self.inner.writes.put(&self.path, whole).await;
                return put.map(|_| ()).map_err(|error| self.fault(&error));
            }
            self.send().await?;
            self.sent().await?;
            let (id, parts) = (self.id.take().unwrap_or_default(), std::mem::take(&mut self.parts));
            let complete = self.inner.writes.complete_multipart(&self.path, &id, parts).await;
            complete.map_err(|error| self.fault(&error))?;
            self.inner.log.upload_ended(self.name.clone()).await
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let held = self.filled + self.in_flight;
        self.inner.buffered.fetch_sub(held as u64, Ordering::Relaxed);
        // From now on what is in the log of it is aborted.
        self.inner.live().remove(&self.name);
    }
}

struct ObjectReader {
    inner: Arc<Inner>,
    name: String,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    /// Octets that have yet to be given out.
    left: u64,
    chunk: Bytes,
}

impl BlobReader for ObjectReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(async move {
            if self.left == 0 {
                return Ok(None);
            }
            while self.chunk.is_empty() {
                match self.stream.next().await {
                    Some(Ok(chunk)) => self.chunk = chunk,
                    Some(Err(error)) => return Err(fault(&self.inner.bucket, &error)),
                    None => return Err(cut_short(&self.name)),
                }
            }
            let most = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
            let octets = self.chunk.split_to(self.chunk.len().min(most));
            self.left -= octets.len() as u64;
            Ok(Some(octets))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_and_hold_hundreds_of_gigabytes() {
        let sizes: Vec<usize> = (0..MOST_PARTS).map(part_size).collect();
        assert!(sizes.is_sorted() && sizes[0] == LEAST_PART);
        assert!(sizes.iter().map(|size| *size as u64).sum::<u64>() > 400 << 30);
        // Two parts of the largest kind are far from what all uploads may hold.
        assert!(sizes[MOST_PARTS - 1] as u64 * 2 <= UPLOAD_MEMORY / 2);
    }
}
