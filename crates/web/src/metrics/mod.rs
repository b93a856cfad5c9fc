//! `/metrics`: what is counted and measured, for Prometheus. Names and labels are few and fixed: no address, no user, no
//! domain is ever a label; a delegate's name comes from the settings.
//!
//! For whoever is on this machine itself, or shows a token. Proof: `crates/vouchsafe/tests/metrics.rs`, which also compares
//! contrib/grafana with what is written here.

mod text;

use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use vouchsafe_core::figures::Figure;
use vouchsafe_core::ports::Clock;
use vouchsafe_gateway::admin::{Caller, Role};
use vouchsafe_gateway::control::{Request, Response as Answer, Status};
use vouchsafe_gateway::delegate::{Health, LATENCIES};
use vouchsafe_gateway::process::{self, Process};

use crate::Web;
use crate::api;
use crate::api::Problem;
use crate::session::From;
use text::{Kind, Text};

/// Counters of the meter: family, its help, its label, and of each label's word the figure.
type Row = (&'static str, &'static str, &'static str, &'static [(&'static str, Figure)]);

const COUNTERS: &[Row] = &[
    (
        "vouchsafe_messages_total",
        "Messages taken, each synced to disk before its 250.",
        "source",
        &[("internet", Figure::Received), ("clients", Figure::Submitted)],
    ),
    (
        "vouchsafe_recipients_total",
        "What became of recipients after an attempt to deliver.",
        "outcome",
        &[
            ("delivered", Figure::Delivered),
            ("deferred", Figure::Deferred),
            ("failed", Figure::Failed),
            ("held", Figure::Held),
        ],
    ),
    (
        "vouchsafe_refusals_total",
        "Refusals to clients.",
        "reason",
        &[
            ("unknown_recipient", Figure::RefusedUnknown),
            ("relaying_denied", Figure::RefusedRelay),
            ("guessing", Figure::RefusedGuess),
            ("cannot_tell", Figure::RefusedUnclear),
            ("other", Figure::RefusedOther),
        ],
    ),
    (
        "vouchsafe_logins_total",
        "Logins of mail clients.",
        "outcome",
        &[
            ("accepted", Figure::LoginYes),
            ("refused", Figure::LoginNo),
            ("cannot_tell", Figure::LoginUnclear),
        ],
    ),
];

/// The page of numbers.
pub(crate) async fn metrics(State(web): State<Web>, http: HttpRequest) -> Response {
    let from = http.extensions().get::<From>().copied();
    if !is_of_this_machine(http.headers(), from.as_ref())
        && let Err(problem) = api::caller(&web, http.headers(), from.as_ref()).await
    {
        return problem.into_response();
    }
    let caller = Caller { name: "metrics".to_owned(), role: Role::ReadOnly };
    let status = match web.control.run_as(&caller, Request::Status).await {
        Answer::Status(status) => status,
        Answer::Refused { why } => return Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
        _ => return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no status").into_response(),
    };
    let accept = http.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let mut text = Text::new(accept.is_some_and(|accept| accept.contains("application/openmetrics-text")));
    let gateway = web.control.gateway();
    let counts = gateway.meter.counts();
    for (name, help, label, rows) in COUNTERS {
        text.family(name, Kind::Counter, help);
        for (word, figure) in *rows {
            text.number(name, &[(label, word)], counts[*figure as usize] as f64);
        }
    }
    levels(&mut text, &status, gateway.clock.now());
    delegates(&mut text, &status);
    if let Some(process) = process::look() {
        of_process(&mut text, &process);
    }
    let (kind, body) = text.end();
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// A client on loopback for whom no proxy speaks.
fn is_of_this_machine(headers: &HeaderMap, from: Option<&From>) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    from.and_then(|from| from.client).is_some_and(|client| client.to_canonical().is_loopback())
        && !forwarded.iter().any(|name| headers.contains_key(*name))
}

fn levels(text: &mut Text, status: &Status, now: vouchsafe_core::Timestamp) {
    use Kind::Gauge;
    text.family("vouchsafe_build_info", Gauge, "Version of the program; always 1.");
    text.number("vouchsafe_build_info", &[("version", &status.version)], 1.0);
    let queue = &status.queue;
    let oldest = status.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
    for (name, help, value) in [
        ("vouchsafe_sessions", "Sessions of clients.", status.sessions as f64),
        ("vouchsafe_queue_messages", "Messages in the queue.", queue.messages as f64),
        ("vouchsafe_queue_deliveries", "Deliveries that wait: a message and a route.", queue.pending as f64),
        ("vouchsafe_queue_held_recipients", "Recipients on hold.", queue.held as f64),
        ("vouchsafe_queue_bytes", "Octets of bodies at rest.", queue.octets as f64),
        ("vouchsafe_queue_oldest_age_seconds", "Age of the oldest message; 0 if there is none.", oldest),
    ] {
        text.one(name, Gauge, help, value);
    }
    if let Some(free) = status.free {
        text.one("vouchsafe_disk_free_bytes", Gauge, "Space left where the data is.", free as f64);
    }
}

/// A level or a counter of a delegate.
type OfDelegate = (&'static str, Kind, &'static str, fn(&Health) -> f64);

const DELEGATES: &[OfDelegate] = &[
    (
        "vouchsafe_delegate_breaker_open",
        Kind::Gauge,
        "1 while a delegate is left alone because it did not answer.",
        |health| f64::from(u8::from(!health.reachable)),
    ),
    ("vouchsafe_delegate_cache_hits_total", Kind::Counter, "Questions answered from memory.", |health| {
        health.remembered as f64
    }),
    (
        "vouchsafe_delegate_unanswered_total",
        Kind::Counter,
        "Questions that a delegate did not answer.",
        |health| health.unanswered as f64,
    ),
    ("vouchsafe_delegate_sessions", Kind::Gauge, "Sessions for recipients that are open there.", |health| {
        health.sessions as f64
    }),
    ("vouchsafe_delegate_sessions_limit", Kind::Gauge, "As many as there may be now.", |health| {
        health.sessions_at_most as f64
    }),
    (
        "vouchsafe_delegate_waiting",
        Kind::Gauge,
        "Questions about recipients that wait for a session.",
        |health| health.waiting as f64,
    ),
];

fn delegates(text: &mut Text, status: &Status) {
    for (name, kind, help, value) in DELEGATES {
        text.family(name, *kind, help);
        for (delegate, health) in &status.health {
            text.number(name, &[("delegate", delegate)], value(health));
        }
    }
    let name = "vouchsafe_delegate_latency_seconds";
    text.family(name, Kind::Histogram, "How long clients waited for a delegate's answer.");
    for (delegate, health) in &status.health {
        let bucket = format!("{name}_bucket");
        for (bound, count) in LATENCIES.iter().zip(&health.within) {
            let bound = bound.as_secs_f64().to_string();
            text.number(&bucket, &[("delegate", delegate), ("le", &bound)], *count as f64);
        }
        text.number(&bucket, &[("delegate", delegate), ("le", "+Inf")], health.answered as f64);
        text.number(&format!("{name}_sum"), &[("delegate", delegate)], health.answered_us as f64 / 1e6);
        text.number(&format!("{name}_count"), &[("delegate", delegate)], health.answered as f64);
    }
}

/// The names that Prometheus's own libraries use.
fn of_process(text: &mut Text, process: &Process) {
    use Kind::{Counter, Gauge};
    text.one("process_cpu_seconds_total", Counter, "Processor time used.", process.cpu.as_secs_f64());
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Memory in use.", process.resident as f64),
        ("process_virtual_memory_bytes", "Memory that has addresses.", process.virtual_size as f64),
        ("process_open_fds", "Open files and sockets.", process.open_files as f64),
        ("process_max_fds", "As many as there may be.", process.most_files as f64),
        ("process_threads", "Threads.", process.threads as f64),
        ("process_start_time_seconds", "Start, in seconds since 1970.", process.start as f64),
    ] {
        text.one(name, Gauge, help, value);
    }
}
