//! What is done to files behind links: of one message from its page, of a sender's or recipient's after it was said how
//! many messages that are.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use vouchsafe_core::attachments::ShareFilter;
use vouchsafe_gateway::control::{Request, Response as Answer};
use vouchsafe_gateway::shares::ShareAct;

use super::{Row, shown};
use crate::Web;
use crate::forms::{Form, field};
use crate::page::{Page, refused, sentence, show};
use crate::session::Viewer;

/// The longest extension, in days.
const DAYS_AT_MOST: u64 = 3650;
/// Messages named before many are changed.
const NAMED: usize = 20;
/// Messages that one request changes at most, as control has it.
const AT_ONCE: usize = 10_000;

/// What is wanted, from a form or a query.
struct Wanted {
    filter: ShareFilter,
    act: ShareAct,
}

fn wanted(web: &Web, given: &BTreeMap<String, String>) -> Result<Wanted, &'static str> {
    let text =
        |name: &str| given.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let message = match text("message").map(|id| id.parse()) {
        Some(Err(_)) => return Err("That is no id of a message."),
        Some(Ok(id)) => Some(id),
        None => None,
    };
    let number = |name: &str| text(name).and_then(|number| number.parse().ok());
    let act = match text("act").as_deref() {
        Some("revoke") => ShareAct::Revoke { link: text("link") },
        Some("extend") => {
            let days = text("days").and_then(|days| days.parse().ok());
            let days = days.filter(|days| (1..=DAYS_AT_MOST).contains(days));
            let days = days.ok_or("For how many days is not said; give a number from 1 to 3650.")?;
            ShareAct::Extend { until: web.now() + Duration::from_secs(days * 86_400) }
        }
        Some("hold") => ShareAct::Hold { on: true },
        Some("release") => ShareAct::Hold { on: false },
        Some("erase") => ShareAct::Erase,
        Some("free") => ShareAct::Release { file: number("file"), harmful: false },
        Some("free_harmful") => ShareAct::Release { file: number("file"), harmful: true },
        Some("refuse") => ShareAct::Refuse { file: number("file") },
        _ => return Err("There is nothing of that name to do."),
    };
    let (sender, recipient) = (text("sender"), text("recipient"));
    Ok(Wanted { filter: ShareFilter { message, sender, recipient, ..ShareFilter::default() }, act })
}

/// What it would do, in the imperative.
fn words(act: &ShareAct) -> String {
    match act {
        ShareAct::Revoke { .. } => "Take back all links".to_owned(),
        ShareAct::Extend { until } => format!("Make the links good until {}", crate::page::time(until)),
        ShareAct::Hold { on: true } => "Put on hold".to_owned(),
        ShareAct::Hold { on: false } => "End the hold".to_owned(),
        ShareAct::Erase => "Delete files and links for good".to_owned(),
        ShareAct::Release { .. } => "Give free what was withheld".to_owned(),
        ShareAct::Refuse { .. } => "Give the files to nobody".to_owned(),
    }
}

/// What came of it, of so many messages.
fn done(act: &ShareAct) -> String {
    match act {
        ShareAct::Revoke { .. } => "links taken back".to_owned(),
        ShareAct::Extend { until } => format!("good until {}", crate::page::time(until)),
        ShareAct::Hold { on: true } => "on hold".to_owned(),
        ShareAct::Hold { on: false } => "no longer on hold".to_owned(),
        ShareAct::Erase => "deleted".to_owned(),
        ShareAct::Release { .. } => "files given free".to_owned(),
        ShareAct::Refuse { .. } => "files given to nobody any more".to_owned(),
    }
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

#[derive(Template)]
#[template(path = "attachments_many.html")]
struct Many {
    page: Page,
    words: String,
    danger: bool,
    /// Fields of the form that does it.
    fields: Vec<(String, String)>,
    count: String,
    files: usize,
    octets: u64,
    /// On hold: not deleted.
    held: usize,
    rows: Vec<Row>,
    more: usize,
}

/// What an act on many would do, before it is done.
pub(super) async fn ask(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let caller = viewer.caller();
    let page = Page::of("attachments", "Attachments", viewer);
    let Wanted { filter, act } = match wanted(&web, &query) {
        Ok(wanted) => wanted,
        Err(why) => return sentence(StatusCode::BAD_REQUEST, page, why),
    };
    if filter.sender.is_none() && filter.recipient.is_none() {
        let why = "Whose files is not said; go back and name a sender or a recipient.";
        return sentence(StatusCode::BAD_REQUEST, page, why);
    }
    let filter = ShareFilter { limit: AT_ONCE, newest_first: true, ..filter };
    let (now, shares) = match web.control.run_as(&caller, Request::AttachmentsList { filter }).await {
        Answer::Shares { now, shares } => (now, shares),
        other => return refused(page, other),
    };
    let erase = act == ShareAct::Erase;
    let held = shares.iter().filter(|share| erase && share.hold).count();
    let touched: Vec<_> = shares.into_iter().filter(|share| !(erase && share.hold)).collect();
    let fields = query.into_iter().filter(|(name, _)| name != "csrf").collect();
    show(&Many {
        page,
        words: words(&act),
        danger: erase,
        fields,
        count: messages(touched.len() as u64),
        files: touched.iter().map(|share| share.files.len()).sum(),
        octets: touched.iter().map(vouchsafe_core::attachments::Share::size).sum(),
        held,
        more: touched.len().saturating_sub(NAMED),
        rows: touched.into_iter().take(NAMED).map(|share| Row::new(share, now)).collect(),
    })
}

/// Does it.
pub(super) async fn act(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let caller = viewer.caller();
    let page = Page::of("attachments", "Attachments", viewer);
    let Wanted { filter, act } = match wanted(&web, &form) {
        Ok(wanted) => wanted,
        Err(why) => return sentence(StatusCode::BAD_REQUEST, page, why),
    };
    let message = filter.message;
    let words = done(&act);
    let stays = message.filter(|_| act != ShareAct::Erase && field(&form, "sender").is_empty());
    match (web.control.run_as(&caller, Request::AttachmentsAct { filter, act }).await, stays) {
        (Answer::SharesChanged { count: 1.., .. }, Some(message)) => {
            Redirect::to(&format!("/attachments/{message}")).into_response()
        }
        (Answer::SharesChanged { count, held }, _) => {
            let held = match held {
                0 => String::new(),
                held => format!(" {} on hold: kept.", messages(held)),
            };
            let notice = format!("Files of {}: {words}.{held}", messages(count));
            shown(&web, Page { notice, ..page }, &BTreeMap::new()).await
        }
        (other, _) => refused(page, other),
    }
}
