//! Authenticated Received Chains (RFC 8617): how a chain came, and our own set on top of it.
//!
//! A set is made when a message leaves that we have altered: the author's signature no longer holds, but the next server
//! reads what we had found, under our seal. What was found stands in the `Authentication-Results` that reception wrote,
//! and is read from our own octets on top of the message alone. Never extends a chain that has failed before.
//! Proof: tests below, `tests/arc.rs`.

use std::fmt::Write;

use mail_auth::AuthenticatedMessage;
use mail_auth::arc::ChainValidation;
use mail_auth::common::crypto::{HashContext, HashImpl, Sha256, SigningKey};
use mail_auth::dkim::Canonicalization;
use mail_auth::dkim::canonicalize::BodyHasher;
use vouchsafe_core::Timestamp;
use vouchsafe_smtp::sasl::encode_base64;

use super::signing::{Key, LIST, ONCE, TWICE};

/// Sets of one message (RFC 8617 §4.2.1).
const SETS: u32 = 50;
/// Octets of a line of our fields, but for its tab.
const LINE: usize = 72;

/// How the chain of a message came (RFC 8617 §4.4); without a chain there is nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    Pass,
    Fail,
}

impl Chain {
    pub fn word(self) -> &'static str {
        match self {
            Chain::Pass => "pass",
            Chain::Fail => "fail",
        }
    }

    /// Writes it into our `Authentication-Results` as the first result: no word of a peer stands before it.
    pub fn tell(self, header: &mut String) {
        let at = header.find(';').unwrap_or(header.len());
        header.insert_str(at, &format!(";\r\n\tarc={}", self.word()));
    }

    /// What was told in results of ours.
    fn told(results: &str) -> Option<Chain> {
        let (_, first) = results.split_once(';')?;
        let word = first.trim_start().strip_prefix("arc=")?;
        [Chain::Pass, Chain::Fail].into_iter().find(|chain| {
            word.strip_prefix(chain.word()).is_some_and(|rest| rest.is_empty() || rest.starts_with(';'))
        })
    }
}

/// It came with fields of a chain, whole or not.
pub(super) fn has_chain(message: &AuthenticatedMessage<'_>) -> bool {
    message.has_arc_errors
        || !message.as_headers.is_empty()
        || !message.ams_headers.is_empty()
        || !message.aar_headers.is_empty()
}

/// A set of ours over a message whose header has been read; its body follows.
pub(super) struct Seal<'k> {
    key: &'k Key,
    instance: u32,
    chain: Option<Chain>,
    now: Timestamp,
    /// The authserv-id and what it found.
    results: String,
    /// Names of the signed fields, from the last one up, and these fields in canonical form.
    names: Vec<&'static str>,
    fields: Vec<u8>,
    /// The sets so far in canonical form.
    sets: Vec<u8>,
    body: BodyHasher<<Sha256 as HashImpl>::Context>,
}

