//! What is waiting, for whom, and who works on it: the queue in memory, destination by destination.
//!
//! Pure bookkeeping under one lock: never waits, never sends. A *destination* is a list of next hops; routes that share
//! the list share its limits. A slow or dead destination fills its own quota and nobody else's.
//! Proof: `tests/delivery/destinations.rs`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use vouchsafe_config::Settings;
use vouchsafe_core::outcome::RouteMemory;
use vouchsafe_core::ports::Delivery;
use vouchsafe_core::{Endpoint, RouteKey};
use vouchsafe_smtp::Tick;

/// Deliveries fresh from reception that wait in memory, in all and for one destination.
const OFFERED: usize = 1024;
const OFFERED_HERE: usize = 512;
/// Octets of content that wait with them.
const OFFERED_OCTETS: usize = 16 * 1024 * 1024;
/// Claimed deliveries that wait, in all and for one destination. They hold no content.
const CLAIMED: usize = 2048;
const CLAIMED_HERE: usize = 128;
/// Back-off of a next hop after its first failure; doubles to [`LONGEST_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// Deliveries after which a destination that was crowded is tried with twice the connections.
const LESS_CROWDED: usize = 100;

/// A claimed delivery on its way.
pub(super) struct Job {
    pub delivery: Delivery,
    /// Head and body, where they are still in memory.
    pub content: Option<(Bytes, Bytes)>,
}

impl Job {
    fn octets(&self) -> usize {
        self.content.as_ref().map_or(0, |(head, body)| head.len() + body.len())
    }
}

/// Names a destination as long as somebody works for it.
pub(super) type DestinationId = u64;

/// What a worker does next.
pub(super) enum Next {
    Job(Box<Job>),
    /// Nothing now; the bell rings when there is.
    Wait(Arc<Notify>),
    Leave,
}

/// A next hop's state of health.
#[derive(Clone, Default)]
struct Health {
    /// The last session was opened.
    proven: bool,
    failures: u32,
    until: Tick,
    words: String,
}

#[derive(Default)]
struct Destination {
    hops: Arc<Vec<Endpoint>>,
    health: Vec<Health>,
    queue: VecDeque<Job>,
    offered: usize,
    claimed: usize,
    workers: usize,
    idle: usize,
    active: usize,
    connected: usize,
    /// Connections being opened.
    opening: usize,
    /// Connections it takes, learned from its refusals; `None`: as many as the settings say.
    crowded: Option<usize>,
    deliveries: usize,
    /// More may be due for it in the store than it had room for.
    held_back: bool,
    memory: RouteMemory,
    bell: Arc<Notify>,
}

/// The whole of it.
pub(super) struct Board {
    settings: Arc<Settings>,
    routes: HashMap<RouteKey, DestinationId>,
    destinations: BTreeMap<DestinationId, Destination>,
    last_id: DestinationId,
    active: usize,
    offered: usize,
    claimed: usize,
    octets: usize,
    /// `run` is at work and takes jobs.
    pub open: bool,
    /// More may be due in the store than was claimed.
    pub more: bool,
}

impl Board {
    pub fn new(settings: Arc<Settings>) -> Board {
        Board {
            settings,
            routes: HashMap::new(),
            destinations: BTreeMap::new(),
            last_id: 0,
            active: 0,
            offered: 0,
            claimed: 0,
            octets: 0,
            open: false,
            more: true,
        }
    }

    /// Follows a change of settings: what waits is sorted anew. Returns what nobody has room for now.
    pub fn refresh(&mut self, settings: &Arc<Settings>) -> Vec<Job> {
        if Arc::ptr_eq(&self.settings, settings) {
            return Vec::new();
        }
        self.settings = settings.clone();
        self.routes.clear();
        let waiting = self.drain();
        self.destinations.retain(|_, destination| destination.workers > 0);
        waiting.into_iter().filter_map(|job| self.push(job).err()).map(|job| *job).collect()
    }

