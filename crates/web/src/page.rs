//! The frame of every page, and pages that are only a sentence.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use vouchsafe_core::Timestamp;
use vouchsafe_gateway::control::Response as Answer;

use crate::session::Viewer;

/// What the layout needs.
pub(crate) struct Page {
    /// What the page is about.
    pub title: String,
    /// Which section is marked in the navigation.
    pub section: &'static str,
    /// Who looks; `None` before the login.
    pub viewer: Option<Viewer>,
    /// What was just done.
    pub notice: String,
    /// Why something was not done.
    pub fault: String,
}

impl Page {
    /// A page of a section.
    pub fn of(section: &'static str, title: impl Into<String>, viewer: Viewer) -> Page {
        let (notice, fault) = (String::new(), String::new());
        Page { title: title.into(), section, viewer: Some(viewer), notice, fault }
    }

    /// A page for whoever has not logged in.
    pub fn outside(title: impl Into<String>) -> Page {
        let (notice, fault) = (String::new(), String::new());
        Page { title: title.into(), section: "", viewer: None, notice, fault }
    }

    /// The token that forms carry.
    pub fn csrf(&self) -> &str {
        self.viewer.as_ref().map_or("", |viewer| viewer.csrf.as_str())
    }

    /// Whether acting on mail and users is offered.
    pub fn operates(&self) -> bool {
        self.viewer.as_ref().is_some_and(Viewer::operates)
    }

    /// Whether settings, administrators and what deletes files are offered.
    pub fn administers(&self) -> bool {
        self.viewer.as_ref().is_some_and(Viewer::is_admin)
    }

    /// Links of the navigation.
    pub fn links(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[
            ("overview", "/", "Overview"),
            ("messages", "/messages", "Messages"),
            ("queue", "/queue", "Queue"),
            ("attachments", "/attachments", "Attachments"),
            ("live", "/live", "Live"),
            ("delegates", "/delegates", "Delegates"),
            ("users", "/users", "Users"),
            ("settings", "/settings", "Settings"),
            ("admins", "/admins", "Administrators"),
        ]
    }
}

/// The steps of the first run.
pub(crate) const STEPS: &[(usize, &str, &str)] = &[
    (1, "/setup", "Your mail server"),
    (2, "/setup/mail", "Where mail goes"),
    (3, "/setup/clients", "How clients connect"),
    (4, "/setup/test", "Try it"),
];

/// A rendered template; one that cannot be rendered is our fault.
pub(crate) fn show(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(fault) => {
            tracing::error!(blame = "us", %fault, "a page could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made; the log says why.\n")
                .into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "sentence.html")]
struct Sentence {
    page: Page,
    sentence: String,
}

/// A page that says one thing.
pub(crate) fn sentence(status: StatusCode, page: Page, sentence: impl Into<String>) -> Response {
    (status, show(&Sentence { page, sentence: sentence.into() })).into_response()
}

/// What a refusal of control is shown as.
pub(crate) fn refused(page: Page, answer: Answer) -> Response {
    match answer {
        Answer::Refused { why } => sentence(StatusCode::BAD_REQUEST, page, why),
        _ => sentence(StatusCode::INTERNAL_SERVER_ERROR, page, "The gateway answered something else."),
    }
}

/// No such page.
pub(crate) async fn not_found() -> Response {
    sentence(StatusCode::NOT_FOUND, Page::outside("Not found"), "There is no such page.")
}

/// A time as pages show it.
pub(crate) fn time(at: &Timestamp) -> String {
    at.rfc3339().replace('T', " ").replace('Z', " UTC")
}

/// A time that a script may tell in the viewer's zone; UTC without.
pub(crate) fn stamp(at: &Timestamp) -> String {
    format!("<time datetime=\"{}\">{}</time>", at.rfc3339(), time(at))
}

/// Seconds for people.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// So many files.
pub(crate) fn files(count: &usize) -> String {
    if *count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// Octets for people.
pub(crate) fn octets(count: &u64) -> String {
    match *count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} KB", *count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", *count as f64 / 1e6),
        _ => format!("{:.1} GB", *count as f64 / 1e9),
    }
}
