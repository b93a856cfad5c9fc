//! Settings: each with help, default and source; what would change is shown before it does; versions with a way back.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use vouchsafe_config::changes_of;
use vouchsafe_config::table::SECTIONS;
use vouchsafe_gateway::control::{Request, Response as Answer};
use vouchsafe_gateway::stored::{Draft, From, SettingRow, Version, Wish};

use crate::Web;
use crate::forms::{Form, field};
use crate::page::{Page, refused, sentence, show};
use crate::session::Viewer;

pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/settings", get(list))
        .route("/settings/draft", post(draft))
        .route("/settings/change", post(change))
        .route("/settings/history", get(history))
        .route("/settings/rollback", post(roll_back))
}

/// Titles of the sections, as people who know such pages look for them.
const TITLES: &[(&str, &str)] = &[
    ("listener", "Embedded SMTP Server"),
    ("delegate", "Authentication Delegate"),
    ("domain", "Domains"),
    ("relay", "Relay"),
    ("attachments", "Attachments"),
    ("tls", "TLS"),
    ("limits", "Limits"),
    ("queue", "Queue"),
    ("guard", "Guard"),
    ("web", "This page"),
    ("", "General"),
];

struct Field {
    row: SettingRow,
    /// First of its block.
    starts: bool,
    locked: bool,
    /// The value in force.
    value: String,
    /// What the store holds.
    typed: String,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct List {
    page: Page,
    section: String,
    sections: Vec<(&'static str, &'static str)>,
    about: &'static str,
    rows: Vec<Field>,
    new: &'static str,
    first: &'static str,
    first_help: &'static str,
}

async fn list(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let section = query.get("section").map_or("delegate", String::as_str).to_owned();
    let caller = viewer.caller();
    let page = Page::of("settings", "Settings", viewer);
    let rows = match web.control.run_as(&caller, Request::SettingsShow).await {
        Answer::Settings { rows, .. } => rows,
        other => return refused(page, other),
    };
    let mut last = String::new();
    let fields = rows.into_iter().filter(|row| row.section == section).map(|row| {
        let starts = row.block != last && row.block != section;
        last.clone_from(&row.block);
        let value = row.value.clone().unwrap_or_else(|| row.default.clone());
        let typed = match row.from {
            From::Stored => plain(&value),
            _ => String::new(),
        };
        // A block's name is its key: another name is another block.
        let locked = row.from == From::File || row.key == "name";
        Field { starts, locked, value, typed, row }
    });
    let rows = fields.collect();
    let (new, first, first_help) = match section.as_str() {
        "delegate" => ("A delegate", "host", "the name or address of the mail server that is asked."),
        "domain" => ("A domain", "next_hop", "where its mail goes, host:port."),
        _ => ("", "", ""),
    };
    let about = SECTIONS.iter().find(|(name, ..)| *name == section).map_or("", |(_, _, about)| *about);
    show(&List { page, section, sections: TITLES.to_vec(), about, rows, new, first, first_help })
}

/// A TOML text without its quotes, where it needs none.
fn plain(toml: &str) -> String {
    match toml.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.contains(['"', '\\']) => text.to_owned(),
        _ => toml.to_owned(),
    }
}

#[derive(Template)]
#[template(path = "draft.html")]
struct Drafted {
    page: Page,
    draft: Draft,
    changes: String,
}

async fn draft(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let caller = viewer.caller();
    let page = Page::of("settings", "What would change", viewer);
    let wishes = match form.get("toml") {
        Some(lines) => match changes_of(lines) {
            Ok(changes) => changes.into_iter().map(|c| Wish { key: c.key, value: c.value }).collect(),
            Err(faults) => {
                let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
                return sentence(StatusCode::BAD_REQUEST, page, lines.join("\n"));
            }
        },
        None => match web.control.run_as(&caller, Request::SettingsShow).await {
            Answer::Settings { rows, .. } => wishes(&rows, &form),
            other => return refused(page, other),
        },
    };
    match web.control.run_as(&caller, Request::SettingsDraft { changes: wishes.clone() }).await {
        Answer::Draft(draft) => {
            let changes = serde_json::to_string(&wishes).unwrap_or_default();
            show(&Drafted { page, draft, changes })
        }
        other => refused(page, other),
    }
}

/// What differs from what the store holds.
fn wishes(rows: &[SettingRow], form: &Form) -> Vec<Wish> {
    let mut wishes = Vec::new();
    for row in rows.iter().filter(|row| row.from != From::File && row.key != "name") {
        let Some(typed) = form.get(&row.path) else { continue };
        let stored = match row.from {
            From::Stored => row.value.as_deref().map(plain).unwrap_or_default(),
            _ => String::new(),
        };
        let typed = typed.trim();
        if typed != stored {
            let value = Some(typed.to_owned()).filter(|typed| !typed.is_empty());
            wishes.push(Wish { key: row.path.clone(), value });
        }
    }
    let (name, value) = (field(form, "new").trim(), field(form, "new_value").trim().to_owned());
    match (field(form, "new_section"), name) {
        (_, "") => {}
        ("delegate", name) => {
            wishes.push(Wish { key: format!("delegate.{name}.host"), value: Some(value) });
        }
        ("domain", name) => {
            wishes.push(Wish { key: format!("domain[{name}].next_hop"), value: Some(value) });
        }
        _ => {}
    }
    wishes
}

async fn change(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let caller = viewer.caller();
    let page = Page::of("settings", "Settings", viewer);
    let Ok(changes) = serde_json::from_str(field(&form, "changes")) else {
        return sentence(StatusCode::BAD_REQUEST, page, "This form is damaged; begin anew.");
    };
    ended(&web, page, &caller, Request::SettingsChange { changes }).await
}

async fn roll_back(viewer: Viewer, State(web): State<Web>, form: Form) -> Response {
    if let Some(response) = viewer.refusal(&form) {
        return response;
    }
    let caller = viewer.caller();
    let page = Page::of("settings", "Settings", viewer);
    let Ok(version) = field(&form, "version").parse() else {
        return sentence(StatusCode::BAD_REQUEST, page, "That is no version.");
    };
    ended(&web, page, &caller, Request::SettingsRollback { version }).await
}

async fn ended(
    web: &Web,
    page: Page,
    caller: &vouchsafe_gateway::admin::Caller,
    request: Request,
) -> Response {
    match web.control.run_as(caller, request).await {
        Answer::Version(_) => Redirect::to("/settings/history").into_response(),
        other => refused(page, other),
    }
}

#[derive(Template)]
#[template(path = "history.html")]
struct Versions {
    page: Page,
    versions: Vec<Version>,
}

async fn history(viewer: Viewer, State(web): State<Web>) -> Response {
    let caller = viewer.caller();
    let page = Page::of("settings", "History of the settings", viewer);
    match web.control.run_as(&caller, Request::SettingsHistory).await {
        Answer::Versions { mut versions } => {
            versions.truncate(50);
            show(&Versions { page, versions })
        }
        other => refused(page, other),
    }
}
