//! `trace`: the running gateway's dialogues, live, in transcript form. Secrets were masked where the lines were made.

use serde_json::{Value, json};
use vouchsafe_gateway::control::{Request, Response};
use vouchsafe_gateway::trace::Line;

use super::args::{Place, TraceArgs, TracePart};
use super::ask;
use super::failure::Failure;
use super::output::{Output, cell};

/// Runs until the gateway stops or the reader goes away.
pub async fn run(place: &Place, args: TraceArgs, out: &mut Output<'_>) -> Result<(), Failure> {
    let mut line = ask::running(place).await?;
    let asked = line.send(&Request::Trace { text: args.search }).await;
    asked.map_err(|why| Failure::refused(why, "the gateway's log says more"))?;
    // Whose dialogue the last line was: a new one is announced.
    let mut speaker = String::new();
    while let Some(response) = line.next().await.map_err(|why| Failure::refused(why, "start it again"))? {
        let Response::Line(line) = ask::answered(Ok(response))? else { return Err(ask::unexpected()) };
        if args.only.is_none_or(|part| belongs(&line, part)) {
            let new = speaker != line.session;
            out.line(|| text(&line, new), || to_json(&line))?;
            speaker = line.session;
        }
    }
    Ok(())
}

fn belongs(line: &Line, part: TracePart) -> bool {
    match part {
        TracePart::Server => line.mark.starts_with(['C', 'S']),
        TracePart::Delegate => line.mark.starts_with('D'),
        TracePart::NextHop => line.mark.starts_with('N'),
    }
}

fn text(line: &Line, new: bool) -> String {
    let said = format!("{} {}", line.mark, cell(&line.text, 2000));
    match new {
        true => {
            format!("# {} session {} with {}\n{said}", line.at.rfc3339(), line.session, cell(&line.peer, 100))
        }
        false => said,
    }
}

fn to_json(line: &Line) -> Value {
    json!({
        "at": line.at.rfc3339(),
        "session": line.session,
        "peer": line.peer,
        "mark": line.mark,
        "text": line.text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_core::Timestamp;

    fn line(mark: &str, said: &str) -> Line {
        Line {
            at: Timestamp(1_795_415_738_000_000),
            session: "s7".to_owned(),
            peer: "192.0.2.7:4711".to_owned(),
            mark: mark.to_owned(),
            text: said.to_owned(),
        }
    }

    #[test]
    fn a_new_dialogue_is_announced() {
        assert_eq!(
            text(&line("C:", "EHLO client.example"), true),
            "# 2026-11-23T06:35:38Z session s7 with 192.0.2.7:4711\nC: EHLO client.example"
        );
        assert_eq!(text(&line("S:", "250 ok"), false), "S: 250 ok");
    }

    #[test]
    fn parts_are_told_by_their_marks() {
        assert!(belongs(&line("S:", ""), TracePart::Server));
        assert!(belongs(&line("D<", ""), TracePart::Delegate));
        assert!(belongs(&line("N>", ""), TracePart::NextHop));
        assert!(!belongs(&line("N>", ""), TracePart::Delegate));
    }
}
