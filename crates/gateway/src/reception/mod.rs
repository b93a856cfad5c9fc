//! Reception: the gateway's side of a client's session. Owns the transaction; turns the machine's questions into
//! questions to policy, sources and store, and their answers into replies.
//!
//! Promise 1: `250` to a message leaves only after `MailStore::accept` returned. Promise 2: a recipient enters the
//! envelope only with the permit that policy made. Proof: the in-process and loopback rungs of `transcripts/`.

mod commit;
mod login;
mod recipient;
mod send_as;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::stream::{self, FuturesUnordered};
use vouchsafe_config::{Listener, ListenerKind, Settings};
use vouchsafe_core::envelope::{Envelope, MessageId, Origin};
use vouchsafe_core::headers::Fix;
use vouchsafe_core::policy::{self, Client, RelayPermit};
use vouchsafe_core::ports::{BoxFuture, Clock, HistoryEvent, Reservation, StoreFault};
use vouchsafe_net::server::{Handler, TlsFacts, Work};
use vouchsafe_smtp::server::{Answer, Claim, Config, Question};
use vouchsafe_smtp::{MailFrom, RcptTo, Reply};

use crate::delegate::{Asked, Exchange, Step};
use crate::detaching::classes;
use crate::gateway::Gateway;
use crate::intake::{Intake, refusal};
use crate::quota;
use commit::Committing;
use login::Sasl;
use recipient::Asking;
use send_as::LoggedIn;

/// Space reserved for a message whose size was not declared; grows as it comes in.
const UNDECLARED: u64 = 64 * 1024;

/// Gives a session another client, as a named front end tells: how the session goes on, or why there is no room.
pub type Rename = Box<dyn FnMut(SocketAddr) -> Result<Arc<Config>, Reply> + Send>;

/// One client's session.
pub struct Session {
    gateway: Arc<Gateway>,
    settings: Arc<Settings>,
    listener: Arc<Listener>,
    /// Ties log lines, trace and history together.
    pub id: String,
    peer: Option<SocketAddr>,
    /// Both ends of the connection, as a front end tells them if there is one; none of a pipe.
    ends: Option<(SocketAddr, Option<SocketAddr>)>,
    refuse: Option<Reply>,
    /// Where the peer is a named front end.
    rename: Option<Rename>,
    hello: (String, bool),
    tls: Option<TlsFacts>,
    login: Option<String>,
    sasl: Sasl,
    /// A login was tried.
    tried: bool,
    transaction: Option<Box<Transaction>>,
}

struct Transaction {
    envelope: Envelope,
    settings: Arc<Settings>,
    reservation: Option<(Box<dyn Reservation>, u64)>,
    intake: Option<Intake>,
}

/// What the work on a question yields.
pub enum Event {
    /// The answer is ready.
    Answer(Answer),
    /// The body is not let in.
    NoBody(Reply),
    /// A recipient was decided.
    Recipient {
        /// Place in the batch.
        index: usize,
        /// The recipient.
        to: RcptTo,
        /// A permit, or why not.
        outcome: Result<RelayPermit, Refusal>,
    },
    /// A login was decided.
    Login {
        /// The name, as given.
        login: String,
        /// The verdict, and what the client is told before it.
        asked: Asked,
    },
    /// A step of an exchange with a delegate.
    Exchange {
        /// The exchange, while there is one.
        exchange: Option<Box<Exchange>>,
        /// What the delegate said.
        step: Step,
    },
}

/// Why a recipient was not let in.
#[derive(Debug)]
pub struct Refusal {
    reply: Reply,
    blame: &'static str,
    detail: String,
}

impl Session {
    /// A session on a fresh connection. `refuse`: there is no room for it; it is told so and closed.
    pub fn new(
        gateway: Arc<Gateway>,
        listener: Arc<Listener>,
        peer: Option<SocketAddr>,
        refuse: Option<Reply>,
    ) -> Session {
        let id = format!("{:012x}", rand::random::<u64>() >> 16);
        Session {
            settings: gateway.settings.load_full(),
            gateway,
            listener,
            id,
            peer,
            ends: None,
            refuse,
            rename: None,
            hello: (String::new(), false),
            tls: None,
            login: None,
            sasl: Sasl::Idle,
            tried: false,
            transaction: None,
        }
    }

    /// Tells the ends of the connection: who opened it, and where it arrived; `None` where only a front end knows.
    pub fn between(&mut self, ends: Option<(SocketAddr, Option<SocketAddr>)>) {
        self.ends = ends;
    }

