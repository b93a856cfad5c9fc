//! Figures over time: what is counted and measured, minute by minute in a bounded ring, and summed up into slots of ten
//! minutes that are kept for a month. Pure: whoever has a clock closes the minutes.
//!
//! Never counts addresses or names of people. Proof: the tests below, `crates/gateway/tests/meter.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ports::HistoryEvent;
use crate::time::Timestamp;

/// Minutes kept in memory: a day.
const MINUTES: usize = 24 * 60;
/// Microseconds of a minute.
const MINUTE: i64 = 60 * 1_000_000;
/// Minutes of a slot that is kept on disk.
pub const SLOT: Duration = Duration::from_secs(10 * 60);

macro_rules! figures {
    ($($name:ident, $word:literal, $level:literal, $what:literal;)*) => {
        /// One figure. A count grows and starts anew with each slot; a level is what it was at its highest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Figure {
            $(#[doc = $what] $name,)*
        }

        impl Figure {
            /// All of them, in the order of their values in a slot.
            pub const ALL: &[Figure] = &[$(Figure::$name,)*];
            /// Its word, on disk and in answers.
            pub fn word(self) -> &'static str {
                match self { $(Figure::$name => $word,)* }
            }
            /// A level, not a count.
            pub fn is_level(self) -> bool {
                match self { $(Figure::$name => $level,)* }
            }
        }
    };
}

figures! {
    Received, "received", false, "Messages taken from the Internet.";
    Submitted, "submitted", false, "Messages taken from clients that logged in or are trusted.";
    Delivered, "delivered", false, "Recipients that a next hop took.";
    Deferred, "deferred", false, "Recipients put off after an attempt.";
    Failed, "failed", false, "Recipients given up.";
    Held, "held", false, "Recipients put on hold.";
    RefusedUnknown, "refused_unknown", false, "Recipients refused: no such recipient.";
    RefusedRelay, "refused_relay", false, "Recipients refused: relaying denied.";
    RefusedGuess, "refused_guess", false, "Recipients put off: the client guessed too often.";
    RefusedUnclear, "refused_unclear", false, "Recipients put off: nobody could tell.";
    RefusedOther, "refused_other", false, "Other refusals.";
    LoginYes, "login_yes", false, "Logins accepted.";
    LoginNo, "login_no", false, "Logins refused.";
    LoginUnclear, "login_unclear", false, "Logins that nobody could decide.";
    Asked, "asked", false, "Answers that delegates gave.";
    AskedTime, "asked_us", false, "Microseconds that the delegates took for them, in all.";
    Remembered, "remembered", false, "Questions answered from memory.";
    Unanswered, "unanswered", false, "Questions that delegates did not answer.";
    Queue, "queue", true, "Messages in the queue.";
    OnHold, "on_hold", true, "Recipients on hold.";
    Oldest, "oldest_s", true, "Seconds that the oldest message of the queue is old.";
    Sessions, "sessions", true, "Sessions of clients.";
    DelegateSessions, "delegate_sessions", true, "Sessions at delegates, for recipients.";
    BreakersOpen, "breakers_open", true, "Delegates left alone because they did not answer.";
    Stored, "stored_octets", true, "Octets of bodies at rest.";
    Free, "free_octets", true, "Octets that the file system has left; the lowest of a slot.";
}

/// How many there are.
pub const COUNT: usize = Figure::ALL.len();

/// Values in the order of [`Figure::ALL`].
pub type Values = [u64; COUNT];

/// What an event counts as; `None`: it is none of these.
pub fn of_event(event: &HistoryEvent, from_clients: bool) -> Option<Figure> {
    Some(match event.kind.as_str() {
        "accepted" if from_clients => Figure::Submitted,
        "accepted" => Figure::Received,
        "delivered" => Figure::Delivered,
        "deferred" => Figure::Deferred,
        "failed" => Figure::Failed,
        "held" => Figure::Held,
        "login" if event.detail.starts_with("accepted") => Figure::LoginYes,
        "login" if event.blame == "client" => Figure::LoginNo,
        "login" => Figure::LoginUnclear,
        "refused" => of_reply(&event.detail),
        _ => return None,
    })
}

