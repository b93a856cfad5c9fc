//! Send-as: may this login use this reverse path, and be named in From? (DESIGN section 4). Pure.
//!
//! Its own are: the login itself, its name at the delegate, the same user in a domain that its source knows where the
//! login has no domain, and what the file of aliases gives it. Compared without case. The null reverse path is
//! everyone's: notices and receipts of mail programs need it (RFC 5321 §4.5.5).
//! The delegate is not asked: its 250 to MAIL means nothing (FACTS section 2), and it is asked before the sender is known.
//! Proof: the tests below, `transcripts/e2e/send_as_*`.

use std::collections::HashMap;

use vouchsafe_smtp::{Mailbox, ReversePath};

use crate::authors::Claims;

/// A login, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// As the client gave it.
    pub name: &'a str,
    /// As the delegate is shown it.
    pub mapped: &'a str,
    /// Domains in which a login without a domain has its own local part.
    pub domains: &'a [&'a str],
}

impl Login<'_> {
    /// Whether this reverse path is its own, or an alias of it.
    pub fn may_send_as(&self, reverse_path: &ReversePath, aliases: &Aliases) -> bool {
        reverse_path.mailbox().is_none_or(|address| self.owns(address, aliases))
    }

    /// What of From is not this login's, if anything. Of several authors all must be its own, or one of them and the
    /// Sender that RFC 5322 §3.6.2 then asks for. A message without From names nobody.
    pub fn foreign_author(&self, claims: &Claims, aliases: &Aliases) -> Option<Foreign> {
        let Some(authors) = claims.authors() else { return Some(Foreign::Unreadable) };
        let own = |address: &Mailbox| self.owns(address, aliases);
        let foreign = authors.iter().find(|author| !own(author))?;
        let sent_for_others = authors.iter().any(own) && claims.sender().is_some_and(|sender| own(&sender));
        (!sent_for_others).then(|| Foreign::Author(foreign.clone()))
    }

    fn owns(&self, address: &Mailbox, aliases: &Aliases) -> bool {
        [self.name, self.mapped].into_iter().any(|name| {
            let name = name.to_lowercase();
            name == address.key() || self.is_user(&name, address) || aliases.give(&name, address)
        })
    }

    /// A name without a domain, or with a Windows domain: the same user in a domain of its source.
    fn is_user(&self, name: &str, address: &Mailbox) -> bool {
        let user = bare(name);
        !user.contains('@')
            && user == address.local().to_lowercase()
            && self.domains.iter().any(|domain| domain.eq_ignore_ascii_case(address.domain()))
    }
}

/// Why From is not a login's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It names somebody else.
    Author(Mailbox),
    /// Mail programs could read it in different ways.
    Unreadable,
}

/// Without `DOMAIN\`.
fn bare(name: &str) -> &str {
    name.rsplit_once('\\').map_or(name, |(_, user)| user)
}

/// What else logins may send as: a file of lines `address: login, login`; `#` begins a comment. The address may be
/// `@domain` (all of it); `@domain: @other` gives each login of the domain `other` the same local part there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    /// Logins by address or `@domain`.
    logins: HashMap<String, Vec<String>>,
}

