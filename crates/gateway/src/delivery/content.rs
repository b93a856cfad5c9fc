//! A message's octets on their way out: from memory while they are there, else from the store; in the form that
//! their recipients get.
//!
//! Never holds more than two chunks of what the store has. Proof: `tests/delivery/content.rs`.

use bytes::Bytes;
use vouchsafe_core::Timestamp;
use vouchsafe_core::dsn::RETURNED;
use vouchsafe_core::headers::{Fix, HeaderScanner};
use vouchsafe_core::outcome::Needs;
use vouchsafe_core::ports::{BodyReader, BoxFuture, MailStore, StoreFault};
use vouchsafe_core::recipe::{Render, Rendered};
use vouchsafe_net::authentication::signing::Keys;
use vouchsafe_smtp::RcptTo;

use super::board::Job;

/// Opens a message for one transaction, as its recipients get it; with links under `link`, if any stand in it.
pub(super) async fn open(job: &Job, store: &dyn MailStore, link: &str) -> Result<Content, StoreFault> {
    let message = &job.delivery.message;
    let reader: Box<dyn BodyReader> = match &job.content {
        Some((head, body)) => Box::new(InMemory([Some(head.clone()), Some(body.clone())])),
        None => store.open_body(message.id).await?,
    };
    let reader = match &job.delivery.form {
        Some(form) => Box::new(Formed {
            reader,
            head: message.size.saturating_sub(form.content),
            render: Render::new(&form.recipe, link),
            last: None,
        }),
        None => reader,
    };
    Ok(Content { top: Bytes::new(), reader, fault: None })
}

/// Octets that [`open`] will give.
pub(super) fn size(job: &Job, link: &str) -> u64 {
    let size = job.delivery.message.size;
    match &job.delivery.form {
        Some(form) => size.saturating_sub(form.content) + form.recipe.len(link),
        None => size,
    }
}

/// A reader that remembers what went wrong at our end: the client's side of the session only tells that something did.
pub(super) struct Content {
    /// Given out first.
    top: Bytes,
    reader: Box<dyn BodyReader>,
    /// The store's fault, if it had one.
    pub fault: Option<StoreFault>,
}

impl Content {
    /// Puts these octets in front of the message.
    pub fn put_on_top(&mut self, octets: Bytes) {
        self.top = octets;
    }
}

impl BodyReader for Content {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(async move {
            if !self.top.is_empty() {
                return Ok(Some(std::mem::take(&mut self.top)));
            }
            let chunk = self.reader.next().await;
            self.fault = chunk.as_ref().err().cloned();
            chunk
        })
    }
}

/// A form of the content, behind the head.
struct Formed {
    reader: Box<dyn BodyReader>,
    /// Octets of the head that are still to come.
    head: u64,
    render: Render,
    /// Kept back until what follows is there: a fault at the content's end must come before the message's.
    last: Option<Bytes>,
}

impl Formed {
    async fn read(&mut self) -> Result<Option<Bytes>, StoreFault> {
        loop {
            if self.head > 0 {
                let Some(mut chunk) = self.reader.next().await? else { return Err(ends_early()) };
                let rest = chunk.split_off(usize::try_from(self.head).unwrap_or(usize::MAX).min(chunk.len()));
                self.head -= chunk.len() as u64;
                if !rest.is_empty() {
                    self.render.push(rest);
                }
                return Ok(Some(chunk));
            }
            match self.render.step() {
                Rendered::Octets(octets) => {
                    if let Some(last) = self.last.replace(octets) {
                        return Ok(Some(last));
                    }
                }
                Rendered::More => {
                    let chunk = self.reader.next().await?.ok_or_else(ends_early)?;
                    self.render.push(chunk);
                }
                Rendered::End => {
                    while self.last.is_some() && self.reader.next().await?.is_some() {}
                    return Ok(self.last.take());
                }
            }
        }
    }
}

fn ends_early() -> StoreFault {
    StoreFault::Corrupt("the content ends before its form does".into())
}

impl BodyReader for Formed {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(self.read())
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

/// What a message is signed with as it leaves.
pub(super) struct Signed<'a> {
    pub keys: &'a Keys,
    /// Strangers' mail that was altered is sealed.
    pub seal: bool,
    /// The recipients of this transaction.
    pub to: &'a [RcptTo],
    pub now: Timestamp,
}

/// Our DKIM signatures over the message as this transaction sends it: its links stand in it, so each copy has its own.
/// Over mail of strangers, whose signatures we must not break unseen, our ARC seal where their files were swapped. Read
/// once through; nothing without a key of the domain.
pub(super) async fn signatures(
    job: &Job,
    store: &dyn MailStore,
    link: &str,
    signed: &Signed<'_>,
) -> Result<Bytes, StoreFault> {
    let message = &job.delivery.message;
    let Signed { keys, seal, to, now } = signed;
    let signing = match &job.delivery.form {
        _ if keys.is_empty() => None,
        _ if message.origin.known_sender => Some(keys.begin()),
        Some(form) if *seal => {
            let own = usize::try_from(message.size.saturating_sub(form.content)).unwrap_or(usize::MAX);
            keys.begin_seal(to.iter().map(|to| to.mailbox.domain()), own, *now)
        }
        _ => None,
    };
    let Some(mut signing) = signing else { return Ok(Bytes::new()) };
    let mut content = open(job, store, link).await?;
    while signing.goes_on() {
        let Some(chunk) = content.next().await? else { break };
        signing.push(&chunk);
    }
    Ok(signing.finish().map(Bytes::from).unwrap_or_else(|fault| {
        tracing::error!(id = %message.id, blame = "us", "sent without a signature: {fault}");
        Bytes::new()
    }))
}

/// The first octets of a message, for a notice; empty if they cannot be read: the notice is due all the same. Its
/// links are left blank: they are for the recipient alone.
pub(super) async fn beginning(job: &Job, store: &dyn MailStore) -> Vec<u8> {
    // Bounded by RETURNED.
    let mut octets = Vec::new();
    let Ok(mut content) = open(job, store, "").await else { return octets };
    while let Ok(Some(chunk)) = content.next().await {
        let room = RETURNED - octets.len();
        octets.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if octets.len() == RETURNED {
            break;
        }
    }
    octets
}
