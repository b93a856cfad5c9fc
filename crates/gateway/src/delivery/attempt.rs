//! One attempt at one delivery: a session with the first next hop that can be had, its recipients in transactions of
//! at most [`BATCH`].
//!
//! Fails over only on what says nothing about the message; every refusal is judged by `vouchsafe_core::outcome`.
//! Proof: `tests/delivery.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use vouchsafe_core::Timestamp;
use vouchsafe_core::outcome::{
    self, Attempt, Blame, End, Needs, Outcome, Rules, fit_mail, judge, too_many_recipients, unfit_recipient,
};
use vouchsafe_core::ports::{MailStore, StoreFault};
use vouchsafe_net::client::{Connection, DeliveryReplies, Fault, FaultKind, Phase, Timeouts};
use vouchsafe_smtp::extension::Capabilities;
use vouchsafe_smtp::{BodyKind, Enhanced, RcptTo, Reply, Tick};

use super::board::{DestinationId, Job};
use super::content::Signed;
use super::telling::{Ready, Teller};
use super::{Deliverer, content};

/// Recipients of one transaction (RFC 5321 §4.5.3.1.8: every server takes 100).
const BATCH: usize = 100;
/// Messages and age after which a kept session is ended: load balancers and mended first hops get their turn.
const SESSION_MESSAGES: usize = 100;
const SESSION_AGE: Duration = Duration::from_secs(300);

/// RFC 5321 §4.5.3.2: a next hop that takes its time is waited for, but not that long where another can be asked.
fn timeouts(others: bool) -> Timeouts {
    let patient = Timeouts { command: Duration::from_secs(300), ..Timeouts::default() };
    if others { Timeouts::default() } else { patient }
}

/// A kept session with a next hop.
pub(super) struct Session {
    connection: Connection,
    hop: usize,
    host: String,
    endpoint: String,
    teller: Teller,
    opened: Tick,
    messages: usize,
    _place: Place,
}

impl Session {
    /// Keeps a session that can go on; one that has done its share is ended.
    async fn keep(mut self, now: Tick) -> Option<Session> {
        if !self.connection.is_ready() {
            return None;
        }
        if self.messages < SESSION_MESSAGES && now.since(self.opened) < SESSION_AGE {
            return Some(self);
        }
        self.end().await;
        None
    }

    /// Says QUIT. Its place is free when the next hop's is.
    pub async fn end(self) {
        let Session { connection, _place, .. } = self;
        connection.quit().await;
    }
}

/// A connection's place at its destination; given back when the session goes.
struct Place(Arc<Deliverer>, DestinationId);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.board().disconnected(self.1);
    }
}

/// What became of one recipient.
pub(super) struct Fate {
    /// Place in `delivery.recipients`.
    pub at: usize,
    pub outcome: Outcome,
    /// `host:port` and host that it was said by.
    pub endpoint: String,
    pub host: String,
    /// Delivered to a next hop that will not report deliveries.
    pub relayed: bool,
}

/// What became of an attempt.
pub(super) struct Report {
    pub results: Vec<Fate>,
    /// False if no next hop was spoken to: all are in back-off.
    pub tried: bool,
    /// Nothing is to be tried before this.
    pub not_before: Option<Timestamp>,
}

/// Why there is no session.
enum NoSession {
    /// Every next hop failed; the last one's fault.
    Fault(Fault),
    /// No next hop may be tried now.
    Down { words: String, wait: Duration },
    /// Others of us have sessions, and the next hop takes no more.
    Crowded,
}

/// What is tried, by one worker.
pub(super) struct Trial<'a> {
    pub deliverer: &'a Arc<Deliverer>,
    pub destination: DestinationId,
    pub job: &'a Job,
    pub rules: Rules,
    results: Vec<Fate>,
    /// Next hops that failed in this attempt.
    skip: Vec<usize>,
}

