//! `delegate test`: one question on a connection of its own, past cache and pool, with the whole dialogue.

use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_config::AnyDomain;
use vouchsafe_core::verdict::{
    ProbeTo, Rules, Verdict, classify_auth, classify_fault, classify_imap, classify_recipient,
};
use vouchsafe_core::{Endpoint, Protocol};
use vouchsafe_net::client::{Connection, Fault, Timeouts, TraceSink};
use vouchsafe_net::imap::ImapConnection;
use vouchsafe_smtp::{Mailbox, Reply, Secret};

use super::own_login::Wish;
use super::{Delegate, lock};

/// A question, its dialogue in transcript form, and what the answer means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tested {
    /// `host:port` that was asked.
    pub endpoint: String,
    /// `D> …` we said, `D< …` the delegate said; credentials masked.
    pub dialogue: Vec<String>,
    /// `accept`, `reject` or `unavailable`.
    pub verdict: String,
    /// The delegate's words, or what went wrong.
    pub detail: String,
}

impl Delegate {
    /// Asks about a recipient.
    pub async fn test_recipient(&self, mailbox: &Mailbox) -> Tested {
        let endpoint = &self.settings.recipients[0];
        let (sink, lines) = listening();
        let asked = self.ask_about(endpoint, mailbox, sink).await;
        told(endpoint, &lines, asked)
    }

    /// Tries a login, under its mapped name.
    pub async fn test_login(&self, login: &str, password: &Secret) -> Tested {
        let endpoint = &self.settings.auth[0];
        let account = self.settings.login_name.map(login);
        let (sink, lines) = listening();
        let asked = match endpoint.protocol {
            Protocol::Smtp | Protocol::Lmtp => self.log_in(endpoint, &account, password, sink).await,
            Protocol::Imap => self.log_in_by_imap(endpoint, &account, password, sink).await,
        };
        told(endpoint, &lines, asked)
    }

    async fn ask_about(
        &self,
        endpoint: &Endpoint,
        mailbox: &Mailbox,
        sink: TraceSink,
    ) -> Result<Verdict, Fault> {
        let named = |any: &AnyDomain| any.named.contains(&mailbox.domain_key());
        let any_domain = self.settings.any_domain.as_ref().is_some_and(|any| !named(any));
        let probe_to = self.settings.probe_to;
        let rules = Rules { accept_252: self.settings.accept_252, any_domain, probe_to };
        let mut connection = self.open(endpoint, sink).await?;
        let mut said = None;
        let sender = &self.settings.probe_sender;
        let mut hear = |_, reply: &Reply| said = Some(reply.clone());
        match probe_to {
            ProbeTo::Rcpt => connection.callout(sender, std::slice::from_ref(mailbox), &mut hear).await?,
            ProbeTo::Data => connection.callout_by_data(sender, mailbox, &mut hear).await?,
        }
        connection.quit().await;
        let none =
            || Verdict::Unavailable { cause: "no answer about the recipient".to_owned(), alert: false };
        Ok(said.and_then(|said: Reply| classify_recipient(endpoint, &said, rules)).unwrap_or_else(none))
    }

    async fn log_in(
        &self,
        endpoint: &Endpoint,
        account: &str,
        password: &Secret,
        sink: TraceSink,
    ) -> Result<Verdict, Fault> {
        let mut connection = self.open(endpoint, sink).await?;
        let said = connection.auth(account, password).await?;
        connection.quit().await;
        Ok(classify_auth(endpoint, &said))
    }

    async fn log_in_by_imap(
        &self,
        endpoint: &Endpoint,
        account: &str,
        password: &Secret,
        sink: TraceSink,
    ) -> Result<Verdict, Fault> {
        let timeouts = Timeouts::default();
        let mut connection = ImapConnection::open(&self.means.connector, endpoint, &timeouts, sink).await?;
        let answer = connection.auth(account, password).await?;
        connection.logout().await;
        Ok(classify_imap(endpoint, &answer))
    }

    async fn open(&self, endpoint: &Endpoint, sink: TraceSink) -> Result<Connection, Fault> {
        let means = &self.means;
        let timeouts = Timeouts::default();
        let opening = Connection::open(&means.connector, endpoint, &means.hello, &timeouts, sink);
        self.recipients.own_login().open(endpoint, &*means.clock, Wish::Administrator, opening).await
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

/// Takes down the dialogue.
fn listening() -> (TraceSink, Lines) {
    let lines = Lines::default();
    let into = Arc::clone(&lines);
    let sink: TraceSink = Some(Arc::new(move |sent, text: &str| {
        lock(&into).push(format!("{} {text}", if sent { "D>" } else { "D<" }));
    }));
    (sink, lines)
}

fn told(endpoint: &Endpoint, lines: &Lines, asked: Result<Verdict, Fault>) -> Tested {
    let verdict = asked.unwrap_or_else(|fault| classify_fault(fault.to_string(), fault.phase, &fault.kind));
    let (word, detail) = match verdict {
        Verdict::Accept(said) => ("accept", said.to_string()),
        Verdict::Reject { said, .. } => ("reject", said.to_string()),
        Verdict::Unavailable { cause, .. } => ("unavailable", cause),
        Verdict::PassOn { tell, .. } => ("unavailable", format!("the client is told: {tell}")),
    };
    let dialogue = lock(lines).clone();
    Tested { endpoint: endpoint.to_string(), dialogue, verdict: word.to_owned(), detail }
}
