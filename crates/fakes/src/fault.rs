//! Faults on order: at which point of a dialogue a fake does something else than a well-behaved server.
//! Data only; the sessions look here before they answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A point of the dialogue: the fake is about to answer this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The connection: what stands in place of the banner.
    Banner,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS; a reply given here means no handshake.
    StartTls,
    /// AUTH, before any mechanism is looked at.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// The DATA command.
    Data,
    /// The body, after its first octets.
    Body,
    /// The final dot: the message has been read, and is kept only if no fault hits here.
    Dot,
    /// The final dot again: the message is kept, but the reply goes wrong. A duplicate is then expected.
    Reply,
    /// RSET.
    Rset,
}

/// What is done instead of the proper answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This reply (code and text, lines parted by `\n`), and the session goes on.
    Reply(String),
    /// This reply, then the connection is closed.
    ReplyAndClose(String),
    /// These very octets, and the session goes on.
    Octets(Vec<u8>),
    /// The connection is cut without a word.
    Cut,
    /// No answer ever; ends when the peer goes.
    Hang,
}

/// One fault: where, what, and how often.
#[derive(Clone, Debug)]
pub struct Fault {
    point: Point,
    action: Action,
    every: u64,
    times: u64,
    seen: Arc<AtomicU64>,
    hits: Arc<AtomicU64>,
}

impl Fault {
    /// At each passing of `point`.
    pub fn at(point: Point, action: Action) -> Fault {
        Fault {
            point,
            action,
            every: 1,
            times: u64::MAX,
            seen: Arc::new(AtomicU64::new(0)),
            hits: Arc::new(AtomicU64::new(0)),
        }
    }
    /// Only at every n-th passing (1: each one), counted over all sessions.
    pub fn every(mut self, nth: u64) -> Fault {
        self.every = nth.max(1);
        self
    }
    /// At most this often, then never again.
    pub fn times(mut self, times: u64) -> Fault {
        self.times = times;
        self
    }
    /// How often it has hit. Clones count together, so one kept by the test tells what those in a behaviour did.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed).min(self.times)
    }
    /// What to do at `point` now, if this fault is due.
    pub(crate) fn due(&self, point: Point) -> Option<&Action> {
        if point != self.point {
            return None;
        }
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if !seen.is_multiple_of(self.every) || self.hits.fetch_add(1, Ordering::Relaxed) >= self.times {
            return None;
        }
        Some(&self.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_third_time_but_twice_at_most() {
        let fault = Fault::at(Point::Dot, Action::Cut).every(3).times(2);
        let hits: Vec<usize> = (1..=12).filter(|_| fault.due(Point::Dot).is_some()).collect();
        assert_eq!(hits, [3, 6]);
        assert_eq!(fault.clone().hits(), 2);
        assert_eq!(fault.due(Point::Mail), None);
    }
}
