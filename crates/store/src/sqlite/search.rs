//! Looks for events: by trigrams of session and addresses, by the beginning of a message id, by kind and time.
//!
//! Bounded whatever the history's size: by the filter's limit, by the few trigrams that are asked for, and by how many
//! events are read for it. A list of a trigram that every event has is as long as the history; so the rarest of a text are
//! asked for, as judged by a sample, and what they find is checked against the whole text.
//!
//! Proof: the conformance suite, `vouchsafe-bench search`.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{HistoryEvent, HistoryFilter};

/// Events looked through for one search.
const LOOKED_THROUGH: usize = 50_000;
/// Events by which it is judged how common a trigram is.
const SAMPLE: usize = 1_000;
/// Trigrams of a text that are judged.
const JUDGED: usize = 64;
/// Trigrams that are asked for.
const ASKED: usize = 4;

const COLUMNS: &str = "e.at, e.session, e.message, e.kind, e.sender, e.recipient, e.blame, e.detail";

/// What `event_text` holds of an event.
pub fn text_of(kind: &str, session: &str, sender: &str, recipient: &str) -> String {
    format!("{} {session} {sender} {recipient}", kind_mark(kind))
}

/// A trigram that stands for a kind of event; a `<` is in no address.
fn kind_mark(kind: &str) -> String {
    let mut letters = kind.chars();
    ['<'].into_iter().chain(letters.next()).chain(letters.nth(1)).collect()
}

/// The newest events that fit, newest first.
pub fn events(history: &Connection, filter: &HistoryFilter) -> rusqlite::Result<Vec<HistoryEvent>> {
    let filter = &filter.clone().folded();
    let look = Look {
        history,
        filter,
        limit: crate::limit_of(filter.limit),
        first: filter.since.map_or(Ok(0), |since| first_at(history, since))?,
        behind: filter.until.map_or(Ok(i64::MAX), |until| first_at(history, until))?,
    };
    let mut found = match (filter.text.chars().count(), &*filter.kind) {
        (0, "") | (1 | 2, _) => look.through(Among::All, &[])?,
        (0, kind) => look.through(Among::Kind, &[kind])?,
        _ => look.through(Among::Trigrams, &[&expression(&look.rarest()?)])?,
    };
    if is_part_of_id(&filter.text) {
        // Kept without hyphens.
        let begin = filter.text.replace('-', "");
        found.extend(look.through(Among::Messages, &[&begin, &format!("{begin}g")])?);
        found.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        found.dedup_by_key(|(id, _)| *id);
        found.truncate(look.limit);
    }
    Ok(found.into_iter().map(|(_, event)| event).collect())
}

/// The events that are looked through, newest first.
enum Among {
    /// All of them.
    All,
    /// Those of a kind.
    Kind,
    /// Those of messages whose ids lie between two texts.
    Messages,
    /// Those that have the trigrams of an expression.
    Trigrams,
}

/// One search.
struct Look<'a> {
    history: &'a Connection,
    /// Folded.
    filter: &'a HistoryFilter,
    limit: usize,
    /// Row ids from here.
    first: i64,
    /// Row ids before this.
    behind: i64,
}

impl Look<'_> {
    /// Row ids and events that fit.
    fn through(&self, among: Among, given: &[&str]) -> rusqlite::Result<Vec<(i64, HistoryEvent)>> {
        let (from, id, condition) = match among {
            Among::All => ("event e", "e.id", "true"),
            Among::Kind => ("event e", "e.id", "e.kind = ?3"),
            // The plus signs: by the index of messages, not backwards through all events. What many ids begin with, all
            // of an hour perhaps, is looked for in the newest of those only.
            Among::Messages => (
                "(SELECT id FROM event WHERE message >= ?3 AND message < ?4 AND +id >= ?1 AND +id < ?2
                  ORDER BY +id DESC LIMIT 10000) m CROSS JOIN event e ON e.id = m.id",
                "m.id",
                "true",
            ),
            Among::Trigrams => {
                ("event_text t CROSS JOIN event e ON e.id = t.rowid", "t.rowid", "t.event_text MATCH ?3")
            }
        };
        let mut statement = self.history.prepare_cached(&format!(
            "SELECT e.id, {COLUMNS} FROM {from} WHERE {condition} AND {id} >= ?1 AND {id} < ?2
             ORDER BY {id} DESC LIMIT {LOOKED_THROUGH}"
        ))?;
        let range = [self.first, self.behind].map(Value::Integer);
        let given = given.iter().map(|text| Value::Text((*text).to_owned()));
        let mut rows = statement.query(params_from_iter(range.into_iter().chain(given)))?;
        let mut found = Vec::new();
        while found.len() < self.limit {
            let Some(row) = rows.next()? else { break };
            let event = event(row, 1)?;
            if self.filter.fits(&event) {
                found.push((row.get(0)?, event));
            }
        }
        Ok(found)
    }

    /// Trigrams of the text and the kind that few of the newest events have.
    fn rarest(&self) -> rusqlite::Result<Vec<String>> {
        let mut newest = self.history.prepare_cached(&format!(
            "SELECT kind, session, sender, recipient FROM event WHERE id >= ?1 AND id < ?2
             ORDER BY id DESC LIMIT {SAMPLE}"
        ))?;
        let mut sample = Vec::new();
        let mut rows = newest.query([self.first, self.behind])?;
        while let Some(row) = rows.next()? {
            let text = |at| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
            sample.push(text_of(text(0)?, text(1)?, text(2)?, text(3)?).to_lowercase());
        }
        Ok(rarest(&self.filter.text, &self.filter.kind, &sample))
    }
}

