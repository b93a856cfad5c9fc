//! Live dialogues for `vouchsafe trace`: masked where they are made, printed in transcript form, kept nowhere.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::Clock;
use vouchsafe_net::client::TraceSink;

/// Lines a slow reader may lag behind before it misses some.
const BACKLOG: usize = 1024;

/// One line of one dialogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TraceLine")]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Session or attempt id, the one in the log.
    pub session: String,
    /// The peer: client address, delegate or next hop.
    pub peer: String,
    /// `C:`, `S:` client and we; `D>`, `D<` we and the delegate; `N>`, `N<` we and the next hop; `!:` an event.
    pub mark: String,
    /// The text, printable, secrets masked.
    pub text: String,
}

impl Line {
    /// Whether session, peer or text contain this.
    pub fn contains(&self, text: &str) -> bool {
        [&self.session, &self.peer, &self.text].iter().any(|part| part.contains(text))
    }
}

/// Where lines go; costs nothing while nobody listens.
#[derive(Clone)]
pub struct Hub {
    lines: broadcast::Sender<Line>,
    clock: Arc<dyn Clock>,
}

impl Hub {
    /// A hub without listeners.
    pub fn new(clock: Arc<dyn Clock>) -> Hub {
        Hub { lines: broadcast::Sender::new(BACKLOG), clock }
    }
    /// Whether anybody listens.
    pub fn active(&self) -> bool {
        self.lines.receiver_count() > 0
    }
    /// Listens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Line> {
        self.lines.subscribe()
    }
    /// Publishes a line.
    pub fn say(&self, session: &str, peer: &str, mark: &str, text: &str) {
        if self.active() {
            let _ = self.lines.send(Line {
                at: self.clock.now(),
                session: session.to_owned(),
                peer: peer.to_owned(),
                mark: mark.to_owned(),
                text: text.to_owned(),
            });
        }
    }
    /// A sink for the client driver; `kind` is `D` or `N`. `None` while nobody listens.
    pub fn sink(&self, session: &str, peer: &str, kind: char) -> TraceSink {
        if !self.active() {
            return None;
        }
        let (hub, session, peer) = (self.clone(), session.to_owned(), peer.to_owned());
        Some(Arc::new(move |sent, text: &str| {
            hub.say(&session, &peer, &format!("{kind}{}", if sent { '>' } else { '<' }), text);
        }))
    }
}
