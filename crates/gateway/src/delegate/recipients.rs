//! Questions about recipients: cache, single flight, a queue, and few kept sessions that take it in batches.
//!
//! A batch is never larger than the refusals its session has left (Exchange closes at 5 errors: 4 are used); answers
//! are used one by one as they come. A session that fails is closed, never continued. What a yes is worth where every
//! address is accepted stands in `core::catch_all` and in [`Shared::keep`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use vouchsafe_config as settings;
use vouchsafe_config::CatchAll;
use vouchsafe_core::Endpoint;
use vouchsafe_core::breaker::Breaker;
use vouchsafe_core::cache::{Kept as KeptYes, Lookup, Times, VerdictCache};
use vouchsafe_core::cap::Cap;
use vouchsafe_core::catch_all::{self, Domains, Turn};
use vouchsafe_core::ports::{Clock, KeptVerdict};
use vouchsafe_core::verdict::{Rules, Verdict, classify_fault, classify_recipient};
use vouchsafe_net::client::{Connection, Fault, Timeouts};
use vouchsafe_smtp::{Mailbox, Reply, Tick};

use super::{CACHED_VERDICTS, Means, lock};

/// Refusals a session may collect before it is retired (FACTS section 5).
const REFUSALS: usize = 4;
/// Questions a session may ask: Postfix counts each RSET as junk, 100 are free.
const PROBES: usize = 90;
/// A session's longest life; an Exchange Edge closes at 5 min.
const LIFE: Duration = Duration::from_secs(240);
/// A session without work says QUIT after this long.
const IDLE: Duration = Duration::from_secs(30);
/// Longest wait for one reply of the delegate: above any tarpit, below forever.
const PATIENCE: Duration = Duration::from_secs(60);
/// Addresses that may wait for a session. Past it: Unavailable.
const WAITING: usize = 10_000;

pub(super) struct Recipients {
    shared: Arc<Shared>,
}

struct Shared {
    settings: settings::Delegate,
    means: Means,
    times: Times,
    state: Mutex<State>,
    work: Notify,
}

struct State {
    cache: VerdictCache,
    flights: HashMap<Box<str>, Vec<oneshot::Sender<Verdict>>>,
    queue: VecDeque<Probe>,
    cap: Cap,
    workers: usize,
    idle: usize,
    breaker: Breaker,
    domains: Domains,
    /// Accepted, but what that is worth is being found out; by domain.
    held: HashMap<String, Vec<(Mailbox, Verdict)>>,
}

#[derive(Clone)]
struct Probe {
    mailbox: Mailbox,
    session: String,
    /// A made-up address: does its domain accept all?
    made_up: bool,
}

struct Kept {
    connection: Connection,
    endpoint: Endpoint,
    refusals: usize,
    probes: usize,
    since: Tick,
}

impl Recipients {
    pub(super) fn new(settings: settings::Delegate, means: Means) -> Recipients {
        let times = Times {
            yes: settings.verdicts.yes,
            refresh: settings.verdicts.refresh,
            no: settings.verdicts.no,
        };
        let state = State {
            cache: VerdictCache::new(CACHED_VERDICTS),
            flights: HashMap::new(),
            queue: VecDeque::new(),
            cap: Cap::new(settings.recipient_sessions),
            workers: 0,
            idle: 0,
            breaker: Breaker::default(),
            domains: Domains::default(),
            held: HashMap::new(),
        };
        let shared = Shared { settings, means, times, state: Mutex::new(state), work: Notify::new() };
        Recipients { shared: Arc::new(shared) }
    }

