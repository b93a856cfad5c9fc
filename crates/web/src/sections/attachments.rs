//! Files behind links: found by whom they are from and for, by name and by state; one page a message's files.
//!
//! What is done to them stands in [`acts`]. Proof: `tests/pages/attachments.rs`.

mod acts;

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use vouchsafe_core::attachments::{Access, AuditRow, Check, LinkRow, Share, ShareFilter, ShareState};
use vouchsafe_core::{MessageId, Timestamp};
use vouchsafe_gateway::control::{Request, Response as Answer};

use crate::Web;
use crate::forms::encode;
use crate::page::{Page, refused, sentence, show};
use crate::session::Viewer;

/// Messages of a page: it stays under 100 KB.
const ROWS: usize = 50;
/// Names and addresses told of one message in a list.
const TOLD: usize = 3;
/// Links, and lines of the audit log, of one message.
const LINES: usize = 100;

pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/attachments", get(list))
        .route("/attachments/audit", get(export))
        .route("/attachments/many", get(acts::ask))
        .route("/attachments/act", post(acts::act))
        .route("/attachments/{id}", get(one))
}

/// What a list can be narrowed to, by the word in the query.
const STANDINGS: &[(&str, &str)] = &[
    ("", "anything"),
    ("open", "open"),
    ("revoked", "taken back"),
    ("expired", "expired"),
    ("hold", "on hold"),
    ("waiting", "waiting for the scanner"),
    ("found", "harmful"),
    ("unscannable", "not checked"),
    ("refused", "refused"),
];

/// A state or what a scanner says, for the filter.
fn standing(word: &str) -> (Option<ShareState>, Option<Check>) {
    let check = Check::ALL.into_iter().find(|check| check.word() == word);
    (ShareState::ALL.into_iter().find(|state| state.word() == word), check)
}

/// How a share stands, for people.
fn state_words(state: ShareState) -> &'static str {
    match state {
        ShareState::Hold => "on hold",
        ShareState::Revoked => "taken back",
        ShareState::Expired => "expired",
        ShareState::Open => "open",
    }
}

/// What a scanner says, for people.
fn check_words(check: &Check) -> &'static str {
    match check {
        Check::Clear => "nothing against it",
        Check::Waiting => "waits for the scanner: nobody gets it yet",
        Check::Found => "harmful: nobody gets it",
        Check::Unscannable => "could not be checked",
        Check::Refused => "refused: nobody gets it",
    }
}

/// The first few, and how many more there are.
fn some(all: Vec<&str>) -> String {
    let more = all.len().saturating_sub(TOLD);
    let told = all.into_iter().take(TOLD).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{told} and {more} more") } else { told }
}

/// A share in a list.
struct Row {
    share: Share,
    state: &'static str,
    files: String,
    recipients: String,
    /// The worst that a scanner says of one of the files, unless it is nothing.
    check: Option<&'static str>,
}

impl Row {
    fn new(share: Share, now: Timestamp) -> Row {
        let worst = [Check::Found, Check::Waiting, Check::Unscannable, Check::Refused];
        let check = worst.into_iter().find(|check| share.files.iter().any(|file| file.check == *check));
        Row {
            state: state_words(share.state(now)),
            files: some(share.files.iter().map(|file| file.file_name.as_str()).collect()),
            recipients: some(recipients(&share)),
            check: check.as_ref().map(check_words),
            share,
        }
    }
}

fn recipients(share: &Share) -> Vec<&str> {
    share.links.iter().flat_map(|link| link.recipients.iter().map(String::as_str)).collect()
}

#[derive(Template)]
#[template(path = "attachments.html")]
struct Attachments {
    page: Page,
    text: String,
    standing: String,
    standings: &'static [(&'static str, &'static str)],
    rows: Vec<Row>,
    /// The query of the next page; empty: there is none.
    older: String,
}

async fn list(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    shown(&web, Page::of("attachments", "Attachments", viewer), &query).await
}

/// The list, as far as a query narrows it.
async fn shown(web: &Web, page: Page, query: &BTreeMap<String, String>) -> Response {
    let Some(viewer) = &page.viewer else { return refused(page, Answer::Done) };
    let given = |name: &str| query.get(name).map_or("", |value| value.trim()).to_owned();
    let (text, word) = (given("text"), given("state"));
    let (state, check) = standing(&word);
    let filter = ShareFilter {
        text: Some(text.clone()).filter(|text| !text.is_empty()),
        state,
        check,
        newest_first: true,
        behind: given("behind").parse().ok(),
        limit: ROWS,
        ..ShareFilter::default()
    };
    match web.control.run_as(&viewer.caller(), Request::AttachmentsList { filter }).await {
        Answer::Shares { now, shares } => {
            let last = shares.last().filter(|_| shares.len() == ROWS);
            let older = last.map_or_else(String::new, |last| {
                format!("text={}&state={}&behind={}", encode(&text), encode(&word), last.message)
            });
            let rows = shares.into_iter().map(|share| Row::new(share, now)).collect();
            show(&Attachments { page, text, standing: word, standings: STANDINGS, rows, older })
        }
        other => refused(page, other),
    }
}

