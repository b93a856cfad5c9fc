//! The driver around the client machine: one connection to a delegate or a next hop.

use crate::stream::Dial;
use crate::tls::TlsFacts;
use std::fmt;
use std::sync::Arc;
use vouchsafe_core::Endpoint;
use vouchsafe_core::ports::BodyReader;
use vouchsafe_smtp::extension::Capabilities;
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, Reply, ReversePath, Secret};

pub use vouchsafe_smtp::client::{DeliveryReplies, FaultKind, Phase, Timeouts};

/// What connections are made with; shared by all.
pub struct Connector {
    dial: Arc<dyn Dial>,
}

impl Connector {
    /// A connector over `dial`; the TLS configurations are built when first needed.
    pub fn new(dial: Arc<dyn Dial>) -> Connector {
        Connector { dial }
    }
}

/// How we greet.
#[derive(Clone, Debug)]
pub struct Hello {
    /// What we call ourselves.
    pub name: String,
    /// The loop guard's token, sent as the first label of the EHLO name (`TOKEN.name`); `None`: the bare name.
    pub token: Option<String>,
}

/// Takes every line of the dialogue (true: we sent it); secrets and challenges are masked.
pub type TraceSink = Option<Arc<dyn Fn(bool, &str) + Send + Sync>>;

/// Why a connection cannot go on. It is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was under way.
    pub phase: Phase,
    /// `host:port`.
    pub endpoint: String,
    /// What happened.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.endpoint)?;
        self.kind.tell(self.phase, f)
    }
}
impl std::error::Error for Fault {}

/// One connection.
pub struct Connection {
    capabilities: Capabilities,
    tls: Option<TlsFacts>,
    endpoint: String,
}

impl Connection {
    /// Connects, waits for the banner, greets, starts TLS as `endpoint.tls` says, greets again, and logs in if
    /// `endpoint.login` is set.
    pub async fn open(
        connector: &Connector,
        endpoint: &Endpoint,
        hello: &Hello,
        timeouts: &Timeouts,
        trace: TraceSink,
    ) -> Result<Connection, Fault> {
        let _ = (hello, timeouts, trace, &connector.dial);
        let kind = FaultKind::Unreachable("not connected".to_owned());
        Err(Fault { phase: Phase::Connect, endpoint: endpoint.to_string(), kind })
    }

    /// What the peer offers (after TLS, if it is on).
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Version, cipher and key of TLS, if it is on.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// True if the session stands idle and the peer has neither closed it nor spoken. Costs no round trip; ask before
    /// taking a kept session.
    pub fn is_ready(&mut self) -> bool {
        false
    }

    /// Asks about `recipients`: MAIL, RCPT.., RSET in one write if the peer takes it, else one by one. `answers` gets
    /// each reply as it arrives. A batch that the peer ends early (452 4.5.3) leaves the rest unanswered and is `Ok`:
    /// ask anew. `Err`: the connection is closed, what is unanswered is unavailable. MAIL refused: `Err` at
    /// [`Phase::Mail`].
    pub async fn callout(
        &mut self,
        sender: &ReversePath,
        recipients: &[Mailbox],
        answers: &mut (dyn FnMut(usize, &Reply) + Send),
    ) -> Result<(), Fault> {
        let _ = (sender, recipients, answers);
        Err(self.fault(Phase::Mail))
    }

    /// Logs in with PLAIN or LOGIN, as offered. The final reply: 235, or why not. No credential leaves us without TLS
    /// unless the endpoint's mode is Off or Opportunistic.
    pub async fn auth(&mut self, user: &str, password: &Secret) -> Result<Reply, Fault> {
        let _ = (user, password);
        Err(self.fault(Phase::Auth))
    }

    /// Sends one message. `size` is that of `body`, announced if the peer offers SIZE.
    pub async fn deliver(
        &mut self,
        mail: &MailFrom,
        recipients: &[RcptTo],
        size: u64,
        body: &mut dyn BodyReader,
    ) -> Result<DeliveryReplies, Fault> {
        let _ = (mail, recipients, size, body);
        Err(self.fault(Phase::Mail))
    }

    /// Says QUIT and closes.
    pub async fn quit(self) {}

    fn fault(&self, phase: Phase) -> Fault {
        Fault { phase, endpoint: self.endpoint.clone(), kind: FaultKind::Closed }
    }
}