    pub(super) async fn ask(&self, mailbox: &Mailbox, session: &str) -> Verdict {
        let waiting = match self.shared.look_up(mailbox, session) {
            Ok(verdict) => return verdict,
            Err(waiting) => waiting,
        };
        let name = &self.shared.settings.name;
        match timeout(self.shared.settings.deadline, waiting).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => unavailable(format!("delegate {name}: shut down")),
            Err(_) => unavailable(format!(
                "delegate {name}: no answer about {mailbox} within {} s; the late answer still fills the cache",
                self.shared.settings.deadline.as_secs()
            )),
        }
    }

    pub(super) fn remembered(&self, mailbox: &Mailbox) -> Option<Verdict> {
        let now = self.shared.means.clock.tick();
        match lock(&self.shared.state).cache.get(&mailbox.key(), now) {
            Lookup::Fresh(verdict) | Lookup::Stale(verdict) => Some(verdict),
            Lookup::Missing => None,
        }
    }

    pub(super) fn flush(&self, what: &str) -> usize {
        let mut state = lock(&self.shared.state);
        state.domains.flush(what);
        state.cache.flush(what)
    }

    /// Hands what changed of the yes entries to the store, which writes it behind.
    pub(super) fn save(&self) {
        let means = &self.shared.means;
        let (tick, now) = (means.clock.tick(), means.clock.now());
        let changes = lock(&self.shared.state).cache.take_changes(tick);
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for (address, entry) in changes {
            match entry {
                Some(entry) => kept.push(KeptVerdict {
                    address: address.into(),
                    said: entry.said,
                    refresh: now + entry.refresh_in,
                    until: now + entry.left,
                    doubted: entry.doubted,
                }),
                None => gone.push(address.into()),
            }
        }
        let name = &self.shared.settings.name;
        if !kept.is_empty() {
            means.verdicts.save_verdicts(name, kept);
        }
        if !gone.is_empty() {
            means.verdicts.remove_verdicts(name, gone);
        }
    }

    /// Takes up what an earlier run knew.
    pub(super) fn restore(&self, kept: Vec<KeptVerdict>) {
        let means = &self.shared.means;
        let (tick, now) = (means.clock.tick(), means.clock.now());
        // A lock for each part, so that questions get in between.
        for part in kept.chunks(1000) {
            let cache = &mut lock(&self.shared.state).cache;
            for verdict in part {
                let entry = KeptYes {
                    said: verdict.said.clone(),
                    refresh_in: verdict.refresh.since(now),
                    left: verdict.until.since(now),
                    doubted: verdict.doubted,
                };
                cache.restore(&verdict.address, entry, &self.shared.times, tick);
            }
        }
    }

    pub(super) fn search(&self, text: &str, limit: usize) -> Vec<(String, String)> {
        lock(&self.shared.state).cache.search(text, limit)
    }

    pub(super) fn known_good(&self, text: &str) -> Vec<String> {
        let now = self.shared.means.clock.tick();
        lock(&self.shared.state).cache.known_good(text, &self.shared.times, now)
    }

    pub(super) fn is_open(&self) -> bool {
        lock(&self.shared.state).breaker.is_open()
    }
}

/// An address in the same domain that nobody has.
fn made_up(mailbox: &Mailbox) -> Option<Mailbox> {
    let local: u64 = rand::random();
    Mailbox::parse(&format!("no-such-user-{local:016x}@{}", mailbox.domain()), true).ok()
}

fn unavailable(cause: String) -> Verdict {
    Verdict::Unavailable { cause, alert: false }
}

impl Shared {
    /// The verdict if it is known, else where it will arrive. Starts or joins the flight.
    fn look_up(
        self: &Arc<Self>,
        mailbox: &Mailbox,
        session: &str,
    ) -> Result<Verdict, oneshot::Receiver<Verdict>> {
        let key = mailbox.key();
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        let known = match state.cache.get(&key, now) {
            Lookup::Fresh(verdict) => return Ok(verdict),
            Lookup::Stale(verdict) => Some(verdict),
            Lookup::Missing => None,
        };
        if known.is_none() && state.domains.accepts_all(&mailbox.domain_key(), now) {
            // Where a yes is worth nothing there is nothing to ask.
            if let Some(verdict) = self.instead_of_yes(mailbox) {
                return Ok(verdict);
            }
        }
        if !state.flights.contains_key(key.as_str()) {
            let full = state.queue.len() >= WAITING;
            if full || !state.breaker.allows(now) {
                let why = if full { "too many questions wait" } else { "unreachable, tried again shortly" };
                return Ok(
                    known.unwrap_or_else(|| unavailable(format!("delegate {}: {why}", self.settings.name)))
                );
            }
            state.flights.insert(key.as_str().into(), Vec::new());
            self.enqueue(
                &mut state,
                Probe { mailbox: mailbox.clone(), session: session.to_owned(), made_up: false },
            );
        }
        match known {
            Some(verdict) => Ok(verdict),
            None => {
                let (tell, waiting) = oneshot::channel();
                state.flights.entry(key.into_boxed_str()).or_default().push(tell);
                Err(waiting)
            }
        }
    }

    fn enqueue(self: &Arc<Self>, state: &mut State, probe: Probe) {
        state.queue.push_back(probe);
        if state.queue.len() > state.idle && state.workers < state.cap.now() {
            state.workers += 1;
            let shared = Arc::clone(self);
            self.means.tasks.spawn("recipient callouts", async move { shared.work().await });
        } else if state.idle > 0 {
            self.work.notify_one();
        }
    }

