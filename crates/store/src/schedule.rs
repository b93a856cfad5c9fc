//! What is due when, and who has claimed it: the part of the queue that is asked all the time, in memory.
//!
//! Never touches a disk and never knows recipients. A claim is a fact of this process: the lock on the data
//! directory makes it the only one, and a restart voids all claims. About 100 octets a delivery.

use std::collections::{BTreeSet, HashMap};

use vouchsafe_core::{RouteKey, Timestamp};

/// Deliveries by route and due time, with their claims.
#[derive(Default)]
pub struct Schedule {
    routes: Vec<Route>,
    numbers: HashMap<RouteKey, u32>,
    entries: HashMap<i64, Entry>,
    /// Number of the route that is served first by the next claim.
    cursor: usize,
    /// Entries that are pending and not gone.
    pending: u64,
}

struct Route {
    key: RouteKey,
    /// Unclaimed deliveries with a pending recipient.
    waiting: BTreeSet<(Timestamp, i64)>,
}

struct Entry {
    due: Timestamp,
    route: u32,
    /// Has a pending recipient; without one it is never due.
    pending: bool,
    claimed: bool,
    /// Deleted by hand while claimed: the end of the claim changes nothing any more.
    gone: bool,
}

impl Schedule {
    /// A delivery has been made durable.
    pub fn insert(&mut self, id: i64, route: &RouteKey, due: Timestamp, pending: bool, claimed: bool) {
        let route = self.number(route);
        self.entries.insert(id, Entry { due, route, pending, claimed, gone: false });
        self.pending += u64::from(pending);
        self.place(id);
    }

    /// A delivery has changed: a new due time, and whether a recipient is pending.
    pub fn set(&mut self, id: i64, due: Timestamp, pending: bool) {
        self.lift(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            self.pending = self.pending + u64::from(pending) - u64::from(entry.pending);
            entry.due = due;
            entry.pending = pending;
        }
        self.place(id);
    }

    /// A delivery has left the queue. If it is claimed, the claim is remembered as void until it ends.
    pub fn forget(&mut self, id: i64) {
        self.lift(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.pending -= u64::from(entry.pending);
        entry.pending = false;
        entry.gone = true;
        if !entry.claimed {
            self.entries.remove(&id);
        }
    }

    /// A claim has ended.
    pub fn unclaim(&mut self, id: i64) {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.gone => {
                self.entries.remove(&id);
            }
            Some(entry) => {
                entry.claimed = false;
                self.place(id);
            }
            None => {}
        }
    }

    /// True while somebody tries it.
    pub fn is_claimed(&self, id: i64) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.claimed)
    }

    /// True if it was deleted by hand while claimed.
    pub fn is_gone(&self, id: i64) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.gone)
    }

    /// Deliveries with a pending recipient.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Claims up to `max` deliveries that are due, one of each route in turn, none of `busy` routes.
    pub fn claim(&mut self, now: Timestamp, max: usize, busy: &[RouteKey]) -> Vec<i64> {
        let count = self.routes.len();
        let mut ring: Vec<usize> = (0..count)
            .map(|step| (self.cursor + step) % count)
            .filter(|&number| !busy.contains(&self.routes[number].key))
            .collect();
        let mut claimed = Vec::new();
        while !ring.is_empty() {
            let mut served = Vec::with_capacity(ring.len());
            for number in ring {
                if claimed.len() == max {
                    return claimed;
                }
                let waiting = &mut self.routes[number].waiting;
                if waiting.first().is_none_or(|&(due, _)| due > now) {
                    continue;
                }
                let Some((_, id)) = waiting.pop_first() else { continue };
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.claimed = true;
                }
                claimed.push(id);
                self.cursor = (number + 1) % count;
                served.push(number);
            }
            ring = served;
        }
        claimed
    }

    /// Claims all of these, due or not, pending or held; none if one of them is claimed already.
    pub fn claim_all(&mut self, ids: &[i64]) -> bool {
        if ids.iter().any(|id| self.is_claimed(*id)) {
            return false;
        }
        for id in ids {
            self.lift(*id);
            if let Some(entry) = self.entries.get_mut(id) {
                entry.claimed = true;
            }
        }
        true
    }

    /// When the next unclaimed pending delivery is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.routes.iter().filter_map(|route| route.waiting.first().map(|&(due, _)| due)).min()
    }

    fn number(&mut self, key: &RouteKey) -> u32 {
        if let Some(&number) = self.numbers.get(key) {
            return number;
        }
        let number = u32::try_from(self.routes.len()).expect("fewer routes than 2^32");
        self.routes.push(Route { key: key.clone(), waiting: BTreeSet::new() });
        self.numbers.insert(key.clone(), number);
        number
    }

    fn lift(&mut self, id: i64) {
        if let Some(entry) = self.entries.get(&id) {
            self.routes[entry.route as usize].waiting.remove(&(entry.due, id));
        }
    }

    fn place(&mut self, id: i64) {
        if let Some(entry) = self.entries.get(&id).filter(|entry| entry.pending && !entry.claimed) {
            self.routes[entry.route as usize].waiting.insert((entry.due, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> RouteKey {
        RouteKey::Domain(name.to_owned())
    }

    #[test]
    fn routes_take_turns_across_claims() {
        let mut schedule = Schedule::default();
        for id in 0..10 {
            schedule.insert(id, &RouteKey::Relay, Timestamp(id), true, false);
        }
        schedule.insert(10, &domain("a"), Timestamp(50), true, false);
        schedule.insert(11, &domain("a"), Timestamp(51), true, false);
        let mut order = Vec::new();
        for _ in 0..4 {
            order.extend(schedule.claim(Timestamp(100), 1, &[]));
        }
        assert_eq!(order, [0, 10, 1, 11]);
        assert_eq!(schedule.claim(Timestamp(100), 2, &[RouteKey::Relay]), Vec::<i64>::new());
    }

    #[test]
    fn a_delivery_deleted_while_claimed_is_forgotten_when_the_claim_ends() {
        let mut schedule = Schedule::default();
        schedule.insert(1, &RouteKey::Relay, Timestamp(0), true, true);
        schedule.forget(1);
        assert!(schedule.is_gone(1));
        schedule.unclaim(1);
        assert!(!schedule.is_gone(1) && schedule.next_due().is_none());
    }
}
