//! The world of the delivery tests: a deliverer, a store, and next hops by name.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use vouchsafe_config::Settings;
use vouchsafe_core::policy::{Block, Client, Decision, decide};
use vouchsafe_core::ports::{
    Accepted, Body, BoxFuture, Clock, HistoryEvent, MailStore, QueueFilter, QueueRow,
};
use vouchsafe_core::{Envelope, MessageId, Origin, RecipientState, Timestamp};
use vouchsafe_gateway::delivery::{Deliverer, Deps};
use vouchsafe_net::client::{Connector, Hello};
use vouchsafe_net::stream::{BoxStream, Dial};
use vouchsafe_smtp::{BodyKind, MailFrom, Mailbox, RcptTo, ReversePath, Tick};
use vouchsafe_store::memory::MemoryStore;

/// What a next hop says instead of the usual: to `BANNER`, a command line, `.` (the dot). `None`: the usual. A reply of
/// `close` ends the connection, `hang` never answers.
type Answer = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A message that a next hop took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub mail: String,
    pub recipients: Vec<String>,
    pub content: String,
}

/// A next hop.
pub struct Hop {
    answer: Mutex<Arc<Answer>>,
    pub offers: Mutex<Vec<&'static str>>,
    pub taken: Mutex<Vec<Taken>>,
    /// Content longer than this is counted only.
    pub octets: AtomicUsize,
    pub connections: AtomicUsize,
    pub open: AtomicUsize,
    pub most_open: AtomicUsize,
    pub refuse: std::sync::atomic::AtomicBool,
}

impl Hop {
    fn new() -> Arc<Hop> {
        Arc::new(Hop {
            answer: Mutex::new(Arc::new(|_| None)),
            offers: Mutex::new(vec!["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES"]),
            taken: Mutex::default(),
            octets: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            refuse: false.into(),
        })
    }
    pub fn says(&self, answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }
    /// From now on commands that begin with `verb` are answered so.
    pub fn answers(&self, verb: &'static str, reply: &'static str) {
        self.says(move |line| line.starts_with(verb).then(|| reply.to_owned()));
    }
    pub fn down(&self, down: bool) {
        self.refuse.store(down, Ordering::SeqCst);
    }
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }
    fn reply(&self, line: &str, usual: &str) -> String {
        let answer = self.answer.lock().unwrap().clone();
        answer(line).unwrap_or_else(|| usual.to_owned())
    }

    async fn serve(self: Arc<Hop>, stream: DuplexStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        let _ = self.dialogue(stream).await;
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn dialogue(&self, stream: DuplexStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        say(&mut stream, self.reply("BANNER", "220 hop ESMTP")).await?;
        let (mut mail, mut recipients) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    let offers = self.offers.lock().unwrap().clone();
                    let mut usual: String = "250-hop\r\n".into();
                    offers.iter().for_each(|offer| usual.push_str(&format!("250-{offer}\r\n")));
                    say(&mut stream, self.reply(line, &format!("{usual}250 HELP"))).await?;
                }
                "MAIL" => {
                    (mail, recipients) = (line.to_owned(), Vec::new());
                    say(&mut stream, self.reply(line, "250 2.1.0 ok")).await?;
                }
                "RCPT" => {
                    let reply = self.reply(line, "250 2.1.5 ok");
                    if reply.starts_with('2') {
                        recipients.push(line.to_owned());
                    }
                    say(&mut stream, reply).await?;
                }
                "DATA" if recipients.is_empty() => say(&mut stream, "503 5.5.1 no".into()).await?,
                "DATA" => {
                    let reply = self.reply(line, "354 go");
                    let go = reply.starts_with("354");
                    say(&mut stream, reply).await?;
                    if !go {
                        continue;
                    }
                    let content = self.body(&mut stream).await?;
                    let reply = self.reply(".", "250 2.0.0 queued");
                    if reply.starts_with('2') {
                        let (mail, recipients) = (mail.clone(), recipients.clone());
                        self.taken.lock().unwrap().push(Taken { mail, recipients, content });
                    }
                    say(&mut stream, reply).await?;
                }
                "QUIT" => {
                    let _ = say(&mut stream, "221 2.0.0 bye".into()).await;
                    return None;
                }
                _ => say(&mut stream, self.reply(line, "250 2.0.0 ok")).await?,
            }
        }
    }

    async fn body(&self, stream: &mut BufReader<DuplexStream>) -> Option<String> {
        let mut content = Vec::new();
        loop {
            let mut line = Vec::new();
            if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
                return None;
            }
            if line == b".\r\n" {
                return Some(String::from_utf8_lossy(&content).into_owned());
            }
            let line = line.strip_prefix(b".").unwrap_or(&line);
            self.octets.fetch_add(line.len(), Ordering::SeqCst);
            if content.len() < 1_000_000 {
                content.extend_from_slice(line);
            }
        }
    }
}

