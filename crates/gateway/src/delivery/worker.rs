//! A worker: one session at a time with one destination, a message after the other.
//!
//! Settlements run behind the next message, at most [`BEHIND`] of them, so that the store's sync does not cost the
//! session its time. Proof: `tests/delivery/destinations.rs`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, watch};

use super::Deliverer;
use super::attempt::{Session, Trial};
use super::board::{DestinationId, Job, Next};
use super::settlement::{rules, settle};

/// Settlements under way while the next message is sent.
const BEHIND: usize = 8;
/// A session without work is ended after this.
const IDLE: Duration = Duration::from_secs(30);

type Behind = FuturesUnordered<BoxFuture<'static, ()>>;

/// A worker's place at its destination; given back whatever ends it.
struct Place {
    deliverer: Arc<Deliverer>,
    destination: DestinationId,
    /// The board has already taken it back.
    given_back: bool,
    /// A job is under way.
    at_work: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut board = self.deliverer.board();
        if self.at_work {
            board.done(self.destination);
        }
        if !self.given_back {
            board.gone(self.destination);
        }
    }
}

/// Works until there is no more to do here.
pub(super) async fn work(
    deliverer: Arc<Deliverer>,
    destination: DestinationId,
    mut stop: watch::Receiver<bool>,
) {
    let mut place = Place { deliverer: deliverer.clone(), destination, given_back: false, at_work: false };
    let mut session: Option<Session> = None;
    let mut behind = Behind::new();
    loop {
        let next = deliverer.board().next(destination);
        match next {
            Next::Job(job) => {
                place.at_work = true;
                let crowded = deliver(&deliverer, destination, *job, &mut session, &mut behind).await;
                place.at_work = false;
                let (more, full) = {
                    let mut board = deliverer.board();
                    let full = board.at_limit();
                    (board.done(destination), full)
                };
                if more {
                    deliverer.wake();
                }
                if crowded {
                    break;
                }
                if full {
                    // Those who waited for a place come first.
                    tokio::task::yield_now().await;
                }
            }
            Next::Wait(bell) => {
                if rest(&deliverer, destination, &bell, &mut behind, &mut stop).await {
                    place.given_back = deliverer.board().retire(destination);
                    if place.given_back {
                        break;
                    }
                }
            }
            Next::Leave => {
                place.given_back = true;
                break;
            }
        }
    }
    drop(place);
    if let Some(session) = session {
        with(&mut behind, session.end()).await;
    }
    while behind.next().await.is_some() {}
}

/// Sends one message. True if the next hop takes no more sessions of ours: the job waits for the others.
async fn deliver(
    deliverer: &Arc<Deliverer>,
    destination: DestinationId,
    job: Job,
    session: &mut Option<Session>,
    behind: &mut Behind,
) -> bool {
    let rules = rules(&deliverer.deps.settings.load(), &job.delivery);
    let mut trial = Trial::new(deliverer, destination, &job, rules);
    let Some(report) = with(behind, trial.run(session)).await else {
        deliverer.board().put_back(job);
        return true;
    };
    let owner = deliverer.clone();
    behind.push(Box::pin(async move { settle(&owner, job, report, rules).await }));
    while behind.len() > BEHIND {
        behind.next().await;
    }
    false
}

/// Runs `task` to its end, and what is behind beside it.
async fn with<T>(behind: &mut Behind, task: impl Future<Output = T>) -> T {
    let mut task = std::pin::pin!(task);
    loop {
        tokio::select! {
            biased;
            done = &mut task => return done,
            Some(()) = behind.next(), if !behind.is_empty() => {}
        }
    }
}

/// Waits for the bell. True if it was long enough.
async fn rest(
    deliverer: &Deliverer,
    destination: DestinationId,
    bell: &Notify,
    behind: &mut Behind,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    let long = tokio::time::sleep(IDLE);
    let mut long = std::pin::pin!(long);
    let over = loop {
        tokio::select! {
            _ = bell.notified() => break false,
            Some(()) = behind.next(), if !behind.is_empty() => {}
            _ = &mut long => break true,
            _ = stop.wait_for(|stop| *stop) => break true,
        }
    };
    deliverer.board().awake(destination);
    over
}
