//! Links to detached files: tokens, the secret they are drawn from, and who shares one.
//!
//! A token is 160 bits without a name or an id in it. All tokens of a message follow from one secret, which is kept with
//! the message in the queue, so that every attempt sends the same link; when the message leaves, the secret goes, and
//! only the tokens' digests stay. Proof: tests below.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::time::Timestamp;

/// Up to so many recipients each get a token of their own (with `per_recipient`).
pub const OWN_TOKENS: usize = 50;
/// The group of those who share a token.
pub const SHARED: u32 = u32::MAX;

const OCTETS: usize = 20;
/// Characters of a token: 160 bits, 5 a character.
pub const TOKEN_LEN: usize = 32;
/// RFC 4648 §6, in lower case: no character of it is cut off or changed by a mail client.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What a link proves with. Shown only as part of a link.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; OCTETS]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in self.0.chunks(5) {
            let bits = group.iter().fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
            for place in (0..8).rev() {
                let at = (bits >> (5 * place)) as usize & 0x1f;
                write!(f, "{}", char::from(ALPHABET[at]))?;
            }
        }
        Ok(())
    }
}

/// Not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoToken;

impl FromStr for Token {
    type Err = NoToken;
    fn from_str(text: &str) -> Result<Token, NoToken> {
        let text = text.as_bytes();
        if text.len() != TOKEN_LEN {
            return Err(NoToken);
        }
        let mut octets = [0; OCTETS];
        for (group, out) in text.chunks(8).zip(octets.chunks_mut(5)) {
            let mut bits = 0u64;
            for character in group {
                let value = match character.to_ascii_lowercase() {
                    letter @ b'a'..=b'z' => letter - b'a',
                    digit @ b'2'..=b'7' => digit - b'2' + 26,
                    _ => return Err(NoToken),
                };
                bits = bits << 5 | u64::from(value);
            }
            out.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        Ok(Token(octets))
    }
}

impl Token {
    /// From chance.
    pub fn new(octets: [u8; OCTETS]) -> Token {
        Token(octets)
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0).into())
    }
}

/// SHA-256 of a token: what links are looked up by. How long a look-up takes tells at most digits of the digest, from
/// which no token can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Its first digits: a name for the link that opens nothing.
    pub fn id(&self) -> String {
        crate::attachments::hex(&self.0[..6])
    }
}

/// What the tokens of a message follow from.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSecret([u8; 32]);

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(***)")
    }
}

impl LinkSecret {
    /// From chance, or from the queue.
    pub fn new(octets: [u8; 32]) -> LinkSecret {
        LinkSecret(octets)
    }

    /// For the queue.
    pub fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// The token of a group. All inputs have one length, so a digest of them in a row is as good as an HMAC.
    pub fn token(&self, group: u32) -> Token {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"vouchsafe link 1")
            .chain_update(self.0)
            .chain_update(group.to_be_bytes())
            .finalize()
            .into();
        let mut octets = [0; OCTETS];
        octets.copy_from_slice(&digest[..OCTETS]);
        Token(octets)
    }
}

/// What grants are made with: short-lived proofs that whoever holds a link has asked for a file, or has said its password.
#[derive(Clone)]
pub struct GrantKey([u8; 32]);

impl fmt::Debug for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantKey(***)")
    }
}

impl GrantKey {
    /// From chance, or from the store.
    pub fn new(octets: [u8; 32]) -> GrantKey {
        GrantKey(octets)
    }

    /// A grant of `what` for the holder of this token; of no use without the token.
    pub fn grant(&self, token: &Token, what: u32, until: Timestamp) -> String {
        let seconds = until.0.div_euclid(1_000_000);
        format!("{}{seconds:x}", self.seal(token, what, seconds))
    }

    /// Whether this grant is of ours, and not too old.
    pub fn holds(&self, token: &Token, what: u32, grant: &str, now: Timestamp) -> bool {
        let Some((seal, seconds)) = grant.split_at_checked(TOKEN_LEN) else { return false };
        let (Ok(seal), Ok(seconds)) = (seal.parse::<Token>(), i64::from_str_radix(seconds, 16)) else {
            return false;
        };
        // Digests are compared: how far they agree tells nothing of the seal.
        seconds > now.0.div_euclid(1_000_000) && seal.hash() == self.seal(token, what, seconds).hash()
    }

    /// All inputs have one length: see [`LinkSecret::token`].
    fn seal(&self, token: &Token, what: u32, seconds: i64) -> Token {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"vouchsafe grant 1")
            .chain_update(self.0)
            .chain_update(token.0)
            .chain_update(what.to_be_bytes())
            .chain_update(seconds.to_be_bytes())
            .finalize()
            .into();
        let mut octets = [0; OCTETS];
        octets.copy_from_slice(&digest[..OCTETS]);
        Token(octets)
    }
}

