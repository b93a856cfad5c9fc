//! The lock on the data directory: one process at a time. The kernel drops it with the process, however that ends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::OpenFault;

/// Held for as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says [`OpenFault::Locked`] at once.
    pub fn take(dir: &Path) -> Result<Lock, OpenFault> {
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| OpenFault::Disk { path: path.clone(), error: error.to_string() })?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenFault::Locked(dir.to_owned())),
            Err(error) => Err(OpenFault::Disk { path, error: error.to_string() }),
        }
    }
}
