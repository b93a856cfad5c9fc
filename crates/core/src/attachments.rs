//! Detached files: their ports, and what is kept of them.
//!
//! A *blob* is the octets, once for equal content, in a [`BlobStore`] (files, S3, memory). A *share* is one message's
//! detached files with their life: how long, how often, for whom; in an [`AttachmentStore`], beside the queue. A *link*
//! leads one recipient, or one group, to a share. No link is made before its blobs are durable: all rows are written in
//! the transaction of `MailStore::accept`.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::envelope::{Envelope, MessageId};
use crate::links::{LinkSecret, Sharing, TokenHash};
use crate::ports::{BoxFuture, StoreFault};
use crate::recipe::Recipe;
use crate::time::Timestamp;

/// A blob being written. Dropped without `seal`, it leaves nothing behind.
pub trait BlobWriter: Send {
    /// Appends a chunk (callers batch to about 256 KiB). Syncs by itself now and then, so that `seal` is quick.
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Makes it durable, name included. It counts only after `accept`.
    fn seal(self: Box<Self>) -> BoxFuture<'static, Result<SealedBlob, StoreFault>>;
}

/// A durable blob that no share has adopted yet. `accept` adopts it; once every copy of this is dropped, a blob that no
/// share names is collected by housekeeping.
#[derive(Clone, Debug)]
pub struct SealedBlob {
    /// The store's name for it: random, of letters, digits and dashes.
    pub name: String,
    /// Octets.
    pub len: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// What it is encrypted with, itself encrypted; empty where it is not.
    pub key: Vec<u8>,
    /// Keeps it from being collected.
    pub keep: Keep,
}

/// Held by the makers of a blob until a share names it.
#[derive(Clone, Default)]
pub struct Keep(pub Option<Arc<dyn std::any::Any + Send + Sync>>);

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keep")
    }
}

/// A blob as it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The store's name for it.
    pub name: String,
    /// Octets.
    pub len: u64,
    /// See [`SealedBlob::key`].
    pub key: Vec<u8>,
}

impl SealedBlob {
    /// To open it.
    pub fn reference(&self) -> BlobRef {
        BlobRef { name: self.name.clone(), len: self.len, key: self.key.clone() }
    }
}

/// A stretch of a blob, read in order.
pub trait BlobReader: Send {
    /// The next chunk, at most 256 KiB; `None` at the end of the stretch. A blob that ends early is
    /// [`StoreFault::Corrupt`].
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>>;
}

