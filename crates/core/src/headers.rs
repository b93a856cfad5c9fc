//! Scans a message's header while it is received: notes what it holds, drops the three fields that a submission
//! must not carry on (RFC 6409 §8; RFC 5322 §3.6.3 for Bcc; RFC 5321 §4.4 for Return-Path), and results of
//! authentication that only we may have written (RFC 8601 §5).
//!
//! Bounded: a field is held back only until its name is known, at most [`NAME`] octets; `Authentication-Results` until
//! it ends, at most [`RESULTS`] octets. Never changes an octet that it passes on, never looks into the body. Proof: tests below (any split of the input gives the same output).

use crate::authors::{Claim, Claims};

/// Octets that are held back while a field's name is looked for (RFC 5322 §2.1.1: a line has at most 998).
const NAME: usize = 998;
/// Octets of an `Authentication-Results` field by which it must have said whose it is.
const RESULTS: usize = 8 * 1024;

/// What is done to a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Nothing (promise 7).
    Untouched,
    /// `Bcc`, `Resent-Bcc` and `Return-Path` are dropped whole, nothing else.
    Submission,
}

/// What was seen in a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderFacts {
    /// A `Date` field.
    pub has_date: bool,
    /// A `Message-ID` field.
    pub has_message_id: bool,
    /// `Received` fields: the hops so far (RFC 5321 §6.3).
    pub received: usize,
    /// Those that we have written ourselves: how often the message has been here.
    pub own: usize,
    /// Octets above 127: the header needs SMTPUTF8 (RFC 6531) if it is to be understood.
    pub eight_bit: bool,
    /// The message begins with neither a field nor the empty line: what is put on top must end with one.
    pub no_header: bool,
    /// From and Sender, where they are looked for.
    pub claims: Claims,
}

/// Where in a line the scanner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before its first octet.
    Start,
    /// In what may be a field's name; it is held back.
    Name,
    /// Behind the CR of what may be the empty line.
    Empty,
    /// Behind the name: passed on.
    Pass,
    /// Behind the name of a field that is dropped.
    Drop,
    /// In a field that is held back until it is known who wrote it.
    Judge,
    /// Behind the header.
    Body,
}

/// The scanner; one per message.
#[derive(Debug)]
pub struct HeaderScanner {
    fix: Fix,
    at: At,
    /// What was decided for the current field; its folded lines share its fate. `None` before the first field.
    field: Option<At>,
    held: Vec<u8>,
    facts: HeaderFacts,
    /// What our own `Received` fields hold; empty: they are not looked for.
    mark: Vec<u8>,
    /// The `Received` field under way, at most [`NAME`] octets of it.
    trace: Option<Vec<u8>>,
    /// From and Sender are kept.
    authors: bool,
    /// The From or Sender field under way.
    claim: Option<Claim>,
    /// The authserv-id whose results are dropped.
    forged: Option<String>,
    /// The `Authentication-Results` field under way, and where behind its colon it begins.
    results: (Vec<u8>, usize),
}

impl HeaderScanner {
    /// A scanner before the first octet.
    pub fn new(fix: Fix) -> HeaderScanner {
        HeaderScanner {
            fix,
            at: At::Start,
            field: None,
            held: Vec::new(),
            facts: HeaderFacts::default(),
            mark: Vec::new(),
            trace: None,
            authors: false,
            claim: None,
            forged: None,
            results: (Vec::new(), 0),
        }
    }

    /// Drops `Authentication-Results` fields that claim to be this authserv-id's (RFC 8601 §5).
    pub fn drop_results_of(&mut self, authserv_id: &str) {
        self.forged = Some(authserv_id.to_owned());
    }

    /// Keeps From and Sender in the facts.
    pub fn keep_authors(&mut self) {
        self.authors = true;
    }

    /// Counts `Received` fields that hold this as our own.
    pub fn counting(self, mark: String) -> HeaderScanner {
        HeaderScanner { mark: mark.into_bytes(), ..self }
    }

