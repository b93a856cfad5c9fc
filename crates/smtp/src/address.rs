//! Addresses: parsed once here, trusted afterwards. No function takes a `&str` address past this file.
//!
//! Percent signs, bangs and quoted at signs in a local part are data, never routing; a source route
//! (`<@a,@b:user@c>`) is parsed and dropped (RFC 5321 appendix C). Proof: `transcripts/attacks/relay_*`.

use std::fmt;

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
        let _ = (text, utf8);
        todo!("server-side owner")
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