/// Who has a token of his own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Every recipient.
    Each,
    /// Nobody: one for all.
    All,
    /// These recipients, by their place in the message; the others share one.
    Own(Vec<u32>),
}

impl Sharing {
    /// DESIGN section 5: above [`OWN_TOKENS`] recipients, To and Cc share one, each Bcc has its own.
    pub fn new(per_recipient: bool, recipients: usize, blind: &[u32]) -> Sharing {
        match per_recipient {
            false => Sharing::All,
            true if recipients <= OWN_TOKENS => Sharing::Each,
            true => {
                let mut own = blind.to_vec();
                own.sort_unstable();
                own.dedup();
                Sharing::Own(own)
            }
        }
    }

    /// The group of a recipient of a form, by the form's number: its place, or what that form's recipients share, counted
    /// down from [`SHARED`]. Those of one group have one token.
    pub fn group(&self, form: u32, index: u32) -> u32 {
        match self {
            Sharing::Each => index,
            Sharing::Own(own) if own.binary_search(&index).is_ok() => index,
            // A message has far fewer recipients and forms than would meet.
            Sharing::All | Sharing::Own(_) => SHARED - form,
        }
    }

    /// The groups of these recipients of a form and who is in each.
    pub fn groups(&self, form: u32, indexes: impl IntoIterator<Item = u32>) -> BTreeMap<u32, Vec<u32>> {
        let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for index in indexes {
            groups.entry(self.group(form, index)).or_default().push(index);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_steady_and_differ_by_secret_and_group() {
        let secret = LinkSecret::new([7; 32]);
        let text = secret.token(3).to_string();
        assert_eq!(text.len(), TOKEN_LEN);
        assert_eq!(text, LinkSecret::new([7; 32]).token(3).to_string());
        assert_ne!(text, secret.token(4).to_string());
        assert_ne!(text, LinkSecret::new([8; 32]).token(3).to_string());
        assert_eq!(text.parse::<Token>().unwrap().hash(), secret.token(3).hash());
        assert_eq!(text.to_uppercase().parse::<Token>().unwrap(), secret.token(3));
    }

    #[test]
    fn what_a_token_is_never_stands_in_a_log() {
        let secret = LinkSecret::new([7; 32]);
        assert_eq!(format!("{secret:?} {:?}", secret.token(1)), "LinkSecret(***) Token(***)");
    }

    #[test]
    fn a_grant_is_for_one_token_one_file_and_a_while() {
        let (key, token, now) = (GrantKey::new([1; 32]), Token([2; 20]), Timestamp(1_800_000_000_000_000));
        let until = Timestamp(now.0 + 60_000_000);
        let grant = key.grant(&token, 3, until);
        assert!(key.holds(&token, 3, &grant, now));
        assert!(!key.holds(&token, 3, &grant, until));
        assert!(!key.holds(&token, 4, &grant, now));
        assert!(!key.holds(&Token([3; 20]), 3, &grant, now));
        assert!(!GrantKey::new([2; 32]).holds(&token, 3, &grant, now));
        let longer = format!("{}7fffffff", &grant[..TOKEN_LEN]);
        for wrong in ["", "a", &longer, &grant[..TOKEN_LEN], &format!("-{grant}"), "ä".repeat(40).as_str()] {
            assert!(!key.holds(&token, 3, wrong, now), "{wrong}");
        }
        assert_eq!(format!("{key:?}"), "GrantKey(***)");
    }

    #[test]
    fn above_fifty_to_and_cc_share_and_each_bcc_has_its_own() {
        assert_eq!(Sharing::new(true, 50, &[3]).groups(0, 0..3).len(), 3);
        assert_eq!(Sharing::new(false, 3, &[1]).groups(0, 0..3).into_keys().collect::<Vec<_>>(), [SHARED]);
        let many = Sharing::new(true, 51, &[9, 4, 9]);
        let groups = many.groups(0, 0..51);
        assert_eq!(groups.keys().copied().collect::<Vec<_>>(), [4, 9, SHARED]);
        assert_eq!((groups[&4].clone(), groups[&SHARED].len()), (vec![4], 49));
        // Whose forms differ have no token in common.
        assert_eq!(
            many.groups(1, [3, 4, 5]).into_iter().collect::<Vec<_>>(),
            [(4, vec![4]), (SHARED - 1, vec![3, 5])]
        );
    }

    proptest! {
        #[test]
        fn a_token_reads_as_it_is_written(octets: [u8; 20]) {
            let token = Token(octets);
            prop_assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
        }

        #[test]
        fn nothing_else_is_a_token(text in "\\PC{0,40}") {
            if let Ok(token) = text.parse::<Token>() {
                prop_assert_eq!(token.to_string(), text.to_ascii_lowercase());
            }
        }
    }
}
