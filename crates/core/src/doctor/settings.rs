//! The settings to paste for a delegate, from what was seen: never more trust than was proven.

use std::time::Duration;

use super::findings::LATE;
use super::recipients::{Checking, Relaying, judge, relaying};
use super::{Examined, Product, Seen, login_port, recipients_port};

/// Lines for `[delegate.NAME]`; `None` where it is ourselves, or nothing can be asked at all.
pub(super) fn of(examined: &Examined, product: Product, name: &str) -> Option<String> {
    if examined.ports.iter().any(|seen| seen.is_ourselves(&examined.our_name)) {
        return None;
    }
    let auth = login_port(&examined.ports);
    let checks = recipients_port(examined);
    let proven = checks.filter(|seen| relaying(seen) != Relaying::Relays);
    if auth.is_none() && proven.is_none() {
        return None;
    }
    let mut out = format!("[delegate.{name}]\n");
    match (auth, proven) {
        (Some(auth), Some(recipients)) if one_line(auth, recipients) => {
            out += &format!("host = \"{}\"\n", examined.host);
        }
        _ => out += &endpoints(examined, product, auth, checks, proven),
    }
    let tarpit = match proven.map(|seen| judge(examined, seen)) {
        Some(Checking::AtRcpt { tarpit }) => tarpit,
        Some(Checking::AtData { tarpit }) => {
            out += "probe_to = \"data\"\n";
            tarpit
        }
        _ => Duration::ZERO,
    };
    if tarpit >= LATE {
        out += &format!("deadline = \"{}s\"\n", 2 * tarpit.as_secs());
    }
    Some(out)
}

/// The defaults are right: `host` says it all.
fn one_line(auth: &Seen, recipients: &Seen) -> bool {
    (auth.port, recipients.port) == (587, 25) && verifies(auth) && verifies(recipients)
}

/// `checks` is the port that checks recipients, `proven` is it too unless the server trusts us too much.
fn endpoints(
    examined: &Examined,
    product: Product,
    auth: Option<&Seen>,
    checks: Option<&Seen>,
    proven: Option<&Seen>,
) -> String {
    // On 2525 Exchange answers once its administrator has followed the advice.
    let wished = product == Product::Exchange && checks.is_none();
    let comment = match (auth, proven) {
        (None, _) => "Nobody answers for logins here: name the server that does as auth.",
        (_, Some(_)) => "",
        _ if wished => "Until the connector on 2525 is there, senders are told to try later.",
        _ if checks.is_some() => "Recipients are left out while it relays for us: its yes proves nothing.",
        _ => "No port was seen to check recipients; until one does, give the domain a list: list:FILE.",
    };
    let mut out = if comment.is_empty() { String::new() } else { format!("# {comment}\n") };
    if let Some(seen) = auth {
        out += &format!("auth       = {}\n", endpoint(examined, seen, true));
    }
    if let Some(seen) = proven {
        out += &format!("recipients = {}\n", endpoint(examined, seen, false));
    } else if wished {
        let host = at(&examined.host, 2525);
        out += &format!("recipients = {{ host = \"{host}\", tls = \"opportunistic\" }}\n");
    }
    out
}

fn verifies(seen: &Seen) -> bool {
    seen.tls.as_ref().is_some_and(|tls| tls.unverified.is_none())
}

/// A password travels only to a verified or pinned server; an address may go to any.
fn endpoint(examined: &Examined, seen: &Seen, secret: bool) -> String {
    let host = at(&examined.host, seen.port);
    match &seen.tls {
        Some(tls) if tls.unverified.is_none() => format!("{{ host = \"{host}\" }}"),
        Some(tls) if secret => format!("{{ host = \"{host}\", tls = \"{}\" }}", tls.pin),
        _ => format!("{{ host = \"{host}\", tls = \"opportunistic\" }}"),
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn at(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
