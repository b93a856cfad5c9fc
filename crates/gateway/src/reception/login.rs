//! AUTH in a session: until the name is there, and the password or token with it; then one question to the login's
//! source.
//!
//! Never logs a credential; the password lives in a `Secret` until the source has it.

use std::sync::Arc;

use futures_util::stream;
use vouchsafe_config::ListenerKind;
use vouchsafe_core::verdict::Verdict;
use vouchsafe_net::client::Identity;
use vouchsafe_net::server::Work;
use vouchsafe_smtp::sasl::{self, Mechanism, Names, Unfit};
use vouchsafe_smtp::server::Answer;
use vouchsafe_smtp::{Reply, Secret};

use super::{Event, Session, ready};
use crate::delegate::{Asked, Credential, Exchange, LoginClient, Step};
use crate::sources;

/// Where an AUTH exchange stands.
pub(super) enum Sasl {
    Idle,
    /// The client speaks first, and was asked to.
    First(Mechanism),
    LoginName,
    LoginPassword(String),
    /// The delegate waits for the client's response.
    Live(Box<Exchange>),
    /// The client was told why its token is refused; the refusal follows whatever it answers.
    Refused(String, Verdict),
}

impl Session {
    pub(super) fn sasl_start(&mut self, mechanism: &str, initial: Option<Secret>) -> Work<Event> {
        self.tried = true;
        match (Mechanism::from_name(mechanism), initial) {
            (Some(Mechanism::Login), Some(name)) => self.login_name(&name),
            (Some(Mechanism::Login), None) => {
                self.sasl = Sasl::LoginName;
                ready(Answer::Challenge(b"Username:".to_vec()))
            }
            (Some(mechanism), Some(response)) => self.first(mechanism, response),
            (Some(mechanism), None) if !mechanism.client_first() => self.exchange(mechanism, None),
            (Some(mechanism), None) => {
                self.sasl = Sasl::First(mechanism);
                ready(Answer::Challenge(Vec::new()))
            }
            (None, _) => ready(Answer::No(Reply::new(504, (5, 5, 4), "Mechanism not supported"))),
        }
    }

    pub(super) fn sasl_step(&mut self, response: Secret) -> Work<Event> {
        match std::mem::replace(&mut self.sasl, Sasl::Idle) {
            Sasl::First(mechanism) => self.first(mechanism, response),
            Sasl::LoginName => self.login_name(&response),
            Sasl::LoginPassword(name) => self.check_password(name, response),
            Sasl::Live(mut exchange) => {
                let gateway = Arc::clone(&self.gateway);
                Box::pin(stream::once(Box::pin(async move {
                    let step = sources::respond(&gateway, &mut exchange, response).await;
                    Event::Exchange { exchange: Some(exchange), step }
                })))
            }
            Sasl::Refused(login, verdict) => {
                let answer = self.logged_in(login, verdict);
                ready(answer)
            }
            Sasl::Idle => malformed(),
        }
    }

    fn first(&mut self, mechanism: Mechanism, response: Secret) -> Work<Event> {
        match mechanism {
            Mechanism::Plain => self.plain(&response),
            _ if mechanism.has_token() => self.token(mechanism, response),
            // RFC 4954 §4 lets a client answer such a mechanism at once; there is nothing yet to answer.
            _ if !mechanism.client_first() => malformed(),
            _ => self.exchange(mechanism, Some(response)),
        }
    }

    fn plain(&mut self, response: &Secret) -> Work<Event> {
        match sasl::decode_plain(response.expose()) {
            Ok(plain) if plain.authzid.is_empty() || plain.authzid == plain.authcid => {
                self.check_password(plain.authcid, plain.password)
            }
            Ok(_) => ready(Answer::No(other_identity())),
            Err(_) => malformed(),
        }
    }

    fn token(&mut self, mechanism: Mechanism, response: Secret) -> Work<Event> {
        match Names::new(mechanism).read(response.expose()) {
            Ok(Some(login)) => self.check(login, Credential::Token(mechanism, response)),
            Err(Unfit::OtherIdentity) => ready(Answer::No(other_identity())),
            Ok(None) | Err(Unfit::Malformed) => malformed(),
        }
    }

    fn login_name(&mut self, name: &Secret) -> Work<Event> {
        match std::str::from_utf8(name.expose()) {
            Ok(name) if !name.is_empty() && !name.contains(|c: char| c.is_control()) => {
                self.sasl = Sasl::LoginPassword(name.to_owned());
                ready(Answer::Challenge(b"Password:".to_vec()))
            }
            _ => malformed(),
        }
    }

    /// Octets that could end a line at the delegate never leave us (RELIABILITY section 4).
    fn check_password(&mut self, login: String, password: Secret) -> Work<Event> {
        let unfit = |octet: &u8| matches!(octet, b'\r' | b'\n' | 0);
        if password.expose().is_empty() || password.expose().iter().any(unfit) {
            return malformed();
        }
        self.check(login, Credential::Password(password))
    }

