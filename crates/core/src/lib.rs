//! The gateway's rules, pure: time and chance are arguments, the outside world is a port.
//!
//! Invariant: no runtime, no socket, no file, no SQL. What is decided here can be tested in a microsecond.

pub mod attachments;
pub mod authentication;
pub mod authors;
pub mod automatic;
pub mod bounded;
pub mod breaker;
pub mod bucket;
pub mod cache;
pub mod cap;
pub mod catch_all;
pub mod code;
pub mod detach;
pub mod directory;
pub mod doctor;
pub mod dsn;
pub mod endpoint;
pub mod envelope;
pub mod fair;
pub mod figures;
pub mod guard;
pub mod headers;
pub mod links;
pub mod mechanisms;
pub mod outcome;
pub mod policy;
pub mod ports;
pub mod recipe;
pub mod refusals;
pub mod relay_probe;
pub mod retry;
pub mod rewrite;
pub mod scan;
pub mod send_as;
pub mod share_mail;
pub mod stagger;
pub mod stub;
pub mod time;
pub mod trace;
pub mod trial;
pub mod verdict;
pub mod zip;

pub use endpoint::{Endpoint, Protocol, Tell, TlsMode};
pub use envelope::{Envelope, MessageId, Origin, QueuedRecipient, RecipientState, RouteKey};
pub use time::Timestamp;
pub use verdict::Verdict;
