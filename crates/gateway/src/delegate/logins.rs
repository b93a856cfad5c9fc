//! Questions about logins: credential cache, guard, then a session each (`sessions`). A password is asked about as PLAIN
//! or LOGIN, whichever the delegate takes; a token in the client's own response.
//!
//! Never keeps a password or token: only a keyed digest, in memory, with a key made at start (promise 4). A refusal that the
//! delegate was not asked about takes as long as one of its own, so that time does not tell which it was; it holds no
//! place. Proof: `tests/guard.rs`, `tests/sasl.rs`.

mod exchange;
mod sessions;

pub use exchange::{Exchange, Step, unfit};

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::timeout;
use vouchsafe_config as settings;
use vouchsafe_config::Trial;
use vouchsafe_core::Endpoint;
use vouchsafe_core::bounded::Bounded;
use vouchsafe_core::breaker::Breaker;
use vouchsafe_core::cap::Cap;
use vouchsafe_core::guard::{Charge, Ended, Over};
use vouchsafe_core::ports::Clock;
use vouchsafe_core::verdict::{Verdict, classify_auth, classify_fault, classify_imap};
use vouchsafe_net::client::{Connection, Exchanged, Fault, FaultKind, Identity, Phase};
use vouchsafe_smtp::sasl::{Mechanism, Names};
use vouchsafe_smtp::{Secret, Tick};

use super::pace::Pace;
use super::tally::Tally;
use super::{Means, lock};
use sessions::{Advance, Door, Place};

/// Credentials remembered.
const CACHED: usize = 100_000;
/// Times that a login waits for another place because the delegate takes no further session.
const BUSY_TRIES: usize = 2;
/// Longest that a refusal of our own is held back: above Exchange's tarpit.
const HELD_BACK: Duration = Duration::from_secs(6);

type Fingerprint = [u8; 32];

/// What a client logs in with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A password, from PLAIN or LOGIN.
    Password(Secret),
    /// The response of XOAUTH2 or OAUTHBEARER as the client made it, name and token in it.
    Token(Mechanism, Secret),
}

/// The client that logs in.
#[derive(Clone, Debug)]
pub struct LoginClient {
    /// Its address as the guard counts it; `None`: not counted (a trusted network).
    pub counted: Option<IpAddr>,
    /// As a delegate is told of it.
    pub identity: Option<Identity>,
    /// The session's id.
    pub session: String,
}

/// What came of a question about a login.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The verdict.
    pub verdict: Verdict,
    /// Why a token is refused, in the delegate's words to the client (RFC 7628 §3.2.2).
    pub challenge: Option<Vec<u8>>,
}

impl Asked {
    fn unavailable(cause: String) -> Asked {
        Asked::from(Verdict::Unavailable { cause, alert: false })
    }
}

impl From<Verdict> for Asked {
    fn from(verdict: Verdict) -> Asked {
        Asked { verdict, challenge: None }
    }
}

pub(super) struct Logins {
    shared: Arc<Shared>,
}

struct Shared {
    settings: settings::Delegate,
    means: Means,
    pace: Arc<Pace>,
    key: Fingerprint,
    places: Arc<Semaphore>,
    /// Exchanges that wait for their clients: half of the places.
    live: Arc<Semaphore>,
    /// A session was opened in advance.
    warmed: Notify,
    state: Mutex<State>,
    tally: Arc<Tally>,
}

struct State {
    cache: Bounded<Fingerprint, (Asked, Tick)>,
    flights: HashMap<Fingerprint, Vec<oneshot::Sender<Asked>>>,
    breaker: Breaker,
    /// As many places as there are permits of `places`, taken or not.
    cap: Cap,
    /// How long the delegate takes to refuse, averaged over its last few refusals.
    refusal: Duration,
    advance: Advance,
}