async fn say(stream: &mut BufReader<DuplexStream>, reply: String) -> Option<()> {
    match reply.as_str() {
        "close" => return None,
        "hang" => std::future::pending().await,
        _ => {}
    }
    stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).await.ok()
}

/// Next hops by host name; unknown and downed ones refuse the connection.
#[derive(Default)]
pub struct Net(Mutex<HashMap<String, Arc<Hop>>>);

impl Dial for Net {
    fn dial<'a>(&'a self, host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        let hop = self.0.lock().unwrap().get(host).cloned();
        Box::pin(async move {
            match hop.filter(|hop| !hop.refuse.load(Ordering::SeqCst)) {
                None => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused")),
                Some(hop) => {
                    let (ours, theirs) = duplex(64 * 1024);
                    tokio::spawn(hop.serve(theirs));
                    Ok(Box::new(ours) as BoxStream)
                }
            }
        })
    }
}

/// The runtime's paused clock, and a wall clock that goes with it.
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_415_738_000_000) + self.0.elapsed()
    }
    fn tick(&self) -> Tick {
        Tick(self.0.elapsed().as_micros() as u64)
    }
}

/// Settings with a relay at `relay.example`, `home.example` at `home.example`, `far.example` at `far1`, `far2`.
pub fn settings(more: &str) -> Settings {
    let text = format!(
        "hostname = \"gate.example\"\n\
         [[listener]]\nname = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:2525\"\n\
         [[domain]]\nname = \"home.example\"\nrecipients = [\"any\"]\nnext_hop = {{ host = \"home.example\", tls = \"off\" }}\n\
         [[domain]]\nname = \"far.example\"\nrecipients = [\"any\"]\n\
         next_hop = [{{ host = \"far1.example\", tls = \"off\" }}, {{ host = \"far2.example\", tls = \"off\" }}]\n\
         [relay]\nlogins = \"local\"\nnext_hop = {{ host = \"relay.example\", tls = \"off\" }}\n{more}\n"
    );
    crate::common::settings_of(&text)
}

