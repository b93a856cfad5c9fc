//! AUTH sessions at a delegate: places, opening, and the few that are opened in advance.
//!
//! A session serves one login and is gone (RFC 4954 §4: no second AUTH). Its place is held until the delegate has seen
//! its QUIT, so that there are never more connections than `sessions.auth`. Sessions are opened in advance only while
//! logins come quickly, two at the most; one that was not used within a minute takes its leave.
//! Never says who may log in. Proof: `tests/sasl.rs`, `transcripts/e2e`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use vouchsafe_core::ports::Clock;
use vouchsafe_core::{Endpoint, Protocol};
use vouchsafe_net::client::{Connection, Fault, Timeouts, TraceSink};
use vouchsafe_net::imap::ImapConnection;
use vouchsafe_smtp::Tick;

use super::{LoginClient, Shared};
use crate::delegate::lock;

/// Longest wait for one reply: Exchange answers a wrong password after 5 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sessions opened in advance.
const WARM: usize = 2;
/// They take their leave after this long.
const WARM_FOR: Duration = Duration::from_secs(60);
/// Wait between two sessions that only find out what is offered.
const LEARN: Duration = Duration::from_secs(60);
/// So many logins within this time are demand.
const DEMAND: (usize, Duration) = (3, Duration::from_secs(10));

/// A session with whatever the endpoint speaks.
pub(super) enum Door {
    Smtp(Box<Connection>),
    Imap(Box<ImapConnection>),
}

impl Door {
    fn endpoint(&self) -> &Endpoint {
        match self {
            Door::Smtp(connection) => connection.endpoint(),
            Door::Imap(connection) => connection.endpoint(),
        }
    }
    fn is_ready(&mut self) -> bool {
        match self {
            Door::Smtp(connection) => connection.is_ready(),
            Door::Imap(connection) => connection.is_ready(),
        }
    }
    fn set_trace(&mut self, sink: TraceSink) {
        match self {
            Door::Smtp(connection) => connection.set_trace(sink),
            Door::Imap(connection) => connection.set_trace(sink),
        }
    }
    /// Gives up what is under way, and takes leave.
    async fn leave(self) {
        match self {
            Door::Smtp(connection) => connection.cancel().await,
            Door::Imap(connection) => connection.logout().await,
        }
    }
}

/// The right to one connection; a session may be there already.
pub(super) struct Place {
    pub(super) permit: OwnedSemaphorePermit,
    warm: Option<Door>,
}

/// A session that waits for its login.
pub(super) struct Warm {
    door: Door,
    permit: OwnedSemaphorePermit,
    number: u64,
}

/// What is known of the sessions opened in advance.
#[derive(Default)]
pub(super) struct Advance {
    waiting: Vec<Warm>,
    opening: usize,
    opened: u64,
    /// When it was last asked what it offers.
    learned: Option<Tick>,
    /// When the last few logins needed a session.
    needed: Vec<Tick>,
}

impl Shared {
    /// Waits for a place. `None`: we shut down.
    pub(super) async fn place(&self) -> Option<Place> {
        loop {
            if let Some(place) = self.take_warm() {
                return Some(place);
            }
            tokio::select! {
                permit = Arc::clone(&self.places).acquire_owned() => {
                    return permit.ok().map(|permit| Place { permit, warm: None });
                }
                () = self.warmed.notified() => {}
            }
        }
    }

    /// One that the delegate has closed in the meantime leaves its place.
    fn take_warm(&self) -> Option<Place> {
        let warm = lock(&self.state).advance.waiting.pop()?;
        let Warm { mut door, permit, .. } = warm;
        let ready = door.is_ready();
        Some(Place { permit, warm: ready.then_some(door) })
    }

