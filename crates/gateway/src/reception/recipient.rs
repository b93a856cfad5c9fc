//! RCPT: policy first; then the sources of the recipient's domain, and what their verdict comes to.
//!
//! Promise 2: a recipient comes out of here with the permit that policy made, or not at all. A stranger's recipient in a
//! domain without a block of its own needs the delegate's Accept *and* its proof that it refuses domains of others; a
//! trial ends in a permit for a named domain only. Proof: `transcripts/e2e/{inbound,any_domain,trial}_*`,
//! `transcripts/attacks/relay_*`.

use std::net::IpAddr;
use std::sync::Arc;

use vouchsafe_config::{AcceptedDomain, RecipientSource, Settings};
use vouchsafe_core::MessageId;
use vouchsafe_core::policy::{self, Ask, AskAny, Block, Client, Decision, RelayPermit};
use vouchsafe_core::ports::{Clock, HistoryEvent};
use vouchsafe_core::relay_probe::Standing;
use vouchsafe_core::trial::{self, Finding};
use vouchsafe_core::verdict::Verdict;
use vouchsafe_smtp::{Mailbox, Reply};

use super::Refusal;
use crate::delegate::{Asker, Delegate};
use crate::gateway::Gateway;
use crate::sources::{self, Reach};

/// Who names recipients, in which transaction.
pub(super) struct Asking {
    pub gateway: Arc<Gateway>,
    pub settings: Arc<Settings>,
    pub client: Client,
    /// The address that unknown recipients are counted for.
    pub counted: Option<IpAddr>,
    pub session: String,
    pub message: Option<MessageId>,
    pub sender: String,
}

impl Asking {
    /// A permit, or why not.
    pub async fn decide(&self, mailbox: &Mailbox) -> Result<RelayPermit, Refusal> {
        let named = self.settings.domain(mailbox.domain());
        let any = self.settings.any_domain();
        let block = match (named, any) {
            (Some(domain), _) => Block::Named(&domain.name),
            (None, Some(domain)) => Block::Any(&domain.name),
            (None, None) => Block::None,
        };
        match (policy::decide(&self.client, mailbox, block), named, any) {
            (Decision::Permit(_), ..) if self.settings.relay.next_hop.is_empty() => Err(no_route()),
            (Decision::Permit(permit), ..) => Ok(permit),
            (Decision::Ask(ask), Some(domain), _) => self.ask(ask, domain, mailbox).await,
            (Decision::AskAny(ask), _, Some(domain)) => self.ask_any(ask, domain, mailbox).await,
            _ => Err(relay_denied()),
        }
    }

    /// A domain with a block of its own.
    async fn ask(
        &self,
        ask: Ask,
        domain: &AcceptedDomain,
        mailbox: &Mailbox,
    ) -> Result<RelayPermit, Refusal> {
        let verdict = self.verdict(domain, mailbox).await;
        if let Some(delegate) = sources::on_trial(&self.settings, domain) {
            if let Some(finding) = Finding::of_recipient(delegate, verdict.of_sources()) {
                self.record(mailbox, &finding);
            }
            return Ok(ask.on_trial());
        }
        match verdict {
            Asked::TooMany(_) => Err(too_many_unknown()),
            Asked::Told(Verdict::Accept(_)) => Ok(ask.accept()),
            Asked::Told(verdict) => Err(refused(mailbox, verdict)),
        }
    }

    /// A domain without a block of its own.
    async fn ask_any(
        &self,
        ask: AskAny,
        any: &AcceptedDomain,
        mailbox: &Mailbox,
    ) -> Result<RelayPermit, Refusal> {
        let delegate = match &any.recipients[..] {
            [RecipientSource::Delegate(name)] => self.gateway.delegates.get(name),
            _ => None,
        };
        let asked = self.verdict(any, mailbox).await;
        let delegate = delegate.as_deref();
        match asked {
            Asked::TooMany(_) => Err(too_many_unknown()),
            Asked::Told(Verdict::Accept(_)) => match delegate.and_then(Delegate::relay_proof) {
                Some(proof) => Ok(ask.accept(&proof)),
                None => {
                    Err(not_proven(delegate, "there is no proof that the delegate refuses domains of others"))
                }
            },
            Asked::Told(Verdict::Unavailable { cause, .. }) => Err(not_proven(delegate, &cause)),
            Asked::Told(verdict) => Err(refused(mailbox, verdict)),
        }
    }

