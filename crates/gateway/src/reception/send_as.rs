//! MAIL of a client that logged in: is the reverse path its own? What is its own stands in `vouchsafe_core::send_as`.
//!
//! Never about clients without a login. Promise 3: an alias file that cannot be read is a 451, where refusals are set.
//! Proof: `transcripts/e2e/send_as_*`.

use vouchsafe_config::{AcceptedDomain, LoginSource, RecipientSource, SendAs, Settings};
use vouchsafe_core::ports::{Clock, HistoryEvent};
use vouchsafe_core::send_as::{Aliases, Login};
use vouchsafe_smtp::reply::printable;
use vouchsafe_smtp::{MailFrom, Reply};

use super::Session;

/// Characters of a login and of an address in a reply.
const WORDS: usize = 100;

impl Session {
    /// Why this login may not send so, if it may not; told in log and history in either case.
    pub(super) fn send_as(&self, mail: &MailFrom) -> Option<Reply> {
        let (settings, login) = (&self.settings, self.login.as_deref()?);
        let enforce = match settings.relay.send_as {
            SendAs::Off => return None,
            SendAs::Warn => false,
            SendAs::Enforce => true,
        };
        let aliases = match &settings.relay.aliases {
            None => Ok(std::sync::Arc::new(Aliases::default())),
            Some(path) => self.gateway.aliases.read(path),
        };
        let aliases = match aliases {
            Ok(aliases) => aliases,
            Err(cause) => {
                tracing::error!(session = %self.id, blame = "us", %cause, "who may send as whom cannot be told");
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
        let known = Login { name: login, mapped: &mapped, domains: &domains };
        if known.may_send_as(&mail.reverse_path, &aliases) {
            return None;
        }
        let address = mail.reverse_path.as_str();
        let kind = if enforce { "refused" } else { "send_as" };
        let detail = format!("login {login} sends as {address}, which is neither its own nor an alias of it");
        tracing::warn!(session = %self.id, client = %self.client_text(), %login, sender = %address, blame = "client",
            refused = enforce, "a login sends as somebody else");
        self.gateway.record(HistoryEvent {
            at: self.gateway.clock.now(),
            session: self.id.clone(),
            message: None,
            kind: kind.to_owned(),
            sender: address.to_owned(),
            recipient: login.to_owned(),
            blame: "client".to_owned(),
            detail,
        });
        let shown = |text: &str| printable(text.as_bytes(), WORDS);
        let words = format!("Login {} may not send as {}", shown(login), shown(address));
        enforce.then(|| Reply::new(553, (5, 7, 1), words))
    }
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
