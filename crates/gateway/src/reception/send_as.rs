//! Mail of a client that logged in: is the reverse path its own, at MAIL, and From, at the dot, where that is wanted? What is
//! its own stands in `vouchsafe_core::send_as`.
//!
//! Never about clients without a login. Promise 3: an alias file that cannot be read is a 451, where refusals are set.
//! Proof: `transcripts/e2e/send_as_*`.

use std::net::IpAddr;
use std::sync::Arc;

use vouchsafe_config::{AcceptedDomain, LoginSource, RecipientSource, SendAs, Settings};
use vouchsafe_core::MessageId;
use vouchsafe_core::authors::Claims;
use vouchsafe_core::ports::{Clock, HistoryEvent};
use vouchsafe_core::send_as::{Aliases, Foreign, Login};
use vouchsafe_smtp::reply::printable;
use vouchsafe_smtp::{Reply, ReversePath};

use crate::gateway::Gateway;

/// Characters of a login and of an address in a reply.
const WORDS: usize = 100;

/// Who sends.
pub(super) struct LoggedIn<'a> {
    pub gateway: &'a Gateway,
    pub settings: &'a Settings,
    pub session: &'a str,
    pub client: Option<IpAddr>,
    pub login: &'a str,
}

/// What is not the login's own.
struct Finding {
    /// The code of a refusal.
    code: u16,
    message: Option<MessageId>,
    /// The address.
    address: String,
    /// For log and history.
    detail: String,
    /// For the client.
    words: String,
}

impl LoggedIn<'_> {
    /// Why this login may not use this reverse path, if it may not; told in log and history in either case.
    pub(super) fn refuse_reverse_path(&self, reverse_path: &ReversePath) -> Option<Reply> {
        self.compare(|known, aliases| {
            if known.may_send_as(reverse_path, aliases) {
                return None;
            }
            let (login, address) = (self.login, reverse_path.as_str());
            Some(Finding {
                code: 553,
                message: None,
                address: address.to_owned(),
                detail: format!(
                    "login {login} sends as {address}, which is neither its own nor an alias of it"
                ),
                words: format!("Login {} may not send as {}", shown(login), shown(address)),
            })
        })
    }

    /// The same of From.
    pub(super) fn refuse_authors(&self, message: MessageId, claims: &Claims) -> Option<Reply> {
        self.compare(|known, aliases| {
            let login = self.login;
            let (address, detail, words) = match known.foreign_author(claims, aliases)? {
                Foreign::Author(address) => (
                    address.as_str().to_owned(),
                    format!(
                        "login {login} writes From {address}, which is neither its own nor an alias of it"
                    ),
                    format!("Login {} may not write From {}", shown(login), shown(address.as_str())),
                ),
                Foreign::Unreadable => (
                    String::new(),
                    format!("login {login} writes a From that could be read in different ways"),
                    format!("From cannot be compared with login {}: write one plain address", shown(login)),
                ),
            };
            Some(Finding { code: 550, message: Some(message), address, detail, words })
        })
    }

    fn compare(&self, find: impl FnOnce(&Login<'_>, &Aliases) -> Option<Finding>) -> Option<Reply> {
        let (settings, login) = (self.settings, self.login);
        let enforce = match settings.relay.send_as {
            SendAs::Off => return None,
            SendAs::Warn => false,
            SendAs::Enforce => true,
        };
        let aliases = match &settings.relay.aliases {
            None => Ok(Arc::new(Aliases::default())),
            Some(path) => self.gateway.aliases.read(path),
        };
        let aliases = match aliases {
            Ok(aliases) => aliases,
            Err(cause) => {
                tracing::error!(session = %self.session, blame = "us", %cause, "who may send as whom cannot be told");
                let reply = Reply::new(451, (4, 3, 0), "Sender cannot be verified now, try again later");
                return enforce.then_some(reply);
            }
        };
        let source = settings.relay.logins.source(login);
        let mapped = match source {
            Some(LoginSource::Delegate(name)) => {
                settings.delegates.get(name).map_or_else(|| login.to_owned(), |d| d.login_name.map(login))
            }
            _ => login.to_owned(),
        };
        let domains = domains_of(settings, source);
        let found = find(&Login { name: login, mapped: &mapped, domains: &domains }, &aliases)?;
        self.tell(&found, enforce);
        enforce.then(|| Reply::new(found.code, (5, 7, 1), found.words))
    }

    fn tell(&self, found: &Finding, enforce: bool) {
        let client = self.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
        tracing::warn!(session = %self.session, %client, login = %self.login, sender = %found.address,
            detail = %found.detail, blame = "client", refused = enforce, "a login sends as somebody else");
        self.gateway.record(HistoryEvent {
            at: self.gateway.clock.now(),
            session: self.session.to_owned(),
            message: found.message.filter(|_| !enforce),
            kind: if enforce { "refused" } else { "send_as" }.to_owned(),
            sender: found.address.clone(),
            recipient: self.login.to_owned(),
            blame: "client".to_owned(),
            detail: found.detail.clone(),
        });
    }
}

fn shown(text: &str) -> String {
    printable(text.as_bytes(), WORDS)
}

/// Domains in which a login without a domain is the same user: those whose recipients its source knows, too, and those
/// that no delegate knows.
fn domains_of<'a>(settings: &'a Settings, source: Option<&LoginSource>) -> Vec<&'a str> {
    let is_known = |domain: &AcceptedDomain| {
        let mut delegates = domain.recipients.iter().filter_map(|of| match of {
            RecipientSource::Delegate(name) => Some(name),
            _ => None,
        });
        match source {
            Some(LoginSource::Delegate(asked)) => {
                let names: Vec<&String> = delegates.collect();
                names.is_empty() || names.contains(&asked)
            }
            _ => delegates.next().is_none() || domain.recipients.contains(&RecipientSource::Local),
        }
    };
    let named = settings.domains.iter().filter(|domain| !domain.is_any());
    named.filter(|domain| is_known(domain)).map(|domain| domain.name.as_str()).collect()
}
