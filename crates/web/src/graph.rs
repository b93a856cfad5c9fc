//! Graphs as SVG, made here: no script, no library. Lines for levels and rates, stacked bars for counts by reason.
//!
//! Colours are classes of the style sheet, `g1` to `g5`; numbers stand in the caption, so that nobody has to see the lines.

use std::fmt::Write;

use vouchsafe_core::Timestamp;

/// Size of the drawing area, in units of its own.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
/// Room for the words beside and below it.
const LEFT: f64 = 52.0;
const BELOW: f64 = 18.0;

/// How values are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A number.
    Count,
    /// Octets.
    Octets,
    /// Seconds.
    Seconds,
    /// Microseconds.
    Micros,
}

impl Unit {
    /// A value in words.
    pub fn words(self, value: u64) -> String {
        match self {
            Unit::Count => thousands(value),
            Unit::Octets => crate::page::octets(&value),
            Unit::Seconds => crate::page::duration(value),
            Unit::Micros if value < 1_000 => format!("{value} µs"),
            Unit::Micros if value < 1_000_000 => format!("{} ms", value / 1_000),
            Unit::Micros => format!("{:.1} s", value as f64 / 1e6),
        }
    }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// One line, or one colour of the bars.
pub(crate) struct Series {
    /// What it is.
    pub name: &'static str,
    /// A value for each slot.
    pub values: Vec<u64>,
    /// What the caption says of it.
    pub told: String,
}

/// One graph.
pub(crate) struct Graph {
    /// What it shows.
    pub title: &'static str,
    /// How values are told.
    pub unit: Unit,
    /// Stacked bars, or lines.
    pub stacked: bool,
    /// What is drawn, at most five.
    pub series: Vec<Series>,
}

impl Graph {
    /// Nothing but zeros.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.values.iter().all(|value| *value == 0))
    }

    fn top(&self) -> u64 {
        let slots = self.series.first().map_or(0, |series| series.values.len());
        let at = |slot: usize| self.series.iter().filter_map(move |series| series.values.get(slot).copied());
        let highest = |slot: usize| match self.stacked {
            true => at(slot).sum(),
            false => at(slot).max().unwrap_or_default(),
        };
        round_up((0..slots).map(highest).max().unwrap_or_default(), self.unit)
    }

    /// The drawing; `times` are when the slots began.
    pub fn svg(&self, times: &[Timestamp]) -> String {
        let top = self.top();
        let mut out = format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            LEFT + WIDTH,
            HEIGHT + BELOW,
            self.title
        );
        for (share, value) in [(0.0, top), (0.5, top / 2), (1.0, 0)] {
            let y = 1.0 + share * (HEIGHT - 2.0);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.0}h{WIDTH}\"/><text x=\"{}\" y=\"{:.0}\" class=\"end\">{}</text>",
                LEFT - 5.0,
                (y + 4.0).clamp(10.0, HEIGHT),
                self.unit.words(value)
            );
        }
        self.label_times(&mut out, times);
        if self.stacked {
            self.bars(&mut out, top)
        } else {
            self.lines(&mut out, top)
        }
        out.push_str("</svg>");
        out
    }

    fn label_times(&self, out: &mut String, times: &[Timestamp]) {
        let (Some(first), Some(last)) = (times.first(), times.last()) else { return };
        let long = last.since(*first).as_secs() > 2 * 24 * 3600;
        for (share, anchor) in [(0, "start"), (1, "middle"), (2, "end")] {
            let Some(at) = times.get(share * (times.len() - 1) / 2) else { continue };
            let text = at.rfc3339();
            let label = if long { text.get(..10) } else { text.get(11..16) };
            let x = LEFT + WIDTH * share as f64 / 2.0;
            let y = HEIGHT + BELOW - 4.0;
            let _ = write!(
                out,
                "<text x=\"{x:.0}\" y=\"{y:.0}\" class=\"{anchor}\"{}>{}{}</text>",
                if long { String::new() } else { format!(" data-time=\"{text}\"") },
                label.unwrap_or_default(),
                if long { "" } else { " UTC" }
            );
        }
    }

    fn bars(&self, out: &mut String, top: u64) {
        let slots = self.series.first().map_or(0, |series| series.values.len());
        let step = WIDTH / slots.max(1) as f64;
        let mut base = vec![0_u64; slots];
        for (number, series) in (1..).zip(&self.series) {
            let mut path = String::new();
            for (slot, value) in series.values.iter().enumerate().filter(|(_, value)| **value > 0) {
                let height = HEIGHT * *value as f64 / top as f64;
                let foot = HEIGHT - HEIGHT * base[slot] as f64 / top as f64;
                let x = LEFT + slot as f64 * step;
                let _ = write!(path, "M{x:.1} {foot:.1}v-{height:.1}h{0:.1}v{height:.1}z", step * 0.86);
                base[slot] += value;
            }
            if !path.is_empty() {
                let _ = write!(out, "<path class=\"bar g{number}\" d=\"{path}\"/>");
            }
        }
    }

    fn lines(&self, out: &mut String, top: u64) {
        for (number, series) in (1..).zip(&self.series) {
            let step = WIDTH / series.values.len().saturating_sub(1).max(1) as f64;
            let point = |(slot, value): (usize, &u64)| {
                let y = HEIGHT - 1.0 - (HEIGHT - 2.0) * *value as f64 / top as f64;
                format!("{:.1} {y:.1}", LEFT + slot as f64 * step)
            };
            let points: Vec<String> = series.values.iter().enumerate().map(point).collect();
            let _ = write!(out, "<path class=\"line g{number}\" d=\"M{}\"/>", points.join("L"));
        }
    }
}

/// The next round number, so that half of it is one too.
fn round_up(value: u64, unit: Unit) -> u64 {
    let steps: &[u64] = match unit {
        Unit::Seconds => &[60, 600, 3_600, 7_200, 6 * 3_600, 12 * 3_600, 86_400, 172_800, 432_000],
        _ => &[],
    };
    if let Some(step) = steps.iter().find(|step| value <= **step) {
        return *step;
    }
    let mut power = 1_u64;
    loop {
        for factor in [2, 4, 10] {
            let top = power.saturating_mul(factor);
            if value <= top {
                return top;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(stacked: bool) -> Graph {
        let series = |values: &[u64]| Series { name: "taken", values: values.to_vec(), told: String::new() };
        Graph { title: "Mail", unit: Unit::Count, stacked, series: vec![series(&[0, 3]), series(&[1, 4])] }
    }

    #[test]
    fn bars_stand_on_each_other_and_lines_do_not() {
        assert_eq!((graph(true).top(), graph(false).top()), (10, 4));
        let times = [Timestamp(0), Timestamp(60_000_000)];
        let bars = graph(true).svg(&times);
        assert!(bars.contains("class=\"bar g2\"") && bars.contains("00:01 UTC"), "{bars}");
        assert_eq!(graph(false).svg(&times).matches("class=\"line").count(), 2);
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        let of = |value| round_up(value, Unit::Count);
        assert_eq!([of(0), of(3), of(11), of(41), of(u64::MAX)], [2, 4, 20, 100, u64::MAX]);
        assert_eq!(round_up(3000, Unit::Seconds), 3600);
        assert_eq!(Unit::Count.words(1_234_567), "1 234 567");
    }
}
