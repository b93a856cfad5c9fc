//! Idle sessions: opened, greeted, held; what the server's process has grown by.

use crate::Outcome;
use crate::args::Idle;
use crate::client::Client;
use crate::figures::Figures;
use crate::proc::resident;
use std::time::{Duration, Instant};

/// A server's memory is looked at until it has been the same for so many looks.
const STEADY: u32 = 5;
/// But no more often than this.
const LOOKS: u32 = 50;
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Octets of the server for each session.
pub async fn per_session(load: &Idle) -> Outcome<f64> {
    let before = steady(load.pid).await;
    let mut held = Vec::new();
    for number in 0..load.sessions {
        let client =
            Client::open(&load.target).await.map_err(|error| format!("session {number}: {error}"))?;
        held.push(client);
    }
    let after = steady(load.pid).await;
    for client in held {
        client.quit().await;
    }
    Ok(after.saturating_sub(before) as f64 / load.sessions.max(1) as f64)
}

/// Runs the load.
pub async fn run(load: &Idle) -> Outcome<Figures> {
    let start = Instant::now();
    let octets = per_session(load).await?;
    let mut figures = Figures { done: load.sessions, took: start.elapsed(), ..Figures::of("idle sessions") };
    figures.notes.push(format!("{:.1} kB of the server for each", octets / 1000.0));
    Ok(figures)
}

/// The process's memory once it does not change any more.
async fn steady(pid: u32) -> u64 {
    let mut times = tokio::time::interval(LOOK);
    let (mut last, mut same) = (resident(pid), 0);
    for _ in 0..LOOKS {
        times.tick().await;
        let now = resident(pid);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same == STEADY {
            break;
        }
    }
    last
}
