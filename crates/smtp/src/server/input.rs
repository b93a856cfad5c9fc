//! Octets received and not yet used, and the lines in them. Only CRLF ends a line (RFC 5321 §2.3.8).
//!
//! Bounded: a line past its limit is dropped as it comes, and answered once when its CRLF came. An octet that no
//! command may hold (NUL, bare CR, bare LF) makes its whole line bad. Proof: `transcripts/server/line_*`.

use std::ops::Range;

use memchr::{memchr_iter, memchr3};
use zeroize::Zeroizing;

use crate::limits::Limits;
use crate::reply::printable;

/// What the front of the input is, read as a line.
pub(super) enum Line {
    /// No whole line yet.
    Partial,
    /// A line without its CRLF; wiped when dropped, as it may hold a credential.
    Whole(Zeroizing<Vec<u8>>),
    /// A line past its limit; `auth` tells which limit.
    TooLong { auth: bool },
    /// A line with NUL, bare CR or bare LF.
    BadOctet,
}

/// The receive buffer.
#[derive(Default)]
pub(super) struct Input {
    octets: Vec<u8>,
    start: usize,
    /// Dropping an endless line until its CRLF comes; the value tells whether it is an AUTH line.
    dropping: Option<bool>,
    /// Lines as the trace shows them, while someone listens: credentials masked.
    heard: Option<Vec<String>>,
}

/// Characters of a line in the trace.
const TRACED: usize = 500;

impl Input {
    /// Begins or ends noting lines for the trace.
    pub(super) fn set_traced(&mut self, traced: bool) {
        if self.heard.is_some() != traced {
            self.heard = traced.then(Vec::new);
        }
    }
    /// The lines noted since the last call.
    pub(super) fn take_heard(&mut self) -> Vec<String> {
        self.heard.as_mut().map(std::mem::take).unwrap_or_default()
    }
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.octets.drain(..self.start);
        self.start = 0;
        self.octets.extend_from_slice(bytes);
    }
    pub(super) fn rest(&self) -> &[u8] {
        &self.octets[self.start..]
    }
    /// Uses `n` octets; gives the place where they stand until the next `push`.
    pub(super) fn consume(&mut self, n: usize) -> Range<usize> {
        let used = self.start..self.start + n;
        self.start = used.end;
        used
    }
    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.octets[range]
    }
    pub(super) fn clear(&mut self) {
        *self = Input { heard: self.heard.take(), ..Input::default() };
    }
    /// Gives memory back if nothing is kept.
    pub(super) fn release(&mut self) {
        if self.rest().is_empty() {
            self.octets = Vec::new();
            self.start = 0;
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// The next line that is whole and clean and within the command limit, left where it is.
    pub(super) fn peek(&self, limits: &Limits) -> Option<&[u8]> {
        let rest = self.rest();
        let at = line_end(rest).filter(|at| self.dropping.is_none() && at + 2 <= limits.command_line)?;
        Some(&rest[..at]).filter(|line| is_clean(line))
    }

    /// Takes a line. `response`: a SASL response is awaited, so the limit is that of AUTH.
    pub(super) fn line(&mut self, limits: &Limits, response: bool) -> Line {
        let rest = &self.octets[self.start..];
        let auth_verb = rest.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH "));
        let auth = self.dropping.unwrap_or(response || auth_verb);
        let limit = if auth { limits.auth_line } else { limits.command_line };
        let Some(at) = line_end(rest) else {
            if self.dropping.is_some() || rest.len() >= limit {
                let keep = usize::from(rest.ends_with(b"\r"));
                self.dropping = Some(auth);
                self.consume(self.rest().len() - keep);
            }
            return Line::Partial;
        };
        let dropped = self.dropping.take().is_some();
        let whole = self.consume(at + 2);
        let line = &mut self.octets[whole.start..whole.end - 2];
        let outcome = if dropped || at + 2 > limit {
            Line::TooLong { auth }
        } else if !is_clean(line) {
            Line::BadOctet
        } else {
            Line::Whole(Zeroizing::new(line.to_vec()))
        };
        if let Some(heard) = &mut self.heard {
            heard.push(match &outcome {
                Line::Whole(_) if response => "***".to_owned(),
                Line::Whole(line) if auth_verb => {
                    let mechanism = line[5..].split(|octet| *octet == b' ').next().unwrap_or_default();
                    format!("AUTH {} ***", printable(mechanism, 40))
                }
                Line::Whole(line) => printable(line, TRACED),
                _ => "(a line that is no command)".to_owned(),
            });
        }
        if auth {
            line.fill(0);
        }
        outcome
    }
}

/// Where the first CRLF stands.
fn line_end(octets: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', octets).find(|at| *at > 0 && octets[at - 1] == b'\r').map(|at| at - 1)
}

fn is_clean(line: &[u8]) -> bool {
    memchr3(b'\r', b'\n', 0, line).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_line_is_not_kept() {
        let (mut input, limits) = (Input::default(), Limits::default());
        for _ in 0..100 {
            input.push(&[b'x'; 4096]);
            assert!(matches!(input.line(&limits, false), Line::Partial));
            assert!(input.rest().is_empty());
        }
        input.push(b"\r\nNOOP\r\n");
        assert!(matches!(input.line(&limits, false), Line::TooLong { auth: false }));
        assert!(matches!(input.line(&limits, false), Line::Whole(line) if *line == b"NOOP"));
    }

    #[test]
    fn a_credential_is_wiped_where_it_stood() {
        let (mut input, limits) = (Input::default(), Limits::default());
        input.push(b"auth PLAIN c2VjcmV0\r\nNOOP\r\n");
        assert!(matches!(input.line(&limits, false), Line::Whole(_)));
        assert!(!input.octets.windows(4).any(|four| four == b"c2Vj"));
    }
}
