//! Bodies: large ones written to a file of their own, all of them read back in order.
//!
//! Disk calls run on the runtime's blocking threads. A writer that is dropped leaves nothing; a finished body counts
//! only once `accept` has adopted it. Proof: `tests/store/conformance.rs`, `tests/store/crash.rs`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};
use vouchsafe_core::MessageId;
use vouchsafe_core::ports::{BodyReader, BodyWriter, BoxFuture, SpooledBody, StoreFault};

use super::fault_of_io;
use super::segment::{self, Place};
use super::shared::{Finished, Shared};
use crate::CHUNK;
use crate::disk::{Disk, DiskFile};

/// A giant is synced this often, so that its dot is quick.
const SYNC_EVERY: u64 = 64 << 20;
/// The checksum is remembered this often, so that a file cut back is not read from its start.
const MARK_EVERY: u64 = 4 << 20;

/// Runs disk calls where they may block.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(job).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A large body being written. One chunk is on its way to the disk while the next is received.
pub struct FileWriter {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    folder: PathBuf,
    name: String,
    file: Arc<dyn DiskFile>,
    len: u64,
    unsynced: u64,
    crc: u32,
    /// Checksums so far: (octets, CRC32C of them).
    marks: Vec<(u64, u32)>,
    writing: Option<JoinHandle<io::Result<u32>>>,
    /// The sync of what was written before; the next chunks need not wait for it.
    syncing: Option<JoinHandle<io::Result<()>>>,
    fault: Option<StoreFault>,
    finished: bool,
}

impl FileWriter {
    /// Creates the file.
    pub async fn create(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        folder: PathBuf,
    ) -> Result<FileWriter, StoreFault> {
        let name = uuid::Uuid::now_v7().simple().to_string();
        let path = folder.join(&name);
        let creator = disk.clone();
        let file =
            blocking(move || creator.create(&path)).await.map_err(|error| fault_of_io("body", &error))?;
        Ok(FileWriter {
            disk,
            shared,
            folder,
            name,
            file,
            len: 0,
            unsynced: 0,
            crc: 0,
            marks: Vec::new(),
            writing: None,
            syncing: None,
            fault: None,
            finished: false,
        })
    }

    /// Waits for the chunk on its way. After a fault the file is of no use any more. Cancel safe.
    async fn wait(&mut self) -> Result<(), StoreFault> {
        if let Some(writing) = &mut self.writing {
            let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            self.writing = None;
            match written {
                Ok(crc) => {
                    self.crc = crc;
                    if self.len >= self.marks.last().map_or(0, |(len, _)| *len) + MARK_EVERY {
                        self.marks.push((self.len, crc));
                    }
                }
                Err(error) => self.fault = Some(fault_of_io("body", &error)),
            }
        }
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// Waits for the sync on its way. Cancel safe.
    async fn synced(&mut self) -> Result<(), StoreFault> {
        if let Some(syncing) = &mut self.syncing {
            let synced = syncing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            self.syncing = None;
            if let Err(error) = synced {
                self.fault = Some(fault_of_io("body", &error));
            }
        }
        self.fault.clone().map_or(Ok(()), Err)
    }
}

impl BodyWriter for FileWriter {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            self.wait().await?;
            let (file, offset, crc) = (self.file.clone(), self.len, self.crc);
            self.len += chunk.len() as u64;
            self.unsynced += chunk.len() as u64;
            if self.unsynced >= SYNC_EVERY {
                self.synced().await?;
                let file = self.file.clone();
                self.syncing = Some(spawn_blocking(move || file.sync_data()));
                self.unsynced = 0;
            }
            self.writing = Some(spawn_blocking(move || {
                file.write_at(offset, &mut [IoSlice::new(&chunk)])?;
                Ok(crc32c::crc32c_append(crc, &chunk))
            }));
            Ok(())
        })
    }

    fn read(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, StoreFault>> {
        Box::pin(async move {
            self.wait().await?;
            let end = range.end.min(self.len);
            let wanted = usize::try_from(end.saturating_sub(range.start)).unwrap_or(CHUNK).min(CHUNK);
            let (file, offset) = (self.file.clone(), range.start);
            let read = blocking(move || read(&*file, offset, wanted)).await;
            read.map_err(|error| fault_of_io("body", &error))
        })
    }

    fn truncate(&mut self, len: u64) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            self.wait().await?;
            if len >= self.len {
                return Ok(());
            }
            while self.marks.last().is_some_and(|(marked, _)| *marked > len) {
                self.marks.pop();
            }
            let (from, crc) = self.marks.last().copied().unwrap_or_default();
            let file = self.file.clone();
            let cut = blocking(move || {
                file.set_len(len)?;
                let (mut at, mut crc) = (from, crc);
                while at < len {
                    let wanted = usize::try_from(len - at).unwrap_or(CHUNK).min(CHUNK);
                    let chunk = read(&*file, at, wanted)?;
                    if chunk.len() < wanted {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    crc = crc32c::crc32c_append(crc, &chunk);
                    at += chunk.len() as u64;
                }
                Ok(crc)
            });
            match cut.await {
                Ok(crc) => (self.len, self.crc) = (len, crc),
                Err(error) => self.fault = Some(fault_of_io("body", &error)),
            }
            self.fault.clone().map_or(Ok(()), Err)
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<SpooledBody, StoreFault>> {
        Box::pin(async move {
            self.wait().await?;
            self.synced().await?;
            let (file, disk, folder) = (self.file.clone(), self.disk.clone(), self.folder.clone());
            // Promise 1: content, then name; the row comes after.
            let synced = blocking(move || file.sync_data().and_then(|()| disk.sync_dir(&folder))).await;
            synced.map_err(|error| fault_of_io("body", &error))?;
            let (name, len) = (self.name.clone(), self.len);
            self.shared.finished().insert(name.clone(), Finished { len, crc: self.crc });
            self.finished = true;
            Ok(SpooledBody { name, len })
        })
    }
}

/// Up to `wanted` octets; fewer at the end of the file.
fn read(file: &dyn DiskFile, offset: u64, wanted: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(wanted);
    let count = file.read_at(offset, &mut buffer)?;
    buffer.truncate(count);
    Ok(buffer.freeze())
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: what stays is removed at the next start, as no row names it.
            let _ = self.disk.remove(&self.folder.join(&self.name));
        }
    }
}

