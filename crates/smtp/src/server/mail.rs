//! Server side of MAIL: the argument, and the size it declares. Never decides who may send (the machine asks).
//!
//! Proof: `transcripts/server/mail_*`.

use super::{Config, replies};
use crate::command::after_keyword;
use crate::params::MailFrom;
use crate::reply::Reply;

/// Why MAIL was refused.
pub(super) enum Refused {
    /// The client's mistake, counted as one.
    Bad(Reply),
    /// An honest message that is too big (RFC 1870 §6.1).
    TooBig,
}

/// What stands behind `MAIL`.
pub(super) fn parse(config: &Config, argument: &str) -> Result<MailFrom, Refused> {
    let path = after_keyword(argument, "FROM")
        .ok_or_else(|| Refused::Bad(replies::syntax("MAIL FROM:<address> expected")))?;
    let mail = MailFrom::parse(path).map_err(Refused::Bad)?;
    match (mail.size, config.message_size) {
        (Some(size), Some(limit)) if size > limit => Err(Refused::TooBig),
        _ => Ok(mail),
    }
}