impl Logins {
    pub(super) fn new(
        settings: settings::Delegate,
        means: Means,
        tally: Arc<Tally>,
        pace: Arc<Pace>,
    ) -> Logins {
        let state = State {
            cache: Bounded::new(CACHED),
            flights: HashMap::new(),
            breaker: Breaker::default(),
            cap: Cap::new(settings.auth_sessions),
            refusal: Duration::ZERO,
            advance: Advance::default(),
        };
        Logins {
            shared: Arc::new(Shared {
                places: Arc::new(Semaphore::new(settings.auth_sessions.max(1))),
                live: Arc::new(Semaphore::new(settings.auth_sessions.div_ceil(2).max(1))),
                warmed: Notify::new(),
                key: rand::random(),
                state: Mutex::new(state),
                settings,
                means,
                pace,
                tally,
            }),
        }
    }

    pub(super) fn flush(&self) {
        lock(&self.shared.state).cache = Bounded::new(CACHED);
    }

    pub(super) async fn ask(&self, login: &str, credential: &Credential, client: &LoginClient) -> Asked {
        let name = &self.shared.settings.name;
        let account = self.shared.settings.login_name.map(login);
        let begun = self.shared.means.clock.tick();
        let waiting = match self.shared.look_up(account, credential, client) {
            Ok(Known { asked, held_back }) => {
                self.shared.tally.remembered(&asked.verdict);
                tokio::time::sleep(held_back.min(self.shared.settings.deadline)).await;
                return asked;
            }
            Err(waiting) => waiting,
        };
        let asked = match timeout(self.shared.settings.deadline, waiting).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(_)) => Asked::unavailable(format!("delegate {name}: shut down")),
            Err(_) => self.shared.late(),
        };
        self.shared.tally.asked(&asked.verdict, self.shared.means.clock.tick().since(begun));
        asked
    }

    pub(super) fn begin(
        &self,
        mechanism: Mechanism,
        names: Names,
        initial: Option<(Option<String>, Secret)>,
        client: LoginClient,
    ) -> Exchange {
        self.shared.begin(mechanism, names, initial, client)
    }

    /// Finds out what the delegate offers, without a login.
    pub(super) fn learn(&self) {
        let shared = Arc::clone(&self.shared);
        self.shared.means.tasks.spawn("mechanisms of the delegate", async move { shared.learn().await });
    }
}

/// An answer of our own, and how long it is held back.
struct Known {
    asked: Asked,
    held_back: Duration,
}

