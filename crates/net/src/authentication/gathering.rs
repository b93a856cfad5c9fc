//! A message's header, gathered from its octets as they come: kept until its empty line, never past a limit.
//!
//! Proof: the tests of `reading` and of `tests/authentication.rs`, at any split.

/// What the octets so far have been.
pub(super) enum Gathered {
    /// The header goes on.
    Header,
    /// It is longer than it may be: nothing is kept, nothing more is taken.
    TooLong,
    /// It has ended; these are the first octets of the body.
    Body(Vec<u8>),
}

/// A header of at most so many octets, its empty line counted.
#[derive(Default)]
pub(super) struct Gathering<const LIMIT: usize> {
    octets: Vec<u8>,
    /// How far it was searched for its end.
    searched: usize,
}

impl<const LIMIT: usize> Gathering<LIMIT> {
    /// Takes octets, in order, until the header has ended.
    pub fn push(&mut self, octets: &[u8]) -> Gathered {
        self.octets.extend_from_slice(octets);
        let bare = self.octets.starts_with(b"\r\n").then_some(2);
        let from = self.searched.saturating_sub(3);
        let end = bare.or_else(|| {
            let found = self.octets[from..].windows(4).position(|four| four == b"\r\n\r\n");
            found.map(|at| from + at + 4)
        });
        self.searched = self.octets.len();
        if end.unwrap_or(self.octets.len()) > LIMIT {
            self.octets = Vec::new();
            return Gathered::TooLong;
        }
        end.map_or(Gathered::Header, |end| Gathered::Body(self.octets.split_off(end)))
    }

    /// What has been gathered, with the empty line if that has come.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The same, kept.
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}