#[derive(Template)]
#[template(path = "attachment.html")]
struct Attachment {
    page: Page,
    share: Share,
    state: &'static str,
    /// Its time is up.
    over: bool,
    /// Links shown.
    links: Vec<LinkRow>,
    /// Lines of the audit log, oldest first; nothing for who may not see them.
    lines: Vec<AuditRow>,
    /// Lines that are not shown.
    earlier: Option<usize>,
}

/// The files that a link leads to, where it does not lead to all.
pub(crate) fn only(share: &Share, link: &LinkRow) -> Option<String> {
    link.files.as_ref()?;
    let files = share.files.iter().filter(|file| link.leads_to(file.position));
    Some(files.map(|file| file.file_name.as_str()).collect::<Vec<_>>().join(", "))
}

async fn one(viewer: Viewer, State(web): State<Web>, Path(id): Path<String>) -> Response {
    let caller = viewer.caller();
    let operates = viewer.operates();
    let page = Page::of("attachments", format!("Attachments of {id}"), viewer);
    let Ok(message) = id.parse::<MessageId>() else {
        return sentence(StatusCode::NOT_FOUND, page, "That is no id of a message.");
    };
    let filter = ShareFilter { message: Some(message), ..ShareFilter::default() };
    let (now, shares) = match web.control.run_as(&caller, Request::AttachmentsList { filter }).await {
        Answer::Shares { now, shares } => (now, shares),
        other => return refused(page, other),
    };
    let mut lines = Vec::new();
    if operates {
        let wanted = Request::AttachmentsAudit { after: 0, message: Some(message) };
        match web.control.run_as(&caller, wanted).await {
            Answer::ShareAudit { rows } => lines = rows,
            other => return refused(page, other),
        }
    }
    let Some(share) = shares.into_iter().next() else {
        let why = match lines.is_empty() {
            true => "No files of this message are behind links.",
            false => {
                "The files of this message and its links are deleted; the audit log says when and by whom."
            }
        };
        return sentence(StatusCode::NOT_FOUND, page, why);
    };
    let earlier = lines.len().saturating_sub(LINES);
    lines.drain(..earlier);
    let links = share.links.iter().take(LINES).cloned().collect();
    let earlier = Some(earlier).filter(|earlier| *earlier > 0);
    show(&Attachment {
        page,
        state: state_words(share.state(now)),
        over: share.expires <= now,
        share,
        links,
        lines,
        earlier,
    })
}

/// The audit log, one JSON value a line, of all messages or of one.
async fn export(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let page = Page::of("attachments", "Audit log of the attachments", viewer.clone());
    let message = match query.get("message").map(|id| id.parse::<MessageId>()) {
        Some(Err(_)) => return sentence(StatusCode::NOT_FOUND, page, "That is no id of a message."),
        Some(Ok(message)) => Some(message),
        None => None,
    };
    let caller = viewer.caller();
    let ask = move |after| {
        let (control, caller) = (web.control.clone(), caller.clone());
        async move { control.run_as(&caller, Request::AttachmentsAudit { after, message }).await }
    };
    let first = match ask(0).await {
        Answer::ShareAudit { rows } => rows,
        other => return refused(page, other),
    };
    let stretches = stream::unfold(Some(first), move |rows| {
        let ask = ask.clone();
        async move {
            let rows = rows?;
            let last = rows.last()?.number;
            let next = match ask(last).await {
                Answer::ShareAudit { rows } => rows,
                // Cut off: whoever reads it sees a body that broke off.
                _ => return Some((Err(std::io::Error::other("the audit log cannot be read")), None)),
            };
            Some((Ok(ndjson(&rows)), Some(next)))
        }
    });
    let head = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"attachments-audit.ndjson\""),
    ];
    (head, Body::from_stream(stretches)).into_response()
}

fn ndjson(rows: &[AuditRow]) -> String {
    rows.iter().filter_map(|row| serde_json::to_string(row).ok()).map(|line| line + "\n").collect()
}