impl<'a> Trial<'a> {
    pub fn new(
        deliverer: &'a Arc<Deliverer>,
        destination: DestinationId,
        job: &'a Job,
        rules: Rules,
    ) -> Self {
        Trial { deliverer, destination, job, rules, results: Vec::new(), skip: Vec::new() }
    }

    /// Tries; `None` if the next hop takes no further session of ours and the job must wait for one we have.
    pub async fn run(&mut self, kept: &mut Option<Session>) -> Option<Report> {
        let recipients = &self.job.delivery.recipients;
        let pending = |at: &usize| recipients[*at].state == vouchsafe_core::RecipientState::Pending;
        let mut left: VecDeque<usize> = (0..recipients.len()).filter(pending).collect();
        let mut report = Report { results: Vec::new(), tried: true, not_before: None };
        while !left.is_empty() {
            let batch = self.batch(&mut left);
            let mut session = match self.session(kept).await {
                Ok(session) => session,
                Err(NoSession::Crowded) if self.results.is_empty() => return None,
                Err(no_session) => {
                    self.without_session(no_session, batch.into_iter().chain(left), &mut report);
                    break;
                }
            };
            match self.transact(&mut session, &batch).await {
                Step::Judged => *kept = session.keep(self.deliverer.deps.clock.tick()).await,
                Step::Rest(rest) => {
                    rest.into_iter().rev().for_each(|at| left.push_front(at));
                    *kept = session.keep(self.deliverer.deps.clock.tick()).await;
                }
                // The message is as it was: the next session, or the next hop, is asked.
                Step::Again => {
                    batch.into_iter().rev().for_each(|at| left.push_front(at));
                    *kept = session.keep(self.deliverer.deps.clock.tick()).await;
                }
                Step::Fresh => {
                    batch.into_iter().rev().for_each(|at| left.push_front(at));
                    session.end().await;
                }
                Step::Over(outcome) => {
                    self.all(batch.into_iter().chain(left), &outcome, Some(&session));
                    *kept = session.keep(self.deliverer.deps.clock.tick()).await;
                    break;
                }
            }
        }
        report.results = std::mem::take(&mut self.results);
        Some(report)
    }

    /// Takes the recipients of the next transaction: at most [`BATCH`], all with one link, if links stand in the form.
    fn batch(&self, left: &mut VecDeque<usize>) -> Vec<usize> {
        let Some(form) = self.job.delivery.form.as_ref().filter(|form| form.recipe.has_slot()) else {
            return left.drain(..left.len().min(BATCH)).collect();
        };
        let group = |at: &usize| form.group(self.job.delivery.recipients[*at].index);
        let first = left.front().map(group);
        let mut batch = Vec::new();
        left.retain(|at| {
            let now = batch.len() < BATCH && Some(group(at)) == first;
            if now {
                batch.push(*at);
            }
            !now
        });
        batch
    }

    /// The link of these recipients, who have one in common; empty where none stands in the message. Without an address
    /// of the download pages it is the settings' fault: the message waits, and is held in the end, never returned.
    fn link(&self, batch: &[usize]) -> Result<String, Outcome> {
        let delivery = &self.job.delivery;
        let form = delivery.form.as_ref().filter(|form| form.recipe.has_slot());
        let (Some(form), Some(&at)) = (form, batch.first()) else { return Ok(String::new()) };
        let settings = self.deliverer.deps.settings.load();
        match &settings.attachments.public_url {
            Some(public_url) => Ok(form.link(public_url, delivery.recipients[at].index)),
            None => {
                let words = "its links have no address: web.public_url is not given".to_owned();
                tracing::error!(message = %delivery.message.id, blame = "us", "{words}");
                Err(Outcome { route_fault: true, ..outcome::retry(Enhanced(4, 3, 5), words, Blame::Us) })
            }
        }
    }

