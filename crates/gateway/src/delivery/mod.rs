//! Delivery: claims what is due, sends it to the next hop, settles what became of it.
//!
//! One worker per kept session pulls from its destination's queue; what it delivered is settled behind the next
//! message. A crash between the next hop's 250 and our record of it may duplicate a message, never lose it
//! (promise 1). Decides nothing about a refusal (`vouchsafe_core::outcome`). Proof: `tests/delivery.rs`.

mod attempt;
mod board;
mod bounce;
mod content;
mod settlement;
mod telling;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use vouchsafe_config::Settings;
use vouchsafe_core::ports::{Clock, Delivery, History, MailStore};
use vouchsafe_core::{Endpoint, Timestamp};
use vouchsafe_net::authentication::signing::Keys;
use vouchsafe_net::client::{Connector, Hello, TraceSink};

use board::{Board, Job};
pub use bounce::{NotReturned, Returned};
use telling::Noted;

/// Time for the attempts under way when we are told to stop.
const DRAIN: Duration = Duration::from_secs(30);
/// The queue is looked at this often even if nothing is due: a wall clock may jump.
const LOOK: Duration = Duration::from_secs(60);
/// Wait before a store that could not be asked is asked again, and before what could not be claimed is.
const BREATHE: Duration = Duration::from_secs(1);

/// The store is asked no oftener, however often we are woken.
const GAP: Duration = Duration::from_millis(5);

/// Makes the sink for one session's dialogue with a next hop; `|_| None` where nobody listens.
pub type TraceFactory = Arc<dyn Fn(&Endpoint) -> TraceSink + Send + Sync>;

/// What delivery works with.
pub struct Deps {
    /// The queue.
    pub store: Arc<dyn MailStore>,
    /// What happened.
    pub history: Arc<dyn History>,
    /// Wall clock and monotonic clock.
    pub clock: Arc<dyn Clock>,
    /// The settings of the moment.
    pub settings: Arc<ArcSwap<Settings>>,
    /// Opens connections.
    pub connector: Arc<Connector>,
    /// How we greet.
    pub hello: Hello,
    /// Dialogues for `vouchsafe trace`.
    pub trace: TraceFactory,
}

/// Sends the queue. One per gateway.
pub struct Deliverer {
    deps: Deps,
    board: Mutex<Board>,
    agenda: Mutex<Agenda>,
    noted: Noted,
    /// Keys that sign what we send.
    keys: ArcSwap<Keys>,
    /// Wakes `run`.
    bell: Notify,
}

/// When the store is to be asked next.
struct Agenda {
    ask: bool,
    due: Option<Timestamp>,
    asked: Option<Instant>,
}

impl Agenda {
    fn rests(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + GAP).filter(|end| *end > Instant::now())
    }
}

impl Deliverer {
    /// A deliverer that does nothing until [`run`](Self::run).
    pub fn new(deps: Deps) -> Arc<Deliverer> {
        let board = Mutex::new(Board::new(deps.settings.load_full()));
        let agenda = Mutex::new(Agenda { ask: true, due: None, asked: None });
        Arc::new(Deliverer {
            deps,
            board,
            agenda,
            noted: Noted::default(),
            keys: ArcSwap::default(),
            bell: Notify::new(),
        })
    }

    /// Room to take freshly accepted deliveries without going through the disk: reception asks before
    /// `accept(claim: true)`.
    pub fn has_room(&self) -> bool {
        self.board().has_room()
    }

    /// Takes over claimed deliveries; `content` is (head, body) where it is still in memory, else it is read from the
    /// store. What cannot be taken is given back to the store and claimed again when there is room.
    pub fn offer(&self, deliveries: Vec<Delivery>, content: Option<(Bytes, Bytes)>) {
        let settings = self.deps.settings.load_full();
        let mut refused = Vec::new();
        let mut wants_worker = false;
        {
            let mut board = self.board();
            refused.extend(board.refresh(&settings));
            for delivery in deliveries {
                match board.push(Job { delivery, content: content.clone() }) {
                    Ok(wanted) => wants_worker |= wanted,
                    Err(job) => refused.push(*job),
                }
            }
        }
        self.give_back(&refused);
        if wants_worker {
            self.bell.notify_one();
        }
    }

