//! Addresses: parsed once here, trusted afterwards. No function takes a `&str` address past this file.
//!
//! Percent signs, bangs and quoted at signs in a local part are data, never routing; a source route
//! (`<@a,@b:user@c>`) is parsed and dropped (RFC 5321 appendix C). Proof: `transcripts/attacks/relay_*`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Octets in a local part (RFC 5321 §4.5.3.1.1).
const LOCAL_PART: usize = 64;
/// Octets in a domain (RFC 5321 §4.5.3.1.2).
const DOMAIN: usize = 255;
/// Octets in a label of a domain (RFC 1035 §2.3.4).
const LABEL: usize = 63;

/// An address with a domain, checked by RFC 5321 §4.1.2 (and RFC 6531 where allowed). Keeps the sender's exact octets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: Box<str>,
    at: usize,
}

/// Why an address was not taken; the text is fit for a 501 or 553 reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress(pub &'static str);

impl Mailbox {
    /// Parses `local@domain` without angle brackets. Limits: 64 octets local part, 255 domain (RFC 5321 §4.5.3.1).
    /// Non-ASCII octets are an error unless `utf8`.
    pub fn parse(text: &str, utf8: bool) -> Result<Mailbox, BadAddress> {
        let at = if text.starts_with('"') { quoted_end(text)? } else { text.find('@').unwrap_or(text.len()) };
        let (local, rest) = text.split_at(at);
        let domain = rest.strip_prefix('@').ok_or(BadAddress("Address without a domain"))?;
        if !utf8 && !text.is_ascii() {
            return Err(BadAddress("Address needs SMTPUTF8"));
        }
        if local.len() > LOCAL_PART {
            return Err(BadAddress("Local part too long"));
        }
        if !local.starts_with('"') && !local.split('.').all(is_atom) {
            return Err(BadAddress("Bad local part"));
        }
        check_domain(domain)?;
        Ok(Mailbox { text: text.into(), at })
    }
    /// The part before the at sign, with its quotes if it had any.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }
    /// The part behind the at sign: a domain as written, or an address literal in brackets.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
    /// The domain in lower case: the key that settings are looked up by.
    pub fn domain_key(&self) -> String {
        self.domain().to_lowercase()
    }
    /// The whole address in lower case: the key of caches and lists (DESIGN: keys are case-folded).
    pub fn key(&self) -> String {
        self.text.to_lowercase()
    }
    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// True if it can only be carried with SMTPUTF8.
    pub fn needs_utf8(&self) -> bool {
        !self.text.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

/// MAIL FROM: an address, or the null reverse path `<>`, which gets no bounce.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`.
    Null,
    /// An address.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The address, if there is one.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox),
        }
    }
    /// The text between the angle brackets; empty for the null reverse path.
    pub fn as_str(&self) -> &str {
        self.mailbox().map_or("", Mailbox::as_str)
    }
}

/// What stands between angle brackets, before anyone knows whether it is a reverse path or a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `<>`.
    Null,
    /// `<postmaster>`, in any case, as it was written (RFC 5321 §4.5.1).
    Postmaster(String),
    /// An address; a source route before it was checked and dropped.
    Mailbox(Mailbox),
}

impl Path {
    /// Parses `<...>` at the start of `text`; gives what follows the closing bracket too. Non-ASCII addresses are
    /// taken here: whether they may stand depends on parameters that come later.
    pub(crate) fn parse(text: &str) -> Result<(Path, &str), BadAddress> {
        let inner = text.strip_prefix('<').ok_or(BadAddress("Address must stand in angle brackets"))?;
        let close = closing_bracket(inner).ok_or(BadAddress("Address without a closing bracket"))?;
        let (inside, rest) = (&inner[..close], &inner[close + 1..]);
        if inside.is_empty() {
            return Ok((Path::Null, rest));
        }
        if inside.eq_ignore_ascii_case("postmaster") {
            return Ok((Path::Postmaster(inside.to_owned()), rest));
        }
        Ok((Path::Mailbox(Mailbox::parse(without_route(inside)?, true)?), rest))
    }
}

/// The first `>` that is not inside a quoted string.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Drops `@a,@b:` (RFC 5321 appendix C: a source route is accepted and ignored).
fn without_route(text: &str) -> Result<&str, BadAddress> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    // An address literal in a route may hold colons, so the route is walked, not split.
    let mut rest = text;
    loop {
        rest = rest.strip_prefix('@').ok_or(BadAddress("Bad source route"))?;
        let end = if rest.starts_with('[') { rest.find(']').map(|at| at + 1) } else { rest.find([',', ':']) };
        let (domain, after) = rest.split_at(end.ok_or(BadAddress("Bad source route"))?);
        check_domain(domain)?;
        match after.as_bytes().first() {
            Some(b',') => rest = &after[1..],
            Some(b':') => return Ok(&after[1..]),
            _ => return Err(BadAddress("Bad source route")),
        }
    }
}

