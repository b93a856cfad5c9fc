//! The SQL of the queue: every statement that reads or writes a message or a delivery stands here.
//!
//! Never commits, never touches the index: it returns what the commit will mean. Proof: the conformance suite.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use vouchsafe_core::attachments::Form;
use vouchsafe_core::links::LinkSecret;
use vouchsafe_core::ports::{
    Delivery, Message, QueueAction, QueueFilter, QueueRow, RecipientOutcome, StoreFault,
};
use vouchsafe_core::recipe::Recipe;
use vouchsafe_core::{MessageId, RecipientState, RouteKey, Timestamp};

use super::incoming::{Content, Incoming};
use super::row::{self, Meta};
use super::segment::Place;
use super::shared::Effect;
use super::shares;
use crate::queue::{self, Matcher};

/// What `delivery` reads.
macro_rules! columns {
    () => {
        "SELECT d.message, d.first, d.deliveries, d.id, d.route, d.attempts, d.due, d.recipients,
                m.received_at, m.size, m.meta, m.link_key, m.sharing, f.content, f.recipe, f.number
         FROM delivery d JOIN message m ON m.id = d.message
         LEFT JOIN form f ON f.message = d.message AND f.number = d.form"
    };
}

/// Rows looked at together when the whole queue is gone through.
const PAGE: usize = 256;

/// Why a statement did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// This request is at fault; the others of the transaction go on.
    Request(StoreFault),
    /// The database is: the transaction is over.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        match &error {
            rusqlite::Error::SqliteFailure(code, _)
                if code.code == rusqlite::ErrorCode::ConstraintViolation =>
            {
                Failure::Request(StoreFault::Broken(error.to_string()))
            }
            rusqlite::Error::SqliteFailure(..) => Failure::Database(error),
            _ => Failure::Request(StoreFault::Corrupt(error.to_string())),
        }
    }
}

/// The fault that a database error is for callers.
pub fn fault_of(error: &rusqlite::Error) -> StoreFault {
    match error {
        rusqlite::Error::SqliteFailure(code, _) if code.code == rusqlite::ErrorCode::DiskFull => {
            StoreFault::Full(error.to_string())
        }
        _ => StoreFault::Broken(error.to_string()),
    }
}

/// What a transaction means once it is committed.
#[derive(Default)]
pub struct Changes {
    /// For the index.
    pub index: Vec<Effect>,
    /// Records that live now.
    pub born: Vec<Place>,
    /// Records that died: segment and length.
    pub died: Vec<(i64, u64)>,
    /// Files under `bodies/` that no row names any more.
    pub files: Vec<String>,
}

impl Changes {
    /// How far it has come.
    pub fn mark(&self) -> [usize; 4] {
        [self.index.len(), self.born.len(), self.died.len(), self.files.len()]
    }

    /// Forgets what came after.
    pub fn rewind(&mut self, mark: [usize; 4]) {
        self.index.truncate(mark[0]);
        self.born.truncate(mark[1]);
        self.died.truncate(mark[2]);
        self.files.truncate(mark[3]);
    }
}

