//! Delegates: tests, doctor, remembered verdicts, what the guard holds against whom.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use vouchsafe_core::guard::Kind;
use vouchsafe_gateway::admin::control::{Examined, SentTest};
use vouchsafe_gateway::control::{Request, Response as Answer, Status};
use vouchsafe_gateway::delegate::Tested;

use crate::Web;
use crate::forms::{Form, field};
use crate::page::{Page, refused, show};
use crate::session::Viewer;

/// Verdicts shown.
const ROWS: usize = 200;

pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/delegates", get(list))
        .route("/delegates/test", post(test))
        .route("/delegates/addresses", get(addresses))
        .route("/delegates/flush", post(flush))
        .route("/delegates/lift", post(lift))
}

#[derive(Template)]
#[template(path = "delegates.html")]
struct Delegates {
    page: Page,
    status: Status,
    text: String,
    /// Verdicts were asked for.
    looked: bool,
    verdicts: Vec<(String, String, String)>,
    /// A recipient to be tested.
    address: String,
    /// Whom the guard's counters are looked for.
    whom: String,
    guard: Vec<Held>,
    tested: Option<Tested>,
    examined: Option<Examined>,
    sent: Option<SentTest>,
}

async fn list(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let given = |name: &str| query.get(name).map_or("", |text| text.trim()).to_owned();
    let looked = query.contains_key("text");
    let wanted = Wanted { text: given("text"), looked, address: given("address"), whom: given("whom") };
    page(&web, viewer, wanted, None).await
}

/// What the page's forms look for.
#[derive(Default)]
struct Wanted {
    text: String,
    looked: bool,
    address: String,
    whom: String,
}

/// The page, with the outcome of a test if there is one.
async fn page(web: &Web, viewer: Viewer, wanted: Wanted, outcome: Option<Answer>) -> Response {
    let Wanted { text, looked, address, whom } = wanted;
    let caller = viewer.caller();
    let mut page = Page::of("delegates", "Delegates", viewer);
    let status = match web.control.run_as(&caller, Request::Status).await {
        Answer::Status(status) => status,
        other => return refused(page, other),
    };
    let verdicts = match looked {
        false => Vec::new(),
        true => match web.control.run_as(&caller, Request::VerdictsList { text: text.clone() }).await {
            Answer::Verdicts { mut rows } => {
                rows.truncate(ROWS);
                rows
            }
            other => return refused(page, other),
        },
    };
    let guard = match web.control.run_as(&caller, Request::GuardList).await {
        Answer::Guard { rows } => {
            let found = rows.into_iter().filter(|row| row.whom.to_lowercase().contains(&whom.to_lowercase()));
            found.take(ROWS).map(held).collect()
        }
        other => return refused(page, other),
    };
    let (mut tested, mut examined, mut sent) = (None, None, None);
    match outcome {
        Some(Answer::Tested(outcome)) => tested = Some(outcome),
        Some(Answer::Examined(outcome)) => examined = Some(outcome),
        Some(Answer::Sent(outcome)) => sent = Some(outcome),
        Some(Answer::Refused { why }) => page.fault = why,
        _ => {}
    }
    show(&Delegates { page, status, text, looked, address, whom, verdicts, guard, tested, examined, sent })
}

/// What the guard holds against somebody.
struct Held {
    kind: &'static str,
    row: vouchsafe_core::guard::Row,
    /// When it is over.
    clears: String,
    /// It can be lifted by its name; one of an earlier run is known by a digest only.
    named: bool,
}

fn held(row: vouchsafe_core::guard::Row) -> Held {
    let kind = match row.kind {
        Kind::Account => "wrong passwords of an account",
        Kind::Address => "wrong logins of an address",
        Kind::Network => "wrong logins of a network",
        Kind::Recipients => "unknown recipients of a client",
        Kind::Known => "an account's known network",
    };
    let (clears, named) = (crate::page::duration(row.clears_in), !row.whom.starts_with('#'));
    Held { kind, row, clears, named }
}

async fn test(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let given = |name: &str| field(&form, name).to_owned();
    let delegate = form.get("delegate").cloned();
    let request = match field(&form, "what") {
        "recipient" => Request::TestRecipient { delegate, address: given("address") },
        "login" => Request::TestLogin { delegate, login: given("login"), password: given("password") },
        "message" => Request::TestMessage { sender: given("sender"), recipient: given("recipient") },
        _ => Request::Doctor {
            server: given("server"),
            next_hop: form.contains_key("next_hop"),
            name: given("name"),
            known: some(given("known")),
            login: some(given("login")),
            password: some(given("password")),
        },
    };
    let outcome = web.control.run_as(&viewer.caller(), request).await;
    let wanted = Wanted { address: given("address"), ..Wanted::default() };
    page(&web, viewer, wanted, Some(outcome)).await
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Addresses that the delegates said exist, one a line: for a recipient list.
async fn addresses(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let text = query.get("text").cloned().unwrap_or_default();
    match web.control.run_as(&viewer.caller(), Request::VerdictsExport { text }).await {
        Answer::Addresses { addresses } => {
            let head = [
                (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"recipients.txt\""),
            ];
            let lines: String = addresses.into_iter().map(|address| address + "\n").collect();
            (head, lines).into_response()
        }
        other => refused(Page::of("delegates", "Delegates", viewer), other),
    }
}

async fn flush(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    // An empty word means all for control; here all has a button of its own.
    let what = match field(&form, "what").trim() {
        "" => return Redirect::to("/delegates").into_response(),
        "all" => String::new(),
        what => what.to_owned(),
    };
    done(&web, viewer, &form, Request::VerdictsFlush { what }).await
}

async fn lift(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    let what = field(&form, "what").trim().to_owned();
    done(&web, viewer, &form, Request::GuardLift { what }).await
}

async fn done(web: &Web, viewer: Viewer, form: &Form, request: Request) -> Response {
    if let Some(response) = viewer.refusal(form) {
        return response;
    }
    match web.control.run_as(&viewer.caller(), request).await {
        Answer::Done | Answer::Changed { .. } => Redirect::to("/delegates").into_response(),
        other => refused(Page::of("delegates", "Delegates", viewer), other),
    }
}
