//! Which SASL mechanisms a listener announces (DESIGN section 4, "AUTH").
//!
//! Those of the settings that the source of the logins was last seen to offer. PLAIN and LOGIN hold the same, so that
//! either is announced if the delegate has one of them. EXTERNAL and GSSAPI cannot be passed on and are no mechanisms
//! here. Never tells who is right. Proof: the tests below, `transcripts/e2e/auth_*`.

use vouchsafe_smtp::sasl::Mechanism;

/// Somebody who answers for logins.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The local users: their passwords are hashed, so that they must come in clear text.
    Local,
    /// A delegate.
    Delegate {
        /// `delegate.mechanisms`.
        configured: &'a [Mechanism],
        /// What it offered last; `None`: not seen yet.
        seen: Option<&'a [String]>,
        /// It is shown the names as they are: only then can a response be passed on that has a name in it.
        names_as_is: bool,
    },
}

/// What a listener with these sources announces, in order. Never empty where there is a source: where nothing else is
/// left, PLAIN and LOGIN are announced and answered "try later", so that clients keep their passwords and a mended
/// delegate is noticed.
pub fn announced(sources: &[Source<'_>]) -> Vec<Mechanism> {
    let mut all: Vec<Mechanism> = Vec::new();
    for source in sources {
        for mechanism in offered(source, sources.len() == 1) {
            if !all.contains(&mechanism) {
                all.push(mechanism);
            }
        }
    }
    if all.is_empty() && !sources.is_empty() {
        all = vec![Mechanism::Plain, Mechanism::Login];
    }
    all
}

/// What this source takes. `alone`: no other source answers for logins of the listener, so that the delegate may be asked
/// for a challenge before it is known who logs in.
pub fn offered(source: &Source<'_>, alone: bool) -> Vec<Mechanism> {
    let (configured, seen, as_is) = match *source {
        Source::Local => return vec![Mechanism::Plain, Mechanism::Login],
        Source::Delegate { configured, seen, names_as_is } => (configured, seen, names_as_is),
    };
    let has = |name: &str| seen.is_some_and(|seen| seen.iter().any(|offered| offered == name));
    let fits = |mechanism: &&Mechanism| match **mechanism {
        Mechanism::Plain | Mechanism::Login => seen.is_none() || has("PLAIN") || has("LOGIN"),
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => as_is && has(mechanism.name()),
        // RFC 5802 §6: a client that supports channel binding and sees no -PLUS tells so in its response; a server that
        // offers -PLUS then takes it for an attack.
        Mechanism::ScramSha1 | Mechanism::ScramSha256 => {
            as_is && alone && has(mechanism.name()) && !has(&format!("{mechanism}-PLUS"))
        }
        Mechanism::CramMd5 | Mechanism::DigestMd5 | Mechanism::Ntlm => {
            as_is && alone && has(mechanism.name())
        }
    };
    configured.iter().filter(fits).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mechanism::*;

    fn announce(configured: &[Mechanism], seen: Option<&str>) -> Vec<Mechanism> {
        let list: Option<Vec<String>> = seen.map(|seen| seen.split(' ').map(str::to_owned).collect());
        announced(&[Source::Delegate { configured, seen: list.as_deref(), names_as_is: true }])
    }

    const DEFAULT: [Mechanism; 4] = [Plain, Login, XOAuth2, OAuthBearer];

    #[test]
    fn plain_and_login_stand_for_each_other() {
        assert_eq!(announce(&DEFAULT, Some("NTLM LOGIN")), [Plain, Login]);
        assert_eq!(announce(&DEFAULT, Some("PLAIN")), [Plain, Login]);
        assert_eq!(announce(&[Login], Some("PLAIN")), [Login]);
    }

    #[test]
    fn before_a_list_was_seen_passwords_are_taken_and_nothing_else() {
        assert_eq!(announce(&Mechanism::ALL, None), [Plain, Login]);
    }

    #[test]
    fn what_is_not_offered_there_is_not_announced_here() {
        assert_eq!(announce(&DEFAULT, Some("LOGIN XOAUTH2")), [Plain, Login, XOAuth2]);
        assert_eq!(announce(&DEFAULT, Some("XOAUTH2")), [XOAuth2]);
        assert_eq!(announce(&DEFAULT, Some("PLAIN CRAM-MD5 NTLM GSSAPI EXTERNAL")), [Plain, Login]);
        assert_eq!(announce(&Mechanism::ALL, Some("CRAM-MD5 NTLM GSSAPI EXTERNAL")), [CramMd5, Ntlm]);
    }

    #[test]
    fn where_nothing_is_left_passwords_wait_for_better_times() {
        assert_eq!(announce(&DEFAULT, Some("GSSAPI")), [Plain, Login]);
        assert_eq!(announced(&[]), []);
    }

    #[test]
    fn scram_is_not_offered_beside_its_plus_form() {
        let all = Some("PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-256-PLUS");
        assert_eq!(announce(&[Plain, ScramSha256, ScramSha1], all), [Plain, ScramSha1]);
    }

    #[test]
    fn a_mapped_name_cannot_be_inside_a_response() {
        let seen: Vec<String> = ["PLAIN", "XOAUTH2", "CRAM-MD5"].map(str::to_owned).into();
        let source = Source::Delegate { configured: &Mechanism::ALL, seen: Some(&seen), names_as_is: false };
        assert_eq!(announced(&[source]), [Plain, Login]);
    }

    #[test]
    fn several_sources_take_only_what_carries_the_name() {
        let seen: Vec<String> = ["XOAUTH2", "CRAM-MD5"].map(str::to_owned).into();
        let delegate = Source::Delegate { configured: &Mechanism::ALL, seen: Some(&seen), names_as_is: true };
        assert_eq!(announced(&[delegate]), [XOAuth2, CramMd5]);
        assert_eq!(announced(&[delegate, Source::Local]), [XOAuth2, Plain, Login]);
    }
}
