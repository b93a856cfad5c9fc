//! `guard list | lift`: what the running gateway counts against guessers, and the way out for one who is none.

use std::time::Duration;

use serde_json::{Value, json};
use vouchsafe_config::show_time;
use vouchsafe_core::guard::Row;
use vouchsafe_gateway::control::{Request, Response};

use super::args::{GuardCommand, Place};
use super::ask;
use super::failure::Failure;
use super::output::{Output, cell, table};

/// Runs the command.
pub async fn run(place: &Place, command: GuardCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    let mut line = ask::running(place).await?;
    match command {
        GuardCommand::List => match ask::answered(line.ask(&Request::GuardList).await)? {
            Response::Guard { rows } => Ok(out.give(|| text(&rows), || to_json(&rows))?),
            _ => Err(ask::unexpected()),
        },
        GuardCommand::Lift { what } => {
            match ask::answered(line.ask(&Request::GuardLift { what: what.clone() }).await)? {
                Response::Done => Ok(out.give(
                    || format!("Nothing is held against {} any more.\n", cell(&what, 80)),
                    || json!({ "done": true }),
                )?),
                _ => Err(ask::unexpected()),
            }
        }
    }
}

fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "Nothing is held against anyone.\n".to_owned();
    }
    let row = |row: &Row| {
        vec![
            row.kind.word().to_owned(),
            cell(&row.whom, 80),
            format!("{} of {}", row.charged, row.allowed),
            show_time(Duration::from_secs(row.clears_in)),
        ]
    };
    table(&["COUNTS", "OF", "USED", "CLEARS IN"], &rows.iter().map(row).collect::<Vec<_>>())
}

fn to_json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "kind": row.kind.word(),
            "of": row.whom,
            "charged": row.charged,
            "allowed": row.allowed,
            "clears_in": row.clears_in,
        })
    };
    Value::Array(rows.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_core::guard::Kind;

    #[test]
    fn counters_are_listed_with_their_budget() {
        let rows =
            [Row { kind: Kind::Account, whom: "alice".into(), charged: 2, allowed: 3, clears_in: 2040 }];
        assert_eq!(text(&rows), "COUNTS   OF     USED    CLEARS IN\naccount  alice  2 of 3  34m\n");
        assert_eq!(to_json(&rows)[0]["clears_in"], 2040);
    }
}