/// Where blobs are.
pub trait BlobStore: Send + Sync {
    /// Begins a blob.
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreFault>>;
    /// Opens a stretch; past the end it is cut.
    fn open(
        &self,
        blob: BlobRef,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>>;
    /// Removes a blob; fine if it is not there.
    fn delete(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Whether it can be used, in words for the administrator. At start.
    fn try_out(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// Aborts what callers that gave up and crashes have cut off while it was written. Housekeeping calls it at start and
    /// now and then.
    fn abort_cut_off(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// Names of blobs, at most about `limit`, in an order of the store's own, behind `after` (empty: from the first).
    /// Those whose makers still hold them are left out: whoever is listed is named by a share, or never will be.
    fn list(&self, after: String, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>>;
}

/// Uploads in parts under way, so that those a crash has cut off can be aborted. Changes are durable when answered.
pub trait UploadLog: Send + Sync {
    /// An upload is about to send its first part.
    fn upload_begun(&self, name: String, upload: String) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// It is complete or aborted.
    fn upload_ended(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// All that have begun and not ended: (name, upload).
    fn uploads(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreFault>>;
}

/// A part of a message that was moved to a blob.
#[derive(Clone, Debug)]
pub struct Detached {
    /// Its octets.
    pub blob: SealedBlob,
    /// The sender's name for it, cleaned for show.
    pub file_name: String,
    /// Its type, as the message says: `application/pdf`.
    pub media_type: String,
    /// Its place among the detached parts, from 0; part of its address on the page.
    pub position: u32,
}

/// What whoever follows a link must prove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Nothing but the link.
    #[default]
    Link,
    /// A code that is mailed to the link's recipient when asked for.
    Code,
}

/// What a scanner, or an administrator, says of a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Nothing against it, or nobody is asked.
    #[default]
    Clear,
    /// It is asked; nobody gets it before the answer.
    Waiting,
    /// It is harmful: nobody gets it.
    Found,
    /// The scanner cannot take it. Who gets it all the same is the administrator's rule ([`crate::scan::release`]).
    Unscannable,
    /// An administrator said that nobody gets it.
    Refused,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 5] =
        [Check::Clear, Check::Waiting, Check::Found, Check::Unscannable, Check::Refused];

    /// As it is stored, and as the API and lists show it.
    pub fn word(self) -> &'static str {
        match self {
            Check::Clear => "clear",
            Check::Waiting => "waiting",
            Check::Found => "found",
            Check::Unscannable => "unscannable",
            Check::Refused => "refused",
        }
    }
}

/// How the links of a message are made.
#[derive(Clone, Debug)]
pub struct LinkRules {
    /// A token for every recipient, or one for all.
    pub per_recipient: bool,
    /// Recipients that are not named in To or Cc, by their place in the envelope.
    pub blind: Vec<u32>,
    /// The links are good for this long.
    pub expire: Duration,
    /// What else is asked for.
    pub access: Access,
    /// So many downloads of each file by each link; `None`: any number.
    pub downloads: Option<u32>,
    /// Fresh chance.
    pub secret: LinkSecret,
}

/// What was detached from a message, and what is sent in its place.
#[derive(Clone, Debug)]
pub struct Detachment {
    /// The message's Subject, decoded and cleaned for show; empty if it has none.
    pub subject: String,
    /// The parts.
    pub parts: Vec<Detached>,
    /// What is known of blobs that come with it. An equal blob that is there keeps what is
    /// known of it; it takes the place of one that waits only if it waits, too, or a scanner has found it clear.
    pub check: Check,
    /// The forms, by their numbers. Recipients of none get the content as it is.
    pub forms: Vec<FormFor>,
    /// Its links: made for the recipients of the forms.
    pub links: LinkRules,
}

/// A form of a message and whose it is.
#[derive(Clone, Debug)]
pub struct FormFor {
    /// Its recipients, by their places in the envelope; nobody has two forms.
    pub recipients: Vec<u32>,
    /// The pieces.
    pub recipe: Recipe,
    /// What their links lead to: positions of the parts that are not in it, in order.
    pub files: Vec<u32>,
}

impl Detachment {
    /// Who shares a token.
    pub fn sharing(&self) -> Sharing {
        let linked = self.forms.iter().map(|form| form.recipients.len()).sum();
        Sharing::new(self.links.per_recipient, linked, &self.links.blind)
    }
}

/// A form of a message in the queue, with what its slots are filled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Its number among the message's forms.
    pub number: u32,
    /// The pieces.
    pub recipe: Recipe,
    /// Octets of the content it is made from.
    pub content: u64,
    /// Where tokens come from.
    pub secret: LinkSecret,
    /// Who shares one.
    pub sharing: Sharing,
}

impl Form {
    /// The group of a recipient: those of one group have one link.
    pub fn group(&self, index: u32) -> u32 {
        self.sharing.group(self.number, index)
    }

    /// The link of a recipient, under this address of the download pages (no slash at its end).
    pub fn link(&self, public_url: &str, index: u32) -> String {
        format!("{public_url}/{}", self.secret.token(self.group(index)))
    }
}

/// Who is charged for the files of a message: the user (login or sender) and the domain; empty where there is none.
pub fn charged(envelope: &Envelope) -> (String, String) {
    let sender = envelope.mail.reverse_path.mailbox();
    if envelope.origin.known_sender {
        let owner = envelope.origin.login.clone().or_else(|| sender.map(|sender| sender.as_str().to_owned()));
        let domain = sender.map(|sender| sender.domain_key()).unwrap_or_default();
        return (owner.unwrap_or_default().to_lowercase(), domain);
    }
    let domain = envelope.recipients().first().map(|(to, _)| to.mailbox.domain_key());
    (String::new(), domain.unwrap_or_default())
}

/// A file of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SharedFile {
    /// Its place.
    pub position: u32,
    /// The sender's name for it, cleaned.
    pub file_name: String,
    /// Its type.
    pub media_type: String,
    /// Octets.
    pub size: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// Downloads counted.
    pub downloads: u64,
    /// What a scanner, or an administrator, says of it.
    #[serde(default)]
    pub check: Check,
    /// Its blob.
    #[serde(skip)]
    pub blob: Option<BlobRef>,
}

/// A link of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkRow {
    /// The first digits of the token's digest: a name for it that opens nothing.
    pub id: String,
    /// Who got it.
    pub recipients: Vec<String>,
    /// The files it leads to, by position; none: all of them.
    #[serde(default)]
    pub files: Option<Vec<u32>>,
    /// It leads nowhere since then.
    pub revoked: Option<Timestamp>,
    /// Downloads counted.
    pub downloads: u64,
    /// The latest of them.
    pub last_download: Option<Timestamp>,
}

