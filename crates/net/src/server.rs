//! The driver of the server machine: bytes in, replies out, timers, the TLS handshake. One task per session.
//!
//! Never decides: questions go to a [`Handler`]. An idle session holds no buffer: reads land in a scratch buffer of
//! the thread. Proof: the in-process and loopback rungs of `transcripts/`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::Stream as AsyncIterator;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use vouchsafe_core::ports::{BoxFuture, Clock};
use vouchsafe_smtp::server::{Answer, Config, Output, Question, QuestionId, Server, Why};
use vouchsafe_smtp::{Reply, Tick};

use crate::clock::SystemClock;
use crate::stream::BoxStream;

/// Octets taken from a socket at once; with the machine's read-ahead it bounds what a session can hold.
const READ: usize = 64 * 1024;
/// A TLS handshake must end within this time.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// After a refusal, unread input is discarded this long, so that a reset does not overtake our last reply.
const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// What a question has set going: yields events until it is answered; dropped when cancelled.
pub type Work<E> = Pin<Box<dyn AsyncIterator<Item = E> + Send>>;

/// TLS as negotiated, for the trace header and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// Cipher suite, IANA name.
    pub cipher: String,
}

/// The gateway's side of a session.
pub trait Handler: Send {
    /// What the work on a question yields; `resolve` turns it into answers.
    type Event: Send;
    /// A question opened. `hello` is the client's name and whether it said EHLO.
    fn ask(&mut self, question: Question, hello: Option<(&str, bool)>) -> Work<Self::Event>;
    /// An event came: the answer for the machine. Changes of the transaction happen here, in order.
    fn resolve(&mut self, event: Self::Event) -> Answer;
    /// Octets of the body. An error refuses the body; the rest is discarded by the machine.
    fn body(&mut self, octets: &[u8]) -> Result<(), Reply>;
    /// Called once a round while a body comes in: work that must finish before more is read.
    fn flush(&mut self) -> Option<BoxFuture<'_, Result<(), Reply>>>;
    /// The transaction is over without a commit.
    fn dropped(&mut self);
    /// A SASL exchange whose challenge was answered by nothing fit is over without a result.
    fn cancelled(&mut self);
    /// TLS is on.
    fn secured(&mut self, facts: TlsFacts);
    /// A line of the dialogue, masked; `ours`: we said it.
    fn said(&mut self, ours: bool, line: &str);
    /// Whether `said` is of use just now.
    fn traced(&self) -> bool;
}

/// A connection before its session: the stream, and how TLS is done on it.
pub struct Connection {
    /// The bytes.
    pub stream: BoxStream,
    /// For STARTTLS or implicit TLS.
    pub acceptor: Option<TlsAcceptor>,
    /// TLS from the first octet.
    pub implicit: bool,
}

/// What the machine wants once it has been polled dry.
enum Step {
    StartTls,
    Close(Why),
    Wait(Tick, bool),
}

/// What the machine says, but for the body.
enum Said {
    Reply(Reply),
    Question(QuestionId, Question),
    Cancel(QuestionId),
    Dropped,
    Step(Step),
}

/// A question under way.
struct Open<E> {
    id: QuestionId,
    commit: bool,
    work: Work<E>,
}

/// Drives one session to its end. The caller must not drop it while a Commit is open; `drain` ends it in order.
pub async fn drive<H: Handler>(
    connection: Connection,
    config: Arc<Config>,
    clock: &SystemClock,
    handler: &mut H,
    mut drain: watch::Receiver<bool>,
) -> Why {
    let Connection { mut stream, acceptor, implicit } = connection;
    if implicit {
        match handshake(stream, acceptor.as_ref()).await {
            Ok((secured, facts)) => {
                stream = secured;
                handler.secured(facts);
            }
            Err(_) => return Why::Protocol("TLS handshake failed"),
        }
    }
    let write_timeout = config.limits.write_timeout;
    let mut machine = Server::new(config, implicit, clock.tick());
    let mut open: Option<Open<H::Event>> = None;
    let mut out = Vec::new();
    let mut draining = *drain.borrow_and_update();
    if draining {
        machine.drain();
    }
    let mut timer = Box::pin(sleep_until(clock.instant(clock.tick())));
    // What the timer is set to. A deadline that moved on is not worth setting it anew: it rings early, and is set then.
    let mut rings = Tick(u64::MAX);
    loop {
        let step = poll(&mut machine, handler, &mut open, &mut out);
        // What is ready at once is answered before anything is written: one write a round.
        if let Some(question) = open.as_mut()
            && let Poll::Ready(event) = poll_fn(|cx| Poll::Ready(question.work.as_mut().poll_next(cx))).await
        {
            match event {
                Some(event) => machine.answer(question.id, handler.resolve(event), clock.tick()),
                None => open = None,
            }
            continue;
        }
        if !out.is_empty() {
            let sent = timeout(write_timeout, async {
                stream.write_all(&out).await?;
                stream.flush().await
            });
            let failed = !matches!(sent.await, Ok(Ok(())));
            out = Vec::new();
            if failed {
                finish_commit(handler, open).await;
                handler.dropped();
                return Why::Timeout("write");
            }
        }
        if let Some(flushing) = handler.flush()
            && let Err(reply) = flushing.await
        {
            machine.refuse_body(reply);
            continue;
        }
        let (until, read) = match step {
            Step::StartTls => match handshake(stream, acceptor.as_ref()).await {
                Ok((secured, facts)) => {
                    stream = secured;
                    handler.secured(facts);
                    machine.tls_started(clock.tick());
                    continue;
                }
                Err(_) => return Why::Protocol("TLS handshake failed"),
            },
            Step::Close(why) => {
                close(stream, why).await;
                return why;
            }
            Step::Wait(until, read) => (until, read),
        };
        if until < rings {
            timer.as_mut().reset(clock.instant(until));
            rings = until;
        }
        tokio::select! {
            biased;
            event = next(&mut open) => match (event, open.as_ref()) {
                (Some(event), Some(question)) => machine.answer(question.id, handler.resolve(event), clock.tick()),
                _ => open = None,
            },
            more = receive(&mut stream, &mut machine, clock), if read => if !more {
                machine.eof(clock.tick());
            },
            () = timer.as_mut() => {
                rings = Tick(u64::MAX);
                machine.tick(clock.tick());
            }
            _ = drain.changed(), if !draining => {
                draining = true;
                machine.drain();
            }
        }
    }
}

