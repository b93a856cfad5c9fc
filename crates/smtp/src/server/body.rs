//! A body on its way in: which receiver reads it, how much came, and whether it was refused.
//! Never keeps an octet. Proof: `transcripts/server/data_*`, `transcripts/server/bdat_*`, `transcripts/server/refuse_*`.

use super::Config;
use crate::data::{ChunkReceiver, DotReceiver, Piece};
use crate::limits::RATE_WINDOW;
use crate::reply::Reply;
use crate::time::Tick;

/// One body, from 354 or the first chunk to its end.
pub(super) struct Body {
    receiver: Receiver,
    /// Octets passed on, against the size limit.
    received: u64,
    /// The time over which its rate is looked at: since when, and octets of the peer in it.
    window: (Tick, u64),
    /// Set: the rest is consumed and thrown away, then answered with this.
    pub(super) refusal: Option<Reply>,
    /// The chunk under way, for its reply and for what follows it.
    pub(super) chunk: u64,
    pub(super) last: bool,
}

enum Receiver {
    Dot(DotReceiver),
    Chunks(ChunkReceiver),
}

impl Body {
    pub(super) fn data(config: &Config) -> Body {
        Body::new(Receiver::Dot(DotReceiver::new(config.bare_newline)))
    }
    pub(super) fn chunks(config: &Config) -> Body {
        Body::new(Receiver::Chunks(ChunkReceiver::new(config.bare_newline)))
    }
    /// A chunk that belongs to no message.
    pub(super) fn refused(config: &Config, reply: Reply) -> Body {
        Body { refusal: Some(reply), ..Body::chunks(config) }
    }
    fn new(receiver: Receiver) -> Body {
        Body { receiver, received: 0, window: (Tick(0), 0), refusal: None, chunk: 0, last: true }
    }
    /// It begins now.
    pub(super) fn begun(self, now: Tick) -> Body {
        Body { window: (now, 0), ..self }
    }
    /// When its rate is to be looked at.
    pub(super) fn rate_due(&self) -> Tick {
        self.window.0 + RATE_WINDOW
    }
    /// Looks at its rate, and begins to count anew; true if it is too slow.
    pub(super) fn is_slow(&mut self, now: Tick, config: &Config) -> bool {
        let (since, octets) = std::mem::replace(&mut self.window, (now, 0));
        octets < config.limits.minimum_data_rate.saturating_mul(now.since(since).as_secs())
    }
    /// The next chunk begins; for BDAT only.
    pub(super) fn begin(&mut self, size: u64, last: bool) {
        if let Receiver::Chunks(chunks) = &mut self.receiver {
            chunks.begin(size, last);
        }
        (self.chunk, self.last) = (size, last);
    }
    /// Would `more` octets pass the limit?
    pub(super) fn too_big(&self, more: u64, config: &Config) -> bool {
        config.message_size.is_some_and(|limit| self.received.saturating_add(more) > limit)
    }
    pub(super) fn count(&mut self, octets: u64) {
        self.received = self.received.saturating_add(octets);
    }
    pub(super) fn next(&mut self, input: &[u8]) -> (usize, Piece) {
        let (used, piece) = match &mut self.receiver {
            Receiver::Dot(dot) => dot.next(input),
            Receiver::Chunks(chunks) => chunks.next(input),
        };
        self.window.1 += used as u64;
        (used, piece)
    }
    /// It held what must not be passed on.
    pub(super) fn bad_content(&self) -> bool {
        match &self.receiver {
            Receiver::Dot(dot) => dot.refused(),
            Receiver::Chunks(chunks) => chunks.refused(),
        }
    }
}
