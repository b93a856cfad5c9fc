//! Challenge mechanisms, passed through step by step: the client's exchange is the delegate's (DESIGN section 4, "AUTH").
//!
//! Who logs in is read from the response and charged before that response goes any further; else the delegate hears `*`
//! and the client 454. An exchange that is given up, or whose client has gone, ends with `*` and QUIT; nobody is charged
//! if nobody was named to the delegate. Live exchanges hold at most half of the places, for a bounded time. Nothing of
//! one is remembered. Proof: `tests/sasl.rs`, `transcripts/e2e/exchange_*`, the tests with real Dovecot.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use vouchsafe_core::Endpoint;
use vouchsafe_core::guard::{Charge, Ended};
use vouchsafe_core::ports::Clock;
use vouchsafe_core::verdict::{Verdict, classify_auth, classify_fault};
use vouchsafe_net::client::{Connection, Exchanged, Fault, FaultKind};
use vouchsafe_smtp::sasl::{Mechanism, Names, Unfit};
use vouchsafe_smtp::{Reply, Secret};

use super::sessions::{Door, Place};
use super::{BUSY_TRIES, HELD_BACK, LoginClient, Shared, no_endpoint, no_smtp};
use crate::delegate::lock;

/// Longest wait for a client's response: people do not answer challenges, programs do.
const ANSWER: Duration = Duration::from_secs(30);
/// Responses in an exchange; the longest known mechanism has three.
const STEPS: usize = 8;

/// How a step of an exchange ended.
#[derive(Debug)]
pub enum Step {
    /// A challenge for the client.
    Challenge(Vec<u8>),
    /// The exchange is over. The name, if one was told.
    Over(Option<String>, Verdict),
}

/// An exchange of a client with a delegate. Dropped: given up.
pub struct Exchange {
    names: Names,
    login: Option<String>,
    deadline: Duration,
    responses: mpsc::Sender<Response>,
    steps: mpsc::Receiver<Step>,
}

/// A response, and whom it is the first to name.
struct Response {
    names: Option<String>,
    octets: Secret,
}

impl Exchange {
    /// The delegate's first challenge.
    pub async fn begin(&mut self) -> Step {
        self.next().await
    }

    /// Whom the next response names, where none did before. An error ends the exchange.
    pub fn named(&mut self, response: &Secret) -> Result<Option<String>, Unfit> {
        match self.login {
            Some(_) => Ok(None),
            None => self.names.read(response.expose()),
        }
    }

    /// Passes a response on. `names` is what [`Exchange::named`] said of it.
    pub async fn respond(&mut self, names: Option<String>, octets: Secret) -> Step {
        if let Some(name) = &names {
            self.login = Some(name.clone());
        }
        if self.responses.send(Response { names, octets }).await.is_err() {
            return self.gone("it took too long to answer");
        }
        self.next().await
    }

    /// The exchange ends with this, and the delegate never hears of it.
    pub fn over(&self, verdict: Verdict) -> Step {
        Step::Over(self.login.clone(), verdict)
    }

    async fn next(&mut self) -> Step {
        match timeout(self.deadline, self.steps.recv()).await {
            Ok(Some(Step::Over(_, verdict))) => self.over(verdict),
            Ok(Some(step)) => step,
            Ok(None) => self.gone("shut down"),
            Err(_) => self.gone("no answer in time"),
        }
    }

    fn gone(&self, why: &str) -> Step {
        self.over(Verdict::Unavailable { cause: format!("the exchange was given up: {why}"), alert: false })
    }
}

impl Shared {
    /// Begins an exchange behind the scenes. `initial` is the client's first response, where the mechanism lets the
    /// client speak first; whoever it names is `names`.
    pub(super) fn begin(
        self: &Arc<Self>,
        mechanism: Mechanism,
        names: Names,
        initial: Option<(Option<String>, Secret)>,
        client: LoginClient,
    ) -> Exchange {
        let (responses, from_client) = mpsc::channel(1);
        let (to_client, steps) = mpsc::channel(1);
        let login = initial.as_ref().and_then(|(name, _)| name.clone());
        let initial = initial.map(|(names, octets)| Response { names, octets });
        let live =
            Live { shared: Arc::clone(self), client, charge: None, sent: false, from_client, to_client };
        self.means.tasks.spawn("exchange with the delegate", live.run(mechanism, initial));
        Exchange { names, login, deadline: self.settings.deadline, responses, steps }
    }
}

/// The task of an exchange.
struct Live {
    shared: Arc<Shared>,
    client: LoginClient,
    /// Since somebody was named.
    charge: Option<Charge>,
    /// A response with a name has left us.
    sent: bool,
    from_client: mpsc::Receiver<Response>,
    to_client: mpsc::Sender<Step>,
}

impl Live {
    async fn run(mut self, mechanism: Mechanism, initial: Option<Response>) {
        let Ok(_half) = Arc::clone(&self.shared.live).acquire_owned().await else { return };
        if self.to_client.is_closed() {
            return;
        }
        let begun = self.shared.means.clock.tick();
        let verdict = self.talk(mechanism, initial).await;
        let ended = match (&verdict, self.sent) {
            (Some(Verdict::Accept(_)), _) => Ended::Accepted,
            (_, true) => Ended::Charged,
            (_, false) => Ended::NotSent,
        };
        if let Some(charge) = self.charge.take() {
            self.shared.settle(charge, ended);
        }
        if let Some(verdict) = verdict {
            if self.sent {
                self.shared.learn_from(&verdict, ended, begun);
            }
            let _ = self.to_client.send(Step::Over(None, verdict)).await;
        }
    }

