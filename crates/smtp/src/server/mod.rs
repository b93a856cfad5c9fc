//! The server's side of an SMTP session as a state machine without I/O.
//!
//! Input: [`Server::receive`], [`Server::eof`], [`Server::answer`], [`Server::refuse_body`], [`Server::tls_started`],
//! [`Server::tls_failed`], [`Server::tick`], [`Server::drain`]. After each, [`Server::poll`] is called until it says
//! [`Output::Idle`] or [`Output::Close`] (debug builds assert it).
//!
//! Rules kept here (DESIGN section 3; a transcript each): one question is open at a time; consecutive pipelined RCPTs
//! form one question of at most 50, its answers come one by one in any order, replies leave in command order; an
//! answer with a stale id is ignored; EOF cancels every question but Commit; while a question is open reading goes on
//! up to [`READ_AHEAD`]; octets behind DATA before our 354 close an `mx` session; octets behind BDAT are its chunk.

use crate::data::BareNewline;
use crate::limits::Limits;
use crate::params::{MailFrom, RcptTo};
use crate::reply::Reply;
use crate::secret::Secret;
use crate::time::Tick;
use std::sync::Arc;
use std::time::Duration;

/// Octets buffered while a question is open; beyond it `Idle.read` is false.
pub const READ_AHEAD: usize = 64 * 1024;
/// Recipients in one [`Question::Recipients`].
pub const RECIPIENT_BATCH: usize = 50;

/// How a listener's sessions behave. Shared by all of them.
#[derive(Clone, Debug)]
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
    SaslStart { mechanism: String, initial: Option<Secret> },
    /// The client's next response, decoded.
    SaslStep(Secret),
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
    /// Refused, with this reply.
    No(Reply),
    /// One recipient of the batch; the reply's class tells whether it stands.
    Recipient { index: usize, reply: Reply },
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
    /// The question is void; its answer will be ignored.
    Cancel(QuestionId),
    /// Octets of the body: dot-unstuffed, line endings as the policy wants.
    Body(&'a [u8]),
    /// The body is whole; a Commit question follows (or a refusal, if `refuse_body` was called).
    BodyEnd,
    /// The transaction is over without a commit: throw the envelope and the body away.
    Dropped,
    /// Write what is queued, then shake hands; report with `tls_started` or `tls_failed`.
    StartTls,
    /// Write what is queued, then close.
    Close(Why),
    /// Nothing to do until input comes or `until` is reached; read only if `read`.
    Idle { until: Tick, read: bool },
}

/// The server machine. One per session; small when idle (buffers are given back).
pub struct Server {
    config: Arc<Config>,
}

impl Server {
    /// A session on a fresh connection; `tls` is true when TLS is already on (implicit).
    pub fn new(config: Arc<Config>, tls: bool, now: Tick) -> Server {
        let _ = (tls, now);
        Server { config }
    }
    /// Octets came from the peer.
    pub fn receive(&mut self, bytes: &[u8], now: Tick) {
        let _ = (bytes, now);
    }
    /// The peer closed its side.
    pub fn eof(&mut self, now: Tick) {
        let _ = now;
    }
    /// The gateway answers a question. Stale ids are ignored.
    pub fn answer(&mut self, id: QuestionId, answer: Answer, now: Tick) {
        let _ = (id, answer, now);
    }
    /// The body under way cannot be kept (disk full, too large): the rest is consumed and answered with `reply`.
    pub fn refuse_body(&mut self, reply: Reply) {
        let _ = reply;
    }
    /// The handshake succeeded: everything said before is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self, now: Tick) {
        let _ = now;
    }
    /// The handshake failed: the session closes.
    pub fn tls_failed(&mut self) {}
    /// Time went by.
    pub fn tick(&mut self, now: Tick) {
        let _ = now;
    }
    /// We shut down: `421 4.3.2` at the next command boundary; a body or Commit under way is finished first.
    pub fn drain(&mut self) {}
    /// The next thing to do. Call until `Idle` or `Close`.
    pub fn poll(&mut self) -> Output<'_> {
        let _ = &self.config;
        Output::Idle { until: Tick(0), read: true }
    }
    /// EHLO or HELO as given by the client: (name, true if EHLO).
    pub fn hello(&self) -> Option<(&str, bool)> {
        None
    }
}
