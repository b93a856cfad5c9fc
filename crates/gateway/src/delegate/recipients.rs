//! Questions about recipients: cache, single flight, a queue, and few kept sessions that take it in batches.
//!
//! The door and what stands behind it: `waiting` queues questions, `asking` takes them to the delegate, `verdicts` says what
//! becomes of the answers, `relay` what a delegate for any domain shows first, `place` counts workers.

mod asking;
mod place;
mod relay;
mod verdicts;
mod waiting;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::time::timeout;
use vouchsafe_config as settings;
use vouchsafe_core::breaker::Breaker;
use vouchsafe_core::cache::{Kept as KeptYes, Lookup, Times, VerdictCache};
use vouchsafe_core::cap::Cap;
use vouchsafe_core::catch_all::Domains;
use vouchsafe_core::fair::{Fair, Network};
use vouchsafe_core::ports::{Clock, KeptVerdict};
use vouchsafe_core::relay_probe::{Proof, Standing};
use vouchsafe_core::stagger::Stagger;
use vouchsafe_core::verdict::Verdict;
use vouchsafe_smtp::{Mailbox, Tick};

use super::own_login::OwnLogin;
use super::pace::Pace;
use super::relay_gate::RelayGate;
use super::tally::Tally;
use super::{CACHED_VERDICTS, Means, lock};
use relay::relay_probes;

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
    stagger: Stagger,
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
            stagger: Stagger::default(),
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

    /// The gate before sessions that log in.
    pub(super) fn own_login(&self) -> &OwnLogin {
        &self.shared.own_login
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

fn unavailable(cause: String) -> Verdict {
    Verdict::Unavailable { cause, alert: false }
}
