//! The SQL of shares, links, blobs and the audit log, in `queue.db`.
//!
//! Never touches a blob: one that no share names any more is marked here, deleted by housekeeping, then forgotten here.
//! Proof: `tests/store/shares.rs`, `tests/store/crash.rs`.

use std::collections::HashSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use vouchsafe_core::attachments::{
    Access, AuditRow, BlobRef, Check, Landing, LinkRow, Share, ShareChange, ShareFilter, ShareState,
    SharedFile, Telling, Usage, hex,
};
use vouchsafe_core::links::TokenHash;
use vouchsafe_core::ports::StoreFault;
use vouchsafe_core::{MessageId, Timestamp};

use super::row;
use super::tables::{Failure, message_id};
use crate::shares::{Line, Ready, check_line, line, matches, replaces, used_up};

/// Rows looked at together when all shares are gone through.
const PAGE: usize = 256;

/// Writes what a message's acceptance brings. An equal blob that is there takes the place of a fresh one.
pub fn insert(connection: &Connection, ready: &Ready) -> Result<(), Failure> {
    let Share {
        message, created, expires, sender, owner, domain, known_sender, access, subject, cap, ..
    } = &ready.share;
    let id = message.0.as_bytes().as_slice();
    connection
        .prepare_cached("UPDATE message SET link_key = ?2, sharing = ?3 WHERE id = ?1")?
        .execute(params![id, ready.secret.octets().as_slice(), row::to_json(&ready.sharing)])?;
    for form in &ready.forms {
        connection
            .prepare_cached("INSERT INTO form (message, number, content, recipe) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![id, form.number, form.content as i64, form.recipe.encode()])?;
    }
    connection
        .prepare_cached(
            "INSERT INTO share (message, created, expires, sender, owner, domain, size, known, hold, access, reminded,
                                receipted, asked, subject, cap)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, 0, 0, 0, ?10, ?11)",
        )?
        .execute(params![
            id,
            created.0,
            expires.0,
            sender,
            owner,
            domain,
            ready.share.size() as i64,
            known_sender,
            access_word(*access),
            subject,
            cap
        ])?;
    for (file, blob) in ready.share.files.iter().zip(&ready.blobs) {
        let name = adopt(connection, blob, file.check, *created)?;
        connection
            .prepare_cached(
                "INSERT INTO attachment (message, position, blob, file_name, media_type, downloads)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0)",
            )?
            .execute(params![id, file.position, name, file.file_name, file.media_type])?;
    }
    for (token, link) in ready.tokens.iter().zip(&ready.share.links) {
        connection
            .prepare_cached(
                "INSERT INTO link (token, message, recipients, files, downloads) VALUES (?1, ?2, ?3, ?4, 0)",
            )?
            .execute(params![
                token.0.as_slice(),
                id,
                row::to_json(&link.recipients),
                link.files.as_ref().map(row::to_json)
            ])?;
    }
    write_down(connection, ready.line(), &ready.who, *created)
}

