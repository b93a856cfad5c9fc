//! What a million cached verdicts take, and how long a look-up of one is: the cache alone, in this process.

use super::table::{Row, Table};
use crate::Outcome;
use crate::play::DOMAIN;
use crate::proc::resident;
use std::hint::black_box;
use std::time::{Duration, Instant};
use vouchsafe_core::cache::{Lookup, Times, VerdictCache};
use vouchsafe_core::verdict::Verdict;
use vouchsafe_smtp::{Reply, Tick};

/// Verdicts in the cache.
const VERDICTS: u64 = 1_000_000;
/// The gateway hands what is new to the store every few seconds.
const SAVED_AFTER: u64 = 10_000;
/// Look-ups, spread over all of them.
const LOOK_UPS: u64 = 1_000_000;

/// Measures and prints.
pub fn run() -> Outcome {
    println!("a million cached verdicts");
    let day = Duration::from_secs(86_400);
    let times = Times { yes: day, refresh: day, no: day };
    let before = resident(std::process::id());
    // Half of the bound is what is sure to be kept.
    let mut cache = VerdictCache::new(2 * VERDICTS as usize);
    for number in 0..VERDICTS {
        let verdict = Verdict::Accept(Reply::new(250, (2, 1, 5), "Recipient OK"));
        cache.put(&address(number), &verdict, &times, Tick(0));
        if number % SAVED_AFTER == 0 {
            drop(cache.take_changes(Tick(0)));
        }
    }
    let octets = resident(std::process::id()).saturating_sub(before);
    let keys: Vec<String> = (0..LOOK_UPS).map(|n| address(n.wrapping_mul(999_983) % VERDICTS)).collect();
    let start = Instant::now();
    let missing = keys.iter().filter(|key| black_box(cache.get(key, Tick(1))) == Lookup::Missing).count();
    let each = start.elapsed().as_secs_f64() * 1e6 / LOOK_UPS as f64;
    if missing > 0 {
        return Err(format!("the cache has lost {missing} verdicts of a million"));
    }
    let mut table = Table::new(vec!["vouchsafe"]);
    table.row(Row::new("a million verdicts, MB", vec![octets as f64 / 1e6]).at_most(200.0));
    table.row(Row::new("look-up, microseconds", vec![each]).at_most(5.0));
    table.print();
    Ok(())
}

fn address(number: u64) -> String {
    format!("some.user.{number}@{DOMAIN}")
}
