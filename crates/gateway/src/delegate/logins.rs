//! Questions about logins: credential cache, guard, then a fresh session each. Single-use: one success ends a session's
//! usefulness for other users (RFC 4954 §4).
//!
//! Never keeps a password: only a keyed digest, in memory, with a key made at start (promise 4). A refusal that the
//! delegate was not asked about takes as long as one of its own, so that time does not tell which it was; it holds no
//! place. Proof: `tests/guard.rs`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use vouchsafe_config as settings;
use vouchsafe_config::Trial;
use vouchsafe_core::Endpoint;
use vouchsafe_core::bounded::Bounded;
use vouchsafe_core::breaker::Breaker;
use vouchsafe_core::cap::Cap;
use vouchsafe_core::guard::{Charge, Ended, Over};
use vouchsafe_core::ports::Clock;
use vouchsafe_core::verdict::{Verdict, classify_auth, classify_fault};
use vouchsafe_net::client::{Connection, Fault, FaultKind, Timeouts};
use vouchsafe_smtp::{Reply, Secret, Tick};

use super::{Means, lock};

/// Credentials remembered.
const CACHED: usize = 100_000;
/// Longest wait for one reply: Exchange answers a wrong password after 5 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest that a refusal of our own is held back: above Exchange's tarpit.
const HELD_BACK: Duration = Duration::from_secs(6);

type Fingerprint = [u8; 32];

pub(super) struct Logins {
    shared: Arc<Shared>,
}

struct Shared {
    settings: settings::Delegate,
    means: Means,
    key: Fingerprint,
    places: Semaphore,
    state: Mutex<State>,
}

struct State {
    cache: Bounded<Fingerprint, (Verdict, Tick)>,
    flights: HashMap<Fingerprint, Vec<oneshot::Sender<Verdict>>>,
    breaker: Breaker,
    /// As many places as there are permits of `places`, taken or not.
    cap: Cap,
    /// How long the delegate takes to refuse, averaged over its last few refusals.
    refusal: Duration,
}

impl Logins {
    pub(super) fn new(settings: settings::Delegate, means: Means) -> Logins {
        let state = State {
            cache: Bounded::new(CACHED),
            flights: HashMap::new(),
            breaker: Breaker::default(),
            cap: Cap::new(settings.auth_sessions),
            refusal: Duration::ZERO,
        };
        Logins {
            shared: Arc::new(Shared {
                places: Semaphore::new(settings.auth_sessions.max(1)),
                key: rand::random(),
                state: Mutex::new(state),
                settings,
                means,
            }),
        }
    }

    pub(super) fn flush(&self) {
        lock(&self.shared.state).cache = Bounded::new(CACHED);
    }

    pub(super) async fn ask(
        &self,
        login: &str,
        password: &Secret,
        client: Option<IpAddr>,
        session: &str,
    ) -> Verdict {
        let name = &self.shared.settings.name;
        let account = self.shared.settings.login_name.map(login);
        let waiting = match self.shared.look_up(account, password, client, session) {
            Ok(Known { verdict, held_back }) => {
                tokio::time::sleep(held_back.min(self.shared.settings.deadline)).await;
                return verdict;
            }
            Err(waiting) => waiting,
        };
        let late =
            |why: String| Verdict::Unavailable { cause: format!("delegate {name}: {why}"), alert: false };
        match timeout(self.shared.settings.deadline, waiting).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => late("shut down".to_owned()),
            Err(_) => late(format!("no answer within {} s", self.shared.settings.deadline.as_secs())),
        }
    }
}

/// An answer of our own, and how long it is held back.
struct Known {
    verdict: Verdict,
    held_back: Duration,
}

impl Known {
    fn at_once(verdict: Verdict) -> Known {
        Known { verdict, held_back: Duration::ZERO }
    }
}

impl Shared {
    fn look_up(
        self: &Arc<Self>,
        account: String,
        password: &Secret,
        client: Option<IpAddr>,
        session: &str,
    ) -> Result<Known, oneshot::Receiver<Verdict>> {
        let print = self.fingerprint(&account, password);
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        let refusal = state.refusal.min(HELD_BACK);
        if let Some((verdict, until)) = state.cache.get_mut(&print)
            && now < *until
        {
            let held_back = if matches!(verdict, Verdict::Accept(_)) { Duration::ZERO } else { refusal };
            return Ok(Known { verdict: verdict.clone(), held_back });
        }
        let (tell, waiting) = oneshot::channel();
        if let Some(waiters) = state.flights.get_mut(&print) {
            waiters.push(tell);
            return Err(waiting);
        }
        let name = &self.settings.name;
        if !state.breaker.allows(now) {
            let cause = format!("delegate {name}: unreachable, tried again shortly");
            return Ok(Known::at_once(Verdict::Unavailable { cause, alert: false }));
        }
        // Promise 6: charged before anything leaves us.
        let budgets = self.means.settings.load().guard;
        let realm = self.realm();
        let charge = match lock(&self.means.guard).charge_apart(&realm, &account, client, &budgets, now) {
            Ok(charge) => charge,
            Err(over) => {
                drop(state);
                return Ok(Known { verdict: self.over(over, &account, client, session), held_back: refusal });
            }
        };
        state.flights.insert(print, vec![tell]);
        drop(state);
        let (shared, password, session) = (Arc::clone(self), password.clone(), session.to_owned());
        self.means.tasks.spawn("login at the delegate", async move {
            let verdict = shared.ask_delegate(&account, &password, charge, &session).await;
            shared.resolve(&print, verdict);
        });
        Err(waiting)
    }