    /// What the sources say; a client that guesses is told what is known, and helped to nothing else.
    async fn verdict(&self, domain: &AcceptedDomain, mailbox: &Mailbox) -> Asked {
        let gateway = &self.gateway;
        // A busy sender's mail to recipients that are known goes on; only guesses stop here.
        let guesses = self.counted.is_some_and(|client| gateway.guesses_recipients(client));
        let reach = if guesses { Reach::Memory } else { Reach::Delegates };
        let asker = Asker { client: self.counted, session: &self.session };
        let verdict = sources::recipient(gateway, domain, mailbox, reach, &asker).await;
        if guesses && matches!(verdict, Verdict::Unavailable { .. }) {
            return Asked::TooMany(verdict);
        }
        // A full mailbox is no guess.
        let unknown = matches!(verdict, Verdict::Reject { .. }) && !verdict.is_brief();
        if let Some(client) = self.counted.filter(|_| unknown && !guesses) {
            gateway.unknown_recipient(client, &self.session);
        }
        Asked::Told(verdict)
    }

    fn record(&self, mailbox: &Mailbox, finding: &Finding) {
        tracing::info!(session = %self.session, recipient = %mailbox, %finding, "on trial");
        self.gateway.record(HistoryEvent {
            at: self.gateway.clock.now(),
            session: self.session.clone(),
            message: self.message,
            kind: trial::KIND.to_owned(),
            sender: self.sender.clone(),
            recipient: mailbox.to_string(),
            blame: String::new(),
            detail: finding.to_string(),
        });
    }
}

/// What came of a question.
enum Asked {
    Told(Verdict),
    /// The client has named too many unknown recipients, and this one is not known.
    TooMany(Verdict),
}

impl Asked {
    fn of_sources(&self) -> &Verdict {
        match self {
            Asked::Told(verdict) | Asked::TooMany(verdict) => verdict,
        }
    }
}

fn relay_denied() -> Refusal {
    Refusal {
        reply: Reply::new(550, (5, 7, 1), "Relaying denied"),
        blame: "client",
        detail: "not an accepted domain, not logged in, not in a trusted network".to_owned(),
    }
}

/// Promise 6: a client that guesses at recipients is not helped to.
fn too_many_unknown() -> Refusal {
    Refusal {
        reply: Reply::new(450, (4, 7, 1), "Too many unknown recipients, try again later"),
        blame: "client",
        detail: "over guard.unknown_recipients, the delegate was not asked".to_owned(),
    }
}

fn no_route() -> Refusal {
    Refusal {
        reply: Reply::new(451, (4, 3, 5), "No route to this recipient yet, try again later"),
        blame: "us",
        detail: "relay.next_hop is not set".to_owned(),
    }
}

/// The delegate of `*` cannot be believed now. While it relays this is no 550, although nothing is decided for want of
/// anything at the sender's side: its recipient may well exist, and a permanent refusal would lose that mail for a fault
/// at ours.
fn not_proven(delegate: Option<&Delegate>, cause: &str) -> Refusal {
    let relays = matches!(delegate.and_then(Delegate::relay_standing), Some(Standing::Relays(_)));
    let reply = match relays {
        true => Reply::new(451, (4, 7, 1), "Recipients of this domain are not taken now, try again later"),
        false => unverified(),
    };
    Refusal { reply, blame: "delegate", detail: cause.to_owned() }
}

/// Promise 3: Unavailable is 451, never a refusal.
fn refused(mailbox: &Mailbox, verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Reject { said, tell } => {
            Refusal { reply: tell, blame: "client", detail: format!("said: {said}") }
        }
        Verdict::Unavailable { cause, .. } => {
            Refusal { reply: unverified(), blame: "delegate", detail: cause }
        }
        other => Refusal { reply: unverified(), blame: "delegate", detail: format!("{mailbox}: {other:?}") },
    }
}

fn unverified() -> Reply {
    Reply::new(451, (4, 4, 3), "Recipient cannot be verified now, try again later")
}
