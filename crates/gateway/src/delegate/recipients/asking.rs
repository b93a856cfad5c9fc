//! A worker: one session at a time, batches until there is nothing to do.
//!
//! A batch is never larger than the refusals its session has left (Exchange closes at 5 errors: 4 are used); answers
//! are used one by one as they come. A session that fails is closed, never continued.
//! Proof: `tests/places.rs`, `transcripts/delegate/recipient_*`.

use std::sync::Arc;
use std::time::Duration;

use vouchsafe_core::Endpoint;
use vouchsafe_core::ports::Clock;
use vouchsafe_core::verdict::{ProbeTo, Rules, Verdict, classify_fault, classify_recipient};
use vouchsafe_net::client::{Connection, Fault, Timeouts};
use vouchsafe_smtp::{Mailbox, Reply, Tick};

use super::place::{Idled, Place};
use super::{Purpose, Question, Shared, unavailable};
use crate::delegate::lock;
use crate::delegate::own_login::Wish;
use crate::delegate::relay_gate::Shown;

/// A session's longest life; an Exchange Edge closes at 5 min.
const LIFE: Duration = Duration::from_secs(240);
/// A session without work says QUIT after this long.
const IDLE: Duration = Duration::from_secs(30);
/// A delegate that lets a reply wait for this long after the one before holds it back: refusals are tarpitted.
const HELD_BACK: Duration = Duration::from_millis(500);
/// After that, questions are spread over the sessions for this long.
const SPREAD: Duration = Duration::from_secs(600);
/// Longest wait for one reply of the delegate: above any tarpit, below forever.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session, and what it has been used for.
pub(super) struct Kept {
    connection: Connection,
    pub endpoint: Endpoint,
    refusals: usize,
    probes: usize,
    since: Tick,
}

impl Shared {
    /// One worker: one session at a time, batches until there is nothing to do.
    pub(super) async fn work(self: Arc<Self>, mut place: Place) {
        let mut kept: Option<Kept> = None;
        let mut stop = self.means.tasks.stop_signal();
        loop {
            if place.is_coming() {
                // All that can run now runs first: what it asks goes into the same batch.
                tokio::task::yield_now().await;
            }
            let room = self.room(kept.as_ref());
            while let Some(wait) = place.held_back(room) {
                tokio::time::sleep(wait).await;
            }
            let batch = match place.take(room) {
                Ok(batch) => batch,
                Err(mut woken) => {
                    let stopped = *stop.borrow_and_update();
                    if !stopped {
                        tokio::select! {
                            _ = &mut woken => {}
                            () = tokio::time::sleep(IDLE) => {}
                            _ = stop.changed() => {}
                        }
                    }
                    if place.idled(stopped) == Idled::Over {
                        if let Some(kept) = kept {
                            kept.connection.quit().await;
                        }
                        return;
                    }
                    continue;
                }
            };
            kept = place.ask(self.ask_batch(kept, batch)).await;
            if kept.is_none() && place.is_one_too_many() {
                return;
            }
            if let Some(done) = kept.take_if(|kept| self.is_spent(kept)) {
                done.connection.quit().await;
            }
        }
    }

    /// The delegate is busy: true if other workers of ours can take the question on. When it takes nobody, each
    /// worker passes the question on and ends, and the last one finds out.
    fn wait_for_others(&self) -> bool {
        let mut state = lock(&self.state);
        let others = state.workers - 1;
        state.cap.busy(others)
    }

    /// Questions that a batch of this session, or of a new one, may have: each may be refused.
    pub(super) fn room(&self, kept: Option<&Kept>) -> usize {
        if self.settings.probe_to == ProbeTo::Data {
            return usize::from(kept.is_none_or(|kept| kept.probes == 0));
        }
        let (refusals, questions) = kept.map_or((0, 0), |kept| (kept.refusals, kept.probes));
        let left = |most: usize, used| most.saturating_sub(used);
        left(self.refusals(), refusals).min(left(self.settings.questions, questions))
    }

