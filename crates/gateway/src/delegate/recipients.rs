//! Questions about recipients: cache, single flight, a queue, and few kept sessions that take it in batches.
//!
//! A batch is never larger than the refusals its session has left (Exchange closes at 5 errors: 4 are used); answers
//! are used one by one as they come. A session that fails is closed, never continued. What a yes is worth where every
//! address is accepted stands in `core::catch_all` and in [`Shared::keep`].

mod place;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use vouchsafe_config as settings;
use vouchsafe_config::CatchAll;
use vouchsafe_core::Endpoint;
use vouchsafe_core::breaker::Breaker;
use vouchsafe_core::cache::{Kept as KeptYes, Lookup, Times, VerdictCache};
use vouchsafe_core::cap::Cap;
use vouchsafe_core::catch_all::{self, Domains, Turn};
use vouchsafe_core::fair::{self, Fair, Network, Places};
use vouchsafe_core::ports::{Clock, KeptVerdict};
use vouchsafe_core::relay_probe::{Proof, Standing};
use vouchsafe_core::verdict::{ProbeTo, Rules, Verdict, classify_fault, classify_recipient};
use vouchsafe_net::client::{Connection, Fault, Timeouts};
use vouchsafe_smtp::{Mailbox, Reply, Tick};

use super::own_login::OwnLogin;
use super::pace::Pace;
use super::relay_gate::{RelayGate, Shown};
use super::tally::Tally;
use super::{CACHED_VERDICTS, Means, lock};
use place::{Idled, Place};

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
pub(super) struct Recipients {
    shared: Arc<Shared>,
}

struct Shared {
    settings: settings::Delegate,
    means: Means,
    pace: Arc<Pace>,
    times: Times,
    state: Mutex<State>,
    relay_gate: Option<RelayGate>,
    tally: Arc<Tally>,
    own_login: OwnLogin,
}

struct State {
    cache: VerdictCache,
    flights: HashMap<Box<str>, Flight>,
    queue: Fair<Question>,
    cap: Cap,
    workers: usize,
    /// Those of the workers that have nothing to do, with a session each; the last one waits since the shortest time.
    idle: Vec<Idler>,
    /// Those that were started or woken and have not looked at the queue yet.
    coming: usize,
    idlers: u64,
    /// Until then one session's questions may wait for those before them: none is given more than its share.
    spread_until: Tick,
    breaker: Breaker,
    domains: Domains,
    /// Accepted, but what that is worth is being found out; by domain.
    held: HashMap<String, Vec<(Mailbox, Verdict)>>,
}

/// A worker that waits for something to do.
struct Idler {
    number: u64,
    wake: oneshot::Sender<()>,
}

/// Who waits for the verdict about an address that is being asked about.
struct Flight {
    /// Whose question it is.
    network: Network,
    waiters: Vec<oneshot::Sender<Verdict>>,
}

/// In the queue, and in the hands of the worker that asks it.
type Question = Arc<Probe>;

struct Probe {
    mailbox: Mailbox,
    /// Whose place it takes; `None`: ours.
    network: Network,
    session: String,
    purpose: Purpose,
}

/// Why an address is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Somebody wants to know.
    Asked,
    /// It is made up: does its domain accept all?
    MadeUp,
    /// It is in a domain of others: does the delegate refuse it? The n-th of the two.
    Relay(usize),
}

struct Kept {
    connection: Connection,
    endpoint: Endpoint,
    refusals: usize,
    probes: usize,
    since: Tick,
}

impl Recipients {
    pub(super) fn new(
        settings: settings::Delegate,
        means: Means,
        tally: Arc<Tally>,
        pace: Arc<Pace>,
    ) -> Recipients {
        let times = Times {
            yes: settings.verdicts.yes,
            refresh: settings.verdicts.refresh,
            no: settings.verdicts.no,
        };
        let state = State {
            cache: VerdictCache::new(CACHED_VERDICTS),
            flights: HashMap::new(),
            queue: Fair::default(),
            cap: Cap::new(settings.recipient_sessions),
            workers: 0,
            idle: Vec::new(),
            coming: 0,
            idlers: 0,
            spread_until: Tick(0),
            breaker: Breaker::default(),
            domains: Domains::default(),
            held: HashMap::new(),
        };
        let (state, relay_gate) = (Mutex::new(state), RelayGate::of(&settings));
        let shared =
            Shared { settings, means, pace, times, state, relay_gate, tally, own_login: OwnLogin::default() };
        Recipients { shared: Arc::new(shared) }
    }

    pub(super) async fn ask(&self, mailbox: &Mailbox, asker: &Asker<'_>) -> Verdict {
        let clock = &self.shared.means.clock;
        let begun = clock.tick();
        let waiting = match self.shared.look_up(mailbox, asker) {
            Ok(verdict) => {
                self.shared.tally.remembered(&verdict);
                return verdict;
            }
            Err(waiting) => waiting,
        };
        let verdict = self.wait(waiting, mailbox).await;
        self.shared.tally.asked(&verdict, clock.tick().since(begun));
        verdict
    }