    /// The kept session, or a new one with the first next hop that can be had.
    async fn session(&mut self, kept: &mut Option<Session>) -> Result<Session, NoSession> {
        if let Some(mut session) = kept.take()
            && session.connection.is_ready()
        {
            if !self.skip.contains(&session.hop) {
                return Ok(session);
            }
            session.end().await;
        }
        let deps = &self.deliverer.deps;
        let now = deps.clock.tick();
        let hops = self.deliverer.board().hops(self.destination, &self.skip, now);
        let timeouts = timeouts(hops.len() > 1);
        let mut last = None;
        for (hop, endpoint) in hops {
            self.deliverer.board().trying(self.destination, hop, deps.clock.tick());
            let trace = (deps.trace)(&endpoint);
            match Connection::open(&deps.connector, &endpoint, &deps.hello, &timeouts, trace).await {
                Ok(connection) => {
                    if self.deliverer.board().reached(self.destination, hop) {
                        self.deliverer.bell.notify_one();
                    }
                    let place = Place(self.deliverer.clone(), self.destination);
                    let (host, opened) = (endpoint.host.clone(), deps.clock.tick());
                    let (tell, endpoint) = (endpoint.tell, endpoint.to_string());
                    return Ok(Session {
                        connection,
                        hop,
                        host,
                        teller: Teller::new(tell, endpoint.clone()),
                        endpoint,
                        opened,
                        messages: 0,
                        _place: place,
                    });
                }
                Err(fault) => {
                    let (now, words, crowd) = (deps.clock.tick(), fault.to_string(), may_be_crowded(&fault));
                    if self.deliverer.board().missed(self.destination, hop, now, &words, crowd) {
                        return Err(NoSession::Crowded);
                    }
                    tracing::warn!(next_hop = %endpoint, blame = "next_hop", "no session: {fault}");
                    last = Some(fault);
                }
            }
        }
        Err(match last {
            Some(fault) => NoSession::Fault(fault),
            None => {
                let (words, wait) = self.deliverer.board().why_down(self.destination, now);
                NoSession::Down { words, wait }
            }
        })
    }

    fn without_session(
        &mut self,
        why: NoSession,
        recipients: impl Iterator<Item = usize>,
        report: &mut Report,
    ) {
        match why {
            NoSession::Fault(fault) => {
                let outcome = self.judge_fault(&fault);
                self.all(recipients, &outcome, None);
            }
            NoSession::Down { words, wait } => {
                let known = wait > Duration::ZERO;
                let blame = if known { Blame::NextHop } else { Blame::Us };
                let outcome = outcome::retry(Enhanced(4, 4, 1), words, blame);
                report.tried = !known || !self.results.is_empty() || !self.skip.is_empty();
                // Without a next hop in the settings the route is at fault: never bounced.
                self.all(recipients, &Outcome { route_fault: !known, ..outcome }, None);
                report.not_before = known.then(|| self.deliverer.deps.clock.now() + wait);
            }
            NoSession::Crowded => {
                let words = "the next hop takes no further session now".to_owned();
                self.all(recipients, &outcome::retry(Enhanced(4, 3, 2), words, Blame::NextHop), None);
            }
        }
    }