    fn rules(&self, mailbox: &Mailbox) -> Rules {
        let any_domain = self.relay_gate.as_ref().is_some_and(|gate| gate.decides(mailbox));
        Rules { accept_252: self.settings.accept_252, any_domain, probe_to: self.settings.probe_to }
    }

    /// Refusals that a session may collect before it is retired (FACTS section 5).
    fn refusals(&self) -> usize {
        self.means.refusals.allowed(&self.settings, self.means.clock.now())
    }

    fn is_spent(&self, kept: &Kept) -> bool {
        self.room(Some(kept)) == 0 || self.means.clock.tick().since(kept.since) >= LIFE
    }

    /// Asks one batch on the kept session or a new one. A kept session that the delegate closed meanwhile is replaced
    /// once; nothing that was answered is asked again.
    async fn ask_batch(&self, kept: Option<Kept>, batch: Vec<Question>) -> Option<Kept> {
        let mut kept = kept.and_then(|mut kept| kept.connection.is_ready().then_some(kept));
        if let Some(full) = kept
            .take_if(|kept| self.room(Some(kept)) <= 2 && self.must_show(&batch, &kept.endpoint.to_string()))
        {
            full.connection.quit().await;
        }
        let reused = kept.is_some();
        let mut kept = match kept {
            Some(kept) => kept,
            None => match self.open(&batch[0].session).await {
                Ok(kept) => kept,
                Err(fault) => {
                    if fault.is_busy() && self.wait_for_others() {
                        self.again(batch);
                    } else {
                        self.failed(&batch, &fault);
                    }
                    return None;
                }
            },
        };
        lock(&self.state).breaker.succeeded();
        let (batch, showing) = self.behind_probes(batch, &kept);
        let batch = self.answer_utf8(batch, kept.connection.capabilities().smtputf8);
        if batch.is_empty() {
            return Some(kept);
        }
        let mailboxes: Vec<Mailbox> = batch.iter().map(|probe| probe.mailbox.clone()).collect();
        let mut answered = vec![false; batch.len()];
        let mut refusals = 0;
        let asked = self.means.clock.tick();
        let mut heard = asked;
        let mut held_back = false;
        let mut refused_last = false;
        let (host, mut shown) = (kept.endpoint.to_string(), Shown::default());
        let mut hear = |index: usize, reply: &Reply| {
            let now = self.means.clock.tick();
            if index == 0 {
                lock(&self.state).stagger.answered(now.since(asked));
            }
            held_back |= now.since(std::mem::replace(&mut heard, now)) >= HELD_BACK;
            let probe = &batch[index];
            let rules = self.rules(&probe.mailbox);
            if let Some(verdict) = classify_recipient(&kept.endpoint, reply, rules) {
                answered[index] = true;
                match probe.purpose {
                    Purpose::Relay(n) => self.shown(&host, &mut shown, n, &verdict, reply),
                    _ => self.resolve(probe, &self.believed(&host, probe, verdict)),
                }
            }
            refused_last = reply.is_permanent();
            refusals += usize::from(refused_last);
        };
        let sender = &self.settings.probe_sender;
        let ended = match self.settings.probe_to {
            ProbeTo::Rcpt => kept.connection.callout(sender, &mailboxes, &mut hear).await,
            ProbeTo::Data => kept.connection.callout_by_data(sender, &mailboxes[0], &mut hear).await,
        };
        if let (true, Some(gate)) = (showing, &self.relay_gate) {
            let why = ended.as_ref().err().map_or_else(|| "no answer".to_owned(), ToString::to_string);
            gate.ended(&host, &shown, &why, self.means.clock.tick());
        }
        if held_back {
            lock(&self.state).spread_until = heard + SPREAD;
        }
        kept.refusals += refusals;
        kept.probes += batch.len();
        let mut answered = answered.into_iter();
        let left: Vec<Question> = batch.into_iter().filter(|_| !answered.next().unwrap_or(false)).collect();
        match ended {
            // `452 4.5.3` to the very first of a batch: asking anew would go round in circles.
            Ok(()) if left.len() == mailboxes.len() => {
                let cause = format!("delegate {}: takes no recipient at all (452 4.5.3)", self.settings.name);
                for probe in &left {
                    self.keep_and_tell(probe, &unavailable(cause.clone()));
                }
                None
            }
            Ok(()) => {
                if refusals > 0 {
                    self.means.refusals.went_on(&self.settings, kept.refusals);
                }
                self.again(left);
                lock(&self.state).cap.good();
                Some(kept)
            }
            // A kept session that died before its first answer: the delegate closed it, the question is still good.
            Err(fault) if reused && left.len() == mailboxes.len() && fault.is_stale_session() => {
                self.again(left);
                None
            }
            // Closed for its refusals: the rest is as good a question as before, on a session of its own.
            Err(fault) if refused_last && fault.is_farewell() => {
                // Where a connection is for one question anyway, this teaches nothing.
                if self.settings.probe_to == ProbeTo::Rcpt {
                    self.means.refusals.closed_behind(&self.settings, kept.refusals, self.means.clock.now());
                }
                self.again(left);
                None
            }
            Err(fault) => {
                self.failed(&left, &fault);
                None
            }
        }
    }