/// Queues a message. Its deliveries get the ids from `first` on and are returned.
pub fn insert(
    connection: &Connection,
    incoming: &mut Incoming,
    first: i64,
    claim: bool,
    changes: &mut Changes,
) -> Result<Vec<Delivery>, Failure> {
    let Incoming { message, meta, due, branches, content, detached, news } = incoming;
    let count = branches.len() as i64;
    let id = message.id.0.as_bytes().as_slice();
    let mut statement = connection.prepare_cached(
        "INSERT INTO message (id, received_at, size, first, deliveries, meta, segment, offset, length, file, crc, head)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let common = (id, message.received_at.0, message.size as i64, first, count, &*meta);
    match content {
        Content::Small(_, None) => {
            return Err(Failure::Request(StoreFault::Broken("a record without a place".to_owned())));
        }
        Content::Small(_, Some(place)) => {
            statement.execute(params![
                common.0,
                common.1,
                common.2,
                common.3,
                common.4,
                common.5,
                place.segment,
                place.offset as i64,
                place.len as i64,
                None::<&str>,
                None::<i64>,
                None::<&[u8]>
            ])?;
            changes.born.push(*place);
        }
        Content::Large { name, len, crc, head } => {
            statement.execute(params![
                common.0,
                common.1,
                common.2,
                common.3,
                common.4,
                common.5,
                None::<i64>,
                None::<i64>,
                *len as i64,
                &*name,
                i64::from(*crc),
                &head[..]
            ])?;
        }
    }
    if let Some(detached) = detached {
        shares::insert(connection, detached)?;
    }
    for change in news.iter().flat_map(|news| news.changes()) {
        shares::change(connection, &change, "", *due)?;
    }
    changes.index.push(Effect::Message { octets: message.size });
    let mut deliveries = Vec::new();
    for (delivery_id, (branch, json)) in (first..).zip(branches.iter_mut()) {
        let pending = branch.recipients.len() as i64;
        connection
            .prepare_cached(
                "INSERT INTO delivery (id, message, first, deliveries, route, attempts, due, pending, held, recipients, form)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, 0, ?8, ?9)",
            )?
            .execute(params![
                delivery_id,
                id,
                first,
                count,
                branch.route.to_string(),
                due.0,
                pending,
                &*json,
                branch.form
            ])?;
        changes.index.push(Effect::Delivery {
            id: delivery_id,
            route: branch.route.clone(),
            due: *due,
            pending: true,
            held: 0,
            claimed: claim,
        });
        if claim {
            deliveries.push(Delivery {
                id: delivery_id,
                message: message.clone(),
                route: branch.route.clone(),
                attempts: 0,
                due: *due,
                recipients: std::mem::take(&mut branch.recipients),
                form: branch.form.and_then(|number| detached.as_ref()?.form(number)),
            });
        }
    }
    Ok(deliveries)
}

/// Records the end of an attempt.
pub fn settle(
    connection: &Connection,
    id: i64,
    outcomes: Vec<RecipientOutcome>,
    next_due: Timestamp,
    attempts: u32,
    changes: &mut Changes,
) -> Result<(), Failure> {
    let found = connection
        .prepare_cached("SELECT message, first, deliveries, held, recipients FROM delivery WHERE id = ?1")?
        .query_row([id], |row| {
            let json: &str = row.get_ref(4)?.as_str()?;
            Ok((siblings(row)?, row.get::<_, i64>(3)?, row::recipients_from_json(json)))
        })
        .optional()?;
    let Some((siblings, held_before, recipients)) = found else {
        return Err(Failure::Request(StoreFault::Missing(format!("delivery {id}"))));
    };
    let mut recipients = recipients.map_err(|why| Failure::Request(StoreFault::Corrupt(why)))?;
    queue::settle(&mut recipients, outcomes);
    let row = Open { id, siblings, held_before, recipients, due: next_due, attempts };
    row.write(connection, changes)?;
    changes.index.push(Effect::ClaimEnded { id });
    Ok(())
}

/// Does what the administrator wants to all that matches; how many deliveries changed. A row that cannot be read is
/// logged and passed over.
pub fn act(
    connection: &Connection,
    filter: QueueFilter,
    action: QueueAction,
    now: Timestamp,
    claimed: impl Fn(i64) -> bool,
    changes: &mut Changes,
) -> Result<u64, Failure> {
    let pages = Pages::of(connection, &filter)?;
    let matcher = Matcher::new(filter);
    let act = |delivery: &mut Delivery| queue::act(&matcher, action, delivery, claimed(delivery.id), now);
    change_each(connection, pages, act, changes)
}

/// Holds what waits with links that lead nowhere now.
pub fn hold_linked(
    connection: &Connection,
    message: MessageId,
    words: &str,
    changes: &mut Changes,
) -> Result<(), Failure> {
    let filter = QueueFilter { message: Some(message), ..QueueFilter::default() };
    let pages = Pages::of(connection, &filter)?;
    change_each(connection, pages, |delivery| queue::hold_linked(delivery, words), changes).map(drop)
}

/// Writes back every delivery that `act` changes, which is true then; how many.
fn change_each(
    connection: &Connection,
    mut pages: Pages,
    act: impl Fn(&mut Delivery) -> bool,
    changes: &mut Changes,
) -> Result<u64, Failure> {
    let mut changed = 0;
    while let Some(page) = pages.next(connection)? {
        for (mut delivery, siblings) in page {
            let id = delivery.id;
            let held_before = queue::count(&delivery.recipients, RecipientState::Held) as i64;
            if !act(&mut delivery) {
                continue;
            }
            let Delivery { recipients, due, attempts, .. } = delivery;
            Open { id, siblings, held_before, recipients, due, attempts }.write(connection, changes)?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// The rows of `queue list`.
pub fn list(connection: &Connection, filter: QueueFilter) -> Result<Vec<QueueRow>, Failure> {
    let limit = crate::limit_of(filter.limit);
    let mut pages = Pages::of(connection, &filter)?;
    let matcher = Matcher::new(filter);
    let mut rows = Vec::new();
    while let Some(page) = pages.next(connection)? {
        rows.extend(page.iter().filter_map(|(delivery, _)| matcher.row(delivery)));
        if rows.len() >= limit {
            rows.truncate(limit);
            break;
        }
    }
    Ok(rows)
}

/// One delivery; `None` if it has left or cannot be read (which is logged).
pub fn load(connection: &Connection, id: i64) -> Result<Option<Delivery>, Failure> {
    let mut statement = connection.prepare_cached(concat!(columns!(), " WHERE d.id = ?1"))?;
    let found =
        statement.query_row([id], |row| Ok(delivery(row)?.map(|(delivery, _)| delivery))).optional()?;
    Ok(found.flatten())
}

/// The deliveries of a message.
pub fn of_message(connection: &Connection, message: MessageId) -> Result<Vec<Delivery>, Failure> {
    let filter = QueueFilter { message: Some(message), ..QueueFilter::default() };
    let mut pages = Pages::of(connection, &filter)?;
    let mut found = Vec::new();
    while let Some(page) = pages.next(connection)? {
        found.extend(page.into_iter().map(|(delivery, _)| delivery));
    }
    Ok(found)
}

/// Where a body lies.
pub enum Whereabouts {
    /// In a segment.
    Segment(Place),
    /// In a file of its own.
    File {
        /// Name under `bodies/`.
        name: String,
        /// Octets.
        len: u64,
        /// CRC32C.
        crc: u32,
        /// Headers put on top.
        head: Vec<u8>,
    },
}

/// Where the body of a message lies.
pub fn find_body(connection: &Connection, id: MessageId) -> Result<Option<Whereabouts>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT segment, offset, length, file, crc, head FROM message WHERE id = ?1")?;
    let found = statement.query_row([id.0.as_bytes().as_slice()], |row| {
        let len = row.get::<_, i64>(2)? as u64;
        Ok(match row.get::<_, Option<i64>>(0)? {
            Some(segment) => {
                Whereabouts::Segment(Place { segment, offset: row.get::<_, i64>(1)? as u64, len })
            }
            None => Whereabouts::File {
                name: row.get(3)?,
                len,
                crc: row.get::<_, i64>(4)? as u32,
                head: row.get(5)?,
            },
        })
    });
    Ok(found.optional()?)
}

/// Messages whose records lie in one of these segments.
pub fn in_segments(
    connection: &Connection,
    segments: &[i64],
) -> Result<Vec<(MessageId, Place)>, rusqlite::Error> {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(Vec::new()) };
    let mut statement = connection.prepare_cached(
        "SELECT id, segment, offset, length FROM message WHERE segment BETWEEN ?1 AND ?2 ORDER BY segment, offset",
    )?;
    let rows = statement.query_map([first, last], |row| {
        let place = Place {
            segment: row.get(1)?,
            offset: row.get::<_, i64>(2)? as u64,
            len: row.get::<_, i64>(3)? as u64,
        };
        Ok((message_id(row, 0)?, place))
    })?;
    rows.filter(|row| row.as_ref().map_or(true, |(_, place)| segments.contains(&place.segment))).collect()
}

/// A record lies elsewhere now.
pub fn moved(connection: &Connection, id: MessageId, to: Place) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE message SET segment = ?2, offset = ?3, length = ?4 WHERE id = ?1")?
        .execute(params![id.0.as_bytes().as_slice(), to.segment, to.offset as i64, to.len as i64])?;
    Ok(())
}

/// Calls back for every message (place and size) and every delivery, at the start.
pub fn load_index(
    connection: &Connection,
    mut message: impl FnMut(Option<Place>, Option<String>, u64),
    mut delivery: impl FnMut(Effect),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT segment, offset, length, file, size FROM message")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let place = match row.get::<_, Option<i64>>(0)? {
            Some(segment) => Some(Place {
                segment,
                offset: row.get::<_, i64>(1)? as u64,
                len: row.get::<_, i64>(2)? as u64,
            }),
            None => None,
        };
        message(place, row.get(3)?, row.get::<_, i64>(4)? as u64);
    }
    let mut statement = connection.prepare("SELECT id, route, due, pending, held FROM delivery")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let Ok(route) = row.get_ref(1)?.as_str()?.parse::<RouteKey>() else {
            tracing::error!(delivery = id, "a delivery has a route that does not parse; it is left alone");
            continue;
        };
        delivery(Effect::Delivery {
            id,
            route,
            due: Timestamp(row.get(2)?),
            pending: row.get::<_, i64>(3)? > 0,
            held: row.get::<_, i64>(4)? as u64,
            claimed: false,
        });
    }
    Ok(())
}