/// A line that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl Aliases {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Aliases, BadLine> {
        let mut logins: HashMap<String, Vec<String>> = HashMap::new();
        for (line, written) in (1..).zip(text.lines()) {
            let written = written.split('#').next().unwrap_or_default().trim();
            if written.is_empty() {
                continue;
            }
            let bad = |what| BadLine { line, what };
            let (address, names) =
                written.split_once(':').ok_or(bad("has no colon between the address and its logins"))?;
            let address = address.trim().to_lowercase();
            let whole = address.strip_prefix('@');
            let parsed = whole.map_or_else(|| address.clone(), |domain| format!("any@{domain}"));
            Mailbox::parse(&parsed, true).map_err(|_| bad("begins with no address and no @domain"))?;
            let names: Vec<String> =
                names.split([',', ' ', '\t']).map(str::trim).map(str::to_lowercase).collect();
            let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
            if names.is_empty() {
                return Err(bad("names no login"));
            }
            if whole.is_none() && names.iter().any(|name| name.starts_with('@')) {
                return Err(bad("gives one address to a whole domain of logins"));
            }
            logins.entry(address).or_default().extend(names);
        }
        Ok(Aliases { logins })
    }

    /// Whether a line gives this address to this login, both in lower case.
    fn give(&self, name: &str, address: &Mailbox) -> bool {
        let listed = |key: &str| self.logins.get(key).map(Vec::as_slice).unwrap_or_default();
        let is_named = |of: &String| of == name || of == bare(name);
        if listed(&address.key()).iter().any(is_named) {
            return true;
        }
        let same_user = |of: &String| {
            let user = of.starts_with('@').then(|| name.strip_suffix(of.as_str())).flatten();
            user.is_some_and(|user| user == address.local().to_lowercase())
        };
        listed(&format!("@{}", address.domain_key())).iter().any(|of| is_named(of) || same_user(of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authors::Claim;

    fn may(name: &str, mapped: &str, reverse_path: &str, aliases: &str) -> bool {
        let login = Login { name, mapped, domains: &["example.com"] };
        let reverse_path = match reverse_path {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(Mailbox::parse(text, true).unwrap()),
        };
        login.may_send_as(&reverse_path, &Aliases::parse(aliases).unwrap())
    }

    #[test]
    fn its_own_are_the_login_the_mapped_name_and_the_same_user_in_its_domains() {
        assert!(may("alice@example.com", "alice@example.com", "Alice@Example.com", ""));
        assert!(may("alice", "alice@corp.example.com", "alice@corp.example.com", ""));
        for name in ["alice", "CORP\\Alice"] {
            assert!(may(name, name, "alice@example.com", ""), "{name}");
            assert!(!may(name, name, "alice@other.example", ""), "{name}");
        }
        assert!(may("alice", "CORP\\alice", "alice@example.com", ""));
        assert!(may("alice", "alice", "", ""));
        for foreign in ["bob@example.com", "alice+x@example.com", "alice@example.com.evil.example"] {
            assert!(!may("alice@example.com", "alice", foreign, ""), "{foreign}");
        }
        // The same local part elsewhere is somebody else.
        assert!(!may("alice@other.example", "alice@other.example", "alice@example.com", ""));
    }

    #[test]
    fn every_author_must_be_its_own_or_one_and_the_sender() {
        let foreign = |from: &str, sender: &str| {
            let mut claims = Claims::default();
            for (claim, value) in [(Claim::From, from), (Claim::Sender, sender)] {
                if !value.is_empty() {
                    claims.begin(claim);
                    claims.push(claim, format!(": {value}\r\n").as_bytes());
                }
            }
            let aliases = Aliases::parse("info@example.com: alice@example.com").unwrap();
            Login { name: "alice@example.com", mapped: "alice", domains: &[] }
                .foreign_author(&claims, &aliases)
        };
        let (alice, bob) = ("Alice <ALICE@example.com>", "bob@example.com");
        let both = format!("{bob}, {alice}");
        let is_bob = Some(Foreign::Author(Mailbox::parse(bob, false).unwrap()));
        assert_eq!(foreign("", ""), None);
        assert_eq!(foreign(alice, ""), None);
        assert_eq!(foreign(&format!("{alice}, info@example.com"), ""), None);
        assert_eq!(foreign(bob, ""), is_bob);
        // A Sender of its own does not let it write in the name of others alone.
        assert_eq!(foreign(bob, alice), is_bob);
        assert_eq!(foreign(&both, ""), is_bob);
        assert_eq!(foreign(&both, bob), is_bob);
        assert_eq!(foreign(&both, &both), is_bob);
        assert_eq!(foreign(&both, alice), None);
        assert_eq!(foreign("boss@example.com <alice@example.com>", alice), Some(Foreign::Unreadable));
    }

    #[test]
    fn aliases_give_an_address_a_domain_or_the_same_user_elsewhere() {
        let file = "# shared\nInfo@Example.com: alice, bob@example.com\n@shop.example: carol\n@example.com: @corp.local\n";
        assert!(may("alice", "alice", "info@example.com", file));
        assert!(may("CORP\\alice", "CORP\\alice", "info@example.com", file));
        assert!(may("bob@example.com", "bob", "INFO@example.com", file));
        assert!(!may("dave", "dave", "info@example.com", file));
        assert!(may("carol", "carol", "whoever@shop.example", file));
        assert!(!may("alice", "alice", "whoever@shop.example", file));
        assert!(may("erin@corp.local", "erin@corp.local", "Erin@example.com", file));
        assert!(!may("erin@corp.local", "erin@corp.local", "bob@example.com", file));
        assert!(!may("erin@evilcorp.local", "erin@evilcorp.local", "erin@example.com", file));
    }

    #[test]
    fn a_bad_line_is_told_with_its_number() {
        let bad = |text: &str| Aliases::parse(text).unwrap_err().line;
        assert_eq!(bad("\ninfo@example.com alice\n"), 2);
        assert_eq!(bad("info: alice\n"), 1);
        assert_eq!(bad("info@example.com: ,\n"), 1);
        assert_eq!(bad("info@example.com: @corp.local\n"), 1);
    }
}