    /// Room for a delivery fresh from reception. If there is none, it will be found in the store.
    pub fn has_room(&mut self) -> bool {
        let room = self.open && self.offered < OFFERED && self.octets < OFFERED_OCTETS;
        self.more |= !room;
        room
    }

    /// Room for so many claims at once.
    pub fn room_for_claims(&self) -> usize {
        CLAIMED.saturating_sub(self.claimed).min(CLAIMED_HERE / 2)
    }

    /// Routes for which nothing more is claimed now.
    pub fn busy(&mut self) -> Vec<RouteKey> {
        for destination in self.destinations.values_mut() {
            destination.held_back = destination.claimed > CLAIMED_HERE / 2;
        }
        let full = |id| self.destinations.get(id).is_some_and(|d| d.held_back);
        self.routes.iter().filter(|(_, id)| full(id)).map(|(route, _)| route.clone()).collect()
    }

    /// Puts a job into its destination's queue; gives it back if that is full. True if a new worker is wanted.
    pub fn push(&mut self, job: Job) -> Result<bool, Box<Job>> {
        let id = self.destination_of(&job.delivery.route);
        let destination = self.destinations.entry(id).or_default();
        let (here, most) = match job.content {
            Some(_) => (destination.offered, OFFERED_HERE),
            None => (destination.claimed, CLAIMED_HERE),
        };
        if !self.open || here >= most {
            destination.held_back = true;
            return Err(Box::new(job));
        }
        self.enter(id, job, false);
        Ok(self.destinations.get(&id).is_some_and(|destination| self.more_workers(destination) > 0))
    }

    /// Puts a job back in front, because it could not be begun.
    pub fn put_back(&mut self, job: Job) {
        let id = self.destination_of(&job.delivery.route);
        self.enter(id, job, true);
    }

    fn enter(&mut self, id: DestinationId, job: Job, front: bool) {
        let Some(destination) = self.destinations.get_mut(&id) else { return };
        self.octets += job.octets();
        match job.content {
            Some(_) => (self.offered, destination.offered) = (self.offered + 1, destination.offered + 1),
            None => (self.claimed, destination.claimed) = (self.claimed + 1, destination.claimed + 1),
        }
        match front {
            true => destination.queue.push_front(job),
            false => destination.queue.push_back(job),
        }
        if destination.idle > 0 {
            destination.bell.notify_one();
        }
    }

    fn leave(&mut self, id: DestinationId) -> Option<Job> {
        let destination = self.destinations.get_mut(&id)?;
        let job = destination.queue.pop_front()?;
        self.octets -= job.octets();
        match job.content {
            Some(_) => (self.offered, destination.offered) = (self.offered - 1, destination.offered - 1),
            None => (self.claimed, destination.claimed) = (self.claimed - 1, destination.claimed - 1),
        }
        Some(job)
    }

    /// Takes everything that waits.
    pub fn drain(&mut self) -> Vec<Job> {
        let ids: Vec<DestinationId> = self.destinations.keys().copied().collect();
        ids.into_iter().flat_map(|id| std::iter::from_fn(|| self.leave(id)).collect::<Vec<_>>()).collect()
    }

    fn destination_of(&mut self, route: &RouteKey) -> DestinationId {
        if let Some(id) = self.routes.get(route) {
            return *id;
        }
        let hops = match route {
            RouteKey::Relay => self.settings.relay.next_hop.clone(),
            RouteKey::Domain(name) => {
                self.settings.domain(name).map(|domain| domain.next_hop.clone()).unwrap_or_default()
            }
        };
        let same = self.destinations.iter().find(|(_, known)| *known.hops == hops).map(|(id, _)| *id);
        let id = same.unwrap_or_else(|| {
            self.last_id += 1;
            let health = vec![Health::default(); hops.len()];
            let new = Destination { hops: Arc::new(hops), health, ..Destination::default() };
            self.destinations.insert(self.last_id, new);
            self.last_id
        });
        self.routes.insert(route.clone(), id);
        id
    }

