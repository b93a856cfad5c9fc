//! AUTH one step at a time, for a mechanism whose responses are made by somebody else: challenges are told, responses
//! taken, until there is a final reply (RFC 4954 §4).
//!
//! The gate of `login.rs` holds here too. A challenge is strict base64 on one line, [`CHALLENGE_LINE`] octets at the
//! most; what is not ends the session. Neither challenges nor responses reach the trace.
//! Proof: `transcripts/client/exchange_*`.

use super::{Client, Done, FaultKind, Task};
use crate::client::Command;
use crate::reply::Reply;
use crate::sasl::{Mechanism, decode_base64};
use crate::secret::Secret;
use crate::time::Tick;

/// Octets of a challenge in base64 (RFC 4954 §4: 12,288).
pub const CHALLENGE_LINE: usize = 12_288;
/// Octets of a command line with its CRLF (RFC 5321 §4.5.3.1.4), which AUTH with an initial response obeys too.
pub(super) const COMMAND_LINE: usize = 512;

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    /// An initial response that is too long for the command line: said when the peer asks for it.
    held_back: Option<Secret>,
}

impl Client {
    /// Begins an exchange: ends in [`Done::Challenge`] or [`Done::Auth`].
    pub fn exchange(&mut self, mechanism: Mechanism, initial: Option<&Secret>, now: Tick) {
        if !self.start(Task::Exchange(Exchange { held_back: None }), now) {
            return;
        }
        if let Err(why) = self.may_log_in() {
            return self.fail_at(super::Phase::Auth, FaultKind::Local(why));
        }
        if !self.capabilities.auth.iter().any(|offered| offered == mechanism.name()) {
            let why = format!("it offers {}, not {mechanism}", self.offered_mechanisms());
            return self.fail_at(super::Phase::Auth, FaultKind::Local(why));
        }
        self.say_auth(Command::Auth, mechanism.name(), initial);
    }

    /// The response to the challenge told last.
    pub fn respond(&mut self, response: &Secret, now: Tick) {
        if self.challenged(now) {
            self.say_secret(Command::AuthResponse, "", response.expose());
        }
    }

    /// Gives the exchange up (RFC 4954 §4: `*`). Ends in [`Done::Auth`] with the peer's refusal.
    pub fn cancel(&mut self, now: Tick) {
        if self.challenged(now) {
            self.say(Command::AuthCancel, |out| out.push(b'*'));
        }
    }

    /// True if the peer waits for a response to its challenge.
    pub fn is_challenged(&self) -> bool {
        matches!(self.task, Task::Challenged)
    }

    fn challenged(&mut self, now: Tick) -> bool {
        self.now = now;
        if !self.is_challenged() {
            self.fail(FaultKind::Local("no challenge waits for a response".to_owned()));
            return false;
        }
        self.go_on(Task::Exchange(Exchange { held_back: None }))
    }

    pub(super) fn heard_of_exchange(&mut self, reply: Reply) {
        match &mut self.task {
            Task::Exchange(exchange) if reply.code == 334 => match exchange.held_back.take() {
                Some(response) => self.say_secret(Command::AuthResponse, "", response.expose()),
                None => match decode_base64(reply.text.as_bytes()) {
                    Ok(challenge) if reply.text.len() <= CHALLENGE_LINE => {
                        self.done(Done::Challenge(challenge.expose().to_vec()), Task::Challenged);
                    }
                    _ => self
                        .fail(FaultKind::Garbage("a challenge that is not base64, or too long".to_owned())),
                },
            },
            _ => self.done(Done::Auth(reply), Task::Ready),
        }
    }

    /// `AUTH mechanism [initial]`. An empty initial response is `=`.
    pub(super) fn say_auth(&mut self, command: Command, mechanism: &str, initial: Option<&Secret>) {
        let line = format!("AUTH {mechanism}");
        match initial.map(Secret::expose) {
            None => self.say(command, |out| out.extend_from_slice(line.as_bytes())),
            Some([]) => self.say(command, |out| {
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(b" =");
            }),
            Some(response) if line.len() + 1 + response.len().div_ceil(3) * 4 + 2 <= COMMAND_LINE => {
                self.say_secret(command, &format!("{line} "), response);
            }
            Some(response) => {
                let response = Some(Secret::new(response));
                match &mut self.task {
                    Task::Exchange(exchange) => exchange.held_back = response,
                    Task::Login(login) => login.held_back = response,
                    _ => {}
                }
                self.say(command, |out| out.extend_from_slice(line.as_bytes()));
            }
        }
    }
}
