//! Objects in memory, for deterministic tests and for trying out.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use vouchsafe_core::attachments::BlobReader;
use vouchsafe_core::ports::{BoxFuture, StoreFault};

use super::{ObjectWriter, Objects};
use crate::CHUNK;

/// Objects in memory.
#[derive(Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Objects for Memory {
    fn begin(&self, name: &str) -> BoxFuture<'_, Result<Box<dyn ObjectWriter>, StoreFault>> {
        ready(Ok(Box::new(MemoryObject {
            objects: self.0.clone(),
            name: name.to_owned(),
            octets: BytesMut::new(),
        })))
    }

    fn read(&self, name: &str, range: Range<u64>) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>> {
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        let found = self.lock().get(name).cloned();
        ready(match found {
            Some(octets) if at(range.end) <= octets.len() => {
                Ok(Box::new(MemoryReader(octets.slice(at(range.start)..at(range.end)))))
            }
            Some(_) => Err(super::cut_short(name)),
            None => Err(StoreFault::Corrupt(format!("blob {name}: it is gone"))),
        })
    }

    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.lock().remove(name);
        ready(Ok(()))
    }

    fn list(&self, after: &str, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        let objects = self.lock();
        let behind = objects.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        ready(Ok(behind.take(limit).map(|(name, _)| name.clone()).collect()))
    }
}

struct MemoryObject {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    name: String,
    octets: BytesMut,
}

impl ObjectWriter for MemoryObject {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.octets.extend_from_slice(&chunk);
        ready(Ok(()))
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreFault>> {
        let MemoryObject { objects, name, octets } = *self;
        objects.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(name, octets.freeze());
        ready(Ok(()))
    }
}

struct MemoryReader(Bytes);

impl BlobReader for MemoryReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        let chunk = self.0.split_to(self.0.len().min(CHUNK));
        ready(Ok((!chunk.is_empty()).then_some(chunk)))
    }
}