impl LinkRow {
    /// Whether it leads to the file at this position.
    pub fn leads_to(&self, position: u32) -> bool {
        self.files.as_ref().is_none_or(|files| files.contains(&position))
    }
}

/// How the links of a share stand, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShareState {
    /// On hold: nothing of it is deleted.
    Hold,
    /// Taken back.
    Revoked,
    /// Its time is up.
    Expired,
    /// Open to whoever has a link.
    Open,
}

impl ShareState {
    /// All of them.
    pub const ALL: [ShareState; 4] =
        [ShareState::Hold, ShareState::Revoked, ShareState::Expired, ShareState::Open];

    /// As lists show it.
    pub fn word(self) -> &'static str {
        match self {
            ShareState::Hold => "hold",
            ShareState::Revoked => "revoked",
            ShareState::Expired => "expired",
            ShareState::Open => "open",
        }
    }
}

/// One message's detached files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The message.
    pub message: MessageId,
    /// When it was accepted.
    pub created: Timestamp,
    /// Its links are good until then.
    pub expires: Timestamp,
    /// Reverse path, empty for `<>`.
    pub sender: String,
    /// Subject, for show.
    #[serde(default)]
    pub subject: String,
    /// Who is charged: user.
    pub owner: String,
    /// Who is charged: domain.
    pub domain: String,
    /// The sender authenticated or is trusted: only such are ever mailed.
    pub known_sender: bool,
    /// Nothing of it is deleted, whatever is due.
    pub hold: bool,
    /// Its links lead nowhere since then.
    pub revoked: Option<Timestamp>,
    /// What else is asked for.
    pub access: Access,
    /// So many downloads of each file by each link; `None`: any number.
    #[serde(default)]
    pub cap: Option<u32>,
    /// Argon2id PHC string; asked for before anything is shown.
    #[serde(skip)]
    pub password: Option<String>,
    /// The sender was told that it will expire unfetched.
    pub reminded: bool,
    /// The sender was told of the first download.
    pub receipted: bool,
    /// A recipient asked for more time since the sender was last told.
    pub asked: bool,
    /// The files, by position.
    pub files: Vec<SharedFile>,
    /// The links.
    pub links: Vec<LinkRow>,
}

impl Share {
    /// Octets of its files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
    /// Downloads counted.
    pub fn downloads(&self) -> u64 {
        self.files.iter().map(|file| file.downloads).sum()
    }

    /// What one of its links leads to.
    pub fn behind(mut self, link: LinkRow) -> Share {
        self.files.retain(|file| link.leads_to(file.position));
        self.links = vec![link];
        self
    }

    /// How it stands now.
    pub fn state(&self, now: Timestamp) -> ShareState {
        match self {
            Share { hold: true, .. } => ShareState::Hold,
            Share { revoked: Some(_), .. } => ShareState::Revoked,
            _ if self.expires <= now => ShareState::Expired,
            _ => ShareState::Open,
        }
    }

    /// Recipients whose link has fetched nothing.
    pub fn unfetched(&self) -> impl Iterator<Item = &str> {
        let links = self.links.iter().filter(|link| link.downloads == 0 && link.revoked.is_none());
        links.flat_map(|link| link.recipients.iter().map(String::as_str))
    }

    /// What the sender has not been told yet. Links that expire `before` then, unfetched, are worth a reminder. Never
    /// anything for a sender that did not prove who he is: whoever misuses an address gets no mail sent to it.
    pub fn untold(&self, before: Timestamp) -> Option<Telling> {
        if !self.known_sender || self.sender.is_empty() || self.revoked.is_some() {
            return None;
        }
        let fetched = self.links.iter().any(|link| link.downloads > 0);
        match self {
            Share { asked: true, .. } => Some(Telling::MoreTime),
            Share { receipted: false, .. } if fetched => Some(Telling::Receipt),
            Share { reminded: false, .. } if self.expires < before && self.unfetched().next().is_some() => {
                Some(Telling::Reminder)
            }
            _ => None,
        }
    }
}

