//! What was seen at a next hop: does it take what we would send, and does it know that we are not the sender.

use super::recipients::{Relaying, relaying};
use super::settings::at;
use super::{About, Examined, Finding, Grade, Product, Seen, advice, quoted};

/// All findings.
pub(super) fn findings(examined: &Examined, product: Product) -> Vec<Finding> {
    let Some(seen) = examined.ports.first() else { return Vec::new() };
    if seen.is_ourselves(&examined.our_name) {
        let what = format!("Port {} is this very gateway: mail would run in a circle.", seen.port);
        return vec![Finding::new(Grade::Danger, what)];
    }
    if !seen.is_open() {
        let why = seen.trouble.as_ref().map_or("", |trouble| &trouble.told);
        return vec![Finding::new(Grade::Change, format!("No mail can be sent there: {why}."))];
    }
    let mut found = vec![tls(seen)];
    found.extend(own_domain(examined, seen));
    found.extend(foreign(examined, seen, product));
    found.extend(limit(seen));
    let what = "A spam filter sees us as the sender of everything that strangers send through us, and judges our \
                address instead of theirs. Tell it to look one hop further.";
    found.push(Finding::new(Grade::Note, what).there(advice::trust_our_received(examined, product)));
    found
}

fn tls(seen: &Seen) -> Finding {
    match &seen.tls {
        Some(tls) if tls.unverified.is_none() => Finding::new(
            Grade::Good,
            "TLS is offered and the certificate verifies: tls = \"verify\" can be demanded.",
        ),
        Some(tls) => {
            let why = tls.unverified.as_deref().unwrap_or_default();
            let what = format!(
                "TLS is offered, but the certificate does not verify: {why}. Mail goes there encrypted all \
                 the same; tls with the pin above demands this very key."
            );
            Finding::new(Grade::Note, what)
        }
        None => Finding::new(Grade::Note, "No TLS is offered: mail goes there readable."),
    }
}

fn own_domain(examined: &Examined, seen: &Seen) -> Option<Finding> {
    let known = examined.known.as_deref();
    let (address, answer) = match (seen.answer(About::Known), seen.answer(About::MadeUp)) {
        (Some(answer), _) => (known?, answer),
        (None, Some(answer)) if answer.said.is_positive() => (examined.made_up.as_deref()?, answer),
        _ => {
            let said = seen.trouble.as_ref()?.said.as_ref()?;
            return Some(Finding::new(
                Grade::Change,
                format!("It does not take our mail: {}.", quoted(said)),
            ));
        }
    };
    Some(match answer.said.is_positive() {
        true => {
            Finding::new(Grade::Good, format!("It takes mail for {address}: fit as next_hop of that domain."))
        }
        false => {
            let what = format!("It refuses mail for {address}: {}.", quoted(&answer.said));
            Finding::new(Grade::Change, what)
        }
    })
}

fn foreign(examined: &Examined, seen: &Seen, product: Product) -> Option<Finding> {
    Some(match relaying(seen) {
        Relaying::NotAsked => return None,
        Relaying::Relays => {
            let what = "It relays for us to foreign domains: fit as next_hop of [relay].";
            Finding::new(Grade::Good, what)
        }
        Relaying::Refuses => {
            let login = match seen.offers().auth.is_empty() {
                true => "",
                false => {
                    " It offers logins: login = { user, password } in the settings may be all that it wants."
                }
            };
            let what = format!(
                "It does not relay for us to foreign domains: right for a domain's next_hop, wrong for that of \
                 [relay].{login}"
            );
            Finding::new(Grade::Note, what).there(advice::trust_us(examined, product))
        }
        Relaying::NotProven(said) => {
            let what = format!(
                "Whether it relays for us is not proven: it refused {} with {}. --foreign ADDRESS names another one.",
                examined.foreign,
                quoted(&said)
            );
            Finding::new(Grade::Note, what)
        }
    })
}

fn limit(seen: &Seen) -> Option<Finding> {
    let size = seen.offers().size.filter(|size| *size > 0)?;
    let what = format!(
        "It takes messages up to {} MB. Larger ones are refused there and come back to their sender.",
        size / 1_000_000
    );
    Some(Finding::new(Grade::Note, what))
}

/// Lines for the two places where a next hop stands.
pub(super) fn settings(examined: &Examined) -> Option<String> {
    let seen = examined.ports.first().filter(|seen| seen.is_open())?;
    if seen.is_ourselves(&examined.our_name) {
        return None;
    }
    let host = at(&examined.host, seen.port);
    let verified = seen.tls.as_ref().is_some_and(|tls| tls.unverified.is_none());
    let value = match verified {
        true => format!("{{ host = \"{host}\", tls = \"verify\" }}"),
        false => format!("\"{host}\""),
    };
    let place = match relaying(seen) {
        Relaying::Relays => "# in [relay], or in a [[domain]]",
        _ => "# in a [[domain]]",
    };
    Some(format!("next_hop = {value}    {place}\n"))
}