/// The highest delivery id in use.
pub fn last_delivery(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM delivery", [], |row| row.get(0))
}

/// A message's deliveries: `first .. first + count`.
#[derive(Clone, Copy)]
struct Siblings {
    message: MessageId,
    first: i64,
    count: i64,
}

/// From the first three columns.
fn siblings(row: &Row<'_>) -> rusqlite::Result<Siblings> {
    Ok(Siblings { message: message_id(row, 0)?, first: row.get(1)?, count: row.get(2)? })
}

pub fn message_id(row: &Row<'_>, column: usize) -> rusqlite::Result<MessageId> {
    let octets = row.get_ref(column)?.as_blob()?;
    match uuid::Uuid::from_slice(octets) {
        Ok(id) => Ok(MessageId(id)),
        Err(_) => {
            Err(rusqlite::Error::InvalidColumnType(column, "id".to_owned(), rusqlite::types::Type::Blob))
        }
    }
}

/// A delivery that was in the queue, as it is now.
struct Open {
    id: i64,
    siblings: Siblings,
    held_before: i64,
    recipients: Vec<vouchsafe_core::QueuedRecipient>,
    due: Timestamp,
    attempts: u32,
}

impl Open {
    /// Writes it back; without recipients it leaves, and with the last delivery the message.
    fn write(self, connection: &Connection, changes: &mut Changes) -> Result<(), Failure> {
        let Open { id, siblings, held_before, recipients, due, attempts } = self;
        let held_before = held_before as u64;
        if recipients.is_empty() {
            connection.prepare_cached("DELETE FROM delivery WHERE id = ?1")?.execute([id])?;
            changes.index.push(Effect::Finished { id, held_before });
            return remove_message_if_done(connection, siblings, changes);
        }
        let pending = queue::count(&recipients, RecipientState::Pending);
        let held = queue::count(&recipients, RecipientState::Held);
        connection
            .prepare_cached(
                "UPDATE delivery SET attempts = ?2, due = ?3, pending = ?4, held = ?5, recipients = ?6 WHERE id = ?1",
            )?
            .execute(params![
                id,
                attempts,
                due.0,
                pending as i64,
                held as i64,
                row::recipients_to_json(&recipients)
            ])?;
        changes.index.push(Effect::Changed { id, due, pending: pending > 0, held_before, held });
        Ok(())
    }
}

