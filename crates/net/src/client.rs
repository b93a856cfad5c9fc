//! The driver around the client machine: one connection to a delegate or a next hop.
//!
//! Moves octets and keeps deadlines; every move of the dialogue is the machine's (`vouchsafe_smtp::client`). Reads
//! while it writes, so that a peer that answers early never stands against us. A future of an operation that is
//! dropped half-way leaves a session that refuses the next one: drop the connection too.
//! Proof: `tests/client.rs`; the machine's rules: `transcripts/client`, `transcripts/delegate`.

use crate::stream::{BoxStream, Dial};
use crate::tls::{TlsClients, TlsFacts};
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};
use vouchsafe_core::ports::{BodyReader, StoreFault};
use vouchsafe_core::{Endpoint, Protocol, TlsMode};
use vouchsafe_smtp::client::{Client, Config, Done, Output, UseTls};
use vouchsafe_smtp::extension::Capabilities;
use vouchsafe_smtp::sasl::Mechanism;
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, Reply, ReversePath, Secret, Tick};

pub use vouchsafe_smtp::client::{DeliveryReplies, FaultKind, Identity, Phase, Timeouts};

/// Octets read at once. Held only while an operation runs.
const READ: usize = 4 * 1024;
/// The longest we wait for the answer to QUIT: the work is done, only manners are left.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// What connections are made with; shared by all.
pub struct Connector {
    dial: Arc<dyn Dial>,
    tls: TlsClients,
}

impl Connector {
    /// True if the connection that `peer` opened, and that arrived at `at` (`None`: at a front end), is one that we have
    /// opened.
    pub fn is_ours(&self, peer: SocketAddr, at: Option<SocketAddr>) -> bool {
        self.dial.is_ours(peer, at)
    }

    /// A connector over `dial`; the TLS configurations are built when first needed.
    pub fn new(dial: Arc<dyn Dial>) -> Connector {
        Connector { dial, tls: TlsClients::default() }
    }

    /// Connects, and shakes hands where TLS is on from the first octet.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        timeouts: &Timeouts,
        trace: &TraceSink,
    ) -> Result<(BoxStream, Option<TlsFacts>), Fault> {
        let fault = |phase, kind| Fault { phase, endpoint: endpoint.to_string(), kind };
        let unreachable = |why: String| fault(Phase::Connect, FaultKind::Unreachable(why));
        let stream = match timeout(timeouts.connect, self.dial.dial(&endpoint.host, endpoint.port)).await {
            Ok(dialled) => dialled.map_err(|e| unreachable(e.to_string()))?,
            Err(_) => return Err(unreachable("no answer".to_owned())),
        };
        if !endpoint.implicit_tls {
            return Ok((stream, None));
        }
        let shake = self.tls.connect(&endpoint.tls, &endpoint.host, stream);
        let (secured, facts) = match timeout(timeouts.command, shake).await {
            Ok(shaken) => shaken.map_err(|why| fault(Phase::StartTls, FaultKind::TlsRefused(why)))?,
            Err(_) => return Err(fault(Phase::StartTls, FaultKind::Timeout)),
        };
        say(trace, false, &format!("({facts})"));
        Ok((secured, Some(facts)))
    }
}

/// How we greet.
#[derive(Clone, Debug)]
pub struct Hello {
    /// What we call ourselves.
    pub name: String,
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

impl Fault {
    /// True if the peer takes no further session just now: 421 in place of its banner, or not a word.
    pub fn is_busy(&self) -> bool {
        match &self.kind {
            FaultKind::Refused(reply) => {
                reply.code == 421 && matches!(self.phase, Phase::Banner | Phase::Ehlo)
            }
            FaultKind::Closed => self.phase == Phase::Banner,
            _ => false,
        }
    }
    /// True if the peer ended the session between two recipients, or behind them.
    pub fn is_farewell(&self) -> bool {
        let ended = match &self.kind {
            FaultKind::Closed => true,
            FaultKind::Refused(reply) => reply.code == 421,
            _ => false,
        };
        ended && matches!(self.phase, Phase::Rcpt | Phase::Reset)
    }
    /// True if a kept session had ended before it heard what we asked: ask again on a fresh connection.
    pub fn is_stale_session(&self) -> bool {
        let ended = match &self.kind {
            FaultKind::Closed => true,
            FaultKind::Refused(reply) => reply.code == 421,
            _ => false,
        };
        ended && matches!(self.phase, Phase::Identity | Phase::Mail | Phase::Reset)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.endpoint)?;
        self.kind.tell(self.phase, f)
    }
}
impl std::error::Error for Fault {}