/// The name of the blob with this content: the one that is there, or the fresh one.
fn adopt(
    connection: &Connection,
    fresh: &vouchsafe_core::attachments::SealedBlob,
    check: Check,
    now: Timestamp,
) -> Result<String, Failure> {
    let there: Vec<(String, Check, bool)> = connection
        .prepare_cached(
            "SELECT name, checked, scanned FROM blob WHERE sha256 = ?1 AND size = ?2 AND doomed = 0
             ORDER BY checked = 'found' DESC, created",
        )?
        .query_map(params![fresh.sha256.as_slice(), fresh.len as i64], |row| {
            Ok((row.get(0)?, read_check(row.get_ref(1)?.as_str()?), row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let there = there
        .into_iter()
        .find(|(_, known, scanned)| replaces(*known, *scanned, check))
        .map(|(name, ..)| name);
    if there.as_ref() != Some(&fresh.name) {
        connection
            .prepare_cached(
                "INSERT INTO blob (name, sha256, size, key, doomed, created, checked)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                fresh.name,
                fresh.sha256.as_slice(),
                fresh.len as i64,
                fresh.key,
                there.is_some(),
                now.0,
                check.word()
            ])?;
    }
    Ok(there.unwrap_or_else(|| fresh.name.clone()))
}

/// Changes a share.
pub fn change(
    connection: &Connection,
    change: &ShareChange,
    who: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let message = match change {
        ShareChange::Downloaded { link, .. } | ShareChange::Asked { link } => {
            let found = connection
                .prepare_cached("SELECT message FROM link WHERE token = ?1")?
                .query_row([link.0.as_slice()], |row| message_id(row, 0))
                .optional()?;
            found.ok_or_else(|| missing(&format!("link {}", link.id())))?
        }
        ShareChange::Revoke { message, .. }
        | ShareChange::Extend { message, .. }
        | ShareChange::Hold { message, .. }
        | ShareChange::Erase { message }
        | ShareChange::Password { message, .. }
        | ShareChange::Told { message, .. }
        | ShareChange::SenderLink { message, .. } => *message,
    };
    let id = message.0.as_bytes().as_slice();
    let share = |sql: &str, value: Option<i64>| -> Result<usize, rusqlite::Error> {
        match value {
            Some(value) => connection.prepare_cached(sql)?.execute(params![id, value]),
            None => connection.prepare_cached(sql)?.execute([id]),
        }
    };
    let changed = match change {
        ShareChange::Downloaded { link, files } => fetch(connection, message, *link, files, now)?,
        ShareChange::Revoke { link: Some(link), .. } => {
            let found = tokens(connection, message)?.into_iter().find(|token| token.id() == *link);
            let token = found.ok_or_else(|| missing(&format!("link {link} of message {message}")))?;
            connection
                .prepare_cached("UPDATE link SET revoked = coalesce(revoked, ?2) WHERE token = ?1")?
                .execute(params![token.0.as_slice(), now.0])?
        }
        ShareChange::Revoke { link: None, .. } => {
            share("UPDATE share SET revoked = coalesce(revoked, ?2) WHERE message = ?1", Some(now.0))?
        }
        ShareChange::Extend { until, .. } => share(
            "UPDATE share SET expires = ?2, revoked = NULL, reminded = 0, asked = 0 WHERE message = ?1",
            Some(until.0),
        )?,
        ShareChange::Hold { on, .. } => {
            share("UPDATE share SET hold = ?2 WHERE message = ?1", Some(i64::from(*on)))?
        }
        ShareChange::Password { hash, .. } => connection
            .prepare_cached("UPDATE share SET password = ?2 WHERE message = ?1")?
            .execute(params![id, hash])?,
        ShareChange::Told { what: Telling::Reminder, .. } => {
            share("UPDATE share SET reminded = 1 WHERE message = ?1", None)?
        }
        ShareChange::Told { what: Telling::Receipt, .. } => {
            share("UPDATE share SET receipted = 1 WHERE message = ?1", None)?
        }
        ShareChange::Told { what: Telling::MoreTime, .. } => {
            share("UPDATE share SET asked = 0 WHERE message = ?1", None)?
        }
        ShareChange::Asked { .. } => share("UPDATE share SET asked = 1 WHERE message = ?1", None)?,
        ShareChange::SenderLink { link, .. } => connection
            .prepare_cached(
                "INSERT INTO sender_link (token, message, created)
                 SELECT ?1, message, ?3 FROM share WHERE message = ?2",
            )?
            .execute(params![link.0.as_slice(), id, now.0])?,
        ShareChange::Erase { .. } => erase(connection, message)?,
    };
    if changed == 0 {
        return Err(missing(&format!("detached files of message {message}")));
    }
    match line(change, message) {
        Some(line) => write_down(connection, line, who, now),
        None => Ok(()),
    }
}

/// Counts a download of these files, or nothing.
fn fetch(
    connection: &Connection,
    message: MessageId,
    link: TokenHash,
    files: &[u32],
    now: Timestamp,
) -> Result<usize, Failure> {
    let (id, token) = (message.0.as_bytes().as_slice(), link.0.as_slice());
    let mut left = connection.prepare_cached(
        "SELECT s.cap IS NULL OR coalesce(f.downloads, 0) < s.cap
         FROM attachment a JOIN share s ON s.message = a.message
         JOIN link l ON l.token = ?3
         LEFT JOIN fetched f ON f.token = l.token AND f.position = a.position
         WHERE a.message = ?1 AND a.position = ?2
           AND (l.files IS NULL OR a.position IN (SELECT value FROM json_each(l.files)))",
    )?;
    for position in files {
        match left.query_row(params![id, position, token], |row| row.get(0)).optional()? {
            Some(true) => {}
            Some(false) => return Err(Failure::Request(used_up(link))),
            None => return Ok(0),
        }
    }
    for position in files {
        connection
            .prepare_cached(
                "UPDATE attachment SET downloads = downloads + 1 WHERE message = ?1 AND position = ?2",
            )?
            .execute(params![id, position])?;
        connection
            .prepare_cached(
                "INSERT INTO fetched (token, position, downloads) VALUES (?1, ?2, 1)
                 ON CONFLICT DO UPDATE SET downloads = downloads + 1",
            )?
            .execute(params![token, position])?;
    }
    let count = files.len() as i64;
    let sql = "UPDATE link SET downloads = downloads + ?2, last = ?3 WHERE token = ?1";
    Ok(connection.prepare_cached(sql)?.execute(params![token, count, now.0])?)
}

/// Takes a share away; blobs that only it named are doomed. Nothing is done while there is a hold.
fn erase(connection: &Connection, message: MessageId) -> Result<usize, Failure> {
    let id = message.0.as_bytes().as_slice();
    let gone =
        connection.prepare_cached("DELETE FROM share WHERE message = ?1 AND hold = 0")?.execute([id])?;
    if gone == 0 {
        return Ok(0);
    }
    let blobs: Vec<String> = connection
        .prepare_cached("DELETE FROM attachment WHERE message = ?1 RETURNING blob")?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for blob in blobs {
        connection
            .prepare_cached(
                "UPDATE blob SET doomed = 1
                 WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM attachment WHERE blob = ?1)",
            )?
            .execute([blob])?;
    }
    let rest = [
        "DELETE FROM fetched WHERE token IN (SELECT token FROM link WHERE message = ?1)",
        "DELETE FROM link WHERE message = ?1",
        "DELETE FROM sender_link WHERE message = ?1",
    ];
    for sql in rest {
        connection.prepare_cached(sql)?.execute([id])?;
    }
    Ok(gone)
}

fn missing(what: &str) -> Failure {
    Failure::Request(StoreFault::Missing(what.to_owned()))
}

fn write_down(connection: &Connection, line: Line, who: &str, now: Timestamp) -> Result<(), Failure> {
    let last: Option<(i64, String)> = connection
        .prepare_cached("SELECT number, chain FROM audit ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let row = line.behind(last.as_ref().map(|(number, chain)| (*number, chain.as_str())), who, now);
    connection
        .prepare_cached(
            "INSERT INTO audit (number, at, what, who, message, detail, chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            row.number,
            row.at.0,
            row.what,
            row.who,
            row.message.map(|message| message.0.as_bytes().to_vec()),
            row.detail,
            row.chain
        ])?;
    Ok(())
}

/// These doomed blobs are deleted.
pub fn forget_blobs(connection: &Connection, names: &[String]) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached("DELETE FROM blob WHERE name = ?1 AND doomed = 1")?;
    for name in names {
        statement.execute([name])?;
    }
    Ok(())
}

/// An upload begins (with its id) or ends.
pub fn upload(connection: &Connection, name: &str, upload: Option<&str>) -> Result<(), Failure> {
    match upload {
        Some(upload) => connection
            .prepare_cached("INSERT OR REPLACE INTO upload (name, upload) VALUES (?1, ?2)")?
            .execute([name, upload])?,
        None => connection.prepare_cached("DELETE FROM upload WHERE name = ?1")?.execute([name])?,
    };
    Ok(())
}

/// Uploads that have not ended.
pub fn uploads(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare_cached("SELECT name, upload FROM upload")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Where a token leads.
pub fn landing(connection: &Connection, token: TokenHash) -> rusqlite::Result<Option<Landing>> {
    let mut statement = connection.prepare_cached(
        "SELECT token, recipients, files, revoked, downloads, last, message FROM link WHERE token = ?1",
    )?;
    let found =
        statement.query_row([token.0.as_slice()], |row| Ok((link(row)?, message_id(row, 6)?))).optional()?;
    let Some((link, message)) = found else { return Ok(None) };
    let Some(mut share) = share(connection, message)? else { return Ok(None) };
    share.files = files(connection, message)?;
    let downloads = link.downloads;
    let share = share.behind(link);
    let fetched = connection
        .prepare_cached("SELECT position, downloads FROM fetched WHERE token = ?1 ORDER BY position")?
        .query_map([token.0.as_slice()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(Landing { share, downloads, fetched }))
}

/// The share that a sender's link leads to.
pub fn sender_share(connection: &Connection, token: TokenHash) -> rusqlite::Result<Option<Share>> {
    let message = connection
        .prepare_cached("SELECT message FROM sender_link WHERE token = ?1")?
        .query_row([token.0.as_slice()], |row| message_id(row, 0))
        .optional()?;
    let Some(message) = message else { return Ok(None) };
    let Some(mut share) = share(connection, message)? else { return Ok(None) };
    share.files = files(connection, message)?;
    share.links = links(connection, message)?;
    Ok(Some(share))
}

/// Shares that the filter names, in its order.
pub fn shares(connection: &Connection, filter: &ShareFilter) -> rusqlite::Result<Vec<Share>> {
    let limit = crate::limit_of(filter.limit);
    let mut found = Vec::new();
    let mut behind = filter.behind;
    while found.len() < limit {
        let page = page(connection, filter, behind)?;
        let Some(last) = page.last() else { break };
        behind = Some(last.message);
        let is_last = page.len() < PAGE;
        for mut share in page {
            share.links = links(connection, share.message)?;
            share.files = files(connection, share.message)?;
            if matches(filter, &share) {
                found.push(share);
            }
        }
        if is_last {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

const SHARE: &str =
    "SELECT message, created, expires, sender, owner, domain, known, hold, revoked, access, password,
                            reminded, receipted, asked, subject, cap FROM share";

/// Ids sort by time of arrival.
fn page(
    connection: &Connection,
    filter: &ShareFilter,
    behind: Option<MessageId>,
) -> rusqlite::Result<Vec<Share>> {
    let only = filter.message.map(|message| message.0.as_bytes().to_vec());
    let before = filter.expires_before.map_or(i64::MAX, |before| before.0);
    let (beyond, order) = if filter.newest_first { ("<", "DESC") } else { (">", "ASC") };
    let behind = behind.map(|message| message.0.as_bytes().to_vec());
    let mut statement = connection.prepare_cached(&format!(
        "{SHARE} WHERE (?1 IS NULL OR message {beyond} ?1) AND (?2 IS NULL OR message = ?2) AND expires < ?3 AND (?4 IS NULL OR hold = ?4) \
         AND (?5 IS NULL OR known AND (asked OR NOT receipted OR NOT reminded AND expires < ?5)) \
         AND NOT (?6 AND EXISTS (SELECT 1 FROM message m WHERE m.id = share.message)) \
         AND (?8 IS NULL OR ?8 = CASE WHEN hold THEN 'hold' WHEN revoked IS NOT NULL THEN 'revoked' \
                                      WHEN expires <= ?9 THEN 'expired' ELSE 'open' END) \
         AND (?10 IS NULL OR EXISTS (SELECT 1 FROM attachment a JOIN blob b ON b.name = a.blob \
                                     WHERE a.message = share.message AND b.checked = ?10)) \
         AND (?11 IS NULL OR instr(lower(sender), ?11) OR instr(lower(owner), ?11) OR instr(lower(hex(message)), ?11) \
              OR message IN (SELECT message FROM attachment WHERE instr(lower(file_name), ?11)) \
              OR message IN (SELECT message FROM link WHERE instr(lower(recipients), ?11))) \
         ORDER BY message {order} LIMIT ?7"
    ))?;
    let untold = filter.untold.map(|before| before.0);
    let only_left = filter.left_queue;
    let state = filter.state.map(ShareState::word);
    let check = filter.check.map(Check::word);
    let (hold, page, now) = (filter.hold, PAGE as i64, filter.now.0);
    let part = filter.text.as_ref().or(filter.address.as_ref()).and_then(|text| searchable(text));
    let wanted = params![behind, only, before, hold, untold, only_left, page, state, now, check, part];
    statement.query_map(wanted, read_share)?.collect()
}

/// The longest part of a text that is found by octets where SQLite has folded ASCII only, and that JSON does not escape:
/// who has the text has this part, so that files and links are read for few others. Two letters that become ASCII in
/// lower case, the sign of the kelvin and the dotted capital I, are not found by `k` and `i`.
fn searchable(text: &str) -> Option<String> {
    let has_case = |c: char| !c.to_lowercase().eq([c]) || !c.to_uppercase().eq([c]);
    let ends = |c: char| matches!(c, '"' | '\\') || c.is_control() || (!c.is_ascii() && has_case(c));
    let part = text.split(ends).max_by_key(|part| part.len())?;
    Some(part.to_ascii_lowercase()).filter(|part| !part.is_empty())
}

fn share(connection: &Connection, message: MessageId) -> rusqlite::Result<Option<Share>> {
    let mut statement = connection.prepare_cached(&format!("{SHARE} WHERE message = ?1"))?;
    statement.query_row([message.0.as_bytes().as_slice()], read_share).optional()
}

fn read_share(row: &Row<'_>) -> rusqlite::Result<Share> {
    Ok(Share {
        message: message_id(row, 0)?,
        created: Timestamp(row.get(1)?),
        expires: Timestamp(row.get(2)?),
        sender: row.get(3)?,
        owner: row.get(4)?,
        domain: row.get(5)?,
        known_sender: row.get(6)?,
        hold: row.get(7)?,
        revoked: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        access: if row.get_ref(9)?.as_str()? == "code" { Access::Code } else { Access::Link },
        password: row.get(10)?,
        reminded: row.get(11)?,
        receipted: row.get(12)?,
        asked: row.get(13)?,
        subject: row.get(14)?,
        cap: row.get(15)?,
        files: Vec::new(),
        links: Vec::new(),
    })
}

fn access_word(access: Access) -> &'static str {
    match access {
        Access::Link => "link",
        Access::Code => "code",
    }
}

/// What is not understood is not given out.
fn read_check(word: &str) -> Check {
    Check::ALL.into_iter().find(|check| check.word() == word).unwrap_or(Check::Found)
}

fn files(connection: &Connection, message: MessageId) -> rusqlite::Result<Vec<SharedFile>> {
    let mut statement = connection.prepare_cached(
        "SELECT a.position, a.file_name, a.media_type, a.downloads, b.name, b.size, b.sha256, b.key, b.checked
         FROM attachment a JOIN blob b ON b.name = a.blob WHERE a.message = ?1 ORDER BY a.position",
    )?;
    let rows = statement.query_map([message.0.as_bytes().as_slice()], |row| {
        let len = row.get::<_, i64>(5)? as u64;
        Ok(SharedFile {
            position: row.get(0)?,
            file_name: row.get(1)?,
            media_type: row.get(2)?,
            size: len,
            sha256: hex(row.get_ref(6)?.as_blob()?),
            downloads: row.get::<_, i64>(3)? as u64,
            check: read_check(row.get_ref(8)?.as_str()?),
            blob: Some(BlobRef { name: row.get(4)?, len, key: row.get(7)? }),
        })
    })?;
    rows.collect()
}

fn links(connection: &Connection, message: MessageId) -> rusqlite::Result<Vec<LinkRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT token, recipients, files, revoked, downloads, last FROM link WHERE message = ?1 ORDER BY token",
    )?;
    statement.query_map([message.0.as_bytes().as_slice()], link)?.collect()
}

fn link(row: &Row<'_>) -> rusqlite::Result<LinkRow> {
    Ok(LinkRow {
        id: token(row)?.id(),
        recipients: serde_json::from_str(row.get_ref(1)?.as_str()?).unwrap_or_default(),
        files: match row.get_ref(2)? {
            ValueRef::Null => None,
            // What is not understood leads nowhere.
            files => Some(serde_json::from_str(files.as_str()?).unwrap_or_default()),
        },
        revoked: row.get::<_, Option<i64>>(3)?.map(Timestamp),
        downloads: row.get::<_, i64>(4)? as u64,
        last_download: row.get::<_, Option<i64>>(5)?.map(Timestamp),
    })
}

fn tokens(connection: &Connection, message: MessageId) -> rusqlite::Result<Vec<TokenHash>> {
    let mut statement = connection.prepare_cached("SELECT token FROM link WHERE message = ?1")?;
    statement.query_map([message.0.as_bytes().as_slice()], token)?.collect()
}

fn token(row: &Row<'_>) -> rusqlite::Result<TokenHash> {
    row.get(0).map(TokenHash)
}

/// What is charged to a user and a domain.
pub fn usage(connection: &Connection, owner: &str, domain: &str) -> rusqlite::Result<Usage> {
    let sum = |sql: &str, name: &str| -> rusqlite::Result<u64> {
        if name.is_empty() {
            return Ok(0);
        }
        let octets: i64 = connection.prepare_cached(sql)?.query_row([name], |row| row.get(0))?;
        Ok(octets as u64)
    };
    Ok(Usage {
        user: sum("SELECT coalesce(sum(size), 0) FROM share WHERE owner = ?1", owner)?,
        domain: sum("SELECT coalesce(sum(size), 0) FROM share WHERE domain = ?1", domain)?,
    })
}

/// Blobs that no share names.
pub fn doomed(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT name FROM blob WHERE doomed = 1 LIMIT ?1")?;
    statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))?.collect()
}

/// Blobs that wait for a scanner.
pub fn unchecked(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<BlobRef>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, size, key FROM blob WHERE checked = 'waiting' AND doomed = 0 ORDER BY created LIMIT ?1",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map([limit], |row| {
        Ok(BlobRef { name: row.get(0)?, len: row.get::<_, i64>(1)? as u64, key: row.get(2)? })
    })?;
    rows.collect()
}

