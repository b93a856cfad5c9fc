//! Envelopes: what is kept of a transaction, from RCPT to the last settled recipient.

use crate::policy::RelayPermit;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use vouchsafe_smtp::{MailFrom, RcptTo};

/// Id of a message: UUID v7, so ids sort by time of arrival. Ties all log lines, rows and pages together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct MessageId(pub uuid::Uuid);

impl MessageId {
    /// A fresh id for a message that arrives now.
    pub fn at(now: Timestamp) -> MessageId {
        let micros = u64::try_from(now.0).unwrap_or(0);
        let nanos = u32::try_from(micros % 1_000_000 * 1000).unwrap_or(0);
        MessageId(uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, micros / 1_000_000, nanos)))
    }

    /// Whether it begins with these small letters and figures: as logs write it, or with the hyphens of JSON.
    pub fn begins_with(self, text: &str) -> bool {
        let (mut simple, mut hyphenated) = ([0; 32], [0; 36]);
        self.0.simple().encode_lower(&mut simple).starts_with(text)
            || self.0.hyphenated().encode_lower(&mut hyphenated).starts_with(text)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<MessageId, uuid::Error> {
        uuid::Uuid::parse_str(s).map(MessageId)
    }
}

/// Which route a recipient takes; looked up in the settings at every attempt, so that a mended next hop reaches
/// queued mail too. Stored as `relay` or `domain:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RouteKey {
    /// `[relay] next_hop`.
    Relay,
    /// `[[domain]] next_hop` of this accepted domain.
    Domain(String),
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteKey::Relay => f.write_str("relay"),
            RouteKey::Domain(name) => write!(f, "domain:{name}"),
        }
    }
}

impl FromStr for RouteKey {
    type Err = String;
    fn from_str(s: &str) -> Result<RouteKey, String> {
        match s.strip_prefix("domain:") {
            Some(name) => Ok(RouteKey::Domain(name.to_owned())),
            None if s == "relay" => Ok(RouteKey::Relay),
            None => Err(format!("unknown route {s:?}")),
        }
    }
}

/// Where a message came from; decides who may get a bounce, and fills the trace header and `queue show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Session id, as in the log.
    pub session: String,
    /// Listener name.
    pub listener: String,
    /// Client address.
    pub client: Option<std::net::IpAddr>,
    /// Its port, where known.
    pub port: Option<u16>,
    /// Its name in EHLO or HELO, as it came; empty for our own notices.
    pub helo: String,
    /// It said EHLO.
    pub esmtp: bool,
    /// Login name, if the client authenticated. Never written into the message.
    pub login: Option<String>,
    /// The sender authenticated or is in a trusted network: it always gets its bounces (DESIGN section 6).
    pub known_sender: bool,
    /// SPF or an aligned DKIM signature proved the reverse path ([`crate::authentication::Proof::of`]).
    pub proven: bool,
}

/// A transaction's envelope. `add` is the only way in for a recipient, and it wants a permit (promise 2).
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Message id.
    pub id: MessageId,
    /// When the transaction began.
    pub received_at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// MAIL, parsed.
    pub mail: MailFrom,
    recipients: Vec<(RcptTo, RelayPermit)>,
}

impl Envelope {
    /// An envelope without recipients.
    pub fn new(id: MessageId, received_at: Timestamp, origin: Origin, mail: MailFrom) -> Envelope {
        Envelope { id, received_at, origin, mail, recipients: Vec::new() }
    }
    /// Lets a recipient in.
    pub fn add(&mut self, recipient: RcptTo, permit: RelayPermit) {
        self.recipients.push((recipient, permit));
    }
    /// The recipients in the order of their RCPT.
    pub fn recipients(&self) -> &[(RcptTo, RelayPermit)] {
        &self.recipients
    }
}

/// What has become of a recipient in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecipientState {
    /// Still to be tried.
    Pending,
    /// The next hop took it.
    Delivered,
    /// Given up; a DSN was queued if one was due.
    Failed,
    /// Kept for the administrator, not tried.
    Held,
}

/// A recipient beneath a delivery row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRecipient {
    /// Place in the message's recipient list; with the message id its key.
    pub index: u32,
    /// Address and DSN wishes.
    pub to: RcptTo,
    /// State.
    pub state: RecipientState,
    /// The last words about it, ours or the next hop's; empty before the first attempt.
    pub last_reply: String,
    /// A delay notice has been sent.
    pub warned: bool,
}
