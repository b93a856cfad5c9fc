//! What the gateway is doing now, and did over an hour, a day, a month.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use vouchsafe_core::Timestamp;
use vouchsafe_core::figures::Span;
use vouchsafe_core::ports::{HistoryEvent, HistoryFilter};
use vouchsafe_gateway::control::{Request, Response as Answer, Status};
use vouchsafe_gateway::delegate::Health;

use crate::Web;
use crate::graph::{Graph, Series, Unit};
use crate::page::{Page, refused, show};
use crate::session::{Viewer, Watcher};

/// Events shown.
const LAST: usize = 15;

pub(crate) fn routes() -> Router<Web> {
    Router::new().route("/", get(overview)).route("/overview/now", get(part))
}

/// A graph as the page shows it.
struct Figure {
    title: &'static str,
    /// The drawing; nothing where nothing happened.
    svg: String,
    /// (class, name, what is told of it).
    legend: Vec<(usize, &'static str, String)>,
}

struct Row {
    name: String,
    health: Health,
    /// Mean time of an answer.
    answer: String,
    /// Share of questions answered from memory.
    memory: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    page: Page,
    now: Now,
}

/// What is kept fresh.
#[derive(Template)]
#[template(path = "now.html")]
struct Now {
    unset: bool,
    down: bool,
    status: Status,
    oldest: String,
    span: &'static str,
    figures: Vec<Figure>,
    delegates: Vec<Row>,
    events: Vec<HistoryEvent>,
}

async fn overview(
    viewer: Viewer,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let page = Page::of("overview", "Overview", viewer.clone());
    match now(&web, &viewer, &query).await {
        Ok(now) => show(&Overview { page, now }),
        Err(other) => refused(page, other),
    }
}

async fn part(
    Watcher(viewer): Watcher,
    State(web): State<Web>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    match now(&web, &viewer, &query).await {
        Ok(now) => show(&now),
        Err(other) => refused(Page::of("overview", "Overview", viewer), other),
    }
}

async fn now(web: &Web, viewer: &Viewer, query: &BTreeMap<String, String>) -> Result<Now, Answer> {
    let caller = viewer.caller();
    let (span, word) = match query.get("span").map(String::as_str) {
        Some("day") => (Span::Day, "day"),
        Some("month") => (Span::Month, "month"),
        _ => (Span::Hour, "hour"),
    };
    let status = match web.control.run_as(&caller, Request::Status).await {
        Answer::Status(status) => status,
        other => return Err(other),
    };
    let figures = match web.control.run_as(&caller, Request::Figures { span }).await {
        Answer::Figures { names, slots, .. } => Slots { names, slots }.figures(),
        other => return Err(other),
    };
    let last = HistoryFilter { limit: LAST, ..HistoryFilter::default() };
    let events = match web.control.run_as(&caller, Request::History { filter: last }).await {
        Answer::History { events } => events,
        other => return Err(other),
    };
    let oldest = status
        .oldest
        .map_or_else(|| "–".to_owned(), |oldest| crate::page::duration(web.now().since(oldest).as_secs()));
    Ok(Now {
        unset: status.delegates.is_empty(),
        down: status.delegates.iter().any(|(_, up)| !up),
        delegates: status.health.iter().map(|(name, health)| row(name, health)).collect(),
        oldest,
        status,
        span: word,
        figures,
        events,
    })
}

fn row(name: &str, health: &Health) -> Row {
    let questions = health.answered + health.remembered;
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    Row {
        name: name.to_owned(),
        answer: or_none(health.answered_us.checked_div(health.answered).map(|us| Unit::Micros.words(us))),
        memory: or_none((health.remembered * 100).checked_div(questions).map(|share| format!("{share} %"))),
        health: health.clone(),
    }
}

/// Figures as control gives them.
struct Slots {
    names: Vec<String>,
    slots: Vec<(Timestamp, Vec<u64>)>,
}

impl Slots {
    fn values(&self, word: &str) -> Vec<u64> {
        let index = self.names.iter().position(|name| name == word);
        let value =
            |values: &Vec<u64>| index.and_then(|index| values.get(index)).copied().unwrap_or_default();
        self.slots.iter().map(|(_, values)| value(values)).collect()
    }

