//! Verdicts: what a delegate's answer means (FACTS section 7 is the specification).
//!
//! Promise 3: three values; only an allow-list means "no"; whatever no row names is Unavailable. What the client is
//! told on Unavailable is the caller's: 451 4.4.3 to RCPT, 454 4.7.0 to AUTH.
//! Proof: the tests of `recipient` and `login` (one a row), `transcripts/delegate/`.

mod imap;
mod login;
mod recipient;

pub use imap::{Condition, ImapAnswer, classify_imap};
pub use login::classify_auth;
pub use recipient::{ProbeTo, Rules, classify_recipient};

use crate::endpoint::Endpoint;
use vouchsafe_smtp::client::{FaultKind, Phase};
use vouchsafe_smtp::reply::printable;
use vouchsafe_smtp::{Enhanced, Reply};

/// Characters of a delegate's words in a reply of ours.
const WORDS: usize = 200;

/// What a source of truth said of a recipient or a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, with the source's words.
    Accept(Reply),
    /// No, with the source's words and the reply for our client.
    Reject {
        /// The source's own words.
        said: Reply,
        /// What our client is told.
        tell: Reply,
    },
    /// Cannot tell now; never shown as a refusal nor remembered as one.
    Unavailable {
        /// What happened, to whom, in words for the log.
        cause: String,
        /// The delegate refuses *us* (or its configuration is at fault): the administrator must act.
        alert: bool,
    },
    /// AUTH only: the delegate finds fault with the client's response or mechanism. Told to the client as it stands,
    /// never remembered: it says nothing of the password.
    PassOn {
        /// What our client is told: 501 or 534 with the source's words.
        tell: Reply,
        /// The administrator must act.
        alert: bool,
    },
}

impl Verdict {
    /// A no that is remembered only briefly: the mailbox exists, but is full or disabled.
    pub fn is_brief(&self) -> bool {
        matches!(self, Verdict::Reject { said: Reply { enhanced: Some(Enhanced(5, 2, _)), .. }, .. })
    }
}

/// The verdict when the session ended before there was an answer, `cause` being the fault in words: drops, timeouts,
/// TLS and name faults, 4yz. A 5yz that is no answer to RCPT or AUTH says that the delegate refuses us.
pub fn classify_fault(cause: String, phase: Phase, kind: &FaultKind) -> Verdict {
    let alert = match kind {
        FaultKind::Refused(reply) => reply.is_permanent() && phase != Phase::Quit,
        _ => false,
    };
    Verdict::Unavailable { cause, alert }
}

fn unavailable(delegate: &Endpoint, question: &str, said: &Reply, alert: bool) -> Verdict {
    let said = printable(said.to_string().as_bytes(), WORDS);
    Verdict::Unavailable { cause: format!("{delegate} answered {question} with {said}"), alert }
}

fn holds_any(said: &Reply, words: &[&str]) -> bool {
    let text = said.text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

/// Our bland words, then the delegate's on one line.
fn with_words(bland: &str, said: &Reply) -> String {
    let words = printable(said.text.replace('\n', " ").trim().as_bytes(), WORDS);
    if words.is_empty() { bland.to_owned() } else { format!("{bland}: {words}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(phase: Phase, kind: FaultKind) -> (bool, bool) {
        match classify_fault("x".to_owned(), phase, &kind) {
            Verdict::Unavailable { alert, .. } => (true, alert),
            _ => (false, false),
        }
    }

    #[test]
    fn a_5xx_at_banner_ehlo_or_mail_is_unavailable_with_an_alert() {
        for phase in [Phase::Banner, Phase::Ehlo, Phase::Mail] {
            let refused = FaultKind::Refused(Reply::new(554, (5, 7, 1), "go away"));
            assert_eq!(verdict(phase, refused), (true, true));
        }
    }

    #[test]
    fn drops_timeouts_tls_name_faults_and_4yz_are_unavailable_without_an_alert() {
        let kinds = [
            FaultKind::Closed,
            FaultKind::Timeout,
            FaultKind::TlsRefused("x".into()),
            FaultKind::Unreachable("no such name".into()),
            FaultKind::Garbage("x".into()),
            FaultKind::Refused(Reply::new(421, (4, 3, 2), "busy")),
            FaultKind::Refused(Reply::new(451, (4, 3, 2), "Service not active")),
        ];
        for kind in kinds {
            assert_eq!(verdict(Phase::Mail, kind), (true, false));
        }
    }
}