/// A refusal by the reply that the client saw, which an event's words begin with.
fn of_reply(words: &str) -> Figure {
    let mut parts = words.split(' ');
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        (_, "5.1.1" | "5.1.10" | "5.1.2" | "5.1.3" | "5.1.6") => Figure::RefusedUnknown,
        ("450", "4.7.1") => Figure::RefusedGuess,
        (code, _) if code.starts_with('4') => Figure::RefusedUnclear,
        (_, "5.7.1") => Figure::RefusedRelay,
        _ => Figure::RefusedOther,
    }
}

/// The values of one span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When it began.
    pub at: Timestamp,
    /// Its values.
    pub values: Values,
}

impl Slot {
    fn empty(at: Timestamp) -> Slot {
        Slot { at, values: [0; COUNT] }
    }

    /// A value.
    pub fn get(&self, figure: Figure) -> u64 {
        self.values[figure as usize]
    }

    /// Adds what another span, later or beside it, had.
    pub fn add(&mut self, other: &Values) {
        for (figure, (here, there)) in Figure::ALL.iter().zip(self.values.iter_mut().zip(other)) {
            *here = match figure {
                Figure::Free if *here == 0 => *there,
                Figure::Free if *there == 0 => *here,
                Figure::Free => (*here).min(*there),
                level if level.is_level() => (*here).max(*there),
                _ => here.saturating_add(*there),
            };
        }
    }

    /// As it is kept: `word=value`, for values that are not zero, so that figures may come and go.
    pub fn to_text(&self) -> String {
        let named = Figure::ALL.iter().zip(self.values).filter(|(_, value)| *value > 0);
        named.map(|(figure, value)| format!("{}={value}", figure.word())).collect::<Vec<_>>().join(" ")
    }

    /// What [`to_text`](Slot::to_text) made; what is not known is left out.
    pub fn from_text(at: Timestamp, text: &str) -> Slot {
        let mut slot = Slot::empty(at);
        for (word, value) in text.split(' ').filter_map(|pair| pair.split_once('=')) {
            let figure = Figure::ALL.iter().find(|figure| figure.word() == word);
            if let (Some(figure), Ok(value)) = (figure, value.parse()) {
                slot.values[*figure as usize] = value;
            }
        }
        slot
    }
}

/// The span of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// An hour of minutes.
    #[default]
    Hour,
    /// A day of ten minutes each.
    Day,
    /// Thirty days of six hours each.
    Month,
}

impl Span {
    /// How long it is.
    pub fn length(self) -> Duration {
        match self {
            Span::Hour => Duration::from_secs(3600),
            Span::Day => Duration::from_secs(24 * 3600),
            Span::Month => Duration::from_secs(30 * 24 * 3600),
        }
    }

    /// How long one of its slots is.
    pub fn step(self) -> Duration {
        match self {
            Span::Hour => Duration::from_secs(60),
            Span::Day => SLOT,
            Span::Month => Duration::from_secs(6 * 3600),
        }
    }
}

/// The beginning of the slot that a time falls into.
pub fn start_of(at: Timestamp, step: Duration) -> Timestamp {
    let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1);
    Timestamp(at.0 - at.0.rem_euclid(step))
}

/// Slots of `step`, one for each step from `from` to `until`, filled from finer ones.
pub fn summed(fine: &[Slot], from: Timestamp, until: Timestamp, step: Duration) -> Vec<Slot> {
    let (mut at, end) = (start_of(from, step), start_of(until, step));
    let mut slots = Vec::new();
    while at <= end && slots.len() < MINUTES {
        slots.push(Slot::empty(at));
        at = at + step;
    }
    for slot in fine {
        let start = start_of(slot.at, step);
        if let Ok(index) = slots.binary_search_by_key(&start, |slot| slot.at) {
            slots[index].add(&slot.values);
        }
    }
    slots
}

/// The minutes of the last day, and the slot of ten that is being filled.
#[derive(Default)]
pub struct Ring {
    minutes: VecDeque<Slot>,
    slot: Option<Slot>,
}