/// Polls the machine dry. Replies gather in `out`; a new question replaces the old one.
fn poll<H: Handler>(
    machine: &mut Server,
    handler: &mut H,
    open: &mut Option<Open<H::Event>>,
    out: &mut Vec<u8>,
) -> Step {
    let traced = handler.traced();
    machine.set_traced(traced);
    loop {
        // The body's octets are borrowed from the machine; whatever else it says is owned.
        let said = match machine.poll() {
            Output::Body(octets) => {
                if let Err(reply) = handler.body(octets) {
                    machine.refuse_body(reply);
                }
                continue;
            }
            Output::BodyEnd => continue,
            Output::Send(reply) => Said::Reply(reply),
            Output::Ask(id, question) => Said::Question(id, question),
            Output::Cancel(id) => Said::Cancel(id),
            Output::Dropped => Said::Dropped,
            Output::StartTls => Said::Step(Step::StartTls),
            Output::Close(why) => Said::Step(Step::Close(why)),
            Output::Idle { until, read } => Said::Step(Step::Wait(until, read)),
        };
        if traced {
            machine.take_heard().iter().for_each(|line| handler.said(false, line));
        }
        match said {
            Said::Reply(reply) => {
                if traced {
                    handler.said(true, &masked(&reply));
                }
                reply.write_to(out);
            }
            Said::Question(id, question) => {
                let commit = question == Question::Commit;
                let work = handler.ask(question, machine.hello());
                *open = Some(Open { id, commit, work });
            }
            Said::Cancel(id) => {
                if open.as_ref().is_some_and(|question| question.id == id) {
                    *open = None;
                }
                handler.cancelled();
            }
            Said::Dropped => handler.dropped(),
            Said::Step(step) => return step,
        }
    }
}

/// A reply as the trace shows it: a SASL challenge is masked.
fn masked(reply: &Reply) -> String {
    if reply.code == 334 { "334 ***".to_owned() } else { reply.to_string() }
}

/// Cancel safe: an event is either taken or not.
async fn next<E>(open: &mut Option<Open<E>>) -> Option<E> {
    match open {
        Some(question) => poll_fn(|cx| question.work.as_mut().poll_next(cx)).await,
        None => std::future::pending().await,
    }
}

/// Reads once into the thread's scratch buffer and gives it to the machine. False at the end of the stream (a missing
/// close_notify included). Cancel safe.
async fn receive(stream: &mut BoxStream, machine: &mut Server, clock: &SystemClock) -> bool {
    poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    machine.receive(buffer.filled(), clock.tick());
                    Poll::Ready(true)
                }
                Poll::Ready(_) => Poll::Ready(false),
            }
        })
    })
    .await
}

/// A Commit is never cancelled once the committer has it, even if the client no longer takes replies.
async fn finish_commit<H: Handler>(handler: &mut H, open: Option<Open<H::Event>>) {
    if let Some(mut question) = open
        && question.commit
        && let Some(event) = poll_fn(|cx| question.work.as_mut().poll_next(cx)).await
    {
        handler.resolve(event);
    }
}

async fn handshake(stream: BoxStream, acceptor: Option<&TlsAcceptor>) -> io::Result<(BoxStream, TlsFacts)> {
    let acceptor = acceptor.ok_or_else(|| io::Error::other("no certificate"))?;
    let secured =
        timeout(HANDSHAKE, acceptor.accept(stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let session = secured.get_ref().1;
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let cipher =
        session.negotiated_cipher_suite().map_or(String::new(), |suite| format!("{:?}", suite.suite()));
    Ok((Box::new(secured), TlsFacts { version, cipher: cipher.replacen("TLS13_", "TLS_", 1) }))
}

async fn close(mut stream: BoxStream, why: Why) {
    let _ = timeout(LINGER, stream.shutdown()).await;
    if !matches!(why, Why::Eof | Why::Quit) {
        let _ = timeout(LINGER, async {
            let mut sink = [0; 1024];
            let mut left = READ;
            while left > 0 {
                match stream.read(&mut sink).await {
                    Ok(n) if n > 0 => left = left.saturating_sub(n),
                    _ => return,
                }
            }
        })
        .await;
    }
}
