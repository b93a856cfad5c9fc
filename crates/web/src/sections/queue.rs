//! What waits, and what is done about it by hand.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use vouchsafe_core::ports::{QueueAction, QueueFilter, QueueRow};
use vouchsafe_core::{RecipientState, Timestamp};
use vouchsafe_gateway::control::{Request, Response as Answer};

use crate::Web;
use crate::forms::{Form, field};
use crate::page::{Page, refused, sentence, show};
use crate::session::Viewer;

/// Deliveries summed up by destination at most.
const LOOK: usize = 10_000;
/// Rows of a page: it stays under 100 KB.
const ROWS: usize = 100;
/// Deliveries named before many are changed.
const NAMED: usize = 20;

pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/queue", get(list))
        .route("/queue/act", post(act))
        .route("/queue/many", get(ask_many).post(act_on_many))
        .route("/queue/destinations", get(destinations))
}

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    page: Page,
    address: String,
    held: bool,
    rows: Vec<QueueRow>,
}

async fn list(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    shown(&web, Page::of("queue", "Queue", viewer), &query).await
}

/// The list, as far as a query narrows it.
async fn shown(web: &Web, page: Page, query: &BTreeMap<String, String>) -> Response {
    let Some(viewer) = &page.viewer else { return refused(page, Answer::Done) };
    let filter = QueueFilter { limit: ROWS, ..searched(query) };
    let (address, held) = (filter.address.clone().unwrap_or_default(), filter.held.is_some());
    match web.control.run_as(&viewer.caller(), Request::QueueList { filter }).await {
        Answer::Queue { rows } => show(&Queue { page, address, held, rows }),
        other => refused(page, other),
    }
}

/// What waits for one destination.
#[derive(Default)]
struct Destination {
    route: String,
    /// A part of an address that leads to its rows.
    address: String,
    deliveries: usize,
    held: usize,
    octets: u64,
    oldest: Timestamp,
    next: Timestamp,
    words: String,
}

#[derive(Template)]
#[template(path = "destinations.html")]
struct Destinations {
    page: Page,
    rows: Vec<Destination>,
    looked: usize,
}

async fn destinations(viewer: Viewer, State(web): State<Web>) -> Response {
    let caller = viewer.caller();
    let page = Page::of("queue", "Queue by destination", viewer);
    let filter = QueueFilter { limit: LOOK, ..QueueFilter::default() };
    let rows = match web.control.run_as(&caller, Request::QueueList { filter }).await {
        Answer::Queue { rows } => rows,
        other => return refused(page, other),
    };
    let looked = rows.len();
    let mut found: BTreeMap<String, Destination> = BTreeMap::new();
    for row in rows {
        let there = found.entry(row.route.clone()).or_insert_with(|| Destination {
            address: row
                .route
                .strip_prefix("domain:")
                .map_or_else(String::new, |domain| format!("@{domain}")),
            route: row.route.clone(),
            oldest: row.received_at,
            next: row.due,
            ..Destination::default()
        });
        there.deliveries += 1;
        there.octets += row.size;
        there.oldest = there.oldest.min(row.received_at);
        there.next = there.next.min(row.due);
        there.held += row.recipients.iter().filter(|(_, state, _)| *state == RecipientState::Held).count();
        if let Some((.., words)) = row.recipients.into_iter().find(|(.., words)| !words.is_empty()) {
            there.words = words;
        }
    }
    let mut rows: Vec<Destination> = found.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.deliveries));
    rows.truncate(ROWS);
    show(&Destinations { page, rows, looked })
}

/// What is done to all that a search finds, in the imperative; `None`: nothing of that name.
fn many(word: &str) -> Option<(QueueAction, &'static str)> {
    Some(match word {
        "retry" => (QueueAction::Retry, "Retry now"),
        "hold" => (QueueAction::Hold, "Hold"),
        "release" => (QueueAction::Release, "Release"),
        "delete" => (QueueAction::Delete, "Delete without a notice to anyone"),
        _ => return None,
    })
}

/// What a search of the queue finds, from a query or a form.
fn searched(given: &BTreeMap<String, String>) -> QueueFilter {
    let address = given.get("address").map(|text| text.trim().to_owned());
    let held = given.contains_key("held").then_some(true);
    QueueFilter { address: address.filter(|text| !text.is_empty()), held, ..QueueFilter::default() }
}

#[derive(Template)]
#[template(path = "queue_many.html")]
struct Many {
    page: Page,
    words: &'static str,
    action: String,
    danger: bool,
    address: String,
    held: bool,
    /// Deliveries that it would be done to, as far as they were counted.
    count: String,
    rows: Vec<QueueRow>,
    more: bool,
}

/// What an act on many would do, before it is done.
async fn ask_many(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let caller = viewer.caller();
    let page = Page::of("queue", "Queue", viewer);
    let action = query.get("action").cloned().unwrap_or_default();
    let Some((kind, words)) = many(&action) else {
        return sentence(StatusCode::BAD_REQUEST, page, "There is nothing of that name to do.");
    };
    let filter = searched(&query);
    let (address, held) = (filter.address.clone().unwrap_or_default(), filter.held.is_some());
    let filter = QueueFilter { limit: LOOK, ..filter };
    let mut rows = match web.control.run_as(&caller, Request::QueueList { filter }).await {
        Answer::Queue { rows } => rows,
        other => return refused(page, other),
    };
    let count = match rows.len() {
        1 => "1 delivery".to_owned(),
        LOOK => format!("{LOOK} deliveries or more"),
        count => format!("{count} deliveries"),
    };
    let more = rows.len() > NAMED;
    rows.truncate(NAMED);
    show(&Many { page, words, action, danger: kind == QueueAction::Delete, address, held, count, rows, more })
}

async fn act_on_many(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let caller = viewer.caller();
    let page = Page::of("queue", "Queue", viewer);
    let Some((action, words)) = many(field(&form, "action")) else {
        return sentence(StatusCode::BAD_REQUEST, page, "There is nothing of that name to do.");
    };
    let filter = searched(&form);
    match web.control.run_as(&caller, Request::QueueAct { filter, action }).await {
        Answer::Changed { count } => {
            let notice =
                format!("{words}: done to {count} {}.", if count == 1 { "delivery" } else { "deliveries" });
            shown(&web, Page { notice, ..page }, &BTreeMap::new()).await
        }
        other => refused(page, other),
    }
}

async fn act(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let caller = viewer.caller();
    let page = Page::of("queue", "Queue", viewer);
    let word = field(&form, "action");
    let action = match word {
        "retry" => Some(QueueAction::Retry),
        "hold" => Some(QueueAction::Hold),
        "release" => Some(QueueAction::Release),
        "delete" => Some(QueueAction::Delete),
        _ => None,
    };
    // One message at a time: a form without an id must never mean all.
    let request = match (field(&form, "message").parse(), action) {
        (Ok(message), Some(action)) => {
            let filter = QueueFilter { message: Some(message), ..QueueFilter::default() };
            Some((message, Request::QueueAct { filter, action }))
        }
        (Ok(message), None) if word == "bounce" => Some((message, Request::QueueBounce { message })),
        _ => None,
    };
    let Some((message, request)) = request else {
        return sentence(StatusCode::BAD_REQUEST, page, "That is no message or nothing to do with it.");
    };
    match web.control.run_as(&caller, request).await {
        Answer::Changed { .. } | Answer::Bounced { .. } => {
            Redirect::to(&format!("/messages/{message}")).into_response()
        }
        other => refused(page, other),
    }
}
