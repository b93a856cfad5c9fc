//! What every request passes: POSTs come from our own pages, answers carry the headers that keep others out.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Octets of a form.
pub(crate) const BODY: usize = 256 * 1024;

/// Our own script and no other, none in a page; nothing from elsewhere, nobody's frame (ASVS 3.4.3, 3.4.6).
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Checks a request, then marks its answer.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    let method = request.method();
    let harmless = method == Method::GET || method == Method::HEAD;
    let response = if harmless || is_same_origin(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "This form was sent from another site; open the page anew.\n").into_response()
    };
    marked(response)
}

/// Marks answers to programs, which show a token: a request from another site has none.
pub(crate) async fn mark_only(request: Request, next: Next) -> Response {
    marked(next.run(request).await)
}

fn marked(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Browsers send Origin with every POST; with `no-referrer` it may be `null`, then Sec-Fetch-Site says it.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some("null") | None, _) => site == Some("same-origin"),
        (Some(origin), Some(host)) => {
            site.is_none_or(|site| site == "same-origin")
                && origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        }
        // HTTP/2 has no Host field; browsers that speak it say Sec-Fetch-Site.
        (Some(_), None) => site == Some("same-origin"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_our_own_pages_may_post() {
        let same = |list| is_same_origin(&headers(list));
        assert!(same(&[("origin", "http://gw:8080"), ("host", "gw:8080")]));
        assert!(same(&[("origin", "null"), ("sec-fetch-site", "same-origin"), ("host", "gw:8080")]));
        assert!(!same(&[("origin", "http://evil"), ("host", "gw:8080")]));
        assert!(!same(&[("host", "gw:8080")]));
        assert!(!same(&[
            ("origin", "http://gw:8080"),
            ("host", "gw:8080"),
            ("sec-fetch-site", "cross-site")
        ]));
    }
}
