//! The block `[[domain]] name = "*"`: its delegate decides for every domain that has no block of its own.
//!
//! Never a source that knows no better (`any`, a list): that would be an open relay. The two probe addresses must lie in
//! real domains: a reserved one can be refused for its own sake, and proves nothing then.
//! Proof: `tests/bad/any_domain*.toml`.

use vouchsafe_smtp::Mailbox;

use crate::section::{Bad, Findings, text};
use crate::settings::*;
use crate::tree::Node;

/// RFC 2606, RFC 6761, RFC 8375: domains that nobody can have, or only in their own network.
const RESERVED: [&str; 11] = [
    "test",
    "example",
    "invalid",
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "onion",
    "example.com",
    "example.net",
    "example.org",
];

/// One address of `relay_probe`.
pub(crate) fn probe(node: &Node) -> Result<Mailbox, Bad> {
    let mailbox = Mailbox::parse(text(node)?, false).map_err(|_| Bad::new("is not an address").on(node))?;
    let domain = mailbox.domain_key();
    let real = "name an address in a domain that somebody really has, and that is not yours";
    if !domain.contains('.') || domain.starts_with('[') {
        return Err(Bad::new("is in no real domain").advise(real).on(node));
    }
    if let Some(reserved) = RESERVED.iter().find(|reserved| is_in(&domain, reserved)) {
        let what = format!("is in {reserved}, which is reserved: it can be refused for its own sake");
        return Err(Bad::new(what).advise(real).on(node));
    }
    Ok(mailbox)
}

/// The same domain, or one below it.
fn is_in(domain: &str, parent: &str) -> bool {
    domain.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

pub(crate) fn check(s: &Settings, f: &Findings) {
    for domain in s.domains.iter().filter(|domain| !domain.is_any() && !domain.relay_probe.is_empty()) {
        let at = f.at(&format!("domain[{}].relay_probe", domain.name), "");
        f.fault(&at, "is only for the domain \"*\"", "remove it: here only the recipients are asked about");
    }
    let Some(any) = s.any_domain() else { return };
    let asked = f.at("domain[*].recipients", "");
    match &any.recipients[..] {
        [RecipientSource::Delegate(name)] => f.notice(
            &f.at("domain[*].name", ""),
            format!(
                "delegate {name} decides for every domain that has no block of its own; `vouchsafe status` tells whether it refuses what is not its own"
            ),
        ),
        // Told already.
        [] => {}
        _ => f.fault(
            &asked,
            "must name one delegate and nothing else: only it can tell its domains from others",
            "write recipients = [\"delegate:NAME\"], and give other sources to domains with a name",
        ),
    }
    probes(s, any, f);
    for name in any.recipients.iter().filter_map(|source| match source {
        RecipientSource::Delegate(name) => Some(name),
        _ => None,
    }) {
        if s.delegates.get(name).is_some_and(|delegate| delegate.probe_to == ProbeTo::Data) {
            let at = f.at(&format!("delegate.{name}.probe_to"), "\"data\"");
            let what = "cannot be for a delegate that decides for any domain: it must refuse what is not its own at RCPT";
            f.fault(&at, what, "remove it, or give the delegate's domains blocks of their own");
        }
    }
}

fn probes(s: &Settings, any: &AcceptedDomain, f: &Findings) {
    let key = "domain[*].relay_probe";
    if f.reported(key) {
        return;
    }
    let advice =
        "give two addresses in two domains of others: it must refuse both, or it would make us an open relay";
    let [one, two] = &any.relay_probe[..] else {
        let what = match any.relay_probe.len() {
            0 => "is missing".to_owned(),
            n => format!("holds {n}"),
        };
        return f.fault(&f.at(key, ""), what, advice);
    };
    if one.domain_key() == two.domain_key() {
        f.fault(&f.at(key, ""), format!("has both addresses in {}", one.domain()), advice);
    }
    let own = |probe: &Mailbox| {
        let domain = probe.domain_key();
        let named = s.domains.iter().find(|named| !named.is_any() && is_in(&domain, &named.name));
        named
            .map(|named| named.name.clone())
            .or_else(|| is_in(&domain, &s.hostname).then(|| s.hostname.clone()))
    };
    for probe in [one, two] {
        if let Some(name) = own(probe) {
            let at = f.at(key, format!("\"{probe}\""));
            f.fault(&at, format!("is in {name}, which is yours"), advice);
        }
    }
}

/// Tells the delegate of `*` what it needs to know to decide for any domain.
pub(crate) fn hand_over(s: &mut Settings) {
    let Some(any) = s.any_domain() else { return };
    let ([RecipientSource::Delegate(name)], [one, two]) = (&any.recipients[..], &any.relay_probe[..]) else {
        return;
    };
    let named =
        s.domains.iter().filter(|domain| !domain.is_any()).map(|domain| domain.name.clone()).collect();
    let (name, told) = (name.clone(), AnyDomain { named, probes: [one.clone(), two.clone()] });
    if let Some(delegate) = s.delegates.get_mut(&name) {
        delegate.any_domain = Some(told);
    }
}