    /// On trial it is counted apart: no login that counts loses a place to it.
    fn realm(&self) -> String {
        match self.settings.trial {
            Trial::Logins => format!("trial {}: ", self.settings.name),
            Trial::Off | Trial::Recipients => String::new(),
        }
    }

    /// Over budget: not asked. fail2ban may ban a client that goes on guessing, never one whose account others guess at.
    fn over(&self, over: Over, account: &str, client: Option<IpAddr>, session: &str) -> Verdict {
        let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
        let who = match over {
            Over::Account => format!("account {account}"),
            // On trial nobody is banned for what this delegate is asked.
            Over::Client if self.settings.trial == Trial::Logins => format!("client {client}"),
            Over::Client => {
                tracing::info!(%session, %client, login = %account, blame = "client", "login refused, over budget");
                format!("client {client}")
            }
        };
        let name = &self.settings.name;
        let cause = format!("{who}: too many failed logins, not passed on to delegate {name} for now");
        Verdict::Unavailable { cause, alert: false }
    }

    /// Asks, with failover on Unavailable only: a clear no is final, and no second form of the name is ever tried.
    async fn ask_delegate(&self, account: &str, password: &Secret, charge: Charge, session: &str) -> Verdict {
        let shut_down = || Verdict::Unavailable { cause: "shut down".to_owned(), alert: false };
        let Ok(mut place) = self.places.acquire().await else { return shut_down() };
        let begun = self.means.clock.tick();
        let mut ended = Ended::NotSent;
        let mut last = Verdict::Unavailable { cause: "no AUTH endpoint".to_owned(), alert: true };
        let mut index = 0;
        while let Some(endpoint) = self.settings.auth.get(index) {
            match self.try_endpoint(endpoint, account, password, session, &mut ended).await {
                Ok(said) => last = classify_auth(endpoint, &said),
                // Another login of ours is under way there: this place is one too many, wait for that one's.
                Err(fault) if fault.is_busy() && self.gives_place_up() => {
                    place.forget();
                    match self.places.acquire().await {
                        Ok(next) => place = next,
                        Err(_) => return shut_down(),
                    }
                    continue;
                }
                Err(fault) => last = classify_fault(fault.to_string(), fault.phase, &fault.kind),
            }
            if !matches!(last, Verdict::Unavailable { .. }) || ended == Ended::Charged {
                break;
            }
            index += 1;
        }
        if matches!(last, Verdict::Accept(_)) {
            ended = Ended::Accepted;
        }
        let now = self.means.clock.tick();
        lock(&self.means.guard).settle(charge, ended, now);
        let mut state = lock(&self.state);
        if matches!(last, Verdict::Reject { .. }) {
            let took = now.since(begun);
            state.refusal = if state.refusal.is_zero() { took } else { (state.refusal * 7 + took) / 8 };
        }
        match ended {
            Ended::NotSent => {
                state.breaker.failed(now);
            }
            _ => {
                state.breaker.succeeded();
                if state.cap.good() {
                    self.places.add_permits(1);
                }
            }
        }
        drop(state);
        if let Verdict::Unavailable { cause, alert } = &last {
            tracing::warn!(blame = "delegate", delegate = %self.settings.name, %cause, alert, "login could not be checked");
        }
        last
    }

    /// The delegate takes no further session: true if there is more than one place, which is now one fewer.
    fn gives_place_up(&self) -> bool {
        let mut state = lock(&self.state);
        let others = state.cap.now() - 1;
        state.cap.busy(others)
    }

    async fn try_endpoint(
        &self,
        endpoint: &Endpoint,
        account: &str,
        password: &Secret,
        session: &str,
        ended: &mut Ended,
    ) -> Result<Reply, Fault> {
        let sink = self.means.trace.sink(session, &endpoint.to_string(), 'D');
        let timeouts = Timeouts { command: PATIENCE, ..Timeouts::default() };
        let opened =
            Connection::open(&self.means.connector, endpoint, &self.means.hello, &timeouts, sink).await;
        let mut connection = opened?;
        let said = connection.auth(account, password).await;
        // Whatever is not known to have stayed with us counts as sent.
        if !matches!(&said, Err(Fault { kind: FaultKind::Local(_), .. })) {
            *ended = Ended::Charged;
        }
        let said = said?;
        self.means.tasks.spawn("QUIT at the delegate", connection.quit());
        Ok(said)
    }

    fn resolve(&self, print: &Fingerprint, verdict: Verdict) {
        let life = match &verdict {
            Verdict::Accept(_) => self.settings.credentials.yes,
            Verdict::Reject { .. } => self.settings.credentials.no,
            _ => Duration::ZERO,
        };
        let mut state = lock(&self.state);
        if !life.is_zero() {
            state.cache.insert(*print, (verdict.clone(), self.means.clock.tick() + life));
        }
        let waiters = state.flights.remove(print).unwrap_or_default();
        drop(state);
        for waiter in waiters {
            let _ = waiter.send(verdict.clone());
        }
    }

    /// Names are case-folded, passwords are not; the length parts the two.
    fn fingerprint(&self, account: &str, password: &Secret) -> Fingerprint {
        let account = account.to_lowercase();
        let mut digest = Sha256::new();
        digest.update(self.key);
        digest.update((account.len() as u64).to_le_bytes());
        digest.update(account.as_bytes());
        digest.update(password.expose());
        digest.finalize().into()
    }
}
