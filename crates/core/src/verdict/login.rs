//! What the final reply to AUTH says about a login. Only 235 is success: a 250 or a 334 out of place never is.
//!
//! Everything but 235 stays charged to the guard, the replies with an alert too: a guess was passed on.

use super::{Verdict, holds_any, unavailable, with_words};
use crate::endpoint::Endpoint;
use vouchsafe_smtp::{Enhanced, Reply};

/// `535 5.7.139` of Microsoft 365 with one of these is about the tenant's settings (FACTS section 3).
const TENANT_SETTINGS: [&str; 4] = [
    "smtpclientauthentication is disabled",
    "security defaults",
    "did not meet the criteria",
    "basic authentication is disabled",
];

/// The verdict on a login.
pub fn classify_auth(delegate: &Endpoint, said: &Reply) -> Verdict {
    let unavailable = |alert| unavailable(delegate, "AUTH", said, alert);
    let pass_on = |code, enhanced, bland: &str, alert| {
        let tell = Reply::new(code, enhanced, with_words(bland, said));
        Verdict::PassOn { tell, alert }
    };
    match (said.code, said.enhanced) {
        (235, _) => Verdict::Accept(said.clone()),
        // Postfix with a SASL service that cannot reach its source of truth.
        (535, _) if holds_any(said, &["generic failure"]) => unavailable(true),
        (535, Some(Enhanced(5, 7, 139))) if holds_any(said, &TENANT_SETTINGS) => unavailable(true),
        (535, None | Some(Enhanced(5, 7, 3 | 8 | 139))) => {
            let tell = Reply::new(535, (5, 7, 8), "Authentication credentials invalid");
            Verdict::Reject { said: said.clone(), tell }
        }
        (550, Some(Enhanced(5, 7, 30))) | (504 | 538 | 530, _) => unavailable(true),
        (501, _) => pass_on(501, (5, 5, 2), "The authentication response is malformed", false),
        (534, _) => pass_on(534, (5, 7, 9), "The authentication mechanism is too weak", true),
        _ => unavailable(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Tell, TlsMode};

    fn judge(code: u16, enhanced: Option<(u8, u16, u16)>, text: &'static str) -> &'static str {
        let tls = TlsMode::Verify;
        let delegate = Endpoint {
            protocol: crate::Protocol::Smtp,
            host: "mail.example".to_owned(),
            port: 587,
            tls,
            implicit_tls: false,
            login: None,
            tell: Tell::Nothing,
        };
        let enhanced = enhanced.map(|(class, subject, detail)| Enhanced(class, subject, detail));
        match classify_auth(&delegate, &Reply { code, enhanced, text: text.into() }) {
            Verdict::Accept(_) => "accept",
            Verdict::Reject { tell, .. } if tell.code == 535 => "reject",
            Verdict::Reject { .. } => "reject oddly",
            Verdict::Unavailable { alert: true, .. } => "unavailable alert",
            Verdict::Unavailable { alert: false, .. } => "unavailable",
            Verdict::PassOn { alert: true, tell } if tell.code == code => "pass on alert",
            Verdict::PassOn { alert: false, tell } if tell.code == code => "pass on",
            Verdict::PassOn { .. } => "pass on oddly",
        }
    }

    #[test]
    fn row_235_and_nothing_else_accepts() {
        assert_eq!(judge(235, Some((2, 7, 0)), "ok"), "accept");
        for code in [200, 220, 250, 252, 334, 354] {
            assert_eq!(judge(code, None, "Authentication successful"), "unavailable");
        }
    }

    #[test]
    fn row_535_rejects() {
        assert_eq!(judge(535, Some((5, 7, 8)), "Error: authentication failed"), "reject");
        assert_eq!(judge(535, Some((5, 7, 3)), "Authentication unsuccessful"), "reject");
        assert_eq!(judge(535, None, "Incorrect authentication data"), "reject");
        let m365 = "Authentication unsuccessful, the user credentials were incorrect.";
        assert_eq!(judge(535, Some((5, 7, 139)), m365), "reject");
        assert_eq!(judge(535, Some((5, 7, 139)), "something new"), "reject");
    }

    #[test]
    fn row_configuration_faults_are_unavailable_with_an_alert() {
        for text in [
            "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
            "Authentication unsuccessful, user is locked by your organization's security defaults policy.",
            "Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully.",
            "Authentication unsuccessful, basic authentication is disabled.",
        ] {
            assert_eq!(judge(535, Some((5, 7, 139)), text), "unavailable alert", "{text}");
        }
        assert_eq!(
            judge(550, Some((5, 7, 30)), "Basic authentication is not supported"),
            "unavailable alert"
        );
        assert_eq!(judge(504, Some((5, 7, 4)), "Unrecognized authentication type"), "unavailable alert");
        assert_eq!(judge(538, None, "Encryption required"), "unavailable alert");
        assert_eq!(judge(530, Some((5, 7, 0)), "Must issue STARTTLS first"), "unavailable alert");
        let postfix = "Error: authentication failed: generic failure";
        assert_eq!(judge(535, Some((5, 7, 8)), postfix), "unavailable alert");
    }

    #[test]
    fn row_501_is_passed_on() {
        assert_eq!(judge(501, Some((5, 5, 2)), "cannot decode"), "pass on");
    }

    #[test]
    fn row_534_is_passed_on_with_an_alert() {
        assert_eq!(judge(534, Some((5, 7, 9)), "too weak"), "pass on alert");
    }

    #[test]
    fn row_temporary_and_all_other_replies_are_unavailable() {
        for code in [454, 432, 421, 451, 500, 502, 503, 550, 554, 571] {
            assert_eq!(judge(code, None, "x"), "unavailable");
        }
        assert_eq!(judge(535, Some((5, 7, 0)), "x"), "unavailable");
        assert_eq!(judge(535, Some((4, 7, 8)), "x"), "unavailable");
    }
}