/// The trigrams of a text, and the mark of a kind, that are in the fewest texts of a sample.
fn rarest(text: &str, kind: &str, sample: &[String]) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut trigrams: Vec<String> = letters.windows(3).take(JUDGED).map(String::from_iter).collect();
    if !kind.is_empty() {
        trigrams.push(kind_mark(kind));
    }
    trigrams.sort_unstable();
    trigrams.dedup();
    trigrams.sort_by_cached_key(|trigram| sample.iter().filter(|text| text.contains(trigram)).count());
    trigrams.truncate(ASKED);
    trigrams
}

/// Finds what has all of these trigrams.
fn expression(trigrams: &[String]) -> String {
    let quoted = trigrams.iter().map(|trigram| format!("\"{}\"", trigram.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(" AND ")
}

/// Only hexadecimal figures and hyphens: the beginning of a message's id, perhaps.
fn is_part_of_id(text: &str) -> bool {
    (6..=36).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_hexdigit() || octet == b'-')
}

/// The id of the first event at or after a time; ids and times rise together but for clocks that were set back.
fn first_at(history: &Connection, at: Timestamp) -> rusqlite::Result<i64> {
    let mut low: i64 = history.query_row("SELECT ifnull(min(id), 0) FROM event", [], |row| row.get(0))?;
    let mut high: i64 =
        history.query_row("SELECT ifnull(max(id), 0) + 1 FROM event", [], |row| row.get(0))?;
    let mut next = history.prepare_cached("SELECT at FROM event WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let there: i64 = next.query_row([middle], |row| row.get(0))?;
        if there < at.0 {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The newest events of trials.
pub fn trials(history: &Connection, limit: usize) -> rusqlite::Result<Vec<HistoryEvent>> {
    let filter = HistoryFilter {
        kind: vouchsafe_core::trial::KIND.to_owned(),
        limit: limit.max(1),
        ..Default::default()
    };
    events(history, &filter)
}

/// The kept slots of figures, the oldest first.
pub fn slots(history: &Connection, since: Timestamp) -> rusqlite::Result<Vec<(Timestamp, String)>> {
    let mut statement = history.prepare_cached("SELECT at, text FROM slot WHERE at >= ?1 ORDER BY at")?;
    let rows = statement.query_map([since.0], |row| Ok((Timestamp(row.get(0)?), row.get(1)?)))?;
    rows.collect()
}

/// An event whose columns begin at `from`.
fn event(row: &Row<'_>, from: usize) -> rusqlite::Result<HistoryEvent> {
    Ok(HistoryEvent {
        at: Timestamp(row.get(from)?),
        session: row.get(from + 1)?,
        message: row.get::<_, Option<String>>(from + 2)?.and_then(|id| id.parse().ok()),
        kind: row.get(from + 3)?,
        sender: row.get(from + 4)?,
        recipient: row.get(from + 5)?,
        blame: row.get(from + 6)?,
        detail: row.get(from + 7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_mark_of_its_own() {
        let kinds = [
            "accepted",
            "refused",
            "delivered",
            "deferred",
            "failed",
            "held",
            "login",
            "trial",
            "send_as",
            "scan",
        ];
        let marks: std::collections::BTreeSet<String> = kinds.iter().map(|kind| kind_mark(kind)).collect();
        assert_eq!(marks.len(), kinds.len());
        assert_eq!(kind_mark("deferred"), "<df");
    }

    #[test]
    fn trigrams_are_quoted() {
        assert_eq!(expression(&["a\"b".to_owned(), "\"bc".to_owned()]), "\"a\"\"b\" AND \"\"\"bc\"");
    }

    #[test]
    fn the_rarest_trigrams_of_a_text_are_asked_for() {
        let sample: Vec<String> = ["bob", "rob", "alice"]
            .map(|name| text_of("refused", "0a", &format!("{name}@far.example"), "carol@near.example"))
            .into();
        let asked = rarest("bob@near.example", "", &sample);
        assert_eq!(asked[..3], ["b@n", "bob", "ob@"]);
        // A kind that all have says nothing; one that none has says all.
        assert!(!rarest("bob@near.example", "refused", &sample).contains(&kind_mark("refused")));
        assert!(rarest("bob@near.example", "held", &sample).contains(&kind_mark("held")));
        assert_eq!(rarest(&"abcdefghijklmnopqrstuvwxyz0123456789".repeat(9), "", &[]).len(), ASKED);
        assert_eq!(rarest("abc", "", &sample), ["abc"]);
    }
}
