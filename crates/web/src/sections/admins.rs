//! Administrators, their sessions, and one's own password and codes.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use vouchsafe_core::ports::Clock;
use vouchsafe_gateway::admin::accounts::AdminRow;
use vouchsafe_gateway::admin::audit::Entry;
use vouchsafe_gateway::admin::sessions::Session;
use vouchsafe_gateway::admin::tokens::TokenRow;
use vouchsafe_gateway::admin::{Role, totp};
use vouchsafe_gateway::control::{Request, Response as Answer};

use crate::Web;
use crate::forms::{Form, field};
use crate::page::{Page, refused, show};
use crate::session::Viewer;

/// Entries of the audit log shown.
const LAST: usize = 50;

/// To choose from, the least first.
pub(crate) const ROLES: &[Role] = &[Role::ReadOnly, Role::Operator, Role::Admin];

pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/admins", get(list))
        .route("/admins/add", post(add))
        .route("/admins/change", post(change))
        .route("/admins/end", post(end))
        .route("/admins/password", post(password))
        .route("/admins/codes", post(codes))
        .route("/admins/tokens/add", post(token_add))
        .route("/admins/tokens/remove", post(token_remove))
}

#[derive(Template)]
#[template(path = "admins.html")]
struct Admins {
    page: Page,
    secret: String,
    /// The viewer's one-time codes are on.
    codes: bool,
    admins: Vec<AdminRow>,
    tokens: Vec<TokenRow>,
    sessions: Vec<Session>,
    entries: Vec<Entry>,
}

async fn list(viewer: Viewer, State(web): State<Web>) -> Response {
    let page = Page::of("admins", "Administrators", viewer);
    shown(&web, page).await
}

/// The page; whoever is no admin sees what is their own.
async fn shown(web: &Web, page: Page) -> Response {
    let Some(viewer) = page.viewer.clone() else { return refused(page, Answer::Done) };
    let caller = viewer.caller();
    let (mut admins, mut tokens, mut sessions, mut entries) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    if viewer.is_admin() {
        if let Answer::Admins { admins: all } = web.control.run_as(&caller, Request::AdminsList).await {
            admins = all;
        }
        if let Answer::Tokens { tokens: all } = web.control.run_as(&caller, Request::TokensList).await {
            tokens = all;
        }
        if let Answer::Sessions { sessions: all } = web.control.run_as(&caller, Request::SessionsList).await {
            sessions = all;
        }
    }
    if viewer.operates() {
        let newest = Request::AuditList { text: String::new(), limit: LAST };
        if let Answer::Audit { entries: all } = web.control.run_as(&caller, newest).await {
            entries = all;
        }
    }
    let own = web.control.gateway().admins.account(&viewer.name).await;
    let codes = own.ok().flatten().is_some_and(|account| account.totp);
    show(&Admins { page, secret: totp::base32(&totp::secret()), codes, admins, tokens, sessions, entries })
}

async fn add(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    let password = Some(field(&form, "password").to_owned()).filter(|password| !password.is_empty());
    let role = Role::of_word(field(&form, "role")).unwrap_or(Role::ReadOnly);
    let name = field(&form, "name").trim().to_owned();
    done(&web, viewer, &form, Request::AdminAdd { name, password, role }).await
}

/// What one administrator does to another's account.
async fn change(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    let (name, password) = (field(&form, "name").to_owned(), field(&form, "password").to_owned());
    let request = match (field(&form, "what"), Role::of_word(field(&form, "role"))) {
        ("role", Some(role)) => Request::AdminRole { name, role },
        ("password", _) => Request::AdminPassword { name, password },
        ("codes_off", _) => Request::AdminCodesOff { name },
        ("remove", _) => Request::AdminRemove { name },
        _ => return outcome(&web, viewer, Err("there is nothing of that name to do".to_owned())).await,
    };
    done(&web, viewer, &form, request).await
}

/// The only page that shows a token: once, in the answer to the form.
async fn token_add(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let role = Role::of_word(field(&form, "role")).unwrap_or(Role::ReadOnly);
    let days = field(&form, "days").trim();
    let request = match (days, days.parse()) {
        ("", _) => Ok(None),
        (_, Ok(days)) => Ok(Some(days)),
        _ => Err(format!("{days} is no number of days")),
    };
    let name = field(&form, "name").trim().to_owned();
    let answer = match request {
        Ok(days) => web.control.run_as(&viewer.caller(), Request::TokenAdd { name, role, days }).await,
        Err(why) => Answer::Refused { why },
    };
    match answer {
        Answer::Token { name, token } => {
            let notice = format!("Token {name}, shown only now: {token}");
            shown(&web, Page { notice, ..Page::of("admins", "Administrators", viewer) }).await
        }
        Answer::Refused { why } => outcome(&web, viewer, Err(why)).await,
        _ => outcome(&web, viewer, Ok(())).await,
    }
}

async fn token_remove(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    let name = field(&form, "name").to_owned();
    done(&web, viewer, &form, Request::TokenRemove { name }).await
}

async fn end(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    let id = field(&form, "id").to_owned();
    done(&web, viewer, &form, Request::SessionEnd { id }).await
}

async fn done(web: &Web, viewer: Viewer, form: &Form, request: Request) -> Response {
    if let Some(response) = viewer.refusal(form) {
        return response;
    }
    let answer = web.control.run_as(&viewer.caller(), request).await;
    outcome(
        web,
        viewer,
        match answer {
            Answer::Refused { why } => Err(why),
            _ => Ok(()),
        },
    )
    .await
}

async fn outcome(web: &Web, viewer: Viewer, outcome: Result<(), String>) -> Response {
    match outcome {
        Ok(()) => Redirect::to("/admins").into_response(),
        Err(fault) => shown(web, Page { fault, ..Page::of("admins", "Administrators", viewer) }).await,
    }
}

async fn password(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let (password, again) = (field(&form, "password"), field(&form, "again"));
    let changed = match password == again {
        true => {
            let admins = &web.control.gateway().admins;
            admins.set_password(&viewer.name, password.to_owned(), Some(&viewer.session)).await
        }
        false => Err("the two passwords differ; type them again".to_owned()),
    };
    own(&web, &viewer, "set the own password", &changed).await;
    outcome(&web, viewer, changed).await
}

async fn codes(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let gateway = web.control.gateway();
    let (secret, code) = (field(&form, "secret"), field(&form, "code"));
    let changed = gateway.admins.set_totp(&viewer.name, secret, code, gateway.clock.now()).await;
    own(&web, &viewer, "switched the own one-time codes on", &changed).await;
    outcome(&web, viewer, changed).await
}

/// What somebody did about the own account stands in the audit log too.
async fn own(web: &Web, viewer: &Viewer, what: &str, outcome: &Result<(), String>) {
    let gateway = web.control.gateway();
    let outcome = outcome.as_ref().map_or_else(Clone::clone, |()| "done".to_owned());
    let entry = Entry { at: gateway.clock.now(), by: viewer.name.clone(), what: what.to_owned(), outcome };
    if let Err(fault) = gateway.admins.record(&entry).await {
        tracing::error!(blame = "us", %fault, "not in the audit log");
    }
}