    async fn wait(&self, waiting: oneshot::Receiver<Verdict>, mailbox: &Mailbox) -> Verdict {
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
        if let (true, Some(gate)) = (what.is_empty(), &self.shared.relay_gate) {
            gate.test_again();
        }
        state.domains.flush(what);
        state.cache.flush(what)
    }

    /// Asks the delegate that decides for any domain, where that is due, whether it still refuses domains of others.
    pub(super) fn test_relaying(&self) {
        let Some(gate) = &self.shared.relay_gate else { return };
        let now = self.shared.means.clock.tick();
        let mut state = lock(&self.shared.state);
        if gate.is_due(now) && state.breaker.allows(now) {
            // One brings the other along.
            let [probe, _] = relay_probes(gate, "");
            self.shared.enqueue(&mut state, probe);
        }
    }

    pub(super) fn relay_proof(&self) -> Option<Proof> {
        self.shared.relay_gate.as_ref()?.proof(self.shared.means.clock.tick())
    }

    pub(super) fn relay_standing(&self) -> Option<Standing> {
        Some(self.shared.relay_gate.as_ref()?.standing(self.shared.means.clock.tick()))
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

    /// Sessions, how many there may be, questions that wait for one.
    pub(super) fn load(&self) -> (u64, u64, u64) {
        let state = lock(&self.shared.state);
        (state.workers as u64, state.cap.now() as u64, state.queue.len() as u64)
    }

    pub(super) fn is_open(&self) -> bool {
        lock(&self.shared.state).breaker.is_open()
    }
}

/// Who asks about a recipient.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The client, whose network is served fairly among others; `None`: ourselves, or whom we trust.
    pub client: Option<IpAddr>,
    /// The session's id.
    pub session: &'a str,
}

