//! Base64 bodies, strictly: decoded as they stream by, with their line layout noted, so that the raw octets can be
//! written again exactly.
//!
//! Strict means: lines of the alphabet that end in CRLF, padding at the end and canonical. Anything else that some
//! parser might read in its own way (blanks, other characters, missing padding, a second run of base64) is
//! [`Unclean`]. Never guesses. Proof: the property tests below restore any clean body octet for octet.

use base64_simd::STANDARD;

use crate::coding::Unclean;
use crate::limits::LAYOUT;

/// Lines of one length, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    len: u64,
    lines: u64,
}

/// A strict decoder. Cheap to clone: a clone is a note of where the body stood.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// Characters that do not make a group of four yet.
    group: [u8; 4],
    grouped: usize,
    /// Padding was seen: nothing but line ends may follow.
    padded: bool,
    /// Characters of the line that has not ended.
    line: u64,
    /// A CR whose LF has not come.
    cr: bool,
    runs: Vec<Run>,
    /// More line lengths than [`LAYOUT`]: decodes, but cannot be written again.
    ragged: bool,
}

impl Decoder {
    /// Decodes the next octets into `out`. After an error the body is not clean and the decoder of no more use.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unclean> {
        let start = out.len();
        let decoded = self.decode(octets, out, start);
        if decoded.is_err() {
            out.truncate(start);
        }
        decoded
    }

    fn decode(&mut self, octets: &[u8], out: &mut Vec<u8>, start: usize) -> Result<(), Unclean> {
        out.reserve(octets.len() + 4);
        out.extend_from_slice(&self.group[..self.grouped]);
        let mut rest = octets;
        while !rest.is_empty() {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.part_of_line(rest, out)?;
                break;
            };
            self.part_of_line(&rest[..end], out)?;
            if !std::mem::take(&mut self.cr) {
                return Err(Unclean("a bare line feed in base64"));
            }
            self.end_line();
            rest = &rest[end + 1..];
        }
        let characters = out.len() - start;
        let whole = characters / 4 * 4;
        self.grouped = characters - whole;
        self.group[..self.grouped].copy_from_slice(&out[start + whole..]);
        out.truncate(start + whole);
        if whole > 0 {
            if self.padded {
                return Err(Unclean("base64 goes on behind its padding"));
            }
            self.padded = out.last() == Some(&b'=');
            let len = match STANDARD.decode_inplace(&mut out[start..]) {
                Ok(decoded) => decoded.len(),
                Err(_) => return Err(Unclean("characters that are not canonical base64")),
            };
            out.truncate(start + len);
        }
        if self.padded && self.grouped > 0 {
            return Err(Unclean("base64 goes on behind its padding"));
        }
        Ok(())
    }

    /// Characters of one line, perhaps with the CR at its end.
    fn part_of_line(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Unclean> {
        if self.cr && !octets.is_empty() {
            return Err(Unclean("a bare carriage return in base64"));
        }
        let text = octets.strip_suffix(b"\r").inspect(|_| self.cr = true).unwrap_or(octets);
        self.line += text.len() as u64;
        out.extend_from_slice(text);
        Ok(())
    }

    fn end_line(&mut self) {
        let len = std::mem::take(&mut self.line);
        let changes = self.runs.len();
        match self.runs.last_mut() {
            Some(run) if run.len == len => run.lines += 1,
            _ if changes < LAYOUT => self.runs.push(Run { len, lines: 1 }),
            _ => self.ragged = true,
        }
    }

    /// The body has ended: was it clean?
    pub fn finish(&self) -> Result<(), Unclean> {
        match (self.grouped, self.cr) {
            (0, false) => Ok(()),
            (0, true) => Err(Unclean("a bare carriage return in base64")),
            _ => Err(Unclean("base64 ends in the middle of a group")),
        }
    }

    /// Changes of line length so far; `None`: too many to write the raw octets again.
    pub fn layout(&self) -> Option<usize> {
        (!self.ragged).then_some(self.runs.len())
    }
}

/// Writes the raw octets again of which a [`Decoder`] has made the decoded ones.
#[derive(Debug)]
pub struct Restorer {
    decoder: Decoder,
    /// Decoded octets that do not make a group of three yet.
    group: Vec<u8>,
    /// The run and line that is written.
    run: usize,
    lines: u64,
    line: u64,
}

impl Restorer {
    /// For what `decoder` has been given up to now.
    pub fn new(decoder: Decoder) -> Restorer {
        Restorer { decoder, group: Vec::new(), run: 0, lines: 0, line: 0 }
    }

    /// The next decoded octets, in any pieces.
    pub fn push(&mut self, decoded: &[u8], raw: &mut Vec<u8>) {
        self.group.extend_from_slice(decoded);
        let whole = self.group.len() / 3 * 3;
        let rest = self.group.split_off(whole);
        let octets = std::mem::replace(&mut self.group, rest);
        self.lay_out(STANDARD.encode_to_string(&octets).as_bytes(), raw);
    }