    /// One worker: one session at a time, batches until there is nothing to do.
    async fn work(self: Arc<Self>) {
        let mut kept: Option<Kept> = None;
        let mut stop = self.means.tasks.stop_signal();
        loop {
            let room = kept.as_ref().map_or(REFUSALS, |kept| REFUSALS - kept.refusals);
            let Some(batch) = self.take(room) else {
                let stopped = *stop.borrow_and_update();
                let woken = !stopped
                    && tokio::select! {
                        () = self.work.notified() => true,
                        () = tokio::time::sleep(IDLE) => false,
                        _ = stop.changed() => false,
                    };
                if !self.leaves(woken, stopped) {
                    continue;
                }
                if let Some(kept) = kept {
                    kept.connection.quit().await;
                }
                return;
            };
            kept = self.ask_batch(kept, batch).await;
            if kept.is_none() && self.is_one_too_many() {
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

    /// More workers than the delegate takes sessions: this one ends.
    fn is_one_too_many(&self) -> bool {
        let mut state = lock(&self.state);
        let too_many = state.workers > state.cap.now();
        state.workers -= usize::from(too_many);
        // What this one gave back is for the others, should they all be idle.
        if too_many && state.idle > 0 {
            self.work.notify_one();
        }
        too_many
    }

    /// An idle worker comes back; true if it is to end because there is nothing to do.
    fn leaves(&self, woken: bool, stopped: bool) -> bool {
        let mut state = lock(&self.state);
        state.idle -= 1;
        let leaves = !woken && (stopped || state.queue.is_empty());
        state.workers -= usize::from(leaves);
        leaves
    }

    fn rules(&self) -> Rules {
        Rules { accept_252: self.settings.accept_252, ..Rules::default() }
    }

    fn is_spent(&self, kept: &Kept) -> bool {
        kept.refusals >= REFUSALS
            || kept.probes >= PROBES
            || self.means.clock.tick().since(kept.since) >= LIFE
    }

    /// The next batch: fairly little when others could take the rest. `None`: nothing to do, counted as idle.
    fn take(&self, room: usize) -> Option<Vec<Probe>> {
        let mut state = lock(&self.state);
        if state.queue.is_empty() {
            state.idle += 1;
            return None;
        }
        let share = state.queue.len().div_ceil(state.cap.now());
        let n = share.clamp(1, room.max(1));
        let n = n.min(state.queue.len());
        Some(state.queue.drain(..n).collect())
    }

    /// Asks one batch on the kept session or a new one. A kept session that the delegate closed meanwhile is replaced
    /// once; nothing that was answered is asked again.
    async fn ask_batch(&self, kept: Option<Kept>, batch: Vec<Probe>) -> Option<Kept> {
        let kept = kept.and_then(|mut kept| kept.connection.is_ready().then_some(kept));
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
        let batch = self.answer_utf8(batch, kept.connection.capabilities().smtputf8);
        if batch.is_empty() {
            return Some(kept);
        }
        let mailboxes: Vec<Mailbox> = batch.iter().map(|probe| probe.mailbox.clone()).collect();
        let mut answered = vec![false; batch.len()];
        let mut refusals = 0;
        let rules = self.rules();
        let ended = kept
            .connection
            .callout(&self.settings.probe_sender, &mailboxes, &mut |index, reply| {
                if let Some(verdict) = classify_recipient(&kept.endpoint, reply, rules) {
                    answered[index] = true;
                    self.resolve(&batch[index], &verdict);
                }
                refusals += usize::from(reply.is_permanent());
            })
            .await;
        kept.refusals += refusals;
        kept.probes += batch.len();
        let mut answered = answered.into_iter();
        let left: Vec<Probe> = batch.into_iter().filter(|_| !answered.next().unwrap_or(false)).collect();
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
                self.again(left);
                lock(&self.state).cap.good();
                Some(kept)
            }
            // A kept session that died before its first answer: the delegate closed it, the question is still good.
            Err(fault) if reused && left.len() == mailboxes.len() && fault.is_stale_session() => {
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
    fn answer_utf8(&self, batch: Vec<Probe>, smtputf8: bool) -> Vec<Probe> {
        let (odd, askable): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|probe| probe.mailbox.needs_utf8() && !smtputf8);
        for probe in odd {
            if probe.made_up {
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
            let sink = means.trace.sink(session, &endpoint.to_string(), 'D');
            match Connection::open(&means.connector, endpoint, &means.hello, &timeouts, sink).await {
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

    /// Gives questions back to the queue, first in line.
    fn again(&self, probes: Vec<Probe>) {
        let mut state = lock(&self.state);
        for probe in probes.into_iter().rev() {
            state.queue.push_front(probe);
        }
    }

    fn failed(&self, probes: &[Probe], fault: &Fault) {
        let verdict = classify_fault(fault.to_string(), fault.phase, &fault.kind);
        let alert = matches!(verdict, Verdict::Unavailable { alert: true, .. });
        let opened = lock(&self.state).breaker.failed(self.means.clock.tick());
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

    fn resolve(&self, probe: &Probe, verdict: &Verdict) {
        if let Verdict::Unavailable { cause, alert: true } = verdict {
            tracing::error!(blame = "delegate", delegate = %self.settings.name, recipient = %probe.mailbox, %cause,
                "the delegate's refusal is not about the recipient");
        }
        self.keep_and_tell(probe, verdict);
    }

    fn keep_and_tell(&self, probe: &Probe, verdict: &Verdict) {
        let accepted = matches!(verdict, Verdict::Accept(_));
        let mailbox = &probe.mailbox;
        if probe.made_up {
            let answer = matches!(verdict, Verdict::Reject { .. }) || accepted;
            return self.tested(mailbox, answer.then_some(accepted));
        }
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        if accepted {
            let domain = mailbox.domain_key();
            if state.domains.begin(&domain, now)
                && let Some(mailbox) = made_up(mailbox)
            {
                // The worker that we are in takes it next: no session is opened for it.
                state.queue.push_back(Probe { mailbox, session: probe.session.clone(), made_up: true });
            }
            if self.settings.catch_all != CatchAll::Accept && state.domains.is_open(&domain, now) {
                state.held.entry(domain).or_default().push((mailbox.clone(), verdict.clone()));
                return;
            }
        }
        let verdict = self.keep(&mut state, mailbox, verdict, now);
        drop(state);
        self.tell(&mailbox.key(), &verdict);
    }

    /// The made-up address was accepted, refused, or got no verdict; what was held for that goes on.
    fn tested(&self, made_up: &Mailbox, accepted: Option<bool>) {
        let (name, domain) = (&self.settings.name, made_up.domain_key());
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        match state.domains.tested(&domain, accepted, now) {
            Turn::None => {}
            Turn::AcceptsAll(since) => {
                let life = match self.settings.catch_all {
                    CatchAll::Accept => catch_all::REMEMBERED,
                    CatchAll::Local | CatchAll::Defer => Duration::ZERO,
                };
                state.cache.distrust(&domain, since, life, &self.times, now);
                tracing::error!(blame = "delegate", delegate = %name, %domain, catch_all = ?self.settings.catch_all,
                    "the delegate accepts every address of this domain, made-up ones too: it cannot tell users apart");
            }
            Turn::Strict => {
                tracing::warn!(blame = "delegate", delegate = %name, %domain,
                    "the delegate tells users of this domain apart again");
            }
        }
        let held = state.held.remove(&domain).unwrap_or_default();
        let keep = |(mailbox, verdict): (Mailbox, Verdict)| {
            let verdict = self.keep(&mut state, &mailbox, &verdict, now);
            (mailbox.key(), verdict)
        };
        let told: Vec<_> = held.into_iter().map(keep).collect();
        drop(state);
        for (key, verdict) in told {
            self.tell(&key, &verdict);
        }
    }

    /// Puts a verdict into the cache and gives the one to tell: another, where a yes is worth nothing.
    fn keep(&self, state: &mut State, mailbox: &Mailbox, verdict: &Verdict, now: Tick) -> Verdict {
        let key = mailbox.key();
        let doubtful =
            matches!(verdict, Verdict::Accept(_)) && state.domains.accepts_all(&mailbox.domain_key(), now);
        if !doubtful {
            state.cache.put(&key, verdict, &self.times, now);
            return verdict.clone();
        }
        match self.instead_of_yes(mailbox) {
            Some(instead) => {
                // An older yes, given while users were told apart, is neither confirmed nor demoted by this.
                state.cache.put(&key, &unavailable(String::new()), &self.times, now);
                instead
            }
            None => {
                let times = Times { yes: self.times.yes.min(catch_all::REMEMBERED), ..self.times };
                state.cache.put(&key, verdict, &times, now);
                verdict.clone()
            }
        }
    }

    /// What stands for a yes while its domain accepts every address; `None`: the yes itself.
    fn instead_of_yes(&self, mailbox: &Mailbox) -> Option<Verdict> {
        let name = &self.settings.name;
        match self.settings.catch_all {
            CatchAll::Accept => None,
            // The next source decides; if there is none left, nobody knows this recipient.
            CatchAll::Local => {
                let reply = Reply::new(550, (5, 1, 1), "No such user here");
                Some(Verdict::Reject { said: reply.clone(), tell: reply })
            }
            CatchAll::Defer => {
                let domain = mailbox.domain();
                Some(unavailable(format!("delegate {name} accepts every address of {domain}")))
            }
        }
    }

    fn tell(&self, key: &str, verdict: &Verdict) {
        let waiters = lock(&self.state).flights.remove(key).unwrap_or_default();
        for waiter in waiters {
            let _ = waiter.send(verdict.clone());
        }
    }
}
