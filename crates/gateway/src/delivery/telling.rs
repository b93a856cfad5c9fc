//! Telling the next hop which client a message came from, by XCLIENT or XFORWARD, where its settings and its EHLO say
//! so (FACTS 6.12: else every message seems to come from us, which blinds the filter behind us).
//!
//! A next hop that does not offer it, or refuses it, gets the message all the same, and the log a line, once until it
//! takes it again. A session that was told of one client is never used for another that it was not told of. Of our own
//! notices nothing is told: we are their client. Proof: `tests/delivery/telling.rs`, a real Postfix in
//! `crates/vouchsafe/tests/peers.rs`.

use std::collections::BTreeSet;
use std::sync::Mutex;

use vouchsafe_core::endpoint::Tell;
use vouchsafe_core::ports::Message;
use vouchsafe_net::client::{Connection, Fault, Identity};
use vouchsafe_smtp::Reply;

use crate::delegate::lock;

/// Next hops that are not told although they should be, as the log knows already.
#[derive(Default)]
pub(super) struct Noted(Mutex<BTreeSet<String>>);

impl Noted {
    /// The log is told once.
    fn not_told(&self, endpoint: &str, why: &str) {
        if lock(&self.0).insert(endpoint.to_owned()) {
            tracing::warn!(next_hop = %endpoint, blame = "next_hop",
                "it is not told of clients, its mail goes without: {why}");
        }
    }

    fn told(&self, endpoint: &str) {
        let mut noted = lock(&self.0);
        if !noted.is_empty() {
            noted.remove(endpoint);
        }
    }
}

/// What a session's next hop knows.
pub(super) struct Teller {
    tell: Tell,
    endpoint: String,
    /// Whom XCLIENT named last.
    named: Option<Identity>,
    /// XFORWARD goes with the message under way.
    forwarding: bool,
}

/// May the message go over this session?
pub(super) enum Ready {
    /// It may.
    Yes,
    /// The next hop takes the session for another client's.
    No,
}

impl Teller {
    pub fn new(tell: Tell, endpoint: String) -> Teller {
        Teller { tell, endpoint, named: None, forwarding: false }
    }

    /// Tells of the message's client.
    pub async fn tell(
        &mut self,
        connection: &mut Connection,
        message: &Message,
        noted: &Noted,
    ) -> Result<Ready, Fault> {
        let client = identity(message);
        match self.tell {
            Tell::Nothing => Ok(Ready::Yes),
            Tell::XForward => {
                self.forwarding = client.is_some() && connection.takes_xforward();
                match client {
                    Some(client) if self.forwarding => connection.xforward(&client),
                    Some(_) => noted.not_told(&self.endpoint, "it does not offer XFORWARD"),
                    None => {}
                }
                Ok(Ready::Yes)
            }
            Tell::XClient => self.name(connection, client, noted).await,
        }
    }

    async fn name(
        &mut self,
        connection: &mut Connection,
        client: Option<Identity>,
        noted: &Noted,
    ) -> Result<Ready, Fault> {
        let client = client.map(|client| Identity { message: None, ..client });
        if client == self.named {
            return Ok(Ready::Yes);
        }
        let why_not = match &client {
            Some(client) if connection.takes_xclient() => match connection.xclient(client).await? {
                None => {
                    noted.told(&self.endpoint);
                    self.named = Some(client.clone());
                    return Ok(Ready::Yes);
                }
                Some(reply) => format!("it refused XCLIENT ({reply})"),
            },
            _ => "it does not offer XCLIENT".to_owned(),
        };
        if self.named.is_some() {
            return Ok(Ready::No);
        }
        noted.not_told(&self.endpoint, &why_not);
        Ok(Ready::Yes)
    }

    /// What the next hop said to XFORWARD.
    pub fn heard(&self, not_told: Option<&Reply>, noted: &Noted) {
        match not_told {
            Some(reply) => noted.not_told(&self.endpoint, &format!("it refused XFORWARD ({reply})")),
            None if self.forwarding => noted.told(&self.endpoint),
            None => {}
        }
    }
}

/// The client that sent it; `None` for our own notices.
fn identity(message: &Message) -> Option<Identity> {
    let origin = &message.origin;
    Some(Identity {
        address: origin.client?,
        port: origin.port,
        helo: origin.helo.clone(),
        esmtp: origin.esmtp,
        message: Some(message.id.to_string()),
    })
}
