//! Local users, recipient lists, the report of trials, the audit log.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use vouchsafe_config::RecipientSource;
use vouchsafe_core::trial::{self, Would};
use vouchsafe_gateway::admin::audit::Entry;
use vouchsafe_gateway::control::{Request, Response as Answer, UserRow};

use crate::Web;
use crate::forms::{Form, field};
use crate::page::{Page, refused, show};
use crate::session::Viewer;

/// Rows of a page: it stays under 100 KB.
const ROWS: usize = 200;

pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/users", get(users))
        .route("/users/add", post(add))
        .route("/users/password", post(password))
        .route("/users/remove", post(remove))
        .route("/trial", get(report))
        .route("/audit", get(audit))
}

#[derive(Template)]
#[template(path = "users.html")]
struct Users {
    page: Page,
    text: String,
    users: Vec<UserRow>,
    /// (domain, file, addresses or why it cannot be read)
    lists: Vec<(String, String, Result<usize, String>)>,
}

async fn users(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let text = query.get("text").map_or("", |text| text.trim()).to_lowercase();
    shown(&web, Page::of("users", "Local users", viewer), text).await
}

async fn shown(web: &Web, page: Page, text: String) -> Response {
    let Some(viewer) = &page.viewer else { return refused(page, Answer::Done) };
    let mut users = match web.control.run_as(&viewer.caller(), Request::UsersList).await {
        Answer::Users { users } => users,
        other => return refused(page, other),
    };
    users.retain(|user| user.name.to_lowercase().contains(&text));
    users.truncate(ROWS);
    let gateway = web.control.gateway();
    let settings = gateway.settings.load_full();
    let mut lists = Vec::new();
    for domain in &settings.domains {
        for source in &domain.recipients {
            if let RecipientSource::List(file) = source {
                lists.push((domain.name.clone(), file.display().to_string(), gateway.lists.count(file)));
            }
        }
    }
    show(&Users { page, text, users, lists })
}

async fn add(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    let (name, password) = (field(&form, "name").trim().to_owned(), field(&form, "password").to_owned());
    done(&web, viewer, &form, Request::UserAdd { name, password }).await
}

async fn password(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    let (name, password) = (field(&form, "name").to_owned(), field(&form, "password").to_owned());
    done(&web, viewer, &form, Request::UserPassword { name, password }).await
}

async fn remove(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    let name = field(&form, "name").to_owned();
    done(&web, viewer, &form, Request::UserRemove { name }).await
}

async fn done(web: &Web, viewer: Viewer, form: &Form, request: Request) -> Response {
    if let Some(response) = viewer.refusal(form) {
        return response;
    }
    match web.control.run_as(&viewer.caller(), request).await {
        Answer::Refused { why } => {
            shown(web, Page { fault: why, ..Page::of("users", "Local users", viewer) }, String::new()).await
        }
        _ => Redirect::to("/users").into_response(),
    }
}

#[derive(Template)]
#[template(path = "trial.html")]
struct Trial {
    page: Page,
    on: bool,
    refused: usize,
    rows: Vec<trial::Row>,
}

async fn report(viewer: Viewer, State(web): State<Web>) -> Response {
    let caller = viewer.caller();
    let page = Page::of("delegates", "Trial", viewer);
    let off = vouchsafe_config::Trial::Off;
    let on = web.control.gateway().settings.load().delegates.values().any(|delegate| delegate.trial != off);
    match web.control.run_as(&caller, Request::TrialReport).await {
        Answer::Trial { mut rows } => {
            let refused = rows.iter().filter(|row| row.would == Would::Refused).count();
            rows.truncate(ROWS);
            show(&Trial { page, on, refused, rows })
        }
        other => crate::page::refused(page, other),
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    page: Page,
    text: String,
    entries: Vec<Entry>,
}

async fn audit(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let text = query.get("text").map_or("", |text| text.trim()).to_owned();
    let caller = viewer.caller();
    let page = Page::of("admins", "Audit log", viewer);
    match web.control.run_as(&caller, Request::AuditList { text: text.clone(), limit: ROWS }).await {
        Answer::Audit { entries } => show(&Audit { page, text, entries }),
        other => refused(page, other),
    }
}
