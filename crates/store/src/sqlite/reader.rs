//! The reader: lists and look-ups on connections of their own, so that a long one never delays a commit.
//!
//! One thread, one question at a time, each bounded by a limit: a reader that stayed would keep the WAL from
//! shrinking.

use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use vouchsafe_core::attachments::{AuditRow, BlobRef, Landing, Share, ShareFilter, Usage};
use vouchsafe_core::links::TokenHash;
use vouchsafe_core::ports::{
    HistoryEvent, HistoryFilter, KeptCounter, KeptVerdict, QueueFilter, QueueRow, User,
};
use vouchsafe_core::{MessageId, Timestamp};

use super::records;
use super::request::Answer;
use super::search;
use super::shares;
use super::tables;
use super::verdicts;
use super::writer::fault_of_failure;

/// What callers want to read.
pub enum Question {
    /// The queue.
    List(QueueFilter, Answer<Vec<QueueRow>>),
    /// All users.
    Users(Answer<Vec<User>>),
    /// A value.
    Value(&'static str, Answer<Option<String>>),
    /// Records of a kind, the highest keys first.
    Records(&'static str, usize, Answer<Vec<(String, String)>>),
    /// The newest events that fit.
    Events(HistoryFilter, Answer<Vec<HistoryEvent>>),
    /// Slots of figures.
    Slots(Timestamp, Answer<Vec<(Timestamp, String)>>),
    /// The newest events of trials.
    Trials(usize, Answer<Vec<HistoryEvent>>),
    /// What is kept of a delegate's verdicts.
    Verdicts(String, Answer<Vec<KeptVerdict>>),
    /// The guard's counters.
    Counters(Answer<Vec<KeptCounter>>),
    /// Where a token leads.
    Landing(TokenHash, Answer<Option<Landing>>),
    /// The share that a sender's link leads to.
    SenderShare(TokenHash, Answer<Option<Share>>),
    /// Shares.
    Shares(ShareFilter, Answer<Vec<Share>>),
    /// What is charged to a user and a domain.
    Usage(String, String, Answer<Usage>),
    /// Blobs that no share names, at most so many.
    Doomed(usize, Answer<Vec<String>>),
    /// Blobs that wait for a scanner, at most so many.
    Unchecked(usize, Answer<Vec<BlobRef>>),
    /// Messages that a blob is a file of.
    MessagesOf(String, Answer<Vec<MessageId>>),
    /// Those of these blobs that have no row.
    Unknown(Vec<String>, Answer<Vec<String>>),
    /// Lines of the audit log behind a number, at most so many.
    Audit(i64, Option<MessageId>, usize, Answer<Vec<AuditRow>>),
    /// Uploads that have not ended.
    Uploads(Answer<Vec<(String, String)>>),
    /// The store is being dropped.
    Stop,
}

/// Answers until told to stop.
pub fn run(queue: &Connection, history: &Connection, questions: &Receiver<Question>) {
    for question in questions {
        // A caller that has gone wants no answer.
        match question {
            Question::List(filter, answer) => {
                let _ = answer.send(tables::list(queue, filter).map_err(fault_of_failure));
            }
            Question::Users(answer) => {
                let _ = answer.send(users(queue).map_err(|error| tables::fault_of(&error)));
            }
            Question::Value(key, answer) => {
                let _ = answer.send(value(queue, key).map_err(|error| tables::fault_of(&error)));
            }
            Question::Records(kind, newest, answer) => {
                let found = records::load(queue, kind, newest);
                let _ = answer.send(found.map_err(|error| tables::fault_of(&error)));
            }
            Question::Events(filter, answer) => give(answer, search::events(history, &filter)),
            Question::Slots(since, answer) => give(answer, search::slots(history, since)),
            Question::Trials(limit, answer) => give(answer, search::trials(history, limit)),
            Question::Verdicts(delegate, answer) => {
                let _ =
                    answer.send(verdicts::load(history, &delegate).map_err(|error| tables::fault_of(&error)));
            }
            Question::Counters(answer) => {
                let _ = answer.send(verdicts::counters(queue).map_err(|error| tables::fault_of(&error)));
            }
            Question::Landing(token, answer) => give(answer, shares::landing(queue, token)),
            Question::SenderShare(token, answer) => give(answer, shares::sender_share(queue, token)),
            Question::Shares(filter, answer) => give(answer, shares::shares(queue, &filter)),
            Question::Usage(owner, domain, answer) => give(answer, shares::usage(queue, &owner, &domain)),
            Question::Doomed(limit, answer) => give(answer, shares::doomed(queue, limit)),
            Question::MessagesOf(blob, answer) => give(answer, shares::messages_of(queue, &blob)),
            Question::Unchecked(limit, answer) => give(answer, shares::unchecked(queue, limit)),
            Question::Unknown(names, answer) => give(answer, shares::unknown(queue, names)),
            Question::Audit(after, message, limit, answer) => {
                give(answer, shares::audit(queue, after, message, limit));
            }
            Question::Uploads(answer) => give(answer, shares::uploads(queue)),
            Question::Stop => return,
        }
    }
}

/// A caller that has gone wants no answer.
fn give<T>(answer: Answer<T>, found: rusqlite::Result<T>) {
    let _ = answer.send(found.map_err(|error| tables::fault_of(&error)));
}

fn users(queue: &Connection) -> rusqlite::Result<Vec<User>> {
    let mut statement =
        queue.prepare_cached("SELECT name, password_hash, created FROM user ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        Ok(User { name: row.get(0)?, password_hash: row.get(1)?, created: Timestamp(row.get(2)?) })
    })?;
    rows.collect()
}

fn value(queue: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = queue.prepare_cached("SELECT value FROM value WHERE key = ?1")?;
    statement.query_map([key], |row| row.get(0))?.next().transpose()
}