/// What is asked of the shares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShareFilter {
    /// Only this message's.
    pub message: Option<MessageId>,
    /// Only where sender, user or a recipient contains this, case-folded.
    pub address: Option<String>,
    /// Only where the message's id, sender, user, a recipient or the name of a file contains this, case-folded.
    pub text: Option<String>,
    /// Only from this sender, exactly, case-folded.
    pub sender: Option<String>,
    /// Only with this recipient, exactly, case-folded.
    pub recipient: Option<String>,
    /// Only those that expire before.
    pub expires_before: Option<Timestamp>,
    /// Only those on hold (true) or not (false).
    pub hold: Option<bool>,
    /// Only those that stand so.
    pub state: Option<ShareState>,
    /// Only those with a file of which a scanner says this.
    pub check: Option<Check>,
    /// Only those whose message has left the queue.
    pub left_queue: bool,
    /// Only those whose sender has something to be told: see [`Share::untold`], with this time.
    pub untold: Option<Timestamp>,
    /// The newest first, in place of the oldest.
    pub newest_first: bool,
    /// Only those behind this message, in that order.
    pub behind: Option<MessageId>,
    /// At most this many; 0 means 1,000.
    pub limit: usize,
    /// What `state` is judged by; whoever carries a request out sets it.
    #[serde(skip)]
    pub now: Timestamp,
}

/// Where a token leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// The share, with this link as its only one and the files that it leads to.
    pub share: Share,
    /// Downloads counted on this link, all files.
    pub downloads: u64,
    /// The same by file: (position, count); those without any are left out.
    pub fetched: Vec<(u32, u64)>,
}

/// What a link shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The files.
    Open,
    /// That they were taken back.
    Revoked,
    /// That the time is up, and how to ask for more.
    Expired,
    /// As much as a link that never was.
    Gone,
}

impl Landing {
    /// What the link shows now: files until they expire, then for `grace` that they were there.
    pub fn standing(&self, now: Timestamp, grace: Duration) -> Standing {
        let revoked =
            self.share.revoked.is_some() || self.share.links.iter().any(|link| link.revoked.is_some());
        match self.share.expires {
            expires if now >= expires + grace => Standing::Gone,
            _ if revoked => Standing::Revoked,
            expires if now >= expires => Standing::Expired,
            _ => Standing::Open,
        }
    }

    /// How often this link may yet fetch a file; `None`: as often as it likes.
    pub fn left(&self, position: u32) -> Option<u64> {
        let fetched = self.fetched.iter().find(|(at, _)| *at == position).map_or(0, |(_, count)| *count);
        self.share.cap.map(|cap| u64::from(cap).saturating_sub(fetched))
    }
}

/// A change of a share. All but the last three are written to the audit log in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareChange {
    /// A download of these files is counted: all or none. Refused with [`StoreFault::Missing`] if the cap leaves none of
    /// one of them.
    Downloaded {
        /// The link.
        link: TokenHash,
        /// The files, by position, each once.
        files: Vec<u32>,
    },
    /// All links of a message lead nowhere from now on, or one of them, by its id. All: what still waits with them is held
    /// ([`crate::outcome::LinksGone`]).
    Revoke {
        /// The message.
        message: MessageId,
        /// Only this link.
        link: Option<String>,
    },
    /// The links are good until then; also after they were revoked or have expired.
    Extend {
        /// The message.
        message: MessageId,
        /// Until then.
        until: Timestamp,
    },
    /// Legal hold, on or off.
    Hold {
        /// The message.
        message: MessageId,
        /// On.
        on: bool,
    },
    /// Files and links are deleted; what still waits with such links is held ([`crate::outcome::LinksGone`]). Refused with [`StoreFault::Missing`] while there is a hold on it.
    Erase {
        /// The message.
        message: MessageId,
    },
    /// A password is asked for, or no longer.
    Password {
        /// The message.
        message: MessageId,
        /// Argon2id PHC string.
        hash: Option<String>,
    },
    /// The sender has been told.
    Told {
        /// The message.
        message: MessageId,
        /// Of what.
        what: Telling,
    },
    /// A recipient asked for more time.
    Asked {
        /// The link.
        link: TokenHash,
    },
    /// The sender gets a link to the page where he extends the links and takes them back; those he has stay good.
    SenderLink {
        /// The message.
        message: MessageId,
        /// Of a fresh token.
        link: TokenHash,
    },
}

