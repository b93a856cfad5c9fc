//! Objects as files: `blobs/ab/NAME`, each synced with its folder before it counts.
//!
//! Disk calls run on the runtime's blocking threads: one chunk is on its way while the next is received or sent.

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};
use vouchsafe_core::attachments::BlobReader;
use vouchsafe_core::ports::{BoxFuture, StoreFault};

use super::{ObjectWriter, Objects, cut_short};
use crate::CHUNK;
use crate::disk::{Disk, DiskFile};
use crate::sqlite::{OpenFault, fault_of_io};

/// A large object is synced this often, so that its end is quick.
const SYNC_EVERY: u64 = 64 << 20;
/// Folders under the first: 00 to ff.
const SHELVES: u16 = 256;

/// Files under one folder.
pub struct Files {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// Folders whose names are durable.
    shelves: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Files {
    /// Makes the folder if it is not there.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Files, OpenFault> {
        let made = disk.create_dir(folder).and_then(|()| match folder.parent() {
            Some(parent) => disk.sync_dir(parent),
            None => Ok(()),
        });
        made.map_err(|error| OpenFault::Disk { path: folder.to_owned(), error: error.to_string() })?;
        Ok(Files { disk, folder: folder.to_owned(), shelves: Arc::default() })
    }

    /// The folder of a name: its last two digits, which are random.
    fn shelf(&self, name: &str) -> PathBuf {
        self.folder.join(shelf_of(name))
    }
}

fn shelf_of(name: &str) -> &str {
    name.get(name.len().saturating_sub(2)..).unwrap_or("00")
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreFault> {
    let done = spawn_blocking(job).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| fault_of_io("blob", &error))
}

impl Objects for Files {
    fn begin(&self, name: &str) -> BoxFuture<'_, Result<Box<dyn ObjectWriter>, StoreFault>> {
        let (disk, shelf, folder) = (self.disk.clone(), self.shelf(name), self.folder.clone());
        let (path, shelves) = (shelf.join(name), self.shelves.clone());
        Box::pin(async move {
            let (maker, made) = (disk.clone(), path.clone());
            let at = shelf.clone();
            let file = blocking(move || {
                let known = |shelves: &Mutex<HashSet<PathBuf>>| {
                    shelves.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).contains(&at)
                };
                if !known(&shelves) {
                    maker.create_dir(&at)?;
                    maker.sync_dir(&folder)?;
                    shelves.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(at.clone());
                }
                maker.create(&made)
            });
            let file = file.await?;
            Ok(Box::new(FileObject {
                disk,
                shelf,
                path,
                file,
                len: 0,
                unsynced: 0,
                writing: None,
                syncing: None,
                finished: false,
            }) as Box<dyn ObjectWriter>)
        })
    }

    fn read(&self, name: &str, range: Range<u64>) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>> {
        let (disk, name) = (self.disk.clone(), name.to_owned());
        let path = self.shelf(&name).join(&name);
        Box::pin(async move {
            let opened = spawn_blocking(move || disk.open(&path))
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)));
            let file = opened.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => StoreFault::Corrupt(format!("blob {name}: it is gone")),
                _ => fault_of_io("blob", &error),
            })?;
            let mut reader = FileObjectReader { file, name, range, coming: None };
            reader.fetch();
            Ok(Box::new(reader) as Box<dyn BlobReader>)
        })
    }

    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), StoreFault>> {
        let (disk, path) = (self.disk.clone(), self.shelf(name).join(name));
        Box::pin(blocking(move || match disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }))
    }

    fn list(&self, after: &str, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        let (disk, folder) = (self.disk.clone(), self.folder.clone());
        let after = (!after.is_empty()).then(|| (shelf_of(after).to_owned(), after.to_owned()));
        Box::pin(blocking(move || {
            let mut found = Vec::new();
            for shelf in (0..SHELVES).map(|number| format!("{number:02x}")) {
                if after.as_ref().is_some_and(|(first, _)| shelf < *first) {
                    continue;
                }
                let names = match disk.list(&folder.join(&shelf)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    names => names?,
                };
                let mut names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
                names
                    .retain(|name| after.as_ref().is_none_or(|(first, last)| shelf != *first || name > last));
                names.sort_unstable();
                found.extend(names);
                if found.len() >= limit {
                    break;
                }
            }
            Ok(found)
        }))
    }
}

struct FileObject {
    disk: Arc<dyn Disk>,
    shelf: PathBuf,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
    unsynced: u64,
    writing: Option<JoinHandle<io::Result<()>>>,
    /// The sync of what was written before; the next chunks need not wait for it.
    syncing: Option<JoinHandle<io::Result<()>>>,
    finished: bool,
}

/// After a fault the object is of no use: its caller drops it.
async fn join(job: &mut Option<JoinHandle<io::Result<()>>>) -> Result<(), StoreFault> {
    let Some(running) = job else { return Ok(()) };
    let done = running.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    *job = None;
    done.map_err(|error| fault_of_io("blob", &error))
}

impl ObjectWriter for FileObject {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            join(&mut self.writing).await?;
            let (file, offset) = (self.file.clone(), self.len);
            self.len += chunk.len() as u64;
            self.unsynced += chunk.len() as u64;
            if self.unsynced >= SYNC_EVERY {
                join(&mut self.syncing).await?;
                let file = self.file.clone();
                // A giant takes the same memory again instead of all there is: nobody reads it soon.
                self.syncing = Some(spawn_blocking(move || {
                    file.sync_data()?;
                    file.forget();
                    Ok(())
                }));
                self.unsynced = 0;
            }
            self.writing = Some(spawn_blocking(move || file.write_at(offset, &mut [IoSlice::new(&chunk)])));
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreFault>> {
        Box::pin(async move {
            join(&mut self.writing).await?;
            join(&mut self.syncing).await?;
            let (file, disk, shelf) = (self.file.clone(), self.disk.clone(), self.shelf.clone());
            // Promise 1: content, then name; the row comes after.
            blocking(move || file.sync_data().and_then(|()| disk.sync_dir(&shelf))).await?;
            self.finished = true;
            Ok(())
        })
    }
}

impl Drop for FileObject {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: what stays is collected as an orphan.
            let _ = self.disk.remove(&self.path);
        }
    }
}

struct FileObjectReader {
    file: Arc<dyn DiskFile>,
    name: String,
    range: Range<u64>,
    coming: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileObjectReader {
    /// Has the next chunk read, while the one before is being sent.
    fn fetch(&mut self) {
        let wanted = usize::try_from(self.range.end - self.range.start).unwrap_or(CHUNK).min(CHUNK);
        if wanted == 0 {
            return;
        }
        let (file, offset, name) = (self.file.clone(), self.range.start, self.name.clone());
        self.range.start += wanted as u64;
        self.coming = Some(spawn_blocking(move || {
            let mut buffer = BytesMut::zeroed(wanted);
            let count = file.read_at(offset, &mut buffer)?;
            if count < wanted {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, name));
            }
            Ok(buffer.freeze())
        }));
    }
}

impl BlobReader for FileObjectReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(async move {
            let Some(coming) = &mut self.coming else { return Ok(None) };
            let read = coming.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            self.coming = None;
            match read {
                Ok(chunk) => {
                    self.fetch();
                    Ok(Some(chunk))
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(cut_short(&self.name)),
                Err(error) => Err(fault_of_io("blob", &error)),
            }
        })
    }
}
