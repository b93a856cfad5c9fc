//! The pages themselves: what a landing, a refusal, a sender's share looks like.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use vouchsafe_core::attachments::{Landing, Share};
use vouchsafe_core::scan::Release;
use vouchsafe_core::stub::Language;
use vouchsafe_gateway::downloads::{Downloads, Refusal};

use super::words::Words;
use crate::page::show;

/// How pages are shown to somebody.
pub(super) struct Pages {
    pub language: Language,
    pub hostname: String,
}

/// What every page has.
struct Frame {
    words: &'static Words,
    language: &'static str,
    title: String,
    hostname: String,
}

impl Frame {
    /// Where a code goes to.
    fn code_to(&self, to: &str) -> String {
        fill(self.words.code_to, to)
    }
}

/// A file on a page.
struct Row {
    position: u32,
    name: String,
    size: String,
    sha256: String,
    /// There is a button.
    given: bool,
    /// What else is to be said of it.
    note: String,
    /// That is no warning.
    mild: bool,
    downloads: u64,
}

#[derive(Template)]
#[template(path = "download/landing.html")]
struct LandingPage {
    frame: Frame,
    token: String,
    sender: String,
    until: String,
    files: Vec<Row>,
    /// The size of all, where all can be had at once.
    all: Option<String>,
}

#[derive(Template)]
#[template(path = "download/closed.html")]
struct Closed {
    frame: Frame,
    sentences: Vec<String>,
    /// The link whose sender can be asked for more time.
    ask: Option<String>,
    /// The link whose page to go back to.
    back: Option<String>,
}

#[derive(Template)]
#[template(path = "download/password.html")]
struct Password {
    frame: Frame,
    token: String,
    wrong: bool,
}

#[derive(Template)]
#[template(path = "download/code.html")]
struct Code {
    frame: Frame,
    token: String,
    to: Option<String>,
    sent: bool,
    wrong: bool,
}

#[derive(Template)]
#[template(path = "download/sender.html")]
struct SenderPage {
    frame: Frame,
    token: String,
    notice: &'static str,
    fault: &'static str,
    state: String,
    /// The button that extends, where that makes a difference.
    until: Option<String>,
    files: Vec<Row>,
    recipients: Vec<(String, u64, String)>,
    open: bool,
    protected: bool,
}

/// A sentence with its blank filled.
fn fill(sentence: &str, with: &str) -> String {
    sentence.replacen("{}", with, 1)
}

impl Pages {
    fn frame(&self, title: &str) -> Frame {
        Frame {
            words: self.words(),
            language: self.code_of(),
            title: title.to_owned(),
            hostname: self.hostname.clone(),
        }
    }

    /// What a link leads to.
    pub fn landing(&self, door: &Downloads, token: &str, landing: &Landing) -> Response {
        let (share, language, words) = (&landing.share, self.language, self.words());
        let rows = share.files.iter().map(|file| {
            let (release, left) = (door.release(landing, file), landing.left(file.position));
            let note = match (release, left) {
                (Release::Checking, _) => words.checking.to_owned(),
                (Release::Held, _) => words.held.to_owned(),
                (Release::Quarantined, _) => words.quarantined.to_owned(),
                (Release::Refused, _) => words.refused.to_owned(),
                (_, Some(0)) => words.used_up.to_owned(),
                (Release::GivenUnchecked, _) => words.unchecked.to_owned(),
                (Release::Given, Some(left)) => fill(words.left, &left.to_string()),
                (Release::Given, None) => String::new(),
            };
            Row {
                position: file.position,
                name: file.file_name.clone(),
                size: language.size(file.size),
                sha256: file.sha256.clone(),
                given: release.is_given() && left != Some(0),
                mild: release == Release::Given && left != Some(0),
                note,
                downloads: file.downloads,
            }
        });
        let files: Vec<Row> = rows.collect();
        let all = files.len() > 1 && files.iter().all(|file| file.given);
        let title = match share.subject.as_str() {
            "" => language.title(files.len()),
            subject => subject.to_owned(),
        };
        show(&LandingPage {
            frame: self.frame(&title),
            token: token.to_owned(),
            sender: share.sender.clone(),
            until: language.until(&language.day(share.expires)),
            files,
            all: all.then(|| language.size(share.size())),
        })
    }

