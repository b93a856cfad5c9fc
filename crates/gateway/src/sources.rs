//! Sources of truth, combined (DESIGN section 1). Recipients: in order, Accept wins, Reject falls to the next, any
//! Unavailable without an Accept is 451, all Reject answers with the last one's words. Logins: exactly one source per
//! login domain; a local user shadows the delegate.

use std::path::Path;
use std::sync::Arc;

use vouchsafe_config::{AcceptedDomain, LoginSource, RecipientSource, Settings, Trial};
use vouchsafe_core::ports::{Clock, HistoryEvent, StoreFault};
use vouchsafe_core::trial::{self, Finding};
use vouchsafe_core::verdict::Verdict;
use vouchsafe_smtp::sasl::{Mechanism, Names};
use vouchsafe_smtp::{Mailbox, Reply, Secret};

use crate::delegate::{Asked, Asker, Credential, Exchange, LoginClient, Step, unfit};
use crate::gateway::Gateway;

/// How far a question may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To the delegates.
    Delegates,
    /// To what they said before: the client has named too many unknown recipients.
    Memory,
}

/// Asks the sources of an accepted domain about a recipient.
pub async fn recipient(
    gateway: &Gateway,
    domain: &AcceptedDomain,
    mailbox: &Mailbox,
    reach: Reach,
    asker: &Asker<'_>,
) -> Verdict {
    let mut unavailable = None;
    let mut rejected = no_such_user();
    for source in &domain.recipients {
        let verdict = match source {
            RecipientSource::Delegate(name) => match gateway.delegates.get(name) {
                Some(delegate) if reach == Reach::Delegates => delegate.recipient(mailbox, asker).await,
                Some(delegate) => delegate.remembered(mailbox).unwrap_or_else(not_asked),
                None => gone(name),
            },
            RecipientSource::Local => local(gateway, mailbox).await,
            RecipientSource::List(path) => list(gateway, path, mailbox),
            RecipientSource::Any => accept(),
        };
        match verdict {
            Verdict::Accept(_) => return verdict,
            Verdict::Reject { .. } => rejected = verdict,
            other => unavailable = unavailable.or(Some(other)),
        }
    }
    unavailable.unwrap_or(rejected)
}

/// The delegate of this domain that is on trial, if one is: then the domain takes every recipient.
pub fn on_trial<'a>(settings: &'a Settings, domain: &AcceptedDomain) -> Option<&'a str> {
    domain.recipients.iter().find_map(|source| match source {
        RecipientSource::Delegate(name) => settings
            .delegates
            .get(name)
            .filter(|asked| asked.trial == Trial::Recipients)
            .map(|asked| &*asked.name),
        _ => None,
    })
}

/// Asks the one source of a login. A delegate on trial is asked beside it, which neither lets in nor keeps out.
pub async fn login(
    gateway: &Arc<Gateway>,
    settings: &Settings,
    login: &str,
    credential: &Credential,
    client: &LoginClient,
) -> Asked {
    let decided = of_one_source(gateway, settings, login, credential, client).await;
    let tried = settings.delegates.values().find(|delegate| delegate.trial == Trial::Logins);
    if let Some(delegate) = tried.and_then(|tried| gateway.delegates.get(&tried.name))
        && matches!(decided.verdict, Verdict::Accept(_) | Verdict::Reject { .. })
    {
        let (gateway, decided) = (Arc::clone(gateway), decided.verdict.clone());
        let (login, credential, client) = (login.to_owned(), credential.clone(), client.clone());
        let tasks = gateway.tasks.clone();
        tasks.spawn("login on trial", async move {
            let said = delegate.login(&login, &credential, &client).await.verdict;
            let session = client.session;
            if let Some(finding) = Finding::of_login(delegate.name(), &decided, &said) {
                tracing::info!(%session, %login, %finding, "on trial");
                gateway.record(HistoryEvent {
                    at: gateway.clock.now(),
                    session,
                    message: None,
                    kind: trial::KIND.to_owned(),
                    sender: String::new(),
                    recipient: login,
                    blame: String::new(),
                    detail: finding.to_string(),
                });
            }
        });
    }
    decided
}