/// A body found and opened.
pub enum Opened {
    /// In a segment.
    Record {
        /// The segment.
        file: Arc<dyn DiskFile>,
        /// Where in it.
        place: Place,
        /// Whose it should be.
        message: MessageId,
    },
    /// In a file of its own.
    File {
        /// The file.
        file: Arc<dyn DiskFile>,
        /// Its octets, as the row says.
        len: u64,
        /// Their CRC32C.
        crc: u32,
        /// Headers put on top.
        head: Bytes,
        /// Whose it is.
        message: MessageId,
    },
}

impl Opened {
    /// The reader. A record is checked here, before its first octet is given out.
    pub async fn reader(self) -> Result<Box<dyn BodyReader>, StoreFault> {
        match self {
            Opened::Record { file, place, message } => {
                let content = blocking(move || segment::read(&*file, place)).await;
                let content = content.map_err(|error| fault_of_io("segment", &error))?;
                match content.filter(|content| content.id == message) {
                    Some(content) => Ok(Box::new(RecordReader([content.head, content.body].into()))),
                    None => {
                        tracing::error!(%message, segment = place.segment, offset = place.offset, "a record is corrupt");
                        Err(corrupt(message))
                    }
                }
            }
            Opened::File { file, len, crc, head, message } => {
                let head = (!head.is_empty()).then_some(head);
                Ok(Box::new(FileReader { file, len, crc, head, message, read: 0, sum: 0 }))
            }
        }
    }
}

fn corrupt(message: MessageId) -> StoreFault {
    StoreFault::Corrupt(format!("message {message}: its octets do not match their checksum"))
}

/// A small body, checked and whole in memory: at most a head and [`vouchsafe_core::ports::SMALL_BODY`].
struct RecordReader(VecDeque<Bytes>);

impl BodyReader for RecordReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        let mut next = None;
        while let Some(mut part) = self.0.pop_front() {
            if part.len() > CHUNK {
                let rest = part.split_off(CHUNK);
                self.0.push_front(rest);
            }
            if !part.is_empty() {
                next = Some(part);
                break;
            }
        }
        Box::pin(std::future::ready(Ok(next)))
    }
}

struct FileReader {
    file: Arc<dyn DiskFile>,
    len: u64,
    crc: u32,
    head: Option<Bytes>,
    message: MessageId,
    read: u64,
    sum: u32,
}

impl FileReader {
    async fn chunk(&mut self) -> Result<Option<Bytes>, StoreFault> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        let wanted = usize::try_from(self.len - self.read).unwrap_or(CHUNK).min(CHUNK);
        if wanted == 0 {
            return Ok(None);
        }
        let (file, offset, sum) = (self.file.clone(), self.read, self.sum);
        let read = blocking(move || {
            let chunk = read(&*file, offset, wanted)?;
            Ok((crc32c::crc32c_append(sum, &chunk), chunk))
        });
        let (sum, chunk) = read.await.map_err(|error| fault_of_io("body", &error))?;
        self.read += chunk.len() as u64;
        self.sum = sum;
        // The last chunk is given out only if the whole file was right: the receiver never sees the end of a wrong one.
        if chunk.len() < wanted || (self.read == self.len && self.sum != self.crc) {
            tracing::error!(message = %self.message, "a body is corrupt");
            return Err(corrupt(self.message));
        }
        Ok(Some(chunk))
    }
}

impl BodyReader for FileReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(self.chunk())
    }
}
