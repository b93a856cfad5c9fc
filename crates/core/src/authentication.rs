//! What SPF and DKIM prove about a stranger's reverse path, and whose `Authentication-Results` are forged.
//!
//! Asks nobody: `vouchsafe_net::authentication` looks things up. Proof: tests below.

use vouchsafe_smtp::ReversePath;

/// What passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// SPF passed for the reverse path (RFC 7208 §2.4). For the HELO name alone it proves nothing about a mailbox.
    pub spf: bool,
    /// Domains (`d=`) whose DKIM signatures are good (RFC 6376 §3.5).
    pub dkim: Vec<String>,
}

impl Proof {
    /// Whether a bounce to this reverse path reaches who sent the message, and not somebody whose name was forged.
    /// A signature speaks for its domain and what is below it; a host below a domain does not speak for the domain.
    pub fn of(&self, reverse_path: &ReversePath) -> bool {
        let Some(mailbox) = reverse_path.mailbox() else { return false };
        self.spf || self.dkim.iter().any(|signer| is_within(mailbox.domain(), signer))
    }
}

/// `domain` is `parent` or below it, compared without case.
fn is_within(domain: &str, parent: &str) -> bool {
    let (domain, parent) = (domain.as_bytes(), parent.as_bytes());
    let Some(cut) = domain.len().checked_sub(parent.len()).filter(|_| !parent.is_empty()) else {
        return false;
    };
    let (front, tail) = domain.split_at(cut);
    tail.eq_ignore_ascii_case(parent) && (front.is_empty() || front.ends_with(b"."))
}

/// The authserv-id of an `Authentication-Results` field, from behind its colon (RFC 8601 §2.2): what stands behind
/// comments and folds, without quotes. `None` where there is none.
pub fn authserv_id(value: &[u8]) -> Option<String> {
    let mut rest = value;
    let mut depth = 0usize;
    loop {
        let (&octet, behind) = rest.split_first()?;
        match octet {
            b'\\' if depth > 0 => {
                rest = behind.get(1..)?;
                continue;
            }
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if depth > 0 => {}
            _ => break,
        }
        rest = behind;
    }
    let mut id = Vec::new();
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let mut octets = quoted.iter();
        while let Some(&octet) = octets.next() {
            match octet {
                b'"' => break,
                b'\\' => id.extend(octets.next()),
                other => id.push(other),
            }
        }
    } else {
        let ends = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b'/' | b'=');
        id.extend(rest.iter().take_while(|octet| !ends(octet)));
    }
    (!id.is_empty()).then(|| String::from_utf8_lossy(&id).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchsafe_smtp::Mailbox;

    fn path(text: &str) -> ReversePath {
        ReversePath::Mailbox(Mailbox::parse(text, true).unwrap())
    }

    #[test]
    fn spf_or_a_signature_of_the_domain_or_above_it_proves_a_reverse_path() {
        let signed = |by: &str| Proof { spf: false, dkim: vec![by.to_owned()] };
        assert!(Proof { spf: true, dkim: Vec::new() }.of(&path("a@x.example")));
        assert!(signed("X.example").of(&path("a@x.EXAMPLE")));
        assert!(signed("x.example").of(&path("a@bounces.x.example")));
        for by in ["bounces.x.example", "ax.example", "example.net", "", "y.example"] {
            assert!(!signed(by).of(&path("a@x.example")), "{by}");
        }
        assert!(!signed("x.example").of(&path("a@evilx.example")));
        assert!(!Proof::default().of(&path("a@x.example")));
        assert!(!Proof { spf: true, dkim: Vec::new() }.of(&ReversePath::Null));
    }

    #[test]
    fn the_authserv_id_stands_behind_comments_and_folds() {
        for (value, id) in [
            (" gate.example; spf=pass", Some("gate.example")),
            ("gate.example/1; none", Some("gate.example")),
            (" (a (nested \\) one)) \r\n\tgate.example 1;", Some("gate.example")),
            (" \"gate.\\example\";", Some("gate.example")),
            ("gate.example(x);", Some("gate.example")),
            ("gate.example", Some("gate.example")),
            (" (never ends gate.example", None),
            (" \r\n", None),
            (" (x\\", None),
            (";", None),
        ] {
            assert_eq!(authserv_id(value.as_bytes()).as_deref(), id, "{value}");
        }
    }
}