/// Begins an exchange of a challenge mechanism: only where one delegate answers for all logins. `initial` is the client's
/// first response, where it spoke first.
pub async fn exchange(
    gateway: &Gateway,
    settings: &Settings,
    mechanism: Mechanism,
    initial: Option<Secret>,
    client: LoginClient,
) -> (Option<Exchange>, Step) {
    let over = |login, verdict| (None, Step::Over(login, verdict));
    let Some(source @ LoginSource::Delegate(name)) = settings.relay.logins.only() else {
        return over(None, not_taken(mechanism));
    };
    if !gateway.delegates.offers().takes(settings, source, mechanism) {
        return over(None, not_taken(mechanism));
    }
    let Some(delegate) = gateway.delegates.get(name) else { return over(None, gone(name)) };
    let mut names = Names::new(mechanism);
    let initial = match initial.map(|response| (names.read(response.expose()), response)) {
        None => None,
        Some((Err(why), _)) => return over(None, unfit(why)),
        Some((Ok(login), response)) => {
            if let Some(verdict) = shadowed(gateway, login.as_deref()).await {
                return over(login, verdict);
            }
            Some((login, response))
        }
    };
    let mut exchange = delegate.exchange(mechanism, names, initial, client);
    let step = exchange.begin().await;
    (Some(exchange), step)
}

/// The client's next response.
pub async fn respond(gateway: &Gateway, exchange: &mut Exchange, response: Secret) -> Step {
    let login = match exchange.named(&response) {
        Ok(login) => login,
        Err(why) => return exchange.over(unfit(why)),
    };
    match shadowed(gateway, login.as_deref()).await {
        Some(verdict) => Step::Over(login, verdict),
        None => exchange.respond(login, response).await,
    }
}

/// A local user shadows the delegate, and has a password only: nobody else is asked about that name.
async fn shadowed(gateway: &Gateway, login: Option<&str>) -> Option<Verdict> {
    match gateway.users.exists(login?).await {
        Ok(false) => None,
        Ok(true) => Some(wrong_login()),
        Err(fault) => Some(broken(&fault)),
    }
}

fn not_taken(mechanism: Mechanism) -> Verdict {
    let cause =
        format!("{mechanism} is no longer taken: what the delegate offers, or the settings, have changed");
    Verdict::Unavailable { cause, alert: false }
}

async fn of_one_source(
    gateway: &Gateway,
    settings: &Settings,
    login: &str,
    credential: &Credential,
    client: &LoginClient,
) -> Asked {
    let source = settings.relay.logins.source(login);
    let shadowed = match credential {
        Credential::Password(password) => {
            let alone = !matches!(source, Some(LoginSource::Delegate(_)));
            gateway.users.check(login, password.clone(), alone).await
        }
        // Local users have passwords only; a token of theirs is nobody else's business.
        Credential::Token(..) => gateway.users.exists(login).await.map(|exists| exists.then_some(false)),
    };
    match shadowed {
        Err(fault) => return broken(&fault).into(),
        Ok(Some(true)) => return accept().into(),
        Ok(Some(false)) => return wrong_login().into(),
        Ok(None) => {}
    }
    let Some(LoginSource::Delegate(name)) = source else { return wrong_login().into() };
    let Some(delegate) = gateway.delegates.get(name) else { return gone(name).into() };
    if let Credential::Token(mechanism, _) = credential
        && let Some(source) = source
        && !gateway.delegates.offers().takes(settings, source, *mechanism)
    {
        let cause = format!("delegate {name} takes no {mechanism} for this login");
        return Verdict::Unavailable { cause, alert: false }.into();
    }
    delegate.login(login, credential, client).await
}

/// A local user's whole address or, for names without a domain, its local part.
async fn local(gateway: &Gateway, mailbox: &Mailbox) -> Verdict {
    let found = async {
        Ok(gateway.users.exists(mailbox.as_str()).await? || gateway.users.exists(mailbox.local()).await?)
    };
    match found.await {
        Ok(true) => accept(),
        Ok(false) => no_such_user(),
        Err(fault) => broken(&fault),
    }
}

fn list(gateway: &Gateway, path: &Path, mailbox: &Mailbox) -> Verdict {
    match gateway.lists.holds(path, mailbox) {
        Ok(true) => accept(),
        Ok(false) => no_such_user(),
        Err(cause) => Verdict::Unavailable { cause, alert: true },
    }
}

fn accept() -> Verdict {
    Verdict::Accept(Reply::new(250, (2, 1, 5), "Ok"))
}

fn no_such_user() -> Verdict {
    let reply = Reply::new(550, (5, 1, 1), "No such user here");
    Verdict::Reject { said: reply.clone(), tell: reply }
}

fn wrong_login() -> Verdict {
    let reply = Reply::new(535, (5, 7, 8), "Authentication credentials invalid");
    Verdict::Reject { said: reply.clone(), tell: reply }
}

fn not_asked() -> Verdict {
    let cause = "over guard.unknown_recipients, the delegate was not asked".to_owned();
    Verdict::Unavailable { cause, alert: false }
}

fn gone(name: &str) -> Verdict {
    Verdict::Unavailable { cause: format!("delegate {name} is no longer in the settings"), alert: true }
}

fn broken(fault: &StoreFault) -> Verdict {
    Verdict::Unavailable { cause: format!("local users: {fault}"), alert: true }
}