    /// The whole exchange. `None`: the client has gone.
    async fn talk(&mut self, mechanism: Mechanism, initial: Option<Response>) -> Option<Verdict> {
        if !lock(&self.shared.state).breaker.allows(self.shared.means.clock.tick()) {
            return Some(self.shared.left_alone().verdict);
        }
        if let Some(response) = &initial
            && let Err(over) = self.charge_for(response).await
        {
            return Some(over);
        }
        let initial = initial.map(|response| response.octets);
        let (mut connection, place, mut step, endpoint) = match self.open(mechanism, initial.as_ref()).await {
            Ok(opened) => opened,
            Err(verdict) => return Some(verdict),
        };
        let mut steps = 0;
        let verdict = loop {
            let challenge = match step {
                Ok(Exchanged::Done(reply)) => break Some(classify_auth(&endpoint, &reply)),
                Ok(Exchanged::Challenge(challenge)) => challenge,
                // The connection is closed.
                Err(fault) => return Some(classify_fault(fault.to_string(), fault.phase, &fault.kind)),
            };
            steps += 1;
            if steps > STEPS {
                let cause = format!("{endpoint} sends challenge after challenge");
                break Some(Verdict::Unavailable { cause, alert: true });
            }
            if self.to_client.send(Step::Challenge(challenge)).await.is_err() {
                break None;
            }
            let Ok(Some(response)) = timeout(ANSWER, self.from_client.recv()).await else { break None };
            if let Err(over) = self.charge_for(&response).await {
                break Some(over);
            }
            self.sent |= self.charge.is_some();
            step = connection.respond(&response.octets).await;
        };
        // `*` first where a challenge is open, then QUIT.
        self.shared.part(Door::Smtp(connection), place.permit);
        verdict
    }

    /// Promise 6: nobody is named to the delegate who is over budget.
    async fn charge_for(&mut self, response: &Response) -> Result<(), Verdict> {
        let Some(name) = &response.names else { return Ok(()) };
        match self.shared.charge(name, &self.client) {
            Ok(charge) => {
                self.charge = Some(charge);
                Ok(())
            }
            Err(over) => {
                let held_back = lock(&self.shared.state).refusal.min(HELD_BACK);
                tokio::time::sleep(held_back.min(self.shared.settings.deadline)).await;
                Err(over.verdict)
            }
        }
    }

    /// A session at the first endpoint that takes the mechanism, and its first answer. Before that nothing was sent that
    /// another endpoint could not be asked, too.
    async fn open(
        &mut self,
        mechanism: Mechanism,
        initial: Option<&Secret>,
    ) -> Result<(Box<Connection>, Place, Result<Exchanged, Fault>, Endpoint), Verdict> {
        let shared = Arc::clone(&self.shared);
        let shut_down = || Verdict::Unavailable { cause: "shut down".to_owned(), alert: false };
        let mut last = no_endpoint();
        let mut busy = 0;
        let mut index = 0;
        let mut place = shared.place().await.ok_or_else(shut_down)?;
        if self.to_client.is_closed() {
            return Err(Verdict::Unavailable { cause: "the client has gone".to_owned(), alert: false });
        }
        shared.warm_up();
        while let Some(endpoint) = shared.settings.auth.get(index) {
            let fault = match shared.session(&mut place, endpoint, &self.client).await {
                Ok(Door::Imap(_)) => no_smtp(endpoint, mechanism),
                Ok(Door::Smtp(mut connection)) => {
                    let step = connection.exchange(mechanism, initial).await;
                    match step {
                        Err(fault @ Fault { kind: FaultKind::Local(_), .. }) => fault,
                        step => {
                            self.sent |= self.charge.is_some();
                            return Ok((connection, place, step, endpoint.clone()));
                        }
                    }
                }
                Err(fault) if fault.is_busy() && busy < BUSY_TRIES && shared.gives_place_up() => {
                    busy += 1;
                    place.permit.forget();
                    place = shared.place().await.ok_or_else(shut_down)?;
                    continue;
                }
                Err(fault) => fault,
            };
            last = classify_fault(fault.to_string(), fault.phase, &fault.kind);
            index += 1;
        }
        let now = shared.means.clock.tick();
        lock(&shared.state).breaker.failed(now);
        tracing::warn!(blame = "delegate", delegate = %shared.settings.name, verdict = ?last, "no exchange could begin");
        Err(last)
    }
}

/// What the client is told of a response that cannot be passed on.
pub fn unfit(why: Unfit) -> Verdict {
    let reply = match why {
        Unfit::Malformed => Reply::new(501, (5, 5, 2), "Malformed authentication response"),
        Unfit::OtherIdentity => Reply::new(535, (5, 7, 8), "Authorization identity must be the login itself"),
    };
    Verdict::PassOn { tell: reply, alert: false }
}
