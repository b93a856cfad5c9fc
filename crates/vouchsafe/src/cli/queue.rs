//! `queue list | show | retry | hold | release | bounce | delete`.

use serde_json::{Value, json};
use vouchsafe_core::envelope::{MessageId, RecipientState};
use vouchsafe_core::ports::{HistoryEvent, QueueAction, QueueFilter, QueueRow};
use vouchsafe_gateway::control::{Request, Response};

use super::args::{Place, QueueCommand, Which};
use super::ask;
use super::failure::Failure;
use super::history;
use super::output::{Output, cell, count, size, table};

/// Runs the command.
pub async fn run(place: &Place, command: QueueCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        QueueCommand::List { held, pending, address, limit } => {
            let held = match (held, pending) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            };
            let filter = QueueFilter { message: None, address, held, limit };
            let rows = list(place, filter).await?;
            out.give(|| list_text(&rows), || list_json(&rows))?;
            Ok(())
        }
        QueueCommand::Show { id } => {
            let message = parse_id(&id)?;
            match ask::existing(place, Request::QueueShow { message }).await? {
                Response::Message { rows, history } => {
                    out.give(|| show_text(&rows, &history), || show_json(&rows, &history))?;
                    Ok(())
                }
                _ => Err(ask::unexpected()),
            }
        }
        QueueCommand::Retry(which) => act(place, which, QueueAction::Retry, out).await,
        QueueCommand::Hold(which) => act(place, which, QueueAction::Hold, out).await,
        QueueCommand::Release(which) => act(place, which, QueueAction::Release, out).await,
        QueueCommand::Bounce { ids } => bounce(place, &ids, out).await,
        QueueCommand::Delete { which, yes } => {
            if !yes && which.ids.is_empty() {
                let filter = QueueFilter { address: which.address, ..QueueFilter::default() };
                let rows = list(place, filter).await?;
                if rows.is_empty() {
                    return Err(nothing_to(QueueAction::Delete));
                }
                return Err(Failure::refused(
                    format!("{} would be deleted, and nobody told", deliveries(rows.len() as u64)),
                    "say --yes if that is meant",
                ));
            }
            act(place, which, QueueAction::Delete, out).await
        }
    }
}

async fn list(place: &Place, filter: QueueFilter) -> Result<Vec<QueueRow>, Failure> {
    match ask::existing(place, Request::QueueList { filter }).await? {
        Response::Queue { rows } => Ok(rows),
        _ => Err(ask::unexpected()),
    }
}

async fn act(place: &Place, which: Which, action: QueueAction, out: &mut Output<'_>) -> Result<(), Failure> {
    let ids = which.ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>, _>>()?;
    let filters: Vec<QueueFilter> = match ids.is_empty() {
        true => vec![QueueFilter { address: which.address, ..QueueFilter::default() }],
        false => ids.iter().map(|id| QueueFilter { message: Some(*id), ..QueueFilter::default() }).collect(),
    };
    let mut changed = 0;
    for filter in filters {
        match ask::existing(place, Request::QueueAct { filter, action }).await? {
            Response::Changed { count } => changed += count,
            _ => return Err(ask::unexpected()),
        }
    }
    if changed == 0 && !which.all {
        return Err(nothing_to(action));
    }
    out.give(|| format!("{} {}.\n", deliveries(changed), done(action)), || json!({ "changed": changed }))?;
    Ok(())
}

/// Each by itself: what was given up before one that cannot be stays so.
async fn bounce(place: &Place, ids: &[String], out: &mut Output<'_>) -> Result<(), Failure> {
    let ids = ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>, _>>()?;
    for message in ids {
        match ask::existing(place, Request::QueueBounce { message }).await? {
            Response::Bounced { recipients, notices } => {
                let told = if notices > 0 { "its sender is told" } else { "nobody is told" };
                let given_up = count(recipients, "recipient", "recipients");
                let text = || format!("{message}: {given_up} given up, {told}.");
                out.line(
                    text,
                    || json!({ "message": message, "recipients": recipients, "notices": notices }),
                )?;
            }
            _ => return Err(ask::unexpected()),
        }
    }
    Ok(())
}

fn nothing_to(action: QueueAction) -> Failure {
    Failure::refused(format!("nothing to {}", verb(action)), "vouchsafe queue list shows what is there")
}

fn parse_id(text: &str) -> Result<MessageId, Failure> {
    text.parse().map_err(|_| {
        Failure::misused(format!("{text} is not a message id"), "vouchsafe queue list shows the ids")
    })
}

fn verb(action: QueueAction) -> &'static str {
    match action {
        QueueAction::Retry => "retry",
        QueueAction::Hold => "hold",
        QueueAction::Release => "release",
        QueueAction::Delete => "delete",
    }
}

fn done(action: QueueAction) -> &'static str {
    match action {
        QueueAction::Retry => "due now",
        QueueAction::Hold => "held",
        QueueAction::Release => "released and due now",
        QueueAction::Delete => "deleted",
    }
}

fn deliveries(number: u64) -> String {
    count(number, "delivery", "deliveries")
}

fn list_text(rows: &[QueueRow]) -> String {
    if rows.is_empty() {
        return "The queue is empty.\n".to_owned();
    }
    let lines: Vec<Vec<String>> = rows
        .iter()
        .flat_map(|row| {
            row.recipients.iter().map(|(to, state, reply)| {
                vec![
                    row.message.to_string(),
                    state_word(*state).to_owned(),
                    row.attempts.to_string(),
                    next_try(row, *state),
                    size(row.size),
                    sender(&row.sender),
                    cell(to, 60),
                    cell(reply, 80),
                ]
            })
        })
        .collect();
    table(&["MESSAGE", "STATE", "TRIES", "NEXT TRY", "SIZE", "FROM", "TO", "LAST REPLY"], &lines)
}

