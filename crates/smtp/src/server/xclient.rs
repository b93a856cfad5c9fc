//! Server side of XCLIENT (Postfix's XCLIENT_README): a named proxy tells who its client is. What may be claimed is read
//! here; whether the peer may claim anything is [`super::Config::xclient`], so that strangers never get this far.
//!
//! LOGIN is never believed: nobody is logged in but by AUTH. Proof: `transcripts/server/xclient_*`,
//! `transcripts/attacks/xclient_*`.

use std::net::IpAddr;

use super::replies;
use crate::params::decode_xtext;
use crate::reply::Reply;

/// What EHLO offers to a named proxy.
pub(super) const OFFERED: &str = "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT";

/// The client as a proxy tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0: not told.
    pub port: u16,
    /// Its name in EHLO or HELO, if told: it counts instead of the one the proxy says itself.
    pub helo: Option<String>,
}

/// `NAME=value ...`, each value in xtext, `[UNAVAILABLE]` or `[TEMPUNAVAIL]`.
pub(super) fn parse(argument: &str) -> Result<Claim, Reply> {
    let (mut address, mut port, mut helo) = (None, 0, None);
    for word in argument.split(' ').filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').ok_or_else(|| replies::syntax("NAME=value expected"))?;
        let value = match value {
            "[UNAVAILABLE]" | "[TEMPUNAVAIL]" => None,
            text => Some(decode_xtext(text).ok_or_else(|| replies::syntax("A value is no xtext"))?),
        };
        let bad = |what: &'static str| move || replies::syntax(what);
        match (name.to_ascii_uppercase().as_str(), value) {
            ("ADDR", Some(text)) => address = Some(ip(&text).ok_or_else(bad("ADDR is no address"))?),
            ("PORT", Some(text)) => port = text.parse().map_err(|_| replies::syntax("PORT is no port"))?,
            ("HELO", Some(text)) if text.len() <= 255 => helo = Some(text).filter(|text| !text.is_empty()),
            ("HELO", Some(_)) => return Err(replies::syntax("HELO is too long")),
            ("PROTO", Some(text))
                if !text.eq_ignore_ascii_case("SMTP") && !text.eq_ignore_ascii_case("ESMTP") =>
            {
                return Err(replies::syntax("PROTO is SMTP or ESMTP"));
            }
            ("LOGIN", Some(_)) => return Err(replies::no_login_by_xclient()),
            ("ADDR" | "PORT" | "HELO" | "PROTO" | "LOGIN" | "NAME" | "DESTADDR" | "DESTPORT", _) => {}
            _ => return Err(replies::syntax("Unknown attribute")),
        }
    }
    // Without it every limit and rule that asks who the client is would be asked about the proxy.
    let address = address.ok_or_else(|| replies::syntax("ADDR is needed"))?;
    Ok(Claim { address, port, helo })
}

/// An IPv4 address, or `IPV6:` and an IPv6 address.
fn ip(text: &str) -> Option<IpAddr> {
    let v6 = text.split_at_checked(5).filter(|(tag, _)| tag.eq_ignore_ascii_case("IPV6:"));
    let address = match v6 {
        Some((_, rest)) => IpAddr::V6(rest.parse().ok()?),
        None => IpAddr::V4(text.parse().ok()?),
    };
    Some(address.to_canonical())
}
