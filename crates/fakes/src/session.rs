//! What the sessions of both fakes have in common: banner, greeting, STARTTLS, the loop around the commands and its
//! clocks. What a fake is asked or sent is its own [`Part`].

use crate::fault::Point;
use crate::host::Host;
use crate::talk::{Flow, Talk, split};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use vouchsafe_net::stream::BoxStream;

/// Which commands greet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// EHLO and HELO.
    Smtp,
    /// HELO; EHLO brings 502.
    HeloOnly,
    /// LHLO alone (RFC 2033).
    Lmtp,
}

/// The parts of a behaviour that every session looks at.
pub(crate) struct Front<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) greeting: Greeting,
    pub(crate) extensions: &'a [String],
    pub(crate) tls: Option<&'a Arc<rustls::ServerConfig>>,
    pub(crate) implicit_tls: bool,
    pub(crate) max_connections: Option<u32>,
    /// Said where there are more.
    pub(crate) too_many_connections: &'a str,
    /// Longest wait for a command.
    pub(crate) idle: Option<Duration>,
    /// Longest life of a connection.
    pub(crate) life: Option<Duration>,
}

/// Why a connection was ended by the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Too many of this source.
    Crowded,
    /// No command came.
    Idle,
    /// It had lived long enough.
    Old,
}

/// What sets one fake's sessions apart from the other's.
pub(crate) trait Part: Sized + Send + 'static {
    type Behaviour: Behaves;
    type Counters: Counts;

    /// A command; `None`: nothing special about it, the loop answers.
    fn command(
        session: &mut Session<Self>,
        behaviour: &Self::Behaviour,
        verb: &str,
        argument: &str,
    ) -> impl Future<Output = io::Result<Option<Flow>>> + Send;

    /// Refuses what the loop does not take.
    fn refuse(
        session: &mut Session<Self>,
        behaviour: &Self::Behaviour,
        reply: &str,
    ) -> impl Future<Output = io::Result<Flow>> + Send;

    /// Mechanisms to announce.
    fn mechanisms<'a>(&self, behaviour: &'a Self::Behaviour, secure: bool) -> Vec<&'a str>;

    /// Ends the transaction.
    fn reset(&mut self);

    /// RFC 3207 §4.2: everything known of the peer is forgotten.
    fn forget(&mut self);
}

/// What the loop must know of a behaviour.
pub(crate) trait Behaves: crate::host::Faults + Clone + Send + Sync + 'static {
    fn front(&self) -> Front<'_>;
    fn banner(&self) -> String;
    /// Said when the loop ends a connection by the clock.
    fn farewell(&self, ended: Ended) -> &'static str;
}

/// What the loop counts.
pub(crate) trait Counts: Default + Clone + Send + Sync + 'static {
    fn connected(&mut self);
    fn left(&mut self);
    fn secured(&mut self);
    fn greeted(&mut self, name: &str);
    fn ended(&mut self, ended: Ended);
}

/// One session of a fake.
pub(crate) struct Session<P: Part> {
    pub(crate) talk: Talk<P::Behaviour, P::Counters>,
    pub(crate) secure: bool,
    pub(crate) greeted: bool,
    pub(crate) part: P,
    since: Instant,
}

/// Serves one connection to its end, or until the host is taken down.
pub(crate) async fn serve<P: Part>(
    host: Arc<Host<P::Behaviour, P::Counters>>,
    stream: BoxStream,
    source: IpAddr,
    part: P,
) {
    let entered = host.enter(source);
    host.count(P::Counters::connected);
    let talk = Talk::new(host.clone(), stream);
    let session = Session { talk, secure: false, greeted: false, part, since: Instant::now() };
    tokio::select! {
        biased;
        () = host.until_down() => {}
        // A session that ends by a fault of the stream has just ended.
        _ = session.run(entered.number) => {}
    }
    host.count(P::Counters::left);
}

impl<P: Part> Session<P> {
    /// From the banner to the end; an error is the stream's.
    async fn run(mut self, number: u32) -> io::Result<()> {
        let behaviour = self.talk.host.behaviour();
        if let Some(config) = behaviour.front().tls.filter(|_| behaviour.front().implicit_tls) {
            self.encrypt(config.clone()).await?;
        }
        let mut flow = self.banner(&behaviour, number).await?;
        while flow == Flow::On {
            let behaviour = self.talk.host.behaviour();
            let line = match self.next(&behaviour).await? {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(ended) => {
                    flow = self.end(&behaviour, ended);
                    continue;
                }
            };
            // It may have been changed while nothing was said.
            let behaviour = self.talk.host.behaviour();
            let (verb, argument) = split(&line);
            flow = match P::command(&mut self, &behaviour, &verb, argument).await? {
                Some(flow) => flow,
                None => self.command(&behaviour, &verb, argument).await?,
            };
        }
        match flow {
            Flow::Cut => Ok(()),
            Flow::On | Flow::Close => self.talk.wire.close().await,
        }
    }