    /// One transaction.
    async fn transact(&mut self, session: &mut Session, batch: &[usize]) -> Step {
        let delivery = &self.job.delivery;
        let store = &*self.deliverer.deps.store;
        // What the next hop offers may depend on the client.
        match session.teller.tell(&mut session.connection, &delivery.message, &self.deliverer.noted).await {
            Ok(Ready::Yes) => {}
            Ok(Ready::No) => return Step::Fresh,
            Err(fault) => return self.after_fault(session, &fault, session.messages > 0),
        }
        let offers = session.connection.capabilities().clone();
        let link = match self.link(batch) {
            Ok(link) => link,
            Err(outcome) => return Step::Over(outcome),
        };
        let needs = match needs(self.job, store, &link, &offers).await {
            Ok(needs) => needs,
            Err(fault) => return Step::Over(self.store_fault(&fault)),
        };
        let mail = match fit_mail(&delivery.message.mail, needs, &offers) {
            Ok(mail) => mail,
            Err(reply) => return Step::Over(self.unfit(&reply)),
        };
        let mut fit = Vec::with_capacity(batch.len());
        for &at in batch {
            match unfit_recipient(&delivery.recipients[at].to, &offers) {
                None => fit.push(at),
                Some(reply) => self.all([at].into_iter(), &self.unfit(&reply), Some(session)),
            }
        }
        if fit.is_empty() {
            return Step::Judged;
        }
        let to: Vec<RcptTo> = fit.iter().map(|at| delivery.recipients[*at].to.clone()).collect();
        let signed = Signed {
            keys: &self.deliverer.keys.load_full(),
            seal: self.deliverer.deps.settings.load().authentication.seal,
            to: &to,
            now: self.deliverer.deps.clock.now(),
        };
        let signatures = match content::signatures(self.job, store, &link, &signed).await {
            Ok(signatures) => signatures,
            Err(fault) => return Step::Over(self.store_fault(&fault)),
        };
        let mut content = match content::open(self.job, store, &link).await {
            Ok(content) => content,
            Err(fault) => return Step::Over(self.store_fault(&fault)),
        };
        let size = content::size(self.job, &link) + signatures.len() as u64;
        content.put_on_top(signatures);
        let sent = session.connection.deliver(&mail, &to, size, &mut content).await;
        session.messages += 1;
        match (sent, content.fault) {
            (_, Some(fault)) => Step::Over(self.store_fault(&fault)),
            (Err(fault), None) => self.after_fault(session, &fault, session.messages > 1),
            (Ok(replies), None) if cannot_now(&replies) && self.other_hop(session.hop) => Step::Again,
            (Ok(replies), None) => {
                session.teller.heard(replies.not_told.as_ref(), &self.deliverer.noted);
                self.judge_replies(session, &fit, &replies, &offers)
            }
        }
    }

    /// Where a fault of the session leads. `kept`: it had delivered before; if the peer had ended it then, nothing was
    /// said about this message.
    fn after_fault(&mut self, session: &Session, fault: &Fault, kept: bool) -> Step {
        match fault.is_stale_session() && kept || says_nothing(fault) && self.other_hop(session.hop) {
            true => Step::Again,
            false => Step::Over(self.judge_fault(fault)),
        }
    }

    /// Is there another next hop for this attempt? The one given is not asked again in it.
    fn other_hop(&mut self, hop: usize) -> bool {
        let now = self.deliverer.deps.clock.tick();
        self.skip.push(hop);
        let other = !self.deliverer.board().hops(self.destination, &self.skip, now).is_empty();
        if !other {
            self.skip.pop();
        }
        other
    }

    fn judge_replies(
        &mut self,
        session: &Session,
        fit: &[usize],
        replies: &DeliveryReplies,
        offers: &Capabilities,
    ) -> Step {
        let delivery = &self.job.delivery;
        let to: Vec<&RcptTo> = fit.iter().map(|at| &delivery.recipients[*at].to).collect();
        let outcomes = {
            let mut board = self.deliverer.board();
            let memory = board.memory(self.destination);
            judge(Attempt::Replies(replies), delivery.message.id, &to, self.rules, memory)
        };
        let delivered = outcomes.iter().any(|outcome| outcome.end == End::Delivered);
        let mut rest = Vec::new();
        for (&at, outcome) in fit.iter().zip(outcomes) {
            if delivered && outcome.said.as_ref().is_some_and(too_many_recipients) {
                rest.push(at);
                continue;
            }
            let relayed = outcome.end == End::Delivered && !offers.dsn;
            self.results.push(Fate {
                at,
                outcome,
                endpoint: session.endpoint.clone(),
                host: session.host.clone(),
                relayed,
            });
        }
        if rest.is_empty() { Step::Judged } else { Step::Rest(rest) }
    }