impl Shared {
    fn look_up(
        self: &Arc<Self>,
        account: String,
        credential: &Credential,
        client: &LoginClient,
    ) -> Result<Known, oneshot::Receiver<Asked>> {
        let print = self.fingerprint(&account, credential);
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        let refusal = state.refusal.min(HELD_BACK);
        if let Some((asked, until)) = state.cache.get_mut(&print)
            && now < *until
        {
            let accepted = matches!(asked.verdict, Verdict::Accept(_));
            return Ok(Known {
                asked: asked.clone(),
                held_back: if accepted { Duration::ZERO } else { refusal },
            });
        }
        let (tell, waiting) = oneshot::channel();
        if let Some(waiters) = state.flights.get_mut(&print) {
            waiters.push(tell);
            return Err(waiting);
        }
        if !state.breaker.allows(now) {
            return Ok(Known { asked: self.left_alone(), held_back: Duration::ZERO });
        }
        let charge = match self.charge(&account, client) {
            Ok(charge) => charge,
            Err(over) => return Ok(Known { asked: over, held_back: refusal }),
        };
        state.flights.insert(print, vec![tell]);
        drop(state);
        let (shared, credential, client) = (Arc::clone(self), credential.clone(), client.clone());
        self.means.tasks.spawn("login at the delegate", async move {
            let asked = shared.ask_delegate(&account, &credential, charge, &client).await;
            shared.resolve(&print, &asked);
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

    fn left_alone(&self) -> Asked {
        Asked::unavailable(format!("delegate {}: unreachable, tried again shortly", self.settings.name))
    }

    fn late(&self) -> Asked {
        let Self { settings, .. } = self;
        Asked::unavailable(format!(
            "delegate {}: no answer within {} s",
            settings.name,
            settings.deadline.as_secs()
        ))
    }

    /// Promise 6: charged before anything leaves us. fail2ban may ban a client that goes on guessing, never one whose
    /// account others guess at.
    fn charge(&self, account: &str, client: &LoginClient) -> Result<Charge, Asked> {
        let budgets = self.means.settings.load().guard;
        let now = self.means.clock.tick();
        let over =
            match lock(&self.means.guard).charge_apart(&self.realm(), account, client.counted, &budgets, now)
            {
                Ok(charge) => return Ok(charge),
                Err(over) => over,
            };
        let address = client.counted.map_or_else(|| "-".to_owned(), |address| address.to_string());
        let who = match over {
            Over::Account => format!("account {account}"),
            // On trial nobody is banned for what this delegate is asked.
            Over::Client if self.settings.trial == Trial::Logins => format!("client {address}"),
            Over::Client => {
                tracing::info!(session = %client.session, client = %address, login = %account, blame = "client",
                    "login refused, over budget");
                format!("client {address}")
            }
        };
        let name = &self.settings.name;
        let cause = format!("{who}: too many failed logins, not passed on to delegate {name} for now");
        Err(Asked::unavailable(cause))
    }

    /// Asks, with failover on Unavailable only: a clear no is final, and no second form of the name is ever tried.
    async fn ask_delegate(
        self: &Arc<Self>,
        account: &str,
        credential: &Credential,
        charge: Charge,
        client: &LoginClient,
    ) -> Asked {
        let Some(place) = self.place().await else { return Asked::unavailable("shut down".to_owned()) };
        self.warm_up();
        let mut place = Some(place);
        let begun = self.means.clock.tick();
        let mut ended = Ended::NotSent;
        let mut last = Asked::from(no_endpoint());
        let mut busy = 0;
        let mut index = 0;
        while let Some(endpoint) = self.settings.auth.get(index) {
            if place.is_none() {
                place = self.place().await;
            }
            let Some(at) = place.take() else { break };
            match self.try_endpoint(at, endpoint, account, credential, client, &mut ended).await {
                Ok(asked) => last = asked,
                // Another login of ours is under way there: this place is one too many, wait for that one's.
                Err((fault, left)) if fault.is_busy() && busy < BUSY_TRIES && self.gives_place_up() => {
                    busy += 1;
                    left.permit.forget();
                    continue;
                }
                Err((fault, left)) => {
                    last = Asked::from(classify_fault(fault.to_string(), fault.phase, &fault.kind));
                    place = Some(left);
                }
            }
            if !matches!(last.verdict, Verdict::Unavailable { .. }) || ended == Ended::Charged {
                break;
            }
            index += 1;
        }
        drop(place);
        if matches!(last.verdict, Verdict::Accept(_)) {
            ended = Ended::Accepted;
        }
        self.settle(charge, ended);
        self.learn_from(&last.verdict, ended, begun);
        last
    }

    fn settle(&self, charge: Charge, ended: Ended) {
        lock(&self.means.guard).settle(charge, ended, self.means.clock.tick());
    }

    /// What an answer tells of the delegate itself: whether it is there, how many sessions it takes, how long its refusals
    /// last.
    fn learn_from(&self, verdict: &Verdict, ended: Ended, begun: Tick) {
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        if matches!(verdict, Verdict::Reject { .. }) {
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
        if let Verdict::Unavailable { cause, alert } = verdict {
            tracing::warn!(blame = "delegate", delegate = %self.settings.name, %cause, alert,
                "login could not be checked");
        }
    }

    /// The delegate takes no further session: true if there is more than one place, which is now one fewer.
    fn gives_place_up(&self) -> bool {
        let mut state = lock(&self.state);
        let others = state.cap.now() - 1;
        state.cap.busy(others)
    }

    /// One question at one endpoint. The place is given back with a fault; else it is free when the session has ended.
    async fn try_endpoint(
        &self,
        mut place: Place,
        endpoint: &Endpoint,
        account: &str,
        credential: &Credential,
        client: &LoginClient,
        ended: &mut Ended,
    ) -> Result<Asked, (Fault, Place)> {
        let mut door = match self.session(&mut place, endpoint, client).await {
            Ok(door) => door,
            Err(fault) => return Err((fault, place)),
        };
        let said = match (credential, &mut door) {
            (Credential::Password(password), Door::Smtp(connection)) => {
                let said = connection.auth(account, password).await;
                said.map(|reply| Asked::from(classify_auth(endpoint, &reply)))
            }
            (Credential::Password(password), Door::Imap(connection)) => {
                let said = connection.auth(account, password).await;
                said.map(|answer| Asked::from(classify_imap(endpoint, &answer)))
            }
            (Credential::Token(mechanism, response), Door::Smtp(connection)) => {
                ask_with_token(connection, *mechanism, response).await
            }
            (Credential::Token(mechanism, _), Door::Imap(_)) => Err(no_smtp(endpoint, *mechanism)),
        };
        // Whatever is not known to have stayed with us counts as sent.
        if !matches!(&said, Err(Fault { kind: FaultKind::Local(_), .. })) {
            *ended = Ended::Charged;
        }
        match said {
            Ok(said) => {
                self.part(door, place.permit);
                Ok(said)
            }
            Err(fault) => Err((fault, place)),
        }
    }

    fn resolve(&self, print: &Fingerprint, asked: &Asked) {
        let life = match &asked.verdict {
            Verdict::Accept(_) => self.settings.credentials.yes,
            Verdict::Reject { .. } => self.settings.credentials.no,
            _ => Duration::ZERO,
        };
        let mut state = lock(&self.state);
        if !life.is_zero() {
            state.cache.insert(*print, (asked.clone(), self.means.clock.tick() + life));
        }
        let waiters = state.flights.remove(print).unwrap_or_default();
        drop(state);
        for waiter in waiters {
            let _ = waiter.send(asked.clone());
        }
    }

    /// Names are case-folded, passwords are not; the length parts the two. A token is no password, nor the token of
    /// another mechanism.
    fn fingerprint(&self, account: &str, credential: &Credential) -> Fingerprint {
        let account = account.to_lowercase();
        let (kind, secret) = match credential {
            Credential::Password(password) => ("", password),
            Credential::Token(mechanism, response) => (mechanism.name(), response),
        };
        let mut digest = Sha256::new();
        digest.update(self.key);
        for part in [kind, &account] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        digest.update(secret.expose());
        digest.finalize().into()
    }
}

/// IMAP is asked with passwords only.
fn no_smtp(endpoint: &Endpoint, mechanism: Mechanism) -> Fault {
    let why = format!("it is asked by IMAP, which {mechanism} is not passed on to");
    Fault { phase: Phase::Auth, endpoint: endpoint.to_string(), kind: FaultKind::Local(why) }
}

fn no_endpoint() -> Verdict {
    Verdict::Unavailable { cause: "no AUTH endpoint".to_owned(), alert: true }
}

/// A delegate that refuses a token may say why in a challenge, which is answered with a dummy (RFC 7628 §3.2.3): by
/// ourselves and at once, so that neither its session nor its verdict waits for the client. The client gets the
/// challenge all the same, and the refusal after its own dummy.
async fn ask_with_token(
    connection: &mut Connection,
    mechanism: Mechanism,
    response: &Secret,
) -> Result<Asked, Fault> {
    let endpoint = connection.endpoint().clone();
    let challenge = match connection.exchange(mechanism, Some(response)).await? {
        Exchanged::Done(reply) => return Ok(classify_auth(&endpoint, &reply).into()),
        Exchanged::Challenge(challenge) => challenge,
    };
    match connection.respond(&Secret::new(mechanism.dummy())).await? {
        Exchanged::Done(reply) => {
            Ok(Asked { verdict: classify_auth(&endpoint, &reply), challenge: Some(challenge) })
        }
        Exchanged::Challenge(_) => Err(Fault {
            phase: Phase::Auth,
            endpoint: endpoint.to_string(),
            kind: FaultKind::Garbage("a second challenge to a token".to_owned()),
        }),
    }
}
