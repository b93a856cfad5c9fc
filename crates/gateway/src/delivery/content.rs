//! A message's octets on their way out: from memory while they are there, else from the store.
//!
//! Never holds more than a chunk of what the store has. Proof: `tests/delivery/content.rs`.

use bytes::Bytes;
use vouchsafe_core::dsn::RETURNED;
use vouchsafe_core::headers::{Fix, HeaderScanner};
use vouchsafe_core::outcome::Needs;
use vouchsafe_core::ports::{BodyReader, BoxFuture, MailStore, StoreFault};

use super::board::Job;

/// Opens a message for one transaction.
pub(super) async fn open(job: &Job, store: &dyn MailStore) -> Result<Content, StoreFault> {
    let reader: Box<dyn BodyReader> = match &job.content {
        Some((head, body)) => Box::new(InMemory([Some(head.clone()), Some(body.clone())])),
        None => store.open_body(job.delivery.message.id).await?,
    };
    Ok(Content { reader, fault: None })
}

/// A reader that remembers what went wrong at our end: the client's side of the session only tells that something did.
pub(super) struct Content {
    reader: Box<dyn BodyReader>,
    /// The store's fault, if it had one.
    pub fault: Option<StoreFault>,
}

impl BodyReader for Content {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(async move {
            let chunk = self.reader.next().await;
            self.fault = chunk.as_ref().err().cloned();
            chunk
        })
    }
}

struct InMemory([Option<Bytes>; 2]);

impl BodyReader for InMemory {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        let [head, body] = &mut self.0;
        let chunk = [head, body].into_iter().find_map(|part| part.take().filter(|bytes| !bytes.is_empty()));
        Box::pin(std::future::ready(Ok(chunk)))
    }
}

/// What the message needs of a next hop that does not offer everything: read once through.
pub(super) async fn needs(mut content: Content) -> Result<Needs, StoreFault> {
    let (mut scanner, mut passed) = (HeaderScanner::new(Fix::Untouched), Vec::new());
    let mut eight_bit = false;
    while let Some(chunk) = content.next().await? {
        eight_bit |= !chunk.is_ascii();
        if !scanner.in_body() {
            scanner.push(&chunk, &mut passed);
            passed.clear();
        }
    }
    Ok(Needs { eight_bit, utf8_header: scanner.facts().eight_bit })
}

/// The first octets of a message, for a notice; empty if they cannot be read: the notice is due all the same.
pub(super) async fn beginning(job: &Job, store: &dyn MailStore) -> Vec<u8> {
    // Bounded by RETURNED.
    let mut octets = Vec::new();
    let Ok(mut content) = open(job, store).await else { return octets };
    while let Ok(Some(chunk)) = content.next().await {
        let room = RETURNED - octets.len();
        octets.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if octets.len() == RETURNED {
            break;
        }
    }
    octets
}
