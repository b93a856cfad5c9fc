//! Live dialogues for `vouchsafe trace` and the page: masked where they are made, printed in transcript form, kept nowhere.
//!
//! A watcher says what it looks for before a line is made, and a page gets no more than eyes can follow, so that watching costs
//! the mail path next to nothing however busy it is (`vouchsafe-bench compare --pages`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::Clock;
use vouchsafe_net::client::TraceSink;

/// Lines a slow reader may lag behind before some are left out.
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

/// How much of it somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As much as is read: for a command.
    All,
    /// At most [`A_SECOND`] lines a second: for somebody's eyes. What the mail path pays for it is bounded by that.
    Readable,
}

/// Lines a second that [`Pace::Readable`] gets; how many were left out is told.
pub const A_SECOND: u64 = 100;

struct Watcher {
    text: String,
    pace: Pace,
    lines: mpsc::Sender<Line>,
    /// The second that counts.
    second: AtomicU64,
    /// Lines in it.
    sent: AtomicU64,
    left_out: AtomicU64,
}

impl Watcher {
    fn has_room(&self, second: u64) -> bool {
        self.pace == Pace::All
            || self.second.load(Ordering::Relaxed) != second
            || self.sent.load(Ordering::Relaxed) < A_SECOND
    }

    fn offer(&self, second: u64, line: &Line) {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.sent.store(0, Ordering::Relaxed);
            let left_out = self.left_out.swap(0, Ordering::Relaxed);
            if left_out > 0 {
                let text = format!("{left_out} lines left out: too many at once; look for one address");
                let (session, mark) = ("gateway".to_owned(), "!:".to_owned());
                let _ = self.lines.try_send(Line { at: line.at, session, peer: String::new(), mark, text });
            }
        }
        let full = self.pace == Pace::Readable && self.sent.fetch_add(1, Ordering::Relaxed) >= A_SECOND;
        if full || self.lines.try_send(line.clone()).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where lines go; costs nothing while nobody watches.
#[derive(Clone)]
pub struct Hub {
    watchers: Arc<ArcSwap<Vec<Arc<Watcher>>>>,
    clock: Arc<dyn Clock>,
}

/// Somebody who watches, until this is dropped.
pub struct Watch {
    hub: Hub,
    watcher: Arc<Watcher>,
    lines: mpsc::Receiver<Line>,
}

impl Watch {
    /// The next line. Cancel safe: a line that is not given out comes next time.
    pub async fn next(&mut self) -> Option<Line> {
        self.lines.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.watchers.rcu(|watchers| {
            watchers.iter().filter(|one| !Arc::ptr_eq(one, &self.watcher)).cloned().collect::<Vec<_>>()
        });
    }
}

impl Hub {
    /// A hub without watchers.
    pub fn new(clock: Arc<dyn Clock>) -> Hub {
        Hub { watchers: Arc::default(), clock }
    }
    /// Whether anybody wants a line now.
    pub fn active(&self) -> bool {
        let watchers = self.watchers.load();
        !watchers.is_empty() && {
            let second = self.second();
            watchers.iter().any(|watcher| watcher.has_room(second))
        }
    }
    /// Watches lines whose peer, session or text contain `text`, from now on.
    pub fn watch(&self, text: &str, pace: Pace) -> Watch {
        let (sender, lines) = mpsc::channel(BACKLOG);
        let watcher = Arc::new(Watcher {
            text: text.to_owned(),
            pace,
            lines: sender,
            second: AtomicU64::new(u64::MAX),
            sent: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        });
        self.watchers.rcu(|watchers| watchers.iter().chain([&watcher]).cloned().collect::<Vec<_>>());
        Watch { hub: self.clone(), watcher, lines }
    }
    /// Publishes a line.
    pub fn say(&self, session: &str, peer: &str, mark: &str, text: &str) {
        let watchers = self.watchers.load();
        if watchers.is_empty() {
            return;
        }
        let second = self.second();
        let fits =
            |watcher: &&Arc<Watcher>| [session, peer, text].iter().any(|part| part.contains(&watcher.text));
        let mut line = None;
        for watcher in watchers.iter().filter(fits) {
            if !watcher.has_room(second) {
                watcher.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let line = line.get_or_insert_with(|| Line {
                at: self.clock.now(),
                session: session.to_owned(),
                peer: peer.to_owned(),
                mark: mark.to_owned(),
                text: text.to_owned(),
            });
            watcher.offer(second, line);
        }
    }
    /// A sink for the client driver; `kind` is `D` or `N`. `None` while nobody watches.
    pub fn sink(&self, session: &str, peer: &str, kind: char) -> TraceSink {
        if self.watchers.load().is_empty() {
            return None;
        }
        let (hub, session, peer) = (self.clone(), session.to_owned(), peer.to_owned());
        let marks = [format!("{kind}<"), format!("{kind}>")];
        Some(Arc::new(move |sent, text: &str| hub.say(&session, &peer, &marks[usize::from(sent)], text)))
    }

    fn second(&self) -> u64 {
        self.clock.tick().0 / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use vouchsafe_smtp::Tick;

    use super::*;

    #[derive(Default)]
    struct Still(AtomicU64);

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn tick(&self) -> Tick {
            Tick(self.0.load(Ordering::Relaxed))
        }
    }

    fn texts(watch: &mut Watch) -> Vec<String> {
        std::iter::from_fn(|| watch.lines.try_recv().ok()).map(|line| line.text).collect()
    }

    #[test]
    fn each_watcher_gets_what_it_asked_for_until_it_goes() {
        let hub = Hub::new(Arc::new(Still::default()));
        assert!(!hub.active() && hub.sink("s", "p", 'D').is_none());
        let (mut all, mut one) = (hub.watch("", Pace::All), hub.watch("192.0.2.7", Pace::Readable));
        hub.say("s", "192.0.2.7:25", "C:", "NOOP");
        hub.say("s", "192.0.2.8:25", "C:", "QUIT");
        assert_eq!(
            (texts(&mut all), texts(&mut one)),
            (vec!["NOOP".into(), "QUIT".into()], vec!["NOOP".into()])
        );
        drop(all);
        assert!(hub.active());
        drop(one);
        assert!(!hub.active());
    }

    #[test]
    fn eyes_get_so_many_lines_a_second_and_are_told_of_the_rest() {
        let clock = Arc::new(Still::default());
        let hub = Hub::new(clock.clone());
        let (mut eyes, mut other) = (hub.watch("", Pace::Readable), hub.watch("RSET", Pace::Readable));
        for _ in 0..A_SECOND + 7 {
            hub.say("s", "p", "C:", "NOOP");
        }
        // What somebody looks for is not crowded out by what others look at.
        hub.say("s", "p", "C:", "RSET");
        assert_eq!((texts(&mut eyes).len() as u64, texts(&mut other).len()), (A_SECOND, 1));
        drop(other);
        assert!(!hub.active(), "nothing more is made in this second");
        clock.0.store(1_000_000, Ordering::Relaxed);
        assert!(hub.active());
        hub.say("s", "p", "C:", "NOOP");
        let told = texts(&mut eyes);
        assert!(told.len() == 2 && told[0].starts_with("8 lines left out"), "{told:?}");
    }

    #[test]
    fn a_slow_reader_of_everything_is_told_too() {
        let clock = Arc::new(Still::default());
        let hub = Hub::new(clock.clone());
        let mut slow = hub.watch("", Pace::All);
        for _ in 0..BACKLOG + 3 {
            hub.say("s", "p", "C:", "NOOP");
        }
        assert_eq!(texts(&mut slow).len(), BACKLOG);
        clock.0.store(1_000_000, Ordering::Relaxed);
        hub.say("s", "p", "C:", "NOOP");
        assert!(texts(&mut slow)[0].starts_with("3 lines left out"));
    }
}