fn relay_probes(gate: &RelayGate, session: &str) -> [Question; 2] {
    [0, 1].map(|n| {
        let (mailbox, session) = (gate.probes()[n].clone(), session.to_owned());
        Arc::new(Probe { mailbox, network: None, session, purpose: Purpose::Relay(n) })
    })
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
        asker: &Asker<'_>,
    ) -> Result<Verdict, oneshot::Receiver<Verdict>> {
        let network = fair::network(asker.client);
        let key = mailbox.key();
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        let known = match state.cache.get(&key, now) {
            Lookup::Fresh(verdict) => return Ok(verdict),
            Lookup::Stale(verdict) => Some(verdict),
            Lookup::Missing => None,
        };
        if let (None, Some(gate)) = (&known, self.relay_gate.as_ref().filter(|gate| gate.decides(mailbox)))
            && let Some(closed) = gate.closed(now)
        {
            return Ok(closed);
        }
        if known.is_none() && state.domains.accepts_all(&mailbox.domain_key(), now) {
            // Where a yes is worth nothing there is nothing to ask.
            if let Some(verdict) = self.instead_of_yes(mailbox) {
                return Ok(verdict);
            }
        }
        let question = || {
            let (mailbox, session) = (mailbox.clone(), asker.session.to_owned());
            Arc::new(Probe { mailbox, network, session, purpose: Purpose::Asked })
        };
        if let Some(flight) = state.flights.get(key.as_str()) {
            // Who asks what a harvester guessed right does not wait with it.
            let owner = flight.network;
            let is_it = |probe: &Question| probe.purpose == Purpose::Asked && probe.mailbox.key() == key;
            if owner != network && state.queue.take_over(owner, network, now, is_it).is_some() {
                if let Some(flight) = state.flights.get_mut(key.as_str()) {
                    flight.network = network;
                }
                self.enqueue(&mut state, question());
            }
        } else {
            let full = state.queue.is_full(network, now);
            if full || !state.breaker.allows(now) {
                let why = if full { "too many questions wait" } else { "unreachable, tried again shortly" };
                return Ok(
                    known.unwrap_or_else(|| unavailable(format!("delegate {}: {why}", self.settings.name)))
                );
            }
            state.flights.insert(key.as_str().into(), Flight { network, waiters: Vec::new() });
            self.enqueue(&mut state, question());
        }
        match known {
            Some(verdict) => Ok(verdict),
            None => {
                let (tell, waiting) = oneshot::channel();
                if let Some(flight) = state.flights.get_mut(key.as_str()) {
                    flight.waiters.push(tell);
                }
                Err(waiting)
            }
        }
    }

    fn enqueue(self: &Arc<Self>, state: &mut State, question: Question) {
        state.queue.push(question.network, question, self.means.clock.tick());
        self.muster(state);
    }

    /// Sees to it that what waits will be looked at. Questions that wait at the same time share a session: another one
    /// is woken or opened only for what those that are coming have no room for.
    fn muster(self: &Arc<Self>, state: &mut State) {
        let ready = state.queue.ready(self.room(None), self.places(state));
        while state.coming < ready {
            if let Some(idler) = state.idle.pop() {
                state.coming += 1;
                // It is listed, so it listens.
                let _ = idler.wake.send(());
            } else if state.workers < state.cap.now() {
                state.coming += 1;
                state.workers += 1;
                let place = Place::counted(self);
                self.means.tasks.spawn("recipient callouts", Arc::clone(self).work(place));
            } else {
                return;
            }
        }
    }

    /// Where the delegate holds replies back, one question would wait for those before it.
    fn places(&self, state: &State) -> Places {
        Places { most: state.cap.now(), slow: self.means.clock.tick() < state.spread_until }
    }

    /// One worker: one session at a time, batches until there is nothing to do.
    async fn work(self: Arc<Self>, mut place: Place) {
        let mut kept: Option<Kept> = None;
        let mut stop = self.means.tasks.stop_signal();
        loop {
            if place.is_coming() {
                // All that can run now runs first: what it asks goes into the same batch.
                tokio::task::yield_now().await;
            }
            let batch = match place.take(self.room(kept.as_ref())) {
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
            kept = self.ask_batch(kept, batch).await;
            place.asked();
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
    fn room(&self, kept: Option<&Kept>) -> usize {
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

    /// Whether this batch may be asked at this host only behind the two addresses that it must refuse.
    fn must_show(&self, batch: &[Question], host: &str) -> bool {
        let Some(gate) = &self.relay_gate else { return false };
        let concerned =
            |probe: &Question| matches!(probe.purpose, Purpose::Relay(_)) || gate.decides(&probe.mailbox);
        batch.iter().any(concerned) && gate.must_show(host, self.means.clock.tick())
    }

    /// Puts the two addresses before the batch where they must be; what has no room then goes back. True if they are there.
    fn behind_probes(&self, mut batch: Vec<Question>, kept: &Kept) -> (Vec<Question>, bool) {
        let host = kept.endpoint.to_string();
        let must_show = self.must_show(&batch, &host);
        let Some(gate) = &self.relay_gate else { return (batch, false) };
        let session = batch.first().map(|probe| probe.session.clone()).unwrap_or_default();
        batch.retain(|probe| !matches!(probe.purpose, Purpose::Relay(_)));
        if !must_show {
            return (batch, false);
        }
        let room = self.room(Some(kept)).saturating_sub(2);
        self.again(batch.split_off(room.min(batch.len())));
        gate.begin(&host, self.means.clock.tick());
        (relay_probes(gate, &session).into_iter().chain(batch).collect(), true)
    }

    /// An answer to one of the two addresses. A delegate that relays has said yes to anything since the last test.
    fn shown(&self, host: &str, shown: &mut Shown, index: usize, verdict: &Verdict, said: &Reply) {
        let Some(gate) = &self.relay_gate else { return };
        if gate.answered(host, shown, index, verdict, said, self.means.clock.tick()) {
            lock(&self.state).cache.forget(|key| gate.decides_key(key));
        }
    }

    /// What a verdict is worth: a yes for a domain without a block of its own only from a host that has shown it.
    fn believed(&self, host: &str, probe: &Probe, verdict: Verdict) -> Verdict {
        let gate = self.relay_gate.as_ref().filter(|gate| gate.decides(&probe.mailbox));
        match (gate, &verdict) {
            (Some(gate), Verdict::Accept(_)) => gate.doubts(host, self.means.clock.tick()).unwrap_or(verdict),
            _ => verdict,
        }
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
        let mut heard = self.means.clock.tick();
        let mut held_back = false;
        let mut refused_last = false;
        let (host, mut shown) = (kept.endpoint.to_string(), Shown::default());
        let mut hear = |index: usize, reply: &Reply| {
            let now = self.means.clock.tick();
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
            match self.own_login.open(endpoint, &*means.clock, opening).await {
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
    fn again(&self, probes: Vec<Question>) {
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        for probe in probes.into_iter().rev() {
            state.queue.again(probe.network, probe, now);
        }
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
        match (probe.purpose, &self.relay_gate) {
            (Purpose::MadeUp, _) => {
                let answer = matches!(verdict, Verdict::Reject { .. }) || accepted;
                return self.tested(mailbox, answer.then_some(accepted));
            }
            (Purpose::Relay(_), Some(gate)) => {
                if let Verdict::Unavailable { cause, .. } = verdict {
                    gate.missed(cause);
                }
                return;
            }
            _ => {}
        }
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        // A full mailbox is no guess.
        if accepted || (matches!(verdict, Verdict::Reject { .. }) && !verdict.is_brief()) {
            state.queue.answered(probe.network, !accepted, now);
        }
        if accepted {
            let domain = mailbox.domain_key();
            if state.domains.begin(&domain, now)
                && let Some(mailbox) = made_up(mailbox)
            {
                // The worker that we are in takes it next: no session is opened for it.
                let session = probe.session.clone();
                let made_up = Probe { mailbox, network: None, session, purpose: Purpose::MadeUp };
                state.queue.push(None, Arc::new(made_up), now);
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
        let flight = lock(&self.state).flights.remove(key);
        for waiter in flight.into_iter().flat_map(|flight| flight.waiters) {
            let _ = waiter.send(verdict.clone());
        }
    }
}
