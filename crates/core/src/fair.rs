//! Who is served next, and how many places (sessions at a delegate) a client network may hold.
//!
//! Each network has a lane of its own, and places go round between lanes. A *new* network holds half of them until one of
//! its questions was answered with yes (one place alone would be lost to a single question that hangs); a *suspect*, whose questions are mostly refused, shares a quarter of the places with
//! all other suspects. Where refusals come late (a tarpit), some places are left to those who wait for none: new
//! networks leave a quarter, a single network leaves one, and the questions of two networks share no batch, so that
//! nobody waits behind somebody else's refusals. Pure: never waits, and knows no delegate.
//! Proof: the tests below, `crates/gateway/tests/places.rs`.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vouchsafe_smtp::Tick;

use crate::bounded::Bounded;
use crate::guard::network_of;

/// Questions that wait, of all networks.
const WAITING: usize = 10_000;
/// Of one network that was answered yes before.
const WAITING_PROVEN: usize = 5_000;
/// Of one that was not.
const WAITING_NEW: usize = 1_000;
/// Of a suspect: at a tarpit they would outlive whoever asked.
const WAITING_SUSPECT: usize = 20;
/// Networks remembered.
const KNOWN: usize = 100_000;
/// A refusal weighs this much, a yes takes one off.
const REFUSAL: u32 = 2;
/// From here on a network is a suspect.
const SUSPECT: u32 = 6;
/// No weight grows beyond this.
const HEAVIEST: u32 = 20;
/// One is taken off in this time.
const LIGHTER: Duration = Duration::from_secs(30);

/// The network that asks (/24, /64); `None`: ourselves and whom we trust.
pub type Network = Option<IpNet>;

/// The network of a client.
pub fn network(client: Option<IpAddr>) -> Network {
    client.map(network_of)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Proven,
    New,
    Suspect,
}

/// How many there are, and what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// At most so many batches at once.
    pub most: usize,
    /// Refusals come late.
    pub slow: bool,
}

