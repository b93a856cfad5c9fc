//! `status`: how the gateway fares. Also says when it does not run, and then ends with 1.

use serde_json::{Value, json};
use vouchsafe_gateway::control::{AnyDomain, Request, Response, Status};

use super::args::Place;
use super::ask;
use super::failure::Failure;
use super::output::{Output, cell, count, size};

/// Runs the command.
pub async fn run(place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
    let running = ask::open(&ask::settings(place)?).await?;
    let runs = running.is_some();
    let response = match running {
        Some(mut line) => ask::answered(line.ask(&Request::Status).await)?,
        None => ask::existing(place, Request::Status).await?,
    };
    let Response::Status(status) = response else { return Err(ask::unexpected()) };
    out.give(|| text(&status, runs), || to_json(&status, runs))?;
    if runs { Ok(()) } else { Err(Failure::Told) }
}

fn text(status: &Status, runs: bool) -> String {
    let queue = &status.queue;
    let mut out = match runs {
        true => format!("{} runs, vouchsafe {}\n", status.hostname, status.version),
        false => "The gateway does not run; vouchsafe serve starts it.\n".to_owned(),
    };
    out.push_str(&format!(
        "Queue     {}, {}, {}, {}\n",
        count(queue.messages, "message", "messages"),
        count(queue.pending, "delivery pending", "deliveries pending"),
        count(queue.held, "recipient held", "recipients held"),
        size(queue.octets),
    ));
    if runs {
        for (name, reachable) in &status.delegates {
            let word = if *reachable { "reachable" } else { "not reachable, tried again shortly" };
            let learned = status.health.get(name).and_then(|health| health.refusals_learned);
            let early = learned.map_or(String::new(), |n| {
                format!("; it closes sessions early: {} in one", count(n, "refusal", "refusals"))
            });
            out.push_str(&format!("Delegate  {name}: {word}{early}\n"));
        }
        if let Some(any) = &status.any_domain {
            let AnyDomain { delegate, why, .. } = any;
            out.push_str(&match any.open {
                true => format!("Domain *  open: {delegate} refuses domains of others\n"),
                false => format!("Domain *  CLOSED, mail is put off: {delegate}: {}\n", cell(why, 200)),
            });
        }
    }
    out
}

fn to_json(status: &Status, runs: bool) -> Value {
    let queue = &status.queue;
    let delegate = |(name, reachable): &(String, bool)| {
        // Only who runs has tried them.
        let learned = status.health.get(name).and_then(|health| health.refusals_learned);
        json!({ "name": name, "reachable": runs.then_some(*reachable), "refusals_learned": learned })
    };
    json!({
        "running": runs,
        "hostname": status.hostname,
        "version": status.version,
        "queue": {
            "messages": queue.messages,
            "pending": queue.pending,
            "held": queue.held,
            "octets": queue.octets,
        },
        "any_domain": status.any_domain,
        "delegates": status.delegates.iter().map(delegate).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_core::ports::QueueStats;
    use vouchsafe_gateway::delegate::Health;

    fn status() -> Status {
        Status {
            hostname: "gw.example.com".to_owned(),
            version: "0.1.0".to_owned(),
            queue: QueueStats { messages: 2, pending: 1, held: 1, octets: 20_480 },
            delegates: vec![("office".to_owned(), false)],
            any_domain: None,
            health: std::collections::BTreeMap::new(),
            sessions: 0,
            oldest: None,
            free: None,
        }
    }

    #[test]
    fn a_running_gateway_shows_queue_and_delegates() {
        let expected = "\
gw.example.com runs, vouchsafe 0.1.0
Queue     2 messages, 1 delivery pending, 1 recipient held, 20.4 kB
Delegate  office: not reachable, tried again shortly
";
        assert_eq!(text(&status(), true), expected);
        assert_eq!(to_json(&status(), true)["delegates"][0]["reachable"], json!(false));
    }

    #[test]
    fn a_delegate_that_relays_is_told() {
        let any = AnyDomain { delegate: "office".to_owned(), open: false, why: "it said 250".to_owned() };
        let status = Status { any_domain: Some(any), ..status() };
        assert!(text(&status, true).ends_with("Domain *  CLOSED, mail is put off: office: it said 250\n"));
    }

    #[test]
    fn a_delegate_that_closes_early_is_told() {
        let health = Health { refusals_learned: Some(2), ..Health::default() };
        let status = Status { health: [("office".to_owned(), health)].into(), ..status() };
        assert!(text(&status, true).ends_with("; it closes sessions early: 2 refusals in one\n"));
        assert_eq!(to_json(&status, true)["delegates"][0]["refusals_learned"], json!(2));
    }

    #[test]
    fn a_stopped_gateway_says_nothing_of_its_delegates() {
        assert!(text(&status(), false).starts_with("The gateway does not run"));
        assert_eq!(to_json(&status(), false)["delegates"][0]["reachable"], Value::Null);
    }
}
