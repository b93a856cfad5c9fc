//! What follows from an attempt: states, notices, the next due time, in one transaction; then the log and the history.
//!
//! A settlement that the store does not take is offered again until it does: the claim is never given back after the
//! next hop took the message, so a sick store stops mail instead of doubling it. Proof: `tests/delivery.rs`.

use std::time::Duration;

use vouchsafe_config::Settings;
use vouchsafe_core::dsn::{self, Action, Notice, Reported};
use vouchsafe_core::outcome::{Blame, End, Rules, give_up};
use vouchsafe_core::ports::{
    Accepted, Body, Delivery, HistoryEvent, RecipientOutcome, Settlement, StoreFault,
};
use vouchsafe_core::{MessageId, RecipientState, Timestamp, retry};

use super::attempt::{Fate, Report};
use super::board::Job;
use super::{Deliverer, content};

/// The first wait before a settlement is offered again; doubles up to the second.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// What decides between failing and holding for this message.
pub(super) fn rules(settings: &Settings, delivery: &Delivery) -> Rules {
    Rules {
        known_sender: delivery.message.origin.known_sender,
        bounce_strangers: settings.queue.bounce_strangers.allows(&delivery.message.origin),
        soft_bounce: settings.queue.soft_bounce,
    }
}

/// Settles an attempt; returns when it is durable.
pub(super) async fn settle(deliverer: &Deliverer, job: Job, mut report: Report, rules: Rules) {
    let deps = &deliverer.deps;
    let (settings, now) = (deps.settings.load_full(), deps.clock.now());
    let delivery = &job.delivery;
    if retry::expired(delivery.message.received_at, now, settings.queue.expire) {
        for fate in report.results.iter_mut().filter(|fate| fate.outcome.end == End::Retry) {
            fate.outcome = give_up(fate.outcome.clone(), rules);
        }
    }
    let warned = warned(&settings, delivery, &report.results, rules, now);
    let dsn = notices(deliverer, &settings, &job, &report.results, &warned, rules, now).await;
    let (attempts, next_due) = next_attempt(&settings, delivery, &report, now);
    let outcomes = outcomes(delivery, &report.results, &warned);
    let settlement = Settlement { delivery: delivery.id, outcomes, next_due, attempts, dsn };
    let noticed: Vec<MessageId> = settlement.dsn.iter().map(|notice| notice.envelope.id).collect();
    make_durable(deliverer, delivery, settlement).await;
    for fate in &report.results {
        tell(deliverer, delivery, fate, next_due, now);
    }
    for notice in &noticed {
        tracing::info!(id = %delivery.message.id, %notice, "a notice to the sender is queued");
    }
    let retried = report.results.iter().any(|fate| fate.outcome.end == End::Retry);
    deliverer.due_at(retried.then_some(next_due), !noticed.is_empty());
}

/// For the store.
pub(super) fn outcomes(delivery: &Delivery, fates: &[Fate], warned: &[usize]) -> Vec<RecipientOutcome> {
    let outcome = |fate: &Fate| RecipientOutcome {
        index: delivery.recipients[fate.at].index,
        state: state(fate.outcome.end),
        reply: fate.outcome.words.clone(),
        warned: delivery.recipients[fate.at].warned || warned.contains(&fate.at),
    };
    fates.iter().map(outcome).collect()
}

fn state(end: End) -> RecipientState {
    match end {
        End::Delivered => RecipientState::Delivered,
        End::Retry => RecipientState::Pending,
        End::Fail => RecipientState::Failed,
        End::Hold => RecipientState::Held,
    }
}

/// Recipients whose sender is told now that the message is late: senders we know, once.
fn warned(
    settings: &Settings,
    delivery: &Delivery,
    fates: &[Fate],
    rules: Rules,
    now: Timestamp,
) -> Vec<usize> {
    let due = retry::warning_due(delivery.message.received_at, now, settings.queue.warn_after);
    let told = rules.known_sender && delivery.message.mail.reverse_path.mailbox().is_some() && due;
    let action = Action::Delayed { until: now };
    let late = |fate: &&Fate| {
        let recipient = &delivery.recipients[fate.at];
        fate.outcome.end == End::Retry && !recipient.warned && dsn::wanted(&recipient.to, action)
    };
    fates.iter().filter(|_| told).filter(late).map(|fate| fate.at).collect()
}

/// The notices that are due. None for the null reverse path (RFC 5321 §4.5.5).
pub(super) async fn notices(
    deliverer: &Deliverer,
    settings: &Settings,
    job: &Job,
    fates: &[Fate],
    warned: &[usize],
    rules: Rules,
    now: Timestamp,
) -> Vec<Accepted> {
    let message = &job.delivery.message;
    let Some(sender) = message.mail.reverse_path.mailbox() else { return Vec::new() };
    let until = message.received_at + settings.queue.expire;
    let mut parts: Vec<(Action, Vec<&Fate>)> = Vec::new();
    let mut part = |action, due: &dyn Fn(&Fate) -> bool| {
        let wanted = |fate: &&Fate| dsn::wanted(&job.delivery.recipients[fate.at].to, action) && due(fate);
        let fates: Vec<&Fate> = fates.iter().filter(wanted).collect();
        if !fates.is_empty() {
            parts.push((action, fates));
        }
    };
    part(Action::Failed, &|fate| fate.outcome.end == End::Fail);
    part(Action::Delayed { until }, &|fate| warned.contains(&fate.at));
    part(Action::Relayed, &|fate| fate.relayed && rules.tells());
    if parts.is_empty() {
        return Vec::new();
    }
    let content = content::beginning(job, &*deliverer.deps.store).await;
    let accepted_domain = settings.domain(sender.domain()).map(|domain| domain.name.as_str());
    let write = |(action, fates): &(Action, Vec<&Fate>)| {
        let recipients: Vec<Reported<'_>> = fates
            .iter()
            .map(|fate| Reported {
                to: &job.delivery.recipients[fate.at].to,
                outcome: &fate.outcome,
                remote: Some(fate.host.as_str()).filter(|host| !host.is_empty()),
            })
            .collect();
        dsn::notice(&Notice {
            action: *action,
            hostname: &settings.hostname,
            id: MessageId::at(now),
            now,
            message,
            recipients: &recipients,
            content: &content,
            accepted_domain,
        })
    };
    parts.iter().filter_map(write).collect()
}

