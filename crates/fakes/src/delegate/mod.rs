//! The stand-in delegate: knows users and recipients, answers as the products of FACTS do, never takes a message.
//!
//! DATA is a violation that it counts: an `assert_eq!(counters.data_commands, 0)` proves that the gateway keeps
//! its word. Proof of the fake itself: the tests beside it.

mod auth;
mod behaviour;
mod directory;
mod limit;
mod products;
mod session;
mod sources;
#[cfg(test)]
mod tests;
mod wording;

pub use behaviour::{Behaviour, Counters, Junk, RefuseAt};
pub use limit::Limit;
pub use products::{PRODUCTS, SITES, Site, SwitchedOff};
pub use sources::Budget;
pub use wording::Wording;

use crate::dialogue::Line;
use crate::host::{DIALOGUE, Host};
use crate::serve::Peer;
use crate::session::serve;
use session::Asked;
use std::net::IpAddr;
use std::sync::Arc;
use vouchsafe_core::ports::BoxFuture;
use vouchsafe_net::stream::BoxStream;

/// A delegate; clones are the same one.
#[derive(Clone)]
pub struct Delegate {
    host: Arc<Host<Behaviour, Counters>>,
}

impl Delegate {
    /// A delegate that keeps the newest 10,000 lines of its dialogue.
    pub fn new(behaviour: Behaviour) -> Delegate {
        Delegate { host: Arc::new(Host::new(behaviour, DIALOGUE)) }
    }
    /// A delegate that keeps no dialogue: for load.
    pub fn quiet(behaviour: Behaviour) -> Delegate {
        Delegate { host: Arc::new(Host::new(behaviour, 0)) }
    }
    /// The delegate of the demo: knows `alice@example.com`, password `correct horse`, and `bob@example.com`.
    pub fn demo() -> Delegate {
        Delegate::knowing_all(Behaviour::new("delegate.example"))
    }
    /// The delegates of a site, that for logins first; they know whom that of the demo knows.
    pub fn at(site: &Site) -> Vec<Delegate> {
        site.behaviours("delegate.example").into_iter().map(Delegate::knowing_all).collect()
    }
    fn knowing_all(behaviour: Behaviour) -> Delegate {
        Delegate::new(
            behaviour
                .user("alice@example.com", "correct horse")
                .recipient("alice@example.com")
                .recipient("bob@example.com"),
        )
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
    /// What was said, oldest first.
    pub fn dialogue(&self) -> Vec<Line> {
        self.host.dialogue()
    }
    /// Forgets what was said.
    pub fn clear_dialogue(&self) {
        self.host.clear_dialogue();
    }
}

impl Peer for Delegate {
    fn session(&self, stream: BoxStream, source: IpAddr) -> BoxFuture<'static, ()> {
        Box::pin(serve(self.host.clone(), stream, source, Asked::by(source)))
    }
    fn is_down(&self) -> bool {
        self.host.is_down()
    }
}