    fn check(&mut self, login: String, credential: Credential) -> Work<Event> {
        let (gateway, settings) = (Arc::clone(&self.gateway), self.gateway.settings.load_full());
        let client = self.login_client();
        Box::pin(stream::once(Box::pin(async move {
            let asked = sources::login(&gateway, &settings, &login, &credential, &client).await;
            Event::Login { login, asked }
        })))
    }

    fn exchange(&mut self, mechanism: Mechanism, initial: Option<Secret>) -> Work<Event> {
        let (gateway, settings) = (Arc::clone(&self.gateway), self.gateway.settings.load_full());
        let client = self.login_client();
        Box::pin(stream::once(Box::pin(async move {
            let (exchange, step) = sources::exchange(&gateway, &settings, mechanism, initial, client).await;
            Event::Exchange { exchange: exchange.map(Box::new), step }
        })))
    }

    pub(super) fn exchange_went_on(&mut self, exchange: Option<Box<Exchange>>, step: Step) -> Answer {
        match (step, exchange) {
            (Step::Challenge(challenge), Some(exchange)) => {
                self.sasl = Sasl::Live(exchange);
                Answer::Challenge(challenge)
            }
            (Step::Challenge(_), None) => {
                let cause = "a challenge without an exchange".to_owned();
                self.logged_in(String::new(), Verdict::Unavailable { cause, alert: true })
            }
            (Step::Over(login, verdict), _) => match (login, verdict) {
                // Nobody was named: to be let in is out of the question.
                (None, Verdict::Accept(said)) => {
                    let cause = format!("the delegate accepts nobody in particular: {said}");
                    self.logged_in(String::new(), Verdict::Unavailable { cause, alert: true })
                }
                (login, verdict) => self.logged_in(login.unwrap_or_default(), verdict),
            },
        }
    }

    /// The client as guard and delegate know it.
    fn login_client(&self) -> LoginClient {
        let (helo, esmtp) = self.hello.clone();
        let identity = self.peer.map(|peer| Identity {
            address: peer.ip().to_canonical(),
            port: Some(peer.port()),
            helo,
            esmtp,
            message: None,
        });
        LoginClient { counted: self.counted_client(), identity, session: self.id.clone() }
    }

    /// RFC 7628 §3.2.3: why a token is refused is told first, the refusal follows.
    pub(super) fn login_decided(&mut self, login: String, asked: Asked) -> Answer {
        match asked {
            Asked { verdict: verdict @ Verdict::Reject { .. }, challenge: Some(challenge) } => {
                self.sasl = Sasl::Refused(login, verdict);
                Answer::Challenge(challenge)
            }
            Asked { verdict, .. } => self.logged_in(login, verdict),
        }
    }

    /// The client gave up, or said what is no response.
    pub(super) fn login_cancelled(&mut self) {
        if let Sasl::Refused(login, verdict) = std::mem::replace(&mut self.sasl, Sasl::Idle) {
            // It has its refusal, and the administrator is to see it.
            self.logged_in(login, verdict);
        }
    }

    /// The client left without trying any mechanism.
    pub fn found_no_login(&self) -> bool {
        self.listener.kind == ListenerKind::Submission && !self.tried
    }

    /// The verdict as a reply. Promise 3: an outage is 454, never 535.
    pub(super) fn logged_in(&mut self, login: String, verdict: Verdict) -> Answer {
        let (answer, blame, detail) = match verdict {
            Verdict::Accept(said) => {
                self.login = Some(login.clone());
                (Answer::Yes(Reply::new(235, (2, 7, 0), "Authentication successful")), "", said.to_string())
            }
            Verdict::Reject { said, .. } => {
                let reply = Reply::new(535, (5, 7, 8), "Authentication credentials invalid");
                (Answer::No(reply), "client", said.to_string())
            }
            Verdict::PassOn { tell, .. } => (Answer::No(tell.clone()), "delegate", tell.to_string()),
            Verdict::Unavailable { cause, .. } => {
                let reply = Reply::new(454, (4, 7, 0), "Temporary authentication failure, try again later");
                (Answer::No(reply), "delegate", cause)
            }
        };
        let yes = matches!(answer, Answer::Yes(_));
        // fail2ban matches `login refused ... client=ADDRESS`.
        tracing::info!(session = %self.id, client = %self.client_text(), login = %login, blame, %detail,
            "{}", if yes { "login accepted" } else if blame == "client" { "login refused" } else { "login undecided" });
        self.event("login", blame, &login, if yes { format!("accepted: {detail}") } else { detail });
        answer
    }

    pub(super) fn client_text(&self) -> String {
        self.client().map_or_else(|| "-".to_owned(), |client| client.to_string())
    }
}

/// To act as somebody else is not ours to grant (DESIGN section 4).
fn other_identity() -> Reply {
    Reply::new(535, (5, 7, 8), "Authorization identity must be the login itself")
}

fn malformed() -> Work<Event> {
    ready(Answer::No(Reply::new(501, (5, 5, 2), "Malformed authentication response")))
}
