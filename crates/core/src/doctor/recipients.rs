//! Whether a port really checks recipients, and whether it would relay for us.

use std::time::Duration;

use vouchsafe_smtp::Reply;
use vouchsafe_smtp::client::Phase;

use super::{About, Answer, Examined, Role, Seen};
use crate::endpoint::{Endpoint, Tell, TlsMode};
use crate::verdict::{ProbeTo, Rules, Verdict, classify_recipient};

/// What a port's answers about recipients come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checking {
    /// Nobody was asked about: no domain was given, or the session ended before.
    NotAsked,
    /// The made-up address is refused in reply to RCPT, the known one, if given, is taken.
    AtRcpt {
        /// How much longer a refusal took than a yes.
        tarpit: Duration,
    },
    /// All are taken at RCPT; the made-up address is refused in reply to DATA, the known one, if given, is not.
    AtData {
        /// How much longer a refusal took than a yes.
        tarpit: Duration,
    },
    /// The made-up address is taken: a catch-all, or a front end that refuses after the message.
    TakesAll,
    /// The known address is refused like the made-up one.
    KnownRefused(Reply),
    /// Wants a login before it talks of recipients.
    WantsLogin(Reply),
    /// Refuses us: what it says is not about the recipient.
    RefusesUs(Reply),
    /// Cannot tell now.
    Later(Reply),
}

/// Whether it takes mail for a foreign domain from us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Relaying {
    /// Not asked.
    NotAsked,
    /// It does: it trusts our address.
    Relays,
    /// It refuses to relay.
    Refuses,
    /// It refuses, but not in words about relaying.
    NotProven(Reply),
}

/// Judges the answers about the domain's own addresses.
pub(super) fn judge(examined: &Examined, seen: &Seen) -> Checking {
    let (known, made_up) = (seen.answer(About::Known), seen.answer(About::MadeUp));
    let Some(made_up) = made_up else {
        return match known {
            Some(known) => not_about_the_recipient(&known.said),
            None => refused_before(seen),
        };
    };
    let checks = |tarpit| Checking::AtRcpt { tarpit };
    match compare(examined, seen, known, made_up, ProbeTo::Rcpt, checks) {
        Checking::TakesAll => {
            let checks = |tarpit| Checking::AtData { tarpit };
            seen.answer_at_data(About::MadeUp).map_or(Checking::TakesAll, |made_up| {
                compare(examined, seen, seen.answer_at_data(About::Known), made_up, ProbeTo::Data, checks)
            })
        }
        judged => judged,
    }
}

/// `checks` is what it comes to if it tells the two apart.
fn compare(
    examined: &Examined,
    seen: &Seen,
    known: Option<&Answer>,
    made_up: &Answer,
    probe_to: ProbeTo,
    checks: impl Fn(Duration) -> Checking,
) -> Checking {
    let rules = Rules { probe_to, ..Rules::default() };
    let verdict = |answer: &Answer| classify_recipient(&at(&examined.host, seen.port), &answer.said, rules);
    match (known.map(verdict), verdict(made_up)) {
        (None | Some(Some(Verdict::Accept(_))), Some(Verdict::Reject { .. })) => {
            let usual = known.map_or(0, |known| known.milliseconds);
            checks(Duration::from_millis(made_up.milliseconds.saturating_sub(usual)))
        }
        (_, Some(Verdict::Accept(_))) => Checking::TakesAll,
        (Some(Some(Verdict::Reject { said, .. })), Some(Verdict::Reject { .. })) => {
            Checking::KnownRefused(said)
        }
        _ => not_about_the_recipient(&made_up.said),
    }
}

/// Where the made-up address is taken at RCPT it may still be refused at DATA. A server that relays for us would tell
/// nothing there, and a next hop is not asked.
pub fn is_asked_at_data(role: Role, answers: &[Answer]) -> bool {
    let taken = |about| answers.iter().any(|answer| answer.about == about && answer.said.is_positive());
    role == Role::Delegate && taken(About::MadeUp) && !taken(About::Foreign)
}

/// A server that does not answer the question about an address is not asked about another one.
pub fn goes_on(host: &str, answer: &Answer) -> bool {
    let verdict = classify_recipient(&at(host, 25), &answer.said, Rules::default());
    matches!(verdict, Some(Verdict::Accept(_) | Verdict::Reject { .. }))
}

/// Judges the answer about the foreign address.
pub(super) fn relaying(seen: &Seen) -> Relaying {
    match seen.answer(About::Foreign).map(|answer| &answer.said) {
        None => Relaying::NotAsked,
        Some(said) if said.is_positive() => Relaying::Relays,
        Some(said) if denies_relaying(said) => Relaying::Refuses,
        Some(said) => Relaying::NotProven(said.clone()),
    }
}

/// `550 5.7.x`, `530`, or a refusal that speaks of relaying or of a login.
fn denies_relaying(said: &Reply) -> bool {
    let text = said.text.to_ascii_lowercase();
    let about_us = said.code == 530 || said.enhanced.is_some_and(|enhanced| enhanced.1 == 7);
    said.is_permanent() && (about_us || text.contains("relay") || text.contains("authenticat"))
}

fn refused_before(seen: &Seen) -> Checking {
    let refused = seen.trouble.as_ref().filter(|trouble| matches!(trouble.phase, Phase::Mail | Phase::Rcpt));
    match refused.and_then(|trouble| trouble.said.as_ref()) {
        Some(said) => not_about_the_recipient(said),
        None => Checking::NotAsked,
    }
}

fn not_about_the_recipient(said: &Reply) -> Checking {
    let text = said.text.to_ascii_lowercase();
    match said {
        said if said.is_transient() => Checking::Later(said.clone()),
        said if said.code == 530 || text.contains("authenticat") => Checking::WantsLogin(said.clone()),
        said => Checking::RefusesUs(said.clone()),
    }
}

fn at(host: &str, port: u16) -> Endpoint {
    Endpoint {
        protocol: crate::Protocol::Smtp,
        host: host.to_owned(),
        port,
        tls: TlsMode::Opportunistic,
        implicit_tls: false,
        login: None,
        tell: Tell::Nothing,
    }
}