fn remove_message_if_done(
    connection: &Connection,
    siblings: Siblings,
    changes: &mut Changes,
) -> Result<(), Failure> {
    let Siblings { message, first, count } = siblings;
    if count > 1 {
        let others: i64 = connection
            .prepare_cached("SELECT count(*) FROM delivery WHERE id BETWEEN ?1 AND ?2")?
            .query_row([first, first + count - 1], |row| row.get(0))?;
        if others > 0 {
            return Ok(());
        }
    }
    let mut statement = connection.prepare_cached(
        "DELETE FROM message WHERE id = ?1 RETURNING segment, length, file, size, link_key IS NOT NULL",
    )?;
    let gone = statement.query_row([message.0.as_bytes().as_slice()], |row| {
        Ok((
            row.get::<_, Option<i64>>(0)?,
            row.get::<_, i64>(1)? as u64,
            row.get::<_, Option<String>>(2)?,
            row.get::<_, i64>(3)? as u64,
            row.get::<_, bool>(4)?,
        ))
    });
    if let Some((segment, len, file, size, detached)) = gone.optional()? {
        if detached {
            connection
                .prepare_cached("DELETE FROM form WHERE message = ?1")?
                .execute([message.0.as_bytes().as_slice()])?;
        }
        changes.died.extend(segment.map(|segment| (segment, len)));
        changes.files.extend(file);
        changes.index.push(Effect::MessageGone { octets: size });
    }
    Ok(())
}