/// How a step of an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchanged {
    /// The peer's challenge, decoded.
    Challenge(Vec<u8>),
    /// 235, or why not.
    Done(Reply),
}

/// One connection. Small when idle: its buffers live while an operation runs.
pub struct Connection {
    machine: Client,
    /// `None` once the session is over.
    stream: Option<BoxStream>,
    /// The peer takes no more octets; what it still says is read.
    deaf: bool,
    /// Octets may still stand in the TLS layer.
    unflushed: bool,
    endpoint: Endpoint,
    tls: Option<TlsFacts>,
    trace: TraceSink,
    /// Zero of the machine's clock.
    start: Instant,
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
        let (stream, tls) = connector.connect(endpoint, timeouts, &trace).await?;
        let clear = matches!(endpoint.tls, TlsMode::Off | TlsMode::Opportunistic);
        let config = Config {
            hello: hello.name.clone(),
            lmtp: endpoint.protocol == Protocol::Lmtp,
            tls: match endpoint.tls {
                TlsMode::Verify | TlsMode::Pin(_) => UseTls::Demanded,
                TlsMode::Opportunistic => UseTls::IfOffered,
                TlsMode::Off => UseTls::Never,
            },
            auth_in_clear: clear,
            login: endpoint.login.clone(),
            timeouts: timeouts.clone(),
            trace: trace.is_some(),
        };
        let mut connection = Connection {
            machine: Client::new(config, tls.is_some(), Tick(0)),
            stream: Some(stream),
            deaf: false,
            unflushed: false,
            endpoint: endpoint.clone(),
            tls,
            trace,
            start: Instant::now(),
        };
        let mut opening = Opening { connector };
        connection.run(&mut opening).await?;
        Ok(connection)
    }

    /// What the peer offers (after TLS, if it is on).
    pub fn capabilities(&self) -> &Capabilities {
        self.machine.capabilities()
    }

    /// Whom this is a connection to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// From now on the dialogue goes there.
    pub fn set_trace(&mut self, trace: TraceSink) {
        self.machine.set_traced(trace.is_some());
        self.trace = trace;
    }

    /// Version, cipher and key of TLS, if it is on.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// True if the session stands idle and the peer has neither closed it nor spoken. Costs no round trip; ask before
    /// taking a kept session.
    pub fn is_ready(&mut self) -> bool {
        let now = self.now();
        let Some(stream) = &mut self.stream else { return false };
        let mut octets = [0; 512];
        let mut buffer = ReadBuf::new(&mut octets);
        match Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.machine.receive(buffer.filled(), now),
            Poll::Ready(_) => self.stream = None,
        }
        self.stream.is_some() && self.machine.is_ready()
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
        self.machine.callout(sender, recipients, self.now());
        self.run(&mut Asking { answers }).await.map(|_| ())
    }

    /// As [`Connection::callout`], about one recipient, who is refused at RCPT or DATA. Behind a 354 the connection is
    /// closed.
    pub async fn callout_by_data(
        &mut self,
        sender: &ReversePath,
        recipient: &Mailbox,
        answers: &mut (dyn FnMut(usize, &Reply) + Send),
    ) -> Result<(), Fault> {
        self.machine.callout_by_data(sender, recipient, self.now());
        if self.run(&mut Asking { answers }).await? == Done::Taken {
            self.stream = None;
        }
        Ok(())
    }

    /// Logs in with PLAIN or LOGIN, as offered. The final reply: 235, or why not. No credential leaves us without TLS
    /// unless the endpoint's mode is Off or Opportunistic.
    pub async fn auth(&mut self, user: &str, password: &Secret) -> Result<Reply, Fault> {
        self.machine.authenticate(user, password, self.now());
        match self.run(&mut Nothing).await? {
            Done::Auth(reply) => Ok(reply),
            other => Err(self.confused(Phase::Auth, &other)),
        }
    }

    /// Begins an exchange of `mechanism`, whose responses somebody else makes. Nothing leaves without TLS, as with
    /// [`Connection::auth`].
    pub async fn exchange(
        &mut self,
        mechanism: Mechanism,
        initial: Option<&Secret>,
    ) -> Result<Exchanged, Fault> {
        self.machine.exchange(mechanism, initial, self.now());
        self.exchanged().await
    }

    /// The response to the challenge that the last step brought.
    pub async fn respond(&mut self, response: &Secret) -> Result<Exchanged, Fault> {
        self.machine.respond(response, self.now());
        self.exchanged().await
    }

    /// Gives up the exchange under way, if one is; then takes leave.
    pub async fn cancel(mut self) {
        if self.machine.is_challenged() {
            self.machine.cancel(self.now());
            match timeout(FAREWELL, self.run(&mut Nothing)).await {
                Ok(Ok(_)) => {}
                _ => return,
            }
        }
        self.quit().await;
    }

    async fn exchanged(&mut self) -> Result<Exchanged, Fault> {
        match self.run(&mut Nothing).await? {
            Done::Challenge(challenge) => Ok(Exchanged::Challenge(challenge)),
            Done::Auth(reply) => Ok(Exchanged::Done(reply)),
            other => Err(self.confused(Phase::Auth, &other)),
        }
    }

    /// True if the peer takes XCLIENT.
    pub fn takes_xclient(&self) -> bool {
        self.machine.takes_xclient()
    }

    /// Says XCLIENT: from now on the session is that client's. `Some`: the peer does not want to hear of it, and the
    /// session stands as it did.
    pub async fn xclient(&mut self, identity: &Identity) -> Result<Option<Reply>, Fault> {
        self.machine.xclient(identity, self.now());
        match self.run(&mut Nothing).await? {
            Done::Open => Ok(None),
            Done::NotTold(reply) => Ok(Some(reply)),
            other => Err(self.confused(Phase::Identity, &other)),
        }
    }

    /// True if the peer takes XFORWARD.
    pub fn takes_xforward(&self) -> bool {
        self.machine.takes_xforward()
    }

    /// The next `deliver` tells of this client first, if the peer takes XFORWARD.
    pub fn xforward(&mut self, identity: &Identity) {
        self.machine.xforward(identity);
    }

    /// Sends one message. `size` is that of `body`, announced if the peer offers SIZE. The first chunk is read before
    /// anything is said, so that a body that cannot be read costs the peer nothing.
    pub async fn deliver(
        &mut self,
        mail: &MailFrom,
        recipients: &[RcptTo],
        size: u64,
        body: &mut dyn BodyReader,
    ) -> Result<DeliveryReplies, Fault> {
        let mut sending = Sending { body, ahead: None };
        sending.ahead = sending.next().await.map_err(|why| self.fault(Phase::Mail, local(&why)))?;
        self.machine.deliver(mail, recipients, size, self.now());
        match self.run(&mut sending).await? {
            Done::Delivery(replies) => Ok(replies),
            other => Err(self.confused(Phase::Mail, &other)),
        }
    }

    /// Says QUIT and closes.
    pub async fn quit(mut self) {
        self.machine.quit(self.now());
        // Whatever comes of it, the connection goes.
        let _ = timeout(FAREWELL, self.run(&mut Nothing)).await;
        if let Some(stream) = &mut self.stream {
            let _ = timeout(FAREWELL, stream.shutdown()).await;
        }
    }

    /// Drives the machine until its task is done. On a fault the connection is closed.
    async fn run<S: Side>(&mut self, side: &mut S) -> Result<Done, Fault> {
        let mut buffer = Vec::new();
        loop {
            let output = self.machine.poll();
            self.tell_trace();
            match output {
                Output::Answer { index, reply } => side.answer(index, &reply),
                Output::Done(done) => return Ok(done),
                Output::Fault(phase, kind) => return Err(self.close(phase, kind)),
                Output::StartTls => match side.connector() {
                    Some(connector) => self.shake_hands(connector).await,
                    None => return Err(self.close(Phase::StartTls, FaultKind::Closed)),
                },
                Output::Body => match side.chunk().await {
                    Ok((chunk, last)) => self.machine.body(&chunk, last, self.now()),
                    Err(why) => return Err(self.close(Phase::Body, local(&why))),
                },
                Output::Wait { until } => {
                    buffer.resize(READ, 0);
                    self.step(until, &mut buffer).await;
                }
            }
        }
    }

    /// One step of input or output, or the deadline.
    async fn step(&mut self, until: Option<Tick>, buffer: &mut [u8]) {
        let deadline = until.map(|tick| self.start + Duration::from_micros(tick.0));
        let moved = match deadline {
            Some(deadline) => timeout_at(deadline, self.transfer(buffer)).await,
            None => Ok(self.transfer(buffer).await),
        };
        let now = self.now();
        match moved {
            Ok(Moved::Wrote(count)) => self.machine.wrote(count, now),
            Ok(Moved::Read(0)) => {
                self.stream = None;
                self.machine.eof(now);
            }
            Ok(Moved::Read(count)) => self.machine.receive(&buffer[..count], now),
            // The runtime's timer is coarser than the machine's clock: the deadline is reached when it says so.
            Err(_) => self.machine.tick(until.unwrap_or(now).max(now)),
        }
    }

    /// Cancel safe: octets are moved in the poll that says so.
    async fn transfer(&mut self, buffer: &mut [u8]) -> Moved {
        let Connection { machine, stream, deaf, unflushed, .. } = self;
        let Some(stream) = stream else { return Moved::Read(0) };
        let outgoing = machine.outgoing();
        poll_fn(|cx| {
            if !*deaf && !outgoing.is_empty() {
                match Pin::new(&mut *stream).poll_write(cx, outgoing) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        *unflushed = true;
                        return Poll::Ready(Moved::Wrote(count));
                    }
                    // A peer that closed may have said why: that is still read.
                    Poll::Ready(_) => *deaf = true,
                    Poll::Pending => {}
                }
            } else if !*deaf && *unflushed {
                match Pin::new(&mut *stream).poll_flush(cx) {
                    Poll::Ready(Ok(())) => *unflushed = false,
                    Poll::Ready(Err(_)) => *deaf = true,
                    Poll::Pending => {}
                }
            }
            let mut read = ReadBuf::new(buffer);
            match Pin::new(&mut *stream).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) => Poll::Ready(Moved::Read(read.filled().len())),
                // A TLS session that ends without close_notify is a connection that broke.
                Poll::Ready(Err(_)) => Poll::Ready(Moved::Read(0)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    async fn shake_hands(&mut self, connector: &Connector) {
        let Some(stream) = self.stream.take() else { return self.machine.eof(self.now()) };
        let shake = connector.tls.connect(&self.endpoint.tls, &self.endpoint.host, stream);
        let patience = match self.machine.poll() {
            Output::Wait { until: Some(until) } => self.start + Duration::from_micros(until.0),
            _ => Instant::now(),
        };
        match timeout_at(patience, shake).await {
            Ok(Ok((stream, facts))) => {
                say(&self.trace, false, &format!("({facts})"));
                self.stream = Some(stream);
                self.tls = Some(facts);
                self.machine.tls_started(self.now());
            }
            Ok(Err(why)) => self.machine.tls_failed(why),
            Err(_) => self.machine.tls_failed("the handshake took too long".to_owned()),
        }
    }

    fn now(&self) -> Tick {
        Tick(0) + self.start.elapsed()
    }

    fn tell_trace(&mut self) {
        if self.trace.is_some() {
            for (sent, line) in self.machine.take_trace() {
                say(&self.trace, sent, &line);
            }
        }
    }

    fn close(&mut self, phase: Phase, kind: FaultKind) -> Fault {
        self.stream = None;
        self.fault(phase, kind)
    }

    fn fault(&self, phase: Phase, kind: FaultKind) -> Fault {
        Fault { phase, endpoint: self.endpoint.to_string(), kind }
    }

    fn confused(&mut self, phase: Phase, done: &Done) -> Fault {
        self.close(phase, FaultKind::Local(format!("an unfitting end: {done:?}")))
    }
}