    /// The peer may say for which client it speaks.
    pub fn let_rename(&mut self, rename: Rename) {
        self.rename = Some(rename);
    }

    /// XCLIENT: all that is asked about the client is asked about this one from now on.
    fn renamed(&mut self, claim: &Claim) -> Answer {
        let client = SocketAddr::new(claim.address, claim.port);
        let Some(rename) = &mut self.rename else {
            return Answer::No(Reply::new(550, (5, 7, 0), "XCLIENT is not believed from your address"));
        };
        match rename(client) {
            Err(refused) => Answer::No(refused),
            Ok(config) => {
                self.say("!:", &format!("speaks for {client}"));
                tracing::debug!(session = %self.id, %client, "XCLIENT");
                self.peer = Some(client);
                self.settings = self.gateway.settings.load_full();
                (self.login, self.sasl, self.transaction) = (None, Sasl::Idle, None);
                self.hello = (String::new(), false);
                Answer::Anew(config)
            }
        }
    }

    fn client(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    fn is_trusted(&self) -> bool {
        let networks = &self.settings.relay.trusted_networks;
        self.listener.kind == ListenerKind::Trusted
            && self.client().is_some_and(|client| policy::in_networks(client, networks))
    }

    /// The client as the guard counts it: `None` for trusted networks, on any listener.
    fn counted_client(&self) -> Option<IpAddr> {
        let networks = &self.settings.relay.trusted_networks;
        self.client().filter(|client| !policy::in_networks(*client, networks))
    }

    fn known_sender(&self) -> bool {
        self.login.is_some() || self.is_trusted()
    }

    fn event(&self, kind: &str, blame: &str, recipient: &str, detail: String) {
        let envelope = self.transaction.as_ref().map(|transaction| &transaction.envelope);
        self.gateway.record(HistoryEvent {
            at: self.gateway.clock.now(),
            session: self.id.clone(),
            message: envelope.map(|envelope| envelope.id),
            kind: kind.to_owned(),
            sender: envelope.map_or(String::new(), |envelope| envelope.mail.reverse_path.as_str().to_owned()),
            recipient: recipient.to_owned(),
            blame: blame.to_owned(),
            detail,
        });
    }

    /// The loop guard: the peer is a connection of our own. Asked again at MAIL and AUTH, as a session may begin before
    /// our own side knows that it is connected.
    fn loops(&self, question: &Question) -> bool {
        let early = matches!(question, Question::Connect | Question::Mail(_) | Question::SaslStart { .. });
        early && self.ends.is_some_and(|(peer, at)| self.gateway.connector.is_ours(peer, at))
    }

    /// MAIL: opens the transaction with the settings of now; a full disk is told before the body comes.
    fn mail(&mut self, mail: MailFrom) -> Answer {
        self.settings = self.gateway.settings.load_full();
        if let Some(login) = self.login.as_deref() {
            let (gateway, settings) = (&self.gateway, &self.settings);
            let login = LoggedIn { gateway, settings, session: &self.id, client: self.client(), login };
            if let Some(reply) = login.refuse_reverse_path(&mail.reverse_path) {
                return Answer::No(reply);
            }
        }
        let wanted = mail.size.unwrap_or(0).max(UNDECLARED);
        let reservation = match self.gateway.stores.mail.reserve(wanted, !self.known_sender()) {
            Ok(reservation) => reservation,
            Err(fault) => return Answer::No(refusal(&fault)),
        };
        let now = self.gateway.clock.now();
        let origin = Origin {
            session: self.id.clone(),
            listener: self.listener.name.clone(),
            client: self.client(),
            port: self.peer.map(|peer| peer.port()),
            helo: self.hello.0.clone(),
            esmtp: self.hello.1,
            login: self.login.clone(),
            known_sender: self.known_sender(),
            // Known at the dot.
            proven: false,
        };
        self.transaction = Some(Box::new(Transaction {
            envelope: Envelope::new(MessageId::at(now), now, origin, mail),
            settings: Arc::clone(&self.settings),
            reservation: Some((reservation, wanted)),
            intake: None,
        }));
        Answer::Yes(Reply::new(250, (2, 1, 0), "Ok"))
    }

    /// RCPT: policy first; the sources are asked about accepted domains only.
    fn recipient(
        &self,
        index: usize,
        mut to: RcptTo,
    ) -> impl Future<Output = Event> + Send + 'static + use<> {
        let settings = self.transaction.as_ref().map_or(&self.settings, |transaction| &transaction.settings);
        let settings = Arc::clone(settings);
        if let Some(postmaster) =
            policy::bare_postmaster(&to.mailbox, &settings.hostname, settings.first_domain())
        {
            to.mailbox = postmaster;
        }
        let client = Client {
            authenticated: self.login.is_some(),
            trusted: self.is_trusted(),
            open_relay: settings.relay.open_relay,
        };
        let envelope = self.transaction.as_ref().map(|transaction| &transaction.envelope);
        let asking = Asking {
            gateway: Arc::clone(&self.gateway),
            settings,
            client,
            counted: self.counted_client().filter(|_| self.login.is_none()),
            session: self.id.clone(),
            message: envelope.map(|envelope| envelope.id),
            sender: envelope.map_or(String::new(), |envelope| envelope.mail.reverse_path.as_str().to_owned()),
        };
        async move {
            let outcome = asking.decide(&to.mailbox).await;
            Event::Recipient { index, to, outcome }
        }
    }

