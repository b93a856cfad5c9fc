//! Times gathered and figures told. All times are kept: runs are bounded by their count.

use std::collections::BTreeMap;
use std::time::Duration;

/// Times of single operations.
#[derive(Default, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }
    /// Adds all of another.
    pub fn merge(&mut self, other: Times) {
        self.0.extend(other.0);
    }
    /// Milliseconds that so many of a thousand stay within.
    pub fn permille(&mut self, permille: usize) -> f64 {
        self.0.sort_unstable();
        let at = (self.0.len() * permille / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

/// What one run found.
#[derive(Default, Clone)]
pub struct Figures {
    /// What was counted.
    pub what: &'static str,
    /// Operations that ended as wanted.
    pub done: u64,
    /// How long all of them took.
    pub took: Duration,
    /// Time of each.
    pub times: Times,
    /// Other endings and how often; a reply's code or a fault.
    pub odd: BTreeMap<String, u64>,
    /// Octets of all of them, where they are counted.
    pub octets: u64,
    /// Further lines.
    pub notes: Vec<String>,
}

impl Figures {
    /// Nothing found yet.
    pub fn of(what: &'static str) -> Figures {
        Figures { what, ..Figures::default() }
    }
    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64().max(1e-9)
    }
    /// Counts an odd ending.
    pub fn odd(&mut self, ending: impl ToString) {
        *self.odd.entry(ending.to_string()).or_insert(0) += 1;
    }
    /// Adds what another session of the same run found.
    pub fn merge(&mut self, other: Figures) {
        self.done += other.done;
        self.times.merge(other.times);
        for (ending, count) in other.odd {
            *self.odd.entry(ending).or_insert(0) += count;
        }
        self.notes.extend(other.notes);
    }
    /// For people.
    pub fn print(mut self) {
        println!("{} {} in {:.2} s: {:.0}/s", self.done, self.what, self.took.as_secs_f64(), self.rate());
        if self.done > 1 {
            let (p50, p99) = (self.times.permille(500), self.times.permille(990));
            println!(
                "time of one: p50 {p50:.2} ms, p99 {p99:.2} ms, longest {:.2} ms",
                self.times.permille(1000)
            );
        }
        for (ending, count) in &self.odd {
            println!("{count} ended otherwise: {ending}");
        }
        for note in &self.notes {
            println!("{note}");
        }
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_edges() {
        let mut times = Times::default();
        (1..=100).for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!((times.permille(500), times.permille(990), times.permille(1000)), (51.0, 100.0, 100.0));
        assert_eq!(Times::default().permille(500), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
