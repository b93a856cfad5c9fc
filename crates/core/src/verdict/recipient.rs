//! What a reply to RCPT, or to DATA where that is what is asked, says about the recipient.

use super::{Verdict, holds_any, unavailable, with_words};
use crate::endpoint::Endpoint;
use vouchsafe_smtp::client::{not_carried, too_many_recipients};
use vouchsafe_smtp::{Enhanced, Reply};

/// A 550 without enhanced code that holds one of these is about us, not about the recipient.
const NOT_ABOUT_THE_RECIPIENT: [&str; 17] = [
    "relay",
    "block",
    "spam",
    "list",
    "polic",
    "reputation",
    "denied",
    "auth",
    "helo",
    "reverse",
    "sender",
    "too many",
    "rate",
    "spf",
    "dmarc",
    "greylist",
    "http",
];

/// The command whose reply is about the recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeTo {
    /// RCPT.
    #[default]
    Rcpt,
    /// DATA, behind one RCPT that was taken.
    Data,
}

/// How a delegate's replies about a recipient are read; settings of the delegate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// "*" mode: the delegate decides for any domain, so "relaying denied" is a plain no.
    pub any_domain: bool,
    /// 252 ("cannot verify, but will take it") is a yes.
    pub accept_252: bool,
    /// What was said last before the reply.
    pub probe_to: ProbeTo,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { any_domain: false, accept_252: true, probe_to: ProbeTo::Rcpt }
    }
}

/// The verdict on a recipient; `None`: no verdict, the batch ends here and the rest is asked anew.
pub fn classify_recipient(delegate: &Endpoint, said: &Reply, rules: Rules) -> Option<Verdict> {
    let question = match rules.probe_to {
        ProbeTo::Rcpt => "RCPT",
        // RCPT may have been refused already.
        ProbeTo::Data => "RCPT or DATA",
    };
    let unavailable = |alert| unavailable(delegate, question, said, alert);
    let reject = |tell| Verdict::Reject { said: said.clone(), tell };
    let no_such_user = || reject(Reply::new(550, (5, 1, 1), with_words("No such user here", said)));
    if too_many_recipients(said) {
        return None;
    }
    // Our own words: the address was not asked about, the delegate cannot carry it.
    if *said == not_carried() {
        return Some(reject(said.clone()));
    }
    if rules.any_domain && said.is_permanent() && denies_relaying(said) {
        return Some(reject(Reply::new(550, (5, 7, 1), "Relaying denied")));
    }
    Some(match (said.code, said.enhanced) {
        (250 | 251, _) => Verdict::Accept(said.clone()),
        (252, _) if rules.accept_252 => Verdict::Accept(said.clone()),
        (354, _) if rules.probe_to == ProbeTo::Data => Verdict::Accept(said.clone()),
        (550 | 551 | 553 | 554, Some(Enhanced(5, 1, 1 | 3 | 6 | 10))) => no_such_user(),
        // Microsoft 365, edge blocking (FACTS section 3): this code alone means a routing fault elsewhere.
        (550 | 551 | 553 | 554, Some(Enhanced(5, 4, 1)))
            if holds_any(said, &["recipient address rejected: access denied"]) =>
        {
            no_such_user()
        }
        (552, Some(Enhanced(5, 2, 2))) => {
            reject(Reply::new(552, (5, 2, 2), with_words("Mailbox is full", said)))
        }
        (500.., Some(Enhanced(5, 2, 1))) => {
            reject(Reply::new(550, (5, 2, 1), with_words("Mailbox is disabled", said)))
        }
        (530 | 503, _) | (500.., Some(Enhanced(5, 7, _) | Enhanced(5, 1, 0 | 2))) => unavailable(true),
        (550, None) if !holds_any(said, &NOT_ABOUT_THE_RECIPIENT) => no_such_user(),
        _ => unavailable(false),
    })
}

