//! Octets of a body on their way to rest: in memory while they are few, then in a file of their own.
//! Never syncs by itself, never decides what is kept. Proof: `detaching/tests.rs`, `tests/delivery`.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use vouchsafe_core::ports::{Body, BodyWriter, MailStore, SMALL_BODY, StoreFault};

/// The store takes chunks of about this size.
pub(crate) const CHUNK: usize = 256 * 1024;

/// The spool of one message.
pub(crate) struct Spool {
    store: Arc<dyn MailStore>,
    writer: Option<Box<dyn BodyWriter>>,
    buffer: Vec<u8>,
    /// Octets that the writer has.
    written: u64,
}

impl Spool {
    pub fn new(store: Arc<dyn MailStore>) -> Spool {
        Spool { store, writer: None, buffer: Vec::new(), written: 0 }
    }

    /// Octets in all.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends; what is a chunk goes to the file.
    pub async fn append(&mut self, octets: &[u8]) -> Result<(), StoreFault> {
        self.buffer.extend_from_slice(octets);
        if self.buffer.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }

    /// Appends what is a chunk already, straight to the file.
    pub async fn push(&mut self, chunk: Vec<u8>) -> Result<(), StoreFault> {
        self.flush().await?;
        self.buffer = chunk;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), StoreFault> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.store.body_writer().await?),
        };
        self.written += self.buffer.len() as u64;
        writer.write(Bytes::from(std::mem::take(&mut self.buffer))).await
    }

    /// Reads back; at most [`CHUNK`] at once, so perhaps less than was asked for.
    pub async fn read(&mut self, range: Range<u64>) -> Result<Bytes, StoreFault> {
        let end = range.end.min(range.start + CHUNK as u64);
        if range.start >= self.written {
            let at = |offset: u64| usize::try_from(offset - self.written).unwrap_or(usize::MAX);
            let kept = self.buffer.get(at(range.start)..at(end.min(self.len())));
            return Ok(Bytes::copy_from_slice(kept.unwrap_or_default()));
        }
        match &mut self.writer {
            Some(writer) => writer.read(range.start..end.min(self.written)).await,
            None => Ok(Bytes::new()),
        }
    }

    /// Cuts the end off.
    pub async fn truncate(&mut self, len: u64) -> Result<(), StoreFault> {
        if len >= self.written {
            self.buffer.truncate(usize::try_from(len - self.written).unwrap_or(usize::MAX));
            return Ok(());
        }
        self.buffer.clear();
        self.written = len;
        match &mut self.writer {
            Some(writer) => writer.truncate(len).await,
            None => Ok(()),
        }
    }

    /// All of it, ready for the store. `shrunk`: it may have become so small again that it needs no file.
    pub async fn finish(mut self, shrunk: bool) -> Result<Body, StoreFault> {
        if shrunk && self.len() <= SMALL_BODY as u64 {
            let mut body = Vec::new();
            while (body.len() as u64) < self.len() {
                let chunk = self.read(body.len() as u64..self.len()).await?;
                if chunk.is_empty() {
                    return Err(StoreFault::Broken("a body lost octets on its way".to_owned()));
                }
                body.extend_from_slice(&chunk);
            }
            return Ok(Body::Memory(Bytes::from(body)));
        }
        self.flush().await?;
        match self.writer.take() {
            Some(writer) => Ok(Body::Spooled(writer.finish().await?)),
            None => Ok(Body::Memory(Bytes::new())),
        }
    }
}