/// What is said of a blob, by whom and when, written down for every message that has it.
pub fn set_check(
    connection: &Connection,
    blob: &str,
    check: Check,
    detail: &str,
    who: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let before: Option<Check> = connection
        .prepare_cached("SELECT checked FROM blob WHERE name = ?1")?
        .query_row([blob], |row| Ok(read_check(row.get_ref(0)?.as_str()?)))
        .optional()?;
    let Some(before) = before else { return Ok(()) };
    connection
        .prepare_cached("UPDATE blob SET checked = ?2, scanned = 1 WHERE name = ?1")?
        .execute(params![blob, check.word()])?;
    let files: Vec<(MessageId, u32, String)> = connection
        .prepare_cached("SELECT message, min(position), file_name FROM attachment WHERE blob = ?1 GROUP BY message ORDER BY message")?
        .query_map([blob], |row| Ok((message_id(row, 0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (message, position, name) in files {
        if let Some(line) = check_line(before, check, (position, &name), detail, message) {
            write_down(connection, line, who, now)?;
        }
    }
    Ok(())
}

/// Messages that a blob is a file of.
pub fn messages_of(connection: &Connection, blob: &str) -> rusqlite::Result<Vec<MessageId>> {
    let mut statement = connection
        .prepare_cached("SELECT DISTINCT message FROM attachment WHERE blob = ?1 ORDER BY message")?;
    statement.query_map([blob], |row| message_id(row, 0))?.collect()
}

/// Names without a row.
pub fn unknown(connection: &Connection, names: Vec<String>) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM blob WHERE name = ?1")?;
    let mut known = HashSet::new();
    for name in &names {
        if statement.exists([name])? {
            known.insert(name.clone());
        }
    }
    Ok(names.into_iter().filter(|name| !known.contains(name)).collect())
}

/// Lines of the audit log.
pub fn audit(
    connection: &Connection,
    after: i64,
    message: Option<MessageId>,
    limit: usize,
) -> rusqlite::Result<Vec<AuditRow>> {
    let of_it = if message.is_some() { "message = ?3" } else { "?3 IS NULL" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT number, at, what, who, message, detail, chain FROM audit
         WHERE {of_it} AND number > ?1 ORDER BY number LIMIT ?2"
    ))?;
    let limit = i64::try_from(crate::limit_of(limit)).unwrap_or(i64::MAX);
    let message = message.map(|message| message.0.as_bytes().to_vec());
    let rows = statement.query_map(params![after, limit, message], |row| {
        Ok(AuditRow {
            number: row.get(0)?,
            at: Timestamp(row.get(1)?),
            what: row.get(2)?,
            who: row.get(3)?,
            message: match row.get_ref(4)? {
                ValueRef::Null => None,
                _ => Some(message_id(row, 4)?),
            },
            detail: row.get(5)?,
            chain: row.get(6)?,
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema::{QUEUE, open};
    use super::*;

    #[test]
    fn a_search_finds_a_part_of_any_text_on_any_page() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open(&dir.path().join("queue.db"), "OFF", QUEUE).unwrap();
        connection
            .execute_batch(
                "CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
                 SELECT i, CAST(unhex(printf('01900000000070008000%012x', i)) AS BLOB) AS message FROM n;
                 INSERT INTO share (message, created, expires, sender, owner, domain, size, known, hold, access, reminded, receipted, asked)
                 SELECT message, i, i, 'user' || (i % 500) || '@from.test', 'user' || (i % 500), 'from.test', 1, 1, 0, 'link', 0, 0, 0 FROM n;
                 INSERT INTO blob (name, sha256, size, key, doomed, created) SELECT 'b' || i, randomblob(32), 1, x'', 0, 1 FROM n;
                 INSERT INTO attachment (message, position, blob, file_name, media_type, downloads)
                 SELECT message, 0, 'b' || i, 'Quarterly Report ' || i || '.pdf', 'application/pdf', 0 FROM n
                 UNION ALL SELECT message, 1, 'b' || i, 'Annex ' || i || '.pdf', 'application/pdf', 0 FROM n;
                 INSERT INTO link (token, message, recipients, downloads)
                 SELECT randomblob(32), message, '[\"friend' || (i % 700) || '@elsewhere.example\"]', 0 FROM n
                 UNION ALL SELECT randomblob(32), message, '[\"other' || (i % 700) || '@far.example\"]', 0 FROM n;",
            )
            .unwrap();
        for (text, found) in
            [("nothing of that", 0), ("REPORT 1999.", 1), ("Friend699@", 2), ("größ", 0), ("ANNEX", 50)]
        {
            let filter = ShareFilter {
                text: Some(text.to_owned()),
                newest_first: true,
                limit: 50,
                ..ShareFilter::default()
            };
            assert_eq!(shares(&connection, &filter).unwrap().len(), found, "{text}");
        }
    }
}
