//! Login, logout, and who looks at a page. The cookie holds a random token and nothing else; its form token is derived
//! from it, so that no second secret has to be kept.

use std::net::IpAddr;

use askama::Template;
use axum::Extension;
use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use vouchsafe_core::ports::Clock;
use vouchsafe_gateway::admin::accounts::{Attempt, Refusal, log_in, session_id};
use vouchsafe_gateway::admin::{Caller, Role};

use crate::Web;
use crate::forms::{Form, field};
use crate::page::{Page, sentence, show};

/// Where a request came from, as the server found it.
#[derive(Clone, Copy, Debug)]
pub struct From {
    /// The client.
    pub client: Option<IpAddr>,
    /// Over TLS.
    pub tls: bool,
}

/// Somebody who has logged in.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    /// Account.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Token of this session's forms.
    pub csrf: String,
    /// Id of this session.
    pub session: String,
}

impl Viewer {
    /// For control.
    pub fn caller(&self) -> Caller {
        Caller { name: self.name.clone(), role: self.role }
    }

    /// Whether acting on mail is offered.
    pub fn operates(&self) -> bool {
        self.role >= Role::Operator
    }

    /// Whether settings and administrators are offered.
    pub fn is_admin(&self) -> bool {
        self.role >= Role::Admin
    }

    /// The answer to a form that did not come from a page of this session; `None` if it did.
    pub fn refusal(&self, form: &Form) -> Option<Response> {
        if field(form, "csrf") == self.csrf {
            return None;
        }
        let page = Page::of("", "Not sent", self.clone());
        Some(sentence(StatusCode::FORBIDDEN, page, "This form is too old; open the page anew."))
    }
}

impl FromRequestParts<Web> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Viewer, Response> {
        let login = || Redirect::to("/login").into_response();
        let tls = parts.extensions.get::<From>().is_some_and(|from| from.tls);
        let token = cookie(&parts.headers, tls).ok_or_else(login)?;
        let gateway = web.control.gateway();
        let (now, idle) = (gateway.clock.now(), gateway.settings.load().web.idle);
        let broken = |fault: vouchsafe_core::ports::StoreFault| {
            sentence(StatusCode::SERVICE_UNAVAILABLE, Page::outside("Not now"), fault.to_string())
        };
        let sessions = gateway.admins.sessions();
        let found = match parts.extensions.get::<Unattended>() {
            Some(Unattended) => sessions.look(&token, now, idle).await.map_err(broken)?,
            None => sessions.find(&token, now, idle).await.map_err(broken)?,
        };
        let session = found.ok_or_else(login)?;
        let account = gateway.admins.account(&session.account).await.map_err(broken)?.ok_or_else(login)?;
        let csrf = session_id(&format!("form {token}"));
        Ok(Viewer { name: account.name, role: account.role, csrf, session: session.id })
    }
}

/// A request that nobody made by hand: it does not count as use of the session.
#[derive(Clone, Copy)]
struct Unattended;

/// Somebody whose page asks by itself.
pub(crate) struct Watcher(pub Viewer);

impl FromRequestParts<Web> for Watcher {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Watcher, Response> {
        parts.extensions.insert(Unattended);
        // A redirect to the login form would be taken for what was asked for.
        let refused = |response: Response| match response.status().is_redirection() {
            true => StatusCode::UNAUTHORIZED.into_response(),
            false => response,
        };
        Viewer::from_request_parts(parts, web).await.map(Watcher).map_err(refused)
    }
}

/// Login and logout.
pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/login", get(ask).post(log_in_by_form))
        .route("/first", post(first))
        .route("/logout", post(log_out))
}

/// The cookie's name. `__Host-` wants Secure, which loopback without TLS cannot have; over TLS no other name counts, or
/// a neighbouring host could set it.
fn cookie_name(tls: bool) -> &'static str {
    if tls { "__Host-vouchsafe" } else { "vouchsafe" }
}

fn cookie(headers: &HeaderMap, tls: bool) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie_name(tls)).map(|(_, token)| token.to_owned())
}

fn set_cookie(token: &str, tls: bool) -> HeaderValue {
    let life = if token.is_empty() { "; Max-Age=0" } else { "" };
    let (name, secure) = (cookie_name(tls), if tls { "; Secure" } else { "" });
    let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{life}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    page: Page,
    name: String,
    code: bool,
}

#[derive(Template)]
#[template(path = "first.html")]
struct First {
    page: Page,
    name: String,
}

async fn ask(State(web): State<Web>) -> Response {
    if web.control.gateway().admins.is_first_run() {
        return show(&First { page: Page::outside("Welcome"), name: "admin".to_owned() });
    }
    show(&Login { page: Page::outside("Log in"), name: String::new(), code: false })
}

async fn log_in_by_form(
    State(web): State<Web>,
    Extension(from): Extension<From>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    enter(&web, from, &headers, field(&form, "name"), field(&form, "password"), field(&form, "code")).await
}

async fn enter(
    web: &Web,
    from: From,
    headers: &HeaderMap,
    name: &str,
    password: &str,
    code: &str,
) -> Response {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let attempt = Attempt {
        name: name.to_owned(),
        password: password.to_owned(),
        code: code.to_owned(),
        client: from.client,
        agent: agent.to_owned(),
    };
    let (status, why) = match log_in(web.control.gateway(), attempt).await {
        Ok(token) => {
            return ([(header::SET_COOKIE, set_cookie(&token, from.tls))], Redirect::to("/")).into_response();
        }
        Err(Refusal::CodeWanted) => {
            (StatusCode::OK, "Give the code of your authenticator app too.".to_owned())
        }
        Err(Refusal::Wrong) => (StatusCode::UNAUTHORIZED, "Name, password or code is wrong.".to_owned()),
        Err(Refusal::Wait(time)) => {
            let why = format!("Too many wrong attempts. Wait {} seconds.", time.as_secs() + 1);
            (StatusCode::TOO_MANY_REQUESTS, why)
        }
        Err(Refusal::Unavailable(cause)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("Nobody can tell now: {cause}."))
        }
    };
    let code = status == StatusCode::OK;
    let page = Page { fault: why, ..Page::outside("Log in") };
    (status, show(&Login { page, name: name.to_owned(), code })).into_response()
}

async fn first(
    State(web): State<Web>,
    Extension(from): Extension<From>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    let gateway = web.control.gateway();
    let (name, password) = (field(&form, "name"), field(&form, "password"));
    let made = if password != field(&form, "again") {
        Err("the two passwords differ; type them again".to_owned())
    } else {
        let clocks = (gateway.clock.now(), gateway.clock.tick());
        gateway.admins.begin(field(&form, "once"), name, password.to_owned(), from.client, clocks).await
    };
    match made {
        Ok(()) => {
            let mut entered = enter(&web, from, &headers, name, password, "").await;
            if entered.status().is_redirection() && gateway.settings.load().delegates.is_empty() {
                entered.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/setup"));
            }
            entered
        }
        Err(why) => {
            let page = Page { fault: why, ..Page::outside("Welcome") };
            (StatusCode::BAD_REQUEST, show(&First { page, name: name.to_owned() })).into_response()
        }
    }
}

async fn log_out(
    viewer: Viewer,
    State(web): State<Web>,
    Extension(from): Extension<From>,
    form: Form,
) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    if let Err(fault) = web.control.gateway().admins.sessions().end(&viewer.session).await {
        tracing::error!(blame = "us", %fault, "a session could not be ended");
    }
    ([(header::SET_COOKIE, set_cookie("", from.tls))], Redirect::to("/login")).into_response()
}
