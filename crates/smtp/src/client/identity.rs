//! For whom we speak: the client's identity as XCLIENT and XFORWARD tell it (Postfix's XCLIENT_README and
//! XFORWARD_README; there is no RFC). XCLIENT makes the peer treat the session as the client's own, XFORWARD only lets
//! it log and judge by the client.
//!
//! Never says LOGIN (a peer would take our client for logged in), never an attribute that was not offered. What cannot
//! be told in [`VALUE`] octets is `[UNAVAILABLE]`, so that a whole command stays below 512.
//! Proof: `transcripts/client/xclient_*`, `transcripts/client/xforward_*`, the tests below.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Client, Command, Done, FaultKind, Task};
use crate::reply::Reply;
use crate::time::Tick;

/// Octets of an attribute's value, encoded.
const VALUE: usize = 255;
const UNAVAILABLE: &str = "[UNAVAILABLE]";

/// The client for whom we speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its address.
    pub address: IpAddr,
    /// Its port, if known.
    pub port: Option<u16>,
    /// Its name in EHLO or HELO, as it said it; empty if it said none.
    pub helo: String,
    /// It said EHLO.
    pub esmtp: bool,
    /// Our id of the message; for XFORWARD only.
    pub message: Option<String>,
}

impl Identity {
    /// An attribute's value in xtext, or `[UNAVAILABLE]`.
    fn value(&self, attribute: &str) -> String {
        let known = match attribute {
            "ADDR" => Some(match self.address.to_canonical() {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => format!("IPV6:{v6}"),
            }),
            "PORT" => self.port.map(|port| port.to_string()),
            "PROTO" => Some(if self.esmtp { "ESMTP" } else { "SMTP" }.to_owned()),
            "HELO" => Some(self.helo.clone()).filter(|helo| !helo.is_empty()),
            "IDENT" => self.message.clone(),
            "SOURCE" => Some("REMOTE".to_owned()),
            // NAME: left out, the peer would go on with our own name for the client, and trust it as ours.
            _ => None,
        };
        let xtext = known.map(|text| xtext(&text)).filter(|text| text.len() <= VALUE);
        xtext.unwrap_or_else(|| UNAVAILABLE.to_owned())
    }

    /// Its name, if it can stand in EHLO as it is.
    fn greeting(&self) -> Option<String> {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:[]".contains(&octet);
        let fits = (1..=VALUE).contains(&self.helo.len()) && self.helo.bytes().all(plain);
        fits.then(|| self.helo.clone())
    }

    /// `VERB NAME=value ...` with those of `attributes` that were offered.
    fn line(&self, verb: &str, attributes: &[&str], offered: &str) -> String {
        let offers = |name: &str| offered.split_ascii_whitespace().any(|o| o.eq_ignore_ascii_case(name));
        let mut line = verb.to_owned();
        for name in attributes.iter().filter(|name| offers(name)) {
            let _ = write!(line, " {name}={}", self.value(name));
        }
        line
    }
}

/// RFC 3461 §4: `+` and two hex digits for what is not printable, for `+` and for `=`.
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'!'..=b'~' if !matches!(octet, b'+' | b'=') => out.push(char::from(octet)),
            _ => {
                let _ = write!(out, "+{octet:02X}");
            }
        }
    }
    out
}

impl Client {
    /// True if the peer takes XCLIENT, with the attribute that matters.
    pub fn takes_xclient(&self) -> bool {
        self.offers_address("XCLIENT").is_some()
    }

    /// True if the peer takes XFORWARD, with the attribute that matters.
    pub fn takes_xforward(&self) -> bool {
        self.offers_address("XFORWARD").is_some()
    }

    fn offers_address(&self, verb: &str) -> Option<&str> {
        let offered = self.capabilities.arguments(verb)?;
        offered.split_ascii_whitespace().any(|name| name.eq_ignore_ascii_case("ADDR")).then_some(offered)
    }

    /// Says XCLIENT, where it is offered. The session begins anew as the client's: its end is [`Done::Open`], or
    /// [`Done::NotTold`] if the peer does not want to hear of it; then the session stands as it did.
    pub fn xclient(&mut self, identity: &Identity, now: Tick) {
        let Some(offered) = self.offers_address("XCLIENT").map(str::to_owned) else {
            self.now = now;
            return self.fail(FaultKind::Local("XCLIENT is not offered".to_owned()));
        };
        if self.start(Task::Opening, now) {
            // XCLIENT_README, example 1: the new EHLO, too, is the client's; the peer judges by the last one it heard.
            self.speaks_as = identity.greeting();
            let line = identity.line("XCLIENT", &["NAME", "ADDR", "PORT", "PROTO", "HELO"], &offered);
            self.say(Command::XClient, |out| out.extend_from_slice(line.as_bytes()));
        }
    }

    /// The next delivery begins with XFORWARD, where it is offered. A refusal of it stands in
    /// [`super::DeliveryReplies::not_told`] and stops nothing.
    pub fn xforward(&mut self, identity: &Identity) {
        let attributes = ["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"];
        self.forward =
            self.offers_address("XFORWARD").map(|offered| identity.line("XFORWARD", &attributes, offered));
    }

    /// 500 to 504, 550: about the command. Anything else is about the client, or about us, and ends the session.
    pub(super) fn is_not_told(code: u16) -> bool {
        matches!(code, 500..=504 | 550)
    }

    /// XCLIENT was refused.
    pub(super) fn not_told(&mut self, reply: Reply) {
        self.speaks_as = None;
        self.done(Done::NotTold(reply), Task::Ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_command_fits_into_512_octets() {
        let identity = Identity {
            address: "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(),
            port: Some(65_535),
            helo: "x".repeat(VALUE),
            esmtp: true,
            message: Some("0190a8c5b8f07c2f8b5d3f1f2a6b7c8d".to_owned()),
        };
        let all = ["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"];
        let line = identity.line("XFORWARD", &all, &all.join(" "));
        assert!(line.len() + 2 <= 512, "{}", line.len());
        let longer = Identity { helo: "x".repeat(VALUE + 1), ..identity };
        assert!(longer.line("XCLIENT", &["HELO"], "HELO").ends_with(" HELO=[UNAVAILABLE]"));
    }
}
