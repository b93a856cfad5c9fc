//! What the server machine is told and what it says: settings, questions, answers, outputs. Types only.

use std::sync::Arc;
use std::time::Duration;

use super::Claim;
use crate::data::BareNewline;
use crate::limits::Limits;
use crate::params::{MailFrom, RcptTo};
use crate::reply::Reply;
use crate::secret::Secret;
use crate::time::Tick;

/// Octets buffered while a question is open; beyond it `Idle.read` is false.
pub const READ_AHEAD: usize = 64 * 1024;
/// Recipients in one [`Question::Recipients`].
pub const RECIPIENT_BATCH: usize = 50;
/// A question open for so long is given up: the gateway's own deadlines are far shorter, so its task must have died.
/// Commit has none: it is never cancelled.
pub const QUESTION_BACKSTOP: Duration = Duration::from_secs(600);

/// How a listener's sessions behave. Shared by all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What we call ourselves in banner and EHLO.
    pub hostname: String,
    /// STARTTLS is offered (a certificate is there and the listener is not implicit).
    pub starttls: bool,
    /// AUTH mechanisms to announce, in order; empty: AUTH is not offered.
    pub mechanisms: Vec<String>,
    /// AUTH is offered and taken without TLS (`auth_without_tls`).
    pub auth_in_clear: bool,
    /// MAIL needs AUTH first: `530 5.7.0` (submission).
    pub auth_required: bool,
    /// SIZE to announce and hold; `None`: no limit (announced as 0).
    pub message_size: Option<u64>,
    /// Line-ending policy of bodies.
    pub bare_newline: BareNewline,
    /// Octets behind DATA before our 354 close the session (mx).
    pub close_on_early_data: bool,
    /// Wait before the banner; who talks before it gets `554 5.5.0` and is closed. Zero: none.
    pub greet_wait: Duration,
    /// XCLIENT is offered and believed: the peer is a named proxy.
    pub xclient: bool,
    /// The named limits.
    pub limits: Limits,
}

/// Ties an answer to its question. Ids are never used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuestionId(pub u64);

/// DATA or BDAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyVerb {
    /// RFC 5321 DATA, ended by a lone dot.
    Data,
    /// RFC 3030 BDAT, counted.
    Bdat,
}

/// What the machine cannot decide alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// May this peer talk to us? Asked once, before the banner.
    Connect,
    /// MAIL, parsed. Yes: `Answer::Yes(250)`.
    Mail(MailFrom),
    /// One to [`RECIPIENT_BATCH`] pipelined RCPTs; answered by index with [`Answer::Recipient`].
    Recipients(Vec<RcptTo>),
    /// AUTH MECHANISM [initial response]; mechanism in upper case, response decoded from base64.
    SaslStart {
        /// One of [`Config::mechanisms`].
        mechanism: String,
        /// The initial response, if the client sent one (it may be empty).
        initial: Option<Secret>,
    },
    /// The client's next response, decoded.
    SaslStep(Secret),
    /// XCLIENT: from now on the session is this client's. Yes: [`Answer::Anew`].
    Client(Claim),
    /// A body is about to start: `Yes` lets it, `No` refuses before 354 (452, 552). Asked for DATA and the first BDAT.
    Body(BodyVerb),
    /// The body is whole. `Yes(250 …)` only when it is durable. Never cancelled.
    Commit,
}

/// The gateway's word on a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on, with this reply (Connect: the text is unused; Body: unused; SASL: 235; Mail, Commit: 250).
    Yes(Reply),
    /// Refused, with this reply. For Recipients: all that have no answer yet. A 421 closes the session.
    No(Reply),
    /// One recipient of the batch; the reply's class tells whether it stands.
    Recipient {
        /// Its place in [`Question::Recipients`].
        index: usize,
        /// 2yz: it stands.
        reply: Reply,
    },
    /// Client: the session begins anew under these settings, with a banner.
    Anew(Arc<Config>),
    /// SASL: a challenge for the client (raw; the machine encodes it).
    Challenge(Vec<u8>),
}

/// Why a session ends; for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// QUIT.
    Quit,
    /// The peer closed.
    Eof,
    /// Refused at Connect.
    Refused,
    /// A timeout of the named kind.
    Timeout(&'static str),
    /// A limit of the named kind.
    Limit(&'static str),
    /// Talk before banner or 354, HTTP, TLS failure, plain text behind STARTTLS.
    Protocol(&'static str),
    /// We shut down.
    Drain,
}

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Queue this reply; all replies of a poll round leave in one write.
    Send(Reply),
    /// Ask the gateway.
    Ask(QuestionId, Question),
    /// The question is void; its answer will be ignored. For a SASL question that was answered with a challenge: the
    /// exchange is over without a result.
    Cancel(QuestionId),
    /// Octets of the body: dot-unstuffed, line endings as the policy wants.
    Body(&'a [u8]),
    /// The body is whole; a Commit question follows (or a refusal, if `refuse_body` is called before it is polled).
    /// A body that was refused before its end has no `BodyEnd`: `Dropped` came at the refusal, the reply at the end.
    BodyEnd,
    /// The transaction is over without a commit: throw the envelope and the body away.
    Dropped,
    /// Write what is queued, then shake hands; report with `tls_started` or `tls_failed`.
    StartTls,
    /// Write what is queued, then close.
    Close(Why),
    /// Nothing to do until input comes or `until` is reached; read only if `read`.
    Idle {
        /// Call `tick` then, if nothing else came.
        until: Tick,
        /// Octets are wanted.
        read: bool,
    },
}
