//! What was seen at a delegate, in plain words, each with what to change there.

use std::time::Duration;

use super::recipients::{Checking, Relaying, judge, relaying};
use super::{
    About, Examined, Finding, Grade, LoginTried, Product, Seen, advice, login_port, quoted, recipients_port,
};
use crate::mechanisms::{self, Source};
use crate::verdict::Verdict;
use vouchsafe_smtp::sasl::Mechanism;

/// Refusals later than this do not fit into the default deadline of 20 s with room to spare.
pub(super) const LATE: Duration = Duration::from_secs(12);
/// A refusal that takes longer than a yes by this much is held back on purpose.
const HELD_BACK: Duration = Duration::from_millis(500);

/// All findings, in the order in which they are to be read.
pub(super) fn of(examined: &Examined, product: Product) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(seen) = examined.ports.iter().find(|seen| seen.is_ourselves(&examined.our_name)) {
        let what = format!(
            "Port {} is this very gateway: it would ask itself for ever. Name the server behind it.",
            seen.port
        );
        return vec![Finding::new(Grade::Danger, what)];
    }
    found.extend(examined.ports.iter().filter_map(turned_away));
    if !examined.ports.iter().any(Seen::is_open) {
        let what =
            "No port let us in: nothing can be asked. Is the name right, does a firewall stand between?";
        found.push(Finding::new(Grade::Change, what));
        return found;
    }
    found.extend(examined.ports.iter().filter_map(|seen| own_name(examined, seen)));
    found.extend(logins(examined, product));
    found.extend(examined.login.as_ref().map(|tried| login(examined, tried, product)));
    found.extend(recipients(examined, product));
    found.extend(relays(examined, product));
    found.extend(advice::in_any_case(examined, product));
    found
}

fn own_name(examined: &Examined, seen: &Seen) -> Option<Finding> {
    let what = match (seen.has_name(&examined.our_name), seen.our_address) {
        (true, _) => format!(
            "Port {} calls itself {}, as we do. If it is another gateway of ours, mail may run in a circle; if \
             not, give one of the two another hostname.",
            seen.port, examined.our_name
        ),
        (false, true) => format!(
            "Port {} stands at an address where a listener of ours is set, and another server answers there: \
             the gateway could not start beside it.",
            seen.port
        ),
        _ => return None,
    };
    Some(Finding::new(Grade::Note, what))
}

/// A session that was ended by a limit or a block.
fn turned_away(seen: &Seen) -> Option<Finding> {
    let trouble = seen.trouble.as_ref()?;
    let said = trouble.said.as_ref()?;
    let what = match said.code {
        421 => format!(
            "Port {} cut us off: {}. That is a limit on connections or errors, not an answer; ask again later, or \
             exempt our address.",
            seen.port,
            quoted(said)
        ),
        _ if !seen.is_open() => format!("Port {} does not want us: {}.", seen.port, quoted(said)),
        _ => return None,
    };
    Some(Finding::new(Grade::Change, what))
}

fn logins(examined: &Examined, product: Product) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in examined.ports.iter().filter(|seen| seen.is_open()) {
        let open = seen.mechanisms_in_clear();
        if open.iter().any(|name| name == "PLAIN" || name == "LOGIN") && seen.tls.is_some() {
            let what = format!(
                "Port {} offers {} in clear text too. The gateway never sends a password without TLS, but others \
                 may.",
                seen.port,
                open.join(" ")
            );
            found.push(Finding::new(Grade::Note, what));
        }
    }
    match login_port(&examined.ports) {
        Some(seen) => {
            let offered = seen.offers().auth.join(" ");
            let clear = if seen.mechanisms_in_clear().iter().any(|name| name == "PLAIN" || name == "LOGIN") {
                ""
            } else {
                ", passwords in clear text nowhere"
            };
            let what =
                format!("Logins can be asked on port {}: it takes {offered} under TLS{clear}.", seen.port);
            found.push(Finding::new(Grade::Good, what));
            found.extend(passed_on(&seen.offers().auth));
            found.extend(certificate(seen));
        }
        None => found.push(no_logins(examined, product)),
    }
    found
}

