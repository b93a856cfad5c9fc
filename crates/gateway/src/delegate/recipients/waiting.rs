//! What waits: a question joins the flight that is under way or starts one, and a worker is mustered for it.
//!
//! Never talks to the delegate (`asking`). Whose turn it is stands in `core::fair`.
//! Proof: `tests/places.rs`, `transcripts/delegate/recipient_*`.

use std::sync::Arc;

use tokio::sync::oneshot;
use vouchsafe_core::cache::Lookup;
use vouchsafe_core::fair::{self, Places};
use vouchsafe_core::ports::Clock;
use vouchsafe_core::verdict::Verdict;
use vouchsafe_smtp::Mailbox;

use super::place::Place;
use super::{Asker, Flight, Probe, Purpose, Question, Shared, State, unavailable};
use crate::delegate::lock;

impl Shared {
    /// The verdict if it is known, else where it will arrive. Starts or joins the flight.
    pub(super) fn look_up(
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

    pub(super) fn enqueue(self: &Arc<Self>, state: &mut State, question: Question) {
        let now = self.means.clock.tick();
        state.queue.push(question.network, question, now);
        state.stagger.asked(now);
        self.muster(state);
    }

    /// Sees to it that what waits will be looked at. Questions that wait at the same time share a session: another one
    /// is woken or opened only for what those that are coming have no room for.
    pub(super) fn muster(self: &Arc<Self>, state: &mut State) {
        let room = self.room(None);
        if state.stagger.gathers() && state.queue.len() < room {
            // Whoever is back soon takes it along.
            return;
        }
        let ready = state.queue.ready(room, self.places(state));
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
    pub(super) fn places(&self, state: &State) -> Places {
        Places { most: state.cap.now(), slow: self.means.clock.tick() < state.spread_until }
    }

    /// Gives questions back to the queue, first in line.
    pub(super) fn again(&self, probes: Vec<Question>) {
        let now = self.means.clock.tick();
        let mut state = lock(&self.state);
        for probe in probes.into_iter().rev() {
            state.queue.again(probe.network, probe, now);
        }
    }
}
