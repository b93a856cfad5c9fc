//! AUTH from the client's side: PLAIN (RFC 4616), or LOGIN where only that is offered (Exchange).
//!
//! The gate is here: without TLS, and without the administrator's word, no credential is encoded at all. Nothing of
//! a credential reaches the trace; what was written of it is wiped.
//! Proof: `transcripts/client/auth_*`.

use super::{Client, Command, Done, FaultKind, Phase, Task};
use crate::reply::Reply;
use crate::sasl::{Plain, encode_base64, encode_plain};
use crate::secret::Secret;
use zeroize::Zeroize;

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    user: String,
    password: Secret,
    /// Part of opening the session: a refusal is a fault.
    opening: bool,
    /// A PLAIN response that is too long for the command line: said when the peer asks for it.
    pub(super) held_back: Option<Secret>,
}

impl Client {
    pub(super) fn log_in(&mut self, user: String, password: Secret, opening: bool) {
        let refuse = |client: &mut Client, why: String| client.fail_at(Phase::Auth, FaultKind::Local(why));
        if let Err(why) = self.may_log_in() {
            return refuse(self, why);
        }
        // RELIABILITY section 4: refused before any write. An empty password is a guess that some directories take
        // for an anonymous bind (RFC 4513 §5.1.2).
        let odd = |octets: &[u8]| {
            octets.is_empty() || octets.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'))
        };
        if odd(user.as_bytes()) || odd(password.expose()) {
            return refuse(self, "the credentials are empty or hold CR, LF or NUL".to_owned());
        }
        let offers = |name: &str| self.capabilities.auth.iter().any(|offered| offered == name);
        let (plain, login) = (offers("PLAIN"), offers("LOGIN"));
        if !plain && !login {
            let offered = self.offered_mechanisms();
            return refuse(self, format!("it offers {offered}, neither PLAIN nor LOGIN"));
        }
        if plain {
            let response =
                Plain { authzid: String::new(), authcid: user.clone(), password: password.clone() };
            let Ok(response) = encode_plain(&response) else {
                return refuse(self, "NUL in the credentials".to_owned());
            };
            self.task = Task::Login(Login { user, password, opening, held_back: None });
            self.say_auth(Command::AuthPlain, "PLAIN", Some(&response));
        } else {
            self.task = Task::Login(Login { user, password, opening, held_back: None });
            self.say(Command::AuthLogin, |out| out.extend_from_slice(b"AUTH LOGIN"));
        }
    }

    /// The gate: whether a credential may leave at all.
    pub(super) fn may_log_in(&self) -> Result<(), String> {
        match self.tls || self.config.auth_in_clear {
            true => Ok(()),
            false => Err("no credentials leave without TLS".to_owned()),
        }
    }

    /// What the peer offers, for a fault.
    pub(super) fn offered_mechanisms(&self) -> String {
        match self.capabilities.auth.join(" ") {
            none if none.is_empty() => "no AUTH".to_owned(),
            some => format!("AUTH {some}"),
        }
    }

    pub(super) fn is_held_back(&self) -> bool {
        matches!(&self.task, Task::Login(login) if login.held_back.is_some())
    }

    pub(super) fn say_what_was_held_back(&mut self) {
        let Task::Login(login) = &mut self.task else { return };
        if let Some(response) = login.held_back.take() {
            self.say_secret(Command::AuthPlain, "", response.expose());
        }
    }

    /// LOGIN asks twice; what it asks in is not standardised and not looked at.
    pub(super) fn next_login_step(&mut self, answered: Command) {
        let Task::Login(login) = &self.task else { return };
        let (command, field) = match answered {
            Command::AuthLogin => (Command::AuthUser, Secret::new(login.user.as_bytes())),
            _ => (Command::AuthPassword, login.password.clone()),
        };
        self.say_secret(command, "", field.expose());
    }

    /// The end of a login: 235, or a refusal.
    pub(super) fn logged_in(&mut self, reply: Reply) {
        match &self.task {
            Task::Login(login) if login.opening && reply.code != 235 => self.fail(FaultKind::Refused(reply)),
            Task::Login(login) if login.opening => self.done(Done::Open, Task::Ready),
            _ => self.done(Done::Auth(reply), Task::Ready),
        }
    }

    pub(super) fn say_secret(&mut self, command: Command, before: &str, payload: &[u8]) {
        let mut encoded = encode_base64(payload);
        // Room at once: a buffer that grows leaves a copy behind.
        self.out.reserve_exact(before.len() + encoded.len() + 2);
        self.out.extend_from_slice(before.as_bytes());
        self.out.extend_from_slice(encoded.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.out_secret = true;
        encoded.zeroize();
        if self.config.trace {
            self.trace.push((true, format!("{before}***")));
        }
        self.awaiting.push_back(command);
        self.deadline = self.now + self.config.timeouts.command;
    }
}
