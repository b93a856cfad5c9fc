//! Server side of AUTH (RFC 4954): may it come now, what does it say. Never knows who is right (the machine asks).
//!
//! Proof: `transcripts/server/auth_*`.

use super::{Config, Question, replies};
use crate::reply::Reply;
use crate::sasl;

/// `AUTH mechanism [initial response]` as a question. `tls`, `authenticated`: how the session stands.
pub(super) fn start(
    config: &Config,
    tls: bool,
    authenticated: bool,
    argument: &str,
) -> Result<Question, Reply> {
    if config.mechanisms.is_empty() {
        return Err(replies::not_implemented());
    }
    if authenticated {
        return Err(replies::bad_sequence("You are authenticated already"));
    }
    if !tls && !config.auth_in_clear {
        return Err(replies::auth_needs_tls());
    }
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
    let (initial, more) = (words.next(), words.next());
    if mechanism.is_empty() || more.is_some() {
        return Err(replies::syntax("AUTH mechanism [initial response] expected"));
    }
    if !config.mechanisms.contains(&mechanism) {
        return Err(replies::unknown_mechanism());
    }
    match initial.map(|text| sasl::decode_initial(text.as_bytes())).transpose() {
        Ok(initial) => Ok(Question::SaslStart { mechanism, initial }),
        Err(fault) => Err(replies::bad_sasl(fault.0)),
    }
}

/// A line that answers a challenge; `*` gives the exchange up.
pub(super) fn response(line: &[u8]) -> Result<Question, Reply> {
    if line == b"*" {
        return Err(replies::auth_cancelled());
    }
    sasl::decode_base64(line).map(Question::SaslStep).map_err(|fault| replies::bad_sasl(fault.0))
}