/// A row of `columns!`; `None` (and a line in the log) if what it holds cannot be read: one bad row never stops the
/// queue.
fn delivery(row: &Row<'_>) -> rusqlite::Result<Option<(Delivery, Siblings)>> {
    let id = row.get(3)?;
    let siblings = siblings(row)?;
    match decode(row, id, siblings.message)? {
        Ok(delivery) => Ok(Some((delivery, siblings))),
        Err(why) => {
            tracing::error!(delivery = id, message = %siblings.message, why, "a delivery cannot be read; it is set aside");
            Ok(None)
        }
    }
}

fn decode(row: &Row<'_>, id: i64, message: MessageId) -> rusqlite::Result<Result<Delivery, String>> {
    let received_at = Timestamp(row.get(8)?);
    let size = row.get::<_, i64>(9)? as u64;
    let attempts = row.get(5)?;
    let due = Timestamp(row.get(6)?);
    let parts = || -> Result<Delivery, String> {
        let text = |column| row.get_ref(column).map_err(|e| e.to_string());
        let route = text(4)?.as_str().map_err(|e| e.to_string())?.parse()?;
        let recipients = row::recipients_from_json(text(7)?.as_str().map_err(|e| e.to_string())?)?;
        let meta: Meta = serde_json::from_str(text(10)?.as_str().map_err(|e| e.to_string())?)
            .map_err(|e| e.to_string())?;
        let (origin, mail) = meta.into_core()?;
        let message = Message { id: message, received_at, origin, mail, size };
        let form = form(row)?;
        Ok(Delivery { id, message, route, attempts, due, recipients, form })
    };
    Ok(parts())
}

/// What the recipients get in place of the content.
fn form(row: &Row<'_>) -> Result<Option<Arc<Form>>, String> {
    let words = |error: rusqlite::Error| error.to_string();
    let Some(recipe) = row.get::<_, Option<Vec<u8>>>(14).map_err(words)? else { return Ok(None) };
    let sharing: String = row.get(12).map_err(words)?;
    Ok(Some(Arc::new(Form {
        number: row.get(15).map_err(words)?,
        recipe: Recipe::decode(recipe.into()).map_err(|bad| bad.to_string())?,
        content: row.get::<_, i64>(13).map_err(words)? as u64,
        secret: LinkSecret::new(row.get(11).map_err(words)?),
        sharing: serde_json::from_str(&sharing).map_err(|error| error.to_string())?,
    })))
}

/// The queue, oldest first, a page at a time.
struct Pages {
    after: i64,
    last: i64,
}

impl Pages {
    fn of(connection: &Connection, filter: &QueueFilter) -> Result<Pages, Failure> {
        let Some(id) = filter.message else { return Ok(Pages { after: i64::MIN, last: i64::MAX }) };
        let found: Option<(i64, i64)> = connection
            .prepare_cached("SELECT first, deliveries FROM message WHERE id = ?1")?
            .query_row([id.0.as_bytes().as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(match found {
            Some((first, count)) => Pages { after: first - 1, last: first + count - 1 },
            None => Pages { after: 0, last: 0 },
        })
    }

    fn next(&mut self, connection: &Connection) -> Result<Option<Vec<(Delivery, Siblings)>>, Failure> {
        let mut statement = connection
            .prepare_cached(concat!(columns!(), " WHERE d.id > ?1 AND d.id <= ?2 ORDER BY d.id LIMIT ?3"))?;
        let mut rows = statement.query(params![self.after, self.last, PAGE as i64])?;
        let mut page = Vec::new();
        let mut read = 0;
        while let Some(row) = rows.next()? {
            read += 1;
            self.after = row.get(3)?;
            page.extend(delivery(row)?);
        }
        Ok((read > 0).then_some(page))
    }
}
