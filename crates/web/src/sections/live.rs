//! Sessions that run, and their dialogues as they happen: masked where they are made, kept nowhere. While nobody watches
//! no line is made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};
use vouchsafe_gateway::control::{Request, Response as Answer};
use vouchsafe_gateway::running::RunningSession;
use vouchsafe_gateway::trace::{Line, Pace, Watch};

use crate::Web;
use crate::page::{Page, refused, sentence, show};
use crate::session::{Viewer, Watcher};

/// Watchers at once.
pub(crate) const WATCHERS: usize = 20;
/// A watcher asks anew after so long: who may no longer look is let go then.
const LONGEST: Duration = Duration::from_secs(300);
/// An empty line keeps the way through front ends open.
const SIGN: Duration = Duration::from_secs(15);
/// How long lines are collected for a browser without script, and how many.
const COLLECT: (Duration, usize) = (Duration::from_secs(10), 500);

pub(crate) fn routes() -> Router<Web> {
    Router::new().route("/live", get(live)).route("/live/now", get(now)).route("/live/feed", get(feed))
}

#[derive(Template)]
#[template(path = "live.html")]
struct Live {
    page: Page,
    text: String,
    running: Rows,
    /// What was collected; `None`: nothing was asked for.
    dialogues: Option<Vec<(String, String, Vec<String>)>>,
}

#[derive(Template)]
#[template(path = "running.html")]
struct Rows {
    sessions: Vec<RunningSession>,
}

fn text(query: &BTreeMap<String, String>) -> String {
    query.get("text").map_or("", |text| text.trim()).to_owned()
}

async fn running(web: &Web, viewer: &Viewer, text: &str) -> Result<Rows, Answer> {
    match web.control.run_as(&viewer.caller(), Request::Running { text: text.to_owned() }).await {
        Answer::Running { sessions } => Ok(Rows { sessions }),
        other => Err(other),
    }
}

async fn live(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let (text, page) = (text(&query), Page::of("live", "Live", viewer.clone()));
    let dialogues = match query.contains_key("collect") {
        true => match watch(&web, &text) {
            Some(watching) => Some(collect(watching).await),
            None => return busy(page),
        },
        false => None,
    };
    match running(&web, &viewer, &text).await {
        Ok(running) => show(&Live { page, text, running, dialogues }),
        Err(other) => refused(page, other),
    }
}

async fn now(
    Watcher(viewer): Watcher,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    match running(&web, &viewer, &text(&query)).await {
        Ok(rows) => show(&rows),
        Err(other) => refused(Page::of("live", "Live", viewer), other),
    }
}

/// Somebody who watches, by the page or by the API.
pub(crate) struct Watching {
    lines: Watch,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

/// A place among the watchers; `None`: all are taken.
pub(crate) fn watch(web: &Web, text: &str) -> Option<Watching> {
    let place = Arc::clone(&web.watchers).try_acquire_owned().ok()?;
    let stop = web.control.gateway().tasks.stop_signal();
    Some(Watching { lines: web.control.trace(text, Pace::Readable), stop, _place: place })
}

fn busy(page: Page) -> Response {
    sentence(
        StatusCode::SERVICE_UNAVAILABLE,
        page,
        format!("{WATCHERS} others watch already; try again later."),
    )
}

impl Watching {
    /// The next line; `None` at `end` or when the gateway stops.
    pub(crate) async fn next(&mut self, end: Instant) -> Option<Line> {
        tokio::select! {
            line = timeout_at(end, self.lines.next()) => line.ok()?,
            _ = self.stop.wait_for(|stopped| *stopped) => None,
        }
    }
}

async fn collect(mut watching: Watching) -> Vec<(String, String, Vec<String>)> {
    let end = Instant::now() + COLLECT.0;
    let mut dialogues: Vec<(String, String, Vec<String>)> = Vec::new();
    for _ in 0..COLLECT.1 {
        let Some(line) = watching.next(end).await else { break };
        let shown = format!("{} {}", line.mark, line.text);
        match dialogues.iter_mut().find(|(session, peer, _)| *session == line.session && *peer == line.peer) {
            Some((.., lines)) => lines.push(shown),
            None => dialogues.push((line.session, line.peer, vec![shown])),
        }
    }
    dialogues
}

/// Server-sent events, a line each.
async fn feed(
    Watcher(viewer): Watcher,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let text = text(&query);
    if viewer.role < (Request::Trace { text: text.clone() }).needs() {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(watching) = watch(&web, &text) else { return busy(Page::of("live", "Live", viewer)) };
    let end = Instant::now() + LONGEST;
    let begin =
        stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from_static(b"retry: 3000\n\n")) });
    let lines = stream::unfold(watching, move |mut watching| async move {
        let sign = (Instant::now() + SIGN).min(end);
        let event = match watching.next(sign).await {
            Some(line) => {
                let Line { at, session, peer, mark, text } = line;
                let at = at.rfc3339();
                format!(
                    "data: {}\n\n",
                    json!({ "at": at, "session": session, "peer": peer, "mark": mark, "text": text })
                )
            }
            None if Instant::now() >= end || *watching.stop.borrow() => return None,
            None => ":\n\n".to_owned(),
        };
        Some((Ok(Bytes::from(event)), watching))
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(stream::StreamExt::chain(begin, lines))).into_response()
}