    /// Passes `chunk` (lines end in CRLF) to `out`, minus dropped fields. Once [`in_body`](Self::in_body) is true
    /// callers pass the rest on themselves.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        while let Some(&octet) = rest.first() {
            match self.at {
                At::Body => return out.extend_from_slice(rest),
                At::Pass | At::Drop | At::Judge => {
                    let end = rest.iter().position(|&c| c == b'\n').map_or(rest.len(), |at| at + 1);
                    let (line, behind) = rest.split_at(end);
                    self.facts.eight_bit |= !line.is_ascii();
                    if let Some(trace) = &mut self.trace {
                        trace.extend_from_slice(&line[..line.len().min(NAME - trace.len())]);
                    }
                    if let Some(claim) = self.claim {
                        self.facts.claims.push(claim, line);
                    }
                    match self.at {
                        At::Pass => out.extend_from_slice(line),
                        At::Judge => {
                            self.results.0.extend_from_slice(line);
                            if self.results.0.len() > RESULTS {
                                self.judge(out);
                            }
                        }
                        _ => {}
                    }
                    if line.ends_with(b"\n") {
                        self.at = At::Start;
                    }
                    rest = behind;
                }
                At::Start => match (octet, self.field) {
                    (b' ' | b'\t', Some(field)) => self.at = field,
                    _ if self.field == Some(At::Judge) => self.judge(out),
                    (b'\r', _) => rest = self.hold(rest, At::Empty),
                    _ => self.at = At::Name,
                },
                At::Empty if octet == b'\n' => {
                    rest = self.hold(rest, At::Body);
                    out.append(&mut self.held);
                    self.end_trace();
                }
                At::Empty => self.end_without_empty_line(out),
                At::Name if octet == b':' => self.decide(out),
                At::Name if self.may_be_named(octet) => rest = self.hold(rest, At::Name),
                At::Name => self.end_without_empty_line(out),
            }
        }
    }

    /// True once the header has ended.
    pub fn in_body(&self) -> bool {
        self.at == At::Body
    }

    /// The message has ended; passes on what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.field == Some(At::Judge) {
            self.judge(out);
        }
        if self.at == At::Name || self.at == At::Empty {
            self.end_without_empty_line(out);
        }
    }

    /// What was seen so far; whole once `in_body` or after `finish`.
    pub fn facts(&self) -> &HeaderFacts {
        &self.facts
    }

    fn hold<'a>(&mut self, rest: &'a [u8], next: At) -> &'a [u8] {
        self.held.push(rest[0]);
        self.at = next;
        &rest[1..]
    }

    /// RFC 5322 §3.6.8 names, with the blanks before the colon that §4.5.8 still lets us meet.
    fn may_be_named(&self, octet: u8) -> bool {
        let blank = |c: u8| c == b' ' || c == b'\t';
        let fits = match octet {
            b' ' | b'\t' => !self.held.is_empty(),
            b'!'..=b'~' => !self.held.last().copied().is_some_and(blank),
            _ => false,
        };
        fits && self.held.len() < NAME
    }

    /// The colon was reached: the name is known.
    fn decide(&mut self, out: &mut Vec<u8>) {
        let name = self.held.trim_ascii_end();
        if name.is_empty() {
            return self.end_without_empty_line(out);
        }
        let received = name.eq_ignore_ascii_case(b"Received");
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        self.facts.has_date |= is("Date");
        self.facts.has_message_id |= is("Message-ID");
        self.facts.received += usize::from(received);
        let dropped = self.fix == Fix::Submission && ["Bcc", "Resent-Bcc", "Return-Path"].into_iter().any(is);
        let judged = self.forged.is_some() && is("Authentication-Results");
        self.claim = match self.authors {
            true if is("From") => Some(Claim::From),
            true if is("Sender") => Some(Claim::Sender),
            _ => None,
        };
        self.at = match (dropped, judged) {
            (true, _) => At::Drop,
            (false, true) => At::Judge,
            (false, false) => At::Pass,
        };
        self.field = Some(self.at);
        match self.at {
            At::Pass => out.extend_from_slice(&self.held),
            // The colon comes with what is behind the name.
            At::Judge => self.results = (self.held.clone(), self.held.len() + 1),
            _ => {}
        }
        self.held.clear();
        self.end_trace();
        if let Some(claim) = self.claim {
            self.facts.claims.begin(claim);
        }
        self.trace = (received && !self.mark.is_empty()).then(Vec::new);
    }

    /// Enough of an `Authentication-Results` field is there, or all of it: it is dropped if it claims to be ours, or
    /// does not say whose it is. What is left of it shares its fate.
    fn judge(&mut self, out: &mut Vec<u8>) {
        let (field, value) = std::mem::take(&mut self.results);
        let id = crate::authentication::authserv_id(field.get(value..).unwrap_or_default());
        let ours = |id: &str| self.forged.as_ref().is_some_and(|forged| forged.eq_ignore_ascii_case(id));
        let fate = if id.is_none_or(|id| ours(&id)) { At::Drop } else { At::Pass };
        if fate == At::Pass {
            out.extend_from_slice(&field);
        }
        self.field = Some(fate);
        if self.at == At::Judge {
            self.at = fate;
        }
    }

    /// A `Received` field has ended: was it ours?
    fn end_trace(&mut self) {
        if let Some(trace) = self.trace.take() {
            let ours = trace.windows(self.mark.len()).any(|part| part == self.mark);
            self.facts.own += usize::from(ours);
        }
    }

    /// A line that is no field: everything from its first octet is body.
    fn end_without_empty_line(&mut self, out: &mut Vec<u8>) {
        self.end_trace();
        self.facts.no_header = self.field.is_none();
        // Without a header an empty line is put on top, and all readers agree.
        if self.authors && !self.facts.no_header {
            self.facts.claims.tear();
        }
        self.at = At::Body;
        out.append(&mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(fix: Fix, chunks: &[&[u8]]) -> (String, HeaderFacts) {
        let (mut scanner, mut out) = (HeaderScanner::new(fix), Vec::new());
        for chunk in chunks {
            match scanner.in_body() {
                true => out.extend_from_slice(chunk),
                false => scanner.push(chunk, &mut out),
            }
        }
        scanner.finish(&mut out);
        (String::from_utf8(out).unwrap(), scanner.facts().clone())
    }

    #[test]
    fn our_own_received_fields_are_counted_in_any_split() {
        let message = "Received: from a by b; x\r\nReceived: from c ([192.0.2.7])\r\n\tby gate.example (Vouchsafe) with ESMTP;\r\n\tx\r\n\
                       X-Received: by gate.example (Vouchsafe)\r\nreceived: by gate.example (Vouchsafe) with SMTP\r\n\r\n\
                       Received: by gate.example (Vouchsafe) with SMTP\r\n";
        for size in [1, 7, 1000] {
            let mut scanner = HeaderScanner::new(Fix::Untouched).counting(crate::trace::mark("gate.example"));
            let mut out = Vec::new();
            message.as_bytes().chunks(size).for_each(|chunk| scanner.push(chunk, &mut out));
            assert_eq!((scanner.facts().received, scanner.facts().own), (3, 2));
            assert_eq!(out, message.as_bytes());
        }
    }

    #[test]
    fn from_and_sender_are_kept_in_any_split() {
        let message = "FROM: Alice\r\n <alice@example.com>\r\nTo: bob@example.com\r\nX-From: x@example.com\r\n\
                       from : carol@example.com\r\nSender: dan@example.com\r\n\r\nFrom: body@example.com\r\n";
        for size in [1, 7, 1000] {
            let (mut scanner, mut out) = (HeaderScanner::new(Fix::Untouched), Vec::new());
            scanner.keep_authors();
            message.as_bytes().chunks(size).for_each(|chunk| scanner.push(chunk, &mut out));
            let claims = &scanner.facts().claims;
            let authors: Vec<String> = claims.authors().unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(authors, ["alice@example.com", "carol@example.com"]);
            assert_eq!(claims.sender().unwrap().as_str(), "dan@example.com");
            assert_eq!(out, message.as_bytes());
        }
        assert_eq!(scan(Fix::Untouched, &[message.as_bytes()]).1.claims, Claims::default());
    }

    #[test]
    fn a_submission_loses_bcc_resent_bcc_and_return_path_with_their_folds_and_nothing_else() {
        let message = "Return-Path: <a@b>\r\nTo: c@d\r\nBCC: x@y,\r\n z@y,\r\n\tw@y\r\nDate: now\r\n \
                       folded\r\nResent-Bcc : q@r\r\nBcc-Like: kept\r\n\r\nBcc: body\r\n";
        let (out, facts) = scan(Fix::Submission, &[message.as_bytes()]);
        assert_eq!(out, "To: c@d\r\nDate: now\r\n folded\r\nBcc-Like: kept\r\n\r\nBcc: body\r\n");
        assert!(facts.has_date && !facts.has_message_id && !facts.no_header);
        assert_eq!(scan(Fix::Untouched, &[message.as_bytes()]).0, message);
    }

    #[test]
    fn facts_are_read_from_the_header_only() {
        let message =
            "Received: a\r\nrECEIVED: b\r\nMessage-Id: <x@y>\r\n\r\nDate: x\r\nReceived: c\r\nü\r\n";
        let (_, facts) = scan(Fix::Untouched, &[message.as_bytes()]);
        let want = HeaderFacts { has_message_id: true, received: 2, ..HeaderFacts::default() };
        assert_eq!(facts, want);
        assert!(scan(Fix::Untouched, &["Subject: ü\r\n\r\n".as_bytes()]).1.eight_bit);
    }

    #[test]
    fn a_line_that_is_no_field_ends_the_header() {
        for message in [
            "hello\r\nBcc: x\r\n",
            " folded first\r\nBcc: x\r\n",
            "From me at: noon\r\nBcc: x\r\n",
            ": no name\r\nBcc: x\r\n",
            "\rBcc: x\r\n",
            "half a na",
        ] {
            let (out, facts) = scan(Fix::Submission, &[message.as_bytes()]);
            assert_eq!(out, message);
            assert!(facts.no_header, "{message:?}");
        }
        let (out, facts) = scan(Fix::Submission, &[b"To: a\r\nhello\r\nBcc: x\r\n"]);
        assert_eq!(out, "To: a\r\nhello\r\nBcc: x\r\n");
        assert!(!facts.no_header);
        assert!(!scan(Fix::Submission, &[b"\r\nbody\r\n"]).1.no_header);
    }

    fn judge(message: &str, size: usize) -> String {
        let mut scanner = HeaderScanner::new(Fix::Untouched);
        scanner.drop_results_of("gate.example");
        let mut out = Vec::new();
        for chunk in message.as_bytes().chunks(size) {
            match scanner.in_body() {
                true => out.extend_from_slice(chunk),
                false => scanner.push(chunk, &mut out),
            }
        }
        scanner.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn results_that_claim_to_be_ours_are_dropped_with_their_folds_and_nothing_else() {
        let message = "To: a\r\nAuthentication-Results: gate.example; spf=pass\r\n smtp.mailfrom=x\r\n\
                       authentication-results : (a comment) GATE.example/1;\r\n\tdkim=pass\r\n\
                       Authentication-Results: other.example; spf=pass\r\n folded\r\n\
                       Authentication-Results:\r\n\t\"gate.example\"; dmarc=pass\r\n\
                       ARC-Authentication-Results: i=1; gate.example; none\r\nAuthentication-Results:\r\n\
                       Subject: x\r\n\r\nAuthentication-Results: gate.example; body\r\n";
        let left = "To: a\r\nAuthentication-Results: other.example; spf=pass\r\n folded\r\n\
                    ARC-Authentication-Results: i=1; gate.example; none\r\nSubject: x\r\n\r\n\
                    Authentication-Results: gate.example; body\r\n";
        for size in [1, 2, 5, 16, 4096] {
            assert_eq!(judge(message, size), left, "by {size}");
        }
        assert_eq!(judge("Authentication-Results: gate.example; none", 9), "");
        assert_eq!(
            judge("Authentication-Results: other.example; none", 9),
            "Authentication-Results: other.example; none"
        );
        assert_eq!(judge("Authentication-Results: gate.example;\r\n\r\nx", 9), "\r\nx");
        assert_eq!(scan(Fix::Untouched, &[message.as_bytes()]).0, message);
    }

    #[test]
    fn results_that_do_not_say_whose_they_are_are_not_held_for_ever() {
        let long = "x".repeat(2 * RESULTS);
        let of_others = format!("Authentication-Results: other.example; {long}\r\n {long}\r\n\r\n");
        let of_nobody = format!("Authentication-Results: ({long}) gate.example;\r\n {long}\r\n\r\n");
        for size in [1, 1000, 100_000] {
            assert_eq!(judge(&of_others, size), of_others);
            assert_eq!(judge(&of_nobody, size), "\r\n");
        }
    }

    #[test]
    fn a_name_that_never_ends_is_passed_on_after_998_octets() {
        let (mut scanner, mut out) = (HeaderScanner::new(Fix::Submission), Vec::new());
        scanner.push(&[b'x'; NAME], &mut out);
        assert!(out.is_empty() && !scanner.in_body());
        scanner.push(b"x", &mut out);
        assert!(out.len() == NAME + 1 && scanner.in_body());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_octets_and_facts(
            lines in proptest::collection::vec("(Bcc|Date|To|Received|Message-ID|x)?[: \ta]{0,3}[a-c:]{0,4}", 0..8),
            cuts in proptest::collection::vec(0usize..64, 0..6),
        ) {
            let message = lines.join("\r\n") + "\r\n";
            let octets = message.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(octets.len())).collect();
            cuts.extend([0, octets.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &octets[w[0]..w[1]]).collect();
            for fix in [Fix::Untouched, Fix::Submission] {
                prop_assert_eq!(scan(fix, &chunks), scan(fix, &[octets]));
            }
            prop_assert_eq!(scan(Fix::Untouched, &chunks).0, message);
        }
    }
}
