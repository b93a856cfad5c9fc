//! The ports of `vouchsafe_core`, kept in memory ([`memory`]).
//!
//! Never speaks SMTP, never decides about mail, has no clock.

pub mod memory;
mod queue;
mod schedule;
mod space;

use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::Delivery;

/// Largest chunk that a body reader gives out.
const CHUNK: usize = 256 * 1024;

/// `limit` of a filter; 0 means 1,000.
fn limit_of(limit: usize) -> usize {
    if limit == 0 { 1_000 } else { limit }
}

/// Deliveries on their way to the caller. If the caller has gone, they are given back when this is dropped, so that
/// a cancelled future never leaves a claim behind.
struct Claims<R: Fn(i64)> {
    deliveries: Vec<Delivery>,
    give_back: R,
}

impl<R: Fn(i64)> Claims<R> {
    fn new(deliveries: Vec<Delivery>, give_back: R) -> Claims<R> {
        Claims { deliveries, give_back }
    }
    /// The caller is here: the claims are its own now.
    fn take(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl<R: Fn(i64)> Drop for Claims<R> {
    fn drop(&mut self) {
        for delivery in &self.deliveries {
            (self.give_back)(delivery.id);
        }
    }
}

/// True if `due` lies at or before `now`.
fn is_due(due: Timestamp, now: Timestamp) -> bool {
    due <= now
}
