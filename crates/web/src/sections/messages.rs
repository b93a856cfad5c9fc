//! Why was this mail refused, what became of that message.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use vouchsafe_core::attachments::{Share, ShareFilter};
use vouchsafe_core::figures::{self, Figure};
use vouchsafe_core::ports::{HistoryEvent, HistoryFilter, QueueRow};
use vouchsafe_core::{RecipientState, Timestamp};
use vouchsafe_gateway::control::{Request, Response as Answer};

use crate::Web;
use crate::forms::encode;
use crate::page::{Page, refused, sentence, show};
use crate::session::Viewer;

/// Events shown.
const SHOWN: usize = 100;
const KINDS: &[&str] =
    &["accepted", "refused", "delivered", "deferred", "failed", "held", "login", "trial", "send_as"];
/// Spans to choose from: word, title, hours.
const SPANS: &[(&str, &str, u64)] = &[
    ("", "any time", 0),
    ("hour", "the last hour", 1),
    ("day", "the last day", 24),
    ("week", "the last week", 7 * 24),
];

pub(crate) fn routes() -> Router<Web> {
    Router::new().route("/messages", get(search)).route("/messages/{id}", get(message))
}

#[derive(Template)]
#[template(path = "messages.html")]
struct Messages {
    page: Page,
    text: String,
    kind: String,
    kinds: &'static [&'static str],
    span: String,
    spans: &'static [(&'static str, &'static str, u64)],
    /// The query of the next page; empty: there is none.
    older: String,
    explained: Vec<Explained>,
    events: Vec<HistoryEvent>,
}

async fn search(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let given = |name: &str| query.get(name).map_or("", |value| value.trim()).to_owned();
    let (text, kind, span) = (given("text"), given("kind"), given("span"));
    let hours = SPANS.iter().find(|(word, ..)| *word == span).map_or(0, |(.., hours)| *hours);
    let filter = HistoryFilter {
        text: text.clone(),
        kind: kind.clone(),
        since: (hours > 0).then(|| web.now() - Duration::from_secs(hours * 3600)),
        until: given("until").parse().ok().map(Timestamp),
        limit: SHOWN,
    };
    let caller = viewer.caller();
    let page = Page::of("messages", "Messages", viewer);
    match web.control.run_as(&caller, Request::History { filter }).await {
        Answer::History { events } => {
            let last = events.last().filter(|_| events.len() == SHOWN);
            let older = last.map_or_else(String::new, |last| {
                format!(
                    "text={}&kind={}&span={}&until={}",
                    encode(&text),
                    encode(&kind),
                    encode(&span),
                    last.at.0
                )
            });
            // A search for one session is the question why.
            let one = events.first().filter(|event| !text.is_empty() && event.session == text);
            let explained = one.map_or_else(Vec::new, |_| explain(&events));
            show(&Messages { page, text, kind, kinds: KINDS, span, spans: SPANS, older, explained, events })
        }
        other => refused(page, other),
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    page: Page,
    id: String,
    /// The message was accepted: it is here, or was.
    taken: bool,
    explained: Vec<Explained>,
    rows: Vec<QueueRow>,
    /// Its files behind links.
    share: Option<Share>,
    events: Vec<HistoryEvent>,
}

async fn message(viewer: Viewer, State(web): State<Web>, Path(id): Path<String>) -> Response {
    let caller = viewer.caller();
    let page = Page::of("messages", format!("Message {id}"), viewer);
    let Ok(message) = id.parse() else {
        return sentence(StatusCode::NOT_FOUND, page, "That is no id of a message.");
    };
    let filter = ShareFilter { message: Some(message), ..ShareFilter::default() };
    let share = match web.control.run_as(&caller, Request::AttachmentsList { filter }).await {
        Answer::Shares { shares, .. } => shares.into_iter().next(),
        other => return refused(page, other),
    };
    match web.control.run_as(&caller, Request::QueueShow { message }).await {
        Answer::Message { rows, history } => {
            let taken = history.iter().any(|event| !["refused", "trial"].contains(&event.kind.as_str()));
            let explained = explain(&history);
            show(&Message { page, id, taken, explained, rows, share, events: history })
        }
        other => refused(page, other),
    }
}

/// Why somebody was refused, for the administrator.
struct Explained {
    recipient: String,
    /// The reply that the sender saw.
    reply: String,
    /// Whose word it was, and the words.
    cause: String,
    /// What it means, and what to do.
    meaning: &'static str,
    /// (title, link)
    links: Vec<(&'static str, String)>,
}

/// Refusals among these events, at most ten.
fn explain(events: &[HistoryEvent]) -> Vec<Explained> {
    let refusals = events.iter().filter(|event| event.kind == "refused");
    refusals.take(10).map(explained).collect()
}

fn explained(event: &HistoryEvent) -> Explained {
    // `REPLY (CAUSE)`.
    let (reply, cause) = match event.detail.strip_suffix(')').and_then(|words| words.split_once(" (")) {
        Some((reply, cause)) => (reply.to_owned(), cause.to_owned()),
        None => (event.detail.clone(), String::new()),
    };
    let about = format!("/delegates?text={}#verdicts", encode(&event.recipient));
    let test = format!("/delegates?address={}#recipient", encode(&event.recipient));
    let (meaning, links) = match figures::of_event(event, false) {
        Some(Figure::RefusedUnknown) => (
            "Whoever knows the recipients of this domain says that this one does not exist. If it should, test it now; a no that is remembered ends by itself, or is forgotten by hand.",
            vec![("Test this recipient", test), ("What is remembered of it", about)],
        ),
        Some(Figure::RefusedRelay) => (
            "The recipient's domain is none of ours, and the client neither logged in nor is in a trusted network. Mail clients must log in; a domain of yours must be named in the settings.",
            vec![
                ("Domains", "/settings?section=domain".to_owned()),
                ("Trusted networks", "/settings?section=relay".to_owned()),
            ],
        ),
        Some(Figure::RefusedGuess) => (
            "This client named too many recipients that do not exist. It was put off, and nobody was asked.",
            vec![("What is held against clients", "/delegates#guard".to_owned())],
        ),
        Some(Figure::RefusedUnclear) => (
            "Nobody could tell whether the recipient exists, so the sender was asked to try again later. Nothing is lost: its server keeps the message and tries again.",
            vec![("How the delegates are", "/delegates".to_owned()), ("Test this recipient", test)],
        ),
        _ => ("The reply says why.", vec![("Test this recipient", test)]),
    };
    Explained { recipient: event.recipient.clone(), reply, cause, meaning, links }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_taken_apart_into_reply_and_cause() {
        let event = HistoryEvent {
            at: Timestamp(0),
            session: "0a".to_owned(),
            message: None,
            kind: "refused".to_owned(),
            sender: String::new(),
            recipient: "bob@example.com".to_owned(),
            blame: "client".to_owned(),
            detail: "550 5.1.1 No such user (said: 550 5.1.1 User unknown (in table))".to_owned(),
        };
        let explained = explained(&event);
        assert_eq!(explained.reply, "550 5.1.1 No such user");
        assert_eq!(explained.cause, "said: 550 5.1.1 User unknown (in table)");
        assert!(explained.links[0].1.contains("bob%40example.com"));
    }
}