    fn recipients(&self, list: Vec<RcptTo>) -> Work<Event> {
        let mut asked: Vec<_> =
            list.into_iter().enumerate().map(|(index, to)| self.recipient(index, to)).collect();
        match asked.len() {
            1 => Box::pin(stream::once(asked.remove(0))),
            _ => Box::pin(asked.into_iter().collect::<FuturesUnordered<_>>()),
        }
    }

    fn decided(&mut self, index: usize, to: RcptTo, outcome: Result<RelayPermit, Refusal>) -> Answer {
        let reply = match outcome {
            Ok(permit) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.envelope.add(to, permit);
                }
                Reply::new(250, (2, 1, 5), "Ok")
            }
            Err(refusal) => {
                tracing::info!(session = %self.id, client = %self.client_text(), recipient = %to.mailbox,
                    blame = refusal.blame, reply = %refusal.reply, detail = %refusal.detail, "recipient refused");
                let detail = format!("{} ({})", refusal.reply, refusal.detail);
                self.event("refused", refusal.blame, to.mailbox.as_str(), detail);
                refusal.reply
            }
        };
        Answer::Recipient { index, reply }
    }

    /// DATA or the first BDAT: the last moment to refuse before the body.
    fn body_begins(&mut self) -> Answer {
        let fix = match self.listener.kind {
            ListenerKind::Mx => Fix::Untouched,
            ListenerKind::Submission | ListenerKind::Trusted => Fix::Submission,
        };
        let Some(transaction) = &mut self.transaction else {
            return Answer::No(refusal(&StoreFault::Broken("body without a transaction".to_owned())));
        };
        let Some(reservation) = transaction.reservation.take() else {
            return Answer::No(refusal(&StoreFault::Broken("body without its space".to_owned())));
        };
        let untrusted = self.listener.kind != ListenerKind::Trusted;
        let stranger = self.listener.kind == ListenerKind::Mx
            && !transaction.envelope.origin.known_sender
            && transaction.envelope.origin.client.is_some_and(|client| !client.is_loopback());
        let detach = classes::detach(&transaction.envelope, &transaction.settings, &self.gateway.stores);
        let mut intake = Intake::new(
            Arc::clone(&self.gateway.stores.mail),
            Arc::clone(&self.gateway.budget),
            reservation,
            fix,
            transaction.settings.limits.received_hops,
            &transaction.settings.hostname,
            detach,
        );
        if untrusted {
            intake.drop_results_of(&transaction.settings.hostname);
        }
        if transaction.settings.relay.send_as_from {
            intake.keep_authors();
        }
        if stranger && transaction.settings.authentication.verify {
            intake.read_for_checks();
        }
        transaction.intake = Some(intake);
        Answer::Yes(Reply::plain(354, "Start mail input"))
    }

    /// Whether a message of the declared size would take more than the sender's files may: asked before it comes.
    fn quota(&self) -> Option<BoxFuture<'static, Result<Option<Reply>, StoreFault>>> {
        let transaction = self.transaction.as_ref()?;
        let (envelope, settings) = (transaction.envelope.clone(), Arc::clone(&transaction.settings));
        let stores = self.gateway.stores.clone();
        let more = quota::expected(&envelope, &settings, &stores)?;
        Some(Box::pin(async move { quota::refusal(&stores, &envelope, &settings.attachments, more).await }))
    }

    fn commit(&mut self) -> Work<Event> {
        let taken = self.transaction.take().map(|transaction| *transaction);
        let Some(Transaction { envelope, settings, intake: Some(intake), .. }) = taken else {
            return ready(Answer::No(refusal(&StoreFault::Broken("commit without a body".to_owned()))));
        };
        let committing = Committing {
            gateway: Arc::clone(&self.gateway),
            listener: Arc::clone(&self.listener),
            settings,
            hello: self.hello.clone(),
            tls: self.tls.clone(),
            envelope,
            intake,
        };
        Box::pin(stream::once(Box::pin(async move { Event::Answer(committing.run().await) })))
    }
}