/// What of it our own clients can use, where it is more than passwords.
fn passed_on(offered: &[String]) -> Option<Finding> {
    let all = Source::Delegate { configured: &Mechanism::ALL, seen: Some(offered), names_as_is: true };
    let names = |wanted: fn(&Mechanism) -> bool| {
        let taken = mechanisms::offered(&all, true);
        taken
            .iter()
            .filter(|mechanism| wanted(mechanism))
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (tokens, challenges) =
        (names(|mechanism| mechanism.has_token()), names(|mechanism| mechanism.is_challenge()));
    let mut what = String::new();
    if !tokens.is_empty() {
        what += &format!("Clients may log in here with tokens, too ({tokens}). ");
    }
    if !challenges.is_empty() {
        what += &format!(
            "{challenges} can be passed through: add what your clients need to mechanisms, where this server answers \
             for all logins. "
        );
    }
    if let Some(plus) = offered.iter().find(|name| name.starts_with("SCRAM-") && name.ends_with("-PLUS")) {
        what += &format!(
            "{plus} is bound to the client's own connection, so that it cannot be passed on, nor what it stands for. "
        );
    }
    (!what.is_empty()).then(|| Finding::new(Grade::Note, what.trim_end()))
}

fn certificate(seen: &Seen) -> Option<Finding> {
    let why = seen.tls.as_ref()?.unverified.as_ref()?;
    let what = format!(
        "The certificate on port {} does not verify: {why}. The settings below pin its key, which is as safe until \
         the key changes; then logins stop, and this report gives the new pin. Check that the pin is really the \
         server's.",
        seen.port
    );
    Some(Finding::new(Grade::Note, what))
}

fn no_logins(examined: &Examined, product: Product) -> Finding {
    let open = || examined.ports.iter().filter(|seen| seen.is_open());
    let clear = open().find(|seen| {
        seen.tls.is_none() && seen.offers().auth.iter().any(|name| name == "PLAIN" || name == "LOGIN")
    });
    if let Some(seen) = clear {
        let what = format!(
            "Port {} takes logins, but offers no TLS: passwords would be readable on the way.",
            seen.port
        );
        return Finding::new(Grade::Danger, what).there(advice::offer_tls(product));
    }
    if let Some(seen) = open().find(|seen| !seen.offers().auth.is_empty()) {
        let offered = seen.offers().auth.join(" ");
        let what = format!(
            "Port {} offers {offered}, but neither PLAIN nor LOGIN: a password cannot be asked about.",
            seen.port
        );
        return Finding::new(Grade::Change, what).there(advice::offer_passwords(product));
    }
    let tried: Vec<String> = examined.ports.iter().map(|seen| seen.port.to_string()).collect();
    let what = format!(
        "No login can be asked about here: AUTH is offered on none of {}. If it is another server that knows the \
         passwords, name that one for auth; if nobody sends through the gateway, nothing is amiss.",
        tried.join(", ")
    );
    Finding::new(if product == Product::ExchangeEdge { Grade::Note } else { Grade::Change }, what)
}

fn login(examined: &Examined, tried: &LoginTried, product: Product) -> Finding {
    let name = &tried.name;
    match (&tried.verdict, tried.port) {
        (Some(Verdict::Accept(_)), Some(port)) => {
            Finding::new(Grade::Good, format!("{name} with this password was let in on port {port}."))
        }
        (Some(Verdict::Reject { said, .. }), Some(port)) => {
            let what = format!(
                "{name} with this password was refused on port {port}: {}. It was tried once and counts there like \
                 any wrong password. If the password is right, the server may want the name in another form: \
                 login_name in the settings changes it.",
                quoted(said)
            );
            Finding::new(Grade::Change, what)
        }
        (Some(Verdict::Unavailable { cause, .. }), _) => {
            let cause = cause.trim_end_matches('.');
            let what = format!(
                "The login of {name} got no yes and no no: {cause}. Clients would be told to try later."
            );
            Finding::new(Grade::Change, what).there(advice::allow_logins(examined, product))
        }
        (Some(Verdict::PassOn { tell, .. }), _) => {
            let what =
                format!("The server finds fault with the way of the login, not with the password: {tell}.");
            Finding::new(Grade::Change, what)
        }
        _ => {
            let what = format!("The login of {name} was not tried: no port takes passwords under TLS.");
            Finding::new(Grade::Change, what)
        }
    }
}

fn recipients(examined: &Examined, product: Product) -> Vec<Finding> {
    if examined.made_up.is_none() {
        let what = "No recipient was asked about: give an address that exists there with --known ADDRESS, and the \
                    doctor asks about it and about a made-up one beside it.";
        return vec![Finding::new(Grade::Note, what)];
    }
    if let Some(seen) = recipients_port(examined) {
        return checked(examined, seen, product);
    }
    let open: Vec<&Seen> = examined.ports.iter().filter(|seen| seen.is_open()).collect();
    let mut found: Vec<Finding> = open.iter().filter_map(|seen| unchecked(examined, seen, product)).collect();
    let bad = |finding: &Finding| finding.grade == Grade::Change;
    if !found.iter().any(bad) {
        let what = "No port answers the question whether a recipient exists.";
        found.push(Finding::new(Grade::Change, what).there(advice::check_recipients(examined, product)));
    }
    found
}

fn checked(examined: &Examined, seen: &Seen, product: Product) -> Vec<Finding> {
    let (tarpit, answers) = match judge(examined, seen) {
        Checking::AtRcpt { tarpit } => (tarpit, "in reply to RCPT"),
        Checking::AtData { tarpit } => {
            (tarpit, "but only in reply to DATA, so that it is asked one address a connection")
        }
        _ => return Vec::new(),
    };
    let known = match seen.answer(About::Known) {
        Some(_) => "takes the known address and refuses the made-up one",
        None => "refuses a made-up address (none that exists was given: --known proves that side too)",
    };
    let hub = if product == Product::Exchange { ", as the hub transport does" } else { "" };
    let what = format!("Recipients can be asked on port {}: it {known}, {answers}{hub}.", seen.port);
    let mut found = vec![Finding::new(Grade::Good, what)];
    if tarpit >= HELD_BACK {
        let seconds = tarpit.as_secs_f64();
        let fits = match tarpit >= LATE {
            true => "The settings below wait longer than usual.",
            false => "The gateway waits long enough.",
        };
        let what = format!("It holds a refusal back for {seconds:.1} s (a tarpit). {fits}");
        found.push(Finding::new(Grade::Note, what));
    }
    for other in examined.ports.iter().filter(|other| other.port != seen.port) {
        if judge(examined, other) == Checking::TakesAll {
            let why = advice::why_all_are_taken(product);
            let what = format!(
                "Port {} takes the made-up address too: {why}. Do not ask about recipients there.",
                other.port
            );
            found.push(Finding::new(Grade::Note, what));
        }
    }
    found
}

fn unchecked(examined: &Examined, seen: &Seen, product: Product) -> Option<Finding> {
    let port = seen.port;
    let (grade, what) = match judge(examined, seen) {
        Checking::NotAsked | Checking::AtRcpt { .. } | Checking::AtData { .. } => return None,
        Checking::TakesAll => {
            let why = advice::why_all_are_taken(product);
            let what = format!(
                "Port {port} takes a made-up address as if it existed: {why}. Asked there, the gateway would take \
                 mail for everybody and could only bounce it."
            );
            (Grade::Change, what)
        }
        Checking::WantsLogin(said) => {
            let client = if product == Product::Exchange { ", as the client front end does" } else { "" };
            let advice = match product {
                Product::Exchange | Product::ExchangeEdge | Product::Microsoft365 => {
                    "Do not give recipients a login here: whoever has logged in passes Exchange's recipient filter, \
                     and every address looks valid."
                }
                _ => {
                    "If no other port answers, recipients = { host, login } asks it with a login of ours; see then \
                     that it refuses a made-up address."
                }
            };
            let what = format!(
                "Port {port} talks of recipients only after a login{client}: {}. {advice}",
                quoted(&said)
            );
            (Grade::Note, what)
        }
        Checking::KnownRefused(said) => {
            let what = format!(
                "Port {port} refuses the known address {} like the made-up one: {}. Is it spelt right, and is its \
                 domain at home there?",
                examined.known.as_deref().unwrap_or_default(),
                quoted(&said)
            );
            (Grade::Change, what)
        }
        Checking::RefusesUs(said) => {
            let what = format!(
                "Port {port} refuses us, not the recipient: {}. Such an answer is never taken for a no; senders \
                 would be told to try later.",
                quoted(&said)
            );
            (Grade::Change, what)
        }
        Checking::Later(said) => {
            let what = format!(
                "Port {port} puts the question off: {}. Greylisting must leave our address out.",
                quoted(&said)
            );
            (Grade::Change, what)
        }
    };
    let there = if grade == Grade::Change { advice::check_recipients(examined, product) } else { Vec::new() };
    Some(Finding::new(grade, what).there(there))
}

fn relays(examined: &Examined, product: Product) -> Vec<Finding> {
    let judged: Vec<(u16, Relaying)> =
        examined.ports.iter().map(|seen| (seen.port, relaying(seen))).collect();
    let mut found = Vec::new();
    for (port, relaying) in &judged {
        if *relaying == Relaying::Relays {
            let what = format!(
                "Port {port} would relay for us: it takes {}, which is not its own. It trusts our address, so a \
                 yes of it proves nothing, and whoever got through us would send in its name.",
                examined.foreign
            );
            found.push(Finding::new(Grade::Danger, what).there(advice::do_not_trust_us(examined, product)));
        }
        if let Relaying::NotProven(said) = relaying {
            let what = format!(
                "Whether port {port} would relay for us is not proven: it refused {} in other words: {}. \
                 --foreign ADDRESS names another one.",
                examined.foreign,
                quoted(said)
            );
            found.push(Finding::new(Grade::Note, what));
        }
    }
    if found.is_empty() && judged.iter().any(|(_, relaying)| *relaying == Relaying::Refuses) {
        found.push(Finding::new(Grade::Good, "It does not relay for us to foreign domains."));
    }
    found
}
