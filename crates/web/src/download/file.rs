//! The files themselves: headers that let nothing run, ranges, and the stream.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use vouchsafe_gateway::downloads::{Downloads, Facts, Opened, Refusal};

use super::range::{self, Answer};

/// A file is shown by nobody, and a document among them would be in a sandbox of its own (RELIABILITY section 5).
const POLICY: &str = "default-src 'none'; sandbox";
/// Digits of the SHA-256 that the entity tag has.
const TAG: usize = 32;

/// Answers a request for what was granted.
pub(super) async fn send(
    door: &Downloads,
    opened: &Opened,
    method: &Method,
    headers: &HeaderMap,
    client: Option<IpAddr>,
) -> Result<Response, Refusal> {
    let facts = &opened.facts;
    let tag = facts.sha256.as_deref().map(|digest| format!("\"{}\"", &digest[..TAG.min(digest.len())]));
    let answer = match &tag {
        Some(tag) => range::answer(headers, tag, facts.size, method == Method::GET),
        None => Answer::Whole,
    };
    let (status, range) = match answer {
        Answer::Whole => (StatusCode::OK, 0..facts.size),
        Answer::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Answer::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
        Answer::Failed => (StatusCode::PRECONDITION_FAILED, 0..0),
        Answer::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
    };
    let sends = status.is_success() && method == Method::GET;
    let body = match sends {
        true => stream(door, opened, range.clone(), client).await?,
        false => Body::empty(),
    };
    let mut response = (status, body).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Some(tag) = tag {
        set(fields, header::ETAG, &tag);
    }
    match status {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            set(fields, header::CONTENT_RANGE, &format!("bytes */{}", facts.size));
        }
        status if status.is_success() => {
            let accepts = if facts.sha256.is_some() { "bytes" } else { "none" };
            set(fields, header::ACCEPT_RANGES, accepts);
            set(fields, header::CONTENT_TYPE, &media_type(facts));
            set(fields, header::CONTENT_DISPOSITION, &facts.disposition);
            set(fields, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
            if status == StatusCode::PARTIAL_CONTENT {
                let part = format!("bytes {}-{}/{}", range.start, range.end - 1, facts.size);
                set(fields, header::CONTENT_RANGE, &part);
            }
        }
        _ => {}
    }
    Ok(response)
}

async fn stream(
    door: &Downloads,
    opened: &Opened,
    range: std::ops::Range<u64>,
    client: Option<IpAddr>,
) -> Result<Body, Refusal> {
    let reading = door.read(opened, range, client).await?;
    Ok(Body::from_stream(stream::try_unfold(reading, async |mut reading| match reading.next().await {
        Ok(chunk) => Ok(chunk.map(|chunk| (chunk, reading))),
        Err(fault) => {
            tracing::error!(blame = "us", %fault, "a download was cut off");
            Err(fault)
        }
    })))
}

fn set(fields: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

/// The message's own type where no browser could run it, else none that says anything (ASVS 3.2.1).
fn media_type(facts: &Facts) -> String {
    let kind = facts.media_type.to_ascii_lowercase();
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b".+-_".contains(&c))
    };
    let well_formed = kind.split_once('/').is_some_and(|(main, sub)| is_token(main) && is_token(sub));
    let harmless = ["audio/", "video/", "image/", "application/vnd.openxmlformats-officedocument."]
        .iter()
        .any(|start| kind.starts_with(start))
        || ["application/pdf", "application/zip", "application/msword", "application/vnd.ms-excel"]
            .contains(&kind.as_str());
    match well_formed && harmless && !kind.contains("xml+") && !kind.ends_with("xml") {
        true => kind,
        false => "application/octet-stream".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_could_run_has_no_type() {
        for (kind, want) in [
            ("application/pdf", "application/pdf"),
            ("Image/PNG", "image/png"),
            ("image/svg+xml", "application/octet-stream"),
            ("text/html", "application/octet-stream"),
            ("text/plain", "application/octet-stream"),
            ("application/xhtml+xml", "application/octet-stream"),
            ("application/javascript", "application/octet-stream"),
            ("image/png; x=\"\r\n\"", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            let facts = Facts {
                disposition: String::new(),
                media_type: kind.to_owned(),
                size: 0,
                sha256: None,
                modified: vouchsafe_core::Timestamp(0),
            };
            assert_eq!(media_type(&facts), want, "{kind}");
        }
    }
}
