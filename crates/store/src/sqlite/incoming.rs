//! A message made ready to be written: rows as text, record with its checksum. Done in the caller's thread, so that
//! the one writer only writes.

use bytes::Bytes;
use vouchsafe_core::Timestamp;
use vouchsafe_core::attachments::ShareNews;
use vouchsafe_core::ports::{Accepted, Body, Message, StoreFault};

use super::record::Record;
use super::row::{self, Meta};
use super::segment::Place;
use super::shared::Shared;
use crate::queue::{self, Branch};
use crate::shares::Ready;

/// A message on its way to the writer.
pub struct Incoming {
    /// What is known of it.
    pub message: Message,
    /// The meta column.
    pub meta: String,
    /// First attempt.
    pub due: Timestamp,
    /// One delivery each, with its recipients column.
    pub branches: Vec<(Branch, String)>,
    /// Its octets.
    pub content: Content,
    /// What was detached from it.
    pub detached: Option<Box<Ready>>,
    /// What it tells of other files.
    pub news: Option<ShareNews>,
}

/// Where its octets are.
pub enum Content {
    /// To be appended to a segment; the place is known after that.
    Small(Box<Record>, Option<Place>),
    /// In a file of their own, already durable.
    Large {
        /// Name under `bodies/`.
        name: String,
        /// Octets.
        len: u64,
        /// CRC32C.
        crc: u32,
        /// Headers put on top.
        head: Bytes,
    },
}

impl Incoming {
    /// Makes a message ready. A spooled body is adopted here: whoever drops the `Incoming` must remove its file.
    pub fn prepare(accepted: Accepted, shared: &Shared) -> Result<Incoming, StoreFault> {
        let Accepted { envelope, head, body, due, claim: _, detached, news } = accepted;
        if envelope.recipients().is_empty() {
            return Err(StoreFault::Broken("an envelope without recipients".to_owned()));
        }
        let meta = Meta::of(&envelope.origin, &envelope.mail);
        let head_len = head.len() as u64;
        let (content, body_len) = match body {
            Body::Memory(body) => {
                let len = body.len() as u64;
                let json = row::envelope_to_json(&envelope, &meta, due.0);
                let record = Record::new(envelope.id, json.as_bytes(), head, body)
                    .ok_or_else(|| StoreFault::Broken(format!("a body of {len} octets in memory")))?;
                (Content::Small(Box::new(record), None), len)
            }
            Body::Spooled(spooled) => {
                let finished = shared.finished().remove(&spooled.name);
                let finished =
                    finished.ok_or_else(|| StoreFault::Missing(format!("body {}", spooled.name)))?;
                let content =
                    Content::Large { name: spooled.name, len: finished.len, crc: finished.crc, head };
                (content, finished.len)
            }
        };
        let detached = detached.map(|detached| Ready::new(detached, &envelope, body_len, due)).transpose()?;
        let branches = queue::branches(&envelope, detached.as_ref())
            .into_iter()
            .map(|branch| {
                let json = row::recipients_to_json(&branch.recipients);
                (branch, json)
            })
            .collect();
        let message = Message {
            id: envelope.id,
            received_at: envelope.received_at,
            origin: envelope.origin,
            mail: envelope.mail,
            size: head_len + body_len,
        };
        Ok(Incoming {
            message,
            meta: row::to_json(&meta),
            due,
            branches,
            content,
            detached: detached.map(Box::new),
            news,
        })
    }

    /// The record that has to go to a segment.
    pub fn record(&mut self) -> Option<&mut Record> {
        match &mut self.content {
            Content::Small(record, _) => Some(record),
            Content::Large { .. } => None,
        }
    }

    /// Says where the record went.
    pub fn set_place(&mut self, at: Place) {
        if let Content::Small(_, place) = &mut self.content {
            *place = Some(at);
        }
    }

    /// The file that must go if the message is not accepted.
    pub fn file(&self) -> Option<&str> {
        match &self.content {
            Content::Small(..) => None,
            Content::Large { name, .. } => Some(name),
        }
    }
}