    /// What somebody sees who gets nothing.
    pub fn refused(&self, token: &str, refusal: &Refusal) -> Response {
        let words = self.words();
        let token = token.to_owned();
        let back = (!token.is_empty()).then(|| token.clone());
        match refusal {
            Refusal::Nothing => self.closed(StatusCode::NOT_FOUND, words.nothing_title, &[words.nothing]),
            Refusal::Wait(time) => {
                let seconds = (time.as_secs() + 1).to_string();
                let sentence = fill(words.wait, &seconds);
                let mut response = self.closed(StatusCode::TOO_MANY_REQUESTS, words.wait_title, &[&sentence]);
                if let Ok(seconds) = HeaderValue::from_str(&seconds) {
                    response.headers_mut().insert(header::RETRY_AFTER, seconds);
                }
                response
            }
            Refusal::Unavailable => {
                let sentences = [words.unavailable];
                self.closed(StatusCode::SERVICE_UNAVAILABLE, words.unavailable_title, &sentences)
            }
            Refusal::Revoked => self.closed(StatusCode::GONE, words.revoked_title, &[words.revoked]),
            Refusal::Expired { until, may_ask, asked } => {
                let expired = fill(words.expired, &self.language.day(*until));
                let (sentence, ask) = match (may_ask, asked) {
                    (true, true) => (words.asked, None),
                    (true, false) => (words.may_ask, Some(token)),
                    (false, _) => (words.ask_yourself, None),
                };
                self.closed_with(StatusCode::GONE, words.expired_title, &[&expired, sentence], ask, None)
            }
            Refusal::UsedUp => {
                let title = words.used_up_title;
                self.closed_with(StatusCode::FORBIDDEN, title, &[words.used_up], None, back)
            }
            Refusal::Withheld(release) => {
                let sentence = match release {
                    Release::Checking => words.checking,
                    Release::Quarantined => words.quarantined,
                    Release::Refused => words.refused,
                    _ => words.held,
                };
                let title = words.unavailable_title;
                self.closed_with(StatusCode::FORBIDDEN, title, &[sentence], None, back)
            }
            Refusal::Password { wrong } => {
                let frame = self.frame(words.password_title);
                let status = if *wrong { StatusCode::FORBIDDEN } else { StatusCode::OK };
                (status, show(&Password { frame, token, wrong: *wrong })).into_response()
            }
            Refusal::Code(wanted) => {
                let frame = self.frame(words.code_title);
                let status = if wanted.wrong { StatusCode::FORBIDDEN } else { StatusCode::OK };
                // Whoever typed a code has one: the way to another stays open.
                let (to, sent, wrong) = (wanted.to.clone(), false, wanted.wrong);
                (status, show(&Code { frame, token, to, sent, wrong })).into_response()
            }
        }
    }

    /// Where a code is typed that was mailed.
    pub fn code(&self, token: &str, to: Option<String>, sent: bool) -> Response {
        let (frame, token) = (self.frame(self.words().code_title), token.to_owned());
        show(&Code { frame, token, to, sent, wrong: false })
    }

    /// The sender's own page. `query` says what was just done.
    pub fn sender(&self, door: &Downloads, token: &str, share: &Share, query: &str) -> Response {
        let (language, words) = (self.language, self.words());
        let row = |file: &vouchsafe_core::attachments::SharedFile| Row {
            position: file.position,
            name: file.file_name.clone(),
            size: language.size(file.size),
            sha256: file.sha256.clone(),
            given: false,
            note: String::new(),
            mild: true,
            downloads: file.downloads,
        };
        let last = |link: &vouchsafe_core::attachments::LinkRow| match link.last_download {
            Some(at) => language.day(at),
            None => words.never.to_owned(),
        };
        let recipients =
            share.links.iter().map(|link| (link.recipients.join(", "), link.downloads, last(link)));
        let open = share.revoked.is_none() && door.now() < share.expires;
        let (day, extended) = (language.day(share.expires), language.day(door.extension(share)));
        let state = match (share.revoked, open) {
            (Some(_), _) => words.is_revoked.to_owned(),
            (None, true) => fill(words.is_open, &day),
            (None, false) => fill(words.is_over, &day),
        };
        let title = match share.subject.as_str() {
            "" => words.sender_title,
            subject => subject,
        };
        show(&SenderPage {
            frame: self.frame(title),
            token: token.to_owned(),
            notice: if query == "done" { words.done } else { "" },
            fault: if query == "bad" { words.bad_password } else { "" },
            state,
            until: (!open || extended != day).then(|| fill(words.extend, &extended)),
            files: share.files.iter().map(row).collect(),
            recipients: recipients.collect(),
            open,
            protected: share.password.is_some(),
        })
    }

    fn closed(&self, status: StatusCode, title: &str, sentences: &[&str]) -> Response {
        self.closed_with(status, title, sentences, None, None)
    }

    fn closed_with(
        &self,
        status: StatusCode,
        title: &str,
        sentences: &[&str],
        ask: Option<String>,
        back: Option<String>,
    ) -> Response {
        let sentences = sentences.iter().map(|sentence| (*sentence).to_owned()).collect();
        (status, show(&Closed { frame: self.frame(title), sentences, ask, back })).into_response()
    }
}
