//! Why a session cannot go on: where it stood and what happened. Typed by what the caller does next.
//!
//! Every fault ends the connection (DESIGN section 3: after a timeout or any unexpected reply it is closed, never
//! continued). None of them is ever about a recipient or a password: a verdict made of one is Unavailable.

use crate::reply::Reply;
use std::fmt;
use std::time::Duration;

/// What was under way: the command whose reply was awaited, or what was being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Name look-up and TCP.
    Connect,
    /// The greeting.
    Banner,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and the handshake.
    StartTls,
    /// XCLIENT or XFORWARD.
    Identity,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, until 354.
    Data,
    /// The body is being sent.
    Body,
    /// The final dot was sent.
    Dot,
    /// RSET, or idle between two tasks.
    Reset,
    /// QUIT.
    Quit,
}

impl Phase {
    /// One lower-case word, as logs and transcripts name it.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Connect => "connect",
            Phase::Banner => "banner",
            Phase::Ehlo => "ehlo",
            Phase::StartTls => "starttls",
            Phase::Identity => "identity",
            Phase::Auth => "auth",
            Phase::Mail => "mail",
            Phase::Rcpt => "rcpt",
            Phase::Data => "data",
            Phase::Body => "body",
            Phase::Dot => "dot",
            Phase::Reset => "reset",
            Phase::Quit => "quit",
        }
    }
    /// As it stands in a sentence.
    fn told(self) -> &'static str {
        match self {
            Phase::Connect => "the connection",
            Phase::Banner => "the greeting",
            Phase::Ehlo => "EHLO",
            Phase::StartTls => "STARTTLS",
            Phase::Identity => "the client's identity",
            Phase::Auth => "AUTH",
            Phase::Mail => "MAIL",
            Phase::Rcpt => "RCPT",
            Phase::Data => "DATA",
            Phase::Body => "the body",
            Phase::Dot => "the final dot",
            Phase::Reset => "RSET",
            Phase::Quit => "QUIT",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// No connection: name, route, refusal.
    Unreachable(String),
    /// No answer in time.
    Timeout,
    /// TLS is demanded and was not offered, was refused, or the handshake or the certificate failed.
    TlsRefused(String),
    /// A negative reply where the session cannot go on.
    Refused(Reply),
    /// The peer closed, or the connection broke.
    Closed,
    /// Octets that are no reply, or a reply to something that was not asked.
    Garbage(String),
    /// Our side will not or cannot go on: settings, or the store.
    Local(String),
}

impl FaultKind {
    /// One lower-case word, as logs and transcripts name it.
    pub fn word(&self) -> &'static str {
        match self {
            FaultKind::Unreachable(_) => "unreachable",
            FaultKind::Timeout => "timeout",
            FaultKind::TlsRefused(_) => "tls",
            FaultKind::Refused(_) => "refused",
            FaultKind::Closed => "closed",
            FaultKind::Garbage(_) => "garbage",
            FaultKind::Local(_) => "local",
        }
    }
    /// The sentence behind the endpoint's name: `refused MAIL (421 4.3.2 Service not active)`.
    pub fn tell(&self, phase: Phase, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = phase.told();
        match self {
            FaultKind::Unreachable(why) => write!(f, "is unreachable: {why}"),
            FaultKind::Timeout => write!(f, "did not answer {at} in time"),
            FaultKind::TlsRefused(why) => write!(f, "has no TLS that we can use: {why}"),
            FaultKind::Refused(reply) if phase == Phase::Banner => write!(f, "refused us ({reply})"),
            FaultKind::Refused(reply) => write!(f, "refused {at} ({reply})"),
            FaultKind::Closed => write!(f, "closed the connection at {at}"),
            FaultKind::Garbage(what) => write!(f, "broke the protocol at {at}: {what}"),
            FaultKind::Local(why) => write!(f, "was not asked at {at}: {why}"),
        }
    }
}

/// How long each answer may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name look-up and TCP, all addresses together.
    pub connect: Duration,
    /// Banner, EHLO, handshake, AUTH, MAIL, RCPT, DATA: each reply on its own.
    pub command: Duration,
    /// No octet of the body could be sent for this long.
    pub data_block: Duration,
    /// The reply to the final dot (RFC 1047: rather long than a duplicate).
    pub dot: Duration,
}

impl Default for Timeouts {
    /// RFC 5321 §4.5.3.2.5 and .6 for body and dot. Commands get 60 s, above the longest tarpit known (FACTS
    /// section 2), instead of 5 min: callers that can wait raise it.
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            command: Duration::from_secs(60),
            data_block: Duration::from_secs(180),
            dot: Duration::from_secs(600),
        }
    }
}
