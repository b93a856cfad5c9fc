//! What was said to a fake and what it answered, for tests and for the demo.
//! Credentials are never in it: the line behind AUTH and its continuations are `***`.

use std::fmt;

/// One line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which connection, counted from 1.
    pub session: u64,
    /// From the peer (the gateway) or from the fake.
    pub from_peer: bool,
    /// Without its CRLF; a body is one line that tells its size.
    pub text: String,
}

/// `>` towards the fake, `<` from it, as transcripts write it behind `D` or `N`.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.from_peer { '>' } else { '<' }, self.text)
    }
}

/// The newest lines, at most a named number; none at all where nobody reads them (the benches).
#[derive(Debug)]
pub(crate) struct Dialogue {
    lines: std::collections::VecDeque<Line>,
    limit: usize,
}

impl Dialogue {
    pub(crate) fn new(limit: usize) -> Dialogue {
        Dialogue { lines: std::collections::VecDeque::new(), limit }
    }
    pub(crate) fn push(&mut self, session: u64, from_peer: bool, text: String) {
        if self.lines.len() == self.limit {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { session, from_peer, text });
    }
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.iter().cloned().collect()
    }
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }
}
