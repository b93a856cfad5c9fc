//! Why was this mail refused, what became of that message.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use vouchsafe_core::RecipientState;
use vouchsafe_core::ports::{HistoryEvent, HistoryFilter, QueueRow};
use vouchsafe_gateway::control::{Request, Response as Answer};

use crate::Web;
use crate::page::{Page, refused, sentence, show};
use crate::session::Viewer;

/// Events shown.
const SHOWN: usize = 100;
const KINDS: &[&str] =
    &["accepted", "refused", "delivered", "deferred", "failed", "held", "login", "trial", "send_as"];

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
    events: Vec<HistoryEvent>,
}

async fn search(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let given = |name: &str| query.get(name).map_or("", |value| value.trim()).to_owned();
    let (text, kind) = (given("text"), given("kind"));
    let filter =
        HistoryFilter { text: text.clone(), kind: kind.clone(), limit: SHOWN, ..HistoryFilter::default() };
    let caller = viewer.caller();
    let page = Page::of("messages", "Messages", viewer);
    match web.control.run_as(&caller, Request::History { filter }).await {
        Answer::History { events } => show(&Messages { page, text, kind, kinds: KINDS, events }),
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
    rows: Vec<QueueRow>,
    events: Vec<HistoryEvent>,
}

async fn message(viewer: Viewer, State(web): State<Web>, Path(id): Path<String>) -> Response {
    let caller = viewer.caller();
    let page = Page::of("messages", format!("Message {id}"), viewer);
    let Ok(message) = id.parse() else {
        return sentence(StatusCode::NOT_FOUND, page, "That is no id of a message.");
    };
    match web.control.run_as(&caller, Request::QueueShow { message }).await {
        Answer::Message { rows, history } => {
            let taken = history.iter().any(|event| !["refused", "trial"].contains(&event.kind.as_str()));
            show(&Message { page, id, taken, rows, events: history })
        }
        other => refused(page, other),
    }
}