fn ready(answer: Answer) -> Work<Event> {
    Box::pin(stream::iter([Event::Answer(answer)]))
}

impl Handler for Session {
    type Event = Event;

    fn ask(&mut self, question: Question, hello: Option<(&str, bool)>) -> Work<Event> {
        if let Some((name, extended)) = hello {
            self.hello = (name.to_owned(), extended);
        }
        if self.loops(&question) {
            tracing::error!(blame = "us", session = %self.id, listener = %self.listener.name,
                "a connection of our own came back to us: a delegate or next hop of the settings leads to this listener, give the other server's address");
            let text = "This is the gateway that asks: its settings lead back to itself";
            return ready(Answer::No(Reply::new(421, (4, 4, 6), text)));
        }
        match question {
            Question::Connect => self.say("!:", &format!("connected to listener {}", self.listener.name)),
            Question::Commit => self.say("!:", "message complete"),
            _ => {}
        }
        match question {
            Question::Connect => ready(match self.refuse.take() {
                Some(reply) => Answer::No(reply),
                None => Answer::Yes(Reply::plain(220, "")),
            }),
            Question::Mail(mail) => {
                let answer = self.mail(mail);
                ready(answer)
            }
            Question::Recipients(list) => self.recipients(list),
            Question::Client(claim) => {
                let answer = self.renamed(&claim);
                ready(answer)
            }
            Question::SaslStart { mechanism, initial } => self.sasl_start(&mechanism, initial),
            Question::SaslStep(response) => self.sasl_step(response),
            Question::Body(_) => {
                let answer = self.body_begins();
                match (&answer, self.quota()) {
                    (Answer::Yes(_), Some(refused)) => Box::pin(stream::once(async move {
                        match refused.await {
                            Ok(None) => Event::Answer(answer),
                            Ok(Some(reply)) => Event::NoBody(reply),
                            Err(fault) => Event::NoBody(refusal(&fault)),
                        }
                    })),
                    _ => ready(answer),
                }
            }
            Question::Commit => self.commit(),
        }
    }

    fn resolve(&mut self, event: Event) -> Answer {
        match event {
            Event::Answer(answer) => answer,
            Event::NoBody(reply) => {
                self.forget_body();
                Answer::No(reply)
            }
            Event::Recipient { index, to, outcome } => self.decided(index, to, outcome),
            Event::Exchange { exchange, step } => self.exchange_went_on(exchange, step),
            Event::Login { login, asked } => self.login_decided(login, asked),
        }
    }

    fn body(&mut self, octets: &[u8]) -> Result<(), Reply> {
        let intake = self.transaction.as_mut().and_then(|transaction| transaction.intake.as_mut());
        let pushed = match intake {
            Some(intake) => intake.push(octets),
            None => Err(refusal(&StoreFault::Broken("octets without a body".to_owned()))),
        };
        pushed.inspect_err(|_| self.forget_body())
    }

    fn flush(&mut self) -> Option<BoxFuture<'_, Result<(), Reply>>> {
        let intake = self.transaction.as_mut().and_then(|transaction| transaction.intake.as_mut())?;
        if !intake.is_full() {
            return None;
        }
        Some(Box::pin(intake.flush()))
    }

    fn dropped(&mut self) {
        self.transaction = None;
        self.sasl = Sasl::Idle;
    }

    fn cancelled(&mut self) {
        self.login_cancelled();
    }

    fn secured(&mut self, facts: TlsFacts) {
        self.say("!:", &format!("tls {} {}", facts.version, facts.cipher));
        self.tls = Some(facts);
        self.hello = (String::new(), false);
    }

    fn said(&mut self, ours: bool, line: &str) {
        self.say(if ours { "S:" } else { "C:" }, line);
    }

    fn traced(&self) -> bool {
        self.gateway.trace.active()
    }
}

impl Session {
    fn forget_body(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.intake = None;
        }
    }

    fn say(&self, mark: &str, text: &str) {
        if !self.gateway.trace.active() {
            return;
        }
        let peer = self.peer.map_or_else(|| "pipe".to_owned(), |peer| peer.to_string());
        self.gateway.trace.say(&self.id, &peer, mark, text);
    }
}
