//! `trial`: what delegates on trial would have decided otherwise, summed up from the history.

use serde_json::{Value, json};
use vouchsafe_core::trial::{Row, Subject};
use vouchsafe_gateway::control::{Request, Response};

use super::args::Place;
use super::ask;
use super::failure::Failure;
use super::output::{Output, cell, table};

/// Runs the command.
pub async fn run(place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
    match ask::existing(place, Request::TrialReport).await? {
        Response::Trial { rows } => Ok(out.give(|| text(&rows), || to_json(&rows))?),
        _ => Err(ask::unexpected()),
    }
}

fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No trial has found a difference.\n".to_owned();
    }
    let row = |row: &Row| {
        vec![
            row.would.words().to_owned(),
            subject(row).to_owned(),
            cell(&row.whom, 80),
            row.count.to_string(),
            row.first.rfc3339(),
            row.last.rfc3339(),
            row.delegate.clone(),
            cell(&row.said, 200),
        ]
    };
    let head = ["WOULD BE", "WHAT", "WHO", "TIMES", "FIRST", "LAST", "BY", "WORDS"];
    table(&head, &rows.iter().map(row).collect::<Vec<_>>())
}

fn subject(row: &Row) -> &'static str {
    match row.subject {
        Subject::Recipient => "recipient",
        Subject::Login => "login",
    }
}

fn to_json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "would": row.would,
            "subject": subject(row),
            "whom": row.whom,
            "count": row.count,
            "first": row.first.rfc3339(),
            "last": row.last.rfc3339(),
            "delegate": row.delegate,
            "said": row.said,
        })
    };
    Value::Array(rows.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_core::Timestamp;
    use vouchsafe_core::trial::Would;

    #[test]
    fn the_report_tells_who_how_often_and_in_which_words() {
        let at = Timestamp(1_795_415_738_000_000);
        let row = Row {
            subject: Subject::Recipient,
            whom: "info@example.com".to_owned(),
            would: Would::Refused,
            delegate: "office".to_owned(),
            count: 7,
            first: at,
            last: at,
            said: "550 5.1.1 User unknown".to_owned(),
        };
        let said = text(std::slice::from_ref(&row));
        assert!(
            said.lines().nth(1).unwrap().starts_with("refused   recipient  info@example.com  7 "),
            "{said}"
        );
        assert_eq!(to_json(&[row])[0]["would"], "refused");
    }
}