enum Moved {
    Wrote(usize),
    /// Zero: the peer closed, or the connection broke.
    Read(usize),
}

pub(crate) fn say(trace: &TraceSink, sent: bool, line: &str) {
    if let Some(trace) = trace {
        trace(sent, line);
    }
}

fn local(why: &StoreFault) -> FaultKind {
    FaultKind::Local(why.to_string())
}

/// What an operation brings to the dialogue: ears for answers, a connector for TLS, a body.
trait Side: Send {
    fn answer(&mut self, _index: usize, _reply: &Reply) {}
    fn connector(&self) -> Option<&Connector> {
        None
    }
    fn chunk(&mut self) -> impl Future<Output = Result<(Bytes, bool), StoreFault>> + Send {
        async { Ok((Bytes::new(), true)) }
    }
}

struct Nothing;
impl Side for Nothing {}

struct Opening<'a> {
    connector: &'a Connector,
}
impl Side for Opening<'_> {
    fn connector(&self) -> Option<&Connector> {
        Some(self.connector)
    }
}

struct Asking<'a> {
    answers: &'a mut (dyn FnMut(usize, &Reply) + Send),
}
impl Side for Asking<'_> {
    fn answer(&mut self, index: usize, reply: &Reply) {
        (self.answers)(index, reply);
    }
}

struct Sending<'a> {
    body: &'a mut dyn BodyReader,
    /// Read but not given out: a chunk leaves only when it is known whether it is the last.
    ahead: Option<Bytes>,
}

impl Sending<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreFault> {
        loop {
            match self.body.next().await? {
                Some(chunk) if chunk.is_empty() => {}
                other => return Ok(other),
            }
        }
    }
}

impl Side for Sending<'_> {
    async fn chunk(&mut self) -> Result<(Bytes, bool), StoreFault> {
        let chunk = self.ahead.take().unwrap_or_default();
        self.ahead = self.next().await?;
        Ok((chunk, self.ahead.is_none()))
    }
}