/// What a mail of ours tells the sender of files; noted together with the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareNews {
    /// The message that the files were sent with.
    pub message: MessageId,
    /// What is told.
    pub what: Telling,
    /// Of the fresh token in the mail, which leads to the sender's own page.
    pub link: TokenHash,
}

impl ShareNews {
    /// What it changes.
    pub fn changes(self) -> [ShareChange; 2] {
        let ShareNews { message, what, link } = self;
        [ShareChange::SenderLink { message, link }, ShareChange::Told { message, what }]
    }
}

/// What a sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Telling {
    /// It will expire unfetched.
    Reminder,
    /// It was fetched for the first time.
    Receipt,
    /// A recipient would like more time.
    MoreTime,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRow {
    /// Its number; no number is missing.
    pub number: i64,
    /// When.
    pub at: Timestamp,
    /// `store`, `fetch`, `revoke`, `extend`, `hold`, `release`, `erase`, `password`, `scan`.
    pub what: String,
    /// Who did it: `admin`, `housekeeping`, a client address.
    pub who: String,
    /// The message.
    pub message: Option<MessageId>,
    /// Words.
    pub detail: String,
    /// Digest of the line before it and of this one, in hexadecimal.
    pub chain: String,
}

impl AuditRow {
    /// What `chain` must be, behind a line with this one (empty before the first).
    pub fn chained(&self, before: &str) -> String {
        let mut digest = Sha256::new();
        let message = self.message.map(|id| id.to_string()).unwrap_or_default();
        let (number, at) = (self.number.to_string(), self.at.0.to_string());
        for field in [before, &number, &at, &self.what, &self.who, &message, &self.detail] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        hex(&digest.finalize())
    }
}

/// Octets as hexadecimal digits.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        use std::fmt::Write;
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Octets charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// To the user.
    pub user: u64,
    /// To the domain.
    pub domain: u64,
}

/// Shares, links and the audit log.
pub trait AttachmentStore: Send + Sync {
    /// Where a token leads; whatever its state.
    fn landing(&self, link: TokenHash) -> BoxFuture<'_, Result<Option<Landing>, StoreFault>>;
    /// The share that a sender's link leads to, with its files and links; whatever its state.
    fn sender_share(&self, link: TokenHash) -> BoxFuture<'_, Result<Option<Share>, StoreFault>>;
    /// Shares with their files and links, in the filter's order.
    fn shares(&self, filter: ShareFilter) -> BoxFuture<'_, Result<Vec<Share>, StoreFault>>;
    /// Changes a share. `who` is for the audit log. `Ok` only when durable.
    fn change(
        &self,
        change: ShareChange,
        who: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// What is charged to a user and a domain (see [`charged`]); an empty name is charged nothing.
    fn usage(&self, owner: String, domain: String) -> BoxFuture<'_, Result<Usage, StoreFault>>;
    /// Blobs that no share names any more, at most `limit`: delete them, then say `forget_blobs`.
    fn doomed_blobs(&self, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>>;
    /// These doomed blobs are deleted.
    fn forget_blobs(&self, names: Vec<String>) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Those of these names that have no row: nobody knows them.
    fn unknown_blobs(&self, names: Vec<String>) -> BoxFuture<'_, Result<Vec<String>, StoreFault>>;
    /// Blobs that wait for a scanner, at most `limit`, oldest first.
    fn unchecked_blobs(&self, limit: usize) -> BoxFuture<'_, Result<Vec<BlobRef>, StoreFault>>;
    /// What is said of a blob; fine if it has gone. `Ok` only when durable. All but that a scanner finds it clear is
    /// written to the audit log, once for every message that has it, with `who` and `detail` (what was found).
    fn set_check(
        &self,
        blob: String,
        check: Check,
        detail: String,
        who: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>>;
    /// Messages that a blob is a file of.
    fn messages_of(&self, blob: String) -> BoxFuture<'_, Result<Vec<MessageId>, StoreFault>>;
    /// Lines of the audit log behind this number, of all messages or of one, at most `limit`.
    fn audit(
        &self,
        after: i64,
        message: Option<MessageId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<AuditRow>, StoreFault>>;
}
