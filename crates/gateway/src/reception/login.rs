//! AUTH in a session: PLAIN and LOGIN, until name and password are there; then one question to the login's source.
//!
//! Never logs a credential; the password lives in a `Secret` until the source has it.

use std::sync::Arc;

use futures_util::stream;
use vouchsafe_core::verdict::Verdict;
use vouchsafe_net::server::Work;
use vouchsafe_smtp::sasl;
use vouchsafe_smtp::server::Answer;
use vouchsafe_smtp::{Reply, Secret};

use super::{Event, Session, ready};
use crate::sources;

/// Mechanisms that a listener with logins announces.
pub const MECHANISMS: [&str; 2] = ["PLAIN", "LOGIN"];

/// Where an AUTH exchange stands.
pub(super) enum Sasl {
    Idle,
    Plain,
    LoginName,
    LoginPassword(String),
}

impl Session {
    pub(super) fn sasl_start(&mut self, mechanism: &str, initial: Option<Secret>) -> Work<Event> {
        match (mechanism, initial) {
            ("PLAIN", Some(response)) => self.plain(&response),
            ("PLAIN", None) => {
                self.sasl = Sasl::Plain;
                ready(Answer::Challenge(Vec::new()))
            }
            ("LOGIN", Some(name)) => self.login_name(&name),
            ("LOGIN", None) => {
                self.sasl = Sasl::LoginName;
                ready(Answer::Challenge(b"Username:".to_vec()))
            }
            _ => ready(Answer::No(Reply::new(504, (5, 5, 4), "Mechanism not supported"))),
        }
    }

    pub(super) fn sasl_step(&mut self, response: Secret) -> Work<Event> {
        match std::mem::replace(&mut self.sasl, Sasl::Idle) {
            Sasl::Plain => self.plain(&response),
            Sasl::LoginName => self.login_name(&response),
            Sasl::LoginPassword(name) => self.check(name, response),
            Sasl::Idle => malformed(),
        }
    }

    fn plain(&mut self, response: &Secret) -> Work<Event> {
        match sasl::decode_plain(response.expose()) {
            // To act as somebody else is not ours to grant (DESIGN section 4).
            Ok(plain) if plain.authzid.is_empty() || plain.authzid == plain.authcid => {
                self.check(plain.authcid, plain.password)
            }
            Ok(_) => ready(Answer::No(Reply::new(
                535,
                (5, 7, 8),
                "Authorization identity must be the login itself",
            ))),
            Err(_) => malformed(),
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
    fn check(&mut self, login: String, password: Secret) -> Work<Event> {
        let unfit = |octet: &u8| matches!(octet, b'\r' | b'\n' | 0);
        if password.expose().is_empty() || password.expose().iter().any(unfit) {
            return malformed();
        }
        let (gateway, settings) = (Arc::clone(&self.gateway), self.gateway.settings.load_full());
        let client = self.counted_client();
        let session = self.id.clone();
        Box::pin(stream::once(Box::pin(async move {
            let verdict = sources::login(&gateway, &settings, &login, &password, client, &session).await;
            Event::Login { login, verdict }
        })))
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

fn malformed() -> Work<Event> {
    ready(Answer::No(Reply::new(501, (5, 5, 2), "Malformed authentication response")))
}