/// Attempts to record, and when the next one is due.
fn next_attempt(
    settings: &Settings,
    delivery: &Delivery,
    report: &Report,
    now: Timestamp,
) -> (u32, Timestamp) {
    let message = &delivery.message;
    let first_wait = settings.queue.retry.first().copied().unwrap_or_default();
    // A message that has just come waits for the end of the back-off only: that was no attempt of its own.
    if let Some(at) = report.not_before
        && !report.tried
        && now.since(message.received_at) < first_wait
    {
        return (delivery.attempts, at);
    }
    let attempts = delivery.attempts.saturating_add(1);
    let due = retry::next_due(attempts, now, &settings.queue.retry, jitter(message.id, attempts));
    let due = report.not_before.map_or(due, |at| due.max(at));
    // The last attempt is made when the time is up, not hours later.
    let end = message.received_at + settings.queue.expire;
    (attempts, if end > now { due.min(end) } else { due })
}

/// Chance from the message's own random id: the same in every run of a test, different for every message.
fn jitter(id: MessageId, attempts: u32) -> f64 {
    let mixed = (id.0.as_u128() as u64).wrapping_add(u64::from(attempts)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// Promise 1: what is not recorded is tried again; what is delivered must be recorded before the claim ends.
async fn make_durable(deliverer: &Deliverer, delivery: &Delivery, mut settlement: Settlement) {
    let mut wait = AGAIN;
    loop {
        let again = copy(&settlement);
        match deliverer.deps.store.settle(settlement).await {
            Ok(()) => return,
            // Deleted by hand meanwhile.
            Err(StoreFault::Missing(_)) => return,
            Err(fault) => {
                let message = delivery.message.id;
                tracing::error!(%message, blame = "us", "an attempt could not be recorded: {fault}");
            }
        }
        settlement = again;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(AGAIN_AT_MOST);
    }
}

fn copy(settlement: &Settlement) -> Settlement {
    let Settlement { delivery, outcomes, next_due, attempts, dsn } = settlement;
    // A notice is always in memory.
    let notices = dsn.iter().filter_map(|notice| match &notice.body {
        Body::Memory(body) => Some(Accepted {
            envelope: notice.envelope.clone(),
            head: notice.head.clone(),
            body: Body::Memory(body.clone()),
            due: notice.due,
            claim: notice.claim,
            detached: None,
            news: notice.news,
        }),
        Body::Spooled(_) => None,
    });
    Settlement {
        delivery: *delivery,
        outcomes: outcomes.clone(),
        next_due: *next_due,
        attempts: *attempts,
        dsn: notices.collect(),
    }
}

/// Log and history (promise 8).
pub(super) fn tell(
    deliverer: &Deliverer,
    delivery: &Delivery,
    fate: &Fate,
    next_due: Timestamp,
    now: Timestamp,
) {
    let (message, outcome) = (&delivery.message, &fate.outcome);
    let recipient = delivery.recipients[fate.at].to.mailbox.as_str();
    let (id, blame, words, next_hop) = (message.id, outcome.blame.word(), &outcome.words, &fate.endpoint);
    let kind = match outcome.end {
        End::Delivered => {
            tracing::info!(id = %id, recipient, next_hop, "delivered: {words}");
            "delivered"
        }
        End::Retry if outcome.route_fault || outcome.blame == Blame::Us => {
            let due = next_due.rfc3339();
            tracing::error!(id = %id, recipient, next_hop, route = %delivery.route, blame, alert = true,
                next_attempt = due, "the route needs the administrator: {words}");
            "deferred"
        }
        End::Retry => {
            let due = next_due.rfc3339();
            tracing::info!(id = %id, recipient, next_hop, blame, next_attempt = due, "deferred: {words}");
            "deferred"
        }
        End::Fail => {
            tracing::info!(id = %id, recipient, next_hop, blame, "failed: {words}");
            "failed"
        }
        End::Hold => {
            tracing::warn!(id = %id, recipient, next_hop, blame, "held: {words}");
            "held"
        }
    };
    let detail = match fate.endpoint.is_empty() {
        true => words.clone(),
        false => format!("{}: {words}", fate.endpoint),
    };
    deliverer.deps.history.record(HistoryEvent {
        at: now,
        session: message.origin.session.clone(),
        message: Some(id),
        kind: kind.to_owned(),
        sender: message.mail.reverse_path.as_str().to_owned(),
        recipient: recipient.to_owned(),
        blame: blame.to_owned(),
        detail,
    });
}
