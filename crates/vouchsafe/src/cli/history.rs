//! `history`: what became of a message, a sender, a recipient.

use serde_json::{Value, json};
use vouchsafe_core::ports::{HistoryEvent, HistoryFilter};
use vouchsafe_gateway::control::{Request, Response};

use super::args::{HistoryArgs, Place};
use super::ask;
use super::failure::Failure;
use super::output::{Output, cell, table};

/// Runs the command.
pub async fn run(place: &Place, args: HistoryArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let filter = HistoryFilter { text: args.search, limit: args.limit, ..HistoryFilter::default() };
    let request = Request::History { filter };
    match ask::existing(place, request).await? {
        Response::History { events } => {
            let none = "Nothing found.\n".to_owned();
            out.give(|| if events.is_empty() { none } else { text(&events) }, || to_json(&events))?;
            Ok(())
        }
        _ => Err(ask::unexpected()),
    }
}

/// A line for each event.
pub fn text(events: &[HistoryEvent]) -> String {
    let row = |e: &HistoryEvent| {
        vec![
            e.at.rfc3339(),
            e.kind.clone(),
            e.message.map_or_else(|| cell(&e.session, 40), |m| m.to_string()),
            if e.sender.is_empty() { "<>".to_owned() } else { cell(&e.sender, 60) },
            cell(&e.recipient, 60),
            e.blame.clone(),
            cell(&e.detail, 200),
        ]
    };
    let head = ["TIME", "EVENT", "MESSAGE OR SESSION", "FROM", "TO", "BLAME", "DETAIL"];
    table(&head, &events.iter().map(row).collect::<Vec<_>>())
}

/// Stable fields.
pub fn to_json(events: &[HistoryEvent]) -> Value {
    let of = |e: &HistoryEvent| {
        json!({
            "at": e.at.rfc3339(),
            "session": e.session,
            "message": e.message.map(|m| m.to_string()),
            "kind": e.kind,
            "sender": e.sender,
            "recipient": e.recipient,
            "blame": e.blame,
            "detail": e.detail,
        })
    };
    Value::Array(events.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_core::Timestamp;

    fn event() -> HistoryEvent {
        HistoryEvent {
            at: Timestamp(1_795_415_738_000_000),
            session: "s1".to_owned(),
            message: None,
            kind: "refused".to_owned(),
            sender: "eve@example.net".to_owned(),
            recipient: "nobody@example.com".to_owned(),
            blame: "client".to_owned(),
            detail: "550 5.1.1 no such user\r\n".to_owned(),
        }
    }

    #[test]
    fn an_event_is_a_line() {
        let expected = "\
TIME                  EVENT    MESSAGE OR SESSION  FROM             TO                  BLAME   DETAIL
2026-11-23T06:35:38Z  refused  s1                  eve@example.net  nobody@example.com  client  550 5.1.1 no such user
";
        assert_eq!(text(&[event()]), expected);
    }

    #[test]
    fn scripts_get_stable_fields() {
        let value = to_json(&[event()]);
        assert_eq!(value[0]["at"], "2026-11-23T06:35:38Z");
        assert_eq!(value[0]["message"], Value::Null);
        assert_eq!(value[0]["blame"], "client");
    }
}