    /// A count: its sum is told.
    fn count(&self, name: &'static str, word: &str) -> Series {
        let values = self.values(word);
        let told = Unit::Count.words(values.iter().sum());
        Series { name, values, told }
    }

    /// A level: the last one is told.
    fn level(&self, name: &'static str, word: &str, unit: Unit) -> Series {
        let values = self.values(word);
        // The slot that runs is empty until its first minute is over.
        let last = values.iter().rev().find(|value| **value > 0).copied().unwrap_or_default();
        let told = unit.words(last);
        Series { name, values, told }
    }

    fn figures(&self) -> Vec<Figure> {
        let lines = |title, unit, series| Graph { title, unit, stacked: false, series };
        let bars = |title, series| Graph { title, unit: Unit::Count, stacked: true, series };
        let asked = self.values("asked");
        let times = self.values("asked_us");
        let mean: Vec<u64> = times
            .iter()
            .zip(&asked)
            .map(|(time, count)| time.checked_div(*count).unwrap_or_default())
            .collect();
        let all = times.iter().sum::<u64>().checked_div(asked.iter().sum()).unwrap_or_default();
        let mean = Series { name: "mean", values: mean, told: Unit::Micros.words(all) };
        let graphs = [
            lines(
                "Mail",
                Unit::Count,
                vec![
                    self.count("from the Internet", "received"),
                    self.count("from clients", "submitted"),
                    self.count("delivered", "delivered"),
                ],
            ),
            bars(
                "Refused or put off, by reason",
                vec![
                    self.count("no such recipient", "refused_unknown"),
                    self.count("relaying denied", "refused_relay"),
                    self.count("nobody could tell", "refused_unclear"),
                    self.count("guessed too often", "refused_guess"),
                    self.count("other", "refused_other"),
                ],
            ),
            lines("Delegates: time to answer", Unit::Micros, vec![mean]),
            bars(
                "Delegates: questions",
                vec![
                    self.count("from memory", "remembered"),
                    self.count("asked", "asked"),
                    self.count("no answer", "unanswered"),
                ],
            ),
            bars(
                "Logins",
                vec![
                    self.count("accepted", "login_yes"),
                    self.count("refused", "login_no"),
                    self.count("undecided", "login_unclear"),
                ],
            ),
            bars(
                "Attempts that did not deliver",
                vec![
                    self.count("put off", "deferred"),
                    self.count("given up", "failed"),
                    self.count("held", "held"),
                ],
            ),
            lines(
                "Queue",
                Unit::Count,
                vec![
                    self.level("messages", "queue", Unit::Count),
                    self.level("recipients on hold", "on_hold", Unit::Count),
                ],
            ),
            lines("Oldest in the queue", Unit::Seconds, vec![self.level("age", "oldest_s", Unit::Seconds)]),
            lines(
                "Sessions",
                Unit::Count,
                vec![
                    self.level("of clients", "sessions", Unit::Count),
                    self.level("at delegates", "delegate_sessions", Unit::Count),
                    self.level("delegates left alone", "breakers_open", Unit::Count),
                ],
            ),
            lines(
                "Disk",
                Unit::Octets,
                vec![
                    self.level("free", "free_octets", Unit::Octets),
                    self.level("bodies at rest", "stored_octets", Unit::Octets),
                ],
            ),
        ];
        let times: Vec<Timestamp> = self.slots.iter().map(|(at, _)| *at).collect();
        let figure = |graph: Graph| Figure {
            title: graph.title,
            svg: if graph.is_empty() { String::new() } else { graph.svg(&times) },
            legend: (1..)
                .zip(graph.series)
                .map(|(class, series)| (class, series.name, series.told))
                .collect(),
        };
        graphs.into_iter().map(figure).collect()
    }
}