    async fn banner(&mut self, behaviour: &P::Behaviour, number: u32) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::Banner).await? {
            return Ok(flow);
        }
        if behaviour.front().max_connections.is_some_and(|max| number > max) {
            return Ok(self.end(behaviour, Ended::Crowded));
        }
        Ok(self.talk.say(&behaviour.banner()))
    }

    /// The next command, unless a clock ran out before it.
    async fn next(&mut self, behaviour: &P::Behaviour) -> io::Result<Result<Option<String>, Ended>> {
        let Front { idle, life, .. } = behaviour.front();
        let left = life.map(|life| life.saturating_sub(self.since.elapsed()));
        let (longest, ended) = match (idle, left) {
            (_, Some(Duration::ZERO)) => return Ok(Err(Ended::Old)),
            (Some(idle), Some(left)) if left <= idle => (left, Ended::Old),
            (Some(idle), _) => (idle, Ended::Idle),
            (None, Some(left)) => (left, Ended::Old),
            (None, None) => return Ok(Ok(self.talk.command().await?)),
        };
        match timeout(longest, self.talk.command()).await {
            Ok(line) => Ok(Ok(line?)),
            Err(_) => Ok(Err(ended)),
        }
    }

    fn end(&mut self, behaviour: &P::Behaviour, ended: Ended) -> Flow {
        self.talk.host.count(|counters| counters.ended(ended));
        self.talk.say_and_close(match ended {
            Ended::Crowded => behaviour.front().too_many_connections,
            Ended::Idle | Ended::Old => behaviour.farewell(ended),
        })
    }

    /// What both fakes answer alike.
    async fn command(&mut self, behaviour: &P::Behaviour, verb: &str, argument: &str) -> io::Result<Flow> {
        match verb {
            "EHLO" | "HELO" | "LHLO" => self.greet(behaviour, verb, argument).await,
            "STARTTLS" => self.start_tls(behaviour).await,
            "RSET" => {
                if let Some(flow) = self.talk.fault(Point::Rset).await? {
                    return Ok(flow);
                }
                self.part.reset();
                Ok(self.talk.say("250 2.0.0 Ok"))
            }
            "NOOP" => Ok(self.talk.say("250 2.0.0 Ok")),
            "QUIT" => Ok(self.talk.say_and_close("221 2.0.0 Bye")),
            _ => P::refuse(self, behaviour, "500 5.5.2 Command not recognized").await,
        }
    }

    async fn greet(&mut self, behaviour: &P::Behaviour, verb: &str, name: &str) -> io::Result<Flow> {
        self.talk.host.count(|counters| counters.greeted(name));
        if let Some(flow) = self.talk.fault(Point::Ehlo).await? {
            return Ok(flow);
        }
        let front = behaviour.front();
        match (front.greeting, verb) {
            (Greeting::HeloOnly, "EHLO") => {
                return P::refuse(self, behaviour, "502 5.5.1 Command not implemented").await;
            }
            (Greeting::Smtp | Greeting::HeloOnly, "LHLO") | (Greeting::Lmtp, "EHLO" | "HELO") => {
                return P::refuse(self, behaviour, "500 5.5.2 Command not recognized").await;
            }
            _ => {}
        }
        self.part.reset();
        self.greeted = true;
        let mut reply = format!("250 {}", front.hostname);
        if verb != "HELO" {
            for extension in front.extensions {
                reply += &format!("\n{extension}");
            }
            if front.tls.is_some() && !self.secure {
                reply += "\nSTARTTLS";
            }
            let mechanisms = self.part.mechanisms(behaviour, self.secure);
            if !mechanisms.is_empty() {
                reply += &format!("\nAUTH {}", mechanisms.join(" "));
            }
        }
        Ok(self.talk.say(&reply))
    }

    async fn start_tls(&mut self, behaviour: &P::Behaviour) -> io::Result<Flow> {
        if let Some(flow) = self.talk.fault(Point::StartTls).await? {
            return Ok(flow);
        }
        let Some(config) = behaviour.front().tls.filter(|_| !self.secure) else {
            return P::refuse(self, behaviour, "502 5.5.1 STARTTLS not offered").await;
        };
        self.talk.say("220 2.0.0 Ready");
        self.encrypt(config.clone()).await?;
        self.greeted = false;
        self.part.reset();
        self.part.forget();
        Ok(Flow::On)
    }

    async fn encrypt(&mut self, config: Arc<rustls::ServerConfig>) -> io::Result<()> {
        self.talk.secure(config).await?;
        self.talk.host.count(P::Counters::secured);
        self.secure = true;
        Ok(())
    }
}
