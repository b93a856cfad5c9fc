//! The JSON API: each endpoint is a request of `control`, with its rights, its audit and its words.
//!
//! Whoever calls shows a token, never a cookie: so no other site can make a browser act here, and no form token is wanted.
//! Proof: `crates/vouchsafe/tests/api.rs`; the document is compared with docs/reference/openapi.json.

mod document;
mod problem;
mod shape;
mod table;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{RawPathParams, Request as HttpRequest, State};
use axum::http::{HeaderMap, Method as HttpMethod, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use futures_util::stream;
use serde_json::{Map, Value};
use tokio::time::Instant;
use vouchsafe_core::ports::Clock;
use vouchsafe_gateway::admin::Caller;
use vouchsafe_gateway::admin::tokens::Refusal;
use vouchsafe_gateway::control::{Denied, Request, Response as Answer};

use crate::sections::live::{WATCHERS, watch};
use crate::session::From;
use crate::{Web, guard};
use document::document;
pub(crate) use problem::Problem;
use shape::SHAPES;
use table::{Endpoint, Method, PREFIX, TABLE};

/// Longest life of a stream of live lines.
const LONGEST: Duration = Duration::from_secs(3600);
/// Seconds after which a refused test may be tried again.
const TEST_AGAIN: u64 = 60;

/// All endpoints; none of them looks at a cookie.
pub(crate) fn routes() -> Router<Web> {
    let mut router = Router::new().route("/api/openapi.json", get(openapi));
    let mut by_path: Vec<(&str, MethodRouter<Web>)> = Vec::new();
    for endpoint in TABLE {
        let called = move |state: State<Web>, path: RawPathParams, request: HttpRequest| async move {
            match call(endpoint, &state.0, &path, request).await {
                Ok(response) => response,
                Err(problem) => problem.into_response(),
            }
        };
        let filter = match endpoint.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Delete => MethodFilter::DELETE,
        };
        match by_path.iter_mut().find(|(path, _)| *path == endpoint.path) {
            Some((_, methods)) => *methods = std::mem::take(methods).on(filter, called),
            None => by_path.push((endpoint.path, on(filter, called))),
        }
    }
    for (path, methods) in by_path {
        router = router.route(&format!("{PREFIX}{path}"), methods.fallback(wrong_method));
    }
    router.route("/api/{*rest}", axum::routing::any(nothing))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document()).into_response()
}

async fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such endpoint; /api/openapi.json names them")
}

async fn wrong_method(method: HttpMethod) -> Problem {
    let why = format!("{method} means nothing here; /api/openapi.json names what does");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, why)
}

/// Who shows which token.
pub(crate) async fn caller(web: &Web, headers: &HeaderMap, from: Option<&From>) -> Result<Caller, Problem> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown
        .and_then(|shown| shown.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| {
            let why = "show a token: `Authorization: Bearer TOKEN`; `vouchsafe admin token add` makes one";
            Problem::new(StatusCode::UNAUTHORIZED, why)
        })?;
    let gateway = web.control.gateway();
    let clocks = (gateway.clock.now(), gateway.clock.tick());
    let found = gateway.admins.by_token(token, from.and_then(|from| from.client), clocks).await;
    found.map_err(|refusal| match refusal {
        Refusal::Wrong => {
            Problem::new(StatusCode::UNAUTHORIZED, "that token is unknown, or its time is over")
        }
        Refusal::Wait(time) => {
            let seconds = time.as_secs() + 1;
            Problem::wait(format!("too many wrong tokens; wait {seconds} s"), seconds)
        }
        Refusal::Unavailable(fault) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, fault.to_string()),
    })
}

async fn call(
    endpoint: &'static Endpoint,
    web: &Web,
    path: &RawPathParams,
    http: HttpRequest,
) -> Result<Response, Problem> {
    let (parts, body) = http.into_parts();
    let caller = caller(web, &parts.headers, parts.extensions.get::<From>()).await?;
    let query = parts.uri.query().unwrap_or_default();
    let given = match endpoint.method.has_body() {
        true if !query.is_empty() => return Err(bad("the fields go into the body, as JSON")),
        true => from_body(&parts.headers, body).await?,
        false => from_query(endpoint, query)?,
    };
    let request = read(endpoint, path, given)?;
    web.control.admit(&caller, &request).map_err(|denied| match denied {
        Denied::Role(_) => Problem::new(StatusCode::FORBIDDEN, denied.to_string()),
        Denied::TooMany => Problem::wait(denied.to_string(), TEST_AGAIN),
    })?;
    if let Request::Trace { text } = request {
        return follow(web, &text);
    }
    match web.control.run_admitted(&caller, request).await {
        Answer::Refused { why } => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)),
        answer => {
            let text = serde_json::to_string(&answer)
                .map_err(|fault| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()))?;
            Ok(([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response())
        }
    }
}

fn bad(why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, why)
}

async fn from_body(headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let why = "send the fields as JSON, with `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = to_bytes(body, guard::BODY).await.map_err(|_| {
        let why = format!("the body is larger than {} octets, or broke off", guard::BODY);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    })?;
    serde_json::from_slice(&body).map_err(|fault| bad(format!("the body is no JSON object: {fault}")))
}

fn from_query(endpoint: &Endpoint, query: &str) -> Result<Map<String, Value>, Problem> {
    let fields = SHAPES.requests.get(endpoint.request).map(|shape| &shape.fields);
    let mut given = Map::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let value = match fields.and_then(|fields| fields.get(name.as_ref())) {
            Some(field) => field.read(&text).ok_or_else(|| bad(format!("{name}={text}: not of its type")))?,
            // Told with the other unknown ones.
            None => Value::Null,
        };
        if given.insert(name.to_string(), value).is_some() {
            return Err(bad(format!("{name} is given twice")));
        }
    }
    Ok(given)
}

/// The request of an endpoint, from what stands in the path and what was given beside it.
fn read(
    endpoint: &Endpoint,
    path: &RawPathParams,
    mut given: Map<String, Value>,
) -> Result<Request, Problem> {
    let Some(shape) = SHAPES.requests.get(endpoint.request) else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this endpoint has no request"));
    };
    for (name, text) in path {
        let value = shape.fields.get(name).and_then(|field| field.read(text));
        if given.insert(name.to_owned(), value.unwrap_or_default()).is_some() {
            return Err(bad(format!("{name} stands in the path; leave it out elsewhere")));
        }
    }
    if let Some(unknown) = given.keys().find(|name| !shape.fields.contains_key(*name)) {
        let known: Vec<&str> = shape.fields.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(bad(format!("no field {unknown} here; there are: {known}")));
    }
    given.insert("request".to_owned(), Value::from(endpoint.request));
    serde_json::from_value(Value::Object(given)).map_err(|fault| bad(fault.to_string()))
}

/// Live lines, one JSON object a line, until the caller hangs up, [`LONGEST`] is over or the gateway stops.
fn follow(web: &Web, text: &str) -> Result<Response, Problem> {
    let Some(watching) = watch(web, text) else {
        let why = format!("{WATCHERS} others watch already; try again later");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why));
    };
    let end = Instant::now() + LONGEST;
    let lines = stream::unfold(watching, move |mut watching| async move {
        let line = Answer::Line(watching.next(end).await?);
        let octets = serde_json::to_vec(&line).map(|mut octets| {
            octets.push(b'\n');
            octets
        });
        Some((octets, watching))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