    /// FACTS section 7: a UTF-8 address and a delegate without SMTPUTF8: `550 5.6.7`, not asked.
    fn answer_utf8(&self, batch: Vec<Question>, smtputf8: bool) -> Vec<Question> {
        let (odd, askable): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|probe| probe.mailbox.needs_utf8() && !smtputf8);
        for probe in odd {
            if probe.purpose == Purpose::MadeUp {
                self.tested(&probe.mailbox, None);
                continue;
            }
            let reply = Reply::new(550, (5, 6, 7), "Mail server does not take internationalized addresses");
            self.tell(&probe.mailbox.key(), &Verdict::Reject { said: reply.clone(), tell: reply });
        }
        askable
    }

    async fn open(&self, session: &str) -> Result<Kept, Fault> {
        let means = &self.means;
        let timeouts = Timeouts { command: PATIENCE, ..Timeouts::default() };
        let mut last = None;
        for endpoint in &self.settings.recipients {
            self.pace.session().await;
            let sink = means.trace.sink(session, &endpoint.to_string(), 'D');
            let opening = Connection::open(&means.connector, endpoint, &means.hello, &timeouts, sink);
            match self.own_login.open(endpoint, &*means.clock, Wish::Sender, opening).await {
                Ok(connection) => {
                    let since = means.clock.tick();
                    return Ok(Kept {
                        connection,
                        endpoint: endpoint.clone(),
                        refusals: 0,
                        probes: 0,
                        since,
                    });
                }
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.expect("a delegate has at least one recipients endpoint: the settings are checked"))
    }

    fn failed(&self, probes: &[Question], fault: &Fault) {
        let verdict = classify_fault(fault.to_string(), fault.phase, &fault.kind);
        let alert = matches!(verdict, Verdict::Unavailable { alert: true, .. });
        let opened = lock(&self.state).breaker.failed(self.means.clock.tick());
        if let (true, Some(gate)) = (opened, &self.relay_gate) {
            gate.doubt();
        }
        if alert {
            tracing::error!(blame = "delegate", delegate = %self.settings.name, %fault,
                "the delegate refuses us; `vouchsafe delegate test recipient` shows the dialogue");
        } else {
            tracing::warn!(blame = "delegate", delegate = %self.settings.name, %fault, breaker_opened = opened,
                "callout failed");
        }
        for probe in probes {
            self.keep_and_tell(probe, &verdict);
        }
    }
}