    /// Workers a destination may have: all it is allowed, what it took when it was crowded, one until a session was
    /// opened: a next hop that never answers holds one place, not all of them.
    fn most_workers(&self, destination: &Destination) -> usize {
        let allowed = self.settings.limits.deliveries_per_destination.min(self.settings.limits.deliveries);
        let proven = destination.health.iter().any(|hop| hop.proven);
        let most = if proven { destination.crowded.unwrap_or(allowed).min(allowed) } else { 1 };
        most.max(1)
    }

    /// Workers that would help. Those without a job, waiting or just woken, look into the queue by themselves.
    fn more_workers(&self, destination: &Destination) -> usize {
        let free = destination.workers.saturating_sub(destination.active);
        let room = self.most_workers(destination).saturating_sub(destination.workers);
        destination.queue.len().saturating_sub(free).min(room)
    }

    /// Destinations that want another worker; they count as having it.
    pub fn wanted(&mut self) -> Vec<DestinationId> {
        let mut wanted = Vec::new();
        let ids: Vec<DestinationId> = self.destinations.keys().copied().collect();
        for id in ids {
            let Some(destination) = self.destinations.get(&id) else { continue };
            let new = self.more_workers(destination);
            wanted.extend(std::iter::repeat_n(id, new));
            if let Some(destination) = self.destinations.get_mut(&id) {
                destination.workers += new;
            }
        }
        wanted
    }

    /// A worker asks. A job counts as active until [`done`](Self::done); who is told to leave counts no longer.
    pub fn next(&mut self, id: DestinationId) -> Next {
        let Some(destination) = self.destinations.get(&id) else { return Next::Leave };
        let unused = destination.queue.is_empty() && !self.routes.values().any(|used| *used == id);
        if !self.open || unused || destination.workers > self.most_workers(destination) {
            self.gone(id);
            return Next::Leave;
        }
        // The places of all destinations together are shared evenly among those that have work.
        let working = self.destinations.values().filter(|d| d.active > 0 || !d.queue.is_empty()).count();
        let share = (self.settings.limits.deliveries / working.max(1)).max(1);
        let may = destination.active < share && !self.at_limit();
        let job = may.then(|| self.leave(id)).flatten();
        let Some(destination) = self.destinations.get_mut(&id) else { return Next::Leave };
        match job {
            Some(job) => {
                destination.active += 1;
                self.active += 1;
                Next::Job(Box::new(job))
            }
            None => {
                // From here on a push rings the bell, which keeps one ring for who does not listen yet.
                destination.idle += 1;
                Next::Wait(destination.bell.clone())
            }
        }
    }

    /// No further delivery may begin, whatever its destination.
    pub fn at_limit(&self) -> bool {
        self.active >= self.settings.limits.deliveries.max(1)
    }

    /// A job is over. True if the store should be asked for more.
    pub fn done(&mut self, id: DestinationId) -> bool {
        let was_at_limit = self.at_limit();
        self.active = self.active.saturating_sub(1);
        if was_at_limit {
            self.destinations.values().filter(|d| d.idle > 0 && !d.queue.is_empty()).for_each(|d| {
                d.bell.notify_one();
            });
        }
        let Some(destination) = self.destinations.get_mut(&id) else { return false };
        destination.active = destination.active.saturating_sub(1);
        destination.deliveries += 1;
        if destination.deliveries.is_multiple_of(LESS_CROWDED) {
            destination.crowded = destination.crowded.map(|most| most * 2);
        }
        let room = destination.claimed <= CLAIMED_HERE / 2;
        let ask = room && (destination.held_back || self.more);
        if ask {
            (destination.held_back, self.more) = (false, false);
        }
        ask
    }

    /// A worker waits for the bell no longer.
    pub fn awake(&mut self, id: DestinationId) {
        if let Some(destination) = self.destinations.get_mut(&id) {
            destination.idle = destination.idle.saturating_sub(1);
        }
    }

