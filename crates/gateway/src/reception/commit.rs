//! The dot has come: trace header on top, then the store. The reply waits for the disk (promise 1).

use std::sync::Arc;

use vouchsafe_config::{Listener, ListenerKind, ReceivedClient, Settings};
use vouchsafe_core::envelope::Envelope;
use vouchsafe_core::headers::{Fix, HeaderFacts};
use vouchsafe_core::ports::{Accepted, Body, Clock, HistoryEvent, StoreFault};
use vouchsafe_core::trace::{TraceFacts, head};
use vouchsafe_net::authentication::reading::Read;
use vouchsafe_net::authentication::{Asked, Verdict};
use vouchsafe_net::server::TlsFacts;
use vouchsafe_smtp::Reply;
use vouchsafe_smtp::server::Answer;

use crate::detaching::forms::{self, Made};
use crate::gateway::Gateway;
use crate::intake::{Content, Finished, Intake, refusal};
use crate::quota;

use super::send_as::LoggedIn;

pub(super) struct Committing {
    pub gateway: Arc<Gateway>,
    pub listener: Arc<Listener>,
    pub settings: Arc<Settings>,
    pub hello: (String, bool),
    pub tls: Option<TlsFacts>,
    pub envelope: Envelope,
    pub intake: Intake,
}

impl Committing {
    /// The reply to the dot. Once the store has the message it ends durable or not at all; the driver never drops this.
    pub async fn run(self) -> Answer {
        match self.commit().await {
            Ok(answer) => answer,
            Err(fault) => Answer::No(refusal(&fault)),
        }
    }

    async fn commit(self) -> Result<Answer, StoreFault> {
        let Committing { gateway, listener, settings, hello, tls, mut envelope, intake } = self;
        let Finished { facts, read, content, keep } = intake.finish().await?;
        if let Some(reply) = refuse_authors(&gateway, &settings, &envelope, &facts) {
            return Ok(Answer::No(reply));
        }
        let verdict = match &read {
            Some(read) => authenticate(&gateway, &settings, &mut envelope, read).await,
            None => None,
        };
        let now = gateway.clock.now();
        let attachments = &settings.attachments;
        let stores = &gateway.stores;
        let Made { body, detached, too_large } = match content {
            Content::Body(body) => {
                let len = body_len(&body);
                forms::whole(body, len, &envelope, &settings, stores)
            }
            Content::Detached(outcome) => forms::make(*outcome, &envelope, &settings, stores, now).await?,
        };
        if let Some(detached) = &detached {
            let more = detached.parts.iter().map(|part| part.blob.len).sum();
            if let Some(reply) = quota::refusal(stores, &envelope, attachments, more).await? {
                return Ok(Answer::No(reply));
            }
        }
        if too_large {
            let words = "Message is too large, and its parts cannot be replaced by links";
            return Ok(Answer::No(Reply::new(552, (5, 3, 4), words)));
        }
        let full = listener.received_client == ReceivedClient::Full;
        let fix = if listener.kind == ListenerKind::Mx { Fix::Untouched } else { Fix::Submission };
        let only = match envelope.recipients() {
            [(to, _)] => Some(&to.mailbox),
            _ => None,
        };
        let head = head(
            &TraceFacts {
                hostname: &settings.hostname,
                helo: &hello.0,
                client: envelope.origin.client.filter(|_| full),
                esmtp: hello.1,
                tls: tls.as_ref().map(|tls| (tls.version, tls.cipher.as_str())),
                authenticated: envelope.origin.login.is_some(),
                smtputf8: envelope.mail.smtputf8,
                id: envelope.id,
                only_recipient: only,
                now,
            },
            verdict.as_ref().map(|verdict| verdict.header.as_str()),
            &facts,
            fix,
        );
        let content = match &body {
            Body::Memory(bytes) if detached.is_none() => Some((head.clone(), bytes.clone())),
            // Forms are made of what is at rest.
            Body::Memory(_) | Body::Spooled(_) => None,
        };
        let id = envelope.id;
        let event = accepted_event(&envelope, now);
        let claim = gateway.deliverer.has_room();
        // Promise 1: nothing is acknowledged before this returns.
        let deliveries = gateway
            .stores
            .mail
            .accept(Accepted { envelope, head, body, due: now, claim, detached, news: None })
            .await?;
        drop(keep);
        let authentication = verdict.map_or(String::new(), |verdict| verdict.words);
        tracing::info!(session = %event.session, id = %id, sender = %event.sender, recipients = %event.recipient,
            %authentication, "message accepted");
        gateway.record(event);
        if claim {
            gateway.deliverer.offer(deliveries, content);
        } else {
            gateway.deliverer.wake();
        }
        Ok(Answer::Yes(Reply::new(250, (2, 0, 0), format!("Ok: queued as {id}"))))
    }
}

/// From of a login's message.
fn refuse_authors(
    gateway: &Gateway,
    settings: &Settings,
    envelope: &Envelope,
    facts: &HeaderFacts,
) -> Option<Reply> {
    let origin = &envelope.origin;
    let login = origin.login.as_deref().filter(|_| settings.relay.send_as_from)?;
    let login = LoggedIn { gateway, settings, session: &origin.session, client: origin.client, login };
    login.refuse_authors(envelope.id, &facts.claims)
}

/// Looks at a stranger's message, and notes whether its reverse path is proved.
async fn authenticate(
    gateway: &Gateway,
    settings: &Settings,
    envelope: &mut Envelope,
    read: &Read,
) -> Option<Verdict> {
    let origin = &envelope.origin;
    let asked = Asked {
        hostname: &settings.hostname,
        client: origin.client?,
        helo: &origin.helo,
        sender: envelope.mail.reverse_path.as_str(),
    };
    let verdict = gateway.verifier.verify(&asked, read, &settings.authentication.name_servers).await;
    envelope.origin.proven = verdict.proof.of(&envelope.mail.reverse_path);
    Some(verdict)
}

fn body_len(body: &Body) -> u64 {
    match body {
        Body::Memory(octets) => octets.len() as u64,
        Body::Spooled(body) => body.len,
    }
}

fn accepted_event(envelope: &Envelope, now: vouchsafe_core::Timestamp) -> HistoryEvent {
    let recipients: Vec<&str> = envelope.recipients().iter().map(|(to, _)| to.mailbox.as_str()).collect();
    HistoryEvent {
        at: now,
        session: envelope.origin.session.clone(),
        message: Some(envelope.id),
        kind: "accepted".to_owned(),
        sender: envelope.mail.reverse_path.as_str().to_owned(),
        recipient: recipients.join(" "),
        blame: String::new(),
        detail: envelope.origin.listener.clone(),
    }
}