/// Length of the quoted string that `text` starts with (RFC 5321 §4.1.2 `Quoted-string`).
fn quoted_end(text: &str) -> Result<usize, BadAddress> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(at + 1),
            '\\' if !matches!(chars.next(), Some((_, ' '..='~'))) => break,
            c if c.is_control() => break,
            _ => {}
        }
    }
    Err(BadAddress("Bad quoted local part"))
}

/// RFC 5321 `Atom`, with the non-ASCII characters of RFC 6531.
fn is_atom(text: &str) -> bool {
    let atext = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
    };
    !text.is_empty() && text.chars().all(atext)
}

/// RFC 5321 `Domain` or `address-literal`.
fn check_domain(domain: &str) -> Result<(), BadAddress> {
    if domain.len() > DOMAIN {
        return Err(BadAddress("Domain too long"));
    }
    if let Some(literal) = domain.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(BadAddress("Bad address literal"))?;
        let ok = match literal.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => literal[5..].parse::<Ipv6Addr>().is_ok(),
            _ => literal.parse::<Ipv4Addr>().is_ok(),
        };
        return if ok { Ok(()) } else { Err(BadAddress("Bad address literal")) };
    }
    if domain.split('.').all(is_label) { Ok(()) } else { Err(BadAddress("Bad domain")) }
}

/// RFC 5321 `sub-domain`, or a U-label of RFC 6531.
fn is_label(text: &str) -> bool {
    let inner = |c: char| {
        c.is_ascii_alphanumeric() || c == '-' || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
    };
    !text.is_empty()
        && text.len() <= LABEL
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_rfc_5321_has_them() {
        for (text, local, domain) in [
            ("a@b", "a", "b"),
            ("first.last+tag@mail.example", "first.last+tag", "mail.example"),
            (r#""a@b"@c.example"#, r#""a@b""#, "c.example"),
            (r#""a\"b"@c.example"#, r#""a\"b""#, "c.example"),
            (r#""a b"@c"#, r#""a b""#, "c"),
            ("user%other.example@c.example", "user%other.example", "c.example"),
            ("other.example!user@c.example", "other.example!user", "c.example"),
            ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"),
            ("Jörg@müller.example", "Jörg", "müller.example"),
        ] {
            let mailbox = Mailbox::parse(text, true).unwrap();
            assert_eq!((mailbox.local(), mailbox.domain(), mailbox.as_str()), (local, domain, text));
        }
    }

    #[test]
    fn what_rfc_5321_does_not_know_is_refused() {
        for text in [
            "",
            "a",
            "@b",
            "a@",
            "a@@b",
            "a@b@c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a b@c",
            "a@b c",
            "a@b.",
            "a@.b",
            "a@-b",
            "a@b-",
            "a@b_c",
            "a@[1.2.3]",
            "a@[1.2.3.4",
            "a@[01.2.3.4]",
            "a@[IPv6:zz]",
            "a@[x:y]",
            r#""a@b"#,
            r#""a"b@c"#,
            "\"a\u{1}\"@b",
            "a\u{85}@b",
            "a@b\0",
            "<a@b>",
            "a@[IPv6:1.2.3.4]",
        ] {
            assert!(Mailbox::parse(text, true).is_err(), "{text:?}");
        }
        assert!(Mailbox::parse("jörg@b", false).is_err());
    }

    #[test]
    fn length_limits_hold_to_the_octet() {
        let labels = |n: usize| format!("{}.{}", vec!["a".repeat(63); 3].join("."), "b".repeat(n));
        assert!(Mailbox::parse(&format!("{}@b", "a".repeat(64)), false).is_ok());
        assert!(Mailbox::parse(&format!("{}@b", "a".repeat(65)), false).is_err());
        assert!(Mailbox::parse(&format!("a@{}", labels(63)), false).is_ok());
        assert!(Mailbox::parse(&format!("a@{}.c", labels(63)), false).is_err());
        assert!(Mailbox::parse(&format!("a@{}", "b".repeat(64)), false).is_err());
    }

    #[test]
    fn a_source_route_is_dropped_and_the_last_address_stands() {
        let parsed = |text| Path::parse(text).unwrap();
        let mailbox = |text| Path::Mailbox(Mailbox::parse(text, false).unwrap());
        assert_eq!(parsed("<@a.example,@[IPv6:::1]:u@c.example> X"), (mailbox("u@c.example"), " X"));
        assert_eq!(parsed("<>"), (Path::Null, ""));
        assert_eq!(parsed("<PostMaster>"), (Path::Postmaster("PostMaster".into()), ""));
        assert_eq!(parsed(r#"<"a>b"@c> SIZE=1"#), (mailbox(r#""a>b"@c"#), " SIZE=1"));
        for text in ["<@a:>", "<@a,b:c@d>", "<@a>", "<a@b", "a@b", "<@:c@d>", "< a@b>", "<a@b >"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
