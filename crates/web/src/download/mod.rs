//! Download pages: what whoever holds a link sees, in his language, without script, over `gateway::downloads` alone.
//!
//! One page for all that is not there, so that nobody learns what was. A file is asked for by a button (POST), which is
//! counted, and read by GET with the grant that the button's answer leads to, in pieces if need be.
//! Proof: `crates/web/tests/downloads/`, `crates/vouchsafe/tests/downloads.rs`.

mod file;
mod pages;
mod range;
mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use vouchsafe_core::links::TOKEN_LEN;
use vouchsafe_core::stub::Language;
use vouchsafe_gateway::downloads::{Downloads, Refusal, Visitor, Which, Wish};

use crate::session::From;
use pages::Pages;

/// Octets of a form.
const FORM: usize = 16 * 1024;
/// Passes that are looked at.
const PASSES: usize = 16;
/// A pass is forgotten by the browser when it is no longer good.
const PASS: u32 = 7200;

/// No script, nothing from elsewhere, nobody's frame (ASVS 3.4.3, 3.4.6).
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages. The first segments of their addresses are tokens: nothing else has a place here.
pub fn download_router(door: Arc<Downloads>) -> Router {
    Router::new().fallback(serve).with_state(door)
}

/// A request, as far as it matters.
struct Asked {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    client: Option<IpAddr>,
}

impl Asked {
    fn cookies(&self) -> Vec<&str> {
        let all = self.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.map(|(_, value)| value).take(PASSES).collect()
    }

    fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

async fn serve(State(door): State<Arc<Downloads>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let from = parts.extensions.get::<From>().copied().unwrap_or(From { client: None, tls: false });
    let forwarded: Vec<&str> = parts
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .collect();
    let client = from.client.map(|peer| door.client(peer, forwarded.iter().copied()));
    let liked =
        words::liked(parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()));
    let language = liked.unwrap_or_else(|| door.language());
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        client,
    };
    let form = match asked.method == Method::POST {
        true => form(&asked.headers, body).await,
        false => Some(BTreeMap::new()),
    };
    let pages = Pages { language, hostname: door.hostname() };
    let response = match form {
        Some(form) => match answer(&door, &pages, &asked, &form).await {
            Ok(response) => response,
            Err(refusal) => pages.refused(token_of(&asked.path), &refusal),
        },
        None => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    marked(response, door.is_secure())
}

/// A form's fields; `None`: more than anybody types.
async fn form(headers: &HeaderMap, body: Body) -> Option<BTreeMap<String, String>> {
    let octets = axum::body::to_bytes(body, FORM).await.ok()?;
    let mut request = Request::new(Body::from(octets));
    *request.method_mut() = Method::POST;
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    // What is no form has no fields.
    let read = axum::Form::<BTreeMap<String, String>>::from_request(request, &()).await;
    Some(read.map(|axum::Form(fields)| fields).unwrap_or_default())
}

/// The token that a page is about, for links on it; empty where there is none.
fn token_of(path: &str) -> &str {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let is_token = first.len() == TOKEN_LEN && first.bytes().all(|c| c.is_ascii_alphanumeric());
    if is_token { first } else { "" }
}

async fn answer(
    door: &Downloads,
    pages: &Pages,
    asked: &Asked,
    form: &BTreeMap<String, String>,
) -> Result<Response, Refusal> {
    let path: Vec<&str> = asked.path.strip_prefix('/').unwrap_or_default().split('/').collect();
    let passes = asked.cookies();
    let visitor = Visitor { client: asked.client, passes: &passes };
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    match (asked.is_read(), asked.method == Method::POST, path.as_slice()) {
        (true, _, ["style.css"]) => Ok(style()),
        (true, _, ["healthz"]) => Ok("ok\n".into_response()),
        (true, _, ["sender", token]) => sender_page(door, pages, asked, token).await,
        (_, true, ["sender", token, verb]) => {
            let wish = match *verb {
                "extend" => Wish::Extend,
                "recall" if field("sure") == "yes" => Wish::Recall,
                "password" => Wish::Password(field("password").to_owned()),
                _ => return Err(Refusal::Nothing),
            };
            let done = door.act(token, wish, asked.client).await?;
            Ok(to(&format!("/sender/{token}?{}", if done { "done" } else { "bad" })))
        }
        (true, _, [token]) => {
            let landing = door.visit(token, visitor).await?;
            Ok(pages.landing(door, token, &landing))
        }
        (_, true, [token, "unlock"]) => {
            let pass = door.unlock(token, field("password"), asked.client).await?;
            Ok(with_pass(to(&format!("/{token}")), "password", token, &pass, door.is_secure()))
        }
        (_, true, [token, "code"]) => {
            door.mail_code(token, field("address"), pages.language, asked.client).await?;
            Ok(pages.code(token, None, true))
        }
        (_, true, [token, "prove"]) => {
            let pass = door.prove_code(token, field("code"), asked.client).await?;
            Ok(with_pass(to(&format!("/{token}")), "code", token, &pass, door.is_secure()))
        }
        (_, true, [token, "time"]) => {
            door.ask_for_time(token, asked.client).await?;
            Ok(to(&format!("/{token}")))
        }
        (read, post, [token, what]) => {
            let which = match *what {
                "all" => Which::All,
                number => Which::File(number.parse().map_err(|_| Refusal::Nothing)?),
            };
            if post {
                let grant = door.fetch(token, which, visitor).await?;
                return Ok(to(&format!("/{token}/{what}?grant={grant}")));
            }
            match asked.query.strip_prefix("grant=").filter(|_| read) {
                Some(grant) => {
                    let opened = door.granted(token, which, grant, asked.client).await?;
                    file::send(door, &opened, &asked.method, &asked.headers, asked.client).await
                }
                // Without a grant there is a button first, for those who have the link.
                None if read => door.visit(token, visitor).await.map(|_| to(&format!("/{token}"))),
                None => Err(Refusal::Nothing),
            }
        }
        _ => Err(Refusal::Nothing),
    }
}

async fn sender_page(
    door: &Downloads,
    pages: &Pages,
    asked: &Asked,
    token: &str,
) -> Result<Response, Refusal> {
    let share = door.manage(token, asked.client).await?;
    Ok(pages.sender(door, token, &share, &asked.query))
}

/// See RFC 9110 §15.4.4: by GET.
fn to(path: &str) -> Response {
    axum::response::Redirect::to(path).into_response()
}

/// Keeps a pass in the browser, for this link alone.
fn with_pass(mut response: Response, kind: &str, token: &str, pass: &str, secure: bool) -> Response {
    let id = token.parse::<vouchsafe_core::links::Token>().map(|token| token.hash().id()).unwrap_or_default();
    // `__Host-` wants Secure, which a page without TLS cannot have.
    let (prefix, secure) = if secure { ("__Host-", "; Secure") } else { ("", "") };
    let text = format!("{prefix}{kind}-{id}={pass}; Path=/; HttpOnly; SameSite=Lax; Max-Age={PASS}{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (kind, include_str!("../../assets/download.css")).into_response()
}

/// The headers of every answer.
fn marked(mut response: Response, secure: bool) -> Response {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow, noarchive"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    if secure {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

impl Pages {
    fn words(&self) -> &'static words::Words {
        words::of(self.language)
    }

    fn code_of(&self) -> &'static str {
        Language::code(self.language)
    }
}
