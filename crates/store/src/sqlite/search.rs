//! Looks for events: by trigrams of session and addresses, by the beginning of a message id, by kind and time. Bounded by
//! the filter's limit, whatever the history's size.
//!
//! Proof: the conformance suite, `vouchsafe-bench search`.

use rusqlite::{Connection, Row, params};
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{HistoryEvent, HistoryFilter};

/// Events looked through for a text that is too short for trigrams.
const SHORT: i64 = 50_000;
/// Trigrams of a text that are asked for; what they find is checked against the whole text.
const TRIGRAMS: usize = 12;

const COLUMNS: &str = "e.id, e.at, e.session, e.message, e.kind, e.sender, e.recipient, e.blame, e.detail";

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
    let text = filter.text.trim().to_lowercase();
    let limit = crate::limit_of(filter.limit);
    let range = Range {
        first: filter.since.map_or(Ok(0), |since| first_at(history, since))?,
        behind: filter.until.map_or(Ok(i64::MAX), |until| first_at(history, until))?,
    };
    let fits = |event: &HistoryEvent| {
        filter.since.is_none_or(|since| since <= event.at)
            && filter.until.is_none_or(|until| event.at < until)
            && (filter.kind.is_empty() || event.kind == filter.kind)
            && (text.is_empty() || names(event, &text))
    };
    let mut found = match text.chars().count() {
        0 => unnamed(history, filter, range, limit, fits)?,
        1 | 2 => newest(history, range, limit, fits)?,
        _ => by_trigrams(history, filter, &text, range, limit, fits)?,
    };
    if is_part_of_id(&text) {
        found.extend(by_message(history, &text, range, limit, fits)?);
        found.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        found.dedup_by_key(|(id, _)| *id);
        found.truncate(limit);
    }
    Ok(found.into_iter().map(|(_, event)| event).collect())
}

/// Row ids from `first`, before `behind`.
#[derive(Clone, Copy)]
struct Range {
    first: i64,
    behind: i64,
}

type Found = (i64, HistoryEvent);

fn unnamed(
    history: &Connection,
    filter: &HistoryFilter,
    range: Range,
    limit: usize,
    fits: impl Fn(&HistoryEvent) -> bool,
) -> rusqlite::Result<Vec<Found>> {
    let of_kind = if filter.kind.is_empty() { "?1 = ''" } else { "e.kind = ?1" };
    let mut statement = history.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event e WHERE {of_kind} AND e.id >= ?2 AND e.id < ?3 ORDER BY e.id DESC"
    ))?;
    take(statement.query(params![filter.kind, range.first, range.behind])?, limit, fits)
}

fn newest(
    history: &Connection,
    range: Range,
    limit: usize,
    fits: impl Fn(&HistoryEvent) -> bool,
) -> rusqlite::Result<Vec<Found>> {
    let mut statement = history.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event e WHERE e.id >= ?1 AND e.id < ?2 ORDER BY e.id DESC LIMIT {SHORT}"
    ))?;
    take(statement.query([range.first, range.behind])?, limit, fits)
}

fn by_trigrams(
    history: &Connection,
    filter: &HistoryFilter,
    text: &str,
    range: Range,
    limit: usize,
    fits: impl Fn(&HistoryEvent) -> bool,
) -> rusqlite::Result<Vec<Found>> {
    let mut statement = history.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event_text t CROSS JOIN event e ON e.id = t.rowid
         WHERE t.event_text MATCH ?1 AND t.rowid >= ?2 AND t.rowid < ?3 ORDER BY t.rowid DESC"
    ))?;
    take(statement.query(params![expression(text, &filter.kind), range.first, range.behind])?, limit, fits)
}

/// Trigrams spread over the text, and the mark of the kind, all of which an event must have.
fn expression(text: &str, kind: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let last = letters.len().saturating_sub(3);
    let count = (last + 1).min(TRIGRAMS);
    let starts = (0..count).map(|n| if count == 1 { 0 } else { n * last / (count - 1) });
    let mut wanted: Vec<String> =
        starts.map(|at| letters.iter().skip(at).take(3).collect::<String>()).collect();
    if !kind.is_empty() {
        wanted.push(kind_mark(kind));
    }
    wanted.sort_unstable();
    wanted.dedup();
    let quoted = wanted.iter().map(|trigram| format!("\"{}\"", trigram.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(" AND ")
}

/// Only hexadecimal figures and hyphens: the beginning of a message's id, perhaps.
fn is_part_of_id(text: &str) -> bool {
    (6..=36).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_hexdigit() || octet == b'-')
}

fn by_message(
    history: &Connection,
    text: &str,
    range: Range,
    limit: usize,
    fits: impl Fn(&HistoryEvent) -> bool,
) -> rusqlite::Result<Vec<Found>> {
    let mut statement = history.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event e WHERE e.message >= ?1 AND e.message < ?1 || 'g' AND e.id >= ?2 AND e.id < ?3
         ORDER BY e.id DESC"
    ))?;
    take(statement.query(params![text, range.first, range.behind])?, limit, fits)
}

fn take(
    mut rows: rusqlite::Rows<'_>,
    limit: usize,
    fits: impl Fn(&HistoryEvent) -> bool,
) -> rusqlite::Result<Vec<Found>> {
    let mut found = Vec::new();
    while found.len() < limit {
        let Some(row) = rows.next()? else { break };
        let event = event(row, 1)?;
        if fits(&event) {
            found.push((row.get(0)?, event));
        }
    }
    Ok(found)
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

/// Whether an event's session, message, sender or recipients contain a lower-case text.
fn names(event: &HistoryEvent, text: &str) -> bool {
    event.session.to_lowercase().contains(text)
        || event.message.is_some_and(|id| id.to_string().starts_with(text))
        || event.sender.to_lowercase().contains(text)
        || event.recipient.to_lowercase().contains(text)
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
        let kinds =
            ["accepted", "refused", "delivered", "deferred", "failed", "held", "login", "trial", "send_as"];
        let marks: std::collections::BTreeSet<String> = kinds.iter().map(|kind| kind_mark(kind)).collect();
        assert_eq!(marks.len(), kinds.len());
        assert_eq!(kind_mark("deferred"), "<df");
    }

    #[test]
    fn trigrams_are_quoted_and_few() {
        assert_eq!(expression("a\"bc", ""), "\"\"\"bc\" AND \"a\"\"b\"");
        let long = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(9);
        assert!(expression(&long, "held").matches(" AND ").count() <= TRIGRAMS);
    }
}
