//! AUTH at the delegate: from an exchange of lines to a name and a password or token.
//! Whether they are right is told by the session.

use super::{Behaviour, Counters};
use crate::talk::Talk;
use std::io;
use vouchsafe_smtp::sasl::{decode_base64, decode_plain, encode_base64};

/// What came out of the exchange.
pub(super) enum Offered {
    /// A name and a password (or token).
    Login {
        name: String,
        password: Vec<u8>,
        /// OAuth: a refusal is told by a challenge first, which the client answers with an empty line.
        bearer: bool,
    },
    /// This reply: cancelled, malformed or unknown.
    Refused(String),
    /// The peer has gone.
    Gone,
}

/// Runs the exchange of `mechanism`.
pub(super) async fn exchange(
    talk: &mut Talk<Behaviour, Counters>,
    mechanism: &str,
    initial: Option<&str>,
    behaviour: &Behaviour,
) -> io::Result<Offered> {
    match mechanism {
        "PLAIN" => {
            let Some(line) = response(talk, initial, "").await? else { return Ok(Offered::Gone) };
            let plain = decoded(&line).and_then(|octets| decode_plain(&octets).ok());
            Ok(match plain {
                Some(plain) if plain.authzid.is_empty() || plain.authzid == plain.authcid => Offered::Login {
                    name: plain.authcid.clone(),
                    password: plain.password.expose().to_vec(),
                    bearer: false,
                },
                Some(_) => Offered::Refused(behaviour.wording.wrong_login().to_owned()),
                None => malformed(&line),
            })
        }
        "LOGIN" => {
            let Some(name) = response(talk, initial, "Username:").await? else { return Ok(Offered::Gone) };
            let Some(name) = decoded(&name) else { return Ok(malformed(&name)) };
            let Some(password) = response(talk, None, "Password:").await? else { return Ok(Offered::Gone) };
            let Some(password) = decoded(&password) else { return Ok(malformed(&password)) };
            Ok(Offered::Login { name: String::from_utf8_lossy(&name).into_owned(), password, bearer: false })
        }
        "XOAUTH2" | "OAUTHBEARER" => {
            let Some(line) = response(talk, initial, "").await? else { return Ok(Offered::Gone) };
            Ok(match decoded(&line).and_then(|octets| bearer(&octets)) {
                Some((name, token)) => Offered::Login { name, password: token.into_bytes(), bearer: true },
                None => malformed(&line),
            })
        }
        "CRAM-MD5" => {
            let Some(line) = response(talk, initial, "<1.2@delegate.example>").await? else {
                return Ok(Offered::Gone);
            };
            let text = decoded(&line).and_then(|octets| String::from_utf8(octets).ok());
            Ok(match text.as_deref().and_then(|text| text.rsplit_once(' ')) {
                Some((name, digest)) => Offered::Login {
                    name: name.to_owned(),
                    password: digest.as_bytes().to_vec(),
                    bearer: false,
                },
                None => malformed(&line),
            })
        }
        _ => Ok(Offered::Refused(behaviour.wording.unknown_mechanism().to_owned())),
    }
}

/// The initial response, or the answer to a challenge.
async fn response(
    talk: &mut Talk<Behaviour, Counters>,
    initial: Option<&str>,
    challenge: &str,
) -> io::Result<Option<String>> {
    match initial {
        Some("=") => Ok(Some(String::new())),
        Some(initial) => Ok(Some(initial.to_owned())),
        None => {
            talk.say(&format!("334 {}", encode_base64(challenge.as_bytes())));
            talk.secret_line().await
        }
    }
}

fn decoded(line: &str) -> Option<Vec<u8>> {
    decode_base64(line.as_bytes()).ok().map(|secret| secret.expose().to_vec())
}

fn malformed(line: &str) -> Offered {
    let reply =
        if line == "*" { "501 5.7.0 Authentication cancelled" } else { "501 5.5.2 Malformed response" };
    Offered::Refused(reply.to_owned())
}

/// Name and token of `user=NAME ^A auth=Bearer TOKEN ^A ^A` (XOAUTH2) or `n,a=NAME, ^A ...` (RFC 7628).
fn bearer(octets: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(octets).ok()?;
    let mut name = None;
    let mut token = None;
    for field in text.split('\u{1}') {
        if let Some(user) = field.strip_prefix("user=") {
            name = Some(user.to_owned());
        } else if let Some(header) = field.strip_prefix("n,a=") {
            name = Some(header.trim_end_matches(',').to_owned());
        } else if let Some(bearer) = field.strip_prefix("auth=Bearer ") {
            token = Some(bearer.to_owned());
        }
    }
    name.zip(token)
}
