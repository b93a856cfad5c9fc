//! Server side of BDAT: its size, read strictly (RFC 3030 §2). What can be counted is always consumed, also after a
//! refusal; what cannot be counted ends the session, as the chunk would be read as commands.
//!
//! Proof: `transcripts/attacks/bdat_*`.

use super::replies;
use crate::reply::Reply;

/// What `BDAT size [LAST]` says.
pub(super) enum Chunk {
    /// A chunk follows; `fault` if the line has one besides.
    Counted { size: u64, last: bool, fault: Option<Reply> },
    /// Nobody knows how many octets follow.
    Uncountable(Reply),
}

/// Digits only: no sign, no blank inside, no wrap at 64 bits.
pub(super) fn parse(argument: &str) -> Chunk {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let digits = words.next().unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Chunk::Uncountable(replies::syntax("BDAT needs a size"));
    }
    let Ok(size) = digits.parse() else { return Chunk::Uncountable(replies::too_big()) };
    match (words.next(), words.next()) {
        (None, _) => Chunk::Counted { size, last: false, fault: None },
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => {
            Chunk::Counted { size, last: true, fault: None }
        }
        _ => Chunk::Counted {
            size,
            last: false,
            fault: Some(replies::syntax("Only LAST may follow the size")),
        },
    }
}