    /// All decoded octets were given.
    pub fn finish(mut self, raw: &mut Vec<u8>) {
        let octets = std::mem::take(&mut self.group);
        self.lay_out(STANDARD.encode_to_string(&octets).as_bytes(), raw);
        let (group, grouped) = (self.decoder.group, self.decoder.grouped);
        self.lay_out(&group[..grouped], raw);
        self.end_lines(raw);
        if self.decoder.cr {
            raw.push(b'\r');
        }
    }

    fn lay_out(&mut self, mut characters: &[u8], raw: &mut Vec<u8>) {
        while !characters.is_empty() {
            self.end_lines(raw);
            let room = match self.decoder.runs.get(self.run) {
                Some(run) => usize::try_from(run.len - self.line).unwrap_or(usize::MAX),
                None => usize::MAX,
            };
            let (now, later) = characters.split_at(room.min(characters.len()));
            raw.extend_from_slice(now);
            self.line += now.len() as u64;
            characters = later;
        }
    }

    /// Ends every line that is full, empty ones included.
    fn end_lines(&mut self, raw: &mut Vec<u8>) {
        while let Some(run) = self.decoder.runs.get(self.run).filter(|run| run.len == self.line) {
            raw.extend_from_slice(b"\r\n");
            self.line = 0;
            self.lines += 1;
            if self.lines == run.lines {
                (self.run, self.lines) = (self.run + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(chunks: &[&[u8]]) -> Result<Vec<u8>, Unclean> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for chunk in chunks {
            decoder.push(chunk, &mut out)?;
        }
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn clean_bodies_decode() {
        assert_eq!(decode(&[b"aGVsbG8g\r\nd29ybGQ=\r\n"]).unwrap(), b"hello world");
        assert_eq!(decode(&[b"aGVsbG8gd29ybGQ="]).unwrap(), b"hello world");
        assert_eq!(decode(&[b"\r\naG\r\n\r\nk=\r\n\r\n"]).unwrap(), b"hi");
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    #[test]
    fn what_parsers_could_read_in_two_ways_is_not_clean() {
        for body in [
            "aGk=aGk=",
            "aGk=\r\naGk=",
            "aGk",
            "aGl=",
            "aG k=",
            "aGk= ",
            "aGk=\n",
            "aG\rk=",
            "aGk=\r",
            "a-_k",
            "====",
            "aGk=\r\n.",
            "=aGk",
            "aGk=\r\n--",
        ] {
            assert!(decode(&[body.as_bytes()]).is_err(), "{body:?}");
            let octets: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
            assert!(decode(&octets).is_err(), "{body:?} by octets");
        }
    }

    #[test]
    fn a_ragged_layout_still_decodes_but_is_not_told_by_rote() {
        let body: String =
            (0..=LAYOUT).map(|at| if at % 2 == 0 { "aGVs\r\n" } else { "bG8h\r\n\r\n" }).collect();
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        decoder.push(body.as_bytes(), &mut out).unwrap();
        assert!(decoder.finish().is_ok() && decoder.layout().is_none());
    }

    proptest! {
        /// A body cut anywhere, unclean from there on, is restored octet for octet up to any chunk's edge.
        #[test]
        fn what_was_decoded_can_be_restored(
            content in proptest::collection::vec(any::<u8>(), 0..200),
            lens in proptest::collection::vec(0usize..12, 1..6),
            cuts in proptest::collection::vec(0usize..400, 0..6),
            pieces in 1usize..50,
        ) {
            let characters = STANDARD.encode_to_string(&content);
            let (mut body, mut rest, mut at) = (Vec::new(), characters.as_bytes(), 0);
            while !rest.is_empty() {
                let len = lens[at % lens.len()].min(rest.len());
                body.extend_from_slice(&rest[..len]);
                body.extend_from_slice(b"\r\n");
                rest = &rest[len..];
                at += 1;
                if at > 100 {
                    body.extend_from_slice(rest);
                    break;
                }
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            for cut in cuts.windows(2) {
                decoder.push(&body[cut[0]..cut[1]], &mut out).unwrap();
                let (mut restorer, mut raw) = (Restorer::new(decoder.clone()), Vec::new());
                out.chunks(pieces).for_each(|piece| restorer.push(piece, &mut raw));
                restorer.finish(&mut raw);
                prop_assert_eq!(&raw[..], &body[..cut[1]]);
            }
            prop_assert!(decoder.finish().is_ok());
            prop_assert_eq!(out, content);
        }

        #[test]
        fn any_split_gives_the_same_verdict(body in "[aA9+/= \r\n]{0,24}", cut in 0usize..24) {
            let octets = body.as_bytes();
            let (a, b) = octets.split_at(cut.min(octets.len()));
            prop_assert_eq!(decode(&[a, b]).ok(), decode(&[octets]).ok());
        }
    }
}