impl Places {
    /// For all networks of a class.
    fn of_class(self, class: Class) -> usize {
        let quarter = (self.most / 4).max(1);
        match class {
            Class::Suspect => quarter,
            Class::New if self.slow => self.most.saturating_sub(quarter).max(1),
            Class::New | Class::Proven => self.most,
        }
    }
    /// For one network of it.
    fn of_one(self, class: Class) -> usize {
        match class {
            Class::New => (self.most / 2).max(1),
            Class::Proven if self.slow => (self.most - 1).max(1),
            class => self.of_class(class),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    proven: bool,
    weight: u32,
    at: Tick,
}

impl Standing {
    fn weight(&self, now: Tick) -> u32 {
        let lighter = now.since(self.at).as_micros() / LIGHTER.as_micros();
        self.weight.saturating_sub(u32::try_from(lighter).unwrap_or(u32::MAX))
    }
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    held: usize,
    class: Class,
    /// Of its entry in a ring; an entry with another number is an old one.
    ticket: u64,
}

/// What is to be asked at once, and who holds the place for it.
#[derive(Debug)]
pub struct Batch<T> {
    /// The questions.
    pub items: Vec<T>,
    /// To be given back with [`Fair::done`].
    pub held: Held,
}

/// A place that is taken.
#[derive(Debug, Default)]
#[must_use = "a place is given back with Fair::done"]
pub struct Held(Vec<(Network, Class)>);

/// Questions that wait, by network.
#[derive(Debug)]
pub struct Fair<T> {
    lanes: HashMap<Network, Lane<T>>,
    /// Lanes with something waiting, by class, next one first.
    rings: [VecDeque<(Network, u64)>; 3],
    held: [usize; 3],
    standings: Bounded<IpNet, Standing>,
    waiting: usize,
    tickets: u64,
    turn: usize,
}

impl<T> Default for Fair<T> {
    fn default() -> Fair<T> {
        Fair {
            lanes: HashMap::new(),
            rings: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            held: [0; 3],
            standings: Bounded::new(KNOWN),
            waiting: 0,
            tickets: 0,
            turn: 0,
        }
    }
}

impl<T> Fair<T> {
    /// Questions that wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// None waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// No further question of this network is taken.
    pub fn is_full(&self, network: Network, now: Tick) -> bool {
        let waiting = self.lanes.get(&network).map_or(0, |lane| lane.waiting.len());
        let most = match self.class(network, now) {
            Class::Proven => WAITING_PROVEN,
            Class::New => WAITING_NEW,
            Class::Suspect => WAITING_SUSPECT,
        };
        waiting >= most || self.waiting >= WAITING
    }

    /// Takes a question in; ask [`Fair::is_full`] first.
    pub fn push(&mut self, network: Network, item: T, now: Tick) {
        self.lane(network, now).waiting.push_back(item);
        self.pushed(network);
    }

    /// Takes one back that was not answered: it is this network's next one.
    pub fn again(&mut self, network: Network, item: T, now: Tick) {
        self.lane(network, now).waiting.push_front(item);
        self.pushed(network);
    }

    /// Takes out the question of a network that another one of better standing asks too.
    pub fn take_over(
        &mut self,
        from: Network,
        by: Network,
        now: Tick,
        is_it: impl Fn(&T) -> bool,
    ) -> Option<T> {
        if self.class(by, now) >= self.class(from, now) {
            return None;
        }
        let waiting = &mut self.lanes.get_mut(&from)?.waiting;
        let item = waiting.iter().position(is_it).and_then(|at| waiting.remove(at))?;
        self.waiting -= 1;
        self.forget_if_idle(from);
        Some(item)
    }

    /// How many batches of `room` questions could be begun now beside those under way; `most` at the most.
    pub fn ready(&self, room_of_batch: usize, places: Places) -> usize {
        let free = places.most.saturating_sub(self.held.iter().sum());
        let mut ready = 0;
        for class in [Class::Proven, Class::New, Class::Suspect] {
            let room = places.of_class(class).saturating_sub(self.held[class as usize]);
            let mut of_class = 0;
            let mut shared = 0;
            let each = if places.slow { 1 } else { room_of_batch.max(1) };
            for (network, ticket) in &self.rings[class as usize] {
                if of_class >= room.min(free) {
                    break;
                }
                if let Some(lane) = self.lanes.get(network).filter(|lane| lane.ticket == *ticket) {
                    let more = places.of_one(class).saturating_sub(lane.held);
                    of_class += lane.waiting.len().div_ceil(each).min(more);
                    shared += lane.waiting.len();
                }
            }
            // Proven networks share batches where refusals are quick.
            if class == Class::Proven && !places.slow {
                of_class = of_class.min(shared.div_ceil(each));
            }
            ready += of_class.min(room);
        }
        ready.min(free)
    }

    /// The next batch of `room` questions at the most; fairly little where other places could take the rest.
    pub fn take(&mut self, room: usize, places: Places) -> Option<Batch<T>> {
        if self.waiting == 0 {
            return None;
        }
        use Class::{New, Proven, Suspect};
        self.turn = self.turn.wrapping_add(1);
        let order = match self.turn % 4 {
            // Suspects get their turn, but not the only place there is.
            0 if places.most > 1 => [Suspect, New, Proven],
            1 => [New, Proven, Suspect],
            _ => [Proven, New, Suspect],
        };
        let (network, class) = order.into_iter().find_map(|class| {
            let has_room = self.held[class as usize] < places.of_class(class);
            has_room.then(|| self.next(class, places)).flatten().map(|network| (network, class))
        })?;
        // All there is room for, unless one question would wait for the refusals before it.
        let share = if places.slow { self.waiting.div_ceil(places.most.max(1)) } else { self.waiting };
        let lane = self.lanes.get_mut(&network)?;
        let n = match class {
            Proven => share.min(room),
            New => room,
            // Behind its refusals nobody else is to wait for long.
            Suspect if places.most == 1 => 1,
            Suspect => room,
        };
        let n = n.max(1).min(lane.waiting.len());
        let mut items: Vec<T> = lane.waiting.drain(..n).collect();
        let mut held = vec![(network, class)];
        self.hold(network, class);
        self.waiting -= items.len();
        while class == Proven && !places.slow && items.len() < share.min(room) {
            let Some(network) = self.next(Proven, places) else { break };
            let Some(lane) = self.lanes.get_mut(&network) else { break };
            let more = (share.min(room) - items.len()).min(lane.waiting.len());
            items.extend(lane.waiting.drain(..more));
            self.waiting -= more;
            self.requeue(network);
            // One batch holds one place of its class, whoever shares it.
            if !held.iter().any(|(holder, _)| *holder == network) {
                if let Some(lane) = self.lanes.get_mut(&network) {
                    lane.held += 1;
                }
                held.push((network, Proven));
            }
        }
        Some(Batch { items, held: Held(held) })
    }

    /// A batch is over: its place is free.
    pub fn done(&mut self, held: Held) {
        if let Some((_, class)) = held.0.first() {
            self.held[*class as usize] -= 1;
        }
        for (network, _) in held.0 {
            if let Some(lane) = self.lanes.get_mut(&network) {
                lane.held -= 1;
            }
            self.forget_if_idle(network);
        }
    }

    /// A question of this network was answered.
    pub fn answered(&mut self, network: Network, refused: bool, now: Tick) {
        let Some(known) = network else { return };
        let mut standing = self.standings.get_mut(&known).copied().unwrap_or_default();
        let weight = standing.weight(now);
        let weight = if refused { (weight + REFUSAL).min(HEAVIEST) } else { weight.saturating_sub(1) };
        // A yes among many refusals proves nothing.
        let proven = weight < SUSPECT && (standing.proven || !refused);
        standing = Standing { proven, weight, at: now };
        self.standings.insert(known, standing);
        let class = self.class(network, now);
        if self.lanes.get(&network).is_some_and(|lane| lane.class != class) {
            self.lane(network, now);
            self.requeue(network);
        }
    }

    fn class(&self, network: Network, now: Tick) -> Class {
        let Some(network) = network else { return Class::Proven };
        match self.standings.peek(&network) {
            Some(standing) if standing.weight(now) >= SUSPECT => Class::Suspect,
            Some(standing) if standing.proven => Class::Proven,
            _ => Class::New,
        }
    }

    /// The lane of a network, with its class as it is now.
    fn lane(&mut self, network: Network, now: Tick) -> &mut Lane<T> {
        let class = self.class(network, now);
        let lane = self.lanes.entry(network).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            held: 0,
            class,
            ticket: 0,
        });
        if lane.class != class {
            lane.class = class;
            lane.ticket = 0;
        }
        lane
    }

