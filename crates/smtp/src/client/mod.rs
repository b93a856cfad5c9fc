//! The client's side of an SMTP session as a state machine without I/O: callouts, AUTH and delivery alike.

mod fault;

pub use fault::{FaultKind, Phase, Timeouts};

use crate::reply::Reply;

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeliveryReplies {
    /// The reply to MAIL, if it was refused; then nothing else was asked.
    pub mail: Option<Reply>,
    /// The reply to each RCPT, in order; empty if MAIL was refused.
    pub recipients: Vec<Reply>,
    /// The reply that refused DATA, or the final reply to the dot. `None` if no recipient was taken.
    pub data: Option<Reply>,
    /// The session may be used for another transaction.
    pub reusable: bool,
}
