//! A login at an IMAP server over TLS: how a delegate is asked that answers `imaps://`.
//!
//! Moves octets and keeps deadlines; the dialogue is the machine's. One login a session, then LOGOUT; no mailbox is ever
//! looked at. What an answer means is `vouchsafe_core::verdict`'s. Proof: `tests/imap.rs`, real Dovecot.

mod machine;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use vouchsafe_core::Endpoint;
use vouchsafe_core::verdict::ImapAnswer;
use vouchsafe_smtp::{Reply, Secret};

use crate::client::{Connector, FAREWELL, Fault, FaultKind, Phase, Timeouts, TraceSink, say};
use crate::stream::BoxStream;
use machine::{Event, Machine};

/// One session.
pub struct ImapConnection {
    machine: Machine,
    stream: BoxStream,
    endpoint: Endpoint,
    timeouts: Timeouts,
    trace: TraceSink,
}

impl ImapConnection {
    /// Connects, shakes hands, and learns what is offered.
    pub async fn open(
        connector: &Connector,
        endpoint: &Endpoint,
        timeouts: &Timeouts,
        trace: TraceSink,
    ) -> Result<ImapConnection, Fault> {
        if !endpoint.implicit_tls {
            let why = FaultKind::Local("no credentials leave without TLS".to_owned());
            return Err(Fault { phase: Phase::Connect, endpoint: endpoint.to_string(), kind: why });
        }
        let (stream, _) = connector.connect(endpoint, timeouts, &trace).await?;
        let mut connection = ImapConnection {
            machine: Machine::new(),
            stream,
            endpoint: endpoint.clone(),
            timeouts: timeouts.clone(),
            trace,
        };
        match connection.next(Phase::Banner).await? {
            None => Ok(connection),
            Some(_) => Err(connection.fault(Phase::Banner, FaultKind::Garbage("an early answer".to_owned()))),
        }
    }

    /// Whom this is a connection to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// From now on the dialogue goes there.
    pub fn set_trace(&mut self, trace: TraceSink) {
        self.trace = trace;
    }

    /// Whether passwords are taken here at all.
    pub fn takes_passwords(&self) -> bool {
        self.machine.takes_passwords()
    }

    /// True if a login may begin and the peer has neither closed nor spoken. Costs no round trip.
    pub fn is_ready(&mut self) -> bool {
        let mut octets = [0; 64];
        let mut buffer = ReadBuf::new(&mut octets);
        let read = Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        matches!(read, Poll::Pending) && self.machine.is_ready()
    }

    /// Logs in, once. Nothing was sent if the fault is [`FaultKind::Local`].
    pub async fn auth(&mut self, user: &str, password: &Secret) -> Result<ImapAnswer, Fault> {
        let first = self.machine.log_in(user, password);
        let (said, shown) = first.map_err(|why| self.fault(Phase::Auth, FaultKind::Local(why)))?;
        self.say(&said, shown, Phase::Auth).await?;
        match self.next(Phase::Auth).await? {
            Some(answer) => Ok(answer),
            None => Err(self.fault(Phase::Auth, FaultKind::Garbage("no answer to the login".to_owned()))),
        }
    }

    /// Takes leave and closes.
    pub async fn logout(mut self) {
        say(&self.trace, true, "LOGOUT");
        // Whatever comes of it, the connection goes.
        let _ = timeout(FAREWELL, async {
            self.stream.write_all(b"z LOGOUT\r\n").await?;
            self.stream.flush().await?;
            let mut octets = [0; 512];
            while self.stream.read(&mut octets).await? > 0 {}
            self.stream.shutdown().await
        })
        .await;
    }

    /// Goes on until a login may begin (`None`) or was answered.
    async fn next(&mut self, phase: Phase) -> Result<Option<ImapAnswer>, Fault> {
        loop {
            match self.machine.next() {
                Some(Event::Say(said, shown)) => self.say(&said, shown, phase).await?,
                Some(Event::Open) => return Ok(None),
                Some(Event::Answered(answer)) => {
                    let code = answer.code.as_deref().unwrap_or("-");
                    say(&self.trace, false, &format!("{:?} [{code}] {}", answer.condition, answer.text));
                    return Ok(Some(answer));
                }
                Some(Event::Bye(text)) => {
                    say(&self.trace, false, &format!("BYE {text}"));
                    return Err(self.fault(
                        phase,
                        FaultKind::Refused(Reply::new(421, (4, 3, 2), format!("BYE {text}"))),
                    ));
                }
                Some(Event::Garbage(what)) => return Err(self.fault(phase, FaultKind::Garbage(what))),
                None => self.read(phase).await?,
            }
        }
    }

    async fn read(&mut self, phase: Phase) -> Result<(), Fault> {
        let mut octets = [0; 2048];
        match timeout(self.timeouts.command, self.stream.read(&mut octets)).await {
            Ok(Ok(count)) if count > 0 => {
                self.machine.receive(&octets[..count]);
                Ok(())
            }
            Ok(_) => Err(self.fault(phase, FaultKind::Closed)),
            Err(_) => Err(self.fault(phase, FaultKind::Timeout)),
        }
    }

    async fn say(&mut self, said: &Secret, shown: &str, phase: Phase) -> Result<(), Fault> {
        say(&self.trace, true, shown);
        let sent = timeout(self.timeouts.command, async {
            self.stream.write_all(said.expose()).await?;
            self.stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.fault(phase, FaultKind::Closed)),
            Err(_) => Err(self.fault(phase, FaultKind::Timeout)),
        }
    }

    fn fault(&self, phase: Phase, kind: FaultKind) -> Fault {
        Fault { phase, endpoint: self.endpoint.to_string(), kind }
    }
}
