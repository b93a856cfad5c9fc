//! The loads. Each runs its sessions as tasks of one thread and ends by count or by time, whichever comes first.

pub mod download;
pub mod idle;
pub mod large;
pub mod logins;
pub mod messages;
pub mod recipients;

use crate::Outcome;
use crate::figures::Figures;
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, LocalSet};

/// Numbers given out to the sessions of a load, each once, until count or time is up.
#[derive(Clone)]
pub struct Numbers {
    next: Rc<Cell<u64>>,
    end: u64,
    until: Instant,
}

impl Numbers {
    /// From `first` on, `count` of them, for at most `time`.
    pub fn new(first: u64, count: u64, time: Duration) -> Numbers {
        Numbers { next: Rc::new(Cell::new(first)), end: first + count, until: Instant::now() + time }
    }
    /// The next one; `None`: the load is over.
    pub fn next(&self) -> Option<u64> {
        let number = self.next.get();
        if number >= self.end || Instant::now() >= self.until {
            return None;
        }
        self.next.set(number + 1);
        Some(number)
    }
}

/// Runs `sessions` of these at once, puts together what they found, and how long it took.
pub async fn together<S, F>(what: &'static str, sessions: u64, session: S) -> Outcome<Figures>
where
    S: Fn() -> F,
    F: Future<Output = Figures> + 'static,
{
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    let mut figures = Figures::of(what);
    LocalSet::new()
        .run_until(async {
            for _ in 0..sessions {
                tasks.spawn_local(session());
            }
            while let Some(found) = tasks.join_next().await {
                figures.merge(found.map_err(|error| format!("a session of the load: {error}"))?);
            }
            Ok::<(), String>(())
        })
        .await?;
    figures.took = start.elapsed();
    if figures.done == 0 {
        return Err(format!("nothing worked: {:?}", figures.odd));
    }
    Ok(figures)
}
