//! The ports of `vouchsafe_core`, kept on a disk ([`sqlite`]) or in memory ([`memory`]).
//!
//! Knows SQL, files and checksums; never speaks SMTP, never decides about mail, has no clock. All file access of
//! bodies goes through [`disk`], whose simulated double drops and tears what was not synced.
//! Proof: `tests/store/conformance.rs` (both stores), `tests/store/crash.rs` (every disk call), `tests/store/sqlite.rs`.

pub mod blobs;
pub mod disk;
pub mod memory;
mod queue;
mod schedule;
mod shares;
mod space;
pub mod sqlite;

use vouchsafe_core::ports::Delivery;

/// Largest chunk that a body reader gives out.
const CHUNK: usize = 256 * 1024;

/// `limit` of a filter; 0 means 1,000.
fn limit_of(limit: usize) -> usize {
    if limit == 0 { 1_000 } else { limit }
}

/// Deliveries on their way to the caller. If the caller has gone, they are given back when this is dropped, so that
/// a cancelled future never leaves a claim behind.
struct Claims<G: GiveBack> {
    deliveries: Vec<Delivery>,
    owner: G,
}

/// Takes claims back.
trait GiveBack {
    /// The claim ends untried.
    fn give_back(&self, delivery: i64);
}

impl<G: GiveBack> Claims<G> {
    fn new(deliveries: Vec<Delivery>, owner: G) -> Claims<G> {
        Claims { deliveries, owner }
    }
    /// The caller is here: the claims are its own now.
    fn take(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl<G: GiveBack> Drop for Claims<G> {
    fn drop(&mut self) {
        for delivery in &self.deliveries {
            self.owner.give_back(delivery.id);
        }
    }
}
