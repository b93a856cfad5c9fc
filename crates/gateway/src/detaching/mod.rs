//! Large parts on their way in: decoded to blobs while the message arrives, the rest to the spool.
//!
//! A part is spooled as it comes and decoded for its size alone, until it is over its limit; then what was spooled is
//! read back once, decoded into a blob, and cut off, and the rest is decoded straight to the blob. Its raw octets are
//! given up only while they can be written again from the decoded ones; if the part turns out not to be clean, they are,
//! and it stays in the message (RELIABILITY section 5: only what was fully decoded is detached). Memory is that of a few
//! chunks, whatever the size. Proof: `tests.rs` beside this.

pub(crate) mod classes;
pub(crate) mod forms;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use vouchsafe_core::attachments::{BlobStore, BlobWriter, SealedBlob};
use vouchsafe_core::detach::{Rules, WORTH};
use vouchsafe_core::ports::StoreFault;
use vouchsafe_core::rewrite::Place;
use vouchsafe_mime::coding::Restorer;
use vouchsafe_mime::{Decoder, Scanner};

use crate::spool::{CHUNK, Spool};
use state::{State, Waiting};

/// Changes of line length up to which a base64 body counts as regular: then its raw octets need not be kept.
const REGULAR: usize = 16;

/// A part that is decoded to a blob while it arrives.
struct Stream {
    id: u32,
    writer: Box<dyn BlobWriter>,
    decoder: Decoder,
    size: u64,
    /// The raw octets go to the spool, too: some recipient needs them, or they could not be written again.
    keep_raw: bool,
    body_at: u64,
}

/// A part that was moved.
pub(crate) struct Moved {
    pub id: u32,
    pub blob: SealedBlob,
}

/// What has become of a message.
pub(crate) struct Outcome {
    /// Its parts, as it came.
    pub places: Vec<Place>,
    /// Those moved, by their ids.
    pub moved: Vec<Moved>,
    /// Octets as it came.
    pub len: u64,
    /// Stretches that the spool does not have.
    pub cuts: Vec<Range<u64>>,
    /// All but those.
    pub spool: Spool,
}

impl Outcome {
    /// The raw octets of these parts' bodies, which the spool has; each within the caller's bounds.
    pub async fn bodies(&mut self, ids: &[u32]) -> Result<BTreeMap<u32, Bytes>, StoreFault> {
        let mut bodies = BTreeMap::new();
        for id in ids {
            let place = &self.places[*id as usize];
            let range = kept(&self.cuts, place.part.body_at)..kept(&self.cuts, place.body_end);
            let body = self.stretch(range).await?;
            bodies.insert(*id, Bytes::from(body));
        }
        Ok(bodies)
    }

    /// A stretch of the spool; within the caller's bounds.
    async fn stretch(&mut self, range: Range<u64>) -> Result<Vec<u8>, StoreFault> {
        let mut octets = Vec::new();
        while range.start + (octets.len() as u64) < range.end {
            let chunk = self.spool.read(range.start + octets.len() as u64..range.end).await?;
            if chunk.is_empty() {
                return Err(lost());
            }
            octets.extend_from_slice(&chunk);
        }
        Ok(octets)
    }
}

/// Where an octet of the message is in the spool.
fn kept(cuts: &[Range<u64>], raw: u64) -> u64 {
    raw - cuts.iter().map(|cut| cut.end.min(raw).saturating_sub(cut.start)).sum::<u64>()
}

fn lost() -> StoreFault {
    StoreFault::Broken("what was written cannot be read back".to_owned())
}

/// Takes a message apart while it arrives.
pub(crate) struct Detacher {
    blobs: Arc<dyn BlobStore>,
    rules: Rules,
    /// Recipients differ in what they get.
    keep_raw: bool,
    scanner: Scanner,
    state: State,
    spool: Spool,
    stream: Option<Stream>,
    moved: Vec<Moved>,
    moved_raw: u64,
    cuts: Vec<Range<u64>>,
    len: u64,
}

impl Detacher {
    pub fn new(blobs: Arc<dyn BlobStore>, rules: Rules, keep_raw: bool, spool: Spool) -> Detacher {
        Detacher {
            blobs,
            state: State::new(rules.clone()),
            rules,
            keep_raw,
            scanner: Scanner::default(),
            spool,
            stream: None,
            moved: Vec::new(),
            moved_raw: 0,
            cuts: Vec::new(),
            len: 0,
        }
    }

    /// Takes the next octets of the message.
    pub async fn take(&mut self, octets: &[u8]) -> Result<(), StoreFault> {
        for chunk in octets.chunks(CHUNK) {
            self.len += chunk.len() as u64;
            self.scanner.push(chunk, &mut self.state);
            self.settle().await?;
        }
        Ok(())
    }

    /// The message has ended. A blob that is not moved in the end was never sealed, or is deleted.
    pub async fn finish(mut self) -> Result<Outcome, StoreFault> {
        self.scanner.finish(&mut self.state);
        self.settle().await?;
        self.moved.sort_by_key(|moved| moved.id);
        self.cuts.sort_by_key(|cut| cut.start);
        let places = std::mem::take(&mut self.state.places);
        Ok(Outcome { places, moved: self.moved, len: self.len, cuts: self.cuts, spool: self.spool })
    }

    /// Does with the octets of one chunk what is to be done.
    async fn settle(&mut self) -> Result<(), StoreFault> {
        self.advance().await?;
        let kept = std::mem::take(&mut self.state.spool);
        self.spool.append(&kept).await?;
        while let Some(at) = self.over() {
            let waiting = self.state.waiting.swap_remove(at);
            self.move_spooled(&waiting).await?;
        }
        if self.open_is_over() {
            self.begin_stream().await?;
        }
        Ok(())
    }