    fn pushed(&mut self, network: Network) {
        self.waiting += 1;
        if self.lanes.get(&network).is_some_and(|lane| lane.ticket == 0) {
            self.requeue(network);
        }
    }

    /// Puts a lane last in the ring of its class, if something waits in it.
    fn requeue(&mut self, network: Network) {
        let Some(lane) = self.lanes.get_mut(&network) else { return };
        lane.ticket = 0;
        if !lane.waiting.is_empty() {
            self.tickets += 1;
            lane.ticket = self.tickets;
            self.rings[lane.class as usize].push_back((network, self.tickets));
        }
    }

    /// The lane of this class whose turn it is: one that holds no more than its share, else one that may hold more.
    /// It leaves the ring.
    fn next(&mut self, class: Class, places: Places) -> Option<Network> {
        let lanes = &self.lanes;
        let ring = &mut self.rings[class as usize];
        let is_old = |entry: &(Network, u64)| lanes.get(&entry.0).is_none_or(|lane| lane.ticket != entry.1);
        while ring.front().is_some_and(is_old) {
            ring.pop_front();
        }
        let share = places.most.div_ceil(ring.len().max(1));
        let most = places.of_one(class);
        let held = |entry: &(Network, u64)| match lanes.get(&entry.0) {
            Some(lane) if lane.ticket == entry.1 => lane.held,
            _ => usize::MAX,
        };
        let at = ring
            .iter()
            .position(|entry| held(entry) < share.min(most))
            .or_else(|| ring.iter().position(|entry| held(entry) < most))?;
        ring.remove(at).map(|(network, _)| network)
    }

    fn hold(&mut self, network: Network, class: Class) {
        self.held[class as usize] += 1;
        if let Some(lane) = self.lanes.get_mut(&network) {
            lane.held += 1;
        }
        self.requeue(network);
    }