fn list_json(rows: &[QueueRow]) -> Value {
    Value::Array(rows.iter().map(row_json).collect())
}

fn row_json(row: &QueueRow) -> Value {
    let recipients: Vec<Value> = row
        .recipients
        .iter()
        .map(|(to, state, reply)| json!({ "address": to, "state": state_word(*state), "last_reply": reply }))
        .collect();
    json!({
        "message": row.message.to_string(),
        "route": row.route,
        "sender": row.sender,
        "recipients": recipients,
        "size": row.size,
        "received_at": row.received_at.rfc3339(),
        "due": row.due.rfc3339(),
        "attempts": row.attempts,
        "linked": row.linked,
    })
}

fn show_text(rows: &[QueueRow], history: &[HistoryEvent]) -> String {
    let mut out = String::new();
    if let Some(first) = rows.first() {
        out.push_str(&format!("Message   {}\n", first.message));
        out.push_str(&format!("From      {}\n", sender(&first.sender)));
        out.push_str(&format!("Received  {}\n", first.received_at.rfc3339()));
        out.push_str(&format!("Size      {}\n", size(first.size)));
    } else {
        out.push_str("No longer in the queue.\n");
    }
    for row in rows {
        let tries = count(u64::from(row.attempts), "try", "tries");
        let linked = if row.linked { ", large files as links" } else { "" };
        out.push_str(&format!("\nRoute {}, {tries}, due {}{linked}\n", row.route, row.due.rfc3339()));
        for (to, state, reply) in &row.recipients {
            out.push_str(&format!("  {:<9} {}\n", state_word(*state), cell(to, 320)));
            if !reply.is_empty() {
                out.push_str(&format!("            {}\n", cell(reply, 500)));
            }
        }
    }
    if !history.is_empty() {
        out.push_str(&format!("\nHistory\n{}", history::text(history)));
    }
    out
}

fn show_json(rows: &[QueueRow], history: &[HistoryEvent]) -> Value {
    json!({ "deliveries": list_json(rows), "history": history::to_json(history) })
}

fn next_try(row: &QueueRow, state: RecipientState) -> String {
    match state {
        RecipientState::Pending => row.due.rfc3339(),
        _ => "-".to_owned(),
    }
}

fn sender(address: &str) -> String {
    if address.is_empty() { "<>".to_owned() } else { cell(address, 60) }
}

fn state_word(state: RecipientState) -> &'static str {
    match state {
        RecipientState::Pending => "pending",
        RecipientState::Delivered => "delivered",
        RecipientState::Failed => "failed",
        RecipientState::Held => "held",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_core::Timestamp;

    fn rows() -> Vec<QueueRow> {
        let recipient = |a: &str, s, r: &str| (a.to_owned(), s, r.to_owned());
        vec![QueueRow {
            message: "019aaf0f72c07000800000000000abcd".parse().unwrap(),
            delivery: 7,
            route: "domain:example.com".to_owned(),
            sender: String::new(),
            recipients: vec![
                recipient("alice@example.com", RecipientState::Pending, "451 4.7.1 greylisted"),
                recipient("bob@example.com", RecipientState::Held, "550 5.7.1 \u{1b}[31mno"),
            ],
            size: 10_240,
            received_at: Timestamp(1_795_415_738_000_000),
            due: Timestamp(1_795_416_038_000_000),
            attempts: 1,
            linked: false,
        }]
    }

    #[test]
    fn the_list_has_a_line_for_each_recipient() {
        let expected = "\
MESSAGE                           STATE    TRIES  NEXT TRY              SIZE     FROM  TO                 LAST REPLY
019aaf0f72c07000800000000000abcd  pending  1      2026-11-23T06:40:38Z  10.2 kB  <>    alice@example.com  451 4.7.1 greylisted
019aaf0f72c07000800000000000abcd  held     1      -                     10.2 kB  <>    bob@example.com    550 5.7.1 ?[31mno
";
        assert_eq!(list_text(&rows()), expected);
        assert_eq!(list_text(&[]), "The queue is empty.\n");
    }

    #[test]
    fn scripts_get_stable_fields() {
        let expected = json!([{
            "message": "019aaf0f72c07000800000000000abcd",
            "route": "domain:example.com",
            "sender": "",
            "recipients": [
                { "address": "alice@example.com", "state": "pending", "last_reply": "451 4.7.1 greylisted" },
                { "address": "bob@example.com", "state": "held", "last_reply": "550 5.7.1 \u{1b}[31mno" },
            ],
            "size": 10240,
            "received_at": "2026-11-23T06:35:38Z",
            "due": "2026-11-23T06:40:38Z",
            "attempts": 1,
            "linked": false,
        }]);
        assert_eq!(list_json(&rows()), expected);
    }

    #[test]
    fn a_message_is_shown_with_its_recipients_and_history() {
        let expected = "\
Message   019aaf0f72c07000800000000000abcd
From      <>
Received  2026-11-23T06:35:38Z
Size      10.2 kB

Route domain:example.com, 1 try, due 2026-11-23T06:40:38Z
  pending   alice@example.com
            451 4.7.1 greylisted
  held      bob@example.com
            550 5.7.1 ?[31mno
";
        assert_eq!(show_text(&rows(), &[]), expected);
    }
}