    fn judge_fault(&mut self, fault: &Fault) -> Outcome {
        let (message, words) = (self.job.delivery.message.id, fault.to_string());
        let attempt = Attempt::Fault { phase: fault.phase, kind: &fault.kind, words: &words };
        let first = &self.job.delivery.recipients[0].to;
        let mut board = self.deliverer.board();
        let memory = board.memory(self.destination);
        let mut outcomes = judge(attempt, message, &[first], self.rules, memory);
        outcomes.pop().unwrap_or_else(|| outcome::retry(Enhanced(4, 4, 2), words, Blame::NextHop))
    }

    fn unfit(&self, reply: &Reply) -> Outcome {
        let status = reply.enhanced.unwrap_or(Enhanced(5, 6, 0));
        outcome::permanent(status, reply.to_string(), Blame::NextHop, self.rules)
    }

    /// Bytes at rest that do not match their checksum are held and alarmed, never sent; other faults may pass.
    fn store_fault(&self, fault: &StoreFault) -> Outcome {
        let message = self.job.delivery.message.id;
        tracing::error!(%message, blame = "us", "the message cannot be read: {fault}");
        let outcome = outcome::retry(Enhanced(4, 3, 0), fault.to_string(), Blame::Us);
        match fault {
            StoreFault::Corrupt(_) | StoreFault::Missing(_) => Outcome { end: End::Hold, ..outcome },
            StoreFault::Full(_) | StoreFault::Broken(_) => outcome,
        }
    }

    fn all(&mut self, recipients: impl Iterator<Item = usize>, outcome: &Outcome, session: Option<&Session>) {
        let said_by = |text: fn(&Session) -> &String| session.map(text).cloned().unwrap_or_default();
        self.results.extend(recipients.map(|at| Fate {
            at,
            outcome: outcome.clone(),
            endpoint: said_by(|session| &session.endpoint),
            host: said_by(|session| &session.host),
            relayed: false,
        }));
    }
}

/// Only a next hop that does not offer all is worth reading the message for.
async fn needs(
    job: &Job,
    store: &dyn MailStore,
    link: &str,
    offers: &Capabilities,
) -> Result<Needs, StoreFault> {
    let mail = &job.delivery.message.mail;
    let eight_bit = mail.body == BodyKind::EightBitMime && !offers.eight_bit_mime;
    let utf8 = mail.smtputf8 && !offers.smtputf8;
    if !eight_bit && !utf8 {
        return Ok(Needs::default());
    }
    content::needs(content::open(job, store, link).await?).await
}

/// Where a transaction leads.
enum Step {
    /// The results stand.
    Judged,
    /// The results stand; these belong in another transaction.
    Rest(Vec<usize>),
    /// Nothing was said about the message: anew.
    Again,
    /// The same over a session that has not yet been told of another client.
    Fresh,
    /// This holds for all that are left.
    Over(Outcome),
}

/// Before its content was sent, a broken session says nothing about the message.
fn says_nothing(fault: &Fault) -> bool {
    let early =
        matches!(fault.phase, Phase::Identity | Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Reset);
    let broken = match &fault.kind {
        FaultKind::Closed | FaultKind::Timeout | FaultKind::Garbage(_) => true,
        FaultKind::Refused(reply) => reply.is_transient(),
        FaultKind::Unreachable(_) | FaultKind::TlsRefused(_) | FaultKind::Local(_) => false,
    };
    early && broken
}

/// 4yz at MAIL: this next hop takes no mail now (FACTS section 2: Exchange under maintenance).
fn cannot_now(replies: &DeliveryReplies) -> bool {
    replies.mail.as_ref().is_some_and(Reply::is_transient)
}

/// Faults by which a server tells that it has enough of our sessions.
fn may_be_crowded(fault: &Fault) -> bool {
    match &fault.kind {
        FaultKind::Refused(reply) => reply.is_transient(),
        FaultKind::Unreachable(_) | FaultKind::Timeout | FaultKind::Closed => true,
        FaultKind::TlsRefused(_) | FaultKind::Garbage(_) | FaultKind::Local(_) => false,
    }
}