    /// The part that streams to its blob.
    async fn advance(&mut self) -> Result<(), StoreFault> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let raw = std::mem::take(&mut self.state.streamed);
        let before = stream.decoder.clone();
        let mut decoded = Vec::new();
        let ended = self.state.stream_end.take();
        let mut clean = stream.decoder.push(&raw, &mut decoded).is_ok();
        if let Some((_, doubt)) = ended {
            clean &= !doubt && stream.decoder.finish().is_ok();
        }
        // Its raw octets must be there, or there to be made, at every moment.
        clean &= stream.keep_raw || stream.decoder.is_restorable(usize::MAX);
        if !clean {
            return self.give_up(stream, before, &raw).await;
        }
        stream.size += decoded.len() as u64;
        if !decoded.is_empty() {
            stream.writer.write(Bytes::from(decoded)).await?;
        }
        match ended {
            Some((body_end, _)) => {
                if !stream.keep_raw {
                    self.cuts.push(stream.body_at..body_end);
                }
                self.moved_raw += body_end - stream.body_at;
                let blob = stream.writer.seal().await?;
                self.moved.push(Moved { id: stream.id, blob });
                self.state.stream = None;
            }
            None => self.stream = Some(stream),
        }
        Ok(())
    }

    /// The part is not clean: its raw octets go back to the spool, octet for octet, and it stays in the message. `raw` is
    /// the chunk in which this came out, `before` the decoder as it was before it.
    async fn give_up(&mut self, stream: Stream, before: Decoder, raw: &[u8]) -> Result<(), StoreFault> {
        self.state.keep(stream.id);
        if stream.keep_raw {
            return Ok(());
        }
        let blob = stream.writer.seal().await?;
        let mut restorer = Restorer::new(before).ok_or_else(lost)?;
        let mut reader = self.blobs.open(blob.reference(), 0..blob.len).await?;
        let mut restored = Vec::new();
        while let Some(chunk) = reader.next().await? {
            restorer.push(&chunk, &mut restored);
            self.spool.append(&restored).await?;
            restored.clear();
        }
        restorer.finish(&mut restored);
        restored.extend_from_slice(raw);
        self.spool.append(&restored).await?;
        self.blobs.delete(blob.name.clone()).await
    }

    /// Octets that would be sent as they are.
    fn total(&self) -> u64 {
        let streamed = self.stream.as_ref().map_or(0, |stream| self.len.saturating_sub(stream.body_at));
        self.len.saturating_sub(self.moved_raw + streamed)
    }

    /// The spooled part that has to go next.
    fn over(&self) -> Option<usize> {
        let waiting = &self.state.waiting;
        if let Some(at) = waiting.iter().position(|part| part.size > self.rules.limits.part_over) {
            return Some(at);
        }
        let (at, largest) = waiting.iter().enumerate().max_by_key(|(_, part)| part.size)?;
        let open = self.state.open_size();
        (self.total() > self.rules.limits.message_over && largest.size > WORTH && largest.size >= open)
            .then_some(at)
    }

    fn open_is_over(&self) -> bool {
        let size = self.state.open_size();
        self.stream.is_none()
            && (size > self.rules.limits.part_over
                || size > WORTH && self.total() > self.rules.limits.message_over)
    }

    /// A part that has ended and is whole in the spool.
    async fn move_spooled(&mut self, part: &Waiting) -> Result<(), StoreFault> {
        let (mut writer, mut decoder) = (self.blobs.create().await?, Decoder::new(part.coding));
        let range = kept(&self.cuts, part.body_at)..kept(&self.cuts, part.body_end);
        self.decode(range, &mut decoder, &mut *writer).await?;
        decoder.finish().map_err(|_| lost())?;
        let blob = writer.seal().await?;
        self.moved_raw += part.body_end - part.body_at;
        self.moved.push(Moved { id: part.id, blob });
        Ok(())
    }

    /// Decodes a stretch of the spool into a blob.
    async fn decode(
        &mut self,
        range: Range<u64>,
        decoder: &mut Decoder,
        writer: &mut dyn BlobWriter,
    ) -> Result<u64, StoreFault> {
        let (mut at, mut size) = (range.start, 0);
        while at < range.end {
            let raw = self.spool.read(at..range.end).await?;
            if raw.is_empty() {
                return Err(lost());
            }
            at += raw.len() as u64;
            let mut decoded = Vec::new();
            decoder.push(&raw, &mut decoded).map_err(|_| lost())?;
            size += decoded.len() as u64;
            if !decoded.is_empty() {
                writer.write(Bytes::from(decoded)).await?;
            }
        }
        Ok(size)
    }

    /// The open part is over its limit: from now on it streams.
    async fn begin_stream(&mut self) -> Result<(), StoreFault> {
        let Some(open) = self.state.open_file() else { return Ok(()) };
        let (id, body_at, coding) = (open.id, open.body_at, open.coding);
        let (mut writer, mut decoder) = (self.blobs.create().await?, Decoder::new(coding));
        let start = kept(&self.cuts, body_at);
        let size = self.decode(start..self.spool.len(), &mut decoder, &mut *writer).await?;
        let keep_raw = self.keep_raw || !decoder.is_restorable(REGULAR);
        if !keep_raw {
            self.spool.truncate(start).await?;
        }
        self.state.stream(id, keep_raw);
        self.stream = Some(Stream { id, writer, decoder, size, keep_raw, body_at });
        Ok(())
    }
}
