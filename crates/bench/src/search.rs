//! How long it takes to find events in a long history, by each thing that an administrator looks for.
//!
//! The history is a store's own, asked through its port; the page and the network come on top.

use crate::Outcome;
use crate::args::Search;
use crate::figures::Times;
use crate::fill::{self, chance};
use crate::proc::cpu;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{History, HistoryFilter};
use vouchsafe_store::disk::RealDisk;
use vouchsafe_store::sqlite::{Options, SqliteStore};

/// Milliseconds that any search may take.
const AT_MOST: f64 = 300.0;
/// Events that a page shows.
const SHOWN: usize = 100;
/// When the last event was: any time will do, the store has no clock.
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

/// What is looked for: its name, and the filter of a round.
type Kind = (&'static str, fn(u64, u64) -> HistoryFilter);

/// A round's number and the number of events make the filter.
const KINDS: &[Kind] = &[
    ("the newest", |_, _| text("")),
    ("address of a user", |round, _| text(fill::user(round * 97))),
    ("address of a stranger", |round, _| text(fill::stranger(chance(round, 22) % 100_000))),
    ("address that nothing happened to", |round, _| text(format!("nobody{round}@{}", fill::OURS))),
    ("address of common parts", |round, _| {
        text(format!("info@{}", fill::OURS.replacen("com", &"com"[..(round % 3) as usize + 1], 1)))
    }),
    ("domain of ours", |_, _| text(fill::OURS)),
    ("domain of strangers", |round, _| text(format!("@{}", fill::domain(chance(round, 21))))),
    ("part of a name", |round, _| text(fill::user(round * 89).split('.').next().unwrap_or_default())),
    ("two halves of two names", |round, _| {
        let (one, other) = (fill::user(round * 83), fill::user(round * 79 + 1));
        text(format!(
            "{}@{}",
            one.split('.').next().unwrap_or_default(),
            other.split('@').next().unwrap_or_default()
        ))
    }),
    ("two letters", |round, _| text(["xq", "an", "7b"][(round % 3) as usize])),
    ("two words", |_, _| text("com info")),
    ("message", |round, events| text(fill::message(any(round, events)).to_string())),
    ("beginning of a message's id", |round, events| {
        text(&fill::message(any(round, events)).to_string()[..13])
    }),
    ("what all ids begin with", |_, _| text(&fill::message(0).to_string()[..6])),
    ("session", |round, events| text(fill::session(any(round, events)))),
    ("outcome", |round, _| of_kind(round, "")),
    ("outcome and user", |round, _| of_kind(round, &fill::user(round * 71))),
    ("outcome and domain", |round, _| of_kind(round, fill::OURS)),
    ("an hour of the past", |round, events| hour(round, events, "")),
    ("an hour, and a user", |round, events| hour(round, events, &fill::user(round * 67))),
    ("an hour, an outcome", |round, events| HistoryFilter {
        kind: "held".to_owned(),
        ..hour(round, events, "")
    }),
    ("an hour, an outcome, a stranger", |round, events| HistoryFilter {
        kind: "held".to_owned(),
        ..hour(round, events, &fill::stranger(chance(round, 22) % 100))
    }),
];

/// Fills, searches, prints.
pub async fn run(search: &Search) -> Outcome {
    let folder = match &search.folder {
        Some(folder) => tempfile::Builder::new().prefix("vouchsafe-bench-").tempdir_in(folder),
        None => tempfile::Builder::new().prefix("vouchsafe-bench-").tempdir(),
    };
    let folder = folder.map_err(|error| format!("a folder for the history: {error}"))?;
    let store = SqliteStore::open(folder.path(), Arc::new(RealDisk), Options { free_space: 0 })
        .map_err(|fault| fault.to_string())?;
    let (begun, before) = (Instant::now(), cpu(std::process::id()));
    fill::history(&store, search.events, NOW).await?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / search.events.max(1) as f64;
    println!(
        "{} events written: {:.1} us each, {:.1} us CPU, {} MB",
        search.events,
        each(begun.elapsed()),
        each(cpu(std::process::id()) - before),
        std::fs::metadata(folder.path().join("history.db")).map_or(0, |file| file.len()) / 1_000_000
    );
    println!("{:<34}{:>8}{:>12}{:>12}", "", "found", "median, ms", "worst, ms");
    let mut missed = Vec::new();
    for (name, filter) in KINDS {
        let (mut times, mut found) = (Times::default(), 0);
        for round in 0..search.rounds {
            let begun = Instant::now();
            let events = store.search(filter(round, search.events)).await;
            times.add(begun.elapsed());
            found = found.max(events.map_err(|fault| format!("{name}: {fault}"))?.len());
        }
        let worst = times.permille(1000);
        println!("{name:<34}{found:>8}{:>12.1}{worst:>12.1}", times.permille(500));
        if worst > AT_MOST {
            missed.push(*name);
        }
    }
    drop(store);
    folder.close().map_err(|error| format!("the folder of the history: {error}"))?;
    if missed.is_empty() { Ok(()) } else { Err(format!("over {AT_MOST} ms: {}", missed.join(", "))) }
}

/// Some event.
fn any(round: u64, events: u64) -> u64 {
    chance(round, 20) % events.max(1)
}

fn text(text: impl Into<String>) -> HistoryFilter {
    HistoryFilter { text: text.into(), limit: SHOWN, ..HistoryFilter::default() }
}

fn of_kind(round: u64, words: &str) -> HistoryFilter {
    let kind = ["held", "refused", "login", "trial"][(round % 4) as usize];
    HistoryFilter { kind: kind.to_owned(), ..text(words) }
}

fn hour(round: u64, events: u64, words: &str) -> HistoryFilter {
    let since = fill::time(any(round, events), events, NOW);
    HistoryFilter { since: Some(since), until: Some(since + Duration::from_secs(3600)), ..text(words) }
}
