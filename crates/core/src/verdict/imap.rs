//! What an IMAP server's final answer says about a login (RFC 9051 §7.1, RFC 5530). An allow-list again: NO means no only
//! with `[AUTHENTICATIONFAILED]`, or with no code at all.

use super::{Verdict, WORDS, unavailable};
use crate::endpoint::Endpoint;
use vouchsafe_smtp::Reply;
use vouchsafe_smtp::reply::printable;

/// The first word of a tagged answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was done.
    Ok,
    /// It was refused.
    No,
    /// It was not understood.
    Bad,
}

/// A tagged answer to LOGIN or AUTHENTICATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImapAnswer {
    /// OK, NO or BAD.
    pub condition: Condition,
    /// The response code in brackets, its first word in upper case.
    pub code: Option<String>,
    /// The text, printable.
    pub text: String,
}

/// The verdict on a login. The words are kept as an SMTP reply of the same meaning, which log and history know.
pub fn classify_imap(delegate: &Endpoint, answer: &ImapAnswer) -> Verdict {
    let word = match answer.condition {
        Condition::Ok => "OK",
        Condition::No => "NO",
        Condition::Bad => "BAD",
    };
    let code = answer.code.as_ref().map(|code| format!("[{code}] ")).unwrap_or_default();
    let words = printable(format!("{word} {code}{}", answer.text).as_bytes(), WORDS);
    let temporary = |alert| {
        let said = Reply::new(454, (4, 7, 0), words.clone());
        unavailable(delegate, "the login", &said, alert)
    };
    match (answer.condition, answer.code.as_deref()) {
        (Condition::Ok, _) => Verdict::Accept(Reply::new(235, (2, 7, 0), words)),
        // RFC 9051 §7.1: ALERT only asks for the text to be shown.
        (Condition::No, None | Some("AUTHENTICATIONFAILED" | "ALERT")) => {
            let tell = Reply::new(535, (5, 7, 8), "Authentication credentials invalid");
            Verdict::Reject { said: Reply::new(535, (5, 7, 8), words), tell }
        }
        (Condition::No, Some("PRIVACYREQUIRED" | "CONTACTADMIN" | "AUTHORIZATIONFAILED" | "EXPIRED")) => {
            temporary(true)
        }
        (Condition::No, Some(_)) => temporary(false),
        (Condition::Bad, _) => temporary(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Protocol, Tell, TlsMode};

    fn judge(condition: Condition, code: Option<&str>) -> &'static str {
        let delegate = Endpoint {
            protocol: Protocol::Imap,
            host: "imap.example".to_owned(),
            port: 993,
            tls: TlsMode::Verify,
            implicit_tls: true,
            login: None,
            tell: Tell::Nothing,
        };
        let answer = ImapAnswer { condition, code: code.map(str::to_owned), text: "words".to_owned() };
        match classify_imap(&delegate, &answer) {
            Verdict::Accept(said) if said.code == 235 => "accept",
            Verdict::Reject { tell, .. } if tell.code == 535 => "reject",
            Verdict::Unavailable { alert: true, .. } => "unavailable alert",
            Verdict::Unavailable { alert: false, .. } => "unavailable",
            _ => "oddly",
        }
    }

    #[test]
    fn ok_is_the_only_yes() {
        assert_eq!(judge(Condition::Ok, Some("CAPABILITY")), "accept");
        assert_eq!(judge(Condition::Ok, None), "accept");
    }

    #[test]
    fn no_means_no_only_where_it_is_about_the_password() {
        assert_eq!(judge(Condition::No, Some("AUTHENTICATIONFAILED")), "reject");
        assert_eq!(judge(Condition::No, Some("ALERT")), "reject");
        assert_eq!(judge(Condition::No, None), "reject");
        for code in ["UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "OVERQUOTA", "X-NEW"] {
            assert_eq!(judge(Condition::No, Some(code)), "unavailable", "{code}");
        }
        for code in ["PRIVACYREQUIRED", "CONTACTADMIN", "AUTHORIZATIONFAILED", "EXPIRED"] {
            assert_eq!(judge(Condition::No, Some(code)), "unavailable alert", "{code}");
        }
        assert_eq!(judge(Condition::Bad, None), "unavailable alert");
    }
}