impl<'k> Seal<'k> {
    /// Over the message of this header, the first `own` octets of which we have written. `None`: we have not told how it
    /// came, or its chain may not be extended.
    pub fn begin(key: &'k Key, header: &[u8], own: usize, now: Timestamp) -> Option<Seal<'k>> {
        let results = results(header.get(..own)?)?;
        let message = AuthenticatedMessage::parse(header)?;
        let (instance, chain) = next(&message, Chain::told(&results))?;
        let sets = match chain {
            Some(Chain::Pass) => sets(&message),
            // RFC 8617 §5.1.2: a seal over a failed chain covers its own set alone.
            Some(Chain::Fail) | None => Vec::new(),
        };
        let (names, fields) = signed(&message);
        let body = BodyHasher::new(Sha256::hasher(), Canonicalization::Relaxed, 0);
        Some(Seal { key, instance, chain, now, results, names, fields, sets, body })
    }

    /// Takes octets of the body, in order.
    pub fn write(&mut self, octets: &[u8]) {
        self.body.write(octets);
    }

    /// The body has ended: the set, each field ending in CRLF.
    pub fn finish(self) -> mail_auth::Result<String> {
        let Seal { key, instance, chain, now, results, names, mut fields, mut sets, body } = self;
        let digest = encode_base64(body.finish().0.complete().as_ref());
        let (algorithm, seconds) = (key.key.algorithm().name(), now.0 / 1_000_000);
        let signer = format!("d={}; s={}; t={seconds}", key.domain, key.selector);
        let results = format!("ARC-Authentication-Results: i={instance}; {results}\r\n");

        let mut signature = format!(
            "ARC-Message-Signature: i={instance}; a={algorithm}; c=relaxed/relaxed;\r\n\t{signer};\r\n\th={};\r\n\tbh={digest};\r\n\tb=",
            folded(names.iter().map(|name| format!("{name}:"))).trim_end_matches(':'),
        );
        canonical(&signature, &mut fields);
        signature += &signed_by(key, &fields)?;

        let cv = chain.map_or("none", Chain::word);
        let mut seal = format!("ARC-Seal: i={instance}; a={algorithm}; cv={cv};\r\n\t{signer};\r\n\tb=");
        // RFC 8617 §5.1.1: results, signature, seal, oldest set first.
        canonical(&results, &mut sets);
        canonical(&signature, &mut sets);
        canonical(&seal, &mut sets);
        seal += &signed_by(key, &sets)?;
        Ok(seal + &signature + &results)
    }
}

/// `Authentication-Results` of the octets that we put on top, from behind its colon to its end.
fn results(own: &[u8]) -> Option<String> {
    let own = AuthenticatedMessage::parse(own)?;
    let is_results = |name: &[u8]| name.eq_ignore_ascii_case(b"Authentication-Results");
    let (_, value) = own.headers.iter().find(|(name, _)| is_results(name))?;
    std::str::from_utf8(value).ok().map(|value| value.trim().to_owned())
}

/// Which set is the next, and how its chain came. `None`: there may be none, or it is not known how the chain came.
fn next(message: &AuthenticatedMessage<'_>, told: Option<Chain>) -> Option<(u32, Option<Chain>)> {
    if !has_chain(message) {
        return Some((1, None));
    }
    let told = told?;
    // RFC 8617 §5.1: whoever found a chain failed was the last to extend it.
    if message.as_headers.iter().any(|seal| seal.header.cv == ChainValidation::Fail) {
        return None;
    }
    let seals = message.as_headers.iter().map(|field| field.header.i);
    let signatures = message.ams_headers.iter().map(|field| field.header.i);
    let results = message.aar_headers.iter().map(|field| field.header.i);
    let last = seals.chain(signatures).chain(results).max().unwrap_or(0);
    (last < SETS).then_some((last + 1, Some(told)))
}

/// All sets of a chain that has passed.
fn sets(message: &AuthenticatedMessage<'_>) -> Vec<u8> {
    let mut sets = Vec::new();
    let all = message.aar_headers.iter().zip(&message.ams_headers).zip(&message.as_headers);
    for ((results, signature), seal) in all {
        let fields =
            [(results.name, results.value), (signature.name, signature.value), (seal.name, seal.value)];
        Canonicalization::Relaxed.canonicalize_headers(fields.into_iter(), &mut sets);
    }
    sets
}

/// What our signatures sign (`signing`), and the author's signatures (RFC 8617 §4.1.2); from the last field up, then
/// those that may not be added.
fn signed(message: &AuthenticatedMessage<'_>) -> (Vec<&'static str>, Vec<u8>) {
    let known = || TWICE.into_iter().chain(ONCE).chain(LIST).chain(["DKIM-Signature"]);
    let (mut names, mut fields) = (Vec::new(), Vec::new());
    for &(name, value) in message.headers.iter().rev() {
        if let Some(known) = known().find(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
            names.push(known);
            Canonicalization::Relaxed.canonicalize_headers([(name, value)].into_iter(), &mut fields);
        }
    }
    let missing = ONCE.into_iter().filter(|once| !names.contains(once)).collect::<Vec<_>>();
    names.extend(TWICE.into_iter().chain(missing));
    (names, fields)
}

/// Adds a field of ours in canonical form, with its CRLF if it has ended.
fn canonical(field: &str, octets: &mut Vec<u8>) {
    if let Some((name, value)) = field.split_once(':') {
        let field = [(name.as_bytes(), value.as_bytes())];
        Canonicalization::Relaxed.canonicalize_headers(field.into_iter(), octets);
    }
}

/// The value of `b=`, folded, with its field's end.
fn signed_by(key: &Key, octets: &[u8]) -> mail_auth::Result<String> {
    let signature = encode_base64(&key.key.sign(octets)?);
    let pieces =
        signature.as_bytes().chunks(LINE - 2).map(|piece| String::from_utf8_lossy(piece).into_owned());
    Ok(folded(pieces) + "\r\n")
}

/// Pieces one behind the other, a line as long as it may be.
fn folded(pieces: impl Iterator<Item = String>) -> String {
    let (mut text, mut line) = (String::new(), 2);
    for piece in pieces {
        if line + piece.len() > LINE {
            text += "\r\n\t";
            line = 0;
        }
        line += piece.len();
        let _ = write!(text, "{piece}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_result_tells_of_the_chain() {
        let mut header = "Authentication-Results: gate.example;\r\n\tspf=none;\r\n\tdkim=none\r\n".to_owned();
        Chain::Fail.tell(&mut header);
        assert_eq!(
            header,
            "Authentication-Results: gate.example;\r\n\tarc=fail;\r\n\tspf=none;\r\n\tdkim=none\r\n"
        );
        for (results, chain) in [
            ("gate.example;\r\n\tarc=pass;\r\n\tspf=none", Some(Chain::Pass)),
            ("gate.example;\r\n\tarc=fail", Some(Chain::Fail)),
            ("gate.example;\r\n\tspf=none smtp.mailfrom=\"a;\r\n\tarc=pass\"@x.example", None),
            ("gate.example;\r\n\tarc=passed;\r\n\tspf=none", None),
            ("gate.example; spf=none; arc=pass", None),
            ("gate.example", None),
        ] {
            assert_eq!(Chain::told(results), chain, "{results}");
        }
    }

    #[test]
    fn no_line_is_long() {
        let names = ["From", "Content-Transfer-Encoding", "List-Unsubscribe-Post"].repeat(40);
        let text = folded(names.iter().map(|name| format!("{name}:")));
        assert!(text.lines().all(|line| line.len() <= LINE + 1), "{text}");
        assert_eq!(text.replace("\r\n\t", "").matches(':').count(), 120);
    }
}
