//! What the gateway is doing now.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use vouchsafe_core::ports::{HistoryEvent, HistoryFilter};
use vouchsafe_gateway::control::{Request, Response as Answer, Status};

use crate::Web;
use crate::page::{Page, refused, show};
use crate::session::Viewer;

/// Events shown.
const LAST: usize = 20;

pub(crate) fn routes() -> Router<Web> {
    Router::new().route("/", get(overview))
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    page: Page,
    unset: bool,
    down: bool,
    status: Status,
    events: Vec<HistoryEvent>,
}

async fn overview(viewer: Viewer, State(web): State<Web>) -> Response {
    let caller = viewer.caller();
    let page = Page::of("overview", "Overview", viewer);
    let status = match web.control.run_as(&caller, Request::Status).await {
        Answer::Status(status) => status,
        other => return refused(page, other),
    };
    let last = HistoryFilter { limit: LAST, ..HistoryFilter::default() };
    let events = match web.control.run_as(&caller, Request::History { filter: last }).await {
        Answer::History { events } => events,
        other => return refused(page, other),
    };
    let (unset, down) = (status.delegates.is_empty(), status.delegates.iter().any(|(_, up)| !up));
    show(&Overview { page, unset, down, status, events })
}
