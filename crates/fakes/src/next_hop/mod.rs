//! The stand-in next hop: takes mail, keeps or counts it, tells what was lost, doubled or cut, and fails on order.
//!
//! A message may carry `X-Seq: NUMBER`, by which doubled and missing ones are told, and `X-Len: OCTETS` of its body
//! (behind the blank line, without dot stuffing), by which a cut one is told. Proof: the tests beside it.

mod behaviour;
mod mail;
mod session;
#[cfg(test)]
mod tests;

pub use behaviour::{Behaviour, Counters};
pub use mail::Received;

use crate::dialogue::Line;
use crate::host::{DIALOGUE, Host};
use crate::serve::Peer;
use crate::session::serve;
use mail::Mailbox;
use session::Taking;
use std::net::IpAddr;
use std::sync::Arc;
use vouchsafe_core::ports::BoxFuture;
use vouchsafe_net::stream::BoxStream;

/// Messages kept unless asked otherwise.
const KEEP: usize = 10_000;

/// A next hop; clones are the same one.
#[derive(Clone)]
pub struct NextHop {
    host: Arc<Host<Behaviour, Counters>>,
    mailbox: Arc<Mailbox>,
}

impl NextHop {
    /// A next hop that keeps the first 10,000 messages and the newest 10,000 lines of its dialogue.
    pub fn new(behaviour: Behaviour) -> NextHop {
        NextHop { host: Arc::new(Host::new(behaviour, DIALOGUE)), mailbox: Arc::new(Mailbox::new(KEEP)) }
    }
    /// A next hop that only counts: for load.
    pub fn quiet(behaviour: Behaviour) -> NextHop {
        NextHop { host: Arc::new(Host::new(behaviour, 0)), mailbox: Arc::new(Mailbox::new(0)) }
    }
    /// The next hop of the demo: takes everything.
    pub fn demo() -> NextHop {
        NextHop::new(Behaviour::new("nexthop.example"))
    }
    /// Changes the behaviour; running sessions follow at their next command.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        self.host.change(change);
    }
    /// Takes the host down: connections are refused, running ones cut. Or brings it back.
    pub fn set_down(&self, down: bool) {
        self.host.set_down(down);
    }
    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.host.counters()
    }
    /// Waits until the counters are so, and gives them. Cancel safe: put a time-out around it.
    pub async fn wait(&self, until: impl FnMut(&Counters) -> bool) -> Counters {
        self.host.wait(until).await
    }
    /// The messages kept, in order of arrival.
    pub fn messages(&self) -> Vec<Received> {
        self.mailbox.messages()
    }
    /// Which `X-Seq` numbers below `upto` have never arrived.
    pub fn missing(&self, upto: u64) -> Vec<u64> {
        self.mailbox.missing(upto)
    }
    /// What was said, oldest first.
    pub fn dialogue(&self) -> Vec<Line> {
        self.host.dialogue()
    }
    /// Forgets messages and dialogue; the counters stay.
    pub fn clear(&self) {
        self.host.clear_dialogue();
        self.mailbox.clear();
    }
}

impl Peer for NextHop {
    fn session(&self, stream: BoxStream, source: IpAddr) -> BoxFuture<'static, ()> {
        Box::pin(serve(self.host.clone(), stream, source, Taking::into(self.mailbox.clone())))
    }
    fn is_down(&self) -> bool {
        self.host.is_down()
    }
}