    fn forget_if_idle(&mut self, network: Network) {
        if self.lanes.get(&network).is_some_and(|lane| lane.held == 0 && lane.waiting.is_empty()) {
            self.lanes.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Places = Places { most: 4, slow: false };
    const SLOW: Places = Places { most: 4, slow: true };

    fn of(n: u8) -> Network {
        network(Some(IpAddr::from([192, 0, n, 7])))
    }

    fn items<T>(batch: Option<Batch<T>>) -> (Vec<T>, Held) {
        let batch = batch.expect("a batch");
        (batch.items, batch.held)
    }

    fn accepted(fair: &mut Fair<u32>, n: u8) {
        fair.answered(of(n), false, Tick(0));
    }

    fn refused(fair: &mut Fair<u32>, n: u8, times: u32) {
        (0..times).for_each(|_| fair.answered(of(n), true, Tick(0)));
    }

    #[test]
    fn a_new_network_holds_half_the_places_until_it_was_answered_yes() {
        let mut fair = Fair::default();
        (0..15).for_each(|n| fair.push(of(1), n, Tick(0)));
        assert_eq!(fair.ready(4, FAST), 2);
        let (asked, held) = items(fair.take(4, FAST));
        assert_eq!(asked, [0, 1, 2, 3]);
        assert_eq!(items(fair.take(4, FAST)).0, [4, 5, 6, 7]);
        assert!(fair.take(4, FAST).is_none());
        accepted(&mut fair, 1);
        assert_eq!(fair.ready(4, FAST), 2);
        assert_eq!(items(fair.take(4, FAST)).0, [8, 9, 10, 11]);
        fair.done(held);
        assert_eq!((fair.len(), fair.ready(4, FAST)), (3, 1));
    }

    #[test]
    fn suspects_share_a_quarter_and_others_go_on() {
        let mut fair = Fair::default();
        for n in 1..=3 {
            refused(&mut fair, n, 3);
            (0..8).for_each(|item| fair.push(of(n), item, Tick(0)));
        }
        let (_, held) = items(fair.take(4, SLOW));
        assert!(fair.take(4, SLOW).is_none(), "one of four places is theirs");
        fair.push(of(9), 99, Tick(0));
        assert_eq!(items(fair.take(4, SLOW)).0, [99]);
        fair.done(held);
        assert_eq!(fair.ready(4, SLOW), 1);
    }

    #[test]
    fn lanes_take_turns_and_share_no_batch_where_refusals_are_slow() {
        let mut fair = Fair::default();
        for n in 1..=2 {
            accepted(&mut fair, n);
            (0..8).for_each(|item| fair.push(of(n), u32::from(n) * 100 + item, Tick(0)));
        }
        let firsts: Vec<u32> = (0..3).map(|_| items(fair.take(4, SLOW)).0[0] / 100).collect();
        assert_eq!(firsts, [1, 2, 1]);
        let mut fair = Fair::default();
        for n in 1..=4 {
            accepted(&mut fair, n);
            fair.push(of(n), u32::from(n), Tick(0));
        }
        let places = Places { most: 1, slow: false };
        assert_eq!(items(fair.take(4, places)).0, [1, 2, 3, 4]);
    }

    #[test]
    fn one_network_leaves_a_place_where_refusals_are_slow() {
        let mut fair = Fair::default();
        accepted(&mut fair, 1);
        (0..100).for_each(|item| fair.push(of(1), item, Tick(0)));
        let held: Vec<Held> = (0..3).map(|_| items(fair.take(4, SLOW)).1).collect();
        assert!(fair.take(4, SLOW).is_none());
        fair.push(of(2), 1000, Tick(0));
        assert_eq!(items(fair.take(4, SLOW)).0, [1000]);
        held.into_iter().for_each(|held| fair.done(held));
    }

    #[test]
    fn a_suspect_has_little_room_and_is_forgiven_in_time() {
        let mut fair = Fair::default();
        refused(&mut fair, 1, 10);
        (0..WAITING_SUSPECT).for_each(|_| fair.push(of(1), 0, Tick(0)));
        assert!(fair.is_full(of(1), Tick(0)));
        assert!(!fair.is_full(of(2), Tick(0)));
        let later = Tick(0) + LIGHTER * (HEAVIEST - SUSPECT + 1);
        assert!(!fair.is_full(of(1), later));
    }

    #[test]
    fn what_a_suspect_asked_does_not_wait_with_it_when_another_asks_too() {
        let mut fair = Fair::default();
        refused(&mut fair, 1, 3);
        (0..4).for_each(|item| fair.push(of(1), item, Tick(0)));
        assert_eq!(fair.take_over(of(1), of(2), Tick(0), |item| *item == 2), Some(2));
        assert_eq!(fair.take_over(of(2), of(1), Tick(0), |_| true), None);
        assert_eq!(fair.len(), 3);
    }

    #[test]
    fn nothing_is_lost_and_nothing_is_left_behind() {
        let mut fair = Fair::default();
        let mut taken = Vec::new();
        let mut holding = VecDeque::new();
        for round in 0..2000_u32 {
            let n = u8::try_from(round % 7).unwrap();
            fair.push(of(n), round, Tick(0));
            if round % 3 == 0
                && let Some(batch) = fair.take(4, if round % 2 == 0 { FAST } else { SLOW })
            {
                taken.extend(batch.items);
                holding.push_back(batch.held);
            }
            if holding.len() > 2 {
                fair.answered(of(n), round % 5 < 3, Tick(0));
                fair.done(holding.pop_front().unwrap());
            }
        }
        holding.into_iter().for_each(|held| fair.done(held));
        while let Some(batch) = fair.take(4, FAST) {
            taken.extend(batch.items);
            fair.done(batch.held);
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..2000).collect::<Vec<_>>());
        assert!(fair.lanes.is_empty() && fair.held == [0; 3] && fair.is_empty());
    }
}