impl Ring {
    /// Takes the values of the minute that ended at `now`. The slot it belongs to, to be kept in place of an earlier
    /// state of itself.
    pub fn close(&mut self, now: Timestamp, values: &Values) -> Slot {
        let began = start_of(Timestamp(now.0 - MINUTE / 2), Duration::from_secs(60));
        match self.minutes.back_mut().filter(|last| last.at >= began) {
            // The clock was set back: nothing is lost, it is only told under the minute before.
            Some(last) => last.add(values),
            None => {
                if self.minutes.len() == MINUTES {
                    self.minutes.pop_front();
                }
                self.minutes.push_back(Slot { at: began, values: *values });
            }
        }
        let at = start_of(began, SLOT);
        let slot = match self.slot.take().filter(|slot| slot.at == at) {
            Some(mut slot) => {
                slot.add(values);
                slot
            }
            None => Slot { at, values: *values },
        };
        self.slot = Some(slot);
        slot
    }

    /// Takes up the slot that an earlier run had begun.
    pub fn resume(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// All minutes that are known, the oldest first.
    pub fn minutes(&self) -> Vec<Slot> {
        self.minutes.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, blame: &str, detail: &str) -> HistoryEvent {
        HistoryEvent {
            at: Timestamp(0),
            session: String::new(),
            message: None,
            kind: kind.to_owned(),
            sender: String::new(),
            recipient: String::new(),
            blame: blame.to_owned(),
            detail: detail.to_owned(),
        }
    }

    fn values(figure: Figure, value: u64) -> Values {
        let mut values = [0; COUNT];
        values[figure as usize] = value;
        values
    }

    #[test]
    fn a_refusal_is_counted_by_the_reply_that_the_client_saw() {
        let of = |words: &str| of_event(&event("refused", "client", words), false);
        assert_eq!(of("550 5.1.1 No such user (said: 550)"), Some(Figure::RefusedUnknown));
        assert_eq!(of("550 5.7.1 Relaying denied (..)"), Some(Figure::RefusedRelay));
        assert_eq!(of("450 4.7.1 Too many unknown recipients (..)"), Some(Figure::RefusedGuess));
        assert_eq!(of("451 4.4.3 Recipient cannot be verified now (..)"), Some(Figure::RefusedUnclear));
        assert_eq!(of("553 5.7.2 odd"), Some(Figure::RefusedOther));
        assert_eq!(of_event(&event("login", "client", "535 no"), false), Some(Figure::LoginNo));
        assert_eq!(of_event(&event("login", "delegate", "time-out"), false), Some(Figure::LoginUnclear));
        assert_eq!(of_event(&event("accepted", "", "mx"), true), Some(Figure::Submitted));
        assert_eq!(of_event(&event("trial", "", ""), true), None);
    }

    #[test]
    fn minutes_are_bounded_and_slots_sum_them_up() {
        let mut ring = Ring::default();
        let mut kept = Vec::new();
        for minute in 1..=(MINUTES as i64 + 25) {
            kept.push(ring.close(Timestamp(minute * MINUTE), &values(Figure::Delivered, 2)));
        }
        assert_eq!(ring.minutes().len(), MINUTES);
        assert_eq!(kept[9], Slot { at: Timestamp(0), values: values(Figure::Delivered, 20) });
        assert_eq!(kept[10].get(Figure::Delivered), 2);
        let minutes = ring.minutes();
        let day = summed(&minutes, minutes[0].at, minutes.last().unwrap().at, Span::Day.step());
        assert_eq!(day.iter().map(|slot| slot.get(Figure::Delivered)).sum::<u64>(), 2 * MINUTES as u64);
    }

    #[test]
    fn levels_keep_their_highest_and_free_space_its_lowest() {
        let mut slot = Slot { at: Timestamp(0), values: values(Figure::Queue, 7) };
        slot.add(&values(Figure::Queue, 3));
        slot.add(&values(Figure::Free, 50));
        slot.add(&values(Figure::Free, 40));
        assert_eq!((slot.get(Figure::Queue), slot.get(Figure::Free)), (7, 40));
        assert_eq!(Slot::from_text(Timestamp(0), &slot.to_text()), slot);
    }

    #[test]
    fn a_clock_set_back_loses_nothing() {
        let mut ring = Ring::default();
        ring.close(Timestamp(10 * MINUTE), &values(Figure::Failed, 1));
        ring.close(Timestamp(3 * MINUTE), &values(Figure::Failed, 1));
        assert_eq!(ring.minutes().iter().map(|slot| slot.get(Figure::Failed)).sum::<u64>(), 2);
    }
}
