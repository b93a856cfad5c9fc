//! The disk as bodies see it: few calls, each of which may fail, and each of which a test can count, break and undo.
//!
//! Nothing is durable before [`DiskFile::sync_data`] of the file and [`Disk::sync_dir`] of its folder. SQLite does its
//! own file access; its commit is announced here ([`Disk::commit`]), so that a crash sweep can stop around it.
//! Proof: `tests/store/crash.rs`.

mod real;
mod sim;

pub use real::RealDisk;
pub use sim::{Lie, Loss, SimDisk, Trouble};

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// Around the commit of a database transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Nothing of it is durable; an error rolls it back.
    Before,
    /// All of it is durable; an error means that the process does not live to tell.
    After,
}

/// A folder tree with files.
pub trait Disk: Send + Sync {
    /// Creates a folder for this user alone, with what is above it; fine if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a file, which must not exist, to write and read.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file to read.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Cuts a file that nobody has open for writing.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Takes a name away; who has the file open reads on.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Names and lengths of the files in a folder.
    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Octets that an ordinary user may still write where `path` is.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// A database transaction is about to be, or has been, committed.
    fn commit(&self, moment: Commit) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all parts, one behind the other, from `offset` on.
    fn write_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Reads up to `buffer.len()` octets; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Gives the file this length, with the space for it taken now, so that a later write cannot meet a full disk.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Cuts the file; durable with the next [`DiskFile::sync_data`].
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the content and length durable. After an error the file must not be used again: the kernel may have
    /// dropped what it could not write, and a second sync would lie.
    fn sync_data(&self) -> io::Result<()>;
    /// Lets the system drop what is synced of the file from memory: a hint, without a promise.
    fn forget(&self) {}
}

/// True for "no space left" and "quota exceeded".
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