    /// A worker has waited long enough. False if there is work after all; else it counts no longer.
    pub fn retire(&mut self, id: DestinationId) -> bool {
        let busy = self.destinations.get(&id).is_some_and(|destination| !destination.queue.is_empty());
        if !busy {
            self.gone(id);
        }
        !busy
    }

    /// A worker has gone.
    pub fn gone(&mut self, id: DestinationId) {
        if let Some(destination) = self.destinations.get_mut(&id) {
            destination.workers = destination.workers.saturating_sub(1);
        }
    }

    /// The next hops to try now, in order, without those in back-off and those in `skip`. A hop that failed before is
    /// given to one worker only until that one knows more.
    pub fn hops(&self, id: DestinationId, skip: &[usize], now: Tick) -> Vec<(usize, Endpoint)> {
        let Some(destination) = self.destinations.get(&id) else { return Vec::new() };
        let usable = |n: &usize| !skip.contains(n) && destination.health[*n].until <= now;
        (0..destination.hops.len()).filter(usable).map(|n| (n, destination.hops[n].clone())).collect()
    }

    /// Why no next hop can be tried, and for how long.
    pub fn why_down(&self, id: DestinationId, now: Tick) -> (String, Duration) {
        let health = self.destinations.get(&id).map_or(&[][..], |destination| &destination.health);
        match health.iter().min_by_key(|hop| hop.until) {
            None => ("no next hop is set for it".to_owned(), Duration::ZERO),
            Some(first) => (first.words.clone(), first.until.since(now)),
        }
    }

    /// Ends every back-off: somebody who may know better wants the next hops tried now.
    pub fn end_back_offs(&mut self) {
        self.destinations
            .values_mut()
            .flat_map(|d| &mut d.health)
            .for_each(|hop| hop.until = Tick::default());
    }

    /// A next hop is about to be tried: one that failed before is left alone by the others meanwhile. Ends with
    /// [`reached`](Self::reached) or [`missed`](Self::missed).
    pub fn trying(&mut self, id: DestinationId, hop: usize, now: Tick) {
        let Some(destination) = self.destinations.get_mut(&id) else { return };
        destination.opening += 1;
        if let Some(health) = destination.health.get_mut(hop).filter(|health| health.failures > 0) {
            health.until = now + back_off(health.failures);
        }
    }

    /// A session was opened: it stands until [`disconnected`](Self::disconnected). True if more workers would help.
    pub fn reached(&mut self, id: DestinationId, hop: usize) -> bool {
        let Some(destination) = self.destinations.get_mut(&id) else { return false };
        destination.opening = destination.opening.saturating_sub(1);
        destination.connected += 1;
        if let Some(health) = destination.health.get_mut(hop) {
            *health = Health { proven: true, ..Health::default() };
        }
        self.destinations.get(&id).is_some_and(|destination| self.more_workers(destination) > 0)
    }

    /// No session could be opened. True if others stand or are on their way and `crowd` says that this may be why:
    /// then the destination takes no more of them, and nothing is wrong with it.
    pub fn missed(&mut self, id: DestinationId, hop: usize, now: Tick, words: &str, crowd: bool) -> bool {
        let Some(destination) = self.destinations.get_mut(&id) else { return false };
        destination.opening = destination.opening.saturating_sub(1);
        let others = destination.connected + destination.opening;
        if crowd && others > 0 {
            destination.crowded = Some(others);
            return true;
        }
        destination.crowded = None;
        if let Some(health) = destination.health.get_mut(hop) {
            health.proven = false;
            health.failures += 1;
            health.until = now + back_off(health.failures);
            health.words = words.to_owned();
        }
        false
    }

    /// A session has gone.
    pub fn disconnected(&mut self, id: DestinationId) {
        if let Some(destination) = self.destinations.get_mut(&id) {
            destination.connected = destination.connected.saturating_sub(1);
        }
    }

    /// The memory of the route's refusals.
    pub fn memory(&mut self, id: DestinationId) -> &mut RouteMemory {
        &mut self.destinations.entry(id).or_default().memory
    }
}

fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(LONGEST_BACK_OFF)
}