    /// Signs with these keys from now on.
    pub fn sign_with(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// Somebody made mail due by hand: next hops in back-off are tried at once.
    pub fn try_now(&self) {
        self.board().end_back_offs();
        self.wake();
    }

    /// Something became due: call it after an `accept` without claim, and after a change of settings.
    pub fn wake(&self) {
        self.agenda().ask = true;
        self.bell.notify_one();
    }

    /// Runs until `stop` becomes true, then finishes the attempts under way (30 s at most); what only waited stays in
    /// the store. Owns its tasks.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut workers = JoinSet::new();
        self.board().open = true;
        while !*stop.borrow() {
            self.claim().await;
            for destination in self.board().wanted() {
                workers.spawn(worker::work(self.clone(), destination, stop.clone()));
            }
            let look = self.next_look();
            tokio::select! {
                _ = self.bell.notified() => {}
                _ = sleep_until(look) => {}
                Some(ended) = workers.join_next() => report(ended),
                stopped = stop.wait_for(|stop| *stop) => if stopped.is_err() { break },
            }
        }
        let waiting = {
            let mut board = self.board();
            board.open = false;
            board.drain()
        };
        self.give_back(&waiting);
        let end = Instant::now() + DRAIN;
        while let Ok(Some(ended)) = timeout_at(end, workers.join_next()).await {
            report(ended);
        }
        // What is still under way is dropped with its claim: it is sent again after the next start.
        workers.shutdown().await;
    }

    /// Takes what is due out of the store, as long as it is time and there is room.
    async fn claim(&self) {
        let now = self.deps.clock.now();
        {
            let mut agenda = self.agenda();
            let due = agenda.ask || agenda.due.is_some_and(|due| due <= now);
            if !due || agenda.rests().is_some() {
                return;
            }
            *agenda = Agenda { ask: false, due: None, asked: Some(Instant::now()) };
        }
        let settings = self.deps.settings.load_full();
        let refused = self.board().refresh(&settings);
        self.give_back(&refused);
        loop {
            let (room, busy) = {
                let mut board = self.board();
                board.more = board.room_for_claims() == 0;
                (board.room_for_claims(), board.busy())
            };
            if room == 0 {
                return;
            }
            let claimed = match self.deps.store.claim(now, room, busy).await {
                Ok(claimed) => claimed,
                Err(fault) => {
                    tracing::error!(blame = "us", "the queue cannot be read: {fault}");
                    return self.due_at(Some(now + BREATHE), false);
                }
            };
            let last = claimed.len() < room;
            let mut refused = Vec::new();
            {
                let mut board = self.board();
                let jobs = claimed.into_iter().map(|delivery| Job { delivery, content: None });
                refused.extend(jobs.filter_map(|job| board.push(job).err()).map(|job| *job));
            }
            self.give_back(&refused);
            if last || !refused.is_empty() {
                break;
            }
        }
        match self.deps.store.next_due().await {
            // Due but not claimed: its destination is busy, and says so when it no longer is.
            Ok(due) => self.due_at(due.map(|due| due.max(now + BREATHE)), false),
            Err(fault) => {
                tracing::error!(blame = "us", "the queue cannot be read: {fault}");
                self.due_at(Some(now + BREATHE), false);
            }
        }
    }

    /// Something is due at `at`; `now`: something is due now.
    fn due_at(&self, at: Option<Timestamp>, now: bool) {
        let earlier = {
            let mut agenda = self.agenda();
            let earlier = at.filter(|at| agenda.due.is_none_or(|due| *at < due));
            agenda.due = earlier.or(agenda.due);
            agenda.ask |= now;
            earlier.is_some() || now
        };
        if earlier {
            self.bell.notify_one();
        }
    }

    fn next_look(&self) -> Instant {
        let now = self.deps.clock.now();
        let agenda = self.agenda();
        let wait = match agenda.due {
            _ if agenda.ask => Duration::ZERO,
            Some(due) => due.since(now).min(LOOK),
            None => LOOK,
        };
        let look = Instant::now() + wait;
        agenda.rests().map_or(look, |end| look.max(end))
    }

    fn give_back(&self, jobs: &[Job]) {
        jobs.iter().for_each(|job| self.deps.store.release(job.delivery.id));
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(blame = "us", "a delivery worker ended: {error}");
    }
}