pub struct World {
    pub store: Arc<MemoryStore>,
    pub deliverer: Arc<Deliverer>,
    pub settings: Arc<ArcSwap<Settings>>,
    pub clock: Arc<dyn Clock>,
    net: Arc<Net>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl World {
    /// A running deliverer with `settings(more)` on top of `soft_bounce = false`.
    pub fn new(more: &str) -> World {
        let store = MemoryStore::new();
        let settings = Arc::new(ArcSwap::from_pointee(settings(more)));
        let (net, clock) = (Arc::new(Net::default()), Arc::new(PausedClock(Instant::now())));
        let clock: Arc<dyn Clock> = clock;
        let deliverer = Deliverer::new(Deps {
            store: store.clone(),
            history: store.clone(),
            clock: clock.clone(),
            settings: settings.clone(),
            connector: Arc::new(Connector::new(net.clone())),
            hello: Hello { name: "gate.example".into() },
            trace: Arc::new(|_| None),
        });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(deliverer.clone().run(stopped));
        World { store, deliverer, settings, clock, net, stop, task }
    }

    /// The next hop of this name; made when first named.
    pub fn hop(&self, host: &str) -> Arc<Hop> {
        self.net.0.lock().unwrap().entry(host.to_owned()).or_insert_with(Hop::new).clone()
    }

    /// A message for the queue, its due time now.
    pub fn message(&self, from: &str, to: &[&str]) -> Draft {
        let reverse_path = match from {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(Mailbox::parse(text, true).unwrap()),
        };
        let smtputf8 = !from.is_ascii() || to.iter().any(|to| !to.is_ascii());
        let mail = MailFrom {
            reverse_path,
            size: None,
            body: BodyKind::SevenBit,
            smtputf8,
            auth: None,
            ret: None,
            envid: None,
        };
        let to = to
            .iter()
            .map(|to| RcptTo { mailbox: Mailbox::parse(to, true).unwrap(), notify: None, orcpt: None })
            .collect();
        Draft {
            mail,
            to,
            client: None,
            known: true,
            proven: false,
            body: "Subject: hi\r\n\r\nHello\r\n.dot\r\n".into(),
        }
    }

    pub fn accepted(&self, draft: Draft, claim: bool) -> Accepted {
        let now = self.clock.now();
        let origin = Origin {
            session: "s1".into(),
            listener: "mx".into(),
            client: draft.client.map(|client| client.ip()),
            port: draft.client.map(|client| client.port()),
            helo: "pc.example".into(),
            esmtp: true,
            login: None,
            known_sender: draft.known,
            proven: draft.proven,
        };
        let mut envelope = Envelope::new(MessageId::at(now), now, origin, draft.mail);
        for to in draft.to {
            let domain = to.mailbox.domain().to_owned();
            let ours =
                ["home.example", "far.example", "gone.example", "told.example"].contains(&domain.as_str());
            let client = Client { authenticated: true, ..Client::default() };
            let permit =
                match decide(&client, &to.mailbox, if ours { Block::Named(&domain) } else { Block::None }) {
                    Decision::Permit(permit) => permit,
                    Decision::Ask(ask) => ask.accept(),
                    _ => panic!("users may relay"),
                };
            envelope.add(to, permit);
        }
        let head = Bytes::from_static(b"Received: by gate.example\r\n");
        Accepted {
            envelope,
            head,
            body: Body::Memory(draft.body),
            due: now,
            claim,
            detached: None,
            news: None,
        }
    }

    /// Accepts a message through the store.
    pub async fn send(&self, draft: Draft) -> MessageId {
        let accepted = self.accepted(draft, false);
        let id = accepted.envelope.id;
        self.store.accept(accepted).await.unwrap();
        self.deliverer.wake();
        id
    }

    /// Accepts a message and hands it over from memory, if there is room.
    pub async fn send_from_memory(&self, draft: Draft) -> MessageId {
        let claim = self.deliverer.has_room();
        let accepted = self.accepted(draft, claim);
        let Body::Memory(body) = &accepted.body else { panic!("in memory") };
        let (id, content) = (accepted.envelope.id, (accepted.head.clone(), body.clone()));
        let deliveries = self.store.accept(accepted).await.unwrap();
        match claim {
            true => self.deliverer.offer(deliveries, Some(content)),
            false => self.deliverer.wake(),
        }
        id
    }

    /// Lets the clock run until the history holds `count` events of this kind.
    pub async fn until(&self, kind: &str, count: usize) -> Vec<HistoryEvent> {
        let end = Instant::now() + Duration::from_secs(20 * 86_400);
        let mut step = Duration::from_millis(10);
        loop {
            let events: Vec<_> = self.store.events().into_iter().filter(|e| e.kind == kind).collect();
            if events.len() >= count {
                return events;
            }
            if Instant::now() > end {
                panic!("{} {kind} events, not {count}: {:#?}", events.len(), self.store.events());
            }
            sleep(step).await;
            step = (step * 11 / 10).min(Duration::from_secs(60));
        }
    }

    /// Lets the clock run for so long.
    pub async fn pass(&self, time: Duration) {
        sleep(time).await;
    }

    pub fn count(&self, kind: &str) -> usize {
        self.store.events().iter().filter(|e| e.kind == kind).count()
    }

    pub async fn queue(&self) -> Vec<QueueRow> {
        self.store.list(QueueFilter::default()).await.unwrap()
    }

    pub async fn held(&self) -> usize {
        let rows = self.queue().await;
        let states = rows.iter().flat_map(|row| &row.recipients);
        states.filter(|(_, state, _)| *state == RecipientState::Held).count()
    }

    /// Tells the deliverer to stop and waits for it.
    pub async fn stop(self) -> Arc<MemoryStore> {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        self.store
    }
}

/// A message before it is accepted.
#[derive(Clone)]
pub struct Draft {
    pub mail: MailFrom,
    pub to: Vec<RcptTo>,
    pub client: Option<SocketAddr>,
    pub known: bool,
    pub proven: bool,
    pub body: Bytes,
}

impl Draft {
    pub fn of_client(self, client: &str) -> Draft {
        Draft { client: Some(client.parse().unwrap()), ..self }
    }
    pub fn stranger(self) -> Draft {
        Draft { known: false, ..self }
    }
    pub fn proven_stranger(self) -> Draft {
        Draft { known: false, proven: true, ..self }
    }
    pub fn body(self, body: impl Into<Bytes>) -> Draft {
        Draft { body: body.into(), ..self }
    }
    pub fn notify(mut self, success: bool, failure: bool, delay: bool) -> Draft {
        let notify = vouchsafe_smtp::Notify { success, failure, delay };
        self.to.iter_mut().for_each(|to| to.notify = Some(notify));
        self
    }
    pub fn mail(mut self, change: impl FnOnce(&mut MailFrom)) -> Draft {
        change(&mut self.mail);
        self
    }
}