/// `554 5.7.1 Relay access denied`, `550 5.7.54 Unable to relay ...`, `550 relay not permitted`, `550 5.1.2 Relay not
/// allowed`, qmail's `553 5.7.1 ... not in my list of allowed rcpthosts`.
fn denies_relaying(said: &Reply) -> bool {
    matches!(said.enhanced, None | Some(Enhanced(5, 7, _) | Enhanced(5, 1, 2)))
        && holds_any(said, &["relay", "rcpthosts"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Tell, TlsMode};

    fn delegate() -> Endpoint {
        let (host, tls) = ("mail.example".to_owned(), TlsMode::Off);
        Endpoint {
            protocol: crate::Protocol::Smtp,
            host,
            port: 25,
            tls,
            implicit_tls: false,
            login: None,
            tell: Tell::Nothing,
        }
    }

    /// The verdict in short: `accept`, `reject 550 5.1.1`, `unavailable`, `unavailable alert`, `again`.
    fn judge(code: u16, enhanced: Option<(u8, u16, u16)>, text: &'static str, rules: Rules) -> String {
        let enhanced = enhanced.map(|(class, subject, detail)| Enhanced(class, subject, detail));
        let said = Reply { code, enhanced, text: text.into() };
        match classify_recipient(&delegate(), &said, rules) {
            None => "again".to_owned(),
            Some(Verdict::Accept(_)) => "accept".to_owned(),
            Some(Verdict::Reject { tell, .. }) => {
                format!("reject {} {}", tell.code, tell.enhanced.expect("ours has one"))
            }
            Some(Verdict::Unavailable { alert: true, .. }) => "unavailable alert".to_owned(),
            Some(Verdict::Unavailable { alert: false, .. }) => "unavailable".to_owned(),
            Some(Verdict::PassOn { .. }) => "pass on".to_owned(),
        }
    }

    fn plain(code: u16, enhanced: Option<(u8, u16, u16)>, text: &'static str) -> String {
        judge(code, enhanced, text, Rules::default())
    }

    #[test]
    fn row_250_251_252_accept() {
        for code in [250, 251, 252] {
            assert_eq!(plain(code, None, "ok"), "accept");
        }
        let strict = Rules { accept_252: false, ..Rules::default() };
        assert_eq!(judge(252, None, "ok", strict), "unavailable");
    }

    #[test]
    fn row_354_accepts_where_it_answers_data() {
        let by_data = Rules { probe_to: ProbeTo::Data, ..Rules::default() };
        assert_eq!(judge(354, None, "go ahead", by_data), "accept");
        assert_eq!(plain(354, None, "go ahead"), "unavailable");
    }

    #[test]
    fn row_no_such_user_codes_reject() {
        for code in [550, 551, 553, 554] {
            for detail in [1, 3, 6, 10] {
                assert_eq!(plain(code, Some((5, 1, detail)), "Blocked list policy"), "reject 550 5.1.1");
            }
        }
        assert_eq!(plain(552, Some((5, 1, 1)), "x"), "unavailable");
    }

    #[test]
    fn row_541_rejects_only_with_the_text_of_m365() {
        let text = "[a@b.example]: Recipient address rejected: Access denied";
        assert_eq!(plain(550, Some((5, 4, 1)), text), "reject 550 5.1.1");
        assert_eq!(plain(550, Some((5, 4, 1)), "No answer from host"), "unavailable");
    }

    #[test]
    fn row_550_without_enhanced_code_rejects_unless_its_text_is_about_us() {
        assert_eq!(plain(550, None, "User unknown"), "reject 550 5.1.1");
        for word in NOT_ABOUT_THE_RECIPIENT {
            let text: &'static str = format!("x {} y", word.to_uppercase()).leak();
            assert_eq!(plain(550, None, text), "unavailable", "{word}");
        }
    }

    #[test]
    fn row_551_553_554_without_enhanced_code_are_unavailable() {
        for code in [551, 553, 554] {
            assert_eq!(plain(code, None, "User unknown"), "unavailable");
        }
    }

    #[test]
    fn row_full_and_disabled_mailboxes_reject_with_their_code_briefly() {
        assert_eq!(plain(552, Some((5, 2, 2)), "full"), "reject 552 5.2.2");
        assert_eq!(plain(550, Some((5, 2, 1)), "disabled"), "reject 550 5.2.1");
        assert_eq!(plain(554, Some((5, 2, 1)), "disabled"), "reject 550 5.2.1");
        let said = Reply::new(552, (5, 2, 2), "full");
        assert!(classify_recipient(&delegate(), &said, Rules::default()).unwrap().is_brief());
        let said = Reply::new(550, (5, 1, 1), "unknown");
        assert!(!classify_recipient(&delegate(), &said, Rules::default()).unwrap().is_brief());
    }

    #[test]
    fn row_the_delegate_refuses_us_is_unavailable_with_an_alert() {
        for (code, enhanced) in [
            (550, Some((5, 1, 0))),
            (550, Some((5, 1, 2))),
            (550, Some((5, 7, 1))),
            (554, Some((5, 7, 606))),
            (530, Some((5, 7, 1))),
            (530, None),
            (503, Some((5, 5, 1))),
            (503, None),
        ] {
            assert_eq!(plain(code, enhanced, "User unknown"), "unavailable alert", "{code} {enhanced:?}");
        }
    }

    #[test]
    fn row_relaying_denied_is_a_plain_no_in_star_mode_only() {
        let star = Rules { any_domain: true, ..Rules::default() };
        for (code, enhanced, text) in [
            (554, Some((5, 7, 1)), "<a@b>: Relay access denied"),
            (550, Some((5, 7, 54)), "SMTP; Unable to relay recipient in non-accepted domain"),
            (550, None, "relay not permitted"),
            (550, Some((5, 1, 2)), "Relay not allowed."),
            (553, Some((5, 7, 1)), "sorry, that domain isn't in my list of allowed rcpthosts"),
        ] {
            assert_eq!(judge(code, enhanced, text, star), "reject 550 5.7.1");
            assert!(plain(code, enhanced, text).starts_with("unavailable"));
        }
        assert_eq!(judge(550, Some((5, 7, 1)), "blocked by reputation", star), "unavailable alert");
        assert_eq!(judge(454, Some((4, 7, 1)), "Relay access denied", star), "unavailable");
    }

    #[test]
    fn row_an_address_that_cannot_be_carried_rejects() {
        let verdict = classify_recipient(&delegate(), &not_carried(), Rules::default());
        assert!(matches!(verdict, Some(Verdict::Reject { tell, .. }) if tell == not_carried()));
        assert_eq!(plain(550, Some((5, 6, 7)), "said by a delegate"), "unavailable");
    }

    #[test]
    fn row_too_many_recipients_is_no_verdict() {
        assert_eq!(plain(452, Some((4, 5, 3)), "x"), "again");
        assert_eq!(plain(452, None, "Too many recipients"), "again");
        assert_eq!(plain(552, None, "too many recipients"), "again");
        assert_eq!(plain(452, Some((4, 2, 2)), "full"), "unavailable");
    }

    #[test]
    fn row_4yz_is_unavailable_and_so_is_whatever_no_row_names() {
        for (code, enhanced) in [(450, Some((4, 1, 1))), (451, None), (421, Some((4, 3, 2)))] {
            assert_eq!(plain(code, enhanced, "User unknown"), "unavailable");
        }
        for (code, enhanced) in [
            (550, Some((4, 1, 1))),
            (550, Some((5, 2, 2))),
            (550, Some((5, 3, 0))),
            (501, Some((5, 1, 3))),
            (500, None),
            (552, None),
            (556, None),
            (220, None),
        ] {
            assert_eq!(plain(code, enhanced, "User unknown"), "unavailable", "{code} {enhanced:?}");
        }
    }

    #[test]
    fn the_client_hears_the_delegates_words_on_one_line() {
        let said = Reply::new(550, (5, 1, 1), "User\nunknown");
        let Some(Verdict::Reject { tell, .. }) = classify_recipient(&delegate(), &said, Rules::default())
        else {
            panic!("no Reject");
        };
        assert_eq!(tell, Reply::new(550, (5, 1, 1), "No such user here: User unknown"));
    }
}