    /// A session at this endpoint, ready for a login of this client.
    pub(super) async fn session(
        &self,
        place: &mut Place,
        endpoint: &Endpoint,
        client: &LoginClient,
    ) -> Result<Door, Fault> {
        let sink = self.means.trace.sink(&client.session, &endpoint.to_string(), 'D');
        let warm = place.warm.take().filter(|door| door.endpoint() == endpoint);
        let mut door = match warm {
            Some(mut door) => {
                door.set_trace(sink);
                door
            }
            None => self.open(endpoint, sink).await?,
        };
        if self.settings.xclient
            && let Door::Smtp(connection) = &mut door
            && let Some(identity) = &client.identity
            && connection.takes_xclient()
        {
            if let Some(refused) = connection.xclient(identity).await? {
                tracing::warn!(blame = "delegate", delegate = %self.settings.name, reply = %refused,
                    "the delegate does not want to hear of our client (XCLIENT)");
            }
            self.note(endpoint, &connection.capabilities().auth);
        }
        Ok(door)
    }

    async fn open(&self, endpoint: &Endpoint, sink: TraceSink) -> Result<Door, Fault> {
        let timeouts = Timeouts { command: PATIENCE, ..Timeouts::default() };
        let means = &self.means;
        self.pace.session().await;
        match endpoint.protocol {
            Protocol::Smtp | Protocol::Lmtp => {
                let connection =
                    Connection::open(&means.connector, endpoint, &means.hello, &timeouts, sink).await?;
                self.note(endpoint, &connection.capabilities().auth);
                Ok(Door::Smtp(Box::new(connection)))
            }
            Protocol::Imap => {
                let connection = ImapConnection::open(&means.connector, endpoint, &timeouts, sink).await?;
                if connection.takes_passwords() {
                    self.note(endpoint, &["PLAIN".to_owned()]);
                }
                Ok(Door::Imap(Box::new(connection)))
            }
        }
    }

    fn note(&self, endpoint: &Endpoint, offered: &[String]) {
        self.means.offers.note(&self.settings.name, endpoint, offered);
    }

    /// Takes leave behind the scenes; the place is free when that is done.
    pub(super) fn part(&self, door: Door, permit: OwnedSemaphorePermit) {
        self.means.tasks.spawn("QUIT at the delegate", async move {
            door.leave().await;
            drop(permit);
        });
    }

    /// A login needed a session: while that happens often, the next ones find one open.
    pub(super) fn warm_up(self: &Arc<Self>) {
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        let closed = !state.breaker.is_open();
        let advance = &mut state.advance;
        advance.needed.push(now);
        let old = advance.needed.len().saturating_sub(DEMAND.0);
        advance.needed.drain(..old);
        advance.needed.retain(|at| now.since(*at) < DEMAND.1);
        if advance.needed.len() < DEMAND.0 || !closed || advance.waiting.len() + advance.opening >= WARM {
            return;
        }
        // Only a place that nobody waits for.
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else { return };
        advance.opening += 1;
        drop(state);
        let shared = Arc::clone(self);
        self.means.tasks.spawn("session in advance", async move { shared.wait_for_a_login(permit).await });
    }

    async fn wait_for_a_login(&self, permit: OwnedSemaphorePermit) {
        let opened = match self.settings.auth.first() {
            Some(endpoint) => self.open(endpoint, None).await.ok(),
            None => None,
        };
        let number = {
            let mut state = lock(&self.state);
            state.advance.opening -= 1;
            state.advance.opened += 1;
            let number = state.advance.opened;
            let Some(door) = opened else { return };
            state.advance.waiting.push(Warm { door, permit, number });
            number
        };
        self.warmed.notify_one();
        let mut stop = self.means.tasks.stop_signal();
        tokio::select! {
            () = tokio::time::sleep(WARM_FOR) => {}
            _ = stop.wait_for(|stopped| *stopped) => {}
        }
        let unused = {
            let waiting = &mut lock(&self.state).advance.waiting;
            waiting.iter().position(|warm| warm.number == number).map(|at| waiting.remove(at))
        };
        if let Some(warm) = unused {
            warm.door.leave().await;
        }
    }

    /// Finds out what the delegate offers, without a login; once a minute at the most.
    pub(super) async fn learn(&self) {
        let now = self.means.clock.tick();
        let last = lock(&self.state).advance.learned.replace(now);
        if last.is_some_and(|last| now.since(last) < LEARN) {
            return;
        }
        let Ok(_permit) = self.places.try_acquire() else { return };
        for endpoint in &self.settings.auth {
            if let Ok(door) = self.open(endpoint, None).await {
                return door.leave().await;
            }
        }
    }
}
