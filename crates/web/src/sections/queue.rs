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

pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/queue", get(list))
        .route("/queue/act", post(act))
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
    let address = query.get("address").map_or("", |text| text.trim()).to_owned();
    let held = query.contains_key("held");
    let filter = QueueFilter {
        address: Some(address.clone()).filter(|address| !address.is_empty()),
        held: held.then_some(true),
        limit: ROWS,
        ..QueueFilter::default()
    };
    let caller = viewer.caller();
    let page = Page::of("queue", "Queue", viewer);
    match web.control.run_as(&caller, Request::QueueList { filter }).await {
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
