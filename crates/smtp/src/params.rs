//! What MAIL and RCPT carry besides the path: the parameters of RFC 1870, 3030, 3461, 4954, 6152, 6531, as types.

use crate::address::{Mailbox, ReversePath};

/// BODY= of MAIL (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// 7BIT, or nothing said.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// RET= of MAIL (RFC 3461 §4.3): how much of the message a DSN returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header only.
    Hdrs,
}

/// NOTIFY= of RCPT (RFC 3461 §4.1). All false is `NEVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// A DSN when delivered (or relayed to a host without DSN).
    pub success: bool,
    /// A DSN when it failed.
    pub failure: bool,
    /// A DSN when it is late.
    pub delay: bool,
}

/// ORCPT= of RCPT (RFC 3461 §4.2), checked, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orcpt {
    /// `rfc822`, `utf-8` ...
    pub address_type: String,
    /// The address, still in xtext.
    pub xtext: String,
}

/// A MAIL command that has been parsed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailFrom {
    /// MAIL FROM address; null for notices.
    pub reverse_path: ReversePath,
    /// SIZE=, in octets (RFC 1870). Saturated: a number past 64 bits is "too big", never small.
    pub size: Option<u64>,
    /// BODY=.
    pub body: BodyKind,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH= (RFC 4954 §5), decoded from xtext, never trusted: a client's claim.
    pub auth: Option<String>,
    /// RET=.
    pub ret: Option<Ret>,
    /// ENVID=, still in xtext, at most 100 characters.
    pub envid: Option<String>,
}

/// A RCPT command that has been parsed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptTo {
    /// The recipient. A bare `<postmaster>` has our host name as its domain (RFC 5321 §4.5.1).
    pub mailbox: Mailbox,
    /// NOTIFY=; `None` when not given (then failures and delays are told, RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT=.
    pub orcpt: Option<Orcpt>,
}
